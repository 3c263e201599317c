"""A lead sees how far a campaign is, and how it is judged, without seeing an arm."""

from datetime import timedelta

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from annotations import board, judging, quality, steering
from annotations.assignment import next_assignment
from annotations.judging import Answer
from annotations.models import Assignment, Campaign, Item, Revision
from tests.factories import join, make_campaign, make_cases, make_study
from tests.report_rows import judge

pytestmark = pytest.mark.django_db
NOW = timezone.now()


@pytest.fixture
def study(lena):
    study = make_study()
    join(study, lena, "lead")
    return study


@pytest.fixture
def campaign(study, anna, ben):
    """Four pairs, each judged by both."""
    return make_campaign(study, [anna, ben])


def at(item, annotator, outcome="tie", *, days=0, seconds=20.0, left=True, **values):
    """A judgement that was submitted so many days ago."""
    made = judge(item, annotator, outcome, **values)
    Assignment.objects.filter(pk=made.assignment_id).update(
        submitted_at=NOW - timedelta(days=days),
        created_at=NOW - timedelta(days=days),
        active_seconds=seconds,
        a_is_left=left if item.completion_b_id else None,
    )
    return made


def person(counts, user):
    return next(line for line in counts.people if line.user == user)


def line(found, user):
    return next(line for line in found.lines if line.user == user)


# How much


def test_items_are_counted_by_the_judgements_they_have_of_their_own_overlap(campaign, anna, ben):
    one, two, three, four = campaign.items.all()
    Item.objects.filter(pk=two.pk).update(overlap=1)
    for item in (one, two):
        at(item, anna)
    at(one, ben)
    at(three, ben)
    judge(four, ben, "tie", surplus=True)
    counts = board.counts(campaign, now=NOW)
    assert [(level.have, level.items, level.finished) for level in counts.levels] == [(0, 1, 0), (1, 2, 1), (2, 1, 1)]
    assert (counts.items, counts.finished, counts.judgements, counts.wanted, counts.surplus) == (4, 2, 4, 7, 1)


def test_hidden_repeats_and_known_answers_are_counted_apart(campaign, anna):
    first = campaign.items.first()
    for position, fields in ((90, {"repeat_of": first}), (91, {"gold": {"outcome": "tie"}})):
        item = Item.objects.create(
            campaign=campaign,
            case=first.case,
            completion_a=first.completion_a,
            completion_b=first.completion_b,
            position=position,
            overlap=0,
            **fields,
        )
        at(item, anna)
    at(first, anna)
    counts = board.counts(campaign, now=NOW)
    assert (counts.items, counts.judgements, person(counts, anna).judged) == (4, 1, 1)
    assert counts.known == {"gold": 1, "repeats": 1}


def test_the_end_is_estimated_from_the_last_fourteen_days(campaign, anna, ben):
    Campaign.objects.update(created_at=NOW - timedelta(days=30))
    campaign.refresh_from_db()
    for days, item in zip((1, 3, 20), campaign.items.all(), strict=False):
        at(item, anna, days=days)
    counts = board.counts(campaign, now=NOW)
    assert sum(day.judgements for day in counts.days) == 2
    assert counts.days[-2].judgements == 1
    assert counts.per_day == pytest.approx(2 / 14)
    assert counts.left == 5
    assert counts.done_on == timezone.localdate(NOW) + timedelta(days=35)


def test_a_new_campaign_is_not_slowed_down_by_the_days_before_it_began(campaign, anna):
    for item in campaign.items.all()[:2]:
        at(item, anna)
    assert board.counts(campaign, now=NOW).per_day == 2


def test_without_judgements_or_work_left_there_is_no_date(campaign, anna, ben):
    assert board.counts(campaign, now=NOW).done_on is None
    for item in campaign.items.all():
        at(item, anna)
        at(item, ben)
    counts = board.counts(campaign, now=NOW)
    assert (counts.left, counts.done_on) == (0, None)


def test_seconds_are_a_median_with_quartiles_and_leave_out_unknown_times(campaign, anna):
    for item, seconds in zip(campaign.items.all(), (10, 20, 30, 0), strict=True):
        at(item, anna, seconds=seconds)
    found = person(board.counts(campaign, now=NOW), anna)
    assert (found.low, found.median, found.high) == (15, 20, 25)


def test_who_has_work_left_and_is_silent_for_three_days_or_was_taken_off_has_dropped_out(campaign, anna, ben, lena):
    Campaign.objects.update(created_at=NOW - timedelta(days=10))
    campaign.refresh_from_db()
    first, second, *_ = campaign.items.all()
    at(first, anna, days=4)
    at(second, ben, days=2)
    counts = board.counts(campaign, now=NOW)
    assert [p.user for p in counts.dropped_out] == [anna]
    steering.take_off(campaign, ben, reason="On leave", actor=lena)
    counts = board.counts(campaign, now=NOW)
    assert [(p.user, p.taken_off) for p in counts.dropped_out] == [(anna, False), (ben, True)]


def test_nobody_is_silent_who_was_just_added_or_has_reached_their_cap(study, campaign, anna, ben, chidi, lena):
    Campaign.objects.update(created_at=NOW - timedelta(days=10))
    campaign.refresh_from_db()
    join(study, chidi, "annotator")
    steering.add_annotator(campaign, chidi, reason="More people", actor=lena)
    at(campaign.items.first(), anna, days=4)
    campaign.participations.filter(user=anna).update(max_items=1)
    silent = {p.user for p in board.counts(campaign, now=timezone.now()).people if p.silent}
    assert silent == {ben}


def test_the_training_round_is_told_in_words(campaign, anna, ben):
    Campaign.objects.update(training_pass_mark=0.8)
    campaign.refresh_from_db()
    item = campaign.items.last()
    item.gold, item.training, item.overlap = {"outcome": "tie"}, True, 0
    item.save()
    campaign.participations.filter(user=ben).update(training_passed_at=NOW, training_round=2)
    counts = board.counts(campaign, now=NOW)
    assert (person(counts, anna).training, person(counts, ben).training) == ("not begun", "passed in round 2")
    at(item, anna)
    assert person(board.counts(campaign, now=NOW), anna).training == "round 1: 1 of 1"


def test_lagging_items_come_fewest_first_in_pages_by_key(study, anna, ben, monkeypatch):
    monkeypatch.setattr(board, "PAGE", 2)
    campaign = make_campaign(study, [anna, ben], cases=make_cases(study, 5))
    items = list(campaign.items.all())
    at(items[0], anna)
    for who in (anna, ben):
        at(items[3], who)
    held = next_assignment(campaign, ben)
    seen, after = [], ""
    while True:
        page = board.lagging(campaign, after=after)
        seen += [(lag.position, lag.judged) for lag in page.lags]
        assert [row.annotator for lag in page.lags for row in lag.holders if lag.position == held.item.position] in (
            [],
            [ben],
        )
        if not (after := page.after):
            break
    assert seen == [(1, 0), (2, 0), (4, 0), (0, 1)]
    assert board.lagging(campaign, after="nonsense").lags[0].position == 1


# How


def test_position_bias_goes_by_the_side_that_was_shown_with_a_wilson_interval(study, anna):
    campaign = make_campaign(study, [anna], cases=make_cases(study, 10))
    for n, item in enumerate(campaign.items.all()):
        left = n % 2 == 0
        at(item, anna, "prefer_a" if left else "prefer_b", left=left)
    found = line(quality.quality(campaign), anna)
    assert (found.left.n, found.left.of) == (10, 10)
    assert found.left.low == pytest.approx(0.722, abs=0.001)
    assert found.left_leans
    assert found.longest_run == 10  # ten times the left side
    Assignment.objects.update(a_is_left=True)
    assert not line(quality.quality(campaign), anna).left_leans


def test_ties_and_what_is_no_opinion_are_counted(study, anna):
    campaign = make_campaign(study, [anna], cases=make_cases(study, 5))
    for item, outcome in zip(
        campaign.items.all(), ("tie", "prefer_a", "both_unacceptable", "cannot_judge", "defective"), strict=True
    ):
        at(item, anna, outcome)
    Revision.objects.filter(outcome="tie").update(flagged=True)
    found = quality.quality(campaign)
    own = line(found, anna)
    assert (own.ties.n, own.ties.of, own.cannot_judge, own.defective, own.flagged) == (1, 3, 1, 1, 1)
    assert found.flagged == [0]


def test_straight_lining_is_the_same_point_on_every_criterion_and_the_longest_run(study, anna):
    campaign = make_campaign(study, [anna], kind="likert", cases=make_cases(study, 4))
    for item, points in zip(campaign.items.all(), ((3, 3), (3, 3), (3, 4), (5, 5)), strict=True):
        at(item, anna, "judged", faithful=points[0], complete=points[1], days=10 - item.position)
    own = line(quality.quality(campaign), anna)
    assert (own.same_points.n, own.same_points.of, own.longest_run) == (3, 4, 2)


def test_known_answers_are_right_by_outcome_and_within_a_point(study, anna):
    compared = make_campaign(study, [anna], cases=make_cases(study, 2))
    for item, said in zip(compared.items.all(), ("prefer_a", "prefer_b"), strict=True):
        item.gold, item.overlap = {"outcome": "prefer_a", "strength": "clearly"}, 0
        item.save()
        at(item, anna, said)
    assert (line(quality.quality(compared), anna).gold.n, line(quality.quality(compared), anna).gold.of) == (1, 2)
    rated = make_campaign(study, [anna], kind="likert", cases=make_cases(study, 2))
    for item, points in zip(rated.items.all(), (4, 2), strict=True):
        item.gold, item.overlap = {"outcome": "judged", "values": {"faithful": 5}}, 0
        item.save()
        at(item, anna, "judged", faithful=points, complete=1)
    assert str(line(quality.quality(rated), anna).gold) == "50%"


def test_training_items_are_no_known_answers_of_the_board(campaign, anna):
    item = campaign.items.first()
    item.gold, item.training, item.overlap = {"outcome": "tie"}, True, 0
    item.save()
    at(item, anna)
    assert line(quality.quality(campaign), anna).gold.of == 0


def test_repeats_are_compared_by_output_not_by_side(campaign, anna):
    for position, (item, said) in enumerate(zip(campaign.items.all()[:2], ("prefer_a", "prefer_b"), strict=True)):
        at(item, anna, "prefer_a", left=True)
        again = Item.objects.create(
            campaign=campaign,
            case=item.case,
            completion_a=item.completion_a,
            completion_b=item.completion_b,
            repeat_of=item,
            position=90 + position,
            overlap=0,
        )
        at(again, anna, said, left=False)
    found = line(quality.quality(campaign), anna)
    assert (found.repeats.n, found.repeats.of, found.answers) == (1, 2, 2)


def test_agreement_is_pooled_over_arms_and_says_why_it_is_undefined(campaign, anna, ben):
    assert quality.quality(campaign).agreement[-1].alpha.note == "nothing judged yet"
    items = list(campaign.items.all())
    at(items[0], anna, "prefer_a")
    assert quality.quality(campaign).agreement[-1].alpha.note == "one annotator: agreement needs two"
    at(items[0], ben, "prefer_a")
    undefined = quality.quality(campaign).agreement[-1]
    assert not undefined.is_defined
    assert "no variation" in undefined.alpha.note
    for item, outcome in zip(items[1:], ("prefer_b", "tie", "prefer_a"), strict=True):
        at(item, anna, outcome)
        at(item, ben, outcome)
    assert quality.quality(campaign).agreement[-1].alpha.value == 1.0


def test_withdrawn_answers_are_none(campaign, anna):
    given = next_assignment(campaign, anna)
    made = judging.submit(given, Answer("tie"), actor=anna)
    judging.undo(made, actor=anna)
    assert quality.quality(campaign).lines == []
    assert board.counts(campaign).judgements == 0


@pytest.mark.parametrize("n", [2, 12])
def test_the_board_costs_the_same_for_a_large_campaign(study, anna, ben, n, django_assert_num_queries):
    campaign = make_campaign(study, [anna, ben], cases=make_cases(study, n))
    for item in campaign.items.all():
        at(item, anna)
        at(item, ben, "prefer_a")
    Revision.objects.filter(outcome="tie").update(flagged=True)
    with django_assert_num_queries(9):
        board.counts(campaign, now=NOW)
    with django_assert_num_queries(3):
        quality.quality(campaign)
    with django_assert_num_queries(1):
        board.lagging(campaign)


# The page


def pages(campaign):
    names = ("campaign", "campaign_quality", "campaign_steer")
    return {name: reverse(f"annotations:{name}", args=[campaign.study.slug, campaign.public_id]) for name in names}


def signed_in(user):
    client = Client()
    client.force_login(user)
    return client


def test_the_lead_reads_the_board_and_how_it_is_judged_comes_after(campaign, anna, ben, lena):
    for item in campaign.items.all():
        at(item, anna, "prefer_a")
    client = signed_in(lena)
    text = client.get(pages(campaign)["campaign"]).content.decode()
    assert 'hx-trigger="load"' in text
    assert "leans left" not in text
    whole = client.get(pages(campaign)["campaign_quality"]).content.decode()
    part = client.get(pages(campaign)["campaign_quality"], headers={"HX-Request": "true"}).content.decode()
    assert "<html" in whole
    assert "<html" not in part
    for shown in ("Left side preferred", "Krippendorff"):
        assert shown in whole
        assert shown in part


def test_a_lead_who_judges_sees_counts_and_nothing_that_tells_answers(study, campaign, anna, lena):
    make_campaign(study, [lena], name="Lena's own")
    Campaign.objects.filter(pk=campaign.pk).update(
        consensus="majority", design={"names_itself": {"7": ["case-that-names-itself"]}}
    )
    for item in campaign.items.all():
        at(item, anna, "prefer_a")
    client = signed_in(lena)
    text = client.get(pages(campaign)["campaign"]).content.decode()
    assert "judgements" in text
    for hidden in ("quality", "case-that-names-itself", "alpha", "Decide", "Judgements (CSV)", "unblind with a reason"):
        assert hidden not in text.replace("campaign_quality", ""), hidden
    assert client.get(pages(campaign)["campaign_quality"]).status_code == 403


def test_a_lead_reads_which_cases_name_their_model_and_not_which_model(campaign, lena):
    cases = [item.case.external_id for item in campaign.items.select_related("case")[:2]]
    names = [model.name for model in campaign.models.order_by("name")]
    Campaign.objects.update(design={"names_itself": {names[0]: cases[:1], names[1]: cases[1:]}})
    text = signed_in(lena).get(pages(campaign)["campaign"]).content.decode()
    assert "2 outputs mention a model or its maker" in text
    assert all(case in text for case in cases)
    assert not any(name in text for name in names)


def test_viewers_read_the_board_and_annotators_do_not(study, campaign, anna, chidi):
    join(study, chidi, "viewer")
    for name, expected in (("campaign", 200), ("campaign_quality", 200), ("campaign_steer", 403)):
        assert signed_in(chidi).get(pages(campaign)[name]).status_code == expected
        assert signed_in(anna).get(pages(campaign)[name]).status_code == 403


def test_closing_before_everything_is_in_needs_a_reason(campaign, anna, ben, lena):
    client, close = signed_in(lena), f"{pages(campaign)['campaign']}close/"
    assert client.post(close).status_code == 400
    for item in campaign.items.all():
        at(item, anna)
        at(item, ben)
    assert client.post(close).status_code == 302
    campaign.refresh_from_db()
    assert not campaign.is_open


def test_the_page_costs_the_same_for_a_large_campaign(study, anna, lena, django_assert_max_num_queries):
    campaign = make_campaign(study, [anna], cases=make_cases(study, 15))
    for item in campaign.items.all():
        at(item, anna)
    client = signed_in(lena)
    with django_assert_max_num_queries(36):
        client.get(pages(campaign)["campaign"])
