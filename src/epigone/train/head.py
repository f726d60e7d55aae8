"""The language-model head on supervised positions only, in chunks: the logits never exist whole."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["CHUNK_ELEMENTS", "chunked_loss"]

CHUNK_ELEMENTS = 1 << 22
"""Logits that exist at once: 4M numbers, 16 MB in float32."""


def chunked_loss(
    hidden: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    targets: Tensor,
    weights: Tensor,
    *,
    softcap: float | None,
    z: float,
) -> Tensor:
    """Weighted sum of cross entropies, ``Σ w_i (−log p_i(target_i) + z · log²Z_i)``.

    Args:
        hidden: (N, D), the last hidden states at the supervised positions.
        weight: (V, D); bias: (V,) or ``None``: the head.
        targets: int64 (N,); weights: float32 (N,).
        softcap: Gemma 2's bound on logits, ``softcap · tanh(logits / softcap)``; ``None``: none.
        z: weight of the squared log-partition function.

    The gradients are computed together with the loss, chunk by chunk, and kept instead of the logits (the idea of
    Liger-Kernel, arXiv 2410.10989, and of cut cross entropy, arXiv 2411.09009).
    """
    return cast(Tensor, _ChunkedLoss.apply(hidden, weight, bias, targets, weights, softcap, z))


class _ChunkedLoss(torch.autograd.Function):  # type: ignore[misc]
    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        targets: Tensor,
        weights: Tensor,
        softcap: float | None,
        z: float,
    ) -> Tensor:
        rows = max(1, CHUNK_ELEMENTS // weight.shape[0])
        wanted = torch.is_grad_enabled() or any(ctx.needs_input_grad[:3])
        total = hidden.new_zeros((), dtype=torch.float32)
        chunks = -(-hidden.shape[0] // rows)
        hidden_gradient = torch.empty_like(hidden) if wanted else None
        whole = torch.float32 if chunks > 1 else weight.dtype
        weight_gradient = torch.zeros_like(weight, dtype=whole) if ctx.needs_input_grad[1] else None
        bias_gradient = torch.zeros_like(bias, dtype=torch.float32) if bias is not None else None
        for start in range(0, hidden.shape[0], rows):
            part = slice(start, start + rows)
            logits = functional.linear(hidden[part], weight, bias).float()  # (n, V)
            bounded = softcap * torch.tanh(logits / softcap) if softcap else logits
            partition = torch.logsumexp(bounded, dim=-1, keepdim=True)  # (n, 1)
            picked = bounded.gather(1, targets[part, None])
            share = weights[part, None]
            total += (share * (partition - picked + z * partition.square())).sum()
            if not wanted:
                continue
            slope = torch.exp(bounded - partition)
            slope *= share * (1 + 2 * z * partition)
            slope.scatter_add_(1, targets[part, None], -share)
            if softcap:
                slope *= 1 - (bounded / softcap).square()
            lowered = slope.to(hidden.dtype)
            assert hidden_gradient is not None
            torch.mm(lowered, weight, out=hidden_gradient[part])
            if weight_gradient is not None:
                weight_gradient += torch.mm(lowered.t(), hidden[part])
            if bias_gradient is not None:
                bias_gradient += slope.sum(0)
        ctx.save_for_backward(hidden_gradient, weight_gradient, bias_gradient)
        ctx.dtypes = (weight.dtype, None if bias is None else bias.dtype)
        return total

    @staticmethod
    def backward(ctx: Any, *outputs: Tensor) -> tuple[Tensor | None, ...]:
        (slope,) = outputs
        hidden, weight, bias = ctx.saved_tensors
        weight_dtype, bias_dtype = ctx.dtypes
        return (
            None if hidden is None else hidden * slope.to(hidden.dtype),
            None if weight is None else (weight * slope).to(weight_dtype),
            None if bias is None else (bias * slope).to(bias_dtype),
            None,
            None,
            None,
            None,
        )
