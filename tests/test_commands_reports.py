import io
import json

import pytest
from django.core.management import CommandError, call_command

from annotations.models import Campaign, Study
from tests.factories import join, make_cases, make_completion, make_model, make_study
from tests.report_rows import campaign_on, judge, summaries, yes_no

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def reports_dir(settings, tmp_path):
    settings.REPORTS_DIR = tmp_path / "reports"


def run(*args):
    """The one JSON object a command prints."""
    out = io.StringIO()
    call_command(*args, "--json", stdout=out, skip_checks=True)
    return json.loads(out.getvalue())


@pytest.fixture
def study():
    made = make_study("classification")
    cases = make_cases(made, 3, "test", reference={"label": "yes"})
    for name in ("base", "sft", "dpo"):
        model = make_model(name)
        for case in cases:
            make_completion(case, model, text="yes", parsed={"label": "yes"})
    return made


def test_evaluate_locks_the_plan_with_its_arms_and_says_so(study):
    result = run("evaluate", study.slug, "--arms", "base,sft,dpo", "--here")
    assert result["status"] == "succeeded"
    assert result["cases"] == 3
    assert result["outputs"] == {"base": 3, "sft": 3, "dpo": 3}
    assert result["analysis_locked_now"] is True
    study.refresh_from_db()
    assert result["analysis_sha256"] == study.analysis_sha256
    assert study.analysis["arms"] == ["base", "sft", "dpo"]
    again = run("evaluate", study.slug, "--arms", "base,dpo", "--here")
    assert again["analysis_locked_now"] is False
    assert again["earlier_evaluations_of_this_split"] == 1
    assert again["analysis_sha256"] == result["analysis_sha256"]


def test_evaluate_fails_at_once_when_no_worker_is_alive_and_locks_nothing(study):
    with pytest.raises(CommandError, match="No worker") as raised:
        run("evaluate", study.slug, "--arms", "base", "--wait")
    assert raised.value.returncode == 1
    study.refresh_from_db()
    assert study.analysis_locked_at is None


def test_an_evaluation_that_cannot_start_locks_nothing(study):
    with pytest.raises(CommandError, match="has no cases"):
        run("evaluate", study.slug, "--arms", "base", "--split", "validation")
    study.refresh_from_db()
    assert study.analysis_locked_at is None


def test_evaluate_only_queues_without_wait_or_here(study):
    assert run("evaluate", study.slug, "--arms", "base")["status"] == "queued"


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["evaluate", "nowhere", "--arms", "base"], "no study “nowhere”"),
        (["evaluate", "{study}", "--arms", "base,ghost"], "“ghost”"),
        (["report", "{study}", "--out", "{out}", "--formats", "pdf,html"], "pdf: not yet, see README"),
        (["report", "{study}", "--out", "{out}", "--evaluation", "99"], "has no 99"),
        (["report", "{study}", "--out", "{out}"], "nothing to report on"),
        (["lock_analysis", "{study}"], "names no arms"),
        (
            [
                "plan_campaign",
                "{study}",
                "--kind",
                "comparison",
                "--name",
                "x",
                "--annotators",
                "ghost",
                "--overlap",
                "1",
            ],
            "user name “ghost”",
        ),
    ],
)
def test_a_mistake_ends_with_status_1_and_what_to_do(study, tmp_path, args, says):
    filled = [arg.format(study=study.slug, out=tmp_path / "out") for arg in args]
    with pytest.raises(CommandError, match=says) as raised:
        run(*filled)
    assert raised.value.returncode == 1


def test_lock_analysis_prints_the_plan_and_its_hash(study):
    result = run("lock_analysis", study.slug, "--arms", "base,sft")
    study.refresh_from_db()
    assert result["analysis_sha256"] == study.analysis_sha256
    assert result["plan"]["arms"] == ["base", "sft"]


def test_report_writes_its_files_and_prints_what_it_says(tmp_path):
    row = yes_no()
    out = tmp_path / "out"
    result = run("report", row.study.slug, "--out", str(out))
    assert {"agreement", "arms", "contrasts", "warnings", "flow", "lineage"} <= set(result)
    assert result["arms"]["sft"]["accuracy"]["value"] == 7 / 8
    assert sorted(result["files"]) == sorted(str(p.relative_to(out)) for p in out.rglob("*") if p.is_file())
    assert "figures/arms-f1.svg" in result["files"]
    assert json.loads((out / "report.json").read_text())["arms"] == result["arms"]


def test_report_writes_only_the_formats_asked_for(tmp_path):
    row = yes_no()
    result = run("report", row.study.slug, "--out", str(tmp_path / "out"), "--formats", "json")
    assert result["files"] == ["report.json"]


def test_report_on_a_campaign_alone_is_about_agreement(tmp_path, anna, ben):
    row = summaries(3)
    campaign = campaign_on(row, "comparison", [anna, ben], name="blind")
    for item in campaign.items.all():
        judge(item, anna, "prefer_a")
        judge(item, ben, "prefer_a" if item.position else "tie")
    Study.objects.update(analysis_locked_at=None, analysis_sha256="")
    result = run("report", row.study.slug, "--campaign", "blind", "--out", str(tmp_path / "out"))
    assert result["arms"] == {}
    assert result["agreement"]["blind"]["preference"]["percent_agreement"]["value"] == pytest.approx(2 / 3)


def test_without_json_a_summary_is_printed(tmp_path):
    row = yes_no()
    out = io.StringIO()
    call_command("report", row.study.slug, "--out", str(tmp_path / "out"), stdout=out, skip_checks=True)
    assert "sft − base, F1: +0.29" in out.getvalue()
    assert len(out.getvalue()) < 4000


def test_plan_campaign_takes_exactly_an_evaluation_s_outputs(anna, ben):
    row = summaries(3)
    for person in (anna, ben):
        join(row.study, person, "annotator")
    make_completion(row.study.cases.first(), row.arms.first().model, text="later", key="8" * 64)
    args = ["--kind", "comparison", "--name", "blind", "--annotators", "anna,ben", "--overlap", "2", "--seed", "5"]
    result = run("plan_campaign", row.study.slug, *args, "--evaluation", str(row.pk))
    assert (result["items"], result["cases"], result["dropped"]) == (3, 3, {})
    campaign = Campaign.objects.get(pk=result["campaign"])
    assert list(row.campaigns.all()) == [campaign]
    used = {c for item in campaign.items.all() for c in (item.completion_a_id, item.completion_b_id)}
    assert used == set(row.completions.values_list("pk", flat=True))


def test_plan_campaign_on_models_of_a_split(study, anna):
    join(study, anna, "annotator")
    args = ["--kind", "correctness", "--name", "c", "--annotators", "anna", "--overlap", "1", "--models", "base,sft"]
    result = run("plan_campaign", study.slug, *args, "--split", "test")
    assert result["items"] == 6
    assert result["models"] == ["base", "sft"]
