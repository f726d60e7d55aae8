"""Whether imitation helps most where its data supports the item: a rank correlation over items, with its interval."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from scipy.stats import spearmanr

from epigone.compare import CompareSpec, Measurements, compare
from epigone.records import Axis, Estimate, ItemScore, ItemSupport, ModelInfo

ITEMS = 240
AXES = (
    Axis(name="qa.right", label="QA", kind="capability", unit="share"),
    Axis(name="qa.slips", label="slips", kind="capability", unit="count", higher_is_better=False),
    Axis(name="other.right", label="other", kind="capability", unit="share"),
)
MODELS = (
    ModelInfo(name="teacher", role="teacher"),
    ModelInfo(name="base", role="base"),
    *(ModelInfo(name=f"base/near/s{seed}", role="student", base="base", data="near", data_kind="broad",
                amount_tokens=1, seed=seed) for seed in (0, 1)),
    ModelInfo(name="base/far/s0", role="student", base="base", data="far", data_kind="broad", amount_tokens=1, seed=0),
)  # fmt: skip


@pytest.fixture(scope="module")
def planted() -> tuple[Measurements, dict[str, np.ndarray], np.ndarray]:
    """On ``near`` a student gains by the item's support and noise; on ``far`` by noise alone."""
    draw = np.random.default_rng(0)
    support = draw.uniform(size=ITEMS)
    right = {model.name: draw.normal(size=ITEMS) for model in MODELS}
    for name in right:
        if "near" in name:
            right[name] = right["base"] + support + draw.normal(0, 0.3, ITEMS)
    rows = [
        ItemScore(model=name, task="qa", item=f"{number:03}", scores={"right": value, "slips": -value})
        for name, values in right.items()
        for number, value in enumerate(values.tolist())
    ]
    rows += [ItemScore(model=name, task="other", item="1", scores={"right": 1.0}) for name in right]
    kept = [
        ItemSupport(data=data, task="qa", item=f"{number:03}", value=value)
        for data in ("near", "far")
        for number, value in enumerate(support.tolist())
    ]
    measured = Measurements(study="s", models=MODELS, axes=AXES, items=tuple(rows), support=tuple(kept))
    return measured, right, support


@pytest.fixture(scope="module")
def found(planted: tuple[Measurements, dict[str, np.ndarray], np.ndarray]) -> dict[str, dict[str, Estimate]]:
    return compare(planted[0], CompareSpec(resamples=400), seed=0).gain_by_support


def test_it_is_spearman_s_correlation_of_the_mean_gain_with_support(
    found: dict[str, dict[str, Estimate]], planted: tuple[Measurements, dict[str, np.ndarray], np.ndarray]
) -> None:
    _, right, support = planted
    gain = (right["base/near/s0"] + right["base/near/s1"]) / 2 - right["base"]
    estimate = found["base/near"]["qa.right"]
    assert estimate.value == pytest.approx(spearmanr(gain, support).statistic, abs=1e-9)
    assert estimate.low is not None and 0.5 < estimate.low < estimate.value < (estimate.high or 0) <= 1
    assert (estimate.n_scored, estimate.n_total) == (ITEMS, ITEMS)


def test_better_is_positive_whatever_the_axis_counts(found: dict[str, dict[str, Estimate]]) -> None:
    assert found["base/near"]["qa.slips"].value == pytest.approx(found["base/near"]["qa.right"].value)


def test_where_support_makes_no_difference_the_interval_covers_zero(found: dict[str, dict[str, Estimate]]) -> None:
    estimate = found["base/far/s0"]["qa.right"]
    assert estimate.low is not None and estimate.high is not None
    assert estimate.low < 0 < estimate.high


def test_axes_without_support_are_absent_and_too_few_items_have_no_value(
    found: dict[str, dict[str, Estimate]], planted: tuple[Measurements, dict[str, np.ndarray], np.ndarray]
) -> None:
    assert set(found["base/near"]) == {"qa.right", "qa.slips"}
    few = msgspec.structs.replace(planted[0], support=planted[0].support[:5])
    (only,) = compare(few, CompareSpec(resamples=100), seed=0).gain_by_support.values()
    assert only["qa.right"].value is None
    assert only["qa.right"].method == "only 5 items have scores and support"
    without = msgspec.structs.replace(planted[0], support=())
    assert compare(without, CompareSpec(resamples=100), seed=0).gain_by_support == {}
