"""What annotators said beside their answers, in the report: harm with an exact interval, reasons, marks."""

import csv
import json
import uuid

import pytest

from annotations.models import HarmReport, Item, Revision
from reports import build
from reports.authors import HIDDEN
from reports.presentation import layout
from stats import paired
from tests.factories import join, make_campaign, make_cases, make_study
from tests.report_rows import campaign_on, judge, summaries

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def reports_dir(settings, tmp_path):
    settings.REPORTS_DIR = tmp_path / "reports"


def report(judgement, severity="moderate", output="a"):
    item = judgement.item
    completion = {"a": item.completion_a, "b": item.completion_b, "case": None}[output]
    return HarmReport.objects.create(
        id=uuid.uuid4(),
        assignment=judgement.assignment,
        completion=completion,
        severity=severity,
        quote="SECRET PASSAGE",
        description="SECRET WORDS",
        reported_by=judgement.annotator,
    )


@pytest.fixture
def evaluation():
    return summaries(3)


@pytest.fixture
def campaign(evaluation, anna, ben):
    """Items hold base as a and sft as b; both annotators judge two of three."""
    for person in (anna, ben):
        join(evaluation.study, person, "annotator")
    return campaign_on(evaluation, "comparison", [anna, ben])


@pytest.fixture
def judgements(campaign, anna, ben):
    return [[judge(item, person, "tie") for person in (anna, ben)] for item in list(campaign.items.all())[:2]]


def harm_of(evaluation, *campaigns):
    return build.collect(evaluation.study, [evaluation], campaigns).document["harm"]


def test_an_output_counts_once_with_the_worst_severity_and_an_exact_interval(evaluation, campaign, judgements):
    first, second = judgements
    report(first[0], "mild")
    report(first[1], "life_threatening")
    report(second[0], "severe", "b")
    found = harm_of(evaluation, campaign)["arms"]
    base = found["base"]
    assert (base["outputs_reported"], base["n"], base["reports"]) == (1, 2, 2)
    assert base["by_worst_severity"] == {"life_threatening": 1, "severe": 0, "moderate": 0, "mild": 0}
    exact = paired.clopper_pearson(1, 2)
    assert (base["value"], base["low"], base["high"]) == (0.5, pytest.approx(exact.low), pytest.approx(exact.high))
    assert base["cases"] == [first[0].item.case.external_id]
    assert found["sft"]["by_worst_severity"]["severe"] == 1


def test_no_report_is_a_result_too(evaluation, campaign, judgements):
    base = harm_of(evaluation, campaign)["arms"]["base"]
    assert (base["outputs_reported"], base["n"], base["low"]) == (0, 2, 0.0)
    assert base["high"] == pytest.approx(paired.clopper_pearson(0, 2).high)


def test_harm_about_cases_and_on_known_answers_stands_apart(evaluation, campaign, judgements, anna):
    report(judgements[0][0], output="case")
    known = Item.objects.create(
        campaign=campaign,
        case=campaign.items.first().case,
        completion_a=campaign.items.first().completion_a,
        completion_b=campaign.items.first().completion_b,
        position=90,
        overlap=0,
        gold={"outcome": "tie"},
    )
    report(judge(known, anna, "tie"), "severe")
    found = harm_of(evaluation, campaign)
    assert found["arms"]["base"]["outputs_reported"] == 0
    assert (found["about_cases"]["reports"], found["known_answers"]["reports"]) == (1, 1)
    assert found["known_answers"]["by_severity"]["severe"] == 1


def test_an_output_that_was_reported_and_not_judged_is_not_lost(evaluation, campaign, judgements):
    withdrawn = judgements[0][0]
    for judgement in judgements[0]:
        Revision.objects.filter(judgement=judgement).update(is_current=False)
        Revision.objects.create(judgement=judgement, number=2, outcome="withdrawn", created_by=judgement.annotator)
    report(withdrawn)
    base = harm_of(evaluation, campaign)["arms"]["base"]
    assert (base["outputs_reported"], base["n"]) == (1, 2)
    assert "1 reported, but judged by nobody" in base["note"]


def test_a_judgement_that_was_undone_and_given_again_counts(evaluation, campaign, judgements):
    judgement = judgements[0][0]
    Revision.objects.filter(judgement=judgement).update(is_current=False, outcome="withdrawn")
    Revision.objects.create(judgement=judgement, number=2, outcome="tie", created_by=judgement.annotator)
    judgements[0][1].revisions.update(outcome="withdrawn")
    assert harm_of(evaluation, campaign)["arms"]["base"]["n"] == 2


def test_what_a_program_judged_is_left_out(evaluation, campaign, judgements):
    campaign.simulated = True
    campaign.save()
    assert harm_of(evaluation, campaign)["arms"] == {}


def test_a_report_about_agreement_alone_tells_no_model_of_an_open_campaign(anna):
    study = make_study()
    campaign = make_campaign(study, [anna], cases=make_cases(study, 1), models=("quokka", "zebra"))
    report(judge(campaign.items.get(), anna, "tie"))
    document = build.collect(study, [], [campaign]).document
    assert list(document["harm"]["arms"]) == [HIDDEN]
    assert "zebra" not in json.dumps(document)
    campaign.closed_at = campaign.created_at
    campaign.save()
    assert list(build.collect(study, [], [campaign]).document["harm"]["arms"]) == ["quokka", "zebra"]


def test_the_files_hold_counts_and_cases_and_never_a_passage(evaluation, campaign, judgements):
    report(judgements[0][0], "severe")
    report(judgements[0][0], "severe", "case")
    made = build.build(study=evaluation.study, evaluations=[evaluation], campaigns=[campaign])
    with (made.path / "harm.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["arm"], row["outputs_reported"], row["n"], row["severe"]) for row in rows] == [
        ("base", "1", "2", "1"),
        ("sft", "0", "2", "0"),
    ]
    page = (made.path / "report.html").read_text()
    assert "Harm reported by annotators" in page
    assert "1 of 2" in page
    assert "2 harm reports" in page  # in the flow
    assert "Clopper and Pearson" in page
    everything = "".join(path.read_text() for path in made.path.rglob("*") if path.suffix != ".svg" and path.is_file())
    assert "SECRET" not in everything


def test_a_report_frozen_before_there_was_harm_is_still_shown(evaluation, campaign, judgements):
    document = build.collect(evaluation.study, [evaluation], [campaign]).document | {"figures": []}
    for name in ("harm", "remarks"):
        del document[name]
    assert layout(document)["harm"] is None


def test_reasons_and_marks_are_counted_by_arm(evaluation, campaign, anna, ben):
    campaign.rubric |= {"chips": ["too long"], "marks": True}
    campaign.save()
    item = campaign.items.first()
    for person, outcome in ((anna, "prefer_b"), (ben, "tie")):
        judge(item, person, outcome)
    mark = {"output": "a", "sentence": 0, "quote": "x", "kind": "wrong", "severity": "major"}
    Revision.objects.update(chips=["too long"], marks=[mark])
    document = build.collect(evaluation.study, [evaluation], [campaign]).document
    said = [(row["about"], row["n"], row["judgements"]) for row in document["remarks"]["reasons"]]
    assert said == [("sft preferred", 1, 1), ("tie, both good", 1, 1)]
    base, sft = document["remarks"]["marks"]
    assert (base["arm"], base["readings"], base["wrong major"]) == ("base", 2, {"n": 2, "per_100": 100.0})
    assert sft["wrong major"]["n"] == 0
    made = build.build(study=evaluation.study, evaluations=[evaluation], campaigns=[campaign])
    page = (made.path / "report.html").read_text()
    assert "Sentence marks" in page
    assert "Reasons given" in page


def test_agreement_on_a_comparisons_criteria_is_ordinal(evaluation, campaign, anna, ben):
    campaign.rubric |= {"criteria": [{"name": "safe", "title": "Safe"}]}
    campaign.save()
    for item, (one, two) in zip(campaign.items.all(), [(1, 2), (5, 5), (3, 3)], strict=True):
        judge(item, anna, "prefer_a", safe=one)
        judge(item, ben, "prefer_a", safe=two)
    found = build.collect(evaluation.study, [evaluation], [campaign]).document["agreement"]["comparison"]
    assert list(found) == ["safe", "preference"]
    assert found["safe"]["level"] == "ordinal"
    assert 0.8 < found["safe"]["alpha"]["value"] < 1
