"""What SFT and DPO do alike with a Trainer: load the base, tell events.jsonl, stop, resume, save the adapter."""

import hashlib
import json
import math
import os
import shutil
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig
from torch.nn import Linear
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
    set_seed,
)

from training.recipes.rundir import (
    Cancelled,
    Events,
    UserError,
    mark_complete,
    newest_checkpoint,
    package_versions,
    weights_sha256,
)


def load_base(config: dict[str, Any]) -> tuple[Any, Any, dict[str, Any]]:
    """Model (bf16 on a GPU, fp32 on a CPU), tokenizer, and what the result says of them."""
    path = Path(config["base_path"])
    sha256 = weights_sha256(path)
    if config.get("base_sha256") and config["base_sha256"] != sha256:
        raise UserError(
            f"{path} is not the base model that was registered: its weights have SHA-256 {sha256[:12]}…, expected "
            f"{config['base_sha256'][:12]}…. Restore the files, or register it again under a new name."
        )
    try:
        tokenizer = AutoTokenizer.from_pretrained(path, local_files_only=True)
        model = AutoModelForCausalLM.from_pretrained(
            path,
            dtype=torch.bfloat16 if torch.cuda.is_available() else torch.float32,
            local_files_only=True,
            use_safetensors=True,  # other formats can run code
            trust_remote_code=False,
        )
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be loaded as a base model: {error}") from error
    if tokenizer.eos_token_id is None:
        raise UserError(
            f"{path}: the tokenizer has no eos_token, so no completion could end. Set it in tokenizer_config.json."
        )
    positions = getattr(model.config, "max_position_embeddings", None)
    if positions and config["hyperparameters"]["max_length"] > positions:
        raise UserError(
            f"max_length is {config['hyperparameters']['max_length']}, but the base model has {positions} positions. "
            "Lower max_length."
        )
    template = hashlib.sha256(str(tokenizer.chat_template).encode()).hexdigest()
    return model, tokenizer, {"base_path": str(path), "base_sha256": sha256, "chat_template_sha256": template}


def lora_config(hyperparameters: dict[str, Any], model: Any) -> LoraConfig:
    """A fresh LoRA adapter on every linear layer but the head (or on the layers named)."""
    modules = hyperparameters["lora_target_modules"]
    if modules == "all-linear":
        # As PEFT understands it, but in seven short names instead of one for each layer: people read the file too.
        head = model.get_output_embeddings()
        names = {
            name.rpartition(".")[2]
            for name, part in model.named_modules()
            if isinstance(part, Linear) and part is not head
        }
        modules = ",".join(sorted(names)) or modules  # GPT-2 has no Linear
    return LoraConfig(
        task_type="CAUSAL_LM",
        r=hyperparameters["lora_r"],
        lora_alpha=hyperparameters["lora_alpha"],
        lora_dropout=hyperparameters["lora_dropout"],
        target_modules=modules if modules == "all-linear" else [name.strip() for name in modules.split(",")],
    )


def arguments(run_dir: Path, config: dict[str, Any], *, rows: int, eval_rows: int) -> dict[str, Any]:
    """The keyword arguments that SFTConfig and DPOConfig share."""
    hyperparameters, gpu = config["hyperparameters"], torch.cuda.is_available()
    batches = math.ceil(rows / hyperparameters["per_device_train_batch_size"])
    steps = hyperparameters["max_steps"]
    if steps < 1:
        steps = math.ceil(
            hyperparameters["num_train_epochs"] * math.ceil(batches / hyperparameters["gradient_accumulation_steps"])
        )
    same = (
        "learning_rate num_train_epochs max_steps per_device_train_batch_size per_device_eval_batch_size "
        "lr_scheduler_type weight_decay gradient_accumulation_steps gradient_checkpointing max_grad_norm logging_steps"
    )
    return {name: hyperparameters[name] for name in same.split()} | {
        "output_dir": str(run_dir / "checkpoints"),
        # transformers would round up, and the first step of a short run would be lost at learning rate 0
        "warmup_steps": math.floor(hyperparameters["warmup_ratio"] * steps),
        # Over-long rows were counted and left out before; with None TRL cannot truncate what we have promised not to.
        "max_length": None,
        "eval_strategy": ("steps" if hyperparameters["eval_steps"] else "epoch") if eval_rows else "no",
        "eval_steps": hyperparameters["eval_steps"] or None,
        "save_strategy": "steps" if hyperparameters["save_steps"] else "epoch",
        "save_steps": hyperparameters["save_steps"] or 500,
        "save_total_limit": 2,  # the newest, and the one before in case the newest is torn
        "bf16": gpu,
        "use_cpu": not gpu,
        "dataloader_pin_memory": gpu,
        "seed": config["seed"],
        "data_seed": config["seed"],
        "logging_nan_inf_filter": False,  # a nan must be seen, not averaged away
        "report_to": [],
        "disable_tqdm": True,
    }


class Progress(TrainerCallback):
    """The Trainer's progress as events, and the Trainer's stop when SIGTERM came."""

    def __init__(self, events: Events) -> None:
        self.events = events
        self.log: dict[str, float] = {}
        self.evaluated: tuple[int, dict[str, float]] | None = None

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self.events.step, self.events.max_steps = state.global_step, state.max_steps

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        self.events.step = state.global_step
        if self.events.terminate:
            control.should_training_stop = control.should_save = True
            control.should_evaluate = False

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if self.events.terminate:  # saved at the step's end already
            control.should_evaluate = control.should_save = False

    def on_prediction_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self.events.check()

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        if logs and not any(name.startswith("eval_") for name in logs):
            self.log |= logs
            self.events.write("log", metrics=dict(logs))

    def on_evaluate(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        metrics = dict(kwargs["metrics"])
        self.evaluated = (state.global_step, metrics)
        self.events.write("eval", metrics=metrics)

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        checkpoint = Path(str(args.output_dir)) / f"checkpoint-{state.global_step}"
        mark_complete(checkpoint)
        self.events.write("checkpoint", path=f"checkpoints/{checkpoint.name}")


def measured_before(run_dir: Path) -> dict[str, Any]:
    """What a run that resumes had measured before its first update; empty for a run that begins."""
    path = run_dir / "before.json"
    if newest_checkpoint(run_dir) is None or not path.exists():
        return {}
    before: dict[str, Any] = json.loads(path.read_text())
    return before


def evaluate_apart(trainer: Any) -> None:
    """Let evaluations draw no random number from training: a run stopped before one then resumes as if it was not."""
    evaluate = trainer.evaluate

    def apart(*args: Any, **options: Any) -> Any:
        with torch.random.fork_rng():
            return evaluate(*args, **options)

    trainer.evaluate = apart


def train(trainer: Any, run_dir: Path, config: dict[str, Any], events: Events, progress: Progress) -> dict[str, Any]:
    """Train to the end, or to where SIGTERM came, from the newest complete checkpoint where there is one.

    Raises Cancelled after saving a checkpoint, unless STOP_AND_KEEP asks for what there is.
    """
    checkpoint = newest_checkpoint(run_dir)
    if checkpoint:
        events.step = int(checkpoint.name.removeprefix("checkpoint-"))
        where = f"checkpoints/{checkpoint.name}"
        events.status("resumed_from", f"Resumed from step {events.step}.", path=where)
    events.status("training")
    set_seed(config["seed"])  # whatever the proofs before this drew, training draws the same
    runtime = 0.0
    if checkpoint and _is_last(checkpoint):
        # The run fell between its last step and its result; trainer.train would make one step too many.
        trainer._load_from_checkpoint(str(checkpoint))
        trainer.state = TrainerState.load_from_json(str(checkpoint / "trainer_state.json"))
        events.max_steps = trainer.state.max_steps
    else:
        try:
            runtime = trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None).metrics[
                "train_runtime"
            ]
        except Cancelled:  # in the middle of an evaluation; weights and optimizer stand at the end of a step
            trainer._save_checkpoint(trainer.model, trial=None)
            progress.on_save(trainer.args, trainer.state, trainer.control)
    steps, max_steps = trainer.state.global_step, trainer.state.max_steps
    stopped_early = steps < max_steps
    if events.terminate and not (events.keep() and steps):
        events.check()
    events.terminate = False  # this request is answered; a further SIGTERM is a new one
    return {
        "steps": steps,
        "max_steps": max_steps,
        "stopped_early": stopped_early,
        "epochs": trainer.state.epoch,
        "train_runtime": runtime,
        "resumed_from": f"checkpoints/{checkpoint.name}" if checkpoint else None,
    }


def _is_last(checkpoint: Path) -> bool:
    state = json.loads((checkpoint / "trainer_state.json").read_text())
    return bool(state["global_step"] >= state["max_steps"])


def evaluate_last(trainer: Any, events: Events, progress: Progress) -> dict[str, float]:
    """The evaluation of the final weights: the last one if it was made after the last step, else a new one."""
    step = trainer.state.global_step
    if progress.evaluated is None or progress.evaluated[0] != step:
        events.status("evaluating")
        trainer.evaluate()
    assert progress.evaluated is not None
    return progress.evaluated[1]


def save_adapter(model: Any, run_dir: Path) -> str:
    """adapter/ in PEFT's layout, only `default` and nothing but config and weights; its hash. Whole or absent."""
    temporary, target = run_dir / ".adapter.tmp", run_dir / "adapter"
    shutil.rmtree(temporary, ignore_errors=True)
    model.save_pretrained(temporary, selected_adapters=["default"], save_embedding_layers=False)
    (temporary / "README.md").unlink(missing_ok=True)  # PEFT's empty form; the model card is written from the run
    path = temporary / "adapter_config.json"
    config = json.loads(path.read_text())
    if isinstance(config["target_modules"], list):
        config["target_modules"].sort()  # a set in PEFT: without this the same run would write other bytes
    path.write_text(json.dumps(config, indent=2, sort_keys=True))
    for file in temporary.iterdir():
        with file.open("rb") as handle:
            os.fsync(handle.fileno())
    shutil.rmtree(target, ignore_errors=True)
    os.replace(temporary, target)
    return weights_sha256(target)


def environment(model: Any) -> dict[str, Any]:
    """Where and with what the run was computed."""
    gpu = torch.cuda.is_available()
    return {
        "device": torch.cuda.get_device_name() if gpu else "cpu",
        "dtype": str(model.dtype).removeprefix("torch."),
        "threads": torch.get_num_threads(),
        "versions": package_versions(),
    }
