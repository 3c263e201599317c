"""Nobody gets an item twice, no item gets more than its overlap, and sides are balanced and never redrawn."""

import threading
from collections import Counter
from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone

from annotations import judging
from annotations.assignment import LEASE, a_is_left, next_assignment
from annotations.judging import Answer
from annotations.models import Assignment, Judgement
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
                balance += 1 if a_is_left(11, annotator, (1, 2), index) else -1
                assert abs(balance) <= 2
                if index % 4 == 3:
                    assert balance == 0

    def test_the_sequence_depends_on_seed_annotator_and_pair_only(self):
        def sequence(*key):
            return [a_is_left(*key, index) for index in range(32)]

        assert sequence(1, 1, (1, 2)) == sequence(1, 1, (1, 2))
        others = [sequence(2, 1, (1, 2)), sequence(1, 2, (1, 2)), sequence(1, 1, (1, 3))]
        assert all(sequence(1, 1, (1, 2)) != other for other in others)

    @pytest.mark.django_db
    def test_sides_are_drawn_once_and_in_sequence_order(self, anna):
        study = make_study()
        campaign = make_campaign(study, [anna], cases=make_cases(study, 9), seed=5)
        pair = tuple(model.pk for model in campaign.models.order_by("name"))
        sides = []
        while assignment := next_assignment(campaign, anna):
            expire(assignment)
            again = next_assignment(campaign, anna)
            assert again.a_is_left == assignment.a_is_left
            sides.append(again.a_is_left)
            tie(again)
        assert sides == [a_is_left(5, anna.pk, pair, index) for index in range(9)]

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
