"""The hyperparameters a run may set: name, type, default, where the default comes from, and the range.

Names keep TRL's and PEFT's spelling. This module imports nothing heavy, so that a web form can be drawn from it:

>>> HYPERPARAMETERS["dpo"]["beta"].default
0.1
>>> resolve("dpo", {"learning_rate": "5e-6"})["learning_rate"]
5e-06
>>> resolve("dpo", {"betta": 0.2})  # doctest: +ELLIPSIS
Traceback (most recent call last):
    ...
ValueError: dpo has no hyperparameter 'betta' (did you mean 'beta'?). Allowed: beta, eval_steps, ...
"""

import difflib
import math
from collections.abc import Mapping
from typing import Any, NamedTuple


class Hyperparameter(NamedTuple):
    """One field of the form. `minimum` and `maximum` are inclusive; `choices` empty means any value in the range."""

    type: type
    default: Any
    help: str
    source: str
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] = ()


_COMMON: dict[str, Hyperparameter] = {
    "num_train_epochs": Hyperparameter(
        float, 1.0, "Passes over the training rows.", "TRL scripts/sft.py and dpo.py, LoRA", 0.01, 100
    ),
    "max_steps": Hyperparameter(
        int,
        -1,
        "Stop after this many updates, whatever the epochs; -1: the epochs decide.",
        "transformers",
        -1,
        1_000_000,
    ),
    "per_device_train_batch_size": Hyperparameter(int, 8, "Rows a device holds at once.", "transformers", 1, 1024),
    "per_device_eval_batch_size": Hyperparameter(int, 8, "The same while evaluating.", "transformers", 1, 1024),
    "gradient_accumulation_steps": Hyperparameter(
        int, 1, "Batches added up before one update.", "transformers", 1, 1024
    ),
    "gradient_checkpointing": Hyperparameter(
        bool, True, "Recompute activations: less memory for about a third more time.", "TRL SFTConfig and DPOConfig"
    ),
    "max_length": Hyperparameter(
        int,
        1024,
        "Longest row in tokens, prompt and completion; a longer row is left out and counted.",
        "TRL",
        16,
        131_072,
    ),
    "warmup_ratio": Hyperparameter(
        float, 0.03, "Share of the steps over which the learning rate rises.", "QLoRA's qlora.py", 0, 1
    ),
    "lr_scheduler_type": Hyperparameter(
        str,
        "linear",
        "How the learning rate falls.",
        "transformers",
        choices=("linear", "cosine", "constant", "constant_with_warmup"),
    ),
    "weight_decay": Hyperparameter(float, 0.0, "Weight decay of AdamW.", "transformers", 0, 1),
    "max_grad_norm": Hyperparameter(float, 1.0, "Gradients are clipped to this norm.", "transformers", 0, 1000),
    "logging_steps": Hyperparameter(
        int, 1, "Updates between two points of the charts.", "ours: runs are short (TRL: 10)", 1, 10_000
    ),
    "eval_steps": Hyperparameter(
        int, 0, "Updates between two evaluations; 0: at the end of each epoch.", "ours: runs are short", 0, 1_000_000
    ),
    "save_steps": Hyperparameter(
        int,
        50,
        "Updates between two checkpoints; 0: at the end of each epoch.",
        "ours: a lost run repeats at most 50",
        0,
        1_000_000,
    ),
    "lora_r": Hyperparameter(int, 16, "Rank of the adapter.", "TRL ModelConfig", 1, 512),
    "lora_alpha": Hyperparameter(
        int, 32, "Scale of the adapter; the update is multiplied by alpha / r.", "TRL ModelConfig", 1, 2048
    ),
    "lora_target_modules": Hyperparameter(
        str,
        "all-linear",
        "Layers that get an adapter: 'all-linear', or names with commas between.",
        "QLoRA, section 4; PEFT",
    ),
}

HYPERPARAMETERS: dict[str, dict[str, Hyperparameter]] = {
    "sft": {
        # TRL takes 2e-5 for full fine-tuning and ten times that for LoRA (the two commands in its scripts/sft.py).
        "learning_rate": Hyperparameter(float, 2e-4, "Peak learning rate.", "TRL scripts/sft.py, LoRA; QLoRA", 0, 1),
        "lora_dropout": Hyperparameter(float, 0.05, "Dropout inside the adapter.", "TRL ModelConfig", 0, 0.9),
        **_COMMON,
    },
    "dpo": {
        # DPOConfig takes 1e-6 for full fine-tuning; LoRA ten times that, the factor in TRL's scripts/dpo.py.
        "learning_rate": Hyperparameter(
            float, 1e-5, "Peak learning rate.", "ten times TRL DPOConfig's 1e-6, for LoRA", 0, 1
        ),
        "beta": Hyperparameter(
            float, 0.1, "How firmly the policy is held to the reference.", "TRL DPOConfig", 0.0001, 100
        ),
        "loss_type": Hyperparameter(
            str,
            "sigmoid",
            "sigmoid is the DPO paper's; ipo resists over-fitting; robust reckons with label_smoothing wrong labels.",
            "TRL DPOConfig",
            choices=("sigmoid", "ipo", "robust", "hinge", "apo_zero", "sigmoid_norm"),
        ),
        "label_smoothing": Hyperparameter(
            float,
            0.0,
            "Share of the preferences believed to be wrong; for the loss robust only.",
            "TRL DPOConfig",
            0,
            0.49,
        ),
        # Dropout would make policy and reference differ at the first step, where their equality is what is proved.
        "lora_dropout": Hyperparameter(
            float, 0.0, "Dropout inside the adapter.", "TRL DPOConfig: disable_dropout", 0, 0.9
        ),
        "fast": Hyperparameter(
            bool,
            True,
            "Compute each prompt once and the reference once: the same result sooner. false: TRL as it comes.",
            "ours; docs/training.md",
        ),
        "token_budget": Hyperparameter(
            int,
            0,
            "Tokens computed at once when fast; 0: chosen by the longest pair. Changes memory and time only.",
            "ours; docs/training.md",
            0,
            10_000_000,
        ),
        **_COMMON,
    },
}

DEFAULTS: dict[str, dict[str, Any]] = {
    method: {name: spec.default for name, spec in specs.items()} for method, specs in HYPERPARAMETERS.items()
}


def resolve(method: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Defaults of `method` with `given` on top, checked; text such as "5e-6" is read as the number.

    Raises ValueError with a message for people: what is wrong, where, what is allowed.
    """
    if method not in HYPERPARAMETERS:
        raise ValueError(f"There is no training method {method!r}. Allowed: {', '.join(HYPERPARAMETERS)}.")
    specs = HYPERPARAMETERS[method]
    values = dict(DEFAULTS[method])
    for name, value in given.items():
        if name not in specs:
            close = difflib.get_close_matches(name, specs, n=1)
            hint = f" (did you mean {close[0]!r}?)" if close else ""
            allowed = ", ".join(sorted(specs))
            raise ValueError(f"{method} has no hyperparameter {name!r}{hint}. Allowed: {allowed}.")
        values[name] = _checked(name, specs[name], value)
    if values.get("label_smoothing") and values["loss_type"] != "robust":
        raise ValueError(
            f"label_smoothing has no effect with loss_type {values['loss_type']}; choose robust, or leave it 0."
        )
    return values


def _checked(name: str, spec: Hyperparameter, value: Any) -> Any:
    value = _typed(name, spec, value)
    if spec.choices and value not in spec.choices:
        raise ValueError(f"{name} is {value!r}; it must be one of {', '.join(spec.choices)}.")
    if (spec.minimum is not None and value < spec.minimum) or (spec.maximum is not None and value > spec.maximum):
        raise ValueError(f"{name} is {value}; it must lie between {spec.minimum:g} and {spec.maximum:g}.")
    return value


def _typed(name: str, spec: Hyperparameter, value: Any) -> Any:
    wrong = ValueError(f"{name} is {value!r}; it must be {_IN_WORDS[spec.type]}.")
    if spec.type is bool:
        text = str(value).strip().lower()
        if text not in ("true", "false", "1", "0"):
            raise wrong
        return text in ("true", "1")
    if spec.type is str:
        if isinstance(value, (list, tuple)) and value and all(isinstance(part, str) for part in value):
            return ",".join(value)  # lora_target_modules as PEFT takes it
        if not isinstance(value, str) or not value.strip():
            raise wrong
        return value.strip()
    if isinstance(value, bool):
        raise wrong
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise wrong from None
    if not math.isfinite(number) or (spec.type is int and number != int(number)):
        raise wrong
    return spec.type(number)


_IN_WORDS = {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}
