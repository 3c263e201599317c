"""The training round: first, with feedback, until enough is right; what was said first is what counts."""

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts.errors import UserError
from accounts.models import AuditEvent
from annotations import judging, ordering, qualifying
from annotations.assignment import next_assignment
from annotations.judging import Answer
from annotations.models import Assignment, Campaign, Judgement, Participation, Revision
from annotations.progress import cards, progress_of
from tests.factories import make_campaign, make_cases, make_item, make_study

pytestmark = pytest.mark.django_db
RIGHT, WRONG = Answer("prefer_a", "clearly"), Answer("tie")
HTMX = {"HX-Request": "true"}


@pytest.fixture
def campaign(anna, ben):
    """Three regular items, and four of training: three must be right."""
    study = make_study()
    campaign = make_campaign(study, [anna, ben], cases=make_cases(study, 3), training_pass_mark=0.7)
    for n in range(4):
        gold = {"outcome": "prefer_a", "strength": "slightly", "values": {}, "feedback": f"A names the **dose**, {n}."}
        make_item(campaign, gold=gold, training=True)
    return campaign


def train(campaign, person, answers):
    """Judge the next training items with these answers. Returns their assignments."""
    given = []
    for answer in answers:
        held = next_assignment(campaign, person)
        assert held.item.training
        judging.submit(held, answer, actor=person)
        given.append(held)
    return given


def signed_in(person):
    client = Client()
    client.force_login(person)
    return client


def page(campaign, name="judge", *args):
    return reverse(f"annotations:{name}", args=[campaign.public_id, *args])


class TestRound:
    def test_training_items_come_first_in_one_order_for_each_annotator(self, campaign, anna, ben):
        training = campaign.items.filter(training=True).values_list("pk", flat=True)
        for person in (anna, ben):
            order = [row.item_id for row in train(campaign, person, [RIGHT] * 4)]
            assert order == sorted(training, key=lambda pk: ordering.gold_key(campaign, person.pk, pk))
            assert not next_assignment(campaign, person).item.training

    def test_the_pass_is_recorded_once_when_the_first_item_is_claimed(self, campaign, anna):
        train(campaign, anna, [RIGHT, WRONG, RIGHT, RIGHT])
        assert Participation.objects.get(user=anna).training_passed_at is None
        next_assignment(campaign, anna)
        passed_at = Participation.objects.get(user=anna).training_passed_at
        assert passed_at is not None
        next_assignment(campaign, anna)
        assert Participation.objects.get(user=anna).training_passed_at == passed_at
        assert AuditEvent.objects.filter(action="pass training").count() == 1

    def test_nothing_else_is_handed_out_before_it_is_passed(self, campaign, anna):
        regular = campaign.items.regular().first()
        Assignment.objects.create(item=regular, annotator=anna, lease_expires_at=timezone.now() + judging.places.LEASE)
        train(campaign, anna, [RIGHT, RIGHT, WRONG, WRONG])
        assert next_assignment(campaign, anna) is None
        standing = qualifying.standing(campaign, anna)
        assert (standing.right, standing.total, standing.needed, standing.failed) == (2, 4, 3, True)

    def test_a_mark_that_binary_cannot_hold_asks_for_no_more_than_it_says(self, campaign, anna):
        for _ in range(6):
            make_item(campaign, gold={"outcome": "prefer_a"}, training=True)
        assert qualifying.standing(campaign, anna).needed == 7

    @pytest.mark.parametrize("change", ["revise", "undo"])
    def test_an_answer_after_the_feedback_does_not_count(self, campaign, anna, change):
        judged = train(campaign, anna, [RIGHT, RIGHT, WRONG, WRONG])
        for row in judged[2:]:
            if change == "revise":
                judging.revise(row.judgement, RIGHT, change_reason="Now I know", actor=anna)
            else:
                judging.undo(row.judgement, actor=anna)
                judging.submit(row, RIGHT, actor=anna)
        assert next_assignment(campaign, anna) is None
        assert qualifying.standing(campaign, anna).right == 2

    def test_it_takes_no_place_and_is_never_surplus(self, campaign, anna, ben):
        train(campaign, anna, [RIGHT] * 4)
        train(campaign, ben, [RIGHT] * 4)
        assert not Judgement.objects.filter(surplus=True).exists()

    def test_without_a_pass_mark_there_is_none(self, campaign, anna):
        Campaign.objects.update(training_pass_mark=None)
        campaign.refresh_from_db()
        assert not next_assignment(campaign, anna).item.training
        assert qualifying.standing(campaign, anna) is None

    def test_without_training_items_nothing_changes(self, campaign, anna):
        campaign.items.filter(training=True).delete()
        assert next_assignment(campaign, anna).item.is_regular
        assert qualifying.standing(campaign, anna) is None
        assert Participation.objects.get(user=anna).training_passed_at is None

    def test_progress_tells_it_apart_from_the_campaigns_items(self, campaign, anna, django_assert_num_queries):
        other = make_campaign(make_study(), [anna])
        train(campaign, anna, [RIGHT])
        with django_assert_num_queries(3):
            progress = progress_of(campaign, anna)
        assert (progress.done, progress.total, progress.training) == (0, 3, (1, 4))
        with django_assert_num_queries(3):
            assert [card.begun for card in cards([campaign, other], anna)] == [True, False]
        train(campaign, anna, [RIGHT] * 3)
        judging.submit(next_assignment(campaign, anna), WRONG, actor=anna)
        progress = progress_of(campaign, anna)
        assert (progress.done, progress.total, progress.training) == (1, 3, None)


class TestAgain:
    def test_the_items_come_again_without_answers_and_the_record_keeps_the_first_round(self, campaign, anna):
        first = train(campaign, anna, [WRONG] * 4)
        qualifying.repeat(campaign, anna)
        assert Participation.objects.get(user=anna).training_round == 2
        withdrawn = Revision.objects.filter(is_current=True, outcome="withdrawn", change_reason="training repeated")
        assert withdrawn.count() == 4
        second = []
        for _ in range(4):
            held = next_assignment(campaign, anna)
            assert held.draft is None
            judging.submit(held, RIGHT, actor=anna)
            second.append(held)
        assert second == first
        assert next_assignment(campaign, anna).item.is_regular
        assert list(Revision.objects.filter(judgement=first[0].judgement).values_list("outcome", flat=True)) == [
            *("tie", "withdrawn", "prefer_a")
        ]

    @pytest.mark.parametrize("answers", [[WRONG] * 3, [RIGHT] * 4])
    def test_only_a_whole_round_that_was_not_passed_is_repeated(self, campaign, anna, answers):
        train(campaign, anna, answers)
        with pytest.raises(UserError):
            qualifying.repeat(campaign, anna)
        assert Participation.objects.get(user=anna).training_round == 1

    def test_a_closed_campaign_repeats_none(self, campaign, anna):
        train(campaign, anna, [WRONG] * 4)
        Campaign.objects.update(closed_at=timezone.now())
        campaign.refresh_from_db()
        with pytest.raises(UserError, match="closed"):
            qualifying.repeat(campaign, anna)


class TestPages:
    def submit(self, client, campaign, **fields):
        client.get(page(campaign))
        held = Assignment.objects.get(submitted_at__isnull=True, skipped_at__isnull=True)
        if fields.pop("right", False):
            fields = {"choice": "left" if held.a_is_left else "right", "strength": "clearly"}
        return held, client.post(page(campaign), {"assignment": held.pk, "choice": "tie", **fields})

    def test_after_an_item_the_known_answer_is_shown_with_ones_own(self, campaign, anna):
        client = signed_in(anna)
        held, response = self.submit(client, campaign)
        assert response["Location"] == page(campaign, "judge_feedback", held.pk)
        text = client.get(response["Location"]).content.decode()
        side = "A" if held.a_is_left else "B"
        assert "Not the known answer" in text
        assert "Tie, both good." in text
        assert f"{side} is slightly better." in text
        assert "<strong>dose</strong>" in text
        assert held.item.completion_a.text in text
        assert "autofocus" in text
        _, response = self.submit(client, campaign, right=True)
        assert "<h1>Right</h1>" in client.get(response["Location"]).content.decode()

    def test_for_htmx_it_is_a_page_of_its_own(self, campaign, anna):
        client = signed_in(anna)
        held, _ = self.submit(client, campaign)
        where = page(campaign, "judge_feedback", held.pk)
        assert client.get(where, headers=HTMX)["HX-Redirect"] == where

    def test_it_tells_no_model(self, campaign, anna):
        client = signed_in(anna)
        for _ in range(4):
            held, response = self.submit(client, campaign)
            text = client.get(response["Location"]).content.decode()
            assert not any(model.name in text for model in campaign.models.all())
            assert str(held.item.completion_a_id) not in text.replace(str(held.pk), "").split()

    def test_the_last_one_says_what_was_missed_and_offers_another_try(self, campaign, anna):
        client = signed_in(anna)
        for right in (True, True, False, False):
            _, response = self.submit(client, campaign, right=right)
        text = client.get(response["Location"]).content.decode()
        assert "2 of 4 were right, and 3 are needed." in text
        assert text.count(">Look again<") == 2
        assert "Try the training again" in text
        assert client.get(page(campaign))["Location"] == page(campaign, "judge_training")
        assert "Try the training again" in client.get(page(campaign, "judge_training")).content.decode()
        client.post(page(campaign, "judge_training_again"))
        assert Participation.objects.get(user=anna).training_round == 2
        assert 'id="answer"' in client.get(page(campaign)).content.decode()

    def test_a_pass_is_said_and_leads_on(self, campaign, anna):
        client = signed_in(anna)
        for _ in range(4):
            _, response = self.submit(client, campaign, right=True)
        text = client.get(response["Location"]).content.decode()
        assert "You passed the training" in text
        assert "from here on there is no feedback" in text
        assert Participation.objects.get(user=anna).training_passed_at is None  # reading a page writes nothing
        _, response = self.submit(client, campaign)
        assert response["Location"].startswith(f"{page(campaign)}?saved=")

    def test_skipped_training_items_are_offered_there(self, campaign, anna):
        client = signed_in(anna)
        client.get(page(campaign))
        client.post(page(campaign, "judge_skip"), {"assignment": Assignment.objects.get().pk})
        for _ in range(3):
            self.submit(client, campaign, right=True)
        text = client.get(page(campaign), follow=True).content.decode()
        assert "Take up skipped items" in text
        client.post(page(campaign, "judge_again"))
        assert self.submit(client, campaign, right=True)[0].item.training

    def test_there_is_no_feedback_on_other_items_or_other_peoples(self, campaign, anna, ben):
        client = signed_in(anna)
        held, _ = self.submit(client, campaign)
        assert signed_in(ben).get(page(campaign, "judge_feedback", held.pk)).status_code == 404
        waiting = next_assignment(campaign, anna)
        assert client.get(page(campaign, "judge_feedback", waiting.pk)).status_code == 404
        judging.submit(waiting, RIGHT, actor=anna)
        train(campaign, anna, [RIGHT] * 2)
        regular = next_assignment(campaign, anna)
        judging.submit(regular, WRONG, actor=anna)
        assert client.get(page(campaign, "judge_feedback", regular.pk)).status_code == 404

    def test_where_there_is_no_training_there_is_no_page(self, anna):
        campaign = make_campaign(make_study(), [anna])
        assert signed_in(anna).get(page(campaign, "judge_training")).status_code == 404

    @pytest.mark.parametrize(
        ("task", "kind", "known", "words"),
        [
            ("summarisation", "likert", {"faithful": 4, "complete": 1}, "Faithful: 4 – good; Complete: 1 – unusable."),
            ("triage", "label", {"personnel": "nurse", "urgency": "soon"}, "Personnel: Nurse; Urgency: Soon."),
            ("reasoning", "correctness", {"correctness": "partly"}, "Is the answer correct?: Partly correct."),
        ],
    )
    def test_every_kind_is_told_in_its_own_words(self, anna, task, kind, known, words):
        campaign = make_campaign(make_study(task), [anna], kind=kind, training_pass_mark=1)
        make_item(campaign, gold={"outcome": "judged", "values": known}, training=True)
        held = next_assignment(campaign, anna)
        judging.submit(held, Answer("judged", values=known), actor=anna)
        text = signed_in(anna).get(page(campaign, "judge_feedback", held.pk)).content.decode()
        assert text.count(words) == 2
        assert "You passed the training" in text
