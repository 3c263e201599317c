"""The rating page and the pages around it, over HTTP: with htmx and without JavaScript."""

import re
from datetime import timedelta

import pytest
from django.db import connection
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts.models import AuditEvent
from annotations import judging, unblinding
from annotations.assignment import next_assignment
from annotations.models import Assignment, Campaign, Case, Completion, HarmReport, Judgement, Revision
from tests.factories import join, make_campaign, make_cases, make_completion, make_model, make_study

pytestmark = pytest.mark.django_db
HTMX = {"HX-Request": "true"}


def signed_in(user):
    client = Client()
    client.force_login(user)
    return client


def url(campaign, name="judge", *more):
    return reverse(f"annotations:{name}", args=[campaign.public_id, *more])


@pytest.fixture
def study(anna, lena):
    study = make_study()
    join(study, anna, "annotator")
    join(study, lena, "lead")
    return study


@pytest.fixture
def campaign(study, anna):
    return make_campaign(study, [anna])


def post(client, campaign, assignment, name="judge", headers=None, **fields):
    return client.post(url(campaign, name), {"assignment": assignment.pk, **fields}, headers=headers)


class TestRatingPage:
    def test_without_javascript_a_submit_leads_back_to_the_next_item(self, campaign, anna):
        client = signed_in(anna)
        client.get(url(campaign))
        assignment = Assignment.objects.get()
        response = post(client, campaign, assignment, choice="left", strength="clearly", active_seconds="12")
        assert response.status_code == 302
        assert response["Location"] == f"{url(campaign)}?saved={assignment.pk}"
        page = client.get(response["Location"]).content.decode()
        assert "<html" in page
        assert "1 of 4" in page
        assert "Undo" in page
        revision = Revision.objects.get()
        assert revision.chosen == (
            assignment.item.completion_a if assignment.a_is_left else assignment.item.completion_b
        )
        assert Assignment.objects.get(pk=assignment.pk).active_seconds == 12

    def test_with_htmx_only_the_part_that_changes_comes_back(self, campaign, anna):
        client = signed_in(anna)
        client.get(url(campaign))
        response = client.post(
            url(campaign), {"assignment": Assignment.objects.get().pk, "choice": "tie"}, headers=HTMX, follow=True
        )
        page = response.content.decode()
        assert "<html" not in page
        assert page.lstrip().startswith('<div id="item">')
        assert "1 of 4" in page

    def test_what_is_missing_is_said_in_place_and_what_was_chosen_stays(self, campaign, anna):
        client = signed_in(anna)
        client.get(url(campaign))
        response = post(client, campaign, Assignment.objects.get(), headers=HTMX, choice="right", reason="Shorter.")
        page = response.content.decode()
        assert response.status_code == 422
        assert "Say how much better it is" in page
        assert re.search(r'value="right" checked', page)
        assert "Shorter." in page
        assert not Judgement.objects.exists()
        assert "disabled" not in page

    @pytest.mark.parametrize("a_is_left", [True, False])
    def test_left_and_right_are_the_texts_that_were_shown_there(self, campaign, anna, a_is_left):
        next_assignment(campaign, anna)
        Assignment.objects.update(a_is_left=a_is_left)
        assignment = Assignment.objects.get()
        client = signed_in(anna)
        page = client.get(url(campaign)).content.decode()
        a, b = assignment.item.completion_a.text, assignment.item.completion_b.text
        assert (page.index(a) < page.index(b)) is a_is_left
        post(client, campaign, assignment, choice="left", strength="slightly")
        assert Revision.objects.get().chosen.text == (a if a_is_left else b)

    def test_the_page_costs_at_most_fifteen_queries(self, campaign, anna, django_assert_max_num_queries):
        client = signed_in(anna)
        # PostgreSQL needs one more: the count again, under the lock.
        limit = 15 if connection.vendor == "sqlite" else 16
        with django_assert_max_num_queries(limit):
            client.get(url(campaign))
        assignment = Assignment.objects.get()
        submit = limit - 3  # there, the item's lock
        with django_assert_max_num_queries(submit):
            response = post(client, campaign, assignment, headers=HTMX, choice="tie")
        with django_assert_max_num_queries(submit):
            response = post(client, campaign, assignment, headers=HTMX, choice="tie")  # a double click
        with django_assert_max_num_queries(limit):
            client.get(response["Location"], headers=HTMX)

    def test_a_second_tab_with_another_answer_is_told_and_loses_nothing(self, campaign, anna):
        client = signed_in(anna)
        client.get(url(campaign))
        assignment = Assignment.objects.get()
        post(client, campaign, assignment, choice="tie")
        response = post(client, campaign, assignment, choice="both_unacceptable", reason="Both dangerous.")
        assert response.status_code == 409
        assert "already submitted a different answer" in response.content.decode()
        assert "Both dangerous." in response.content.decode()
        assert Revision.objects.get().outcome == "tie"

    def test_a_campaign_closed_meanwhile_refuses_but_keeps_the_text(self, campaign, anna):
        client = signed_in(anna)
        client.get(url(campaign))
        Campaign.objects.update(closed_at=timezone.now())
        assignment = Assignment.objects.get()
        response = post(client, campaign, assignment, choice="tie", reason="Long thought.")
        assert response.status_code == 409
        assert "has been closed" in response.content.decode()
        assert "Long thought." in response.content.decode()
        assignment.refresh_from_db()
        assert assignment.draft["reason"] == "Long thought."

    def test_time_left_is_taken_from_ones_own_times(self, study, anna):
        campaign = make_campaign(study, [anna], cases=make_cases(study, 10))
        client = signed_in(anna)
        assert "about 8 min left" in client.get(url(campaign)).content.decode()  # 10 × 45 s
        assignment = Assignment.objects.get()
        response = client.post(
            url(campaign), {"assignment": assignment.pk, "choice": "tie", "active_seconds": "120"}, follow=True
        )
        assert "about 18 min left" in response.content.decode()  # 9 × 120 s

    def test_the_end_says_so(self, study, anna):
        campaign = make_campaign(study, [anna], cases=make_cases(study, 1))
        client = signed_in(anna)
        client.get(url(campaign))
        page = client.post(url(campaign), {"assignment": Assignment.objects.get().pk, "choice": "tie"}, follow=True)
        assert "All done" in page.content.decode()

    def test_markdown_is_rendered_and_html_is_not(self, study, anna):
        case = make_cases(study, 1)
        campaign = make_campaign(study, [anna], cases=case)
        item = campaign.items.get()
        type(item.completion_a).objects.filter(pk=item.completion_a_id).update(
            text='**bold** <script>alert(1)</script> ![x](http://evil.example/x.png) <img src=x onerror="alert(1)">'
        )
        page = signed_in(anna).get(url(campaign)).content.decode()
        assert "<strong>bold</strong>" in page
        assert "<script>alert" not in page
        assert "<img" not in page

    def test_no_page_needs_inline_script_or_style(self, campaign, anna):
        client = signed_in(anna)
        pages = [client.get(url(campaign)), client.get(url(campaign, "history")), client.get("/")]
        for response in pages:
            page = response.content.decode()
            assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)", page)
            assert "script-src 'self'" in response["Content-Security-Policy"]


class TestOtherKinds:
    @pytest.mark.parametrize(
        ("task", "kind", "fields", "values"),
        [
            ("summarisation", "likert", {"value-faithful": 4, "value-complete": 2}, {"faithful": 4, "complete": 2}),
            (
                "triage",
                "label",
                {"value-personnel": "nurse", "value-urgency": "soon"},
                {"personnel": "nurse", "urgency": "soon"},
            ),
            ("reasoning", "correctness", {"value-correctness": "partly"}, {"correctness": "partly"}),
        ],
    )
    def test_one_page_serves_every_kind(self, anna, task, kind, fields, values):
        study = make_study(task)
        campaign = make_campaign(study, [anna], kind=kind)
        client = signed_in(anna)
        page = client.get(url(campaign)).content.decode()
        for name in fields:
            assert f'name="{name}"' in page
        response = post(client, campaign, Assignment.objects.get(), headers=HTMX)
        assert response.status_code == 422
        assert response.content.decode().count("Choose one of the answers.") == len(values)
        post(client, campaign, Assignment.objects.get(), **fields)
        revision = Revision.objects.get()
        assert (revision.outcome, revision.values) == ("judged", values)

    def test_every_anchor_is_written_at_its_point(self, anna):
        study = make_study()
        page = signed_in(anna).get(url(make_campaign(study, [anna], kind="likert"))).content.decode()
        for anchor in ("unusable", "poor", "fair", "good", "excellent"):
            assert page.count(anchor) == 2  # two criteria

    def test_a_label_that_does_not_exist_is_not_taken(self, anna):
        campaign = make_campaign(make_study("triage"), [anna], kind="label")
        client = signed_in(anna)
        client.get(url(campaign))
        fields = {"value-personnel": "wizard", "value-urgency": "soon"}
        assert post(client, campaign, Assignment.objects.get(), **fields).status_code == 422

    def test_cannot_judge_needs_its_reason_in_every_kind(self, anna):
        campaign = make_campaign(make_study(), [anna], kind="likert")
        client = signed_in(anna)
        client.get(url(campaign))
        assignment = Assignment.objects.get()
        assert post(client, campaign, assignment, choice="cannot_judge").status_code == 422
        post(client, campaign, assignment, choice="cannot_judge", cannot_judge="outside_my_field")
        assert Revision.objects.get().cannot_judge == "outside_my_field"

    def test_the_reference_is_shown_where_the_rubric_says_so(self, anna):
        campaign = make_campaign(make_study("reasoning"), [anna], kind="correctness")
        client = signed_in(anna)
        assert "Reference answer" not in client.get(url(campaign)).content.decode()
        Campaign.objects.update(rubric=campaign.rubric | {"show_reference": True})
        assert "Reference answer" in client.get(url(campaign)).content.decode()


class TestDraftSkipUndo:
    def test_a_draft_comes_back_on_the_next_visit(self, campaign, anna):
        client = signed_in(anna)
        client.get(url(campaign))
        assignment = Assignment.objects.get()
        response = post(client, campaign, assignment, "judge_draft", choice="left", reason="Half a tho")
        assert response.status_code == 204
        page = client.get(url(campaign)).content.decode()
        assert "Half a tho" in page
        assert re.search(r'value="left" checked', page)

    def test_a_late_draft_of_a_submitted_item_is_refused(self, campaign, anna):
        client = signed_in(anna)
        client.get(url(campaign))
        assignment = Assignment.objects.get()
        post(client, campaign, assignment, choice="tie")
        assert post(client, campaign, assignment, "judge_draft", choice="left").status_code == 409

    @pytest.mark.parametrize("name", ["judge", "judge_draft", "judge_skip"])
    def test_a_reason_of_megabytes_is_refused_and_not_kept(self, campaign, anna, name):
        client = signed_in(anna)
        client.get(url(campaign))
        response = post(client, campaign, Assignment.objects.get(), name, choice="tie", reason="long " * 3000)
        assert response.status_code == 422
        assignment = Assignment.objects.get()
        assert (assignment.draft, assignment.submitted_at, assignment.skipped_at) == (None, None, None)
        if name != "judge_draft":  # the page keeps what was typed, and says what is wrong
            assert "long long" in response.content.decode()
            assert "shorten it" in response.content.decode()

    def test_a_draft_holds_only_answers_that_exist(self, campaign, anna):
        client = signed_in(anna)
        client.get(url(campaign))
        fields = {"choice": "x" * 99, "strength": "hugely", "cannot_judge": "bored", "reason": "Mine."}
        post(client, campaign, Assignment.objects.get(), "judge_draft", **fields)
        empty = {"choice": "", "strength": "", "cannot_judge": "", "values": {}, "chips": [], "marks": [], "ideal": {}}
        assert Assignment.objects.get().draft == empty | {"reason": "Mine.", "flagged": False}

    def test_nul_characters_are_left_out_of_every_text(self, campaign, anna):
        client = signed_in(anna)
        client.get(url(campaign))
        one = Assignment.objects.get()
        assert post(client, campaign, one, "judge_draft", reason="a\x00b").status_code == 204
        assert Assignment.objects.get().draft["reason"] == "ab"
        assert post(client, campaign, one, choice="tie", reason="a\x00b").status_code == 302
        page = reverse("annotations:judge_revise", args=[campaign.public_id, one.pk])
        fields = {"choice": "both_unacceptable", "reason": "c\x00d", "change_reason": "e\x00f"}
        assert client.post(page, fields).status_code == 302
        assert list(Revision.objects.values_list("reason", "change_reason")) == [("ab", ""), ("cd", "ef")]
        client.get(url(campaign))
        two = Assignment.objects.exclude(pk=one.pk).get()
        assert post(client, campaign, two, "judge_skip", skip_reason="g\x00h").status_code == 302
        assert Assignment.objects.get(pk=two.pk).skip_reason == "gh"

    def test_undo_gives_the_item_back(self, campaign, anna):
        client = signed_in(anna)
        client.get(url(campaign))
        assignment = Assignment.objects.get()
        post(client, campaign, assignment, choice="both_unacceptable", reason="Wrong dose.")
        response = client.post(url(campaign, "judge_undo"), {"assignment": assignment.pk}, follow=True)
        page = response.content.decode()
        assert "Undone." in page
        assert "Wrong dose." in page
        assert str(assignment.pk) in page

    def test_a_skipped_item_is_put_aside_with_its_reason_and_can_be_taken_up(self, study, anna):
        campaign = make_campaign(study, [anna], cases=make_cases(study, 1))
        client = signed_in(anna)
        client.get(url(campaign))
        assignment = Assignment.objects.get()
        page = post(client, campaign, assignment, "judge_skip", skip_reason="Paediatrics").url
        assert "You skipped 1 item" in client.get(page).content.decode()
        assignment.refresh_from_db()
        assert assignment.skip_reason == "Paediatrics"
        again = client.post(url(campaign, "judge_again"), follow=True)
        assert str(assignment.pk) in again.content.decode()


class TestHistory:
    def test_it_shows_ones_own_answers_by_the_sides_that_were_shown(self, campaign, anna):
        client = signed_in(anna)
        client.get(url(campaign))
        post(client, campaign, Assignment.objects.get(), choice="right", strength="clearly")
        assert "B clearly better" in client.get(url(campaign, "history")).content.decode()

    def test_a_correction_needs_a_reason_and_keeps_the_first_answer(self, campaign, anna):
        client = signed_in(anna)
        client.get(url(campaign))
        assignment = Assignment.objects.get()
        post(client, campaign, assignment, choice="tie")
        page = reverse("annotations:judge_revise", args=[campaign.public_id, assignment.pk])
        assert re.search(r'value="tie" checked', client.get(page).content.decode())
        fields = {"choice": "both_unacceptable"}
        assert client.post(page, fields).status_code == 422
        response = client.post(page, fields | {"change_reason": "Saw the dose."})
        assert response["Location"] == url(campaign, "history")
        assert list(Revision.objects.values_list("outcome", flat=True)) == ["tie", "both_unacceptable"]

    def test_it_can_be_narrowed_to_what_was_flagged_or_changed(self, campaign, anna):
        client = signed_in(anna)
        client.get(url(campaign))
        post(client, campaign, Assignment.objects.get(), choice="right", strength="clearly", reason="Unlike the other.")
        client.get(url(campaign))
        post(client, campaign, Assignment.objects.get(submitted_at=None), choice="tie", reason="Alike.")
        Revision.objects.filter(outcome="tie").update(flagged=True)
        page = client.get(url(campaign, "history") + "?show=flagged").content.decode()
        assert "Alike." in page
        assert "Unlike the other." not in page
        assert (
            "None of your judgements is changed."
            in client.get(url(campaign, "history") + "?show=changed").content.decode()
        )
        assert "Unlike the other." in client.get(url(campaign, "history") + "?show=nonsense").content.decode()

    def test_ones_own_harm_reports_are_listed_and_nobody_elses(self, study, anna, ben):
        campaign = make_campaign(study, [anna, ben])
        for person, text in ((anna, "Anaphylaxis."), (ben, "Bleeding.")):
            assignment = next_assignment(campaign, person)
            HarmReport.objects.create(
                assignment=assignment, severity="severe", quote="amoxicillin", description=text, reported_by=person
            )
        page = signed_in(anna).get(url(campaign, "history") + "?show=harm").content.decode()
        assert "Anaphylaxis." in page
        assert "Severe: lasting harm" in page
        assert "Bleeding." not in page


class TestWhatTheRubricAsksFor:
    def rubric(self, campaign, **asked):
        Campaign.objects.update(rubric=campaign.rubric | asked)

    def test_nothing_of_it_is_on_the_page_unless_asked_for(self, campaign, anna):
        self.rubric(campaign, criteria=[])
        page = signed_in(anna).get(url(campaign)).content.decode()
        for name in ("chips", "mark-left-0", "ideal_text", "value-faithful"):
            assert f'name="{name}"' not in page

    def test_a_draft_with_everything_comes_back_as_it_was(self, campaign, anna):
        asked = {"chips": ["wrong dose", "unsafe"], "marks": True, "ideal": True, "criteria": campaign.study.criteria}
        self.rubric(campaign, **asked)
        client = signed_in(anna)
        client.get(url(campaign))
        fields = {
            "value-faithful": "2",
            "chips": ["unsafe"],
            "mark-right-0": "wrong:dangerous",
            "ideal_side": "right",
            "ideal_text": "As it should be.",
            "flagged": "1",
        }
        assert post(client, campaign, Assignment.objects.get(), "judge_draft", **fields).status_code == 204
        page = client.get(url(campaign)).content.decode()
        assert re.search(r'name="value-faithful" value="2" checked', page)
        assert re.search(r'value="unsafe" checked', page)
        assert not re.search(r'value="wrong dose" checked', page)
        right = page[page.index('name="mark-right-0"') :]
        assert right.index('value="wrong:dangerous" selected') < right.index("</select>")
        assert "As it should be.</textarea>" in page
        assert re.search(r'name="flagged" value="1" checked', page)

    def test_every_point_of_a_criterion_says_what_it_means(self, campaign, anna):
        self.rubric(campaign, criteria=campaign.study.criteria)
        page = signed_in(anna).get(url(campaign)).content.decode()
        for text in ("A clearly", "A slightly", "no difference", "B slightly", "B clearly"):
            assert page.count(f"<span>{text}</span>") == len(campaign.study.criteria) == 2
        assert page.index("A clearly") < page.index("A is better")

    def test_texts_too_long_to_compare_are_said_to_be_so(self, campaign, anna):
        next_assignment(campaign, anna)
        item = Assignment.objects.get().item
        Completion.objects.filter(pk=item.completion_a_id).update(text="word " * 2000)
        assert "too long to be compared" in signed_in(anna).get(url(campaign)).content.decode()


class TestTrainingItems:
    def test_a_training_item_leads_to_its_feedback(self, campaign, anna):
        next_assignment(campaign, anna)
        campaign.items.update(gold={"outcome": "tie"}, training=True)
        client = signed_in(anna)
        feedback = url(campaign, "judge_feedback", Assignment.objects.get().pk)
        assert post(client, campaign, Assignment.objects.get(), choice="tie").url == feedback
        htmx = post(client, campaign, Assignment.objects.get(), headers=HTMX, choice="tie")
        assert htmx["HX-Redirect"] == feedback


class TestAccess:
    def test_strangers_and_other_annotators_get_404(self, campaign, ben):
        client = signed_in(ben)
        assert client.get(url(campaign)).status_code == 404
        assert client.get(url(campaign, "history")).status_code == 404

    def test_nobody_submits_another_ones_assignment(self, study, anna, ben):
        campaign = make_campaign(study, [anna, ben])
        theirs = next_assignment(campaign, anna)
        client = signed_in(ben)
        for name in ("judge", "judge_draft", "judge_skip", "judge_undo"):
            assert post(client, campaign, theirs, name, choice="tie").status_code == 404
        assert post(client, campaign, type("A", (), {"pk": "nonsense"}), choice="tie").status_code == 404

    def test_an_assignment_belongs_to_its_campaign_only(self, study, anna):
        one, two = make_campaign(study, [anna]), make_campaign(study, [anna], models=("gamma", "delta"))
        assert post(signed_in(anna), two, next_assignment(one, anna), choice="tie").status_code == 404

    def test_a_signed_out_submit_is_sent_to_sign_in(self, campaign, anna):
        assignment = next_assignment(campaign, anna)
        response = post(Client(), campaign, assignment, choice="tie")
        assert response.status_code == 302
        assert response["Location"].startswith(reverse("accounts:sign_in"))

    def test_annotators_see_no_campaign_pages_and_viewers_can_not_plan(self, study, campaign, anna, ben):
        join(study, ben, "viewer")
        listing = reverse("annotations:campaigns", args=[study.slug])
        plan = reverse("annotations:campaign_plan", args=[study.slug])
        assert signed_in(anna).get(listing).status_code == 403
        assert signed_in(ben).get(listing).status_code == 200
        assert signed_in(ben).get(plan).status_code == 403


class TestHome:
    def test_an_annotator_finds_a_card_for_each_open_campaign(self, campaign, study, anna):
        page = signed_in(anna).get("/").content.decode()
        assert campaign.name in page
        assert "0 of 4" in page
        assert url(campaign) in page
        assert reverse("annotations:study", args=[study.slug]) not in page

    def test_somebody_with_nothing_to_do_is_told_what_will_happen(self, ben):
        assert "nothing to judge at the moment" in signed_in(ben).get("/").content.decode()

    def test_an_admin_finds_the_way_to_a_new_study(self, adam):
        assert reverse("annotations:study_new") in signed_in(adam).get("/").content.decode()


class TestCampaignPages:
    @pytest.fixture
    def ready(self, study):
        models = [make_model("alpha"), make_model("beta")]
        for case in make_cases(study, 3):
            for model in models:
                make_completion(case, model)
        return study, models

    def form(self, models, people, **fields):
        return {
            "name": "Round 1",
            "kind": "comparison",
            "models": [model.pk for model in models],
            "annotators": [person.pk for person in people],
            "overlap": 1,
            "seed": 3,
            "reason": "optional",
        } | fields

    def test_a_preview_says_how_much_and_makes_nothing(self, ready, anna, lena):
        study, models = ready
        page = reverse("annotations:campaign_plan", args=[study.slug])
        make_cases(study, 1)
        text = signed_in(lena).post(page, self.form(models, [anna]) | {"preview": ""}).content.decode()
        assert "Preview" in text
        assert "1 left out: no output of a chosen model" in text
        assert not Campaign.objects.exists()

    def test_a_lead_plans_closes_and_reopens(self, ready, anna, lena):
        study, models = ready
        client = signed_in(lena)
        response = client.post(
            reverse("annotations:campaign_plan", args=[study.slug]), self.form(models, [anna]) | {"start": ""}
        )
        campaign = Campaign.objects.get()
        page = reverse("annotations:campaign", args=[study.slug, campaign.public_id])
        assert response["Location"] == page
        assert (campaign.items.count(), campaign.created_by) == (3, lena)
        client.post(f"{page}close/", {"reason": "Too few cases"})
        campaign.refresh_from_db()
        assert not campaign.is_open
        assert client.post(f"{page}reopen/", {"reason": ""}).status_code == 400
        client.post(f"{page}reopen/", {"reason": "Two more cases"})
        campaign.refresh_from_db()
        assert campaign.is_open
        assert campaign.reopened_at > campaign.created_at
        assert AuditEvent.objects.get(action="reopen campaign").detail == {"reason": "Two more cases"}
        assert "Reopened" in client.get(page).content.decode()

    @pytest.mark.parametrize("looker", ["lena", "ben", "adam"])
    def test_a_campaign_whose_annotators_could_look_is_not_reopened(self, study, anna, lena, ben, adam, looker):
        join(study, ben, "viewer")
        person = {"lena": lena, "ben": ben, "adam": adam}[looker]
        campaign = make_campaign(study, [anna, person], closed_at=timezone.now())
        page = reverse("annotations:campaign", args=[study.slug, campaign.public_id])
        response = signed_in(lena).post(f"{page}reopen/", {"reason": "One more"})
        assert response.status_code == 400
        assert "no longer judge blind" in response.content.decode()
        assert looker in response.content.decode()
        campaign.refresh_from_db()
        assert (campaign.is_open, campaign.reopened_at) == (False, None)
        assert "can't be reopened" in signed_in(lena).get(page).content.decode().replace("&#x27;", "'")

    def test_a_plan_that_can_not_work_is_explained_in_place(self, ready, anna, lena):
        study, models = ready
        page = reverse("annotations:campaign_plan", args=[study.slug])
        text = signed_in(lena).post(page, self.form(models, [anna], overlap=2) | {"start": ""}).content.decode()
        assert "only 1 annotators" in text
        assert 'value="Round 1"' in text

    def test_progress_is_shown_by_annotator(self, study, campaign, anna, lena):
        judging.submit(next_assignment(campaign, anna), judging.Answer("tie"), actor=anna)
        page = reverse("annotations:campaign", args=[study.slug, campaign.public_id])
        text = signed_in(lena).get(page).content.decode()
        assert re.search(r"anna.*?<td class=\"num\">1</td>", text, re.S)

    def test_the_list_costs_the_same_for_many_campaigns(self, study, lena, anna, django_assert_max_num_queries):
        for n in range(6):
            make_campaign(study, [anna], models=(f"x{n}", f"y{n}"))
        client = signed_in(lena)
        with django_assert_max_num_queries(12):
            client.get(reverse("annotations:campaigns", args=[study.slug]))

    def test_a_lead_downloads_the_judgements(self, study, campaign, anna, lena):
        judging.submit(next_assignment(campaign, anna), judging.Answer("tie"), actor=anna)
        unblinding.unblind(campaign, reason="Interim look", actor=lena)
        page = reverse("annotations:campaign_export", args=[study.slug, campaign.public_id])
        response = signed_in(lena).get(page)
        lines = b"".join(response.streaming_content).decode().splitlines()
        assert len(lines) == 2
        assert "anna" not in lines[1]


def test_an_expired_lease_does_not_lose_the_answer(campaign, anna):
    client = signed_in(anna)
    client.get(url(campaign))
    Assignment.objects.update(lease_expires_at=timezone.now() - timedelta(hours=8))
    post(client, campaign, Assignment.objects.get(), choice="tie")
    assert Judgement.objects.get().surplus is False


def test_several_input_fields_are_shown_with_their_names(anna):
    study = make_study("reasoning", user_template="{vignette}\n\n{question}")
    campaign = make_campaign(study, [anna], kind="correctness", cases=make_cases(study, 1))
    Case.objects.update(inputs={"question": "What now?", "vignette": "A man of 60."})
    page = signed_in(anna).get(url(campaign)).content.decode()
    # In the order of the prompt: a JSON object's own order is the database's affair.
    assert 0 < page.index("<h3>Vignette</h3>") < page.index("<h3>Question</h3>")
