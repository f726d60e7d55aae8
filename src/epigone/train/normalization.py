"""Root-mean-square normalization on a CPU in bfloat16, some rows at a time, so that its float32 stays in cache.

transformers' own code goes over the whole batch some ten times and keeps two float32 copies of it for the way back,
which are a fifth of a llama's activations; here one number a row is kept (measured: dev/log/train.md).
"""

from __future__ import annotations

from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn

__all__ = ["normalize_in_parts"]

_ROWS = 256
_SAMPLE = 16


def normalize_in_parts(model: nn.Module) -> int:
    """Give the model's normalization layers the function below, where it is bit for bit what they compute already.

    That is found out on random numbers: of the layers called RMSNorm some add 1 to their weights or round elsewhere.
    Gives the number of layers changed.
    """
    changed = 0
    for module in model.modules():
        weight = getattr(module, "weight", None)
        if not type(module).__name__.endswith("RMSNorm") or weight is None or weight.dtype != torch.bfloat16:
            continue
        epsilon = getattr(module, "variance_epsilon", getattr(module, "eps", None))
        if not isinstance(epsilon, float):
            continue
        draw = torch.Generator().manual_seed(0)
        sample = torch.randn(_SAMPLE, weight.shape[0], generator=draw).to(weight.dtype)
        with torch.no_grad():
            same = torch.equal(module(sample), cast(Tensor, _Normalized.apply(sample, weight, epsilon)))
        if same:
            module.forward = partial(_normalize, module, epsilon)
            changed += 1
    return changed


def _normalize(module: Any, epsilon: float, hidden: Tensor) -> Tensor:
    return cast(Tensor, _Normalized.apply(hidden, module.weight, epsilon))


class _Normalized(torch.autograd.Function):  # type: ignore[misc]
    """y = w ⊙ x r with r = (mean x² + ε)^(−1/2) (Zhang and Sennrich 2019, arXiv 1910.07467); x r is rounded, then y.

    With g = w ⊙ ∂y and n = x r the way back is ∂x = r (g − n · mean(g n)) and ∂w = Σ ∂y n over the rows.
    """

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, epsilon: float) -> Tensor:
        rows = hidden.reshape(-1, hidden.shape[-1])
        output, spread = torch.empty_like(rows), torch.empty(len(rows), 1)
        for start in range(0, len(rows), _ROWS):
            part = slice(start, start + _ROWS)
            exact = rows[part].float()
            torch.rsqrt(exact.square().mean(-1, keepdim=True) + epsilon, out=spread[part])
            torch.mul(weight, exact.mul_(spread[part]).to(hidden.dtype), out=output[part])
        ctx.save_for_backward(hidden, weight, spread)
        return output.view(hidden.shape)

    @staticmethod
    def backward(ctx: Any, *outputs: Tensor) -> tuple[Tensor | None, ...]:
        hidden, weight, spread = ctx.saved_tensors
        rows, slopes = (tensor.reshape(-1, hidden.shape[-1]) for tensor in (hidden, outputs[0]))
        of_hidden, of_weight = torch.empty_like(rows), torch.zeros(weight.shape)
        for start in range(0, len(rows), _ROWS):
            part = slice(start, start + _ROWS)
            normed = rows[part].float().mul_(spread[part])
            slope = slopes[part].float()
            of_weight += (slope * normed).sum(0)
            slope *= weight
            slope.addcmul_(normed, (slope * normed).mean(-1, keepdim=True), value=-1)
            of_hidden[part] = slope.mul_(spread[part])
        return of_hidden.view(hidden.shape), of_weight.to(weight.dtype), None
