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


PLAN = ["--kind", "comparison", "--name", "c", "--annotators", "anna,ben", "--overlap", "2", "--models", "base,sft,dpo"]


@pytest.fixture
def written(anna, ben):
    """Three models whose outputs differ, for twelve cases."""
    made = make_study("summarisation")
    for person in (anna, ben):
        join(made, person, "annotator")
    models = [make_model(name) for name in ("base", "sft", "dpo")]
    for case in make_cases(made, 12):
        for model in models:
            make_completion(case, model)
    return made


def test_plan_campaign_takes_every_choice_as_an_option(written, tmp_path):
    cases = list(written.cases.all())
    cases[0].completions.filter(model__name="sft").update(text="I am ChatGPT.")
    known = tmp_path / "known.csv"
    known.write_text(
        "case,model_a,model_b,value\n" + "".join(f"{case.external_id},base,sft,prefer_b\n" for case in cases[1:4])
    )
    args = [
        *("--pairs", "base", "--overlap-share", "0.5", "--consensus", "unanimous", "--criteria", "--marks", "--ideal"),
        *("--chip", "vague", "--chip", "unsafe", "--max-per-annotator", "40", "--apart", "2", "--reason", "required"),
        *("--known-answers", str(known), "--training-items", "2", "--training-pass-mark", "0.5", "--gold-rate", "0.05"),
        *("--repeat-rate", "0.2", "--blinding-items", "3", "--blinding-arm", "base=the old one", "--leave-out-named"),
        *("--show-reference", "--seed", "4"),
    ]
    result = run("plan_campaign", written.slug, *PLAN, *args)
    assert result["names_itself"] == {"sft": [cases[0].external_id]}
    assert result["dropped"] == {"names_itself": 1, "known_answer": 3}
    # 12 cases by two pairs, without the case that names itself and three known answers.
    assert (result["items"], result["items_with_overlap"], result["judgements"]) == (19, 10, 29)
    assert (result["training_items"], result["gold_items"], result["repeat_items"]) == (2, 1, 4)
    campaign = Campaign.objects.get(pk=result["campaign"])
    assert (campaign.consensus, campaign.max_per_annotator, campaign.apart) == ("unanimous", 40, 2)
    assert (campaign.rubric["chips"], campaign.rubric["show_reference"]) == (["vague", "unsafe"], True)
    assert "the old one" in campaign.blinding_check["arms"].values()
    assert campaign.design["known_answers"]["name"] == "known.csv"


def test_plan_campaign_reads_a_design_from_a_file_and_options_override_it(written, tmp_path):
    design = tmp_path / "design.toml"
    design.write_text(
        'pairs = ["base:sft", "sft:dpo"]\nrepeat_rate = 0.25\nmarks = true\nchips = ["vague"]\napart = 1\n'
    )
    result = run("plan_campaign", written.slug, *PLAN, "--design", str(design), "--repeat-rate", "0", "--no-marks")
    campaign = Campaign.objects.get(pk=result["campaign"])
    assert (result["items"], result["repeat_items"]) == (24, 0)
    assert (campaign.rubric["marks"], campaign.rubric["chips"], campaign.apart) == (False, ["vague"], 1)


def test_plan_campaign_can_say_what_would_be_without_making_it(written):
    result = run("plan_campaign", written.slug, *PLAN, "--repeat-rate", "0.1", "--preview")
    assert (result["items"], result["judgements"], result["repeat_items"]) == (36, 72, 4)
    assert sum(line["items"] for line in result["annotators"].values()) == 72 + 8
    assert "Each item is judged by 2 annotators." in result["words"]
    assert not Campaign.objects.exists()


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["--gold-rate", "0.1"], "need known answers"),
        (["--known-answers", "nowhere.csv", "--training-items", "1"], "can't be read"),
        (["--known-answers", "campaign:nowhere", "--training-items", "1"], "no closed comparison campaign"),
        (["--pairs", "base:ghost"], "no pair of the chosen models"),
        (["--blinding-arm", "base", "--blinding-items", "2"], "write MODEL=WORDING"),
        (["--design", "nowhere.toml"], "can't be read"),
    ],
)
def test_a_design_that_can_not_be_ends_with_status_1_and_what_to_do(written, args, says):
    with pytest.raises(CommandError, match=says) as raised:
        run("plan_campaign", written.slug, *PLAN, *args)
    assert raised.value.returncode == 1
    assert not Campaign.objects.exists()


def test_every_field_of_a_design_has_an_option(written):
    from dataclasses import fields

    from annotations.designs import TYPES, Design
    from reports.management.commands.plan_campaign import Command

    known = {action.dest for action in Command().create_parser("manage.py", "plan_campaign")._actions}
    assert {field.name for field in fields(Design)} == set(TYPES)
    assert set(TYPES) <= known
