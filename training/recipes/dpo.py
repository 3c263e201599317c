"""Direct preference optimisation of a LoRA adapter on conversational prompt-chosen-rejected rows.

    python -m training.recipes.dpo RUN_DIR

The files of RUN_DIR are described in rundir.py. With `parent_adapter` (the SFT run's adapter) training continues that
adapter, and the reference is a frozen copy of it that TRL makes under the name `ref`; without, a fresh adapter is
trained, and the reference is the base model. Either way the policy begins at its reference, which `proofs.gate` proves
before the first update.

With `fast` (the default) fast_dpo.py computes each prompt and the reference once; the result is TRL's. Where it can't,
TRL trains as it comes, and result.json says why.
"""

import sys
from functools import partial
from pathlib import Path
from typing import Any

from training.recipes.rundir import (
    Events,
    UserError,
    execute,
    go_offline,
    read_config,
    read_rows,
    weights_sha256,
    write_json,
)


def adapter_of(parent: Path | None) -> str | None:
    return weights_sha256(parent) if parent else None


def main(run_dir: Path, events: Events) -> dict[str, Any]:
    """Train; returns what goes into result.json."""
    config = read_config(run_dir, "dpo")
    rows, eval_rows = (read_rows(run_dir / f"{name}.jsonl", ("chosen", "rejected")) for name in ("train", "eval"))
    if not rows:
        raise UserError(f"{run_dir / 'train.jsonl'} is missing or empty: there is nothing to train on.")
    parent = Path(config["parent_adapter"]) if config["parent_adapter"] else None
    events.status("loading", "Loading the base model.")

    from datasets import Dataset
    from peft import LoraConfig, PeftModel
    from trl import DPOConfig, DPOTrainer

    from training.recipes import fast_dpo, loop, proofs

    hyperparameters = config["hyperparameters"]
    model, tokenizer, identity = loop.load_base(config)
    ignored: list[str] = []
    if parent:
        if proofs.parent_base_sha256(parent) not in (None, identity["base_sha256"]):
            raise UserError(f"{parent} was trained on another base model than {config['base_path']}.")
        lora = LoraConfig.from_pretrained(str(parent))
        lora.lora_dropout = hyperparameters["lora_dropout"]  # the SFT run's dropout would part policy from reference
        model = PeftModel.from_pretrained(model, parent, adapter_name="default", is_trainable=True, config=lora)
        # The adapter's shape is the parent's; what was asked for otherwise is said, not silently forgotten.
        modules = (
            lora.target_modules if isinstance(lora.target_modules, str) else ",".join(sorted(lora.target_modules or ()))
        )
        shape = {"lora_r": lora.r, "lora_alpha": lora.lora_alpha, "lora_target_modules": modules}
        ignored = [
            name
            for name in config["given"]
            if name in shape and hyperparameters[name] not in (shape[name], "all-linear")
        ]
        hyperparameters |= shape

    events.status("measuring", "Measuring the rows in tokens.")
    answers = ("chosen", "rejected")
    rows, train_report = proofs.measure(tokenizer, rows, answers, hyperparameters["max_length"], "train")
    eval_rows, eval_report = proofs.measure(tokenizer, eval_rows, answers, hyperparameters["max_length"], "eval")

    reason = "" if hyperparameters["fast"] else "turned off (fast: false)"
    reason = reason or fast_dpo.unsupported(model)
    fast: dict[str, Any] = {"used": not reason, "reason": reason or None}
    make = partial(fast_dpo.FastDPOTrainer, token_budget=hyperparameters["token_budget"]) if not reason else DPOTrainer
    progress = loop.Progress(events)
    trainer: Any = make(
        model=model,  # and no ref_model: TRL copies `default` to a frozen `ref`, or turns a fresh adapter off
        args=DPOConfig(
            beta=hyperparameters["beta"],
            loss_type=[hyperparameters["loss_type"]],
            label_smoothing=hyperparameters["label_smoothing"],
            disable_dropout=hyperparameters["lora_dropout"] == 0,
            **loop.arguments(run_dir, config, rows=len(rows), eval_rows=len(eval_rows)),
        ),
        train_dataset=Dataset.from_list(rows),  # in memory: no cache of clinical text anywhere else
        eval_dataset=Dataset.from_list(eval_rows) if eval_rows else None,
        processing_class=tokenizer,
        peft_config=None if parent else loop.lora_config(hyperparameters, model),
        callbacks=[progress],
    )
    if fast["used"]:
        fast["shared_prompts"] = trainer.prefixes()
    if fast["used"] and "gradient_checkpointing" not in config["given"]:
        fast |= trainer.choose_checkpointing()
        hyperparameters["gradient_checkpointing"] = fast["gradient_checkpointing"]
    loop.evaluate_apart(trainer)
    for name, module in trainer.model.named_modules():
        if name.endswith(".lora_dropout.ref"):
            module.p = 0.0  # the reference is a fixed policy, whatever dropout the policy trains with
    trained = [*trainer.train_dataset["chosen_ids"], *trainer.train_dataset["rejected_ids"]]
    end_token = proofs.check_end_token(tokenizer, model, trained)
    weights = proofs.Weights(trainer.model)

    before: dict[str, Any] = loop.measured_before(run_dir)
    if not before:
        step0 = proofs.gate(trainer, hyperparameters["loss_type"], hyperparameters["beta"], model.dtype)
    if fast["used"]:  # after the gate, which asks the reference itself
        events.status("measuring", "Computing the reference's log-probabilities.")
        fast["reference"] = trainer.cache_reference(run_dir, identity | {"adapter_sha256": adapter_of(parent)})
    if not before:
        if eval_rows:
            events.status("evaluating", "Evaluating before training.")
            trainer.evaluate()
        before = {"eval": progress.evaluated[1] if progress.evaluated else None, "step0": step0}
        write_json(run_dir / "before.json", before)

    outcome = loop.train(trainer, run_dir, config, events, progress)
    if fast["used"] and outcome["train_runtime"]:
        fast["roofline"] = trainer.roofline(outcome["train_runtime"])
        events.write("log", metrics={f"roofline/{name}": value for name, value in fast["roofline"].items()})
    after = loop.evaluate_last(trainer, events, progress) if eval_rows else None
    events.status("saving", "Saving the adapter.")
    proof = weights.proof(trainer.model) | {
        "end_token": end_token,
        "trained_tokens_per_epoch": sum(map(len, trained)),
        "step0": before["step0"],
        "reference": "parent_adapter" if parent else "base",
    }
    adapter_sha256 = loop.save_adapter(trainer.model, run_dir)
    return {
        "method": "dpo",
        "seed": config["seed"],
        **identity,
        "parent_adapter": str(parent) if parent else None,
        "parent_adapter_sha256": adapter_of(parent),
        "adapter_path": "adapter",
        "adapter_sha256": adapter_sha256,
        "hyperparameters": hyperparameters,
        "ignored_hyperparameters": ignored,
        "rows": {"train": train_report, "eval": eval_report},
        "fast": fast,
        **outcome,
        "metrics": progress.log,
        "eval_before": before["eval"],
        "eval_after": after,
        "proof": proof,
        **loop.environment(model),
    }


if __name__ == "__main__":
    go_offline()
    if len(sys.argv) != 2:
        sys.exit("Usage: python -m training.recipes.dpo RUN_DIR")
    sys.exit(execute(main, Path(sys.argv[1])))
