"""Nobody gets an item twice, no item gets more than its overlap, and sides are balanced and never redrawn.

Everybody walks through the items in an order of their own, with gold items and hidden repeats in between.
"""

import random
import threading
from collections import Counter
from datetime import timedelta
from itertools import pairwise

import pytest
from django.db import connection
from django.utils import timezone

from accounts.models import AuditEvent
from annotations import assignment, campaigning, judging, ordering, places
from annotations.assignment import a_is_left, next_assignment
from annotations.judging import Answer
from annotations.models import Assignment, Campaign, Judgement, Membership, Participation, Revision
from annotations.places import LEASE
from annotations.progress import progress_of
from demo.simulate import judge_all
from tests.factories import make_campaign, make_cases, make_item, make_study, make_user


def expire(held):
    Assignment.objects.filter(pk=held.pk).update(lease_expires_at=timezone.now() - timedelta(seconds=1))
    held.refresh_from_db()


def tie(held):
    return judging.submit(held, Answer("tie"), actor=held.annotator)


def judge_in_turn(campaign, people):
    """Let everybody judge until nobody gets anything. Returns {person: their assignments in order}."""
    given = {person: [] for person in people}
    working = list(people)
    while working:
        for person in list(working):
            if found := next_assignment(campaign, person):
                given[person].append(found)
                tie(found)
            else:
                working.remove(person)
    return given


@pytest.mark.django_db
class TestClaims:
    def test_the_same_item_comes_back_until_it_is_submitted(self, anna):
        campaign = make_campaign(make_study(), [anna])
        first = next_assignment(campaign, anna)
        assert next_assignment(campaign, anna) == first
        tie(first)
        assert next_assignment(campaign, anna) != first

    def test_an_item_has_its_own_number_of_places(self, anna, ben, chidi):
        study = make_study()
        campaign = make_campaign(study, [anna, ben, chidi], overlap=3, cases=make_cases(study, 6))
        campaign.items.filter(position__gte=2).update(overlap=1)
        judge_in_turn(campaign, [anna, ben, chidi])
        judged = Counter(Judgement.objects.filter(surplus=False).values_list("item__position", flat=True))
        assert judged == {0: 3, 1: 3, 2: 1, 3: 1, 4: 1, 5: 1}
        assert not Judgement.objects.filter(surplus=True).exists()

    def test_who_takes_no_part_gets_nothing(self, anna, ben):
        assert next_assignment(make_campaign(make_study(), [anna]), ben) is None

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
        tie(Assignment.objects.create(item=first.item, annotator=ben, lease_expires_at=timezone.now()))
        assert judging.take_up_skipped(campaign, anna) == 2
        assert next_assignment(campaign, anna) == second

    def test_every_item_gets_its_overlap_and_no_more(self, anna, ben, chidi):
        study = make_study()
        campaign = make_campaign(study, [anna, ben, chidi], overlap=2, cases=make_cases(study, 6))
        people = [anna, ben, chidi]
        for _ in campaign.items.all():
            for person in people:
                if held := next_assignment(campaign, person):
                    tie(held)
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
        while held := next_assignment(campaign, anna):
            expire(held)
            again = next_assignment(campaign, anna)
            assert again.a_is_left == held.a_is_left
            sides.append(again.a_is_left)
            tie(again)
        assert sides == [a_is_left(campaign, anna.pk, pair, index) for index in range(9)]

    @pytest.mark.django_db
    def test_where_there_is_no_pair_there_is_no_side(self, anna):
        campaign = make_campaign(make_study(), [anna], kind="likert")
        assert next_assignment(campaign, anna).a_is_left is None


class TestOrder:
    def test_a_walk_reaches_every_position_once_from_wherever_it_starts(self):
        for size in (1, 2, 7, 1000, 1009, 1010):
            walk = ordering.walk_of(Campaign(secret="s", seed=1), 5, size)
            for start in (0, 13, walk.prime - 1):
                assert sorted(walk.positions(start)) == list(range(size))

    def test_a_rank_is_found_from_its_position(self):
        walk = ordering.walk_of(Campaign(secret="s", seed=1), 5, 5000)
        assert [walk.rank(walk.position(rank)) for rank in range(walk.prime)] == list(range(walk.prime))
        assert all(walk.prime % divisor for divisor in range(2, walk.prime))

    def test_it_depends_on_secret_seed_and_annotator(self):
        def order(secret="s", seed=1, annotator=1):
            return list(ordering.walk_of(Campaign(secret=secret, seed=seed), annotator, 40).positions())

        assert order() == order()
        assert len({tuple(order(annotator=annotator)) for annotator in range(50)}) == 50
        assert order() != order(secret="t") != order(seed=2)

    @pytest.mark.django_db
    def test_items_come_in_an_order_of_each_annotators_own(self, anna, ben):
        study = make_study()
        campaign = make_campaign(study, [anna, ben], cases=make_cases(study, 30), secret="s", seed=1)
        given = judge_in_turn(campaign, [anna, ben])
        orders = [[row.item.position for row in given[person]] for person in (anna, ben)]
        walks = [list(ordering.walk_of(campaign, person.pk, 30).positions()) for person in (anna, ben)]
        assert orders == walks
        assert orders[0] != orders[1]

    @pytest.mark.django_db
    def test_a_long_campaign_is_walked_in_batches_to_its_end(self, anna, ben, monkeypatch):
        monkeypatch.setattr(assignment, "BATCHES", (2, 3))
        study = make_study()
        campaign = make_campaign(study, [anna, ben], overlap=1, cases=make_cases(study, 24))
        given = judge_in_turn(campaign, [anna, ben])
        assert sum(map(len, given.values())) == 24
        assert not Judgement.objects.filter(surplus=True).exists()

    @pytest.mark.django_db
    def test_a_place_that_comes_free_again_is_found_at_the_end(self, anna, ben):
        study = make_study()
        campaign = make_campaign(study, [anna, ben], overlap=1, cases=make_cases(study, 12))
        bens = next_assignment(campaign, ben)
        judge_in_turn(campaign, [anna])
        expire(bens)
        assert next_assignment(campaign, anna).item == bens.item

    @pytest.mark.django_db
    def test_items_of_one_case_are_kept_apart(self, anna):
        study = make_study()
        cases = make_cases(study, 12)
        campaign = make_campaign(study, [anna], kind="likert", cases=cases, apart=5)
        for case in cases:
            make_item(campaign, case)
        order = []
        while held := next_assignment(campaign, anna):
            order.append(held.item.case_id)
            judging.submit(held, Answer("judged", values={"faithful": 3, "complete": 3}), actor=anna)
        recent = [order[max(0, n - 5) : n] for n in range(len(order))]
        broken = [n for n, case in enumerate(order) if case in recent[n]]
        # Only where every case that was left had been met a moment ago.
        assert all(set(order[n:]) <= set(recent[n]) for n in broken)
        assert len(broken) <= 5

    @pytest.mark.django_db
    def test_where_cases_cannot_be_kept_apart_the_one_met_longest_ago_comes(self, anna):
        study = make_study()
        cases = make_cases(study, 2)
        campaign = make_campaign(study, [anna], kind="likert", cases=cases)
        for case in cases * 2:
            make_item(campaign, case)
        order = []
        while held := next_assignment(campaign, anna):
            order.append(held.item.case_id)
            judging.submit(held, Answer("judged", values={"faithful": 3, "complete": 3}), actor=anna)
        assert order in ([cases[0].pk, cases[1].pk] * 3, [cases[1].pk, cases[0].pk] * 3)


@pytest.mark.django_db
class TestReleased:
    """What a lead took back from an annotator."""

    @pytest.fixture
    def campaign(self, anna, ben):
        study = make_study()
        return make_campaign(study, [anna, ben], overlap=1, cases=make_cases(study, 1))

    @pytest.fixture
    def released(self, campaign, anna):
        next_assignment(campaign, anna)
        Assignment.objects.update(released_at=timezone.now())
        return Assignment.objects.get()

    def test_its_place_is_free_for_somebody_else(self, campaign, released, ben):
        assert next_assignment(campaign, ben).item == released.item

    def test_it_is_not_offered_again(self, campaign, released, anna):
        assert next_assignment(campaign, anna) is None
        Assignment.objects.update(skipped_at=timezone.now())
        assert judging.take_up_skipped(campaign, anna) == 0
        expire(released)
        assert next_assignment(campaign, anna) is None

    def test_an_answer_that_comes_all_the_same_takes_the_place_while_it_is_free(self, released):
        assert not tie(released).surplus
        assert places.places_taken(released.item) == 1

    def test_an_answer_that_comes_after_somebody_elses_is_surplus(self, campaign, released, ben):
        tie(next_assignment(campaign, ben))
        assert tie(released).surplus


@pytest.mark.django_db
class TestWorkload:
    @pytest.fixture
    def campaign(self, anna, ben):
        study = make_study()
        return make_campaign(study, [anna, ben], cases=make_cases(study, 8), max_per_annotator=3)

    def test_nobody_gets_more_than_the_campaigns_cap(self, campaign, anna, ben):
        given = judge_in_turn(campaign, [anna, ben])
        assert [len(rows) for rows in given.values()] == [3, 3]
        assert progress_of(campaign, anna).capped
        assert progress_of(campaign, anna).total == 3

    def test_a_persons_own_cap_goes_before_it(self, campaign, anna, ben):
        Participation.objects.filter(user=anna).update(max_items=5)
        Participation.objects.filter(user=ben).update(max_items=0)
        given = judge_in_turn(campaign, [anna, ben])
        assert [len(rows) for rows in given.values()] == [5, 0]

    def test_what_is_held_counts_and_comes_back(self, campaign, anna):
        for _ in range(2):
            tie(next_assignment(campaign, anna))
        third = next_assignment(campaign, anna)
        assert next_assignment(campaign, anna) == third
        assert not progress_of(campaign, anna).capped

    def test_gold_items_and_repeats_count_and_training_does_not(self, campaign, anna):
        Campaign.objects.update(gold_rate=0.5, repeat_rate=0.5, training_pass_mark=0)
        make_item(campaign, gold={"outcome": "tie"}, training=True)
        for _ in range(2):
            make_item(campaign, gold={"outcome": "tie"})
        campaign.refresh_from_db()
        given = judge_in_turn(campaign, [anna])[anna]
        assert [row.item.training for row in given] == [True, False, False, False]
        assert any(row.item.gold for row in given[1:])

    def test_skipped_items_do_not_come_back_over_the_cap(self, campaign, anna):
        judging.skip(next_assignment(campaign, anna))
        judge_in_turn(campaign, [anna])
        judging.take_up_skipped(campaign, anna)
        assert next_assignment(campaign, anna) is None


@pytest.mark.django_db
class TestRouting:
    @pytest.fixture
    def campaign(self, anna, ben):
        study = make_study()
        campaign = make_campaign(study, [anna, ben], overlap=1, cases=make_cases(study, 6))
        campaign.items.filter(position__lt=4).update(tag="cardiology")
        Membership.objects.filter(user=ben).update(specialty="Geriatrics, Cardiology")
        return campaign

    def test_an_item_goes_to_those_whose_specialty_it_names(self, campaign, anna, ben):
        given = judge_in_turn(campaign, [anna])
        assert {row.item.tag for row in given[anna]} == {""}
        assert len(judge_in_turn(campaign, [ben])[ben]) == 4

    def test_the_total_is_ones_own_share(self, campaign, anna, ben):
        # Two for both of them, four for Ben alone.
        assert (progress_of(campaign, anna).total, progress_of(campaign, anna).shared) == (1, True)
        assert progress_of(campaign, ben).total == 5

    def test_a_gold_item_is_routed_too(self, campaign, anna, ben):
        Campaign.objects.update(gold_rate=0.4)
        make_item(campaign, gold={"outcome": "tie"}, tag="cardiology")
        campaign.refresh_from_db()
        given = judge_in_turn(campaign, [anna, ben])
        assert [any(row.item.gold for row in rows) for rows in given.values()] == [False, True]


@pytest.mark.django_db
class TestGoldAndRepeats:
    def campaign_of(self, people, n, *, gold=0, repeats=0, **fields):
        study = make_study()
        campaign = make_campaign(study, people, cases=make_cases(study, n), **fields)
        for item in list(campaign.items.all())[:repeats]:
            make_item(campaign, repeat_of=item)
        for _ in range(gold):
            make_item(campaign, gold={"outcome": "tie", "feedback": ""})
        return campaign

    def test_everybody_gets_every_gold_item_once_at_the_set_rate(self, anna, ben):
        campaign = self.campaign_of([anna, ben], 45, gold=5, gold_rate=0.1)
        for rows in judge_in_turn(campaign, [anna, ben]).values():
            places_of_gold = [n for n, row in enumerate(rows) if row.item.gold]
            assert len(rows) == 50
            assert [place // 10 for place in places_of_gold] == [0, 1, 2, 3, 4]

    def test_gold_items_never_follow_each_other(self, anna):
        for secret in "abcdefgh":
            campaign = Campaign(secret=secret, seed=1, gold_rate=0.3)
            found = [ordering.gold_place(campaign, anna.pk, index) for index in range(60)]
            assert all(b - a > 1 for a, b in pairwise(found))
            assert found[-1] < 60 / 0.3

    def test_their_places_are_other_ones_with_another_secret(self):
        def found(secret):
            return [ordering.gold_place(Campaign(secret=secret, seed=1, gold_rate=0.1), 1, n) for n in range(10)]

        assert found("s") == found("s")
        assert len({tuple(found(secret)) for secret in "abcdef"}) == 6

    def test_a_repeat_comes_late_and_with_its_sides_swapped(self, anna):
        campaign = self.campaign_of([anna], 40, repeats=6, repeat_rate=0.15)
        rows = judge_in_turn(campaign, [anna])[anna]
        at = {row.item_id: n for n, row in enumerate(rows)}
        repeats = [row for row in rows if row.item.repeat_of_id]
        assert len(repeats) == 6
        first = {row.item_id: row for row in rows}
        for row in repeats:
            assert row.a_is_left is not first[row.item.repeat_of_id].a_is_left
            assert at[row.item_id] - at[row.item.repeat_of_id] > 10 or at[row.item_id] >= 40
        assert not Judgement.objects.filter(surplus=True).exists()

    def test_a_repeat_is_for_those_who_judged_the_first_alone(self, anna, ben):
        campaign = self.campaign_of([anna, ben], 2, repeats=2, repeat_rate=0.5, overlap=1)
        judging.skip(next_assignment(campaign, ben))
        assert len(judge_in_turn(campaign, [anna])[anna]) == 4
        assert judge_in_turn(campaign, [ben])[ben] == []

    def test_at_rate_zero_there_are_none(self, anna):
        campaign = self.campaign_of([anna], 3, gold=2, repeats=2)
        assert len(judge_in_turn(campaign, [anna])[anna]) == 3
        assert progress_of(campaign, anna).total == 3

    def test_the_total_counts_them_and_tells_nothing(self, anna):
        campaign = self.campaign_of([anna], 10, gold=2, repeats=3, gold_rate=0.15, repeat_rate=0.3)
        assert (progress_of(campaign, anna).total, progress_of(campaign, anna).shared) == (15, False)
        judge_in_turn(campaign, [anna])
        assert progress_of(campaign, anna).done == 15

    def test_one_whose_lease_ran_out_comes_back(self, anna, ben):
        campaign = self.campaign_of([anna, ben], 1, gold=1, gold_rate=0.5)
        tie(next_assignment(campaign, anna))
        gold = next_assignment(campaign, anna)
        assert gold.item.gold
        expire(gold)
        judge_in_turn(campaign, [ben])
        assert next_assignment(campaign, anna) == gold


@pytest.mark.django_db
@pytest.mark.parametrize("seed", range(4))
def test_a_whole_campaign_keeps_every_promise(seed):
    """Four annotators in random turns; items of three overlaps, some tagged, some of one case; gold and repeats."""
    chance = random.Random(seed)
    study = make_study()
    people = [make_user(f"person{n}") for n in range(4)]
    cases = make_cases(study, 24)
    fields = {"gold_rate": 0.12, "repeat_rate": 0.15, "apart": 4, "seed": seed}
    campaign = make_campaign(study, people, cases=cases, **fields)
    for case in cases[:6]:
        make_item(campaign, case)
    for person in people[:2]:
        Membership.objects.filter(user=person).update(specialty="cardiology")
    for item in campaign.items.all():
        item.tag = "cardiology" if chance.random() < 0.2 else ""
        item.overlap = chance.randint(1, 2 if item.tag else 4)
        item.save()
    for item in chance.sample(list(campaign.items.all()), 5):
        make_item(campaign, repeat_of=item, tag=item.tag)
    for _ in range(3):
        make_item(campaign, gold={"outcome": "tie"})

    given = {person: [] for person in people}
    open_before = {}
    working = list(people)
    while working:
        person = chance.choice(working)
        wanting = _open_to(campaign, person)
        held = next_assignment(campaign, person)
        if held is None:
            assert not wanting  # nobody stops while something is left for them
            working.remove(person)
            continue
        open_before[held.pk] = wanting
        given[person].append(held)
        if chance.random() < 0.1:  # a tab left open for an hour, and another one opened
            expire(held)
            held = next_assignment(campaign, person)
        judgement = tie(held)
        if chance.random() < 0.05:
            judging.undo(judgement, actor=person)
            tie(next_assignment(campaign, person))
    counted = Counter(Judgement.objects.filter(surplus=False).values_list("item_id", flat=True))
    assert {item.pk: counted[item.pk] for item in campaign.items.regular()} == {
        item.pk: item.overlap for item in campaign.items.regular()
    }
    for person, rows in given.items():
        _check_one(campaign, person, rows, open_before)


def _open_to(campaign, person):
    """Regular items that want a judgement and that the person may judge, as {id: case}, worked out the slow way."""
    mine = set(Assignment.objects.filter(annotator=person).values_list("item_id", flat=True))
    has_specialty = Membership.objects.filter(user=person, specialty="cardiology").exists()
    return {
        item.pk: item.case_id
        for item in campaign.items.regular()
        if item.pk not in mine and (not item.tag or has_specialty) and places.places_taken(item) < item.overlap
    }


def _check_one(campaign, person, rows, open_before):
    items = [row.item for row in rows]
    assert len({item.pk for item in items}) == len(items)
    gold = [n for n, item in enumerate(items) if item.gold]
    assert len(gold) == 3
    balance: Counter[tuple[int, int]] = Counter()
    for n, row in enumerate(rows):
        item, wanting = row.item, open_before[row.pk]
        recent = {other.case_id for other in items[max(0, n - campaign.apart) : n]}
        if item.is_regular:
            assert item.pk in wanting
            balance[item.completion_a.model_id, item.completion_b.model_id] += 1 if row.a_is_left else -1
            assert abs(max(balance.values(), key=abs)) <= 2
        if item.case_id in recent:
            assert not set(wanting.values()) - recent
        if item.repeat_of_id:
            first = next(k for k, other in enumerate(items[:n]) if other.pk == item.repeat_of_id)
            assert row.a_is_left is not rows[first].a_is_left
            assert n - first > ordering.REPEAT_AFTER or not wanting
        if n and item.gold and items[n - 1].gold:
            assert not wanting
    repeated = {item.repeat_of_id for item in items if item.repeat_of_id}
    of_theirs = campaign.items.filter(repeat_of__in=[item.pk for item in items])
    assert repeated == set(of_theirs.values_list("repeat_of_id", flat=True))


def judge_at_once(campaign, people):
    """Two tabs of each of them, all at the same moment; the errors there were."""
    barrier = threading.Barrier(len(people) * 2)
    errors = []

    def work(person):
        try:
            barrier.wait(10)
            while held := next_assignment(campaign, person):
                tie(held)
        except Exception as error:
            errors.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=work, args=[person]) for person in people for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return errors


@pytest.mark.django_db(transaction=True)
def test_gold_items_repeats_and_caps_hold_when_all_ask_at_the_same_moment():
    people = [make_user(f"person{n}") for n in range(4)]
    study = make_study()
    fields = {"gold_rate": 0.2, "repeat_rate": 0.3, "max_per_annotator": 9}
    campaign = make_campaign(study, people, overlap=2, cases=make_cases(study, 12), **fields)
    campaign.items.filter(position__gte=6).update(overlap=1)
    for item in campaign.items.all()[:4]:
        make_item(campaign, repeat_of=item)
    for _ in range(2):
        make_item(campaign, gold={"outcome": "tie"})
    assert judge_at_once(campaign, people) == []
    assert not Judgement.objects.filter(surplus=True).exists()
    taken = Counter(Judgement.objects.values_list("item_id", flat=True))
    assert all(taken[item.pk] <= item.overlap for item in campaign.items.regular())
    # 18 places, and room for them: nobody is given more than nine, gold items and repeats among them.
    assert all(n <= 9 for n in Counter(Judgement.objects.values_list("annotator_id", flat=True)).values())
    assert Assignment.objects.count() == Judgement.objects.count()


@pytest.mark.django_db(transaction=True)
def test_annotators_who_ask_at_the_same_moment_never_overshoot_the_overlap():
    people = [make_user(f"person{n}") for n in range(4)]
    study = make_study()
    campaign = make_campaign(study, people, overlap=2, cases=make_cases(study, 6))
    assert judge_at_once(campaign, people) == []
    assert Counter(Judgement.objects.values_list("item_id", flat=True)) == {item.pk: 2 for item in campaign.items.all()}
    assert not Judgement.objects.filter(surplus=True).exists()
    assert Assignment.objects.count() == Judgement.objects.count()


@pytest.mark.django_db
@pytest.mark.parametrize("kind", ["comparison", "likert"])
def test_the_demos_program_judges_a_campaign_with_all_of_it(anna, ben, chidi, kind):
    study = make_study()
    fields = {"gold_rate": 0.2, "repeat_rate": 0.2, "training_pass_mark": 0.8, "simulated": True}
    campaign = make_campaign(study, [anna, ben, chidi], kind=kind, overlap=1, cases=make_cases(study, 9), **fields)
    known = {"outcome": "judged", "values": {"faithful": 1, "complete": 5}} if kind == "likert" else {"outcome": "tie"}
    make_item(campaign, gold=known, training=True)
    make_item(campaign, gold=known)
    make_item(campaign, repeat_of=campaign.items.first())
    judge_all(campaign, actor=anna)
    assert not campaign.is_open
    judged = Counter(Judgement.objects.filter(item__in=campaign.items.regular()).values_list("annotator", flat=True))
    assert sum(judged.values()) == 9
    assert min(judged[person.pk] for person in (anna, ben, chidi)) >= 2
    assert Judgement.objects.count() == 9 + 3 + 3 + 1


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
        held = next_assignment(campaign, anna)
        expire(held)
        return held

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
        wait = between(assignment, "extend", lambda: next_assignment(campaign, ben))
        next_assignment(campaign, anna)
        wait()
        assert places.places_taken(held.item) == 1

    def test_an_item_that_is_being_claimed_is_waited_for_while_it_may_have_a_place(self, anna, ben, between):
        study = make_study()
        campaign = make_campaign(study, [anna, ben], overlap=2, cases=make_cases(study, 1))
        found = []
        wait = between(assignment, "_create", lambda: found.append(next_assignment(campaign, ben)))
        next_assignment(campaign, anna)
        wait()
        assert [row.annotator for row in found] == [ben]

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
