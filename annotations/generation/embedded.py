"""Completions from transformers in this process: a base model with or without an adapter, in batches.

The base model stays loaded between jobs, and adapters are attached to it by name, so that base, SFT and DPO cost one
load. The model's own generation settings are ignored: what isn't in ``Sampling`` is off.
"""

import gc
import logging
import os
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from accounts.errors import UserError
from annotations.generation.interface import TOO_LONG, Answer, Deliver, Prompt
from annotations.generation.sampling import Sampling
from annotations.weights import directory_sha256

logger = logging.getLogger(__name__)

TICK_SECONDS = 5
# Prompt and answer tokens of a batch, padding included, and its rows. More is no faster on a CPU.
CPU_BATCH = (16_384, 32)
GPU_BATCH = (131_072, 128)
ADAPTERS_KEPT = 8


@dataclass(frozen=True)
class Weights:
    """A directory and the hash it was registered with (empty: not checked)."""

    path: Path
    sha256: str = ""

    def check(self) -> None:
        """Raises UserError unless the directory is there and holds what was registered."""
        if not self.path.is_dir():
            raise UserError(
                f"{self.path} doesn't exist on the machine that generates. Put the model's directory back, or register "
                "the model again where it is now."
            )
        found = directory_sha256(self.path)
        if self.sha256 and found != self.sha256:
            raise UserError(
                f"{self.path} is not what was registered: its weights have SHA-256 {found[:12]}…, expected "
                f"{self.sha256[:12]}…. Restore the files, or register them under a new name."
            )


@dataclass
class _Loaded:
    """A base model in memory. ``model`` becomes a PeftModel with the first adapter."""

    weights: Weights
    model: Any
    tokenizer: Any
    context: int
    end_tokens: list[int]
    adapters: dict[str, Weights] = field(default_factory=dict)


_loaded: _Loaded | None = None


@dataclass(frozen=True)
class Embedded:
    base: Weights
    adapter: Weights | None = None

    def generate(self, prompts: Sequence[Prompt], sampling: Sampling, deliver: Deliver) -> None:
        loaded = _load(self.base)
        name = _attach(loaded, self.adapter) if self.adapter else ""
        lengths = [len(tokens) for tokens in _tokenise(loaded, prompts)]
        fits = [i for i, length in enumerate(lengths) if length + sampling.max_tokens <= loaded.context]
        too_long = sorted(set(range(len(prompts))) - set(fits))
        if not deliver([Answer(position, skipped=TOO_LONG) for position in too_long]):
            return
        for positions in batches(fits, lengths, sampling.max_tokens, GPU_BATCH if _on_gpu(loaded) else CPU_BATCH):
            if not _answer(loaded, name, prompts, positions, sampling, deliver):
                return


def batches(positions: list[int], lengths: Sequence[int], new: int, limits: tuple[int, int]) -> list[list[int]]:
    """Positions in batches of like length, the longest first: memory runs out at once or never, padding is small."""
    tokens, rows = limits
    result: list[list[int]] = []
    for position in sorted(positions, key=lambda i: lengths[i], reverse=True):
        # The first of a batch is its longest, so it sets the width.
        if result and len(result[-1]) < rows and (lengths[result[-1][0]] + new) * (len(result[-1]) + 1) <= tokens:
            result[-1].append(position)
        else:
            result.append([position])
    return result


def _load(weights: Weights) -> _Loaded:
    """The base model, from memory if it is the one there. Only one is kept."""
    global _loaded
    if _loaded is not None and _loaded.weights == weights:
        return _loaded
    weights.check()
    _forget()
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_HUB_DISABLE_TELEMETRY", "DO_NOT_TRACK"):
        os.environ[name] = "1"  # read when the libraries are imported: nothing is ever fetched or reported
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging as library_logging

    library_logging.disable_progress_bar()
    gpu = torch.cuda.is_available()
    try:
        tokenizer = AutoTokenizer.from_pretrained(weights.path, local_files_only=True, padding_side="left")
        model = AutoModelForCausalLM.from_pretrained(
            weights.path,
            dtype=torch.bfloat16 if gpu else torch.float32,
            local_files_only=True,
            use_safetensors=True,  # other formats can run code
            trust_remote_code=False,
        )
    except Exception as error:  # whatever broken files make a library raise
        raise UserError(f"{weights.path} can't be loaded as a language model: {error}") from error
    if tokenizer.chat_template is None:
        raise UserError(f"{weights.path} has no chat template, so it is no instruction model. Choose one that is.")
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    end_tokens = _end_tokens(model, tokenizer)
    _reset_generation_config(model, tokenizer, end_tokens)
    model.to(torch.device("cuda" if gpu else "cpu"))  # type: ignore[arg-type]
    model.eval()
    limits = [getattr(model.config.get_text_config(), "max_position_embeddings", None), tokenizer.model_max_length]
    context = min(limit for limit in limits if limit)
    _loaded = _Loaded(weights, model, tokenizer, context, end_tokens)
    logger.info("loaded the base model at %s", weights.path)
    return _loaded


def _forget() -> None:
    global _loaded
    if _loaded is None:
        return
    _loaded = None
    gc.collect()
    import torch

    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _end_tokens(model: Any, tokenizer: Any) -> list[int]:
    """Every token that ends an answer: the tokenizer's, and the model's own (Llama 3 has several)."""
    published = model.generation_config.eos_token_id
    found = published if isinstance(published, list) else [published]
    tokens = sorted({token for token in [*found, tokenizer.eos_token_id] if token is not None})
    if not tokens:
        raise UserError("The tokenizer has no eos_token, so no answer could end. Set it in tokenizer_config.json.")
    return tokens


def _reset_generation_config(model: Any, tokenizer: Any, end_tokens: list[int]) -> None:
    """Greedy, and nothing else: a repetition penalty that a model came with would change an evaluation."""
    from transformers import GenerationConfig

    model.generation_config = GenerationConfig(eos_token_id=end_tokens, pad_token_id=tokenizer.pad_token_id)


def _attach(loaded: _Loaded, adapter: Weights) -> str:
    """Put the adapter on the base model, unless it is there; returns the name it goes by."""
    from peft import PeftModel

    for name, kept in loaded.adapters.items():
        if kept == adapter:
            return name
    adapter.check()
    name = f"adapter_{time.monotonic_ns()}"
    try:
        if isinstance(loaded.model, PeftModel):
            loaded.model.load_adapter(str(adapter.path), adapter_name=name, local_files_only=True)
        else:
            loaded.model = PeftModel.from_pretrained(
                loaded.model, str(adapter.path), adapter_name=name, local_files_only=True
            ).eval()
    except Exception as error:
        raise UserError(f"{adapter.path} can't be put on the base model {loaded.weights.path}: {error}") from error
    loaded.adapters[name] = adapter
    while len(loaded.adapters) > ADAPTERS_KEPT:
        oldest = next(iter(loaded.adapters))
        loaded.model.set_adapter(name)
        loaded.model.delete_adapter(oldest)
        del loaded.adapters[oldest]
    return name


def _tokenise(loaded: _Loaded, prompts: Sequence[Prompt]) -> list[list[int]]:
    """Token ids through the model's chat template, which writes the special tokens itself: none is added twice."""
    try:
        texts = [
            loaded.tokenizer.apply_chat_template(prompt.messages, tokenize=False, add_generation_prompt=True)
            for prompt in prompts
        ]
    except Exception as error:  # templates raise what they like; many know no system message
        raise UserError(f"The chat template of {loaded.weights.path} refuses the prompt: {error}") from error
    if not texts:
        return []
    ids: list[list[int]] = loaded.tokenizer(texts, add_special_tokens=False)["input_ids"]
    return ids


def _on_gpu(loaded: _Loaded) -> bool:
    return bool(loaded.model.device.type == "cuda")


def _answer(
    loaded: _Loaded,
    adapter: str,
    prompts: Sequence[Prompt],
    positions: list[int],
    sampling: Sampling,
    deliver: Deliver,
) -> bool:
    """Answer one batch and hand it over; halved as long as it doesn't fit into the GPU's memory. False: stop."""
    import torch

    try:
        answers = _generate(loaded, adapter, [prompts[i] for i in positions], positions, sampling, deliver)
    except torch.OutOfMemoryError:
        if len(positions) == 1:
            raise UserError(
                "One prompt alone doesn't fit into the GPU's memory. Use a larger one, or a server."
            ) from None
        torch.cuda.empty_cache()
        half = len(positions) // 2
        return all(
            _answer(loaded, adapter, prompts, part, sampling, deliver) for part in (positions[:half], positions[half:])
        )
    return answers is not None and deliver(answers)


def _generate(
    loaded: _Loaded,
    adapter: str,
    prompts: list[Prompt],
    positions: list[int],
    sampling: Sampling,
    deliver: Deliver,
) -> list[Answer] | None:
    """One batch through the model; None where ``deliver`` said stop."""
    import torch
    from transformers import LogitsProcessorList, StoppingCriteriaList

    from annotations.generation.decoding import SeededSampling, Tick

    model, tokenizer = loaded.model, loaded.tokenizer
    # input_ids, attention_mask: (rows, longest prompt), padded on the left
    inputs = tokenizer.pad({"input_ids": _tokenise(loaded, prompts)}, return_tensors="pt").to(model.device)
    tick = Tick(lambda: deliver([]), TICK_SECONDS)
    processors = LogitsProcessorList()
    if sampling.temperature > 0:
        seeds = [prompt.seed for prompt in prompts]
        processors.append(SeededSampling(sampling.temperature, sampling.top_p, seeds, model.device))
    if adapter:
        model.set_adapter(adapter)
    with torch.inference_mode(), nullcontext() if adapter or not loaded.adapters else model.disable_adapter():
        output = model.generate(
            **inputs,
            do_sample=False,  # drawing is SeededSampling's, so that a row's draw doesn't depend on its batch
            max_new_tokens=sampling.max_tokens,
            logits_processor=processors,
            stopping_criteria=StoppingCriteriaList([tick]),
        )
    if tick.stopped:
        return None
    answers = []
    for position, tokens in zip(positions, output[:, inputs["input_ids"].shape[1] :].tolist(), strict=True):
        end = next((i for i, token in enumerate(tokens) if token in loaded.end_tokens), None)
        text = tokenizer.decode(tokens[:end], skip_special_tokens=True)
        answers.append(Answer(position, text, "length" if end is None else "stop", len(tokens[:end])))
    return answers
