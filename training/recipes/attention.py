"""Attention inside a pack of pairs (packing.py): a completion sees its prompt and itself, and nothing else.

On a CPU, and wherever FlexAttention is not in use, each pair is computed by itself: its prompt causally, then both
completions against `prompt | chosen | rejected` under an explicit mask. No score between two pairs is ever computed,
so a pack costs what its pairs cost.
"""

from functools import lru_cache
from typing import Any

import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from training.recipes.packing import Segment

NAME = "medprefs_packed"


def register() -> str:
    """Make the attention known to transformers; returns the name under which a model chooses it.

    Called without `segments`, the model behaves as it does with "sdpa".
    """
    AttentionInterface.register(NAME, packed_attention)
    AttentionMaskInterface.register(NAME, sdpa_mask)
    return NAME


def packed_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    segments: tuple[Segment, ...] | None = None,
    scaling: float | None = None,
    dropout: float = 0.0,
    sliding_window: int | None = None,
    **options: Any,
) -> tuple[torch.Tensor, None]:
    """query (1, heads, t, d), key and value (1, kv_heads, t, d) -> (1, t, heads, d), as transformers calls it."""
    if segments is None:
        return sdpa_attention_forward(
            module, query, key, value, attention_mask, scaling=scaling, dropout=dropout, **options
        )
    group = query.shape[1] // key.shape[1]  # query heads to a key head
    on_cpu = query.device.type == "cpu"

    def attend(queries: slice, keys: slice, mask: torch.Tensor | None) -> torch.Tensor:
        k, v = key[:, :, keys], value[:, :, keys]
        grouped = group > 1 and (on_cpu or mask is None)
        if group > 1 and not grouped:  # on CUDA, groups under a mask would leave the fast kernels
            k, v = (x.repeat_interleave(group, dim=1) for x in (k, v))
        return scaled_dot_product_attention(
            query[:, :, queries],
            k,
            v,
            attn_mask=mask,
            is_causal=mask is None,
            dropout_p=dropout,
            scale=scaling,
            enable_gqa=grouped,
        )

    parts = []
    for segment in segments:
        start, prompt, chosen, rejected = segment.start, segment.prompt, segment.chosen, segment.rejected
        behind, end = start + prompt, start + prompt + chosen + rejected
        if prompt:
            mask = None
            if sliding_window and prompt > sliding_window:
                mask = pair_mask(prompt, 0, 0, sliding_window).to(query.device)
            parts.append(attend(slice(start, behind), slice(start, behind), mask))
        if end > behind:
            mask = pair_mask(prompt, chosen, rejected, sliding_window)[prompt:].to(query.device)
            parts.append(attend(slice(behind, end), slice(start, end), mask))
    return torch.cat(parts, dim=2).transpose(1, 2), None


@lru_cache(maxsize=64)  # the layers of a model ask one after another for the same pairs
def pair_mask(prompt: int, chosen: int, rejected: int, sliding_window: int | None = None) -> torch.Tensor:
    """(t, t) bool, True where the row's token sees the column's, for one pair of t tokens.

    >>> pair_mask(1, 1, 1).int().tolist()
    [[1, 0, 0], [1, 1, 0], [1, 0, 1]]
    """
    part = torch.tensor([0] * prompt + [1] * chosen + [2] * rejected)  # (t,)
    position = torch.tensor([*range(prompt + chosen), *range(prompt, prompt + rejected)])  # (t,)
    distance = position[:, None] - position[None, :]  # (t, t)
    seen = (distance >= 0) & ((part[None, :] == 0) | (part[:, None] == part[None, :]))
    # A window counts positions, as it would if the completion stood alone behind its prompt.
    return seen & (distance < sliding_window) if sliding_window else seen
