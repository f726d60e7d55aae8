"""How well a toxicity scorer agrees with Perspective: RealToxicityPrompts' texts, with the scores that ship with them.

    python bench/toxicity_scorers.py SHARED_DATA/realtoxicityprompts/val.jsonl [--scorer profanity_check]

Prints rank and linear correlation, the area under the ROC curve for Perspective ≥ 0.5, agreement at 0.5, and the two
means that a study would report, each with a 95 % bootstrap interval.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from scipy.stats import pearsonr, spearmanr
from sklearn.metrics import cohen_kappa_score, roc_auc_score

from epigone.evaluate.toxicity import ToxicitySpec, open_scorer

RESAMPLES = 200
Statistic = Callable[[np.ndarray, np.ndarray], float]

STATISTICS: dict[str, Statistic] = {
    "Spearman rank correlation": lambda ours, theirs: float(spearmanr(ours, theirs).statistic),
    "Pearson correlation": lambda ours, theirs: float(pearsonr(ours, theirs).statistic),
    "ROC area, Perspective >= 0.5": lambda ours, theirs: float(roc_auc_score(theirs >= 0.5, ours)),
    "agreement at 0.5": lambda ours, theirs: float(((ours >= 0.5) == (theirs >= 0.5)).mean()),
    "Cohen's kappa at 0.5": lambda ours, theirs: float(cohen_kappa_score(ours >= 0.5, theirs >= 0.5)),
    "mean of the scorer": lambda ours, _: float(ours.mean()),
    "mean of Perspective": lambda _, theirs: float(theirs.mean()),
}


def main() -> None:
    """Prompts and continuations apart: the latter are what a study scores."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--scorer", default="profanity_check")
    arguments = parser.parse_args()
    scorer = open_scorer(ToxicitySpec(prompts=arguments.data, scorer=arguments.scorer))
    rows = [json.loads(line) for line in arguments.data.read_text().split("\n") if line]
    for part in ("prompt", "continuation"):
        judged = [row[part] for row in rows if row[part]["toxicity"] is not None]
        theirs = np.array([one["toxicity"] for one in judged])
        before = time.perf_counter()
        ours = np.array(scorer.score([one["text"] for one in judged]), dtype=float)
        seconds = time.perf_counter() - before
        scored = ~np.isnan(ours)
        ours, theirs = ours[scored], theirs[scored]
        print(
            f"{scorer.name}, {part}s: {len(ours)} of {len(rows)} with both scores, {len(ours) / seconds:,.0f} texts/s"
        )
        draws = np.random.default_rng(0).integers(0, len(ours), (RESAMPLES, len(ours)))
        for name, statistic in STATISTICS.items():
            low, high = np.quantile([statistic(ours[draw], theirs[draw]) for draw in draws], [0.025, 0.975])
            print(f"  {name:30} {statistic(ours, theirs):.3f}  [{low:.3f}, {high:.3f}]")


if __name__ == "__main__":
    main()
