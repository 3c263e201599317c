"""The blinding check: who is asked what and when, what is kept, and that nothing can be judged after it."""

import re
from datetime import timedelta

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts.errors import UserError
from annotations import guessing, judging
from annotations.assignment import next_assignment
from annotations.models import Assignment, Campaign, Guess, Item, Judgement, Unblinding
from tests.factories import join, make_campaign, make_cases, make_completion, make_study

pytestmark = pytest.mark.django_db
WORDS = ("the first system", "the second system")


@pytest.fixture
def study(lena, anna):
    study = make_study()
    join(study, lena, "lead")
    join(study, anna, "annotator")
    return study


def checked(study, people, *, kind="comparison", n=4, items=3, **fields):
    """A campaign of ``n`` items that asks for ``items`` guesses."""
    campaign = make_campaign(study, people, kind=kind, cases=make_cases(study, n), **fields)
    arms = {str(model.pk): words for model, words in zip(campaign.models.order_by("name"), WORDS, strict=True)}
    campaign.blinding_check = {"items": items, "arms": arms}
    campaign.save()
    if kind not in ("comparison", "label"):  # the second arm's outputs are items of their own
        for item in list(campaign.items.select_related("case")):
            other = make_completion(item.case, campaign.models.get(name="beta"))
            Item.objects.create(
                campaign=campaign, case=item.case, completion_a=other, position=item.position + n, overlap=item.overlap
            )
    return campaign


def answer_for(campaign):
    if campaign.kind == "comparison":
        return judging.Answer("tie")
    if campaign.kind == "likert":
        return judging.Answer("judged", values={"faithful": 3, "complete": 4})
    return judging.Answer("judged", values={"correctness": "correct"})


def judge_all(campaign, user, answer=None):
    while (assignment := next_assignment(campaign, user)) is not None:
        judging.submit(assignment, answer or answer_for(campaign), actor=user)


def signed_in(user):
    client = Client()
    client.force_login(user)
    return client


def page_of(campaign, name="guess"):
    return reverse(f"annotations:{name}", args=[campaign.public_id])


class TestWhoIsAsked:
    def test_as_many_of_ones_own_judged_items_as_the_campaign_asks_for(self, study, anna):
        campaign = checked(study, [anna])
        judge_all(campaign, anna)
        drawn = guessing.drawn(campaign, anna)
        assert len(drawn) == 3
        assert {row.annotator for row in drawn} == {anna}

    def test_fewer_where_fewer_were_judged(self, study, anna):
        campaign = checked(study, [anna], items=9)
        judging.submit(next_assignment(campaign, anna), judging.Answer("tie"), actor=anna)
        assert len(guessing.drawn(campaign, anna)) == 1

    def test_nobody_where_the_campaign_asks_for_no_guesses(self, study, anna):
        campaign = checked(study, [anna], items=0)
        judge_all(campaign, anna)
        assert not guessing.pending(campaign, anna)

    def test_the_draw_is_the_same_every_time_and_another_for_another_secret(self, study, anna):
        campaign = checked(study, [anna], n=12, items=6)
        judge_all(campaign, anna)
        first = [row.pk for row in guessing.drawn(campaign, anna)]
        assert first == [row.pk for row in guessing.drawn(campaign, anna)]
        campaign.secret = "another secret"
        assert first != [row.pk for row in guessing.drawn(campaign, anna)]

    def test_repeats_gold_and_defective_items_are_left_out(self, study, anna):
        campaign = checked(study, [anna], n=4, items=9)
        judge_all(campaign, anna)
        repeat, gold, defective, regular = campaign.items.all()
        Item.objects.filter(pk=gold.pk).update(gold={"outcome": "tie"})
        Item.objects.filter(pk=repeat.pk).update(repeat_of=regular)
        judging.revise(
            Judgement.objects.get(item=defective), judging.Answer("defective"), change_reason="Cut off", actor=anna
        )
        assert [row.item for row in guessing.drawn(campaign, anna)] == [regular]

    def test_two_samples_of_one_model_can_not_be_told_apart_by_arm(self, study, anna):
        campaign = checked(study, [anna])
        for item in campaign.items.select_related("completion_a__model", "case"):
            item.completion_b = make_completion(item.case, item.completion_a.model, index=1)
            item.save()
        judge_all(campaign, anna)
        assert guessing.drawn(campaign, anna) == []

    @pytest.mark.parametrize("role", ["lead", "viewer"])
    def test_after_closing_whoever_may_look_at_the_models_is_not_asked(self, study, anna, role):
        campaign = checked(study, [anna])
        judge_all(campaign, anna)
        assert guessing.pending(campaign, anna)
        campaign.closed_at = timezone.now()
        campaign.save()
        assert guessing.pending(campaign, anna)
        join(study, anna, role)
        assert not guessing.pending(campaign, anna)

    def test_whoever_was_unblinded_is_not_asked(self, study, anna):
        campaign = checked(study, [anna])
        judge_all(campaign, anna)
        Unblinding.objects.create(campaign=campaign, user=anna, reason="Safety board")
        assert not guessing.pending(campaign, anna)


class TestWhatIsKept:
    @pytest.mark.parametrize("a_is_left", [True, False])
    def test_pointing_at_the_output_of_the_arm_is_right_and_at_the_other_wrong(self, study, anna, a_is_left):
        campaign = checked(study, [anna], n=16, items=16)
        judge_all(campaign, anna)
        Assignment.objects.update(a_is_left=a_is_left)
        looked_for = set()
        for said in ["left", "right"] * 8:
            question = guessing.next_guess(campaign, anna)
            guess = guessing.keep(question.assignment, said)
            item = question.assignment.item
            pointed_at = item.completion_a if (said == "left") == a_is_left else item.completion_b
            words = guessing.wordings(campaign)
            looked_for.add(question.wanted)
            assert words[guess.completion.model_id] == question.wanted
            assert (guess.guessed == guess.completion.model) == (words[pointed_at.model_id] == question.wanted)
        assert looked_for == set(WORDS)  # now one arm is looked for, now the other

    @pytest.mark.parametrize("kind", ["likert", "correctness"])
    def test_of_a_single_output_the_arm_itself_is_named(self, study, anna, kind):
        campaign = checked(study, [anna], kind=kind, items=8)
        judge_all(campaign, anna)
        question = guessing.next_guess(campaign, anna)
        assert [title for _, title in question.options] == [*WORDS, "I don't know"]
        guess = guessing.keep(question.assignment, "2")
        assert guess.guessed == campaign.models.order_by("name")[1]
        assert guess.completion == question.assignment.item.completion_a

    def test_dont_know_is_kept_as_such(self, study, anna):
        campaign = checked(study, [anna])
        judge_all(campaign, anna)
        guess = guessing.keep(guessing.next_guess(campaign, anna).assignment, guessing.DONT_KNOW)
        assert guess.guessed is None

    def test_the_first_guess_stands(self, study, anna):
        campaign = checked(study, [anna])
        judge_all(campaign, anna)
        asked = guessing.next_guess(campaign, anna).assignment
        first = guessing.keep(asked, "left")
        again = guessing.keep(Assignment.objects.get(pk=asked.pk), "right")
        assert first == again
        assert Guess.objects.get().guessed == first.guessed

    @pytest.mark.parametrize("said", ["", "middle", "1", "left\x00"])
    def test_an_answer_that_is_none_is_refused(self, study, anna, said):
        campaign = checked(study, [anna])
        judge_all(campaign, anna)
        with pytest.raises(UserError, match="Choose one of the answers"):
            guessing.keep(guessing.next_guess(campaign, anna).assignment, said)

    def test_an_item_that_was_not_drawn_is_refused(self, study, anna):
        campaign = checked(study, [anna], n=4, items=3)
        judge_all(campaign, anna)
        drawn = {row.pk for row in guessing.drawn(campaign, anna)}
        with pytest.raises(UserError, match="doesn't ask about this item"):
            guessing.keep(Assignment.objects.exclude(pk__in=drawn).get(), "left")


class TestNothingIsJudgedAfterIt:
    def test_no_guess_while_an_item_is_held(self, study, anna):
        campaign = checked(study, [anna])
        judging.submit(next_assignment(campaign, anna), judging.Answer("tie"), actor=anna)
        next_assignment(campaign, anna)
        with pytest.raises(UserError, match="still an item for you to judge"):
            guessing.keep(guessing.next_guess(campaign, anna).assignment, "left")

    def test_from_the_first_guess_on_nothing_is_given_corrected_or_undone(self, study, anna):
        campaign = checked(study, [anna], n=4)
        skipped = next_assignment(campaign, anna)
        judging.skip(skipped)
        judge_all(campaign, anna)
        guessing.keep(guessing.next_guess(campaign, anna).assignment, "left")
        judging.take_up_skipped(campaign, anna)
        assert next_assignment(campaign, anna) is None
        judgement = Judgement.objects.first()
        for change in (
            lambda: judging.submit(skipped, judging.Answer("tie"), actor=anna),
            lambda: judging.revise(judgement, judging.Answer("defective"), change_reason="Oh", actor=anna),
            lambda: judging.undo(judgement, actor=anna),
        ):
            with pytest.raises(UserError, match="begun the blinding check"):
                change()

    def test_another_annotator_goes_on(self, study, anna, ben):
        campaign = checked(study, [anna, ben])
        judge_all(campaign, anna)
        guessing.keep(guessing.next_guess(campaign, anna).assignment, "left")
        assert next_assignment(campaign, ben) is not None

    def test_reopening_gives_nothing_more_to_who_has_guessed(self, study, anna):
        campaign = checked(study, [anna])
        judging.submit(next_assignment(campaign, anna), judging.Answer("tie"), actor=anna)
        Campaign.objects.update(closed_at=timezone.now())
        campaign.refresh_from_db()
        guessing.keep(guessing.next_guess(campaign, anna).assignment, "left")
        Campaign.objects.update(closed_at=None)
        campaign.refresh_from_db()
        assert next_assignment(campaign, anna) is None


class TestThePage:
    def test_whoever_has_still_to_judge_is_sent_to_judge(self, study, anna):
        campaign = checked(study, [anna])
        assert signed_in(anna).get(page_of(campaign))["Location"] == page_of(campaign, "judge")

    def test_it_is_offered_when_nothing_is_left_and_ends_with_thanks(self, study, anna):
        campaign = checked(study, [anna])
        judge_all(campaign, anna)
        client = signed_in(anna)
        assert page_of(campaign) in client.get(page_of(campaign, "judge")).content.decode()
        seen = []
        for n in range(1, 4):
            text = client.get(page_of(campaign)).content.decode()
            assert f"Question {n} of 3" in text
            assert ("you can't judge or correct" in text.replace("&#x27;", "'")) == (n == 1)
            asked = re.search(r'name="assignment" value="([^"]+)"', text)[1]
            seen.append(asked)
            assert client.post(page_of(campaign), {"assignment": asked, "guess": "left"}).status_code == 302
        assert len(set(seen)) == 3
        assert "Thank you" in client.get(page_of(campaign)).content.decode()
        assert page_of(campaign) not in client.get(page_of(campaign, "judge")).content.decode()

    @pytest.mark.parametrize("a_is_left", [True, False])
    def test_sides_are_those_that_were_judged(self, study, anna, a_is_left):
        campaign = checked(study, [anna], n=1)
        judge_all(campaign, anna)
        Assignment.objects.update(a_is_left=a_is_left)
        text = signed_in(anna).get(page_of(campaign)).content.decode()
        item = Item.objects.get()
        assert (text.index(item.completion_a.text) < text.index(item.completion_b.text)) is a_is_left

    def test_a_guess_without_an_answer_is_said_in_place(self, study, anna):
        campaign = checked(study, [anna])
        judge_all(campaign, anna)
        asked = guessing.next_guess(campaign, anna).assignment
        response = signed_in(anna).post(page_of(campaign), {"assignment": asked.pk})
        assert response.status_code == 422
        assert "Choose one of the answers" in response.content.decode()

    def test_after_closing_the_annotator_is_still_asked_and_still_blind(self, study, anna):
        campaign = checked(study, [anna])
        judge_all(campaign, anna)
        Campaign.objects.update(closed_at=timezone.now())
        text = signed_in(anna).get(page_of(campaign)).content.decode()
        assert "Question 1 of 3" in text
        assert "alpha" not in text
        assert "beta" not in text

    def test_nobody_guesses_for_somebody_else(self, study, anna, ben):
        campaign = checked(study, [anna, ben])
        judge_all(campaign, anna)
        judge_all(campaign, ben)
        others = guessing.next_guess(campaign, anna).assignment
        response = signed_in(ben).post(page_of(campaign), {"assignment": others.pk, "guess": "left"})
        assert response.status_code == 404
        assert not Guess.objects.exists()

    def test_single_keys_are_off_for_who_switched_them_off(self, study, anna):
        campaign = checked(study, [anna])
        judge_all(campaign, anna)
        assert "data-keys" not in signed_in(anna).get(page_of(campaign)).content.decode()
        anna.shortcuts = {"off": True}
        anna.save()
        assert 'data-keys="off"' in signed_in(anna).get(page_of(campaign)).content.decode()

    def test_strangers_find_nothing(self, study, anna, chidi):
        assert signed_in(chidi).get(page_of(checked(study, [anna]))).status_code == 404

    def test_without_a_blinding_check_the_page_leads_back_to_judging(self, study, anna):
        campaign = checked(study, [anna], items=0)
        judge_all(campaign, anna)
        assert signed_in(anna).get(page_of(campaign))["Location"] == page_of(campaign, "judge")

    def test_a_lease_that_ran_out_does_not_keep_anybody_from_guessing(self, study, anna, ben):
        campaign = checked(study, [anna, ben], overlap=1, n=2)
        judging.submit(next_assignment(campaign, anna), judging.Answer("tie"), actor=anna)
        next_assignment(campaign, anna)
        Assignment.objects.filter(submitted_at=None).update(lease_expires_at=timezone.now() - timedelta(hours=1))
        judge_all(campaign, ben)  # takes the place over
        assert "Question 1 of 1" in signed_in(anna).get(page_of(campaign)).content.decode()
