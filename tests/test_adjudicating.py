"""What annotators leave open, a lead decides: blind to models, with a reason, never against an agreed answer."""

import re

import pytest
from django.core.exceptions import PermissionDenied
from django.test import Client
from django.urls import reverse

from accounts.errors import UserError
from accounts.models import AuditEvent
from annotations import adjudicating, campaigning, judging, opinions, preferences
from annotations.judging import Answer
from annotations.models import Adjudication, Campaign, Case, Revision
from annotations.policy import Policy
from reports import build
from tests.factories import join, make_campaign, make_cases, make_study
from tests.report_rows import campaign_on, evaluate, judge, summaries

pytestmark = pytest.mark.django_db
MODELS = ("zebra-base-7b", "quokka-dpo-7b")


@pytest.fixture
def study(lena):
    study = make_study()
    join(study, lena, "lead")
    return study


@pytest.fixture
def campaign(study, anna, ben):
    """Three pairs: Anna and Ben agree on the first, differ on the second; the third Ben has not judged."""
    made = make_campaign(study, [anna, ben], models=MODELS, cases=make_cases(study, 3), consensus="adjudicated")
    first, second, third = made.items.all()
    for item, anna_says, ben_says in ((first, "prefer_a", "prefer_a"), (second, "prefer_a", "tie")):
        judge(item, anna, anna_says)
        judge(item, ben, ben_says)
    judge(third, anna, "tie")
    return made


def decide(item, actor, outcome="prefer_b", **fields):
    fields = {"strength": "clearly"} | fields if outcome.startswith("prefer") else fields
    return adjudicating.adjudicate(item, Answer(outcome, **fields), reason="B has the dose.", actor=actor)


# What is open


def test_only_items_with_all_judgements_that_differ_wait(campaign, lena):
    assert adjudicating.open_items(campaign) == [1]
    campaigning.close(campaign, actor=lena)
    assert adjudicating.open_items(campaign) == [1]  # one answer agrees with itself


@pytest.mark.parametrize(
    ("rule", "said", "waits"),
    [
        ("majority", ["tie", "tie", "prefer_a"], False),
        ("majority", ["tie", "prefer_b", "prefer_a"], True),
        ("adjudicated", ["tie", "tie", "prefer_a"], True),
        ("adjudicated", ["tie", "tie", "cannot_judge"], False),
        ("adjudicated", ["cannot_judge", "cannot_judge", "cannot_judge"], True),
        ("adjudicated", ["tie", "tie", "defective"], True),
        ("majority", ["defective", "defective", "tie"], False),
        ("unanimous", ["tie", "prefer_b", "prefer_a"], False),
    ],
)
def test_what_is_left_open_goes_by_the_campaigns_rule(study, anna, ben, chidi, rule, said, waits):
    made = make_campaign(study, [anna, ben, chidi], cases=make_cases(study, 1), consensus=rule)
    for person, outcome in zip((anna, ben, chidi), said, strict=True):
        judge(made.items.get(), person, outcome)
    assert adjudicating.open_items(made) == ([0] if waits else [])


def test_a_correction_that_brings_agreement_makes_a_decision_void(campaign, ben, lena):
    item = campaign.items.get(position=1)
    decide(item, lena)
    said = item.judgements.get(annotator=ben)
    judging.revise(said, Answer("prefer_a", strength="clearly"), change_reason="Misread", actor=ben)
    (state,) = adjudicating.states(campaign, positions=[1])
    assert not state.left_open
    with pytest.raises(UserError, match="never overrides"):
        decide(item, lena)


def test_surplus_and_withdrawn_judgements_have_no_say(campaign, chidi, ben):
    item = campaign.items.get(position=1)
    judge(item, chidi, "tie", surplus=True)
    assert adjudicating.open_items(campaign) == [1]
    judging.undo(item.judgements.get(annotator=ben), actor=ben)
    assert adjudicating.open_items(campaign) == []


def test_the_open_items_cost_three_queries(campaign, django_assert_num_queries):
    with django_assert_num_queries(3):
        adjudicating.open_items(campaign)


# Deciding


def test_a_decision_names_the_chosen_output_and_is_in_the_audit_trail(campaign, lena):
    item = campaign.items.get(position=1)
    made = decide(item, lena)
    assert (made.chosen, made.strength, made.reason) == (item.completion_b, "clearly", "B has the dose.")
    assert adjudicating.open_items(campaign) == []
    assert AuditEvent.objects.get(action="adjudicate").detail == {"item": 1, "adjudication": made.pk}


def test_a_later_decision_replaces_the_earlier_and_keeps_it(campaign, lena):
    item = campaign.items.get(position=1)
    first, second = decide(item, lena), decide(item, lena, "tie")
    first.refresh_from_db()
    assert (first.is_current, second.is_current) == (False, True)
    assert item.adjudications.count() == 2


def test_decisions_are_made_after_the_campaign_has_closed_too(campaign, lena):
    campaigning.close(campaign, actor=lena)
    decide(campaign.items.get(position=1), lena)
    assert adjudicating.open_items(campaign) == []


@pytest.mark.parametrize(
    ("position", "answer", "reason", "match"),
    [
        (0, Answer("tie"), "Because", "never overrides"),
        (2, Answer("tie"), "Because", "Not all judgements"),
        (1, Answer("prefer_a"), "Because", "slightly or clearly"),
        (1, Answer("cannot_judge", cannot_judge="outside_my_field"), "Because", "no decision"),
        (1, Answer("judged"), "Because", "Choose A, B"),
        (1, Answer("tie"), "  ", "Say why"),
    ],
)
def test_what_can_not_be_decided_is_refused(campaign, lena, position, answer, reason, match):
    with pytest.raises(UserError) as caught:
        adjudicating.adjudicate(campaign.items.get(position=position), answer, reason=reason, actor=lena)
    assert match in str(caught.value)
    assert not Adjudication.objects.exists()


def test_annotators_viewers_and_who_judges_elsewhere_in_the_study_do_not_decide(study, campaign, anna, chidi, lena):
    item = campaign.items.get(position=1)
    join(study, chidi, "viewer")
    join(study, anna, "lead")
    for person in (chidi, anna):
        with pytest.raises(PermissionDenied):
            decide(item, person)
    campaign.annotators.remove(anna)  # taken off, but what she said stands there
    with pytest.raises(PermissionDenied, match="annotator of this campaign"):
        decide(item, anna)
    make_campaign(study, [lena])
    with pytest.raises(PermissionDenied, match="hidden from you"):
        decide(item, lena)


def test_of_several_fields_only_those_left_open_are_decided(lena, anna, ben):
    study = make_study("triage")
    join(study, lena, "lead")
    made = make_campaign(study, [anna, ben], kind="label", cases=make_cases(study, 1), consensus="adjudicated")
    item = made.items.get()
    judge(item, anna, personnel="nurse", urgency="soon")
    judge(item, ben, personnel="nurse", urgency="urgent")
    with pytest.raises(UserError) as caught:
        decide(item, lena, "judged", values={"personnel": "physician", "urgency": "urgent"})
    assert "personnel" in str(caught.value)
    decide(item, lena, "judged", values={"personnel": "nurse", "urgency": "urgent"})
    found = preferences.rows(study=study, kind="sft", campaigns=[made], policy=Policy(sources=("labels",)))
    assert found.rows[0].completion == "personnel: nurse\nurgency: urgent"
    assert found.rows[0].adjudication_ids == (item.adjudications.get().pk,)


# The page


@pytest.fixture
def page(client, campaign, lena):
    client.force_login(lena)
    return reverse("annotations:adjudication_item", args=[campaign.study.slug, campaign.public_id, 1])


def test_the_page_shows_case_outputs_and_judgements_and_no_model_or_name(client, campaign, page):
    item = campaign.items.get(position=1)
    Revision.objects.filter(judgement__item=item, outcome="tie").update(
        reason="Both miss the dose.",
        chips=["invents a finding"],
        marks=[{"output": "a", "sentence": 0, "quote": "no fever", "kind": "wrong", "severity": "major"}],
    )
    start = client.get(reverse("annotations:adjudication", args=[campaign.study.slug, campaign.public_id]))
    assert start["Location"] == page
    text = client.get(page).content.decode()
    for shown in (item.case.inputs["text"], item.completion_a.text, item.completion_b.text, "Both miss the dose."):
        assert shown in text
    assert "invents a finding" in text
    side = "A" if opinions.a_is_first(item) else "B"
    assert f"{side}, wrong (major): “no fever”" in text
    assert not [name for name in (*MODELS, "anna", "ben") if re.search(rf"\b{name}\b", text)]


def test_what_is_called_a_does_not_go_by_the_model(study, anna, ben, lena):
    made = make_campaign(study, [anna, ben], models=MODELS, cases=make_cases(study, 40))
    assert 8 < sum(opinions.a_is_first(item) for item in made.items.all()) < 32


@pytest.mark.parametrize("choice", ["left", "right"])
def test_the_decision_on_the_page_is_for_the_output_shown_there(client, campaign, page, choice):
    item = campaign.items.get(position=1)
    shown = re.findall(r"Summary \d+ of", client.get(page).content.decode())
    fields = {"choice": choice, "strength": "slightly", "reason": "It has the dose."}
    assert client.post(page, fields).status_code == 302
    chosen = Adjudication.objects.get(item=item).chosen
    assert chosen.text.startswith(shown[choice == "right"])


def test_an_incomplete_decision_says_what_is_missing_and_keeps_what_was_typed(client, page):
    response = client.post(page, {"choice": "left", "reason": "It has the dose."})
    assert response.status_code == 422
    text = response.content.decode()
    assert "slightly or clearly" in text
    assert "It has the dose." in text
    assert "Say why you decide so" in client.post(page, {"choice": "tie"}).content.decode()
    assert not Adjudication.objects.exists()


def test_a_reason_in_terms_of_swapped_sides_says_so(client, campaign, page):
    item = campaign.items.get(position=1)
    item.assignments.update(a_is_left=not opinions.a_is_first(item))
    Revision.objects.filter(judgement__item=item).update(reason="A is better.")
    assert "the other way round" in client.get(page).content.decode()
    item.assignments.update(a_is_left=opinions.a_is_first(item))
    assert "the other way round" not in client.get(page).content.decode()


def test_annotators_and_agreed_items_have_no_page(client, campaign, page, anna, lena):
    other = Client()
    other.force_login(anna)
    assert other.get(page).status_code == 403
    assert client.get(page.replace("/1/", "/0/")).status_code == 404
    assert client.get(page.replace("/1/", "/99/")).status_code == 404


def test_the_campaign_page_counts_what_waits_and_the_list_ends(client, campaign, page):
    overview = reverse("annotations:campaign", args=[campaign.study.slug, campaign.public_id])
    assert "Decide 1 open item" in client.get(overview).content.decode()
    client.post(page, {"choice": "tie", "reason": "Nothing between them."})
    assert "Decide 1" not in client.get(overview).content.decode()
    done = client.get(reverse("annotations:adjudication", args=[campaign.study.slug, campaign.public_id]))
    assert "Nothing between them." in done.content.decode()
    assert client.get(page).status_code == 200  # it can be decided again


# What becomes of a decision


def pairs(campaign, **policy):
    return preferences.rows(
        study=campaign.study, kind="preference", campaigns=[campaign], policy=Policy(sources=("comparisons",), **policy)
    )


def test_a_decision_becomes_a_training_pair_with_its_lineage(campaign, lena):
    assert pairs(campaign).counts["no_consensus"] == 1
    made = decide(campaign.items.get(position=1), lena)
    (row,) = [row for row in pairs(campaign).rows if row.adjudication_ids]
    assert row.adjudication_ids == (made.pk,)
    assert row.chosen == made.chosen.text
    assert len(row.judgement_ids) == 2
    # A policy that asks for all of them doesn't take a lead's word, and one by majority does.
    assert pairs(campaign, consensus="unanimous").counts["no_consensus"] == 1
    assert "no_consensus" not in pairs(campaign, consensus="majority").counts


def test_a_decision_is_as_strong_as_it_says(campaign, lena):
    Revision.objects.filter(outcome="prefer_a").update(strength="clearly")
    decide(campaign.items.get(position=1), lena, strength="slightly")
    assert pairs(campaign, min_strength="clearly").counts["weak_strength"] == 1
    decide(campaign.items.get(position=1), lena, strength="clearly")
    assert "weak_strength" not in pairs(campaign, min_strength="clearly").counts


def test_a_policy_goes_by_the_campaigns_rule_unless_it_says_otherwise(study, anna, ben, chidi):
    made = make_campaign(study, [anna, ben, chidi], cases=make_cases(study, 1), consensus="unanimous")
    for person, outcome in ((anna, "prefer_a"), (ben, "prefer_a"), (chidi, "tie")):
        judge(made.items.get(), person, outcome)
    assert pairs(made).counts == {"no_consensus": 1}
    assert len(pairs(made, consensus="majority").rows) == 1
    Campaign.objects.update(consensus="majority")
    assert len(pairs(Campaign.objects.get()).rows) == 1


def documented(evaluation, *campaigns):
    return build.collect(evaluation.study, [evaluation], list(campaigns)).document


def reasoning(lena):
    study = make_study("reasoning")
    join(study, lena, "lead")
    return evaluate(study, {"base": ["a"] * 3, "sft": ["b"] * 3}, make_cases(study, 3, "test"))


def test_accuracy_goes_by_the_campaigns_rule_and_the_leads_decision(lena, anna, ben, chidi):
    evaluation = reasoning(lena)
    people = (anna, ben, chidi)
    made = campaign_on(evaluation, "correctness", people, arms=["sft"], consensus="adjudicated")
    said = [("correct", "correct", "correct"), ("correct", "correct", "incorrect"), ("correct", "partly", "incorrect")]
    for item, answers in zip(made.items.all(), said, strict=True):
        item.overlap = 3
        item.save()
        for person, value in zip(people, answers, strict=True):
            judge(item, person, correctness=value)
    entry = documented(evaluation, made)["arms"]["sft"]["accuracy"]
    assert (entry["value"], entry["left_out"]) == (1.0, {"no consensus": 2})
    decide(made.items.get(position=1), lena, "judged", values={"correctness": "incorrect"})
    decide(made.items.get(position=2), lena, "defective")
    document = documented(evaluation, made)
    entry = document["arms"]["sft"]["accuracy"]
    assert (entry["value"], entry["left_out"]) == (0.5, {"defective item": 1})
    flow = document["flow"]["campaigns"]["correctness"]
    assert (flow["left_open"], flow["adjudicated"], flow["consensus"]) == (2, 2, "adjudicated")
    assert any("decided 2 of the 2 items left open in “correctness”" in text for text in document["methods"])
    assert "or else the lead who decided" in " ".join(document["methods"])
    (first, _) = document["lineage"]["campaigns"]["correctness"]["adjudications"]
    assert (first["reason"], first["values"]) == ("B has the dose.", {"correctness": "incorrect"})
    assert first["decided_by"] == evaluation.study.memberships.get(user=lena).pseudonym


def test_a_majority_stands_whatever_a_lead_decided_before_partly_was_counted(lena, anna, ben, chidi):
    """Correct, partly, incorrect: open as it was judged, but a majority for “not correct” by the plan."""
    evaluation = reasoning(lena)
    people = (anna, ben, chidi)
    made = campaign_on(evaluation, "correctness", people, arms=["sft"])
    item = made.items.first()
    made.items.update(overlap=3)
    for person, value in zip(people, ("correct", "partly", "incorrect"), strict=True):
        judge(item, person, correctness=value)
    decide(item, lena, "judged", values={"correctness": "correct"})
    assert documented(evaluation, made)["arms"]["sft"]["accuracy"]["value"] == 0.0


def test_a_win_rate_counts_agreed_outcomes_where_the_rule_asks_for_them_and_means_elsewhere(lena, anna, ben):
    evaluation = summaries(3)
    join(evaluation.study, lena, "lead")
    made = campaign_on(evaluation, "comparison", [anna, ben], consensus="adjudicated")
    for item, pair in zip(
        made.items.all(), (("prefer_b", "prefer_b"), ("prefer_a", "tie"), ("tie", "prefer_a")), strict=True
    ):
        item.overlap = 2
        item.save()
        judge(item, anna, pair[0])
        judge(item, ben, pair[1])

    def win():
        return next(row for row in documented(evaluation, made)["contrasts"] if row["metric"] == "win_rate")

    assert (win()["effect"], win()["left_out"]) == (1.0, {"no consensus": 2})
    decide(made.items.get(position=1), lena, "prefer_a")
    assert (win()["effect"], win()["left_out"]) == (0.5, {"no consensus": 1})
    Campaign.objects.update(consensus="majority")
    made.refresh_from_db()
    assert win()["effect"] == pytest.approx((1 + 0.25 + 0.25) / 3)


def test_likert_means_stay_means_unless_the_rule_asks_for_the_same_points(lena, anna, ben):
    evaluation = summaries(1, arms=["base"])
    join(evaluation.study, lena, "lead")
    made = campaign_on(evaluation, "likert", [anna, ben], consensus="mean")
    item = made.items.get()
    item.overlap = 2
    item.save()
    judge(item, anna, faithful=4, complete=2)
    judge(item, ben, faithful=4, complete=5)

    def values():
        arms = documented(evaluation, made)["arms"]["base"]
        return [arms[f"mean_likert.{name}"]["value"] for name in ("faithful", "complete")]

    assert values() == [4.0, 3.5]
    assert adjudicating.open_items(made) == []
    Campaign.objects.update(consensus="adjudicated")
    made.refresh_from_db()
    assert values() == [4.0, None]
    decide(item, lena, "judged", values={"faithful": 4, "complete": 5})
    assert values() == [4.0, 5.0]
    assert Case.objects.count() == 1
