"""The language-model head on supervised positions only, in chunks: the logits never exist whole."""

from __future__ import annotations

from typing import Any, cast

import torch
from msgspec import Struct
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["CHUNK_ELEMENTS", "Distillation", "chunked_loss", "head_is_plain", "softcap_of"]

CHUNK_ELEMENTS = 1 << 22
"""Logits that exist at once in float32: 4M numbers, 16 MB."""

_CHUNKS_TOGETHER = 16
"""In bfloat16 so many chunks share their matrix products: the table's gradient is added up in float32 after each, which
for a table of 28M numbers takes as long as the products of two chunks (dev/log/train.md)."""

_HEAD_TOLERANCE = 1e-3


class Distillation(Struct, frozen=True):
    """A teacher's part in the loss of a batch.

    ``hidden``: (N, E), its last hidden states at the supervised positions; ``weight``: (W, E), ``bias``: (W,) or
    ``None``, ``softcap``: its head. ``tokens``: the first so many ids are compared; what lies behind them in either
    table is padding. ``share``, ``temperature``, ``reverse``: as in :class:`DistilSpec`.
    """

    hidden: Tensor
    weight: Tensor
    bias: Tensor | None
    softcap: float | None
    tokens: int
    share: float
    temperature: float
    reverse: bool


class _Terms(Struct, frozen=True):
    """What the loss of a position is made of besides its own logits."""

    softcap: float | None
    z: float
    distil: Distillation | None


def chunked_loss(
    hidden: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    targets: Tensor,
    weights: Tensor,
    *,
    softcap: float | None,
    z: float,
    distil: Distillation | None = None,
) -> Tensor:
    """Weighted sum over positions, ``Σ w_i ((1 − α)(−log p_i(target_i)) + z · log²Z_i + α τ² D_i)``.

    Args:
        hidden: (N, D), the last hidden states at the supervised positions.
        weight: (V, D); bias: (V,) or ``None``: the head.
        targets: int64 (N,); weights: float32 (N,).
        softcap: Gemma 2's bound on logits, ``softcap · tanh(logits / softcap)``; ``None``: none.
        z: weight of the squared log-partition function.
        distil: the teacher that gives the divergence D with its share α and temperature τ; ``None``: α = 0.

    The gradients are computed together with the loss, chunk by chunk, and kept instead of the logits (the idea of
    Liger-Kernel, arXiv 2410.10989, and of cut cross entropy, arXiv 2411.09009).
    """
    return cast(Tensor, _ChunkedLoss.apply(hidden, weight, bias, targets, weights, _Terms(softcap, z, distil)))


def softcap_of(model: Any) -> float | None:
    """Gemma 2's bound on logits, where the model has one."""
    return getattr(model.config.get_text_config(), "final_logit_softcapping", None)


def head_is_plain(model: Any) -> bool:
    """Whether the model's logits are its output table applied to its last hidden states, and no more than a soft cap.

    Compared on eight tokens: some architectures scale their logits, and no field of the configuration tells it of all.
    """
    head = model.get_output_embeddings()
    if not isinstance(head, nn.Linear):
        return False
    was_training = model.training
    model.eval()
    ids = torch.arange(8, device=head.weight.device)[None] % head.weight.shape[0]
    with torch.no_grad():
        logits = model(input_ids=ids, use_cache=False).logits
        hidden = model.base_model(input_ids=ids, use_cache=False).last_hidden_state
        own = head(hidden) if hidden.shape[-1] == head.weight.shape[1] else None
    model.train(was_training)
    if own is None:
        return False
    own = _bounded(own, softcap_of(model))
    return bool(torch.allclose(own, logits, rtol=_HEAD_TOLERANCE, atol=_HEAD_TOLERANCE))


class _ChunkedLoss(torch.autograd.Function):  # type: ignore[misc]
    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor, weights: Tensor, terms: _Terms
    ) -> Tensor:
        rows = max(1, CHUNK_ELEMENTS // weight.shape[0])
        together = rows * (_CHUNKS_TOGETHER if weight.dtype == torch.bfloat16 else 1)
        wanted = torch.is_grad_enabled() or any(ctx.needs_input_grad[:3])
        total = hidden.new_zeros((), dtype=torch.float32)
        hidden_gradient = torch.empty_like(hidden) if wanted else None
        whole = torch.float32 if hidden.shape[0] > together else weight.dtype
        weight_gradient = torch.zeros_like(weight, dtype=whole) if ctx.needs_input_grad[1] else None
        bias_gradient = torch.zeros_like(bias, dtype=torch.float32) if bias is not None else None
        for first in range(0, hidden.shape[0], together):
            last = min(first + together, hidden.shape[0])
            rounded = functional.linear(hidden[first:last], weight, bias)  # (m, V): logits, then their slopes
            for start in range(first, last, rows):
                part = slice(start, min(start + rows, last))
                logits = rounded[start - first : part.stop - first]
                loss, slope = _loss_and_slope(logits.float(), targets[part], weights[part, None], part, terms)
                total += loss
                if wanted:
                    logits.copy_(slope)
                    if bias_gradient is not None:
                        bias_gradient += slope.sum(0)
            if hidden_gradient is not None:
                torch.mm(rounded, weight, out=hidden_gradient[first:last])
            if weight_gradient is not None:
                weight_gradient += torch.mm(rounded.t(), hidden[first:last])
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
            None if weight is None else weight.mul_(slope).to(weight_dtype),
            None if bias is None else (bias * slope).to(bias_dtype),
            None,
            None,
            None,
        )


def _loss_and_slope(
    logits: Tensor, targets: Tensor, share: Tensor, part: slice, terms: _Terms
) -> tuple[Tensor, Tensor]:
    """The loss of some positions (a scalar) and its derivative by their logits (n, V).

    Args:
        logits: float32 (n, V); targets: (n,); share: (n, 1), what each position's loss is multiplied with.
        part: which of the batch's positions these are.
    """
    softcap, z, distil = terms.softcap, terms.z, terms.distil
    of_text = 1.0 if distil is None else 1.0 - distil.share
    bounded = _bounded(logits, softcap)
    partition = torch.logsumexp(bounded, dim=-1, keepdim=True)  # (n, 1)
    picked = bounded.gather(1, targets[:, None])
    loss = (share * (of_text * (partition - picked) + z * partition.square())).sum()
    slope = torch.exp(bounded - partition)
    slope *= share * (of_text + 2 * z * partition)
    slope.scatter_add_(1, targets[:, None], -of_text * share)
    if distil is not None:
        apart, direction = _divergence(bounded[:, : distil.tokens], part, distil)
        loss = loss + (share * apart).sum()
        slope[:, : distil.tokens] += direction.mul_(share)
    if softcap:
        slope *= 1 - (bounded / softcap).square()
    return loss, slope


def _divergence(logits: Tensor, part: slice, distil: Distillation) -> tuple[Tensor, Tensor]:
    """``α τ² D`` of some positions (n, 1), and its derivative by the student's logits (n, T).

    With q = softmax(student / τ), p = softmax(teacher / τ): D = Σ p log(p / q) has the derivative (q − p) / τ by the
    student's logits; D = Σ q log(q / p) has q (log(q / p) − D) / τ.
    """
    heat = distil.temperature
    of_teacher = functional.linear(distil.hidden[part], distil.weight, distil.bias).float()[:, : distil.tokens]
    teacher = torch.log_softmax(_bounded(of_teacher, distil.softcap) / heat, -1)
    student = torch.log_softmax(logits / heat, -1)
    gap = student - teacher
    if distil.reverse:
        chances = student.exp()
        apart = (chances * gap).sum(-1, keepdim=True)
        direction = chances.mul_(gap.sub_(apart))
    else:
        chances = teacher.exp()
        apart = -(chances * gap).sum(-1, keepdim=True)
        direction = student.exp_().sub_(chances)
    return distil.share * heat**2 * apart, direction.mul_(distil.share * heat)


def _bounded(logits: Tensor, softcap: float | None) -> Tensor:
    return softcap * torch.tanh(logits / softcap) if softcap else logits
