"""A run is started once, followed truly, and ends as what it was: succeeded, cancelled, failed, interrupted (C2)."""

import json
import math
import os
import signal
import stat
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from django.conf import settings
from django.core.management import call_command
from django.utils import timezone

from accounts.errors import InvalidTransition, UserError
from accounts.models import AuditEvent
from annotations.models import Model, Status, Study, Worker
from annotations.weights import directory_sha256
from tests.factories import make_model, make_study
from tests.training_room import abandon, freeze, judged_study, leave_error, leave_result, paper_base, queue
from training import events, launch, lineage, runs, tasks
from training.models import Run

pytestmark = pytest.mark.django_db

QUICK = {"max_steps": 3, "per_device_train_batch_size": 2, "gradient_checkpointing": False, "eval_steps": 1000}


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory) -> Path:
    """A real tiny model, built in a process of its own unless this one has loaded torch already."""
    path = tmp_path_factory.mktemp("models") / "tiny"
    if "torch" in sys.modules:
        from training.recipes.tiny import build

        return build(path)
    subprocess.run([sys.executable, "-m", "training.recipes.tiny", str(path)], check=True, capture_output=True)
    return path


@pytest.fixture
def base(tmp_path) -> Model:
    return paper_base(tmp_path / "base")


@pytest.fixture
def study(anna) -> Study:
    return judged_study(anna)


def worker_lives(queues: str = "training") -> None:
    Worker.objects.update_or_create(name="host:1", defaults={"queues": queues, "heartbeat_at": timezone.now()})


# --- launching


def test_a_queued_run_has_its_directory_and_rings_once_committed(study, base, lena, django_capture_on_commit_callbacks):
    dataset = freeze(study)
    with django_capture_on_commit_callbacks() as rung:
        run = queue(study, base, hyperparameters={"learning_rate": "1e-4"}, seed=7, actor=lena)
    assert len(rung) == 1
    assert (run.status, run.dataset, run.name) == (Status.QUEUED, dataset, "summaries-sft-1")
    assert stat.S_IMODE(run.path.stat().st_mode) == 0o700
    assert (run.path / "train.jsonl").read_bytes() == (dataset.path / "train.jsonl").read_bytes()
    assert (run.path / "eval.jsonl").read_bytes() == (dataset.path / "validation.jsonl").read_bytes()
    config = json.loads((run.path / "config.json").read_text())
    assert (config["method"], config["base_path"], config["seed"]) == ("sft", base.path, 7)
    assert config["hyperparameters"] == {"learning_rate": 1e-4}
    assert config["parent_adapter"] is None
    assert config["dataset"]["sha256"] == dataset.sha256
    assert AuditEvent.objects.get(action="queue run").actor == lena
    assert queue(study, base).name == "summaries-sft-2"


def test_without_a_dataset_one_is_frozen_with_the_default_policy(study, base):
    run = queue(study, base, "dpo")
    assert run.dataset.kind == "preference"
    assert run.dataset.n_train == 3
    assert queue(study, base, "dpo").dataset == run.dataset


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"method": "ppo"}, r"no training method “ppo”\. Choose one of: sft, dpo"),
        ({"hyperparameters": {"betta": 1}}, r"no hyperparameter 'betta'.*Allowed:.*learning_rate"),
        ({"hyperparameters": {"learning_rate": "fast"}}, "learning_rate is 'fast'; it must be a number"),
        ({"seed": -1}, "seed is -1"),
        ({"name": "two words"}, "“two words” can't be a model's name"),
        ({"name": "the-base"}, "“the-base” is taken"),
        ({"name": "taken-run"}, "“taken-run” is taken"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_queued(study, base, change, message):
    dataset = freeze(study)
    queue(study, base, name="taken-run")
    directories = set(settings.RUNS_DIR.iterdir())
    with pytest.raises(UserError, match=message):
        queue(study, **({"base": base, "method": "sft", "dataset": dataset} | change))
    assert Run.objects.count() == 1
    assert set(settings.RUNS_DIR.iterdir()) == directories


def test_the_base_must_be_weights_on_this_machine(study, base, tmp_path):
    with pytest.raises(UserError, match=f"should lie in {tmp_path}/nowhere, but there is no such directory"):
        queue(study, make_model("gone", kind="base", path=str(tmp_path / "nowhere")))
    with pytest.raises(UserError, match="kind “imported”; training needs a base model"):
        queue(study, make_model("written-elsewhere"))
    (tmp_path / "base" / "model.safetensors").unlink()
    with pytest.raises(UserError, match=r"holds no \.safetensors file"):
        queue(study, base)


def test_a_method_wants_its_own_kind_of_dataset(study, base):
    with pytest.raises(UserError, match="holds sft rows, but dpo trains on preference rows"):
        queue(study, base, "dpo", dataset=freeze(study))
    with pytest.raises(UserError, match="belongs to another study"):
        queue(make_study(), base, dataset=freeze(study))


def test_a_dataset_that_was_changed_is_not_trained_on(study, base):
    dataset = freeze(study)
    (dataset.path / "train.jsonl").chmod(0o640)
    (dataset.path / "train.jsonl").write_text("{}")
    with pytest.raises(UserError, match="no longer as it was frozen") as caught:
        queue(study, base, dataset=dataset)
    assert caught.value.details == ["train.jsonl was changed after it was frozen."]


def test_dpo_continues_a_succeeded_sft_run_on_the_same_base(study, base, tmp_path):
    parent = queue(study, base)
    with pytest.raises(UserError, match=r"is a sft run and queued; DPO continues an SFT run that succeeded"):
        queue(study, base, "dpo", parent=parent)
    parent.claim("w")
    leave_result(parent)
    runs.finalise(parent)
    other = paper_base(tmp_path / "other", "other-base")
    with pytest.raises(UserError, match="was trained on the-base, not on other-base"):
        queue(study, other, "dpo", parent=parent)
    with pytest.raises(UserError, match="Only a DPO run continues another run"):
        queue(study, base, "sft", parent=parent)
    run = queue(study, base, "dpo", parent=parent)
    assert json.loads((run.path / "config.json").read_text())["parent_adapter"] == str(parent.path / "adapter")
    assert launch.newest_parent(study, base) == parent
    assert launch.newest_parent(study, other) is None


# --- endings


def test_a_result_makes_a_model_in_the_same_breath(study, base):
    run = queue(study, base)
    run.claim("w")
    leave_result(run)
    leave_error(run, "internal", "of an attempt before")
    runs.finalise(run)
    assert (run.status, run.step, run.error) == (Status.SUCCEEDED, 3, "")
    model = Model.objects.get(name="summaries-sft-1")
    assert run.model == model
    assert (model.kind, model.base, model.path) == ("adapter", base, str(run.path / "adapter"))
    assert model.sha256 == run.result["adapter_sha256"]
    base.refresh_from_db()
    assert base.sha256 == "b" * 64


def test_a_name_that_was_taken_meanwhile_does_not_lose_the_run(study, base):
    run = queue(study, base)
    make_model("summaries-sft-1")
    run.claim("w")
    leave_result(run)
    assert runs.finalise(run).model.name == f"summaries-sft-1-run{run.pk}"


def test_an_adapter_that_is_not_what_the_recipe_wrote_is_refused(study, base):
    run = queue(study, base)
    run.claim("w")
    leave_result(run, adapter_sha256="0" * 64)
    assert runs.finalise(run).status == Status.FAILED
    assert "hash" in run.error
    assert not Model.objects.filter(kind="adapter").exists()


@pytest.mark.parametrize(
    ("stop", "error", "code", "status", "message"),
    [
        ("", ("user", "All rows are too long."), 1, Status.FAILED, "All rows are too long."),
        ("", ("cancelled", "Stopped."), 1, Status.INTERRUPTED, "worker was shut down"),
        ("", None, -9, Status.INTERRUPTED, "killed by signal 9 (often because the machine is out of memory)"),
        ("", None, None, Status.INTERRUPTED, "Boom"),
        ("", None, 1, Status.FAILED, "ended with status 1.\nBoom"),
        ("cancel", ("cancelled", "Stopped."), 1, Status.CANCELLED, "as asked"),
        ("cancel", None, -9, Status.CANCELLED, "as asked"),
        ("keep", None, -9, Status.INTERRUPTED, "killed"),
        ("keep", ("cancelled", "Stopped at step 0."), 1, Status.CANCELLED, "as asked"),
    ],
)
def test_a_run_ends_as_what_it_was(study, base, stop, error, code, status, message):
    run = queue(study, base)
    run.claim("w")
    (run.path / "stderr.log").write_text("Boom\n")
    if stop:
        runs.request_stop(run=run, keep=stop == "keep")
    if error:
        leave_error(run, *error)
    assert runs.finalise(run, code=code).status == status
    assert message in run.error


def test_a_queued_run_is_cancelled_at_once_and_never_starts(study, base, lena):
    run = queue(study, base)
    runs.request_stop(run=run, keep=False, actor=lena)
    assert run.status == Status.CANCELLED
    assert AuditEvent.objects.get(action="stop run").actor == lena
    assert runs.supervise(run.pk, worker="w").status == Status.CANCELLED
    assert not (run.path / "events.jsonl").exists()


def test_what_cannot_be_stopped_or_resumed_is_said(study, base):
    run = queue(study, base)
    with pytest.raises(InvalidTransition, match="queued, so it can't be stopped and kept"):
        runs.request_stop(run=run, keep=True)
    with pytest.raises(InvalidTransition, match="is queued, so it can't become queued"):
        launch.resume(run=run)


# --- the sweep


def test_the_sweep_says_how_abandoned_runs_ended(study, base):
    finished, dead = queue(study, base), queue(study, base)
    for run in (finished, dead):
        run.claim("dead-worker")
        abandon(run)
    leave_result(finished)
    assert runs.sweep() == []
    finished.refresh_from_db()
    dead.refresh_from_db()
    assert finished.status == Status.SUCCEEDED
    assert dead.status == Status.INTERRUPTED
    assert "Resume continues from the newest complete checkpoint" in dead.error


def test_the_sweep_leaves_a_supervised_run_alone(study, base):
    run = queue(study, base)
    run.claim("w")
    runs.sweep()
    run.refresh_from_db()
    assert run.status == Status.RUNNING


def test_the_sweep_rings_for_a_forgotten_run_when_a_worker_is_idle(study, base):
    first, second = queue(study, base), queue(study, base)
    assert runs.sweep() == []
    Run.objects.update(queued_at=timezone.now() - timedelta(minutes=1))
    assert runs.sweep() == []  # nobody would answer
    worker_lives("generation")
    assert runs.sweep() == []
    worker_lives("generation,training")
    assert runs.sweep() == [first]
    first.claim("host:1")
    assert runs.sweep() == []  # the only worker is busy
    assert second.status == Status.QUEUED


def test_only_an_abandoned_run_can_be_taken_over_and_once_only(study, base):
    run = queue(study, base)
    run.claim("w1")
    assert not runs.take_over(run, "w2")
    abandon(run)
    late = Run.objects.get(pk=run.pk)
    assert runs.take_over(run, "w2")
    assert not runs.take_over(late, "w3")
    assert run.claimed_by == "w2"


# --- events


def test_a_line_that_is_still_being_written_waits_for_its_end(tmp_path):
    path = tmp_path / "events.jsonl"
    tail = events.Tail(path)
    assert tail.read() == []
    path.write_bytes(b'{"type": "log", "step": 1}\n{"type": "lo')
    assert [event["step"] for event in tail.read()] == [1]
    with path.open("ab") as file:
        file.write(b'g", "step": 2}\ntorn{\n{"type": "log", "step": 3}\n')
    assert [event["step"] for event in tail.read()] == [2, 3]
    assert tail.read() == []


def test_points_after_the_checkpoint_of_a_resume_are_void(tmp_path):
    written = [
        {"type": "status", "status": "training", "time": 100, "step": 0, "max_steps": 4},
        *({"type": "log", "time": 100 + s, "step": s, "max_steps": 4, "metrics": {"loss": 9.0}} for s in (1, 2, 3)),
        {"type": "status", "status": "loading", "time": 200, "step": 0, "max_steps": 0},
        {"type": "status", "status": "resumed_from", "path": "checkpoints/checkpoint-2", "time": 210, "step": 2},
        {"type": "status", "status": "training", "time": 210, "step": 2, "max_steps": 4},
        {"type": "log", "time": 220, "step": 3, "max_steps": 4, "metrics": {"loss": 1.0, "grad_norm": None}},
    ]
    path = tmp_path / "events.jsonl"
    path.write_text("".join(json.dumps(event) + "\n" for event in written))
    story = events.read(path)
    assert story.series == {"loss": [(1, 9.0), (2, 9.0), (3, 1.0)]}
    assert story.seconds_left == 10
    assert (story.step, story.max_steps) == (3, 4)


# --- the real thing


def test_sft_then_dpo_through_kill_resume_stop_and_five_deliveries(study, tiny_base, monkeypatch, capsys):
    monkeypatch.setenv("DATABASE_URL", "postgres://user:secret@host/name")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    base = make_model("tiny", kind="base", path=str(tiny_base))

    # The supervisor dies and the recipe goes on alone: another worker is told, and follows the same process.
    sft = queue(study, base, hyperparameters=QUICK | {"max_steps": 5000, "save_steps": 5000, "learning_rate": 1e-3})
    sft.claim("dead-worker")
    alone = runs.start(sft)
    abandon(sft)
    worker_lives()
    assert runs.sweep() == [sft]

    # Then the recipe is killed outright: the run is interrupted, and says so.
    environment: dict[str, str] = {}

    def kill() -> bool:
        sft.refresh_from_db()
        if not environment and (sft.path / "events.jsonl").exists():
            text = Path(f"/proc/{sft.pid}/environ").read_text()
            environment.update(entry.split("=", 1) for entry in text.split("\0") if "=" in entry)
            os.killpg(sft.pid, signal.SIGKILL)
        return False

    assert runs.supervise(sft.pk, worker="w1", shutting_down=kill).status == Status.INTERRUPTED
    sft.refresh_from_db()
    assert (sft.pid, sft.claimed_by) == (alone.pid, "w1")
    assert environment["HF_HUB_OFFLINE"] == "1"
    assert not {"SECRET_KEY", "DATABASE_URL", "DATA_DIR", "DJANGO_SETTINGS_MODULE"} & set(environment)

    # Resumed, delivered four times more while it works, then stopped and kept: one recipe, one adapter.
    launch.resume(run=sft)
    pids = set()

    def deliver_and_stop() -> bool:
        sft.refresh_from_db()
        if not pids:
            for _ in range(4):
                tasks.train(sft.pk)
        pids.add(sft.pid)
        if sft.status == Status.RUNNING and sft.step >= 1:
            assert timezone.now() - sft.heartbeat_at < timedelta(seconds=10)
            runs.request_stop(run=sft, keep=True)
        return False

    sft = runs.supervise(sft.pk, worker="w1", shutting_down=deliver_and_stop)
    assert sft.status == Status.SUCCEEDED, sft.error
    assert len(pids) == 1
    log = [json.loads(line) for line in (sft.path / "events.jsonl").read_text().splitlines()]
    assert [event.get("status") for event in log].count("loading") == 2  # the killed attempt, and this one
    assert sft.result["stopped_early"]
    assert 1 <= sft.step == sft.result["steps"] < 5000
    base.refresh_from_db()
    assert base.sha256 == sft.result["base_sha256"] == directory_sha256(tiny_base)
    assert runs.supervise(sft.pk, worker="w2").status == Status.SUCCEEDED

    # DPO continues it, starts at its reference (C3), and knows its ancestors (C5).
    sets = [f"--set={name}={value}" for name, value in QUICK.items()]
    call_command("train", study.slug, "--method=dpo", "--base=tiny", *sets, "--name=tiny-dpo", "--here", "--json")
    said = json.loads(capsys.readouterr().out)
    dpo = Run.objects.get(pk=said["run"])
    assert (dpo.status, dpo.parent) == (Status.SUCCEEDED, sft)
    assert (said["model"], said["from_run"], said["steps"]) == ("tiny-dpo", sft.pk, 3)
    assert said["dataset_sha256"] == dpo.dataset.sha256
    step0 = dpo.result["proof"]["step0"]
    assert step0["loss"] == pytest.approx(math.log(2), abs=1e-3)
    assert dpo.result["proof"]["reference"] == "parent_adapter"
    assert dpo.result["parent_adapter_sha256"] == sft.model.sha256
    assert (dpo.model.kind, dpo.model.base, dpo.step) == ("adapter", base, 3)
    assert directory_sha256(Path(dpo.model.path)) == dpo.model.sha256
    assert set(lineage.training_cases(dpo.model)) == set(study.cases.all())
    story = events.read(dpo.path / "events.jsonl")
    assert {"loss", "eval_loss", "rewards/margins", "rewards/accuracies", "logps/chosen"} <= set(story.series)
