"""Closed forms against scipy, statsmodels and cases worked by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar as reference_mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint

from epigone.compare.curves import equivalence, slope_per_doubling
from epigone.compare.draws import Draws, Undefined
from epigone.compare.family import holm
from epigone.compare.gap import fieller, gap_closed
from epigone.compare.intervals import beta_interval, clustered_se, mean_interval, wilson
from epigone.compare.paired import mcnemar, paired_difference


@pytest.mark.parametrize(("successes", "n"), [(0, 20), (7, 20), (20, 20), (63, 164), (1, 1)])
def test_wilson_is_statsmodels_wilson(successes: int, n: int) -> None:
    found = wilson(successes, n)
    low, high = proportion_confint(successes, n, method="wilson")
    assert found == pytest.approx((successes / n, low, high), abs=1e-12)


@pytest.mark.parametrize(("successes", "n"), [(0, 20), (7, 20), (20, 20)])
def test_the_beta_interval_is_the_posterior_under_a_uniform_prior(successes: int, n: int) -> None:
    low, high = stats.beta(successes + 1, n - successes + 1).interval(0.9)
    assert beta_interval(successes, n, 0.9)[1:] == pytest.approx((low, high))


def test_shares_that_are_none_are_refused() -> None:
    for successes, n in ((1, 0), (-1, 3), (4, 3)):
        with pytest.raises(ValueError, match="is no share"):
            wilson(successes, n)
        with pytest.raises(ValueError, match="is no share"):
            beta_interval(successes, n)


def test_the_mean_has_scipys_t_interval() -> None:
    values = np.random.default_rng(0).normal(size=30)
    low, high = stats.t.interval(0.95, 29, loc=values.mean(), scale=stats.sem(values))
    assert mean_interval(values) == pytest.approx((values.mean(), low, high))


def test_clusters_of_one_item_change_nothing() -> None:
    values = np.random.default_rng(1).normal(size=25)
    assert clustered_se(values, np.arange(25)) == pytest.approx(clustered_se(values))


def test_the_clustered_error_is_millers_sum_worked_by_hand() -> None:
    # Clusters (1, 1) and (0, 0): residuals ±0.5, cluster sums ±1, Σ = 2; √(2/1 · 2)/4 = 0.5: one bit a cluster.
    values, clusters = np.array([1.0, 1.0, 0.0, 0.0]), np.array([7, 7, 9, 9])
    assert clustered_se(values, clusters) == pytest.approx(0.5)
    assert clustered_se(values, np.array([7, 7, 7, 7])) is None


def test_one_value_or_one_cluster_has_no_interval() -> None:
    assert mean_interval(np.array([3.0])) == (3.0, None, None)
    assert mean_interval(np.array([3.0, 4.0]), np.array([1, 1])) == (3.5, None, None)


def test_items_that_all_say_the_same_have_no_interval() -> None:
    same = np.full(30, 0.4)
    assert mean_interval(same) == pytest.approx((0.4, None, None))
    assert paired_difference(same, same) == (0.0, None, None)
    constant = Draws(0.0, np.zeros(500), 30, 30, 30)
    assert constant.interval(0.95) == (0.0, None, None)
    assert constant.p_not_above(-1.0) == constant.p_not_below(1.0) == 1.0
    assert not equivalence(constant, 0.1).equivalent
    # A gap without spread is a gap: every item right for the teacher, none for the base.
    closed = gap_closed(np.zeros(30), (np.arange(30) < 9).astype(float), np.ones(30), seed=0)
    assert isinstance(closed, Draws) and closed.value == pytest.approx(0.3)
    nothing = gap_closed(same, same, same, seed=0)
    assert isinstance(nothing, Undefined) and "do not differ on any item" in nothing.reason


def test_the_paired_difference_is_the_paired_t_test() -> None:
    rng = np.random.default_rng(2)
    first, second = rng.normal(size=(2, 40))
    interval = stats.ttest_rel(first, second).confidence_interval(0.95)
    assert paired_difference(first, second)[1:] == pytest.approx((interval.low, interval.high))


@pytest.mark.parametrize("flips", [3, 60])
def test_mcnemar_is_statsmodels_mcnemar(flips: int) -> None:
    rng = np.random.default_rng(flips)
    first = (rng.random(300) < 0.6).astype(float)
    second = first.copy()
    changed = rng.choice(300, flips * 2, replace=False)
    second[changed] = 1 - second[changed]
    table = [[np.sum((first == a) & (second == b)) for b in (1, 0)] for a in (1, 0)]
    found = mcnemar(first, second)
    exact = flips * 2 < 25
    assert found.exact is exact
    assert found.p_value == pytest.approx(reference_mcnemar(table, exact=exact, correction=True).pvalue)


def test_mcnemar_needs_right_and_wrong() -> None:
    with pytest.raises(ValueError, match="0 and 1"):
        mcnemar(np.array([0.5]), np.array([1.0]))
    assert mcnemar(np.ones(5), np.ones(5)).p_value == 1.0


def test_holm_is_statsmodels_holm() -> None:
    p_values = {"a": 0.01, "b": 0.04, "c": 0.03, "d": 0.005, "e": 0.5}
    expected = multipletests(list(p_values.values()), method="holm")[1]
    assert list({key: holm(p_values)[key] for key in p_values}.values()) == pytest.approx(list(expected))


def test_fieller_solves_its_own_inequality() -> None:
    rng = np.random.default_rng(3)
    base = rng.normal(0.2, 0.3, 80)
    teacher, student = base + rng.normal(0.5, 0.3, 80), base + rng.normal(0.2, 0.3, 80)
    found = fieller(base, student, teacher)
    assert found.kind == "between"
    for g in (found.low, found.high):  # at the ends the paired t statistic of d_S − g d_T is exactly the critical value
        t = stats.ttest_1samp((student - base) - g * (teacher - base), 0).statistic
        assert abs(t) == pytest.approx(stats.t.ppf(0.975, 79))
    boot = gap_closed(base, student, teacher, seed=0, resamples=4000)
    assert isinstance(boot, Draws)
    _, low, high = boot.interval(0.95)
    assert (low, high) == pytest.approx((found.low, found.high), abs=0.03)


def test_fieller_says_when_there_is_no_interval() -> None:
    rng = np.random.default_rng(4)
    base, student, teacher = rng.normal(size=(3, 30))
    assert fieller(base, student, teacher).kind in ("outside", "everything")
    assert fieller(base, base + 1 + rng.normal(size=30) * 0.1, teacher).kind == "outside"


def test_the_slope_is_least_squares_on_doublings() -> None:
    levels = [Draws(value, np.array([value, 2 * value]), 10, 10, 10) for value in (0.1, 0.3, 0.35)]
    slope = slope_per_doubling([10, 20, 80], levels)
    assert slope.value == pytest.approx(stats.linregress([0, 1, 3], [0.1, 0.3, 0.35]).slope)
    assert slope.draws[1] == pytest.approx(2 * slope.value)
    with pytest.raises(ValueError, match="two different positive"):
        slope_per_doubling([10, 10], levels[:2])


def test_flatness_needs_evidence() -> None:
    rng = np.random.default_rng(5)
    sharp = Draws(0.0, rng.normal(0, 0.01, 4000), 100, 100, 100)
    vague = Draws(0.0, rng.normal(0, 0.10, 4000), 100, 100, 100)
    assert equivalence(sharp, 0.03).equivalent
    assert not equivalence(vague, 0.03).equivalent
    # A normal estimate 1 standard error inside the margin: p = P(z > 1) = 0.159.
    near = Draws(0.02, rng.normal(0.02, 0.01, 100_000), 100, 100, 100)
    assert equivalence(near, 0.03).p_value == pytest.approx(0.159, abs=0.005)
