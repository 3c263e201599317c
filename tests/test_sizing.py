"""The planner: numbers, time, advice, page and command."""

import json
import math
import time
from io import StringIO
from itertools import pairwise

import pytest
from django.core.management import CommandError, call_command
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from hypothesis import given, settings
from hypothesis import strategies as st

from accounts.errors import UserError
from annotations import judging, sizing
from annotations.assignment import next_assignment
from annotations.models import Assignment
from annotations.sizing import Pace, Setup
from tests.factories import join, make_campaign, make_cases, make_study

PACE = Pace(45, "an assumption")
USUAL = {"win_rate": 0.6, "mean_difference": 0.3, "accuracy_difference": 0.1, "f1_difference": 0.1, "alpha": 0.0}


def setup(goal="win_rate", **fields):
    return Setup(
        **{"goal": goal, "annotators": 4, "cases": 100, "overlap": 2, "effect": USUAL.get(goal, 0.5), **fields}
    )


class TestWorkload:
    def test_judgements_are_items_times_overlap_and_time_is_theirs(self):
        work = sizing.workload(setup(), 30)
        assert (work.items, work.judgements, work.per_annotator) == (100, 200, 50)
        assert (work.minutes, work.minutes_per_annotator) == (100, 25)

    def test_two_arms_that_are_rated_are_two_items_a_case(self):
        assert sizing.workload(setup("mean_difference"), 30).items == 200
        assert sizing.workload(setup("accuracy_difference"), 30).items == 200
        assert sizing.workload(setup("f1_difference"), 30).items == 100
        assert sizing.workload(setup("alpha", kind="likert"), 30).items == 200

    def test_more_annotators_change_the_work_of_each_and_nothing_else(self):
        few, many = (sizing.size(setup(annotators=n), PACE) for n in (4, 8))
        assert few.result == many.result
        assert few.work.judgements == many.work.judgements
        assert few.work.per_annotator == 2 * many.work.per_annotator


class TestWhatItFinds:
    @pytest.mark.parametrize("goal", sizing.GOALS)
    def test_the_smallest_effect_found_has_about_the_power_wanted(self, goal):
        asked = setup(goal, cases=200, overlap=3, agreement=0.75)
        found = sizing.size(asked, PACE)
        at = sizing.simulate(sizing._expecting(asked, found.detectable))
        assert at.power == pytest.approx(0.8, abs=0.04)

    @pytest.mark.parametrize("goal", sizing.GOALS)
    def test_with_the_cases_needed_the_power_is_about_what_was_wanted(self, goal):
        asked = setup(goal, cases=60, overlap=3, agreement=0.75)
        found = sizing.size(asked, PACE)
        assert sizing.size(setup(goal, cases=found.cases_needed, overlap=3, agreement=0.75), PACE).result.power == (
            pytest.approx(0.8, abs=0.05)
        )

    def test_it_takes_less_than_three_seconds_at_its_largest(self):
        started = time.process_time()
        sizing.size(setup("alpha", cases=20_000, overlap=6, annotators=9, shares=(1.0,) * 7), PACE)
        assert time.process_time() - started < 3  # of this process: other tests share the cores

    def test_the_table_holds_the_design_entered_and_its_neighbours(self):
        rows = sizing.size(setup(), PACE).alternatives
        assert [(row.cases, row.overlap) for row in rows] == [(n, k) for n in (50, 100, 200) for k in (1, 2, 3)]
        assert [(row.cases, row.overlap) for row in rows if row.chosen] == [(100, 2)]

    def test_no_neighbour_has_more_overlap_than_annotators(self):
        assert {row.overlap for row in sizing.size(setup(annotators=2), PACE).alternatives} == {1, 2}

    @given(
        st.sampled_from(sorted(sizing.GOALS)), st.integers(10, 500), st.integers(1, 4), st.sampled_from([0.0, 0.5, 0.9])
    )
    @settings(deadline=None, max_examples=30)
    def test_more_cases_never_widen_the_interval(self, goal, cases, overlap, agreement):
        rows = sizing.size(setup(goal, cases=cases, overlap=overlap, agreement=agreement), PACE).alternatives
        for overlap_ in {row.overlap for row in rows}:
            found = [row.result for row in rows if row.overlap == overlap_]
            for fewer, more in pairwise(found):
                assert math.isnan(fewer.width) or more.width <= fewer.width + 4 * (fewer.width_error + more.width_error)

    def test_everything_is_json(self):
        for goal in sizing.GOALS:
            json.dumps(sizing.size(setup(goal, overlap=1), PACE).to_dict(), allow_nan=False)


class TestAdvice:
    def test_more_cases_where_annotators_agree(self):
        advice = sizing.size(setup(agreement=0.9), PACE).advice
        assert "more cases buy more" in advice
        assert "about" in advice

    def test_more_overlap_where_annotators_err_in_what_counts_by_majority(self):
        assert (
            "more overlap buys more"
            in sizing.size(setup("accuracy_difference", overlap=2, agreement=0.3, cases=400), PACE).advice
        )

    def test_one_annotator_an_item_is_warned_of_agreement(self):
        assert "agreement can't be measured" in sizing.size(setup(overlap=1), PACE).advice

    def test_nothing_more_to_be_had_from_overlap_is_said(self):
        assert "Every annotator judges every item" in sizing.size(setup(annotators=2), PACE).advice

    def test_alpha_of_one_annotator_an_item_says_why_not(self):
        found = sizing.size(setup("alpha", overlap=1), PACE)
        assert "agreement needs two annotators" in found.advice
        assert (found.detectable, found.cases_needed) == (None, None)

    def test_no_effect_is_never_found_by_more_cases(self):
        found = sizing.size(setup(effect=0.5), PACE)
        assert found.cases_needed is None
        assert "no number of cases" in found.advice


@pytest.mark.parametrize(
    ("fields", "what"),
    [
        ({"overlap": 5}, "there are only 4 annotators"),
        ({"annotators": 0}, "At least one annotator"),
        ({"cases": 1}, "2 to 20,000 cases"),
        ({"annotators": 30, "overlap": 11}, "overlap of up to 10"),
        ({"effect": 0.99}, "Ties must lie"),
        ({"goal": "accuracy_difference", "effect": 0.5}, "can't go together"),
        ({"goal": "happiness"}, "nothing called “happiness”"),
        ({"goal": "alpha", "floor": 0.0}, "least alpha"),
        ({"power": 1.0}, "power wanted"),
    ],
)
def test_numbers_that_can_not_go_together_are_explained(fields, what):
    with pytest.raises(UserError, match=what):
        sizing.size(setup(**{"goal": "win_rate", "effect": 0.6, **fields}), PACE)


@pytest.mark.django_db
class TestPace:
    def judged(self, study, user, n, seconds, **fields):
        campaign = make_campaign(study, [user], cases=make_cases(study, n), **fields)
        while (assignment := next_assignment(campaign, user)) is not None:
            judging.submit(assignment, judging.Answer("tie"), actor=user)
        Assignment.objects.filter(item__campaign=campaign).update(active_seconds=seconds)
        return campaign

    def test_until_there_are_twenty_times_it_is_an_assumption(self, anna):
        study = make_study()
        self.judged(study, anna, 19, 20)
        pace = sizing.pace_of(study, "comparison")
        assert (pace.seconds, pace.source) == (
            45,
            "an assumption, as this study has 19 timed comparison judgements",
        )

    def test_from_twenty_on_it_is_the_median_of_the_study_for_that_kind(self, anna):
        study = make_study()
        self.judged(study, anna, 20, 21.5)
        pace = sizing.pace_of(study, "comparison")
        assert (pace.seconds, "20 timed comparison judgements" in pace.source) == (21.5, True)
        assert sizing.pace_of(study, "likert").seconds == 45
        assert sizing.pace_of(make_study(), "comparison").seconds == 45
        assert sizing.pace_of(None, "comparison").seconds == 45

    def test_a_programs_times_are_not_peoples(self, anna):
        study = make_study()
        self.judged(study, anna, 25, 1, simulated=True)
        assert sizing.pace_of(study, "comparison").seconds == 45


@pytest.mark.django_db
class TestPage:
    @pytest.fixture
    def study(self, lena, anna, ben):
        study = make_study(slug="notes")
        join(study, lena, "lead")
        join(study, anna, "annotator")
        join(study, ben, "viewer")
        make_cases(study, 30, "test")
        return study

    def client(self, user):
        client = Client()
        client.force_login(user)
        return client

    def page(self, study, **query):
        return reverse("annotations:planner", args=[study.slug], query=query)

    @pytest.mark.parametrize("goal", sizing.GOALS)
    def test_every_goal_is_worked_out_from_the_studys_own_numbers_at_once(self, study, lena, goal):
        text = self.client(lena).get(self.page(study, goal=goal)).content.decode()
        assert 'id="advice"' in text
        assert 'name="cases" value="30"' in text
        assert "Monte Carlo error" in text or goal == "alpha"

    def test_what_was_entered_is_in_the_address_and_in_the_result(self, study, ben):
        query = {"goal": "win_rate", "annotators": 3, "cases": 120, "overlap": 2, "agreement": 0.5}
        text = self.client(ben).get(self.page(study, **query, effect=0.6, ties=0.1)).content.decode()
        assert "With 120 cases and overlap 2, a win rate of 0.60 would be told from no preference" in text
        assert "240" in text
        assert "45 s a judgement: an assumption" in text

    def test_what_can_not_be_is_said_in_place(self, study, lena):
        query = {"goal": "win_rate", "annotators": 1, "cases": 120, "overlap": 2, "agreement": 0.5}
        text = self.client(lena).get(self.page(study, **query, effect=0.6, ties=0.1)).content.decode()
        assert "there are only 1 annotators" in text
        text = (
            self.client(lena).get(self.page(study, **query | {"cases": "many"}, effect=0.6, ties=0.1)).content.decode()
        )
        assert "Enter a whole number" in text
        text = self.client(lena).get(self.page(study, goal="alpha", cases=10, shares="a lot")).content.decode()
        assert "separated by commas" in text

    def test_it_is_for_leads_and_viewers_and_linked_where_campaigns_are_planned(self, study, lena, anna, chidi):
        assert self.client(anna).get(self.page(study)).status_code == 403
        assert self.client(chidi).get(self.page(study)).status_code == 404
        for name in ("campaigns", "campaign_plan"):
            text = self.client(lena).get(reverse(f"annotations:{name}", args=[study.slug])).content.decode()
            assert self.page(study) in text

    def test_a_lead_who_judges_may_plan_sizes(self, study, lena):
        make_campaign(study, [lena])
        assert self.client(lena).get(self.page(study)).status_code == 200


@pytest.mark.django_db
class TestCommand:
    def run(self, *arguments):
        out = StringIO()
        call_command("plan_size", *arguments, stdout=out)
        return out.getvalue()

    def test_json_is_one_object_with_everything(self):
        text = self.run("--goal", "win_rate", "--cases", "100", "--overlap", "2", "--annotators", "4", "--json")
        found = json.loads(text)
        assert found["work"]["judgements"] == 200
        assert found["result"]["width_error"] > 0
        assert len(found["alternatives"]) == 9
        assert found["seconds_source"] == "an assumption"
        assert "With 100 cases" in found["advice"]

    def test_a_study_gives_the_goal_and_the_seconds(self, anna):
        study = make_study("reasoning")
        campaign = make_campaign(study, [anna], kind="correctness", cases=make_cases(study, 20))
        answer = judging.Answer("judged", values={"correctness": "correct"})
        while (assignment := next_assignment(campaign, anna)) is not None:
            judging.submit(assignment, answer, actor=anna)
        Assignment.objects.update(active_seconds=30, submitted_at=timezone.now())
        found = json.loads(self.run(study.slug, "--cases", "50", "--json"))
        assert found["goal"] == "accuracy_difference"
        assert found["seconds_per_judgement"] == 30
        assert "advice: " in self.run(study.slug, "--cases", "50")

    def test_what_can_not_be_ends_with_status_1(self):
        with pytest.raises(CommandError, match="only 1 annotators") as error:
            self.run("--cases", "50", "--overlap", "2", "--annotators", "1")
        assert error.value.returncode == 1
        with pytest.raises(CommandError, match="separated by commas"):
            self.run("--cases", "50", "--shares", "many")
        with pytest.raises(CommandError, match="no study “nowhere”"):
            self.run("nowhere", "--cases", "50")
