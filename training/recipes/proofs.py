"""What a run proves about its rows, its end token, its weights and (DPO) its reference, before and after training."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from jinja2 import TemplateError

from training.recipes.rundir import Row, UserError

# Loss at margin 0, which is where DPO must begin (policy = reference), from the formulas in TRL's DPOTrainer.
LOSS_AT_ZERO = {
    "sigmoid": lambda beta: math.log(2),
    "sigmoid_norm": lambda beta: math.log(2),
    "robust": lambda beta: math.log(2),
    "hinge": lambda beta: 1.0,
    "apo_zero": lambda beta: 1.0,
    "ipo": lambda beta: (1 / (2 * beta)) ** 2,
}
TOLERANCE = {
    torch.float32: 1e-3,
    torch.bfloat16: 2e-2,
}  # bf16 keeps 8 bits: 2e-2 is a few roundings of a log-probability


def measure(
    tokenizer: Any, rows: list[Row], answers: tuple[str, ...], max_length: int, name: str
) -> tuple[list[Row], dict[str, Any]]:
    """The rows that fit into `max_length` tokens with each of their `answers`, and what was counted.

    Nothing is truncated, because a cut completion has no end token to learn. Row numbers count from 0 in the order of
    the file.
    """
    if not tokenizer.chat_template:
        raise UserError(
            "The base model's tokenizer has no chat template, so messages cannot be turned into tokens as the server "
            "will. Take an instruction-tuned model, or put its chat_template.jinja into the model's directory."
        )
    kept, lengths, too_long = [], [], []
    for index, row in enumerate(rows):
        try:
            length = max(
                len(
                    tokenizer.apply_chat_template(row["prompt"] + row[answer], tokenize=True, return_dict=True)[
                        "input_ids"
                    ]
                )
                for answer in answers
            )
        except TemplateError as error:
            raise UserError(
                f"{name}.jsonl, line {index + 1}: the base model's chat template refuses these messages ({error}). "
                "A template that takes no system message must put it into the user message."
            ) from None
        lengths.append(length)
        if length > max_length:
            too_long.append(index)
        else:
            kept.append(row)
    report = {
        "read": len(rows),
        "kept": len(kept),
        "truncated": 0,
        "dropped": {"too_long": len(too_long)},
        "dropped_rows": {"too_long": too_long},
        "max_length": max_length,
        "tokens": _spread(lengths),  # of all rows that were read; a pair counts as its longer half
    }
    if rows and not kept:
        raise UserError(
            f"All {len(rows)} rows of {name}.jsonl are longer than max_length = {max_length} tokens (the shortest has "
            f"{min(lengths)}). Raise max_length, or shorten the cases."
        )
    return kept, report


def _spread(lengths: list[int]) -> dict[str, int] | None:
    if not lengths:
        return None
    ordered = sorted(lengths)
    return {
        "min": ordered[0],
        "median": ordered[len(ordered) // 2],
        "p95": ordered[min(len(ordered) - 1, int(len(ordered) * 0.95))],
        "max": ordered[-1],
        "total": sum(ordered),
    }


def check_end_token(tokenizer: Any, model: Any, answers: Sequence[list[int]]) -> str:
    """The end token that every answer (the token ids that carry loss) is trained to end with; else UserError.

    White space after it is allowed: ChatML puts a line break behind <|im_end|>, as TRL trains it.
    """
    ends = model.generation_config.eos_token_id
    end_ids = {tokenizer.eos_token_id, *(ends if isinstance(ends, list) else [ends])} - {None}
    for index, answer in enumerate(answers):
        last = max((position for position, token in enumerate(answer) if token in end_ids), default=None)
        if last is None or tokenizer.decode(answer[last + 1 :]).strip():
            raise UserError(
                f"The end token would not be trained: answer {index} of {len(answers)} does not end with one of "
                f"{tokenizer.convert_ids_to_tokens(sorted(end_ids))}, where the model stops. Trained like this it "
                "never stops writing; correct eos_token in the base's tokenizer_config.json, or its chat template."
            )
        end = answer[last]
    return str(tokenizer.convert_ids_to_tokens(end))


class Weights:
    """A copy of what training should move and a checksum of what it must not, taken before the first update."""

    def __init__(self, model: torch.nn.Module) -> None:
        self.trainable = {
            name: value.detach().cpu().clone() for name, value in model.named_parameters() if value.requires_grad
        }
        self.frozen = {name: _checksum(value) for name, value in model.named_parameters() if not value.requires_grad}
        if outside := [name for name in self.trainable if ".default." not in name]:
            raise RuntimeError(f"Trainable outside the adapter 'default': {outside[:5]}")

    def proof(self, model: torch.nn.Module) -> dict[str, Any]:
        """How many adapter tensors moved; the base, and DPO's frozen reference, must be bit for bit as before."""
        now = dict(model.named_parameters())
        moved = {name for name, before in self.trainable.items() if not torch.equal(now[name].detach().cpu(), before)}
        touched = [name for name, before in self.frozen.items() if _checksum(now[name]) != before]
        if touched:
            raise RuntimeError(f"Frozen weights changed during training: {touched[:5]} and {len(touched)} in all")
        lora_b = {name for name in self.trainable if ".lora_B." in name}
        return {
            "adapter_tensors": len(self.trainable),
            "adapter_tensors_moved": len(moved),
            "lora_b_tensors": len(lora_b),
            "lora_b_moved": len(lora_b & moved),
            "adapter_parameters": sum(value.numel() for value in self.trainable.values()),
            "frozen_tensors": len(self.frozen),
            "frozen_tensors_moved": 0,
        }


def _checksum(value: torch.Tensor) -> int:
    """An exact checksum of the bits, computed where the tensor lies: its words times their places, mod 2^64."""
    integer = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}[value.element_size()]
    words = value.detach().reshape(-1).view(integer)
    places = torch.arange(
        1, 1 + min(words.numel(), 2**22), device=words.device, dtype=torch.int64
    )  # at most 32 MB at a time
    return sum(int((part * places[: part.numel()]).sum()) for part in words.split(2**22)) % 2**64


def gate(trainer: Any, loss_type: str, beta: float, dtype: torch.dtype, rows: int = 4) -> dict[str, Any]:
    """Proof that DPO starts at its reference: on the first training rows margins are 0 and the loss is ln 2 (sigmoid).

    A row at a time, so that opposite margins cannot hide each other; without dropout; before any update. Anything else
    means that the reference is not the policy that training starts from (contract C3), and the run is refused.
    """
    model, tolerance, expected = trainer.model, TOLERANCE[dtype], LOSS_AT_ZERO[loss_type](beta)
    was_training = model.training
    model.eval()
    trainer._metrics["eval"].clear()
    losses = []
    for index in range(min(rows, len(trainer.train_dataset))):
        batch = trainer.data_collator([trainer.train_dataset[index]])
        losses.append(float(trainer.prediction_step(model, batch, prediction_loss_only=True)[0]))
    metrics = {key: list(values) for key, values in trainer._metrics["eval"].items()}
    trainer._metrics["eval"].clear()
    model.train(was_training)
    # The rewards too: a reference that is wrong by the same amount on both completions leaves the margin at 0.
    worst = {key: max(map(abs, metrics[f"rewards/{key}"])) for key in ("margins", "chosen", "rejected")}
    off = max(abs(loss - expected) for loss in losses)
    proof = {
        "loss": sum(losses) / len(losses),
        "expected_loss": expected,
        "margin": sum(metrics["rewards/margins"]) / len(losses),
        "max_abs_margin": worst["margins"],
        "max_abs_reward": max(worst["chosen"], worst["rejected"]),
        "rows": len(losses),
        "tolerance": tolerance,
    }
    # `not <=` refuses nan as well
    if not (max(worst.values()) <= tolerance and off <= tolerance * max(1.0, expected)):
        raise UserError(
            f"DPO does not start at its reference: on the first {len(losses)} rows the largest reward margin is "
            f"{worst['margins']:.4g} and the largest reward {proof['max_abs_reward']:.4g} (both must be 0 within "
            f"{tolerance:g}), the loss {proof['loss']:.4f} (must be {expected:.4f}). The reference is not the policy "
            "that training starts from, so the result would mean nothing."
        )
    return proof


def parent_base_sha256(parent: Path) -> str | None:
    """The base that the parent run was trained on, when its result lies beside the adapter."""
    try:
        return str(json.loads((parent.parent / "result.json").read_text())["base_sha256"])
    except (OSError, ValueError, KeyError):
        return None
