import json
from pathlib import Path

import pytest
from django.utils import timezone

from accounts.errors import UserError
from annotations.models import Case, Model, Study
from reports import build, exports
from tests.factories import join, make_cases, make_study
from tests.report_rows import campaign_on, evaluate, judge, summaries, yes_no

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def reports_dir(settings, tmp_path):
    settings.REPORTS_DIR = tmp_path / "reports"


def documented(evaluations=(), campaigns=(), study=None):
    study = study or (evaluations or campaigns)[0].study
    return build.collect(study, evaluations, campaigns).document


def codes(document):
    return {caution["code"] for caution in document["warnings"]}


def test_f1_and_accuracy_are_those_worked_out_by_hand():
    document = documented([yes_no()])
    base, sft = document["arms"]["base"], document["arms"]["sft"]
    assert base["f1"]["value"] == pytest.approx(4 / 7)
    assert sft["f1"]["value"] == pytest.approx(6 / 7)
    assert base["accuracy"]["value"] == 0.5  # the unparsed answer is wrong, not missing
    assert base["accuracy"]["n"] == 8
    assert "1 unparsed" in base["accuracy"]["note"]
    assert sft["accuracy"]["value"] == 7 / 8
    f1 = document["contrasts"][0]
    assert (f1["metric"], f1["first"], f1["second"], f1["planned"]) == ("f1", "base", "sft", True)
    assert f1["effect"] == pytest.approx(2 / 7)
    # Sign test by hand: correctness differs in cases 2, 3, 7, 8 for sft and 4 for base: 2 × (1 + 5) / 2^5.
    mcnemar = next(row for row in document["contrasts"] if row["metric"] == "accuracy")
    assert mcnemar["p_value"] == pytest.approx(2 * 6 / 32)
    assert not mcnemar["planned"]
    assert mcnemar["p_adjusted"] is None
    assert document["confusion"]["label"]["arms"]["base"] == [[2, 2, 0], [1, 2, 1]]


def test_a_win_rate_counts_by_completion_with_ties_and_both_unacceptable_one_half(anna, ben):
    evaluation = summaries(
        4, arms=("sft", "base"), analysis={"primary_metric": "win_rate", "contrasts": [["base", "sft"]]}
    )
    campaign = campaign_on(evaluation, "comparison", [anna, ben])
    # Items hold base as a and sft as b. sft wins twice, ties, loses; both unacceptable; not judged; defective.
    for item, (first, second) in zip(
        campaign.items.all(),
        [
            ("prefer_b", "prefer_b"),
            ("tie", "prefer_a"),
            ("both_unacceptable", "cannot_judge"),
            ("defective", "defective"),
        ],
        strict=True,
    ):
        judge(item, anna, first)
        judge(item, ben, second)
    row = documented([evaluation], [campaign])["contrasts"][0]
    assert (row["first"], row["second"], row["planned"]) == ("base", "sft", True)
    assert row["effect"] == pytest.approx(((1 + 1) / 2 + (0.5 + 0) / 2 + 0.5) / 3)
    assert (row["n"], row["n_cases"]) == (3, 3)
    # The defective item's two judgements are in left_out, as that case, and not among the counted ones.
    assert row["counts"] == {"both_unacceptable": 1, "cannot_judge": 1, "first": 1, "second": 2, "tie": 1}
    assert row["left_out"] == {"defective item": 1}


def test_likert_means_are_over_cases_after_annotators_and_surplus_is_for_agreement_only(anna, ben, chidi):
    evaluation = summaries(2)
    campaign = campaign_on(evaluation, "likert", [anna, ben, chidi], overlap=2)
    points = {"base": [(2, 4), (1, 1)], "sft": [(5, 5), (3, 4)]}
    for item in campaign.items.select_related("completion_a__model"):
        one, two = points[item.completion_a.model.name][evaluation.case_ids.index(item.case_id)]
        judge(item, anna, faithful=one, complete=3)
        judge(item, ben, faithful=two, complete=3)
        judge(item, chidi, surplus=True, faithful=1, complete=3)
    document = documented([evaluation], [campaign])
    assert document["arms"]["base"]["mean_likert.faithful"]["value"] == 2.0
    assert document["arms"]["sft"]["mean_likert.faithful"]["value"] == 4.25
    planned = [row for row in document["contrasts"] if row["planned"]]
    assert [(row["criterion"], row["effect"]) for row in planned] == [("faithful", 2.25)]
    assert document["agreement"]["likert"]["faithful"]["n_annotators"] == 3
    assert document["agreement"]["likert"]["faithful"]["n_surplus"] == 4
    assert document["likert"]["faithful"]["arms"]["base"] == [2, 1, 0, 1, 0]
    # All say 3 on the other criterion: alpha is undefined and says so.
    alpha = document["agreement"]["likert"]["complete"]["alpha"]
    assert alpha["value"] is None
    assert "no variation" in alpha["note"]


def test_alpha_of_a_campaign_equals_the_krippendorff_package(anna, ben, chidi):
    import krippendorff

    evaluation = summaries(4)
    campaign = campaign_on(evaluation, "likert", [anna, ben, chidi], arms=["base"])
    table = [[1, 2, 1], [3, 3, 4], [5, 4, 5], [2, 2, 2]]
    for item, row in zip(campaign.items.all(), table, strict=True):
        for person, value in zip([anna, ben, chidi], row, strict=True):
            judge(item, person, faithful=value, complete=value)
    expected = krippendorff.alpha(list(zip(*table, strict=True)), level_of_measurement="ordinal")
    alpha = documented([], [campaign])["agreement"]["likert"]["faithful"]["alpha"]
    assert alpha["value"] == pytest.approx(expected)
    assert alpha["low"] < alpha["value"] <= alpha["high"]


@pytest.mark.parametrize(("partly_counts", "expected"), [(False, 1 / 2), (True, 1.0)])
def test_correctness_is_the_majority_and_partly_counts_as_the_plan_says(anna, ben, chidi, partly_counts, expected):
    study = make_study("reasoning", analysis={"partly_counts": partly_counts})
    cases = make_cases(study, 3, "test")
    evaluation = evaluate(study, {"base": ["Answer: a"] * 3}, cases)
    campaign = campaign_on(evaluation, "correctness", [anna, ben, chidi])
    said = [("correct", "correct", "incorrect"), ("partly", "partly", "correct"), ("correct", "incorrect", None)]
    for item, answers in zip(campaign.items.all(), said, strict=True):
        for person, answer in zip([anna, ben, chidi], answers, strict=True):
            if answer:
                judge(item, person, correctness=answer)
    entry = documented([evaluation], [campaign])["arms"]["base"]["accuracy"]
    assert entry["value"] == expected
    assert entry["left_out"] == {"no consensus": 1}


def test_reasoning_without_a_campaign_matches_the_parsed_answer_with_the_reference():
    study = make_study("reasoning")
    cases = [make_cases(study, 1, "test", reference={"text": "Clarithromycin"})[0] for _ in range(3)]
    texts = ["It raises the INR.\nAnswer: clarithromycin.", "Answer: amoxicillin", "No idea."]
    entry = documented([evaluate(study, {"base": texts}, cases)])["arms"]["base"]["accuracy"]
    assert entry["value"] == pytest.approx(1 / 3)
    assert "1 without a final answer" in entry["note"]


def test_triage_has_every_metric_for_each_field_and_all_fields_are_one_family():
    study = make_study("triage")
    gold = [{"personnel": "nurse", "urgency": "soon"}, {"personnel": "billing", "urgency": "routine"}] * 3
    cases = [make_cases(study, 1, "test", reference=one)[0] for one in gold]
    good = ["personnel: nurse\nurgency: soon", "personnel: billing\nurgency: routine"] * 3
    bad = ["personnel: physician\nurgency: urgent"] * 6
    document = documented([evaluate(study, {"base": bad, "sft": good}, cases)])
    assert document["arms"]["sft"]["accuracy.personnel"]["value"] == 1.0
    assert document["arms"]["sft"]["f1.personnel"]["value"] == pytest.approx(
        2 / 3
    )  # physician never occurs: 0 by convention
    assert document["arms"]["sft"]["weighted_kappa.urgency"]["value"] == 1.0
    assert "weighted_kappa.personnel" not in document["arms"]["sft"]
    family = [row for row in document["contrasts"] if row["planned"]]
    assert [row["criterion"] for row in family] == ["personnel", "urgency"]
    smallest = min(family, key=lambda row: row["p_value"])
    assert smallest["p_adjusted"] == pytest.approx(2 * smallest["p_value"])


def test_holm_is_within_the_planned_contrasts_only(anna, ben):
    evaluation = summaries(12, arms=("base", "sft", "dpo"))
    campaign = campaign_on(evaluation, "likert", [anna])
    level = {"base": 2, "sft": 3, "dpo": 4}
    for item in campaign.items.select_related("completion_a__model"):
        jitter = item.case_id % 2 if item.completion_a.model.name == "dpo" else 0
        judge(item, anna, faithful=level[item.completion_a.model.name] + jitter, complete=3)
    rows = [row for row in documented([evaluation], [campaign])["contrasts"] if row["criterion"] == "faithful"]
    planned = {(row["first"], row["second"]): row for row in rows if row["planned"]}
    assert set(planned) == {("base", "sft"), ("sft", "dpo")}
    raw = sorted(row["p_value"] for row in planned.values())
    assert raw[0] == pytest.approx(2 / 2**12)  # all twelve differences positive: exact signed rank
    assert min(row["p_adjusted"] for row in planned.values()) == pytest.approx(2 * raw[0])
    assert [row["p_adjusted"] for row in rows if not row["planned"]] == [None]


def test_several_cases_of_a_patient_are_drawn_and_flipped_together(anna):
    study = make_study("classification")
    cases = [
        make_cases(study, 1, "test", group=f"p{i // 2}", reference={"label": "yes" if i % 2 else "no"})[0]
        for i in range(8)
    ]
    texts = {"base": ["yes"] * 8, "sft": ["no", "yes"] * 4}
    document = documented([evaluate(study, texts, cases)])
    assert "cluster bootstrap" in document["arms"]["base"]["f1"]["method"]
    assert all("cluster" in row["method"] for row in document["contrasts"])
    assert "by patient" in " ".join(document["methods"])


def test_an_evaluation_cannot_be_reported_before_the_plan_is_locked():
    evaluation = yes_no()
    Study.objects.update(analysis_locked_at=None, analysis_sha256="")
    evaluation.study.refresh_from_db()
    with pytest.raises(UserError, match=r"manage\.py lock_analysis"):
        build.build(study=evaluation.study, evaluations=[evaluation])


def test_the_same_rows_and_seed_give_the_same_bytes_but_for_the_date(anna):
    evaluation = yes_no()
    first, second = (build.build(study=evaluation.study, evaluations=[evaluation]) for _ in range(2))
    texts = []
    for report in (first, second):
        lines = (report.path / "report.json").read_text().splitlines()
        texts.append([line for line in lines if '"created_at"' not in line])
    assert texts[0] == texts[1]
    for name in exports.file_names(first):
        if name.endswith((".svg", ".csv")):
            assert (first.path / name).read_bytes() == (second.path / name).read_bytes()


def test_a_report_is_frozen_to_files_with_valid_json_and_its_hash():
    import hashlib

    evaluation = yes_no()
    report = build.build(study=evaluation.study, evaluations=[evaluation])
    text = (report.path / "report.json").read_text()

    def refuse(constant):
        raise AssertionError(f"{constant} is no JSON")

    assert json.loads(text, parse_constant=refuse)["arms"]
    assert report.sha256 == hashlib.sha256((report.path / "report.json").read_bytes()).hexdigest()
    names = exports.file_names(report)
    assert {"report.html", "report.css", "arms.csv", "contrasts.csv", "scores.csv", "exclusions.csv"} <= set(names)
    page = (report.path / "report.html").read_text()
    for figure in json.loads(text)["figures"]:
        assert figure["file"] in names
        assert f'src="{figure["file"]}"' in page
    assert "style=" not in page
    assert "<script" not in page
    assert report.path.stat().st_mode & 0o077 == 0


def test_a_report_that_fails_leaves_nothing_behind(monkeypatch, settings):
    evaluation = yes_no()
    monkeypatch.setattr(exports, "write", lambda *args: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        build.build(study=evaluation.study, evaluations=[evaluation])
    assert list(Path(settings.REPORTS_DIR).iterdir()) == []
    assert evaluation.reports.count() == 0


@pytest.mark.parametrize(
    "case", ["nothing judged", "one case", "one annotator", "arm without outputs", "all ties", "no reference"]
)
def test_degenerate_data_still_give_a_report_that_says_what_is_missing(case, anna, ben):
    campaigns = []
    if case == "no reference":
        study = make_study("classification")
        evaluation = evaluate(
            study, {"base": ["yes", "no"], "sft": ["no", "no"]}, make_cases(study, 2, "test", reference={})
        )
    elif case == "arm without outputs":
        study = make_study("classification")
        cases = make_cases(study, 3, "test", reference={"label": "yes"})
        evaluation = evaluate(study, {"base": ["yes"] * 3, "sft": [None] * 3}, cases)
    else:
        evaluation = summaries(1 if case == "one case" else 3)
        people = [anna] if case == "one annotator" else [anna, ben]
        campaigns = [campaign_on(evaluation, kind, people) for kind in ("likert", "comparison")]
        for campaign in campaigns if case != "nothing judged" else []:
            for item in campaign.items.all():
                for person in people:
                    answer = {"faithful": 5, "complete": 5} if campaign.kind == "likert" else {}
                    judge(item, person, "judged" if campaign.kind == "likert" else "tie", **answer)
    report = build.build(study=evaluation.study, evaluations=[evaluation], campaigns=campaigns)
    document = exports.document(report)
    page = (report.path / "report.html").read_text()
    undefined = [row for row in document["contrasts"] if row["p_value"] is None]
    assert all(row["note"] for row in undefined)
    assert all(entry["note"] for own in document["arms"].values() for entry in own.values() if entry["value"] is None)
    assert "nan" not in page.lower().replace("nano", "")
    assert document["warnings"]


def test_agreement_alone_can_be_reported_without_a_locked_plan(anna, ben):
    evaluation = summaries(2)
    campaign = campaign_on(evaluation, "comparison", [anna, ben])
    for item in campaign.items.all():
        judge(item, anna, "prefer_a")
        judge(item, ben, "prefer_b")
    Study.objects.update(analysis_locked_at=None, analysis_sha256="")
    campaign.study.refresh_from_db()
    report = build.build(study=campaign.study, campaigns=[campaign])
    document = exports.document(report)
    assert document["agreement"]["comparison"]["preference"]["percent_agreement"]["value"] == 0.0
    assert document["arms"] == {}
    assert "no_evaluation" in codes(document)


def test_nothing_at_all_is_refused_with_what_to_do():
    with pytest.raises(UserError, match="Plan a campaign"):
        build.build(study=make_study())


def test_every_exclusion_is_counted_in_the_flow_and_listed(anna, ben):
    study = make_study()
    cases = make_cases(study, 4, "test")
    make_cases(study, 2, "train")
    evaluation = evaluate(study, {"base": ["a", "b", "same", None], "sft": ["c", "d", "same", "e"]}, cases)
    evaluation.excluded = {"leaked": ["case-x"]}
    evaluation.save()
    campaign = campaign_on(evaluation, "comparison", [anna, ben], dropped={"identical_texts": [cases[2].external_id]})
    campaign.items.filter(case=cases[2]).delete()
    judge(campaign.items.get(case=cases[0]), anna, "prefer_a")
    found = build.collect(study, [evaluation], [campaign])
    flow = found.document["flow"]
    assert flow["imported"] == {"cases": 6, "groups": 6, "by_split": {"test": 4, "train": 2}}
    assert flow["evaluations"][str(evaluation.pk)]["excluded"] == {"leaked": 1}
    assert flow["evaluations"][str(evaluation.pk)]["arms"]["base"]["no_output"] == 1
    counts = flow["campaigns"]["comparison"]
    assert (counts["items"], counts["judged_in_part"], counts["not_judged"]) == (2, 1, 1)
    row = found.document["contrasts"][0]
    assert row["left_out"] == {"identical texts, so not compared": 1, "no output": 1, "not judged": 1}
    listed = {(line["reason"], line["case"]) for line in found.tables["exclusions"]}
    assert {
        ("leaked", "case-x"),
        ("no output", cases[3].external_id),
        ("identical_texts", cases[2].external_id),
    } <= listed


def test_warnings_name_what_a_reader_must_know(anna):
    evaluation = summaries(2, synthetic=True)
    campaign = campaign_on(evaluation, "comparison", [anna], simulated=True)
    for item in campaign.items.all():
        judge(item, anna, "tie")
    evaluation.leak_override = "pilot"
    evaluation.save()
    assert "reopened" not in codes(documented([evaluation], [campaign]))
    campaign.reopened_at = timezone.now()
    campaign.save()
    later = evaluate(evaluation.study, {"base": ["x", "y"]}, list(Case.objects.filter(pk__in=evaluation.case_ids)))
    found = codes(documented([evaluation, later], [campaign]))
    assert {
        "synthetic",
        "leak_override",
        "test_split_reused",
        "few_cases",
        "simulated",
        "interim_look",
        "one_annotator",
        "reopened",
        "many_ties",
    } <= found


def test_annotators_who_also_made_the_training_data_are_said(anna, ben):
    from training.models import DatasetRow, Run, TrainingDataset

    evaluation = summaries(2)
    study = evaluation.study
    training = campaign_on(evaluation, "comparison", [anna], name="training")
    taught = judge(training.items.first(), anna, "prefer_a")
    dataset = TrainingDataset.objects.create(
        study=study, kind="preference", directory="d", sha256="d" * 64, n_train=1, n_validation=0, template_version=1
    )
    case = make_cases(study, 1, "train")[0]
    DatasetRow.objects.create(dataset=dataset, split="train", position=0, case=case, judgement_ids=[taught.pk])
    base = Model.objects.get(name="base")
    run = Run(study=study, name="r", method="dpo", base=base, dataset=dataset, directory="r", status="succeeded")
    run.model = Model.objects.get(name="sft")
    run.save()
    campaign = campaign_on(evaluation, "comparison", [anna, ben], name="test")
    judge(campaign.items.first(), anna, "prefer_b")
    judge(campaign.items.first(), ben, "prefer_b")
    document = documented([evaluation], [campaign])
    assert "1 of 2 annotators" in next(c["text"] for c in document["warnings"] if c["code"] == "same_annotators")
    runs = document["lineage"]["evaluations"][str(evaluation.pk)]["arms"]["sft"]["model"]["runs"]
    assert runs[0]["dataset"]["judgement_ids"] == [taught.pk]
    assert len(document["lineage"]["campaigns"]["test"]["judgement_ids"]) == 2


def test_annotators_stand_under_their_pseudonym_only(anna, ben):
    evaluation = summaries(2)
    for person in (anna, ben):
        join(evaluation.study, person, "annotator")
    campaign = campaign_on(evaluation, "comparison", [anna, ben])
    judge(campaign.items.first(), anna, "tie")
    report = build.build(study=evaluation.study, evaluations=[evaluation], campaigns=[campaign])
    for name in exports.file_names(report):
        assert "anna" not in (report.path / name).read_text()
    pseudonym = evaluation.study.memberships.get(user=anna).pseudonym
    assert exports.document(report)["annotators"][0]["annotator"] == pseudonym


def test_a_cell_that_a_spreadsheet_would_run_is_defused():
    evaluation = yes_no()
    Model.objects.filter(name="sft").update(name="=HYPERLINK(1)")
    report = build.build(study=evaluation.study, evaluations=[evaluation])
    lines = (report.path / "arms.csv").read_text().splitlines()
    assert any(line.startswith("'=HYPERLINK") for line in lines)
