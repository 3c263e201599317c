"""Training recipes: a run directory goes in, an adapter with proofs or a telling error comes out."""

import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from training.recipes import rundir
from training.recipes.hyperparameters import DEFAULTS, HYPERPARAMETERS, resolve

pytest.importorskip("torch", reason="torch is not installed: the recipes cannot run")

ROOT = Path(__file__).resolve().parents[1]
FAST = {"per_device_train_batch_size": 4, "gradient_checkpointing": False}
SFT = FAST | {"max_steps": 8, "learning_rate": 3e-3, "lora_dropout": 0.0}
DPO = FAST | {"max_steps": 3, "learning_rate": 1e-3}


@pytest.fixture(scope="module", autouse=True)
def _offline() -> Any:
    before = dict(os.environ)
    rundir.go_offline()
    import torch

    # A tiny model gains nothing from more threads, and other tests run beside this one.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from training.recipes.tiny import build

    return build(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="module")
def sft_run(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished SFT run, shared by the tests that only read it or continue from its adapter."""
    run_dir = write_run(tmp_path_factory.mktemp("sft") / "run", "sft", base, SFT)
    assert execute(run_dir) == 0, (run_dir / "error.json").read_text()
    return run_dir


def a_row(method: str, number: int, words: int = 3) -> dict[str, Any]:
    prompt = [
        {"role": "system", "content": "Who answers?"},
        {"role": "user", "content": f"Message {number}: " + "please " * words},
    ]
    good = [{"role": "assistant", "content": "the nurse" if number % 2 else "the pharmacist"}]
    bad = [{"role": "assistant", "content": "nobody at all"}]
    answers = {"completion": good} if method == "sft" else {"chosen": good, "rejected": bad}
    return {"prompt": prompt, **answers, "case": number, "judgements": [1, 2]}  # lineage keys, to be ignored


def write_run(
    run_dir: Path,
    method: str,
    base: Path,
    hyperparameters: dict[str, Any],
    rows: list[dict[str, Any]] | None = None,
    **config: Any,
) -> Path:
    run_dir.mkdir(parents=True)
    rows = [a_row(method, number) for number in range(8)] if rows is None else rows
    (run_dir / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (run_dir / "eval.jsonl").write_text("".join(json.dumps(a_row(method, number)) + "\n" for number in range(8, 12)))
    settings = {"method": method, "base_path": str(base), "seed": 7, "hyperparameters": hyperparameters, "run_id": 12}
    (run_dir / "config.json").write_text(json.dumps(settings | config))
    return run_dir


def execute(run_dir: Path) -> int:
    from training.recipes import dpo, sft

    method = json.loads((run_dir / "config.json").read_text())["method"]
    return rundir.execute({"sft": sft, "dpo": dpo}[method].main, run_dir)


def result(run_dir: Path) -> dict[str, Any]:
    assert not (run_dir / "error.json").exists(), (run_dir / "error.json").read_text()
    return json.loads((run_dir / "result.json").read_text())


def error(run_dir: Path) -> dict[str, Any]:
    assert not (run_dir / "result.json").exists()
    return json.loads((run_dir / "error.json").read_text())


def events(run_dir: Path, type: str) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (run_dir / "events.jsonl").read_text().splitlines() if line]
    return [event for event in lines if event["type"] == type]


# --- SFT


def test_sft_writes_every_file_of_the_protocol(sft_run: Path) -> None:
    outcome = result(sft_run)
    assert sorted(path.name for path in (sft_run / "adapter").iterdir()) == [
        "adapter_config.json",
        "adapter_model.safetensors",
    ]
    assert outcome["adapter_sha256"] == rundir.weights_sha256(sft_run / "adapter")
    assert (outcome["steps"], outcome["stopped_early"], outcome["resumed_from"]) == (8, False, None)
    assert outcome["rows"]["train"]["kept"] == 8
    assert outcome["rows"]["eval"]["kept"] == 4
    assert outcome["versions"]["trl"]
    logs = [event for event in events(sft_run, "log") if "loss" in event["metrics"]]
    assert [event["step"] for event in logs] == list(range(1, 9))
    assert all(event["max_steps"] == 8 for event in logs)
    assert logs[0]["metrics"]["learning_rate"] > 0  # the first step of a short run is not lost to warm-up
    assert events(sft_run, "eval")[0]["step"] == 0
    assert events(sft_run, "checkpoint")[-1]["path"] == "checkpoints/checkpoint-8"
    assert events(sft_run, "status")[-1]["status"] == "succeeded"
    assert rundir.newest_checkpoint(sft_run) == sft_run / "checkpoints" / "checkpoint-8"


def test_sft_lowers_the_held_out_loss(sft_run: Path) -> None:
    outcome = result(sft_run)
    assert outcome["eval_after"]["eval_loss"] < outcome["eval_before"]["eval_loss"]


def test_every_adapter_tensor_moves_and_no_base_weight(sft_run: Path, base: Path) -> None:
    outcome = result(sft_run)
    proof = outcome["proof"]
    assert proof["lora_b_moved"] == proof["lora_b_tensors"] == 14  # 7 linear layers in each of 2 blocks
    assert proof["adapter_tensors_moved"] == proof["adapter_tensors"] == 28
    assert proof["frozen_tensors_moved"] == 0
    assert outcome["base_sha256"] == rundir.weights_sha256(base)


def test_only_the_completion_is_trained_with_its_end_token(sft_run: Path) -> None:
    proof = result(sft_run)["proof"]
    assert proof["end_token"] == "<|im_end|>"
    # A token a byte: the words, then <|im_end|> and the line break that ChatML puts behind it.
    assert proof["trained_tokens_per_epoch"] == 4 * (len("the nurse") + 2) + 4 * (len("the pharmacist") + 2)


def test_same_run_twice_gives_the_same_adapter(sft_run: Path, base: Path, tmp_path: Path) -> None:
    again = write_run(tmp_path / "again", "sft", base, SFT)
    assert execute(again) == 0
    for name in ("adapter_model.safetensors", "adapter_config.json"):
        assert (again / "adapter" / name).read_bytes() == (sft_run / "adapter" / name).read_bytes()


def test_finished_run_is_not_run_again(sft_run: Path) -> None:
    before = (sft_run / "events.jsonl").read_bytes()
    assert execute(sft_run) == 0
    assert (sft_run / "events.jsonl").read_bytes() == before


# --- DPO


@pytest.fixture(scope="module")
def dpo_run(base: Path, sft_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run_dir = tmp_path_factory.mktemp("dpo") / "run"
    write_run(run_dir, "dpo", base, DPO | {"lora_r": 4}, parent_adapter=str(sft_run / "adapter"))
    assert execute(run_dir) == 0, (run_dir / "error.json").read_text()
    return run_dir


def test_dpo_after_sft_starts_at_ln_2_with_the_sft_policy_as_reference(dpo_run: Path, sft_run: Path) -> None:
    outcome = result(dpo_run)
    step0 = outcome["proof"]["step0"]
    assert step0["loss"] == pytest.approx(math.log(2), abs=1e-3)
    assert step0["max_abs_margin"] < 1e-3
    first = events(dpo_run, "log")[0]["metrics"]
    assert first["loss"] == pytest.approx(math.log(2), abs=1e-3)
    assert first["rewards/margins"] == pytest.approx(0, abs=1e-3)
    assert outcome["eval_before"]["eval_loss"] == pytest.approx(math.log(2), abs=1e-3)
    assert outcome["eval_after"]["eval_loss"] < math.log(2)
    assert outcome["proof"]["reference"] == "parent_adapter"
    assert outcome["parent_adapter_sha256"] == result(sft_run)["adapter_sha256"]
    assert outcome["proof"]["lora_b_moved"] == 14


def test_dpo_adapter_holds_default_alone_in_the_shape_of_its_parent(dpo_run: Path) -> None:
    assert not (dpo_run / "adapter" / "ref").exists()
    assert (dpo_run / "checkpoints" / "checkpoint-3" / "ref").exists()  # where a resumed run finds it
    outcome = result(dpo_run)
    assert outcome["hyperparameters"]["lora_r"] == DEFAULTS["sft"]["lora_r"]
    assert outcome["ignored_hyperparameters"] == ["lora_r"]


def test_dpo_adapter_loads_on_the_base_without_the_sft_adapter(dpo_run: Path, base: Path) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), dpo_run / "adapter")
    assert list(model.peft_config) == ["default"]


@pytest.mark.parametrize("loss_type", ["ipo", "robust"])
def test_dpo_without_a_parent_has_the_base_as_reference(base: Path, tmp_path: Path, loss_type: str) -> None:
    smoothing = {"label_smoothing": 0.1} if loss_type == "robust" else {}
    run_dir = write_run(tmp_path / "run", "dpo", base, DPO | {"max_steps": 1, "loss_type": loss_type} | smoothing)
    assert execute(run_dir) == 0, (run_dir / "error.json").read_text()
    outcome = result(run_dir)
    assert outcome["proof"]["reference"] == "base"
    assert outcome["proof"]["step0"]["expected_loss"] == pytest.approx(25 if loss_type == "ipo" else math.log(2))


def test_wrong_reference_is_refused(base: Path, sft_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    from training.recipes import proofs

    gate = proofs.gate

    def perturb_then_gate(trainer: Any, *args: Any, **options: Any) -> Any:
        with torch.no_grad():  # the policy moves away after TRL has copied the reference
            for name, value in trainer.model.named_parameters():
                if ".lora_B.default." in name:
                    value.mul_(3)
        return gate(trainer, *args, **options)

    monkeypatch.setattr(proofs, "gate", perturb_then_gate)
    run_dir = write_run(tmp_path / "run", "dpo", base, DPO, parent_adapter=str(sft_run / "adapter"))
    assert execute(run_dir) == 1
    assert error(run_dir)["kind"] == "user"
    assert "does not start at its reference" in error(run_dir)["message"]
    assert not (run_dir / "adapter").exists()
    assert not events(run_dir, "log")  # refused before the first update


def test_base_as_reference_of_a_trained_adapter_is_refused(
    base: Path, sft_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The mistake seen elsewhere: the reference of DPO after SFT is the base model with the adapter turned off."""
    from training.recipes import proofs

    gate = proofs.gate

    def forget_the_reference(trainer: Any, *args: Any, **options: Any) -> Any:
        trainer.model.delete_adapter("ref")
        return gate(trainer, *args, **options)

    monkeypatch.setattr(proofs, "gate", forget_the_reference)
    run_dir = write_run(tmp_path / "run", "dpo", base, DPO, parent_adapter=str(sft_run / "adapter"))
    assert execute(run_dir) == 1
    assert "does not start at its reference" in error(run_dir)["message"]


def test_parent_of_another_base_is_refused(base: Path, sft_run: Path, tmp_path: Path) -> None:
    from training.recipes.tiny import build

    other = build(tmp_path / "other", seed=1, kind="mistral")
    run_dir = write_run(tmp_path / "run", "dpo", other, DPO, parent_adapter=str(sft_run / "adapter"))
    assert execute(run_dir) == 1
    assert "another base model" in error(run_dir)["message"]


# --- nothing is silently dropped


def test_over_long_rows_are_left_out_and_counted(base: Path, tmp_path: Path) -> None:
    rows = [a_row("sft", number, words=60 if number in (1, 4) else 3) for number in range(6)]
    run_dir = write_run(tmp_path / "run", "sft", base, SFT | {"max_steps": 1, "max_length": 200}, rows)
    (run_dir / "eval.jsonl").unlink()
    assert execute(run_dir) == 0
    report = result(run_dir)["rows"]["train"]
    assert (report["read"], report["kept"], report["truncated"]) == (6, 4, 0)
    assert report["dropped"] == {"too_long": 2}
    assert report["dropped_rows"] == {"too_long": [1, 4]}
    assert report["tokens"]["max"] > 200
    assert result(run_dir)["eval_before"] is result(run_dir)["eval_after"] is None


def test_run_whose_rows_are_all_too_long_fails(base: Path, tmp_path: Path) -> None:
    run_dir = write_run(tmp_path / "run", "sft", base, SFT | {"max_length": 20})
    assert execute(run_dir) == 1
    assert "All 8 rows of train.jsonl are longer than max_length = 20" in error(run_dir)["message"]


# --- mistakes are told


def _drop_template(base: Path) -> None:
    (base / "chat_template.jinja").unlink()


def _end_turns_with_nothing(base: Path) -> None:
    path = base / "chat_template.jinja"
    path.write_text(path.read_text().replace("<|im_end|>", ""))


def _refuse_system(base: Path) -> None:
    path = base / "chat_template.jinja"
    path.write_text("{{ raise_exception('System role not supported') }}" + path.read_text())


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_drop_template, "no chat template"),
        (_end_turns_with_nothing, "end token would not be trained"),
        (_refuse_system, "System role not supported"),
    ],
)
def test_base_that_would_train_wrongly_is_refused(
    base: Path, tmp_path: Path, spoil: Callable[[Path], None], message: str
) -> None:
    spoilt = shutil.copytree(base, tmp_path / "base")
    spoil(spoilt)
    run_dir = write_run(tmp_path / "run", "sft", spoilt, SFT)
    assert execute(run_dir) == 1
    assert error(run_dir)["kind"] == "user"
    assert message in error(run_dir)["message"]


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"hyperparameters": {"betta": 1}}, "Allowed: eval_steps, gradient_accumulation_steps"),
        ({"hyperparameters": {"learning_rate": "much"}}, "learning_rate is 'much'; it must be a number"),
        ({"base_path": "/nowhere/at/all"}, "base_path '/nowhere/at/all' is not a directory"),
        ({"base_sha256": "0" * 64}, "not the base model that was registered"),
        ({"method": "dpo"}, "method is 'dpo', but this is the recipe 'sft'"),
        ({"seed": -1}, "seed is -1"),
        ({"parent_adapter": "/nowhere"}, "has no adapter_config.json"),
    ],
)
def test_wrong_configuration_says_what_to_do(base: Path, tmp_path: Path, config: dict[str, Any], message: str) -> None:
    from training.recipes import sft

    run_dir = write_run(tmp_path / "run", "sft", base, SFT)
    path = run_dir / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | config))
    assert rundir.execute(sft.main, run_dir) == 1
    assert error(run_dir)["kind"] == "user"
    assert message in error(run_dir)["message"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{broken", "train.jsonl, line 2: not JSON"),
        ('{"prompt": []}', "line 2: needs prompt, completion"),
        ('{"prompt": [{"role": "user", "content": "x"}], "completion": []}', "must start with a system message"),
        ('{"prompt": [{"role": "system", "content": "x"}], "completion": []}', "exactly one assistant message"),
    ],
)
def test_bad_row_is_named_by_its_line(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "train.jsonl"
    path.write_text(json.dumps(a_row("sft", 0)) + "\n" + line + "\n")
    with pytest.raises(rundir.UserError, match=message):
        rundir.read_rows(path, ("completion",))


def test_unforeseen_error_is_internal_and_quotes_no_row(tmp_path: Path) -> None:
    def fail(run_dir: Path, log: rundir.Events) -> dict[str, Any]:
        raise ValueError("Mrs Example, 54, has a cough")

    assert rundir.execute(fail, tmp_path) == 1
    assert error(tmp_path)["kind"] == "internal"
    assert "cough" not in error(tmp_path)["message"]
    assert "cough" in error(tmp_path)["traceback"]


# --- stopping and resuming


def _start(run_dir: Path) -> subprocess.Popen[bytes]:
    method = json.loads((run_dir / "config.json").read_text())["method"]
    return subprocess.Popen(
        [sys.executable, "-m", f"training.recipes.{method}", str(run_dir)],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},  # as here: the number of threads decides the last bits
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def _wait_for(run_dir: Path, process: subprocess.Popen[bytes], type: str, seconds: float = 120) -> None:
    path, deadline = run_dir / "events.jsonl", time.monotonic() + seconds
    while f'"type": "{type}"' not in (path.read_text() if path.exists() else ""):
        assert process.poll() is None, "the recipe ended before the event"
        assert time.monotonic() < deadline, f"no {type} event in {seconds} s"
        time.sleep(0.05)


def test_terminated_run_leaves_a_checkpoint_and_resumes_to_the_same_adapter(
    base: Path, sft_run: Path, tmp_path: Path
) -> None:
    settings = FAST | {"max_steps": 60, "learning_rate": 1e-3, "lora_dropout": 0.1, "save_steps": 1000}
    settings |= {"eval_steps": 6}  # an evaluation that the stop prevents must not change what is drawn later
    parent = str(sft_run / "adapter")
    run_dir = write_run(tmp_path / "run", "dpo", base, settings, parent_adapter=parent)
    process = _start(run_dir)
    try:
        _wait_for(run_dir, process, "log")
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 1
    finally:
        process.kill()
    cancelled = error(run_dir)
    assert cancelled["kind"] == "cancelled"
    step = cancelled["step"]
    assert 1 <= step < 60
    assert rundir.newest_checkpoint(run_dir) == run_dir / "checkpoints" / f"checkpoint-{step}"

    assert execute(run_dir) == 0
    outcome = result(run_dir)
    assert (outcome["steps"], outcome["resumed_from"]) == (60, f"checkpoints/checkpoint-{step}")
    assert [event["step"] for event in events(run_dir, "status") if event["status"] == "resumed_from"] == [step]
    assert outcome["proof"]["step0"]["loss"] == pytest.approx(math.log(2), abs=1e-3)  # proved when it was fresh
    whole = write_run(tmp_path / "whole", "dpo", base, settings, parent_adapter=parent)
    assert execute(whole) == 0
    assert result(whole)["adapter_sha256"] == outcome["adapter_sha256"]


def _stop_at(step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """SIGTERM to this process in the middle of training, as the supervisor sends it."""
    from training.recipes import loop

    on_step_end = loop.Progress.on_step_end

    def stop(self: Any, args: Any, state: Any, control: Any, **options: Any) -> None:
        if state.global_step == step:
            os.kill(os.getpid(), signal.SIGTERM)
        on_step_end(self, args, state, control, **options)

    monkeypatch.setattr(loop.Progress, "on_step_end", stop)


def test_stop_and_keep_ends_as_a_success_that_stopped_early(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _stop_at(3, monkeypatch)
    run_dir = write_run(tmp_path / "run", "sft", base, SFT)
    (run_dir / "STOP_AND_KEEP").touch()
    assert execute(run_dir) == 0
    outcome = result(run_dir)
    assert (outcome["stopped_early"], outcome["steps"], outcome["max_steps"]) == (True, 3, 8)
    assert outcome["eval_after"]["eval_loss"] < outcome["eval_before"]["eval_loss"]
    assert (run_dir / "adapter" / "adapter_model.safetensors").exists()


def test_run_that_fell_after_its_last_step_only_writes_its_result(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from training.recipes import loop

    settings = SFT | {"max_steps": 3, "per_device_train_batch_size": 2}  # ends in the middle of an epoch
    run_dir = write_run(tmp_path / "run", "sft", base, settings)
    with monkeypatch.context() as patch:
        patch.setattr(loop, "save_adapter", lambda *args: 1 / 0)
        assert execute(run_dir) == 1
    assert execute(run_dir) == 0
    outcome = result(run_dir)
    assert outcome["steps"] == 3
    assert outcome["proof"]["lora_b_moved"] == 14
    whole = write_run(tmp_path / "whole", "sft", base, settings)
    assert execute(whole) == 0
    assert result(whole)["adapter_sha256"] == outcome["adapter_sha256"]


def test_torn_checkpoint_is_passed_over(tmp_path: Path) -> None:
    for step in (5, 10):
        checkpoint = tmp_path / "checkpoints" / f"checkpoint-{step}"
        checkpoint.mkdir(parents=True)
        (checkpoint / "optimizer.pt").write_bytes(b"x" * 100)
        rundir.mark_complete(checkpoint)
    assert rundir.newest_checkpoint(tmp_path) == checkpoint
    (checkpoint / "optimizer.pt").write_bytes(b"x" * 50)
    assert rundir.newest_checkpoint(tmp_path) == tmp_path / "checkpoints" / "checkpoint-5"


def test_second_recipe_on_one_directory_writes_nothing(tmp_path: Path) -> None:
    log = rundir.Events(tmp_path)
    log.write("status", status="training")
    before = (tmp_path / "events.jsonl").read_bytes()
    try:
        with pytest.raises(SystemExit, match="already working"):
            rundir.execute(lambda run_dir, log: {}, tmp_path)
    finally:
        log.close()
    assert (tmp_path / "events.jsonl").read_bytes() == before
    assert not (tmp_path / "error.json").exists()


def test_line_torn_by_a_crash_does_not_swallow_the_next(tmp_path: Path) -> None:
    (tmp_path / "events.jsonl").write_text('{"type": "log", "st')
    log = rundir.Events(tmp_path)
    log.write("log", metrics={"loss": float("nan")})
    log.close()
    _, whole = (tmp_path / "events.jsonl").read_text().splitlines()
    assert json.loads(whole)["metrics"] == {"loss": None}


def test_heartbeat_goes_on_during_a_long_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rundir, "HEARTBEAT_SECONDS", 0.01)
    log = rundir.Events(tmp_path)
    deadline = time.monotonic() + 10
    while not events(tmp_path, "heartbeat") and time.monotonic() < deadline:
        time.sleep(0.01)  # the main thread is busy elsewhere
    log.close()
    assert events(tmp_path, "heartbeat")[0]["memory_bytes"] > 0


# --- what stands apart


def test_recipes_and_stats_load_neither_django_nor_torch_nor_the_network() -> None:
    script = (
        "import sys, importlib.util, stats, training.recipes.hyperparameters, training.recipes.rundir\n"
        "import training.recipes.sft, training.recipes.dpo, training.recipes.embedded, training.recipes.tiny\n"
        "assert 'torch' not in sys.modules and 'transformers' not in sys.modules\n"
        "import training.recipes.loop, training.recipes.proofs\n"
        "assert 'django' not in sys.modules and 'celery' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True, timeout=120)


def test_defaults_are_within_their_own_ranges_and_say_their_source() -> None:
    for method, specs in HYPERPARAMETERS.items():
        assert resolve(method, DEFAULTS[method]) == DEFAULTS[method]
        assert resolve(method, {name: str(value) for name, value in DEFAULTS[method].items()}) == DEFAULTS[method]
        assert all(spec.source and spec.help for spec in specs.values())


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"lora_r": 1.5}, "whole number"),
        ({"max_steps": True}, "whole number"),
        ({"learning_rate": "nan"}, "a number"),
        ({"beta": 0}, "between"),
        ({"loss_type": "mse"}, "one of sigmoid"),
        ({"label_smoothing": 0.1}, "no effect with loss_type sigmoid"),
        ({"betta": 0.1}, "did you mean 'beta'"),
    ],
)
def test_hyperparameter_out_of_range_is_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        resolve("dpo", given)


def test_embedded_model_is_never_put_over_something_else(tmp_path: Path) -> None:
    from training.recipes.embedded import METADATA, prepare

    (tmp_path / "notes.txt").touch()
    with pytest.raises(rundir.UserError, match="holds something else"):
        prepare(tmp_path)
    (tmp_path / METADATA).touch()  # complete: nothing is done
    assert prepare(tmp_path) == tmp_path


def test_tiny_model_says_exactly_the_messages_it_is_given(base: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(base)
    messages = [{"role": "system", "content": "Sei kurz."}, {"role": "user", "content": "Müde? 发烧\n"}]
    text = "<|im_start|>system\nSei kurz.<|im_end|>\n<|im_start|>user\nMüde? 发烧\n<|im_end|>\n<|im_start|>assistant\n"
    rendered = tokenizer.apply_chat_template(messages, tokenize=True, add_generation_prompt=True, return_dict=True)
    assert tokenizer.decode(rendered["input_ids"]) == text
    assert sum(path.stat().st_size for path in base.iterdir()) < 2_000_000
