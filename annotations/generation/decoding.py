"""What generation with transformers needs besides the library: imports torch, so only ``embedded`` imports it."""

import time
from collections.abc import Callable
from typing import Any

import torch
from transformers import LogitsProcessor, StoppingCriteria, TemperatureLogitsWarper, TopPLogitsWarper


class SeededSampling(LogitsProcessor):
    """Draws each row with a generator of its own, so that the same seed gives the same text in any batch.

    Adding Gumbel noise to the logits and taking the largest is an exact draw from their softmax (Gumbel 1954; Maddison
    et al. 2014), and leaves the taking to the greedy search.
    """

    def __init__(self, temperature: float, top_p: float, seeds: list[int], device: Any) -> None:
        self.warpers: list[LogitsProcessor] = [TemperatureLogitsWarper(temperature)]
        if top_p < 1:
            self.warpers.append(TopPLogitsWarper(top_p))
        # On the CPU wherever the model is: the same noise on every device.
        self.generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        self.device = device

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> torch.FloatTensor:
        # scores: (rows, vocabulary)
        scores = scores.float()  # type: ignore[assignment]
        for warper in self.warpers:
            scores = warper(input_ids, scores)
        # A standard exponential's -log is standard Gumbel.
        draws = torch.stack([torch.empty(scores.shape[1]).exponential_(generator=g) for g in self.generators])
        tiny = torch.finfo(draws.dtype).tiny
        return scores - draws.clamp_min(tiny).log().to(self.device)  # type: ignore[return-value]


class Tick(StoppingCriteria):
    """Says every few seconds that the work goes on, and stops the batch when told to."""

    def __init__(self, beat: Callable[[], bool], seconds: float) -> None:
        self.beat = beat
        self.seconds = seconds
        self.next = time.monotonic() + seconds
        self.stopped = False

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor, **kwargs: Any) -> torch.BoolTensor:
        if not self.stopped and time.monotonic() >= self.next:
            self.stopped = not self.beat()
            self.next = time.monotonic() + self.seconds
        return torch.full((input_ids.shape[0],), self.stopped, device=input_ids.device)  # type: ignore[return-value]
