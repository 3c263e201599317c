"""Nobody gets an item twice, no item gets more than its overlap, and sides are balanced and never redrawn."""

import threading
from collections import Counter
from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone

from accounts.models import AuditEvent
from annotations import assignment as places
from annotations import campaigning, judging
from annotations.assignment import LEASE, a_is_left, next_assignment
from annotations.judging import Answer
from annotations.models import Assignment, Campaign, Judgement, Revision
from tests.factories import make_campaign, make_cases, make_study, make_user


def expire(assignment):
    Assignment.objects.filter(pk=assignment.pk).update(lease_expires_at=timezone.now() - timedelta(seconds=1))
    assignment.refresh_from_db()


def tie(assignment):
    return judging.submit(assignment, Answer("tie"), actor=assignment.annotator)


@pytest.mark.django_db
class TestClaims:
    def test_the_same_item_comes_back_until_it_is_submitted(self, anna):
        campaign = make_campaign(make_study(), [anna])
        first = next_assignment(campaign, anna)
        assert next_assignment(campaign, anna) == first
        tie(first)
        assert next_assignment(campaign, anna) != first

    def test_items_come_in_the_campaigns_order_and_end(self, anna):
        campaign = make_campaign(make_study(), [anna])
        seen = []
        while assignment := next_assignment(campaign, anna):
            seen.append(assignment.item.position)
            tie(assignment)
        assert seen == [0, 1, 2, 3]

    def test_a_live_lease_keeps_the_place_and_an_expired_one_frees_it(self, anna, ben):
        study = make_study()
        campaign = make_campaign(study, [anna, ben], overlap=1, cases=make_cases(study, 1))
        held = next_assignment(campaign, anna)
        assert next_assignment(campaign, ben) is None
        expire(held)
        assert next_assignment(campaign, ben).item == held.item

    def test_an_expired_assignment_comes_back_while_its_place_is_free(self, anna, ben):
        study = make_study()
        campaign = make_campaign(study, [anna, ben], overlap=1, cases=make_cases(study, 1))
        held = next_assignment(campaign, anna)
        expire(held)
        again = next_assignment(campaign, anna)
        assert again == held
        assert again.lease_expires_at > timezone.now() + LEASE / 2
        expire(held)
        next_assignment(campaign, ben)
        assert next_assignment(campaign, anna) is None

    def test_a_skipped_item_goes_to_somebody_else_and_not_back(self, anna, ben):
        study = make_study()
        campaign = make_campaign(study, [anna, ben], overlap=1, cases=make_cases(study, 1))
        judging.skip(next_assignment(campaign, anna), reason="not mine")
        assert next_assignment(campaign, anna) is None
        assert next_assignment(campaign, ben) is not None

    def test_skipped_items_can_be_taken_up_again_while_a_place_is_left(self, anna, ben):
        campaign = make_campaign(make_study(), [anna, ben], overlap=1)
        first = next_assignment(campaign, anna)
        judging.skip(first)
        second = next_assignment(campaign, anna)
        judging.skip(second)
        tie(next_assignment(campaign, ben))  # takes the first
        assert judging.take_up_skipped(campaign, anna) == 2
        assert next_assignment(campaign, anna) == second

    def test_every_item_gets_its_overlap_and_no_more(self, anna, ben, chidi):
        study = make_study()
        campaign = make_campaign(study, [anna, ben, chidi], overlap=2, cases=make_cases(study, 6))
        people = [anna, ben, chidi]
        for _ in campaign.items.all():
            for person in people:
                if assignment := next_assignment(campaign, person):
                    tie(assignment)
        assert Counter(Judgement.objects.values_list("item_id", flat=True)) == {i.pk: 2 for i in campaign.items.all()}
        assert not Judgement.objects.filter(surplus=True).exists()

    def test_a_closed_campaign_gives_nothing(self, anna):
        campaign = make_campaign(make_study(), [anna], closed_at=timezone.now())
        assert next_assignment(campaign, anna) is None


class TestSides:
    def test_every_prefix_of_a_sequence_is_balanced_within_two(self):
        for annotator in range(40):
            balance = 0
            for index in range(40):
                balance += 1 if a_is_left(Campaign(secret="s", seed=11), annotator, (1, 2), index) else -1
                assert abs(balance) <= 2
                if index % 4 == 3:
                    assert balance == 0

    def test_the_sequence_depends_on_secret_seed_annotator_and_pair_only(self):
        def sequence(secret="s", seed=1, annotator=1, pair=(1, 2)):
            return [a_is_left(Campaign(secret=secret, seed=seed), annotator, pair, index) for index in range(32)]

        assert sequence() == sequence()
        others = [sequence(secret="t"), sequence(seed=2), sequence(annotator=2), sequence(pair=(1, 3))]
        assert all(sequence() != other for other in others)

    @pytest.mark.django_db
    def test_sides_are_drawn_once_and_in_sequence_order(self, anna):
        study = make_study()
        campaign = make_campaign(study, [anna], cases=make_cases(study, 9), seed=5, secret="s")
        pair = tuple(model.pk for model in campaign.models.order_by("name"))
        sides = []
        while assignment := next_assignment(campaign, anna):
            expire(assignment)
            again = next_assignment(campaign, anna)
            assert again.a_is_left == assignment.a_is_left
            sides.append(again.a_is_left)
            tie(again)
        assert sides == [a_is_left(campaign, anna.pk, pair, index) for index in range(9)]

    @pytest.mark.django_db
    def test_where_there_is_no_pair_there_is_no_side(self, anna):
        campaign = make_campaign(make_study(), [anna], kind="likert")
        assert next_assignment(campaign, anna).a_is_left is None


@pytest.mark.django_db(transaction=True)
def test_annotators_who_ask_at_the_same_moment_never_overshoot_the_overlap():
    people = [make_user(f"person{n}") for n in range(4)]
    study = make_study()
    campaign = make_campaign(study, people, overlap=2, cases=make_cases(study, 6))
    barrier = threading.Barrier(len(people) * 2)
    errors = []

    def work(person):
        try:
            barrier.wait(10)
            while assignment := next_assignment(campaign, person):
                tie(assignment)
        except Exception as error:
            errors.append(error)
        finally:
            connection.close()

    # Two tabs of each of four annotators.
    threads = [threading.Thread(target=work, args=[person]) for person in people for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert errors == []
    assert Counter(Judgement.objects.values_list("item_id", flat=True)) == {item.pk: 2 for item in campaign.items.all()}
    assert not Judgement.objects.filter(surplus=True).exists()
    assert Assignment.objects.count() == Judgement.objects.count()


@pytest.mark.django_db
class TestSurplus:
    """A judgement that came too late for its place counts once a place is free again."""

    @pytest.fixture
    def campaign(self, anna, ben):
        study = make_study()
        return make_campaign(study, [anna, ben], overlap=1, cases=make_cases(study, 1))

    @pytest.fixture
    def bens(self, campaign, anna, ben):
        """Ben's assignment, which took the place that Anna's lease lost; Anna's answer came after that."""
        annas = next_assignment(campaign, anna)
        expire(annas)
        bens = next_assignment(campaign, ben)
        assert tie(annas).surplus
        return bens

    def test_it_takes_the_place_of_one_who_skips(self, bens):
        judging.skip(bens)
        assert not Judgement.objects.get().surplus
        assert AuditEvent.objects.filter(action="count surplus judgement").count() == 1

    def test_it_takes_the_place_of_a_lease_that_ran_out(self, campaign, bens, anna):
        assert next_assignment(campaign, anna) is None
        assert Judgement.objects.get().surplus
        expire(bens)
        assert next_assignment(campaign, anna) is None
        assert not Judgement.objects.get().surplus

    def test_it_comes_before_somebody_who_has_not_judged(self, campaign, bens, chidi):
        campaign.annotators.add(chidi)
        expire(bens)
        assert next_assignment(campaign, chidi) is None
        assert not Judgement.objects.get().surplus

    def test_a_lease_that_the_closing_ends_leaves_it_its_place(self, campaign, bens):
        campaigning.close(campaign, actor=None)
        assert not Judgement.objects.get().surplus

    def test_one_that_was_withdrawn_takes_no_place(self, campaign, bens, anna):
        judging.undo(Judgement.objects.get(), actor=anna)
        expire(Assignment.objects.get(annotator=anna))
        judging.skip(bens)
        assert Judgement.objects.get().surplus

    def test_no_more_count_than_there_are_places(self, campaign, bens, chidi):
        campaign.annotators.add(chidi)
        late = Assignment.objects.create(item=bens.item, annotator=chidi, lease_expires_at=timezone.now())
        assert tie(late).surplus
        judging.skip(bens)
        assert [row.surplus for row in Judgement.objects.order_by("pk")] == [False, True]


@pytest.mark.django_db(transaction=True)
class TestSameMoment:
    """What PostgreSQL needs locks for: somebody else comes between the check and the write."""

    @pytest.fixture
    def held(self, anna, ben):
        """Anna's assignment of the one item there is, its lease run out."""
        study = make_study()
        campaign = make_campaign(study, [anna, ben], overlap=1, cases=make_cases(study, 1))
        assignment = next_assignment(campaign, anna)
        expire(assignment)
        return assignment

    @pytest.fixture
    def between(self, monkeypatch):
        """Run ``other`` in a thread when ``module.name`` is first called, for as long as it isn't locked out."""
        threads = []

        def arrange(module, name, other):
            original = getattr(module, name)

            def work():
                try:
                    other()
                finally:
                    connection.close()

            def stopped(*args, **options):
                if not threads:
                    threads.append(threading.Thread(target=work))
                    threads[0].start()
                    threads[0].join(0.5)
                return original(*args, **options)

            monkeypatch.setattr(module, name, stopped)
            return lambda: threads[0].join(10)

        return arrange

    def test_a_renewed_lease_and_a_claim_share_no_place(self, held, anna, ben, between):
        campaign = held.item.campaign
        wait = between(places, "extend", lambda: next_assignment(campaign, ben))
        next_assignment(campaign, anna)
        wait()
        assert places.places_taken(held.item) == 1

    def test_a_draft_and_a_claim_share_no_place(self, held, ben, between):
        wait = between(judging, "_plausible", lambda: next_assignment(held.item.campaign, ben))
        judging.save_draft(held, {"choice": "tie"})
        wait()
        assert places.places_taken(held.item) == 1

    @pytest.mark.parametrize("change", ["submit", "revise", "undo"])
    def test_nothing_comes_in_after_the_closing_has_returned(self, held, anna, between, change):
        campaign = held.item.campaign
        seen = []

        def close():
            campaigning.close(campaign, actor=None)
            seen.append(Revision.objects.count())

        if change != "submit":
            tie(held)
        wait = between(judging, "write_revision", close)
        if change == "submit":
            tie(held)
        elif change == "revise":
            judging.revise(Judgement.objects.get(), Answer("defective"), change_reason="Looked again", actor=anna)
        else:
            judging.undo(Judgement.objects.get(), actor=anna)
        wait()
        assert seen == [Revision.objects.count()]
