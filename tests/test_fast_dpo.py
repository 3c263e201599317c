"""The fast path of DPO computes what TRL computes: log-probabilities, gradients, losses, metrics, run after run."""

import json
import math
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from training.recipes import packing, rundir

torch = pytest.importorskip("torch", reason="torch is not installed: the recipes cannot run")

ROOT = Path(__file__).resolve().parents[1]
KINDS = ("llama", "mistral", "mistral-window", "qwen2", "qwen3")
WINDOW = 8
LOSSES = ("sigmoid", "ipo", "robust", "hinge", "apo_zero", "sigmoid_norm")


@pytest.fixture(scope="module", autouse=True)
def _offline() -> Any:
    before = dict(os.environ)
    rundir.go_offline()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A tiny model of a kind, built when first asked for. All have two query heads to a key head."""
    directory, built = tmp_path_factory.mktemp("models"), dict[str, Path]()

    def get(kind: str) -> Path:
        if kind not in built:
            built[kind] = build(directory / kind, kind)
        return built[kind]

    return get


def build(path: Path, kind: str) -> Path:
    from transformers import AutoModelForCausalLM, Qwen2Config, Qwen3Config

    from training.recipes import tiny

    tiny.build(path, kind="mistral" if kind.startswith("mistral") else "llama")
    config = json.loads((path / "config.json").read_text())
    if kind == "mistral-window":
        (path / "config.json").write_text(json.dumps(config | {"sliding_window": WINDOW}))
    if kind.startswith("qwen"):
        same = "vocab_size hidden_size intermediate_size num_hidden_layers num_attention_heads num_key_value_heads"
        shape = {name: config[name] for name in [*same.split(), "eos_token_id", "pad_token_id"]}
        make = Qwen2Config if kind == "qwen2" else Qwen3Config
        torch.manual_seed(0)
        AutoModelForCausalLM.from_config(make(**shape, head_dim=16)).save_pretrained(path)
    return path


def a_row(number: int, words: int | None = None) -> dict[str, Any]:
    words = number * 7 % 11 if words is None else words
    return {
        "prompt": [
            {"role": "system", "content": "Who answers?"},
            {"role": "user", "content": f"Message {number}: " + "please " * words},
        ],
        "chosen": [{"role": "assistant", "content": "the nurse " * (1 + number % 3)}],
        "rejected": [{"role": "assistant", "content": "nobody " * (1 + number % 4)}],
    }


def make_trainer(cls: Any, path: Path, out: Path, rows: int = 12, budget: int = 0, **arguments: Any) -> Any:
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import DPOConfig

    defaults: dict[str, Any] = {
        "per_device_train_batch_size": 4,
        "gradient_checkpointing": False,
        "learning_rate": 1e-3,
        "logging_steps": 1,
        "max_length": None,
        "max_steps": 50,
        "save_strategy": "no",
        "bf16": False,
        "use_cpu": True,
        "report_to": [],
        "disable_tqdm": True,
        "seed": 3,
    }
    return cls(
        model=AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32),
        args=DPOConfig(output_dir=str(out), **(defaults | arguments)),
        train_dataset=Dataset.from_list([a_row(number) for number in range(rows)]),
        processing_class=AutoTokenizer.from_pretrained(path),
        peft_config=LoraConfig(r=4, lora_alpha=8, target_modules="all-linear", task_type="CAUSAL_LM"),
        **({"token_budget": budget} if budget else {}),
    )


def trainers(path: Path, out: Path, budget: int = 0, **arguments: Any) -> tuple[Any, Any]:
    """Stock TRL and ours, with the same adapter, which is away from its reference."""
    from trl import DPOTrainer

    from training.recipes.fast_dpo import FastDPOTrainer

    stock = make_trainer(DPOTrainer, path, out, **arguments)
    fast = make_trainer(FastDPOTrainer, path, out, **arguments)
    fast.data_collator.budget = budget or fast.data_collator.budget  # may be less than the training rows need
    torch.manual_seed(1)
    for name, value in stock.model.named_parameters():
        if value.requires_grad:
            value.data = torch.randn_like(value) * 0.1
            fast.model.get_parameter(name).data = value.data.clone()
    return stock, fast


def step(trainer: Any, pairs: list[dict[str, list[int]]]) -> tuple[float, Any, dict[str, float]]:
    """One update's loss, gradient and metrics on tokenised pairs."""
    trainer.model.zero_grad()
    trainer._metrics["train"].clear()
    trainer.current_gradient_accumulation_steps = 1
    loss = trainer.training_step(trainer.model, trainer.data_collator(pairs))
    gradient = torch.cat([p.grad.flatten() for p in trainer.model.parameters() if p.requires_grad])
    return float(loss), gradient, {name: values[-1] for name, values in trainer._metrics["train"].items()}


def assert_same_step(stock: Any, fast: Any, pairs: list[dict[str, list[int]]]) -> None:
    (loss, gradient, metrics), (ours, our_gradient, our_metrics) = step(stock, pairs), step(fast, pairs)
    assert ours == pytest.approx(loss, rel=1e-4, abs=1e-5)
    norm = float(gradient.norm())
    if norm > 1e-7:
        assert float(torch.nn.functional.cosine_similarity(gradient, our_gradient, dim=0)) > 0.9999
    assert float(our_gradient.norm()) == pytest.approx(norm, rel=1e-3, abs=1e-7)
    assert our_metrics.keys() == metrics.keys()
    for name, value in metrics.items():
        assert our_metrics[name] == pytest.approx(value, rel=1e-4, abs=1e-4), name


def pair(prompt: int, chosen: int, rejected: int, seed: int = 0) -> dict[str, list[int]]:
    generator = torch.Generator().manual_seed(seed * 1_000_003 + prompt * 10_007 + chosen * 101 + rejected)
    tokens = torch.randint(3, 250, (prompt + chosen + rejected,), generator=generator).tolist()
    return {
        "prompt_ids": tokens[:prompt],
        "chosen_ids": tokens[prompt : prompt + chosen],
        "rejected_ids": tokens[prompt + chosen :],
    }


# --- the same numbers as TRL


@pytest.mark.parametrize("kind", KINDS)
def test_one_update_is_that_of_trl(models: Any, tmp_path: Path, kind: str) -> None:
    stock, fast = trainers(models(kind), tmp_path, budget=60)
    lengths = [(20, 3, 5), (1, 4, 1), (33, 1, 9), (12, 12, 2), (9, 7, 7)]
    pairs = [pair(*length) for length in lengths]
    assert len(fast.data_collator(pairs)["packs"]) > 1
    assert_same_step(stock, fast, pairs)


@pytest.mark.parametrize("kind", KINDS)
def test_log_probabilities_are_those_of_each_completion_alone(models: Any, tmp_path: Path, kind: str) -> None:
    _, fast = trainers(models(kind), tmp_path)
    pairs = [pair(20, 3, 5), pair(1, 4, 1), pair(33, 1, 9)]
    (packed,) = fast.data_collator(pairs)["packs"]
    fast.model.eval()
    with torch.no_grad():
        ours = fast._scores(fast.model, packed)["log_probs"].sum(1)
    for i, one in enumerate(pairs):
        for row, name in ((i, "chosen_ids"), (len(pairs) + i, "rejected_ids")):
            ids = torch.tensor([one["prompt_ids"] + one[name]])
            with torch.no_grad():
                logits = fast.model(input_ids=ids).logits[0, :-1].log_softmax(-1)
            scored = logits.gather(1, ids[0, 1:, None])[len(one["prompt_ids"]) - 1 :]
            assert float(ours[row]) == pytest.approx(float(scored.sum()), abs=1e-4)


@pytest.mark.parametrize("loss_type", LOSSES)
def test_every_loss_the_form_offers(models: Any, tmp_path: Path, loss_type: str) -> None:
    from training.recipes.hyperparameters import HYPERPARAMETERS

    assert set(HYPERPARAMETERS["dpo"]["loss_type"].choices) == set(LOSSES)
    smoothing = 0.1 if loss_type == "robust" else 0.0
    stock, fast = trainers(models("llama"), tmp_path, budget=40, loss_type=[loss_type], label_smoothing=smoothing)
    assert_same_step(stock, fast, [pair(20, 3, 5), pair(5, 6, 2), pair(9, 1, 1)])


LENGTHS = st.lists(st.tuples(st.integers(1, 40), st.integers(0, 12), st.integers(0, 12)), min_size=1, max_size=5)


@pytest.fixture(scope="module", params=["llama", "mistral-window"])
def both(models: Any, tmp_path_factory: pytest.TempPathFactory, request: Any) -> tuple[Any, Any]:
    return trainers(models(request.param), tmp_path_factory.mktemp("both"), budget=70)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lengths=LENGTHS, seed=st.integers(0, 99))
def test_any_lengths_empty_and_one_token_completions_too(
    both: tuple[Any, Any], lengths: list[tuple[int, int, int]], seed: int
) -> None:
    if not any(chosen or rejected for _, chosen, rejected in lengths):
        lengths = [(1, 1, 1), *lengths]  # with nothing to score at all, neither has a gradient
    assert_same_step(*both, [pair(*length, seed=seed) for length in lengths])


def test_completions_that_share_no_prompt_token(both: tuple[Any, Any]) -> None:
    assert_same_step(*both, [pair(0, 4, 6), pair(0, 2, 2), pair(7, 2, 3)])


@pytest.mark.parametrize("checkpointing", [False, True])
def test_gradients_are_the_same_with_activation_checkpointing(models: Any, tmp_path: Path, checkpointing: bool) -> None:
    stock, fast = trainers(models("llama"), tmp_path, gradient_checkpointing=checkpointing)
    assert_same_step(stock, fast, [pair(20, 3, 5), pair(9, 1, 1)])


# --- the same run as TRL


def curve(trainer: Any) -> list[dict[str, float]]:
    trainer.train()
    return [entry for entry in trainer.state.log_history if "loss" in entry]


@pytest.mark.parametrize("kind", ["llama", "mistral", "mistral-window"])
def test_fifty_steps_give_the_loss_curve_of_trl(models: Any, tmp_path: Path, kind: str) -> None:
    from trl import DPOTrainer

    from training.recipes.fast_dpo import FastDPOTrainer

    # Stock holds two pairs at a time and adds up two batches; ours packs the same four.
    options = {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 2}
    stock = curve(make_trainer(DPOTrainer, models(kind), tmp_path / "stock", **options))
    trainer = make_trainer(FastDPOTrainer, models(kind), tmp_path / "fast", budget=500, **options)
    report = trainer.cache_reference(tmp_path, {"base": kind})
    fast = curve(trainer)
    assert report == {"train": {"pairs": 12, "reused": False}}
    assert len(fast) == len(stock) == 50
    assert fast[0]["loss"] == pytest.approx(math.log(2), abs=1e-5)
    assert stock[-1]["loss"] < 0.65, "nothing was learnt, so nothing was compared"
    for ours, theirs in zip(fast, stock, strict=True):
        assert ours["loss"] == pytest.approx(theirs["loss"], rel=1e-3)
        assert ours["grad_norm"] == pytest.approx(theirs["grad_norm"], rel=1e-2)
        assert ours["rewards/margins"] == pytest.approx(theirs["rewards/margins"], rel=1e-3, abs=1e-5)
        assert ours["epoch"] == theirs["epoch"]
        assert ours["num_tokens"] == theirs["num_tokens"]
    assert fast[0].keys() == stock[0].keys()


def test_two_processes_give_the_loss_of_one(models: Any, tmp_path: Path) -> None:
    script = tmp_path / "two.py"
    script.write_text(
        "import json, sys, os\nfrom pathlib import Path\nimport torch\ntorch.set_num_threads(1)\n"
        "from training.recipes.rundir import go_offline\ngo_offline()\n"
        "from training.recipes.fast_dpo import FastDPOTrainer\n"
        "from tests.test_fast_dpo import curve, make_trainer\n"
        "path, out, batch = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])\n"
        # 12 rows in updates of 4; a budget that gives the two processes different numbers of packs
        "options = {'per_device_train_batch_size': batch, 'max_steps': 6, 'ddp_backend': 'gloo'}\n"
        "trainer = make_trainer(FastDPOTrainer, path, out, budget=200, **options)\n"
        "trainer.cache_reference(out, {})\n"
        "log = curve(trainer)\n"
        "if trainer.accelerator.is_main_process:\n"
        "    keys = ('loss', 'grad_norm', 'rewards/margins', 'logps/chosen')\n"
        "    (out / f'{trainer.accelerator.num_processes}.json').write_text(\n"
        "        json.dumps([{k: e[k] for k in keys} for e in log]))\n"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"}
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    for processes, batch in ((2, 2), (1, 4)):
        command = [*launch, "--nproc_per_node", str(processes), str(script)]
        (tmp_path / str(processes)).mkdir()
        done = subprocess.run(
            [*command, str(models("llama")), str(tmp_path / str(processes)), str(batch)],
            capture_output=True,
            text=True,
            env=environment,
            cwd=ROOT,
            timeout=300,
        )
        assert done.returncode == 0, done.stderr[-3000:]
    two, one = (json.loads((tmp_path / n / f"{n}.json").read_text()) for n in ("2", "1"))
    assert len(two) == len(one) == 6
    for ours, theirs in zip(two, one, strict=True):
        assert ours == pytest.approx(theirs, rel=1e-3, abs=1e-5)


# --- the recipe


def write_run(run_dir: Path, base: Path, hyperparameters: dict[str, Any], **config: Any) -> Path:
    run_dir.mkdir(parents=True)
    for name, numbers in (("train", range(8)), ("eval", range(8, 11))):
        (run_dir / f"{name}.jsonl").write_text("".join(json.dumps(a_row(number)) + "\n" for number in numbers))
    given = {"per_device_train_batch_size": 4, "max_steps": 4, "learning_rate": 1e-3, "gradient_checkpointing": False}
    settings = {"method": "dpo", "base_path": str(base), "seed": 7, "hyperparameters": given | hyperparameters}
    (run_dir / "config.json").write_text(json.dumps(settings | config))
    return run_dir


def run(run_dir: Path) -> dict[str, Any]:
    from training.recipes import dpo

    assert rundir.execute(dpo.main, run_dir) == 0, (run_dir / "error.json").read_text()
    return json.loads((run_dir / "result.json").read_text())


def log(run_dir: Path) -> list[dict[str, Any]]:
    events = [json.loads(line) for line in (run_dir / "events.jsonl").read_text().splitlines()]
    return [event["metrics"] for event in events if event["type"] == "log" and "loss" in event["metrics"]]


def test_fast_is_the_default_and_false_the_way_back(models: Any, tmp_path: Path) -> None:
    fast = run(write_run(tmp_path / "fast", models("llama"), {}))
    stock = run(write_run(tmp_path / "stock", models("llama"), {"fast": "false"}))
    assert fast["fast"]["used"] is True
    assert fast["fast"]["shared_prompts"] == {"whole": 8, "part": 0, "none": 0}
    assert stock["fast"] == {"used": False, "reason": "turned off (fast: false)"}
    assert fast["proof"]["step0"]["loss"] == pytest.approx(math.log(2), abs=1e-5)
    for ours, theirs in zip(log(tmp_path / "fast"), log(tmp_path / "stock"), strict=True):
        assert ours["loss"] == pytest.approx(theirs["loss"], rel=1e-3)
        assert ours.keys() == theirs.keys()
    for when in ("eval_before", "eval_after"):
        assert fast[when]["eval_loss"] == pytest.approx(stock[when]["eval_loss"], rel=1e-3)
        assert fast[when]["eval_rewards/margins"] == pytest.approx(stock[when]["eval_rewards/margins"], abs=1e-4)


def test_model_that_is_not_covered_is_trained_by_trl_and_the_reason_kept(
    models: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from training.recipes import fast_dpo

    monkeypatch.setattr(fast_dpo, "MODEL_TYPES", ("mistral",))
    outcome = run(write_run(tmp_path / "run", models("llama"), {"max_steps": 1}))
    assert outcome["fast"] == {"used": False, "reason": "models of type llama are not covered (only mistral)"}


def test_rotation_that_depends_on_the_batch_is_not_packed(models: Any) -> None:
    from transformers import AutoModelForCausalLM

    from training.recipes.fast_dpo import unsupported

    model = AutoModelForCausalLM.from_pretrained(models("llama"))
    assert unsupported(model) == ""
    model.config.rope_parameters = {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.0}
    assert "longest sequence" in unsupported(model)


def test_pair_longer_than_the_budget_is_said_before_training(models: Any, tmp_path: Path) -> None:
    from training.recipes import dpo

    run_dir = write_run(tmp_path / "run", models("llama"), {"token_budget": 50})
    assert rundir.execute(dpo.main, run_dir) == 1
    error = json.loads((run_dir / "error.json").read_text())
    assert error["kind"] == "user"
    assert "but token_budget is 50. Raise token_budget to at least" in error["message"]


def test_reference_is_computed_once_for_runs_on_the_same_rows(models: Any, tmp_path: Path) -> None:
    first = run(write_run(tmp_path / "runs" / "first", models("llama"), {"max_steps": 2}))
    assert first["fast"]["reference"]["train"] == {"pairs": 8, "reused": False}
    again = run(write_run(tmp_path / "runs" / "again", models("llama"), {"max_steps": 2, "beta": 0.2}))
    assert again["fast"]["reference"] == {
        "train": {"pairs": 8, "reused": True},
        "eval": {"pairs": 3, "reused": True},
    }
    assert not list((tmp_path / "runs" / "again").glob("reference-*"))
    other = run(write_run(tmp_path / "runs" / "other", models("mistral"), {"max_steps": 2}))
    assert other["fast"]["reference"]["train"]["reused"] is False


def test_stored_reference_that_is_wrong_is_computed_again(models: Any, tmp_path: Path) -> None:
    import numpy as np

    run(write_run(tmp_path / "runs" / "first", models("llama"), {"max_steps": 1}))
    for path in (tmp_path / "runs" / "first").glob("reference-*.npz"):
        with np.load(path) as stored:
            np.savez(path, chosen=stored["chosen"] + 1, rejected=stored["rejected"])
    again = run(write_run(tmp_path / "runs" / "again", models("llama"), {"max_steps": 1}))
    assert again["fast"]["reference"]["train"]["reused"] is False
    assert log(tmp_path / "runs" / "again")[0]["loss"] == pytest.approx(math.log(2), abs=1e-5)


def test_resumed_run_ends_where_the_uninterrupted_one_does(models: Any, tmp_path: Path) -> None:
    import shutil

    whole = write_run(tmp_path / "a" / "whole", models("llama"), {"save_steps": 2})
    run(whole)
    # The same run as a kill after step 2 leaves it: everything of the last two steps is gone.
    resumed = tmp_path / "b" / "resumed"
    shutil.copytree(whole, resumed)
    shutil.rmtree(resumed / "adapter")
    shutil.rmtree(resumed / "checkpoints" / "checkpoint-4")
    (resumed / "result.json").unlink()
    outcome = run(resumed)
    assert outcome["resumed_from"] == "checkpoints/checkpoint-2"
    assert outcome["fast"]["reference"]["train"]["reused"] is True
    name = "adapter/adapter_model.safetensors"
    assert (resumed / name).read_bytes() == (whole / name).read_bytes()


def test_dpo_from_an_sft_adapter_begins_at_that_adapter(models: Any, tmp_path: Path) -> None:
    from training.recipes import sft

    parent = tmp_path / "sft"
    write_run(parent, models("mistral-window"), {"lora_dropout": 0.0, "max_steps": 8, "learning_rate": 3e-3})
    config = json.loads((parent / "config.json").read_text()) | {"method": "sft"}
    (parent / "config.json").write_text(json.dumps(config))
    for name in ("train", "eval"):
        rows = [json.loads(line) for line in (parent / f"{name}.jsonl").read_text().splitlines()]
        text = "".join(json.dumps({"prompt": r["prompt"], "completion": r["chosen"]}) + "\n" for r in rows)
        (parent / f"{name}.jsonl").write_text(text)
    assert rundir.execute(sft.main, parent) == 0, (parent / "error.json").read_text()
    adapter = str(parent / "adapter")
    outcomes = [
        run(write_run(tmp_path / name, models("mistral-window"), {"fast": fast}, parent_adapter=adapter))
        for name, fast in (("fast", True), ("stock", False))
    ]
    for outcome in outcomes:
        assert outcome["proof"]["reference"] == "parent_adapter"
        assert outcome["proof"]["step0"]["max_abs_margin"] < 1e-3
        assert outcome["proof"]["step0"]["loss"] == pytest.approx(math.log(2), abs=1e-3)
    assert outcomes[0]["eval_after"]["eval_loss"] == pytest.approx(outcomes[1]["eval_after"]["eval_loss"], rel=1e-3)
    for ours, theirs in zip(log(tmp_path / "fast"), log(tmp_path / "stock"), strict=True):
        assert ours["loss"] == pytest.approx(theirs["loss"], rel=1e-3)


# --- the parts


@given(lengths=st.lists(st.integers(0, 50), max_size=30), budget=st.integers(50, 120))
def test_packs_hold_every_pair_once_within_the_budget(lengths: list[int], budget: int) -> None:
    groups = packing.pack(lengths, budget)
    assert sorted(i for group in groups for i in group) == list(range(len(lengths)))
    assert all(sum(lengths[i] for i in group) <= budget for group in groups)


def test_pair_over_the_budget_is_named() -> None:
    with pytest.raises(packing.OverBudget, match=r"Pair 1 has 11 tokens .* token_budget is 10. Raise"):
        packing.pack([3, 11], budget=10)


@given(st.integers(0, 12), st.integers(0, 6), st.integers(0, 6), st.one_of(st.none(), st.integers(1, 9)))
def test_mask_is_that_of_two_sequences(prompt: int, chosen: int, rejected: int, window: int | None) -> None:
    from training.recipes.attention import pair_mask

    mask = pair_mask(prompt, chosen, rejected, window)
    tokens = {"chosen": [*range(prompt + chosen)]}
    tokens["rejected"] = [*range(prompt), *range(prompt + chosen, prompt + chosen + rejected)]
    seen = torch.zeros_like(mask)
    for sequence in tokens.values():
        for i, token in enumerate(sequence):
            for j, other in enumerate(sequence[: i + 1]):
                seen[token, other] |= window is None or i - j < window
    assert torch.equal(mask, seen)


@pytest.mark.parametrize("bias", [False, True])
def test_scores_in_chunks_are_those_of_the_whole_logits(monkeypatch: pytest.MonkeyPatch, bias: bool) -> None:
    from training.recipes import logps

    monkeypatch.setattr(logps, "CHUNK", 3 * 50)
    torch.manual_seed(0)
    hidden = torch.randn(10, 8, requires_grad=True)
    weight, b = torch.randn(50, 8), (torch.randn(50) if bias else None)
    targets = torch.randint(0, 50, (10,))
    scores = logps.token_scores(hidden, weight, targets, b)
    coefficients = torch.randn(10)
    (ours,) = torch.autograd.grad((scores.log_probs * coefficients).sum(), hidden)
    logits = torch.nn.functional.linear(hidden, weight, b)
    log_p = logits.log_softmax(-1)
    picked = log_p.gather(1, targets[:, None])[:, 0]
    (theirs,) = torch.autograd.grad((picked * coefficients).sum(), hidden)
    torch.testing.assert_close(scores.log_probs, picked.detach(), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(scores.entropy, -(log_p.exp() * log_p).sum(1).detach(), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(scores.mean_logits, logits.mean(1).detach(), atol=1e-5, rtol=1e-4)
    assert torch.equal(scores.is_top1, logits.argmax(1) == targets)


# --- a real model


@pytest.mark.real
def test_smollm2_gives_trl_s_log_probabilities_and_gradients(tmp_path: Path) -> None:
    from training.recipes.embedded import prepare

    path = prepare(tmp_path / "smollm2")
    stock, fast = trainers(path, tmp_path / "out", budget=400, rows=4)
    rows = [fast.train_dataset[i] for i in range(4)]
    assert_same_step(stock, fast, rows)
    # The recipe's own learning rate: a hundred times that, and the margins grow so far that the loss is e to the minus
    # nine, where a relative error in the loss is no longer one in the log-probabilities.
    stock, fast = trainers(path, tmp_path / "out", rows=8, max_steps=6, learning_rate=1e-5)
    for ours, theirs in zip(curve(fast), curve(stock), strict=True):
        assert ours["loss"] == pytest.approx(theirs["loss"], rel=1e-3)
