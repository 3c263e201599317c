import json
from datetime import timedelta

import pytest
from django.utils import timezone

from accounts.errors import UserError
from annotations.generation.queue import request_stop
from annotations.models import Generation, Model, Status
from reports import analysis, evaluation
from reports.models import Evaluation
from tests.factories import make_cases, make_completion, make_model, make_study
from training.models import DatasetRow, Run, TrainingDataset

pytestmark = pytest.mark.django_db


def arms_with_outputs(study, cases, *names):
    models = [make_model(name) for name in names]
    for model in models:
        for case in cases:
            make_completion(case, model)
    return models


def locked_study(**fields):
    return analysis.lock(make_study(**fields), changes={"arms": ["base", "sft"]})


def train_on(case, model):
    """Make ``model`` the adapter of a run whose dataset holds ``case``."""
    study = case.study
    dataset = TrainingDataset.objects.create(
        study=study, kind="sft", directory=f"d{case.pk}", sha256="0" * 64, n_train=1, n_validation=0, template_version=1
    )
    DatasetRow.objects.create(dataset=dataset, split="train", position=0, case=case)
    fields = {"base": model, "dataset": dataset, "directory": f"r{case.pk}", "status": "succeeded", "model": model}
    return Run.objects.create(study=study, name=f"run-{case.pk}", method="sft", **fields)


def test_an_evaluation_needs_the_plan_locked_and_says_how():
    study = make_study()
    arms = arms_with_outputs(study, make_cases(study, 1, "test"), "base")
    with pytest.raises(UserError, match=f"lock_analysis {study.slug}"):
        evaluation.start(study=study, arms=arms)
    assert not Evaluation.objects.exists()


def test_stored_outputs_are_compared_on_fixed_cases_in_the_order_of_the_arms():
    study = locked_study()
    cases = make_cases(study, 3, "test")
    make_cases(study, 2, "train")
    arms = arms_with_outputs(study, cases, "sft", "base")
    row = evaluation.start(study=study, arms=arms)
    assert row.case_ids == [case.pk for case in sorted(cases, key=lambda case: case.external_id)]
    make_cases(study, 1, "test")  # too late to be in it
    row = evaluation.run_evaluation(row.pk, worker="w")
    assert row.status == Status.SUCCEEDED
    assert [arm.model.name for arm in row.arms.all()] == ["sft", "base"]
    assert row.completions.count() == 6
    assert [line["done"] for line in evaluation.progress_by_arm(row)] == [3, 3]


def test_only_the_worker_that_claims_it_runs_it():
    study = locked_study()
    arms = arms_with_outputs(study, make_cases(study, 1, "test"), "base")
    row = evaluation.start(study=study, arms=arms)
    evaluation.run_evaluation(row.pk, worker="first")
    again = evaluation.run_evaluation(row.pk, worker="second")
    assert again.claimed_by == "first"
    assert row.history().count() == 2


def test_the_newest_imported_output_of_a_case_is_compared():
    study = locked_study()
    cases = make_cases(study, 1, "test")
    (model,) = arms_with_outputs(study, cases, "base")
    newer = make_completion(cases[0], model, key="1" * 64)
    row = evaluation.run_evaluation(evaluation.start(study=study, arms=[model]).pk, worker="w")
    assert list(row.completions.all()) == [newer]


def test_a_case_of_a_trained_patient_stops_the_start_and_is_listed():
    study = locked_study()
    cases = make_cases(study, 3, "test", group="p1") + make_cases(study, 2, "test")
    arms = arms_with_outputs(study, cases, "base", "sft")
    train_on(make_cases(study, 1, "train", group="p1")[0], arms[1])
    with pytest.raises(UserError, match="3 of 5 cases") as raised:
        evaluation.start(study=study, arms=arms)
    assert len(raised.value.details) == 3
    assert cases[0].external_id in "".join(raised.value.details)
    assert not Evaluation.objects.exists()

    row = evaluation.start(study=study, arms=arms, exclude_leaked=True)
    assert row.case_ids == [case.pk for case in cases[3:]]
    assert row.excluded == {"leaked": sorted(case.external_id for case in cases[:3])}
    assert row.leak_override == ""

    row = evaluation.start(study=study, arms=arms, override="pilot only")
    assert len(row.case_ids) == 5
    assert row.leak_override == "pilot only"


def test_many_leaked_cases_are_counted_and_twenty_named():
    study = locked_study()
    cases = make_cases(study, 30, "test", group="p1")
    arms = arms_with_outputs(study, cases, "base")
    train_on(make_cases(study, 1, "train", group="p1")[0], arms[0])
    with pytest.raises(UserError, match="30 of 30") as raised:
        evaluation.start(study=study, arms=arms)
    assert len(raised.value.details) == 21
    assert raised.value.details[-1] == "… and 10 more"
    with pytest.raises(UserError, match="none is left"):
        evaluation.start(study=study, arms=arms, exclude_leaked=True)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"arms": []}, "at least one arm"),
        ({"split": "holdout"}, "no split “holdout”"),
        ({"split": "validation"}, "has no cases"),
        ({"sampling": {"heat": 1}}, "heat"),
    ],
)
def test_a_start_that_cannot_work_says_why_and_leaves_nothing(change, says):
    study = locked_study()
    arms = arms_with_outputs(study, make_cases(study, 1, "test"), "base")
    with pytest.raises(UserError, match=says):
        evaluation.start(**({"study": study, "arms": arms} | change))
    assert not Evaluation.objects.exists()
    assert not Generation.objects.exists()


def test_an_arm_twice_or_without_any_output_is_refused():
    study = locked_study()
    arms = arms_with_outputs(study, make_cases(study, 1, "test"), "base")
    with pytest.raises(UserError, match="named twice"):
        evaluation.start(study=study, arms=arms * 2)
    with pytest.raises(UserError, match="import_completions"):
        evaluation.start(study=study, arms=[*arms, make_model("elsewhere")])


def test_earlier_finished_evaluations_of_the_split_are_counted():
    study = locked_study()
    arms = arms_with_outputs(study, make_cases(study, 1, "test"), "base")
    rows = [evaluation.start(study=study, arms=arms) for _ in range(3)]
    assert [evaluation.earlier_evaluations(row) for row in rows] == [0, 0, 0]
    for row in rows[:2]:
        evaluation.run_evaluation(row.pk, worker="w")
    assert [evaluation.earlier_evaluations(row) for row in rows] == [0, 1, 2]
    assert [evaluation.other_evaluations(row).count() for row in rows] == [1, 1, 2]


def test_a_failed_generation_fails_the_evaluation_and_says_which():
    study = locked_study()
    cases = make_cases(study, 1, "test")
    arms = arms_with_outputs(study, cases, "base")
    row = evaluation.start(study=study, arms=arms)
    broken = Generation.objects.create(study=study, model=arms[0], status=Status.FAILED, error="The server is gone.")
    row.generations.add(broken)
    row = evaluation.run_evaluation(row.pk, worker="w")
    assert row.status == Status.FAILED
    assert "base ended failed. The server is gone." in row.error


def test_sweep_finishes_what_is_there_and_marks_what_a_dead_worker_left():
    study = locked_study()
    arms = arms_with_outputs(study, make_cases(study, 1, "test"), "base")
    done, cut = (evaluation.start(study=study, arms=arms) for _ in range(2))
    cut.generations.add(Generation.objects.create(study=study, model=arms[0], status=Status.INTERRUPTED))
    for row in (done, cut):
        row.claim("dead")
    Evaluation.objects.update(heartbeat_at=timezone.now() - timedelta(hours=1))
    evaluation.sweep()
    done.refresh_from_db()
    cut.refresh_from_db()
    assert done.status == Status.SUCCEEDED
    assert done.completions.count() == 1
    assert cut.status == Status.QUEUED  # nothing is generated twice, so it simply goes on


def test_what_was_interrupted_can_be_tried_again():
    study = locked_study()
    arms = arms_with_outputs(study, make_cases(study, 1, "test"), "base")
    row = evaluation.start(study=study, arms=arms)
    row.generations.add(Generation.objects.create(study=study, model=arms[0], status=Status.FAILED))
    row = evaluation.run_evaluation(row.pk, worker="w")
    assert evaluation.retry(row).status == Status.QUEUED
    assert row.generations.get().status == Status.QUEUED


def test_a_worker_that_dies_three_times_is_not_given_the_evaluation_again():
    study = locked_study()
    arms = arms_with_outputs(study, make_cases(study, 1, "test"), "base")
    row = evaluation.start(study=study, arms=arms)
    row.generations.add(Generation.objects.create(study=study, model=arms[0]))
    for _ in range(3):
        row.refresh_from_db()
        row.claim("dead")
        Evaluation.objects.update(heartbeat_at=timezone.now() - timedelta(hours=1))
        evaluation.sweep()
    row.refresh_from_db()
    assert row.status == Status.INTERRUPTED
    assert "died 3 times" in row.error


def test_a_campaign_gets_exactly_the_evaluation_s_outputs():
    study = locked_study()
    cases = make_cases(study, 2, "test")
    arms = arms_with_outputs(study, cases, "base", "sft")
    row = evaluation.start(study=study, arms=arms)
    with pytest.raises(UserError, match="is queued"):
        evaluation.scope(row)
    row = evaluation.run_evaluation(row.pk, worker="w")
    make_completion(cases[0], arms[0], key="9" * 64)  # made later, not compared
    scope = evaluation.scope(row)
    assert set(scope["completions"]) == set(row.completions.all())
    assert scope["models"] == arms
    assert evaluation.scope(row, [arms[1]])["models"] == [arms[1]]
    with pytest.raises(UserError, match="not an arm"):
        evaluation.scope(row, [make_model("other")])


def test_models_are_named_in_order_and_strangers_are_said():
    make_model("b")
    make_model("a")
    assert [model.name for model in evaluation.models_named(["b", "a"])] == ["b", "a"]
    with pytest.raises(UserError, match=r"“c”.*Models: a, b"):
        evaluation.models_named(["a", "c"])


def test_arms_that_generate_answer_with_the_same_decoding_and_a_second_evaluation_makes_nothing_anew(
    settings, tmp_path
):
    from training.recipes import tiny

    study = analysis.lock(make_study("classification"), changes={"arms": ["tiny-1", "tiny-2"]})
    cases = make_cases(study, 2, "test", reference={"label": "yes"})
    arms = [
        Model.objects.create(name=f"tiny-{seed}", kind="base", path=str(tiny.build(tmp_path / str(seed), seed=seed)))
        for seed in (1, 2)
    ]
    row = evaluation.start(study=study, arms=arms, sampling={"max_tokens": 4})
    row = evaluation.run_evaluation(row.pk, worker="w")
    assert row.status == Status.SUCCEEDED, row.error
    assert row.completions.count() == 4
    assert row.sampling["temperature"] == 0.0
    prompts = row.completions.values_list("case", "prompt_sha256").distinct()
    assert len(prompts) == len(cases)
    assert all(
        json.dumps(c.sampling, sort_keys=True) == json.dumps(row.sampling, sort_keys=True)
        for c in row.completions.all()
    )

    again = evaluation.start(study=study, arms=arms, sampling={"max_tokens": 4})
    again = evaluation.run_evaluation(again.pk, worker="w")
    assert set(again.completions.all()) == set(row.completions.all())


def test_an_evaluation_whose_generation_was_stopped_can_be_tried_again(settings, tmp_path):
    from training.recipes import tiny

    study = analysis.lock(make_study("classification"), changes={"arms": ["tiny"]})
    make_cases(study, 2, "test", reference={"label": "yes"})
    model = Model.objects.create(name="tiny", kind="base", path=str(tiny.build(tmp_path / "tiny", seed=1)))
    row = evaluation.start(study=study, arms=[model], sampling={"max_tokens": 4})
    stopped = request_stop(row.generations.get(), None)
    row = evaluation.run_evaluation(row.pk, worker="w")
    assert row.status == Status.FAILED
    assert "ended cancelled" in row.error
    evaluation.retry(row)
    assert row.generations.get().status == Status.QUEUED
    row = evaluation.run_evaluation(row.pk, worker="w")
    assert row.status == Status.SUCCEEDED, row.error
    assert row.completions.count() == 2
    stopped.refresh_from_db()
    assert stopped.status == Status.CANCELLED


@pytest.mark.parametrize("ends", ["succeeded", "failed"])
def test_a_worker_believed_dead_leaves_the_evaluation_to_the_one_that_has_it_now(ends):
    study = locked_study()
    arms = arms_with_outputs(study, make_cases(study, 1, "test"), "base")
    row = evaluation.start(study=study, arms=arms)
    if ends == "failed":
        row.generations.add(Generation.objects.create(study=study, model=arms[0], status=Status.FAILED))
    else:
        row.generations.add(Generation.objects.create(study=study, model=arms[0], status=Status.SUCCEEDED))

    def taken(line):
        """While the first worker is at it, its row goes to a second."""
        Evaluation.objects.filter(pk=row.pk).update(claimed_by="second")

    after = evaluation.run_evaluation(row.pk, worker="first", progress=taken)
    assert (after.status, after.claimed_by, after.completions.count()) == (Status.RUNNING, "second", 0)
