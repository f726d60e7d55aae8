"""Scores and votes to estimates: intervals, gap closed, win rates, agreement, curves, hypothesis tests."""

from epigone.compare.axes import preference_axes, style_axes
from epigone.compare.comparison import RESULTS_FORMAT, CompareSpec, compare
from epigone.compare.hypotheses import HypothesesSpec
from epigone.compare.measurements import Measurements

__all__ = [
    "RESULTS_FORMAT",
    "CompareSpec",
    "HypothesesSpec",
    "Measurements",
    "compare",
    "preference_axes",
    "style_axes",
]
