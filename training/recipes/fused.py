"""A Llama-shaped layer with LoRA on a CPU in fp32: the same formulas with fewer passes over memory.

PEFT computes y = x W^T + s (x A^T) B^T as five operations, each of which writes and keeps a tensor; on a CPU those
passes cost nearly as much as the products. Here the adapter is added in place by the matrix product itself, backward is
written out, and only what backward needs is kept: a third less memory a token.

Nothing is replaced that isn't plain: dropout, DoRA, quantised or merged layers, other activations keep their own code.
"""

import types
from typing import Any, NamedTuple

import torch
from peft.tuners.lora import Linear as LoraLinear
from torch.nn import Linear
from torch.nn.functional import linear, silu

from training.recipes.attention import packed_attention


class Parts(NamedTuple):
    """A linear layer (o, i) with an adapter of rank r, or without one (a and b None)."""

    weight: torch.Tensor  # (o, i), frozen
    bias: torch.Tensor | None  # (o,), frozen
    a: torch.Tensor | None  # (r, i)
    b: torch.Tensor | None  # (o, r)
    scale: float


def fuse(layers: Any) -> int:
    """Replace what is plain in decoder layers; how many modules were."""
    replaced = 0
    for layer in layers:
        for norm in (layer.input_layernorm, layer.post_attention_layernorm):
            norm.forward = types.MethodType(_norm_forward, norm)
            replaced += 1
        mlp, attention = layer.mlp, layer.self_attn
        if all(map(_plain, (mlp.gate_proj, mlp.up_proj, mlp.down_proj))) and mlp.config.hidden_act == "silu":
            mlp.forward = types.MethodType(_mlp_forward, mlp)
            replaced += 1
        projections = (attention.q_proj, attention.k_proj, attention.v_proj, attention.o_proj)
        if all(map(_plain, projections)) and not hasattr(attention, "q_norm"):
            attention.forward = types.MethodType(_attention_forward(attention.forward), attention)
            replaced += 1
    return replaced


def _plain(module: Any) -> bool:
    if type(module) is Linear:
        return not module.weight.requires_grad
    return (
        type(module) is LoraLinear
        and type(module.base_layer) is Linear
        and not module.base_layer.weight.requires_grad
        and not module.merged
        and not module.lora_variant
        and not any(module.lora_bias.values())
        and all(getattr(dropout, "p", 0.0) == 0 for dropout in module.lora_dropout.values())
    )


def _parts(module: Any) -> Parts:
    """As the module stands now: DPO switches between the adapters `default` and `ref`, or turns them off."""
    if type(module) is Linear:
        return Parts(module.weight, module.bias, None, None, 0.0)
    base, active = module.base_layer, [name for name in module.active_adapters if name in module.lora_A]
    if module.disable_adapters or not active:
        return Parts(base.weight, base.bias, None, None, 0.0)
    (name,) = active
    return Parts(base.weight, base.bias, module.lora_A[name].weight, module.lora_B[name].weight, module.scaling[name])


# --- what stands in for the modules' forward


def _norm_forward(self: Any, hidden_states: torch.Tensor) -> torch.Tensor:
    return _RmsNorm.apply(hidden_states, self.weight, self.variance_epsilon)


def _mlp_forward(self: Any, x: torch.Tensor) -> torch.Tensor:
    gate, up, down = (_parts(module) for module in (self.gate_proj, self.up_proj, self.down_proj))
    return _GatedMlp.apply(x, gate.a, gate.b, up.a, up.b, down.a, down.b, (gate, up, down))


def _attention_forward(original: Any) -> Any:
    def forward(
        self: Any,
        hidden_states: torch.Tensor,
        position_embeddings: tuple[torch.Tensor, torch.Tensor],
        attention_mask: torch.Tensor | None = None,
        segments: Any = None,
        **options: Any,
    ) -> tuple[torch.Tensor, None]:
        if segments is None:
            return original(hidden_states, position_embeddings, attention_mask, **options)
        parts = tuple(_parts(module) for module in (self.q_proj, self.k_proj, self.v_proj))
        adapters = [tensor for part in parts for tensor in (part.a, part.b)]
        rows = [
            value.unflatten(-1, (-1, self.head_dim)) for value in _Projections.apply(hidden_states, parts, *adapters)
        ]
        cos, sin = (value[0, :, None, : self.head_dim // 2] for value in position_embeddings)  # (t, 1, head_dim / 2)
        query, key = _Rotate.apply(rows[0], cos, sin), _Rotate.apply(rows[1], cos, sin)  # (1, t, heads, head_dim)
        output, _ = packed_attention(
            self,
            query.transpose(1, 2),
            key.transpose(1, 2),
            rows[2].transpose(1, 2),
            None,
            segments=segments,
            scaling=self.scaling,
            dropout=self.attention_dropout if self.training else 0.0,
            sliding_window=getattr(self, "sliding_window", None) or _window(self),
        )
        o = _parts(self.o_proj)
        (output,) = _Projections.apply(output.flatten(2), (o,), o.a, o.b)
        return output, None

    return forward


def _window(attention: Any) -> int | None:
    """Mistral's layers all have the window of the configuration; Qwen's know their own."""
    return attention.config.sliding_window if attention.config.model_type == "mistral" else None


# --- the arithmetic


class _RmsNorm(torch.autograd.Function):
    """y = w x / sqrt(mean(x^2) + eps), over the last dimension."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, weight: torch.Tensor, epsilon: float) -> torch.Tensor:
        size = x.shape[-1]
        scale = (torch.linalg.vector_norm(x, dim=-1, keepdim=True).square_() / size + epsilon).rsqrt_()  # (1, t, 1)
        ctx.save_for_backward(x, weight, scale)
        return (x * scale).mul_(weight)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        x, weight, scale = ctx.saved_tensors
        g = gradients[0] * weight
        # dx = s g - s^3 x mean(g x)
        along = torch.linalg.vecdot(g, x)[..., None] / x.shape[-1] * scale**3
        return g.mul_(scale).addcmul_(x, along, value=-1), None, None


class _Rotate(torch.autograd.Function):
    """Rotary positions: (x1, x2) -> (x1 cos - x2 sin, x2 cos + x1 sin), the two halves of a head."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(cos, sin)
        return _rotated(x, cos, sin, 1.0)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        cos, sin = ctx.saved_tensors
        return _rotated(gradients[0], cos, sin, -1.0), None, None  # a rotation's transpose turns back


def _rotated(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor, sign: float) -> torch.Tensor:
    out = torch.empty_like(x, memory_format=torch.contiguous_format)
    (x1, x2), (out1, out2) = x.chunk(2, -1), out.chunk(2, -1)
    torch.mul(x1, cos, out=out1).addcmul_(x2, sin, value=-sign)
    torch.mul(x2, cos, out=out2).addcmul_(x1, sin, value=sign)
    return out


def _project(x: torch.Tensor, parts: tuple[Parts, ...]) -> tuple[list[torch.Tensor], torch.Tensor | None]:
    """x (t, i) through layers that read the same x: their outputs (t, o), and x A^T of all of them (t, sum of r)."""
    outputs = [linear(x, part.weight, part.bias) for part in parts]
    adapted = [part.a for part in parts if part.a is not None]
    if not adapted:
        return outputs, None
    low = linear(x, torch.cat(adapted))  # one product instead of a thin one for each layer
    for output, part, columns in zip(outputs, parts, _columns(low, parts), strict=True):
        if part.b is not None:
            output.addmm_(columns, part.b.t(), alpha=part.scale)
    return outputs, low


def _columns(low: torch.Tensor, parts: tuple[Parts, ...]) -> list[torch.Tensor]:
    """The columns of `low` (t, sum of r) that belong to each part; none for a part without an adapter."""
    return list(low.split([0 if part.a is None else len(part.a) for part in parts], dim=1))


def _project_back(
    gradients: tuple[torch.Tensor, ...], x: torch.Tensor, low: torch.Tensor | None, parts: tuple[Parts, ...]
) -> tuple[torch.Tensor, list[torch.Tensor | None]]:
    """Gradients of the outputs (t, o) -> that of x (t, i), and those of a and b of each part."""
    dx = gradients[0] @ parts[0].weight
    for gradient, part in zip(gradients[1:], parts[1:], strict=True):
        dx.addmm_(gradient, part.weight)
    if low is None:
        return dx, [None, None] * len(parts)
    d_low = torch.empty_like(low)  # (t, sum of r): gradient of x A^T
    d_b: list[torch.Tensor] = []
    columns = zip(_columns(low, parts), _columns(d_low, parts), strict=True)
    for gradient, part, (known, wanted) in zip(gradients, parts, columns, strict=True):
        if part.b is not None:
            torch.mul(gradient @ part.b, part.scale, out=wanted)
            d_b.append((gradient.t() @ known).mul_(part.scale))  # (o, r)
    adapted = [part.a for part in parts if part.a is not None]
    dx.addmm_(d_low, torch.cat(adapted))
    d_a = list((d_low.t() @ x).split([len(a) for a in adapted]))  # (r, i) each
    adapters = [(None, None) if part.a is None else (d_a.pop(0), d_b.pop(0)) for part in parts]
    return dx, [tensor for pair in adapters for tensor in pair]


class _Projections(torch.autograd.Function):
    """Linear layers that read the same x (1, t, i); `adapters` are their a and b, for autograd to see."""

    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, parts: tuple[Parts, ...], *adapters: torch.Tensor | None
    ) -> tuple[torch.Tensor, ...]:
        outputs, low = _project(x[0], parts)
        ctx.save_for_backward(x, low)
        ctx.parts = parts
        return tuple(output[None] for output in outputs)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        x, low = ctx.saved_tensors
        dx, adapters = _project_back(tuple(g[0] for g in gradients), x[0], low, ctx.parts)
        return dx[None], None, *adapters


class _GatedMlp(torch.autograd.Function):
    """down(silu(gate(x)) * up(x)), x (1, t, i). The product inside is computed again in backward, not kept."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, *adapters_and_parts: Any) -> torch.Tensor:
        gate_part, up_part, down_part = adapters_and_parts[-1]
        (gate, up), low = _project(x[0], (gate_part, up_part))
        inner = silu(gate).mul_(up)  # (t, m)
        (output,), low_down = _project(inner, (down_part,))
        ctx.save_for_backward(x, gate, up, low, low_down)
        ctx.parts = adapters_and_parts[-1]
        return output[None]

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        x, gate, up, low, low_down = ctx.saved_tensors
        gate_part, up_part, down_part = ctx.parts
        active = silu(gate)
        d_inner, of_down = _project_back((gradients[0][0],), active * up, low_down, (down_part,))
        d_up = active.mul_(d_inner)
        d_gate = torch.ops.aten.silu_backward(d_inner.mul_(up), gate)
        dx, of_gate_and_up = _project_back((d_gate, d_up), x[0], low, (gate_part, up_part))
        return dx[None], *of_gate_and_up, *of_down, None
