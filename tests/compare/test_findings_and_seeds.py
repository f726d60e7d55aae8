"""Verdicts by hand-made draws, the arithmetic of draws, seeds, people's votes, arms, the public surface."""

from __future__ import annotations

from types import ModuleType

import msgspec
import numpy as np
import pytest

import epigone.compare as room
from epigone.compare import CompareSpec, HypothesesSpec, Measurements, compare
from epigone.compare.arms import Cast
from epigone.compare.draws import Draws, Undefined, difference, generator, mean_of, pool_seeds, seed_noise
from epigone.compare.findings import Condition, Hypothesis, judge_findings
from epigone.compare.gap import ratio
from epigone.compare.raters import RATE_OF_CHOICE, two_way_rates
from epigone.errors import DataError
from epigone.records import ModelInfo, Vote


def normal(mean: float, se: float, seed: int = 0) -> Draws:
    draws = np.random.default_rng(seed).normal(mean, se, 2000)
    return Draws(mean, draws, 1000, 1000, 1000)


def verdicts(*hypotheses: Hypothesis) -> list[str]:
    return [finding.verdict for finding in judge_findings(hypotheses, 0.95)]


def hypothesis(key: str, *conditions: Condition) -> Hypothesis:
    return Hypothesis(key, "text", "rule", conditions)


def test_a_conjunction_is_supported_only_by_all_of_its_parts() -> None:
    yes = Condition("a", normal(0.1, 0.01), "above", 0.0)
    vague = Condition("b", normal(0.01, 0.1), "above", 0.0)
    no = Condition("c", normal(-0.1, 0.01), "above", 0.0)
    unknown = Condition("d", Undefined("not measured"), "above", 0.0)
    assert verdicts(hypothesis("h", yes, yes)) == ["supported"]
    assert verdicts(hypothesis("h", yes, vague)) == ["undecided"]
    assert verdicts(hypothesis("h", yes, no)) == ["not_supported"]
    assert verdicts(hypothesis("h", yes, unknown)) == ["undecided"]
    assert verdicts(hypothesis("h", no, unknown)) == ["not_supported"]
    assert verdicts(hypothesis("h")) == ["undecided"]


def test_flatness_is_shown_only_inside_the_margin() -> None:
    def flat(quantity: Draws) -> str:
        below = Condition("x", quantity, "below", 0.1)
        return verdicts(hypothesis("h", below, Condition("x", quantity, "above", -0.1)))[0]

    assert flat(normal(0.0, 0.02)) == "supported"
    assert flat(normal(0.0, 0.2)) == "undecided"
    assert flat(normal(0.3, 0.02)) == "not_supported"


def test_holm_makes_the_family_stricter_than_one_test() -> None:
    # z = 2.2: one-sided p about 0.014, below 0.025 alone and above 0.025 / 6.
    edge = Condition("edge", normal(0.22, 0.1), "above", 0.0)
    vague = Condition("vague", normal(0.0, 0.1), "above", 0.0)
    assert verdicts(hypothesis("h", edge)) == ["supported"]
    others = [hypothesis(f"h{i}", vague) for i in range(5)]
    assert verdicts(hypothesis("h", edge), *others)[0] == "undecided"


def test_evidence_names_threshold_estimate_and_reason() -> None:
    found = judge_findings(
        [
            hypothesis(
                "h", Condition("gain", normal(0.1, 0.01), "above", 0.03), Condition("b", Undefined("why"), "above", 0)
            )
        ],
        0.95,
    )[0]
    assert found.evidence[0].startswith("gain: wanted > 0.03; 0.1 [0.08")
    assert found.evidence[1] == "b: wanted > 0; why"
    assert found.estimates["b"].method == "why"


def test_capability_that_rises_is_not_called_flat(planted: ModuleType) -> None:
    measured = planted.measurements(items=100, prompts=20)
    lifted = tuple(
        msgspec.structs.replace(row, scores=dict.fromkeys(row.scores, 1.0))
        if "/broad-640k" in row.model and row.task in ("qa", "choice", "words")
        else row
        for row in measured.items
    )
    found = compare(msgspec.structs.replace(measured, items=lifted), CompareSpec(resamples=1000), seed=0)
    verdict = {finding.key: finding.verdict for finding in found.findings}
    assert verdict["broad_leaves_capability_flat"] == "not_supported"
    assert verdict["base_beats_data"] == "not_supported"


def test_margins_are_settings(planted: ModuleType) -> None:
    measured = planted.measurements(items=60, prompts=30)
    strict = CompareSpec(resamples=300, hypotheses=HypothesesSpec(flat_margin=0.0001, style_closed_above=0.99))
    verdict = {f.key: f.verdict for f in compare(measured, strict, seed=0).findings}
    assert verdict["broad_leaves_capability_flat"] == "undecided"
    assert verdict["style_approaches_ceiling"] != "supported"


def test_an_axis_without_a_gap_is_left_out_of_the_headline_and_named(planted: ModuleType) -> None:
    study = planted.measurements(items=80, prompts=40, only="l")
    flat = tuple(
        msgspec.structs.replace(row, scores={"accuracy": 1.0}) if row.task == "words" else row for row in study.items
    )
    headline = compare(msgspec.structs.replace(study, items=flat), CompareSpec(resamples=200), seed=0).headline
    assert headline["capability_closed"].value is not None
    method = headline["capability_closed"].method
    assert "words.accuracy: no ratio: base and teacher do not differ on any item" in method
    assert "words" not in method.split("left out")[0]


def test_an_axis_with_an_uncertain_gap_has_its_ratio_and_enters_no_mean(planted: ModuleType) -> None:
    """choice.accuracy is given a gap of about three standard errors: enough for a ratio of its own, not for a mean."""
    study = planted.measurements(items=400, prompts=40, only="l")
    rng = np.random.default_rng(5)
    levels = {"teacher": 0.60, "l": 0.50}
    rows = tuple(
        msgspec.structs.replace(row, scores={"accuracy": float(rng.random() < levels.get(row.model, 0.55))})
        if row.task == "choice"
        else row
        for row in study.items
    )
    results = compare(msgspec.structs.replace(study, items=rows), CompareSpec(resamples=400), seed=0)
    arm = results.headline_models[0]
    assert results.gap_closed[arm]["choice.accuracy"].value is not None
    entered, left_out = results.headline["capability_closed"].method.split("left out")
    assert "qa.exact_match" in entered
    assert "choice.accuracy" not in entered
    assert "is less than 2 times as large as its error" in left_out


def test_what_the_student_did_decides_no_axis(planted: ModuleType) -> None:
    """Base and teacher as they are, students wholly wrong or wholly right: the same axes enter."""
    study = planted.measurements(items=200, prompts=40, only="l")
    students = {model.name for model in study.models if model.role == "student"}
    entered = []
    for score in (0.0, 1.0):
        rows = tuple(
            msgspec.structs.replace(row, scores=dict.fromkeys(row.scores, score))
            if row.model in students and row.task in ("qa", "choice", "words")
            else row
            for row in study.items
        )
        results = compare(msgspec.structs.replace(study, items=rows), CompareSpec(resamples=200), seed=0)
        entered.append(results.headline["capability_closed"].method.split(" (left out")[0].split(";")[0])
    assert entered[0] == entered[1]
    assert "qa.exact_match" in entered[0]


def test_a_draw_without_a_gap_lies_beyond_the_end_it_came_from() -> None:
    """Estimate 1/2. Draws: gap 1, gain ½ (½); gap 0, gain ½ (towards +∞); gap −0.1, gain −1 (towards −∞)."""
    gains, gaps = np.array([0.5, 0.5, -1.0] + [0.5] * 297), np.array([1.0, 0.0, -0.1] + [1.0] * 297)
    student = Draws(0.5, gains, 300, 300, 300)
    base = Draws(0.0, np.zeros(300), 300, 300, 300)
    teacher = Draws(1.0, gaps, 300, 300, 300)
    found = ratio(student, base, teacher, 0.95)
    assert isinstance(found, Draws)
    assert found.value == 0.5
    assert found.draws[0] == 0.5
    assert found.draws[1] > 1e3
    assert found.draws[2] < -1e3
    mirrored = ratio(student.scaled(-1.0), base, teacher.scaled(-1.0), 0.95)
    assert isinstance(mirrored, Draws)
    assert np.array_equal(mirrored.draws, found.draws)


def test_draws_keep_their_covariance() -> None:
    one, two = normal(0.5, 0.1, seed=1), normal(0.3, 0.1, seed=1)
    gap = difference(one, two)
    assert gap.value == pytest.approx(0.2)
    assert np.ptp(gap.draws) < 1e-9  # the same resamples: their common error cancels
    assert mean_of([one, two]).n_scored == 2000


def test_seed_noise_has_the_spread_of_a_t_distribution() -> None:
    values = np.array([0.1, 0.2, 0.6])
    draws = seed_noise(3, 200_000, generator(0, "noise")) @ values / (values.std(ddof=1) / np.sqrt(3))
    assert np.quantile(np.abs(draws), 0.95) == pytest.approx(4.303, rel=0.03)  # t with 2 degrees of freedom


def test_seeds_that_agree_add_nothing() -> None:
    parts = [normal(0.5, 0.1, seed=1)] * 3
    pooled = pool_seeds(parts, seed_noise(3, 2000, generator(0, "noise")))
    np.testing.assert_allclose(pooled.draws, parts[0].draws)
    assert pooled.seed_values is not None and pooled.n_total == 3000


def test_one_rater_who_is_always_there_changes_nothing() -> None:
    votes = np.array([[2.0], [0.0], [1.0]])
    worth = np.array(RATE_OF_CHOICE["win_rate"])
    counts = np.array([[1, 1, 1], [3, 0, 0], [0, 1, 2]])
    rates = two_way_rates(votes, worth, counts, np.ones((3, 1), dtype=np.int64))
    assert rates.tolist() == [0.5, 1.0, pytest.approx(1 / 3)]


def test_resampled_raters_can_turn_a_majority() -> None:
    votes = np.array([[2.0, 2.0, 0.0]])
    worth = np.array(RATE_OF_CHOICE["equal_or_better"])
    raters = np.array([[1, 1, 1], [0, 0, 3], [1, 0, 1], [0, 0, 0]])
    rates = two_way_rates(votes, worth, np.ones((4, 1), dtype=np.int64), raters)
    assert rates[:3].tolist() == [1.0, 0.0, 1.0]  # 1-1 is a tie, and a tie is equal or better
    assert np.isnan(rates[3])


def test_raters_who_disagree_as_persons_widen_the_interval() -> None:
    rng = np.random.default_rng(0)

    def width(leaning: float) -> float:
        votes = []
        for i in range(100):
            for rater in range(6):
                lean = leaning * (1 if rater % 2 else -1)
                choice = "student" if rng.random() < 0.5 + lean else "teacher"
                votes.append(
                    Vote(item=f"i{i:03d}", student="s", teacher="t", voter=f"r{rater}", kind="person", choice=choice)  # type: ignore[arg-type]
                )
        models = (ModelInfo(name="t", role="teacher"), ModelInfo(name="s", role="student"))
        study = Measurements(study="r", models=models, axes=(), items=(), votes=tuple(votes))
        found = compare(study, CompareSpec(resamples=400), seed=0).estimates["s"]["preference.person.win_rate"]
        assert "raters resampled" in found.method
        return (found.high or 0) - (found.low or 0)

    assert width(0.45) > 1.3 * width(0.0)


def student(name: str, **more: object) -> ModelInfo:
    return ModelInfo(name=name, role="student", base="b", data="d", data_kind="broad", amount_tokens=10, **more)  # type: ignore[arg-type]


BASE = ModelInfo(name="b", role="base")


def test_arms_that_cannot_be_are_named() -> None:
    with pytest.raises(DataError, match="same seed"):
        Cast([BASE, student("x", seed=1), student("y", seed=1)])
    with pytest.raises(DataError, match="named twice"):
        Cast([BASE, BASE])
    with pytest.raises(DataError, match="several models have the role 'teacher'"):
        Cast([ModelInfo(name="t", role="teacher"), ModelInfo(name="u", role="teacher")])
    with pytest.raises(DataError, match="base 'b' is not among the models"):
        Cast([student("x")])


def test_seeds_make_one_arm_and_replay_another() -> None:
    cast = Cast([BASE, student("x", seed=1), student("y", seed=0), student("z", seed=0, replay=0.25)])
    assert {arm.info.name: arm.members for arm in cast.arms} == {"b/d-10": ("y", "x"), "z": ("z",)}
    assert [arm.info.name for arm in cast.broad_arms("b")] == ["b/d-10"]


def test_the_public_surface() -> None:
    assert room.__all__ == sorted(room.__all__, key=lambda name: (name != "RESULTS_FORMAT", name[0].islower(), name))
    assert len(room.__all__) == 24
    for name in room.__all__:
        assert getattr(room, name) is not None
