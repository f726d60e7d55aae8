"""How long the estimates take: 805 items × 5 models × every style metric × 2,000 resamples, and growth with items.

    python bench/compare.py

Rows are drawn, not measured: only their number matters here. The style axes are those of ``epigone style``.
"""

from __future__ import annotations

import time

import numpy as np

from epigone.compare import CompareSpec, Measurements, compare, style_axes
from epigone.records import ItemScore, ModelInfo, ModelRole


def measurements(items: int, students: int) -> Measurements:
    """A teacher, its second sample, a base and some students, with every style metric on every item."""
    rng = np.random.default_rng(0)
    roles: list[tuple[str, ModelRole]] = [("second", "teacher_second_sample"), ("base", "base")]
    roles += [(f"student{i}", "student") for i in range(students)]
    infos = [ModelInfo(name="teacher", role="teacher")]
    infos += [
        ModelInfo(name=name, role=role, base="base", data_kind="broad")
        if role == "student"
        else ModelInfo(name=name, role=role)
        for name, role in roles
    ]
    metrics = [axis.name.removeprefix("style.") for axis in style_axes() if "correlation" not in axis.name]
    metrics += ["length_tokens", "teacher_length_tokens", "length_rank", "teacher_length_rank"]
    drawn = rng.random((len(roles), items, len(metrics))).tolist()
    rows = [
        ItemScore(model=name, task="style", item=f"i{i}", scores=dict(zip(metrics, scores, strict=True)))
        for (name, _), by_item in zip(roles, drawn, strict=True)
        for i, scores in enumerate(by_item)
    ]
    return Measurements(study="bench", models=tuple(infos), axes=style_axes(), items=tuple(rows))


def main() -> None:
    spec = CompareSpec(resamples=2000)
    for items in (400, 805, 1610, 3220):
        measured = measurements(items, students=3)
        start = time.perf_counter()
        cpu = time.process_time()
        compare(measured, spec, seed=0)
        print(
            f"{items:5d} items × 5 models × {len(style_axes())} style axes × {spec.resamples} resamples: "
            f"{time.perf_counter() - start:5.1f} s wall, {time.process_time() - cpu:5.1f} s CPU"
        )


if __name__ == "__main__":
    main()
