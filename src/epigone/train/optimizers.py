"""The three optimizers: AdamW (torch's own) and the two whose update is scaled by each weight's magnitude."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from epigone.train.spec import TrainSpec

__all__ = ["ParameterScaledAdafactor", "ParameterScaledAdamW", "build_optimizer"]

_SMALLEST_SCALE = 1e-3
"""A weight whose root mean square is below this (a zero bias) is still moved as if it were this large."""


def build_optimizer(spec: TrainSpec, parameters: Iterable[tuple[str, Tensor]]) -> torch.optim.Optimizer:
    """The optimizer that ``spec`` names over (name, weight) pairs; only matrices decay, embeddings by choice."""
    decayed: list[Tensor] = []
    kept: list[Tensor] = []
    for name, weight in parameters:
        embedding = any(table in name for table in ("embed", "wte", "wpe"))  # GPT-2's tables of tokens and positions
        decays = weight.ndim >= 2 and (spec.decay_embeddings or not embedding)
        (decayed if decays else kept).append(weight)
    groups = [
        {"params": members, "weight_decay": decay}
        for members, decay in ((decayed, spec.weight_decay), (kept, 0.0))
        if members
    ]
    if spec.optimizer == "parameter_scaled_adafactor":
        return ParameterScaledAdafactor(groups, lr=spec.peak_lr)
    if spec.optimizer == "parameter_scaled_adamw":
        return ParameterScaledAdamW(groups, lr=spec.peak_lr, betas=spec.betas)
    return torch.optim.AdamW(groups, lr=spec.peak_lr, betas=spec.betas, eps=1e-8, fused=True)


class _Scaled(torch.optim.Optimizer):  # type: ignore[misc]
    """What the two have in common: one update a weight, in float32, scaled by ``max(RMS(W), 1e-3)``."""

    def step(self, closure: Callable[[], float] | None = None) -> None:
        """Update every weight that has a gradient."""
        assert closure is None
        with torch.no_grad():
            for group in self.param_groups:
                for weight in group["params"]:
                    if weight.grad is not None:
                        self._update(weight, weight.grad, group, self.state[weight])

    def _update(self, weight: Tensor, gradient: Tensor, group: dict[str, Any], state: dict[str, Any]) -> None:
        raise NotImplementedError


class ParameterScaledAdamW(_Scaled):
    """Adam's direction times the weight's own magnitude, with decoupled decay:

        m ← β₁m + (1 − β₁)g,  v ← β₂v + (1 − β₂)g²,
        W ← W − η · (max(RMS(W), 1e-3) · m̂ / (√v̂ + ε) + λW)

    with the usual bias corrections m̂ and v̂ (Kingma and Ba 2015; Loshchilov and Hutter 2019). The scale is that of
    Adafactor (Shazeer and Stern 2018, section 8), as PaLM (Chowdhery et al. 2022, section 5) applied it to Adam.
    """

    def __init__(
        self,
        params: Any,
        lr: float,
        betas: tuple[float, float] = (0.9, 0.95),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay})

    def _update(self, weight: Tensor, gradient: Tensor, group: dict[str, Any], state: dict[str, Any]) -> None:
        if not state:
            state.update(step=0, exp_avg=torch.zeros_like(weight), exp_avg_sq=torch.zeros_like(weight))
        state["step"] += 1
        first, second = group["betas"]
        mean, square = state["exp_avg"], state["exp_avg_sq"]
        mean.lerp_(gradient, 1 - first)
        square.mul_(second).addcmul_(gradient, gradient, value=1 - second)
        spread = (square / (1 - second ** state["step"])).sqrt_().add_(group["eps"])
        size = group["lr"] * _scale(weight) / (1 - first ** state["step"])
        direction = (mean / spread).mul_(size)
        weight.mul_(1 - group["lr"] * group["weight_decay"]).sub_(direction)


class ParameterScaledAdafactor(_Scaled):
    """What the paper's code ran: Adafactor without factoring, its momentum taken over the scaled update:

        v ← β₂ₜv + (1 − β₂ₜ)(g² + 1e-30) with β₂ₜ = 1 − t^(−0.95),
        m ← 0.9m + 0.1 · η · max(RMS(W), 1e-3) · g/√v,
        W ← W − m − ηλW

    (Shazeer and Stern 2018, arXiv 1804.04235, as optax chains its parts; t counts from 1, m is not bias-corrected. The
    decay is multiplied by η, as in the original, which decays vectors and embeddings as well.)
    """

    def __init__(
        self, params: Any, lr: float, momentum: float = 0.9, decay_power: float = 0.95, weight_decay: float = 0.0
    ) -> None:
        super().__init__(
            params, {"lr": lr, "momentum": momentum, "decay_power": decay_power, "weight_decay": weight_decay}
        )

    def _update(self, weight: Tensor, gradient: Tensor, group: dict[str, Any], state: dict[str, Any]) -> None:
        if not state:
            state.update(step=0, momentum=torch.zeros_like(weight), square=torch.zeros_like(weight))
        state["step"] += 1
        forget = state["step"] ** -group["decay_power"]
        square, momentum = state["square"], state["momentum"]
        square.lerp_(gradient.square().add_(1e-30), forget)
        scaled = gradient.mul(square.rsqrt()).mul_(group["lr"] * _scale(weight))
        momentum.lerp_(scaled, 1 - group["momentum"])
        weight.mul_(1 - group["lr"] * group["weight_decay"]).sub_(momentum)


def _scale(weight: Tensor) -> Tensor:
    """``max(RMS(W), 1e-3)`` as a number on the weight's device; over the whole of a sharded weight."""
    rms = weight.square().mean().sqrt()
    return rms.clamp_min(_SMALLEST_SCALE)
