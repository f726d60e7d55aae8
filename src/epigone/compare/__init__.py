"""Scores and votes to estimates: intervals, gap closed, win rates, agreement, curves, hypothesis tests.

:func:`compare` makes a whole ``results.json``; the functions on arrays stand beside it.
"""

from epigone.compare.agreement import krippendorff_alpha
from epigone.compare.axes import preference_axes, style_axes
from epigone.compare.comparison import RESULTS_FORMAT, CompareSpec, compare
from epigone.compare.controlled import controlled_rate
from epigone.compare.curves import equivalence, slope_per_doubling
from epigone.compare.draws import Draws, Undefined
from epigone.compare.family import holm
from epigone.compare.gap import fieller, gap_closed
from epigone.compare.hypotheses import HypothesesSpec
from epigone.compare.intervals import beta_interval, clustered_se, mean_interval, wilson
from epigone.compare.measurements import Measurements
from epigone.compare.paired import mcnemar, paired_difference
from epigone.compare.preference import human_ceiling, majority

__all__ = [
    "RESULTS_FORMAT",
    "CompareSpec",
    "Draws",
    "HypothesesSpec",
    "Measurements",
    "Undefined",
    "beta_interval",
    "clustered_se",
    "compare",
    "controlled_rate",
    "equivalence",
    "fieller",
    "gap_closed",
    "holm",
    "human_ceiling",
    "krippendorff_alpha",
    "majority",
    "mcnemar",
    "mean_interval",
    "paired_difference",
    "preference_axes",
    "slope_per_doubling",
    "style_axes",
    "wilson",
]
