"""What a report may count, and what it may call planned."""

import json
from datetime import timedelta

import pytest
from django.utils import timezone

from accounts.errors import UserError
from annotations.models import Case, Item, Model, Study
from reports import analysis, build, votes
from tests.factories import make_campaign, make_cases, make_study
from tests.report_rows import YES_NO, campaign_on, evaluate, judge, summaries, yes_no

pytestmark = pytest.mark.django_db


def documented(evaluations, campaigns=()):
    return build.collect(evaluations[0].study, evaluations, campaigns).document


def codes(document):
    return {caution["code"] for caution in document["warnings"]}


def said(document, code):
    return [caution["text"] for caution in document["warnings"] if caution["code"] == code]


def win(document):
    return next(row for row in document["contrasts"] if row["metric"] == "win_rate")


def cases_of(evaluation):
    return list(Case.objects.filter(pk__in=evaluation.case_ids).order_by("pk"))


# Which judgements count


def test_simulated_judgements_never_mix_with_peoples_and_are_counted(anna, ben):
    evaluation = summaries(4)
    real, sim = (campaign_on(evaluation, "comparison", [p], name=n) for n, p in (("real", anna), ("sim", ben)))
    sim.simulated = True
    sim.save()
    for item in real.items.all():
        judge(item, anna, "prefer_a")
    for item in sim.items.all():
        judge(item, ben, "prefer_b")
    document = documented([evaluation], [real, sim])
    assert (win(document)["effect"], win(document)["counts"]) == (0.0, {"first": 4})
    assert document["flow"]["campaigns"]["sim"]["not_scored"] == {"simulated": 4}
    assert "4 simulated judgements are not scored" in said(document, "simulated_not_scored")[0]
    assert [campaign.name for campaign in votes.default_campaigns(evaluation.study)] == ["real"]
    # Alone, a simulated campaign is scored, with its caution.
    assert win(documented([evaluation], [sim]))["effect"] == 1.0


def test_simulated_judgements_are_the_default_where_people_judged_none(anna):
    evaluation = summaries(2)
    sim = campaign_on(evaluation, "comparison", [anna], simulated=True)
    judge(sim.items.first(), anna, "tie")
    campaign_on(evaluation, "comparison", [anna], name="nobody yet")
    assert {campaign.name for campaign in votes.default_campaigns(evaluation.study)} == {"comparison", "nobody yet"}


def test_every_case_weighs_the_same_in_a_win_rate_however_many_judged_it(anna, ben, chidi):
    evaluation = summaries(4)
    campaign = campaign_on(evaluation, "comparison", [anna, ben, chidi])
    first, *others = campaign.items.all()
    for person in (anna, ben, chidi):
        judge(first, person, "prefer_b")
    for item in others:
        judge(item, anna, "prefer_a")
    document = documented([evaluation], [campaign])
    assert (win(document)["effect"], win(document)["n"]) == (0.25, 4)
    assert win(document)["p_value"] == pytest.approx(10 / 16)  # 1 or 3 of 4 flips, or more extreme
    assert document["arms"]["sft"]["win_rate"]["value"] == 0.25
    assert document["arms"]["sft"]["win_rate"]["n"] == 4


def test_who_judged_the_same_outputs_in_two_campaigns_votes_once_the_last_time(anna, ben, chidi):
    evaluation = evaluate_answers()
    one, two = (campaign_on(evaluation, "correctness", [anna, ben, chidi], name=name) for name in ("b", "a"))
    item, again = one.items.first(), two.items.first()
    for person, answer in ((anna, "correct"), (ben, "correct"), (chidi, "incorrect")):
        judge(item, person, correctness=answer)
    judge(again, chidi, correctness="incorrect")
    judge(again, anna, correctness="incorrect")
    document = documented([evaluation], [one, two])
    assert document["arms"]["base"]["accuracy"]["value"] == 0.0  # one correct, two incorrect
    assert document["flow"]["campaigns"]["b"]["not_scored"] == {"judged_again": 2}
    assert "2 judgements are not scored" in said(document, "judged_again")[0]


def evaluate_answers(n=1, **fields):
    study = make_study("reasoning", **fields)
    return evaluate(study, {arm: ["Answer: x"] * n for arm in ("base", "sft")}, make_cases(study, n, "test"))


def test_surplus_judgements_do_not_decide_what_is_defective(anna, ben, chidi):
    evaluation = summaries(1)
    campaign = campaign_on(evaluation, "comparison", [anna, ben, chidi], overlap=2)
    item = campaign.items.get()
    judge(item, anna, "defective")
    judge(item, ben, "prefer_a")
    judge(item, chidi, "defective", surplus=True)
    document = documented([evaluation], [campaign])
    assert win(document)["effect"] == 0.0
    assert document["agreement"]["comparison"]["preference"]["n_items"] == 1


# What may be called planned


def test_judgements_made_before_the_lock_are_not_a_test_of_the_plan(anna):
    evaluation = summaries(4, analysis={"primary_metric": "win_rate"})
    campaign = campaign_on(evaluation, "comparison", [anna])
    for item in campaign.items.all():
        judge(item, anna, "prefer_b")
    assert win(documented([evaluation], [campaign]))["planned"]
    Study.objects.update(analysis_locked_at=timezone.now() + timedelta(hours=1))
    evaluation.study.refresh_from_db()
    document = documented([evaluation], [campaign])
    assert not win(document)["planned"]
    assert win(document)["p_adjusted"] is None
    assert "4 of its judgements were made before the analysis plan was locked" in win(document)["exploratory_because"]
    assert "exploratory here: 4 of its judgements" in said(document, "planned_but_exploratory")[0]
    assert "planned_contrast_missing" not in codes(document)


def test_a_plan_changed_after_the_lock_leaves_nothing_planned():
    study = yes_no().study
    Study.objects.update(analysis=study.analysis | {"primary_metric": "accuracy"})
    document = documented(list(study.evaluations.select_related("study")))
    assert not any(row["planned"] for row in document["contrasts"])
    assert "plan_changed" in codes(document)
    assert "not the one that was locked" in " ".join(document["methods"])


def test_only_the_first_evaluation_of_the_test_split_is_planned():
    first = yes_no()
    other, again = (evaluate(first.study, {k: YES_NO[k] for k in ("base", "sft")}, cases_of(first)) for _ in range(2))
    other.split = "validation"
    other.save()
    document = documented([other, first, again])
    rows = {row["evaluation"]: row for row in document["contrasts"] if row["metric"] == "f1"}
    assert [rows[e.pk]["planned"] for e in (first, other, again)] == [True, False, False]
    assert "validation split" in rows[other.pk]["exploratory_because"]
    assert f"evaluation {first.pk}" in rows[again.pk]["exploratory_because"]
    assert rows[first.pk]["p_adjusted"] == pytest.approx(rows[first.pk]["p_value"])
    assert len(said(document, "planned_but_exploratory")) == 2


def test_later_evaluations_of_the_test_split_are_said_and_failed_ones_are_not():
    first = yes_no()
    assert "test_split_reused" not in codes(documented([first]))
    later = evaluate(first.study, {"base": YES_NO["base"]}, cases_of(first))
    assert "once otherwise" in said(documented([first]), "test_split_reused")[0]
    later.status = "failed"
    later.save()
    assert "test_split_reused" not in codes(documented([first]))


def test_holm_counts_every_comparison_that_the_plan_declares_also_those_not_made():
    study = make_study("classification")
    gold = ["yes", "no"] * 6
    cases = [make_cases(study, 1, "test", reference={"label": label})[0] for label in gold]
    analysis.lock(study, changes={"arms": ["base", "sft", "dpo"], "n_resamples": 500})
    document = documented([evaluate(study, {"base": ["no"] * 12, "sft": gold}, cases)])
    (row,) = [row for row in document["contrasts"] if row["planned"]]
    assert row["p_adjusted"] == pytest.approx(2 * row["p_value"])
    assert document["plan"]["family_size"] == 2
    assert "2 comparisons that the plan declares, of which this report holds 1" in " ".join(document["methods"])


# What the plan may hold


@pytest.mark.parametrize(
    "changes",
    [
        {"partly_counts": "false"},
        {"contrasts": [["a", "b", "c"]]},
        {"contrasts": ["ab"]},
        {"arms": "base"},
        {"n_resamples": "500"},
        {"n_resamples": 500.5},
        {"seed": -1},
        {"seed": "x"},
        {"confidence": "0.9"},
        {"margin": "0.1"},
    ],
)
def test_a_plan_with_a_value_of_the_wrong_type_is_refused_by_name(changes):
    with pytest.raises(UserError) as caught:
        analysis.lock(make_study("reasoning"), changes={"arms": ["base", "sft"], **changes})
    assert caught.value.details[0].startswith(next(iter(changes)))
    assert not Study.objects.filter(analysis_locked_at__isnull=False).exists()


def test_a_margin_that_the_primary_metric_cannot_test_is_not_locked():
    with pytest.raises(UserError, match="no equivalence test for F1"):
        analysis.lock(make_study("classification"), changes={"arms": ["base", "sft"], "margin": 0.05})


def test_a_margin_is_tested_on_the_primary_measure_only(anna):
    evaluation = summaries(4, analysis={"margin": 0.5})
    campaign = campaign_on(evaluation, "likert", [anna])
    for i, item in enumerate(campaign.items.all()):
        judge(item, anna, faithful=3 + i % 2, complete=2 + i % 3)
    document = documented([evaluation], [campaign])
    assert {row["criterion"]: "equivalence" in row for row in document["contrasts"]} == {
        "faithful": True,
        "complete": False,
    }
    assert "declared margin of 0.5" in " ".join(document["methods"])


# Scores


def test_an_unparsed_answer_lowers_weighted_kappa():
    study = make_study("triage")
    gold = ["routine", "soon", "urgent"] * 4
    cases = [make_cases(study, 1, "test", reference={"personnel": "nurse", "urgency": g})[0] for g in gold]
    good = [f"personnel: nurse\nurgency: {g}" for g in gold]
    bad = [text if i < 3 else "personnel: nurse\nurgency: dunno" for i, text in enumerate(good)]
    arms = documented([evaluate(study, {"base": good, "sft": bad}, cases)])["arms"]
    entry = arms["sft"]["weighted_kappa.urgency"]
    assert arms["base"]["weighted_kappa.urgency"]["value"] == 1.0
    assert entry["value"] < 0.2
    assert entry["n"] == 12
    assert "9 unparsed, counted as the label farthest from the reference" in entry["note"]


def test_what_an_older_parser_read_is_read_again_and_counted():
    evaluation = yes_no()
    evaluation.completions.filter(model__name="base").update(parsed={"label": None}, parser_version=0)
    document = documented([evaluation])
    assert document["arms"]["base"]["accuracy"]["value"] == 0.5
    assert document["flow"]["evaluations"][str(evaluation.pk)]["arms"]["base"]["read_again"] == 8
    assert "read_again" in codes(document)


def test_outputs_cut_off_are_counted():
    evaluation = summaries(3)
    evaluation.completions.filter(model__name="sft").update(finish_reason="length")
    document = documented([evaluation])
    assert document["flow"]["evaluations"][str(evaluation.pk)]["arms"]["sft"]["cut_off"] == 3
    assert "3 of 3 outputs were cut off" in said(document, "cut_off")[0]


def test_unparsed_answers_without_a_reference_are_not_said_to_count_as_wrong():
    study = make_study("classification")
    cases = [make_cases(study, 1, "test", reference={} if i else {"label": "yes"})[0] for i in range(4)]
    entry = documented([evaluate(study, {"base": ["??"] * 4}, cases)])["arms"]["base"]["accuracy"]
    assert (entry["n"], entry["note"]) == (1, "3 cases left out: missing; 1 unparsed, counted as wrong")


def test_labels_that_look_like_numbers_are_text_in_agreement(anna, ben):
    study = make_study("classification")
    labels = [{"value": value, "title": value, "help": ""} for value in ("1", "01", "nan")]
    study.label_fields = [{"name": "label", "title": "L", "level": "nominal", "labels": labels, "positive": None}]
    study.save()
    campaign = make_campaign(study, [anna, ben], kind="label", cases=make_cases(study, 3), name="labels")
    for item, (one, two) in zip(campaign.items.all(), [("1", "01"), ("1", "01"), ("nan", "nan")], strict=True):
        judge(item, anna, label=one)
        judge(item, ben, label=two)
    found = build.collect(study, [], [campaign]).document["agreement"]["labels"]["label"]
    assert (found["percent_agreement"]["value"], found["percent_agreement"]["n"]) == (pytest.approx(1 / 3), 3)


def test_a_likert_row_keeps_the_two_statistics_apart(anna):
    study = make_study("summarisation")
    cases = [make_cases(study, 1, "test", group=f"p{i // 2}")[0] for i in range(4)]
    evaluation = evaluate(study, {arm: [f"{arm} {i}" for i in range(4)] for arm in ("base", "sft")}, cases)
    campaign = campaign_on(evaluation, "likert", [anna])
    for item in campaign.items.select_related("completion_a__model"):
        judge(item, anna, faithful=3 if item.completion_a.model.name == "base" else 4, complete=3)
    row = next(row for row in documented([evaluation], [campaign])["contrasts"] if row["criterion"] == "faithful")
    assert "rank-biserial" not in row["method"]
    assert "rank-biserial" in row["rank_biserial"]["method"]
    assert (row["effect"], row["low"], row["high"]) == (1.0, None, None)  # no width where nothing varies
    assert "no variation: no interval" in row["note"]


# What a reader must know


def test_the_flow_adds_up_when_cases_were_imported_later(anna):
    evaluation = yes_no()
    make_cases(evaluation.study, 5, "test")
    entry = documented([evaluation])["flow"]["evaluations"][str(evaluation.pk)]
    assert (entry["cases_in_split"], entry["cases"], entry["imported_later"]) == (8, 8, 5)


def test_withdrawn_repeats_are_not_counted_with_the_items(anna):
    evaluation = summaries(2)
    campaign = campaign_on(evaluation, "comparison", [anna])
    item = campaign.items.first()
    pair = {"case": item.case, "completion_a": item.completion_a, "completion_b": item.completion_b}
    judge(Item.objects.create(campaign=campaign, position=99, repeat_of=item, **pair), anna, "withdrawn")
    assert documented([evaluation], [campaign])["flow"]["campaigns"]["comparison"]["withdrawn"] == 0


def test_one_annotator_is_about_who_judged(anna, ben):
    evaluation = summaries(2)
    campaign = campaign_on(evaluation, "comparison", [anna, ben], overlap=1)
    judge(campaign.items.first(), anna, "tie")
    assert "one_annotator" in codes(documented([evaluation], [campaign]))


def test_the_methods_say_only_what_is_known(anna):
    evaluation = summaries(2)
    campaign = campaign_on(evaluation, "comparison", [anna])
    answer = judge(campaign.items.first(), anna, "prefer_a")
    text = " ".join(documented([evaluation], [campaign])["methods"])
    assert "the side drawn at random" in text
    assert "No patient has more than one case." in text
    answer.assignment.a_is_left = None
    answer.assignment.save()
    for case in cases_of(evaluation):
        case.group = case.external_id
        case.save()
    text = " ".join(documented([evaluation], [campaign])["methods"])
    assert "drawn at random" not in text
    assert "No patient has more than one case." not in text


def test_arms_trained_on_simulated_judgements_or_on_unknown_data_are_said(anna):
    from training.models import DatasetRow, Run, TrainingDataset

    evaluation = summaries(2, arms=("base", "sft", "elsewhere"))
    study = evaluation.study
    campaign = make_campaign(study, [anna], cases=make_cases(study, 1), simulated=True, name="training")
    answer = judge(campaign.items.get(), anna, "prefer_a")
    dataset = TrainingDataset.objects.create(
        study=study, kind="preference", directory="d", sha256="d" * 64, n_train=1, n_validation=0, template_version=1
    )
    dataset.campaigns.add(campaign)
    DatasetRow.objects.create(
        dataset=dataset, split="train", position=0, case=answer.item.case, judgement_ids=[answer.pk]
    )
    Model.objects.filter(name="base").update(kind="base", path="/weights")
    result = {
        "hyperparameters": {"beta": 0.1},
        "rows": {"train": {"read": 2, "kept": 1, "dropped": {"too_long": 1}}},
        "adapter_sha256": "a" * 64,
    }
    run = Run(study=study, name="r", method="dpo", base=Model.objects.get(name="base"), dataset=dataset, directory="r")
    run.status, run.result, run.model = "succeeded", result, Model.objects.get(name="sft")
    run.save()
    document = documented([evaluation])
    about = {(caution["code"], caution["about"]) for caution in document["warnings"]}
    assert ("trained_on_simulated", "sft") in about
    assert ("training_data_unknown", "elsewhere") in about
    assert ("training_data_unknown", "sft") not in about
    assert ("training_data_unknown", "base") not in about
    (told,) = document["lineage"]["evaluations"][str(evaluation.pk)]["arms"]["sft"]["model"]["runs"]
    assert told["hyperparameters"] == {"beta": 0.1}
    assert told["rows"]["train"]["dropped"] == {"too_long": 1}
    assert (told["base"], told["adapter_sha256"]) == ("base", "a" * 64)
    assert json.dumps(document, allow_nan=False)
