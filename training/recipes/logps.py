"""Log-probabilities of completion tokens straight from hidden states: the output layer only where a token is scored.

Let h be a hidden state, z = W h the logits, p = softmax(z), y the token to predict. Then

    log p_y = z_y - logsumexp(z)        d log p_y / dh = W_y - sum_v p_v W_v = -W^T (p - e_y) =: u

u has the size of h, and the DPO loss reaches h only through log p_y. So u is computed together with log p_y, while a
chunk's logits are still there; backward multiplies it by the incoming gradient. The output layer costs two products
of (tokens x hidden x vocabulary), forward and backward together, and no logits are kept: recomputing them in backward,
as TRL's fused head does, would cost three.
"""

from typing import Any, NamedTuple

import torch

# Numbers in a chunk of logits (tokens x vocabulary, fp32): 16 MB, so that it stays in a CPU's cache.
CHUNK = 4 * 2**20
CHUNK_ON_GPU = 128 * 2**20


class TokenScores(NamedTuple):
    """Of each of k scored tokens, (k,) fp32; only `log_probs` carries a gradient. The names are TRL's."""

    log_probs: torch.Tensor
    entropy: torch.Tensor  # of the distribution the token was drawn from
    mean_logits: torch.Tensor  # over the vocabulary
    is_top1: torch.Tensor  # bool: the token is the most likely one


def token_scores(
    hidden: torch.Tensor, weight: torch.Tensor, targets: torch.Tensor, bias: torch.Tensor | None = None
) -> TokenScores:
    """Score `targets` (k,) from `hidden` (k, d) under the frozen output layer `weight` (v, d), `bias` (v,)."""
    if weight.requires_grad or (bias is not None and bias.requires_grad):
        raise ValueError("The output layer must be frozen: its gradient is not computed.")
    return TokenScores(*_TokenScores.apply(hidden, weight, bias, targets))


class _TokenScores(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, hidden: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, targets: torch.Tensor
    ) -> tuple[torch.Tensor, ...]:
        k, (v, d) = len(targets), weight.shape
        log_probs, entropy, mean_logits = (torch.zeros(k, device=hidden.device, dtype=torch.float32) for _ in range(3))
        is_top1 = torch.zeros(k, device=hidden.device, dtype=torch.bool)
        u = torch.empty(k, d, device=hidden.device, dtype=torch.float32)
        mean_weight = weight.float().mean(0)  # (d,): the mean logit is a product with the mean row
        mean_bias = 0.0 if bias is None else float(bias.float().mean())
        with torch.autocast(hidden.device.type, enabled=False):
            for rows in torch.arange(k, device=hidden.device).split(_tokens_in_chunk(v, hidden.device)):
                h = hidden[rows].to(weight.dtype)  # (c, d)
                y = targets[rows, None]  # (c, 1)
                z = torch.mm(h, weight.t()).float()  # (c, v), the only tensor of this size
                if bias is not None:
                    z += bias
                z_y, z_max = z.gather(1, y), z.amax(1, keepdim=True)  # (c, 1)
                # argmax takes the first of equal logits, as TRL's metric does
                is_top1[rows] = (z_y == z_max)[:, 0] & (z.argmax(1, keepdim=True) == y)[:, 0]
                z -= z_max
                p = z.exp_()
                total = p.sum(1, keepdim=True)
                log_p = z_y - z_max - total.log()
                log_probs[rows] = log_p[:, 0]
                # p - e_y before the product: where p_y is nearly 1, W_y - (p W) would cancel
                p /= total
                p.scatter_add_(1, y, torch.full_like(z_y, -1.0))
                u[rows] = -torch.mm(p.to(weight.dtype), weight).float()  # (c, d)
                # H = -sum_v p_v log p_v = logsumexp(z) - sum_v p_v z_v, and h.u = z_y - sum_v p_v z_v
                entropy[rows] = (h.float() * u[rows]).sum(1) - log_p[:, 0]
                if bias is not None:  # h.u lacks the bias' part: b_y - sum_v p_v b_v
                    entropy[rows] -= p @ bias.float()
                mean_logits[rows] = h.float() @ mean_weight + mean_bias
        ctx.save_for_backward(u)
        ctx.dtype = hidden.dtype
        ctx.mark_non_differentiable(entropy, mean_logits, is_top1)
        ctx.set_materialize_grads(False)
        return log_probs, entropy, mean_logits, is_top1

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor | None) -> tuple[torch.Tensor | None, None, None, None]:
        (u,), gradient = ctx.saved_tensors, gradients[0]
        if gradient is None:
            return None, None, None, None
        return (gradient[:, None] * u).to(ctx.dtype), None, None, None


def _tokens_in_chunk(vocabulary: int, device: torch.device) -> int:
    return max(1, (CHUNK if device.type == "cpu" else CHUNK_ON_GPU) // vocabulary)
