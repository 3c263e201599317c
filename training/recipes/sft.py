"""Supervised fine-tuning of a LoRA adapter on conversational prompt-completion rows.

    python -m training.recipes.sft RUN_DIR

The files of RUN_DIR are described in rundir.py. Only the completion carries loss, its end token included; the prompt's
messages go through the base model's own chat template, as they will when the adapter is served.
"""

import sys
from pathlib import Path
from typing import Any

from training.recipes.rundir import Events, UserError, execute, go_offline, read_config, read_rows, write_json


def main(run_dir: Path, events: Events) -> dict[str, Any]:
    """Train; returns what goes into result.json."""
    config = read_config(run_dir, "sft")
    rows, eval_rows = (read_rows(run_dir / f"{name}.jsonl", ("completion",)) for name in ("train", "eval"))
    if not rows:
        raise UserError(f"{run_dir / 'train.jsonl'} is missing or empty: there is nothing to train on.")
    if config["parent_adapter"]:
        raise UserError("parent_adapter is for DPO: SFT starts from the base model.")
    events.status("loading", "Loading the base model.")

    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    from training.recipes import loop, proofs

    hyperparameters = config["hyperparameters"]
    model, tokenizer, identity = loop.load_base(config)

    events.status("measuring", "Measuring the rows in tokens.")
    rows, train_report = proofs.measure(tokenizer, rows, ("completion",), hyperparameters["max_length"], "train")
    eval_rows, eval_report = proofs.measure(
        tokenizer, eval_rows, ("completion",), hyperparameters["max_length"], "eval"
    )

    progress = loop.Progress(events)
    trainer: Any = SFTTrainer(
        model=model,
        args=SFTConfig(
            completion_only_loss=True, **loop.arguments(run_dir, config, rows=len(rows), eval_rows=len(eval_rows))
        ),
        train_dataset=Dataset.from_list(rows),  # in memory: no cache of clinical text anywhere else
        eval_dataset=Dataset.from_list(eval_rows) if eval_rows else None,
        processing_class=tokenizer,
        peft_config=loop.lora_config(hyperparameters, model),
        callbacks=[progress],
    )
    loop.evaluate_apart(trainer)
    trained = [[token for token in labels if token != -100] for labels in trainer.train_dataset["labels"]]
    end_token = proofs.check_end_token(tokenizer, model, trained)
    weights = proofs.Weights(trainer.model)

    before: dict[str, Any] = loop.measured_before(run_dir)
    if not before:
        if eval_rows:
            events.status("evaluating", "Evaluating before training.")
            trainer.evaluate()
        before = {"eval": progress.evaluated[1] if progress.evaluated else None}
        write_json(run_dir / "before.json", before)

    outcome = loop.train(trainer, run_dir, config, events, progress)
    after = loop.evaluate_last(trainer, events, progress) if eval_rows else None
    events.status("saving", "Saving the adapter.")
    proof = weights.proof(trainer.model) | {"end_token": end_token, "trained_tokens_per_epoch": sum(map(len, trained))}
    adapter_sha256 = loop.save_adapter(trainer.model, run_dir)
    return {
        "method": "sft",
        "seed": config["seed"],
        **identity,
        "parent_adapter": None,
        "parent_adapter_sha256": None,
        "adapter_path": "adapter",
        "adapter_sha256": adapter_sha256,
        "hyperparameters": hyperparameters,
        "ignored_hyperparameters": [],
        "rows": {"train": train_report, "eval": eval_report},
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
        sys.exit("Usage: python -m training.recipes.sft RUN_DIR")
    sys.exit(execute(main, Path(sys.argv[1])))
