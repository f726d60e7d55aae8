"""Each optimizer, step by step, against its formula in float64; the schedule against numbers worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from epigone.train.optimizers import build_optimizer
from epigone.train.schedule import learning_rate, warmup_steps, warmup_warning
from epigone.train.spec import TrainSpec
from epigone.train.weights import Weights

STEPS = 12
RATES = [0.01 * (step + 1) for step in range(STEPS)]


def reference_adamw(weights: np.ndarray, gradients: list[np.ndarray], decay: float, scaled: bool) -> list[np.ndarray]:
    first, second, epsilon = 0.9, 0.95, 1e-8
    mean = np.zeros_like(weights)
    square = np.zeros_like(weights)
    path = []
    for step, (gradient, rate) in enumerate(zip(gradients, RATES, strict=True), 1):
        mean = first * mean + (1 - first) * gradient
        square = second * square + (1 - second) * gradient**2
        direction = (mean / (1 - first**step)) / (np.sqrt(square / (1 - second**step)) + epsilon)
        scale = max(math.sqrt((weights**2).mean()), 1e-3) if scaled else 1.0
        weights = weights - rate * (scale * direction + decay * weights)
        path.append(weights)
    return path


def reference_adafactor(weights: np.ndarray, gradients: list[np.ndarray], decay: float) -> list[np.ndarray]:
    square = np.zeros_like(weights)
    momentum = np.zeros_like(weights)
    path = []
    for step, (gradient, rate) in enumerate(zip(gradients, RATES, strict=True), 1):
        keep = 1 - step**-0.95
        square = keep * square + (1 - keep) * (gradient**2 + 1e-30)
        scaled = rate * max(math.sqrt((weights**2).mean()), 1e-3) * gradient / np.sqrt(square)
        momentum = 0.9 * momentum + 0.1 * scaled
        weights = weights - momentum - rate * decay * weights
        path.append(weights)
    return path


@pytest.mark.parametrize("name", ["adamw", "parameter_scaled_adamw", "parameter_scaled_adafactor"])
@pytest.mark.parametrize("shape", [(5, 7), (9,)], ids=["matrix", "vector"])
@pytest.mark.parametrize("size", [1.0, 0.0], ids=["ordinary", "zero"])
def test_each_step_is_the_formula(name: str, shape: tuple[int, ...], size: float) -> None:
    draw = np.random.default_rng(3)
    start = size * draw.normal(size=shape)
    gradients = [draw.normal(size=shape) for _ in range(STEPS)]
    decay = 0.1
    applied = decay if len(shape) == 2 else 0.0  # vectors do not decay
    if name == "parameter_scaled_adafactor":
        expected = reference_adafactor(start, gradients, applied)
    else:
        expected = reference_adamw(start, gradients, applied, scaled=name != "adamw")
    weight = torch.nn.Parameter(torch.tensor(start, dtype=torch.float32))
    optimizer = build_optimizer(TrainSpec(optimizer=name, weight_decay=decay), [("layer.weight", weight)])
    for gradient, rate, wanted in zip(gradients, RATES, expected, strict=True):
        weight.grad = torch.tensor(gradient, dtype=torch.float32)
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.step()
        np.testing.assert_allclose(weight.detach().numpy(), wanted, rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize("name", ["model.embed_tokens", "gpt_neox.embed_in", "transformer.wte", "transformer.wpe"])
def test_embeddings_decay_only_when_asked(name: str) -> None:
    table = torch.nn.Parameter(torch.ones(3, 2))
    for asked, decay in ((False, 0.0), (True, 0.1)):
        spec = TrainSpec(weight_decay=0.1, decay_embeddings=asked)
        (group,) = build_optimizer(spec, [(f"{name}.weight", table)]).param_groups
        assert group["weight_decay"] == decay


def test_clipping_scales_all_gradients_to_the_bound_together() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(1, 1), torch.nn.Linear(1, 1, bias=False))
    weights = Weights(model, torch.float32)
    for weight, slope in zip(model.parameters(), (3.0, 0.0, 4.0), strict=True):
        weight.grad = torch.full_like(weight, slope)
    assert float(weights.clip(1.0)) == pytest.approx(5.0)
    assert [float(weight.grad) for weight in model.parameters()] == pytest.approx([0.6, 0.0, 0.8])
    assert float(weights.clip(2.0)) == pytest.approx(1.0)  # below the bound: left alone
    assert [float(weight.grad) for weight in model.parameters()] == pytest.approx([0.6, 0.0, 0.8])


def test_schedules_by_hand() -> None:
    def rates(**settings: object) -> list[float]:
        spec = TrainSpec(peak_lr=1.0, final_lr_share=0.0, **settings)
        return [round(learning_rate(spec, step, 6), 4) for step in range(6)]

    assert rates(schedule="constant", warmup_steps=2) == [0.5, 1, 1, 1, 1, 1]
    assert rates(schedule="linear", warmup_steps=2) == [0.5, 1, 0.75, 0.5, 0.25, 0]
    assert rates(schedule="cosine", warmup_steps=2) == [0.5, 1, 0.8536, 0.5, 0.1464, 0]
    assert rates(schedule="constant", warmup_share=0.5) == [0.3333, 0.6667, 1, 1, 1, 1]


def test_a_rise_longer_than_the_training_is_warned_of() -> None:
    paper = TrainSpec(warmup_steps=1000, peak_lr=2e-3)
    assert warmup_steps(paper, 305) == 1000
    warning = warmup_warning(paper, 305)
    assert warning is not None and "1000 of 305 steps" in warning and "0.00061 of 0.002" in warning
    assert warmup_warning(paper, 5000) is None
    assert warmup_warning(TrainSpec(), 10) is None
