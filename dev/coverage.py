"""Do the intervals cover? Simulated data with known truth, 2,000 runs a row; writes docs/results/coverage.md.

    python dev/coverage.py [--runs 2000] [--out docs/results/coverage.md]

Nominal 95 % has to cover 93–97 %. A ratio that is refused (the gap's interval covers 0) counts in its own column.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from epigone.compare.draws import (
    Draws,
    Undefined,
    difference,
    generator,
    mean_of,
    pool_seeds,
    resample_counts,
    seed_noise,
)
from epigone.compare.gap import fieller, gap_closed, ratio, too_weak_to_average
from epigone.compare.intervals import FloatArray, mean_interval, wilson
from epigone.compare.paired import paired_difference

Outcome = tuple[float | None, float | None]  # low, high; None: no interval
Simulation = Callable[[np.random.Generator, int], Outcome]
RESAMPLES = 1000


def three(rng: np.random.Generator, n: int, levels: tuple[float, float, float], *, binary: bool) -> list[FloatArray]:
    """Base, student, teacher on n items of common difficulty: binary, or graded in (0, 1)."""
    difficulty = rng.normal(size=n)
    latent = [(difficulty + rng.normal(size=n)) / np.sqrt(2) for _ in levels]
    if binary:
        from scipy.stats import norm

        return [(x < norm.ppf(level)).astype(float) for x, level in zip(latent, levels, strict=True)]
    return [level + 0.15 * x for x, level in zip(latent, levels, strict=True)]


def share(rng: np.random.Generator, n: int) -> Outcome:
    return wilson(int(rng.binomial(n, 0.2)), n)[1:]


def graded_mean(rng: np.random.Generator, n: int) -> Outcome:
    return mean_interval(rng.beta(2, 5, size=n))[1:]


def clustered_mean(rng: np.random.Generator, n: int) -> Outcome:
    clusters = np.repeat(np.arange(n // 5), 5)
    return mean_interval(0.3 + rng.normal(size=n // 5)[clusters] * 0.1 + rng.normal(size=n) * 0.1, clusters)[1:]


def bootstrap_mean(rng: np.random.Generator, n: int) -> Outcome:
    values = rng.beta(2, 5, size=n)
    counts = resample_counts(n, RESAMPLES, rng)
    return Draws(float(values.mean()), counts @ values / n, n, n, n).interval(0.95)[1:]


def binary_difference(rng: np.random.Generator, n: int) -> Outcome:
    base, student, _ = three(rng, n, (0.3, 0.45, 0.8), binary=True)
    return paired_difference(student, base)[1:]


def binary_ratio(rng: np.random.Generator, n: int) -> Outcome:
    return _ratio(rng, n, binary=True)


def graded_ratio(rng: np.random.Generator, n: int) -> Outcome:
    return _ratio(rng, n, binary=False)


def fieller_ratio(rng: np.random.Generator, n: int) -> Outcome:
    found = fieller(*three(rng, n, (0.3, 0.45, 0.8), binary=True))
    return (found.low, found.high) if found.kind == "between" else (None, None)


def _ratio(rng: np.random.Generator, n: int, *, binary: bool) -> Outcome:
    base, student, teacher = three(rng, n, (0.3, 0.45, 0.8), binary=binary)
    found = gap_closed(base, student, teacher, seed=int(rng.integers(2**31)), resamples=RESAMPLES)
    return (None, None) if isinstance(found, Undefined) else found.interval(0.95)[1:]


def mean_closed(rng: np.random.Generator, n: int) -> Outcome:
    """Five axes, each with items of its own: three with a clear gap, one without any, one whose gap is about four
    standard errors at n = 200, so that it is in some runs' means and not in others'. A run's truth is the mean over the
    axes that entered; the interval is given relative to it."""
    levels = ((0.1, 0.6, 0.9), (0.2, 0.45, 0.7), (0.4, 0.6, 0.8), (0.5, 0.55, 0.5), (0.3, 0.4, 0.47))
    ratios, truths = [], []
    for number, axis in enumerate(levels):
        counts = resample_counts(n, RESAMPLES, rng) / n
        scores = three(rng, n, axis, binary=number != 2)
        base, student, teacher = (Draws(float(x.mean()), counts @ x, n, n, n) for x in scores)
        found = ratio(student, base, teacher, 0.95)
        if isinstance(found, Draws) and too_weak_to_average(base, teacher, 0.95) is None:
            ratios.append(found)
            truths.append((axis[1] - axis[0]) / (axis[2] - axis[0]))
    if not ratios:
        return None, None
    low, high = mean_of(ratios).interval(0.95)[1:]
    truth = float(np.mean(truths))
    return (None, None) if low is None or high is None else (low - truth, high - truth)


def three_seeds(rng: np.random.Generator, n: int) -> Outcome:
    """Three training seeds of one arm (sd between seeds 0.04) against their base, binary items."""
    from scipy.stats import norm

    difficulty = rng.normal(size=n)

    def answers(level: float) -> FloatArray:
        return ((difficulty + rng.normal(size=n)) / np.sqrt(2) < norm.ppf(level)).astype(float)

    counts = resample_counts(n, RESAMPLES, rng) / n
    seeds, base = [answers(0.45 + 0.04 * rng.normal()) for _ in range(3)], answers(0.3)
    parts = [Draws(float(x.mean()), counts @ x, n, n, n) for x in seeds]
    arm = pool_seeds(parts, seed_noise(3, RESAMPLES, rng))
    return difference(arm, Draws(float(base.mean()), counts @ base, n, n, n)).interval(0.95)[1:]


ROWS: dict[str, tuple[Simulation, float]] = {
    "share 0.2, Wilson": (share, 0.2),
    "graded mean, t": (graded_mean, 2 / 7),
    "graded mean, bootstrap": (bootstrap_mean, 2 / 7),
    "clustered mean (clusters of 5), t": (clustered_mean, 0.3),
    "paired difference, binary": (binary_difference, 0.15),
    "gap closed, binary, bootstrap": (binary_ratio, 0.3),
    "gap closed, graded, bootstrap": (graded_ratio, 0.3),
    "gap closed, binary, Fieller": (fieller_ratio, 0.3),
    "mean gap closed, axes with a firm gap": (mean_closed, 0.0),
    "three seeds − base, binary, nested bootstrap": (three_seeds, 0.15),
}


def coverage(simulate: Simulation, truth: float, n: int, runs: int, seed: int) -> tuple[float, float]:
    """(share of the intervals that hold ``truth``, share of runs without an interval)."""
    rng = generator(seed, simulate.__name__, str(n))
    held, missing = 0, 0
    for _ in range(runs):
        low, high = simulate(rng, n)
        if low is None or high is None:
            missing += 1
        else:
            held += low <= truth <= high
    return held / max(1, runs - missing), missing / runs


def table(runs: int, seed: int, only: str = "") -> Iterator[str]:
    yield "| estimate | n = 50 | n = 200 | n = 1,000 |"
    yield "| --- | --- | --- | --- |"
    for name, (simulate, truth) in ROWS.items():
        if only not in name:
            continue
        cells = []
        for n in (50, 200, 1000):
            held, missing = coverage(simulate, truth, n, runs, seed)
            cells.append(f"{100 * held:.1f}" + (f" ({100 * missing:.1f} % refused)" if missing else ""))
        yield f"| {name} | {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("docs/results/coverage.md"))
    parser.add_argument("--only", help="rows whose name holds this; printed, not written")
    options = parser.parse_args()
    if options.only:
        print("\n".join(table(options.runs, options.seed, options.only)))
        return
    start = time.perf_counter()
    lines = list(table(options.runs, options.seed))
    head = [
        "# Do the intervals cover?",
        "",
        f"`python dev/coverage.py --runs {options.runs} --seed {options.seed}`: {options.runs:,} simulated data sets a "
        f"cell, {RESAMPLES:,} resamples each.",
        "How often the 95 % interval held the truth, in per cent; the simulation's own standard error is "
        f"{100 * (0.95 * 0.05 / options.runs) ** 0.5:.1f} points.",
        f"It took {time.perf_counter() - start:.0f} s on one busy core.",
        "",
    ]
    options.out.write_text("\n".join([*head, *lines, ""]))
    print("\n".join(lines))


if __name__ == "__main__":
    main()
