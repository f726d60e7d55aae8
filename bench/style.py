"""Style of five models on 805 prompts: rows, 2,000 resamples and classifiers at once, and whether cost grows linearly.

Run from the repository: ``python bench/style.py`` (needs AlpacaEval outputs beside the checkout). The peer is
``rouge-score``'s ROUGE-1 without stemming, of which our unigram overlap is the fast path.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from rouge_score.rouge_scorer import RougeScorer

from epigone.compare import CompareSpec, Measurements, compare, style_axes
from epigone.evaluate.outputs_file import read_outputs
from epigone.evaluate.style import classifier_auc, style_items, unigram_overlap
from epigone.records import ModelInfo, Output
from peer_ratio import print_ratio

DATA = Path(__file__).parents[2] / "shared" / "data" / "alpaca_eval_outputs"
OTHERS = ("alpaca-7b", "vicuna-13b", "text_davinci_003")


def measure(teacher: Sequence[Output], others: dict[str, Sequence[Output]]) -> tuple[float, float, float]:
    """Seconds for rows, for estimates with 2,000 resamples, for classifiers."""
    start = time.perf_counter()
    rows = [row for name, outputs in others.items() for row in style_items(teacher, outputs, model=name)]
    middle = time.perf_counter()
    models = (ModelInfo(name="t", role="teacher"), *(ModelInfo(name=name, role="student") for name in others))
    compare(Measurements(study="b", models=models, axes=style_axes(), items=tuple(rows)), CompareSpec(), seed=0)
    later = time.perf_counter()
    for outputs in others.values():
        classifier_auc(teacher, outputs, seed=0)
    return middle - start, later - middle, time.perf_counter() - later


def main() -> None:
    """Print a line for each size, then the ratio to rouge-score."""
    teacher = read_outputs(DATA / "gpt-3.5-turbo-0301.json")
    read = {name: read_outputs(DATA / f"{name}.json") for name in OTHERS}
    five = {**read, "vicuna again": read["vicuna-13b"], "alpaca again": read["alpaca-7b"]}
    measure(teacher[:50], {name: outputs[:50] for name, outputs in five.items()})  # imports, first calls
    for n in (200, 400, 805):
        parts = measure(teacher[:n], {name: outputs[:n] for name, outputs in five.items()})
        shown = ", ".join(
            f"{what} {s:.2f} s" for what, s in zip(("rows", "estimates", "classifiers"), parts, strict=True)
        )
        print(f"5 models x {n} items: {sum(parts):.2f} s ({shown})")
    pairs = [(a.response or "", b.response or "") for a, b in zip(teacher, read["vicuna-13b"], strict=True)]
    scorer = RougeScorer(["rouge1"], use_stemmer=False)
    start = time.perf_counter()
    theirs = [scorer.score(a, b)["rouge1"].fmeasure for a, b in pairs]
    middle = time.perf_counter()
    ours = [unigram_overlap(a, b) for a, b in pairs]
    end = time.perf_counter()
    print(f"unigram overlap of 805 pairs: {end - middle:.3f} s, rouge-score {middle - start:.3f} s: "
          f"{(middle - start) / (end - middle):.1f} times as fast; mean |difference| {np.mean(np.abs(np.subtract(ours, theirs))):.4f} (apostrophes, non-ASCII letters)")  # fmt: skip  # noqa: E501
    print_ratio([end - middle], [middle - start])


if __name__ == "__main__":
    main()
