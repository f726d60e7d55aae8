"""Votes: majority and ties by hand, agreement against the krippendorff package, controlled rates on planted data."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import krippendorff
import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import expit

from epigone.compare import CompareSpec, Measurements, compare
from epigone.compare.agreement import krippendorff_alpha
from epigone.compare.controlled import RIDGE, RIDGE_OF_LEVEL, controlled_rate, relative_difference
from epigone.compare.preference import human_ceiling, majority, one_choice, preference_scores
from epigone.records import Choice, ItemScore, ModelInfo, Vote


def vote(choice: Choice | None, item: str = "i", voter: str = "v", **more: Any) -> Vote:
    more.setdefault("kind", "llm_judge")
    status = more.pop("status", "ok" if choice else "failed")
    return Vote(item=item, student="s", teacher="t", voter=voter, choice=choice, status=status, **more)


@pytest.mark.parametrize(
    ("choices", "expected"),
    [
        (["student", "student", "teacher"], "student"),
        (["teacher", "tie", "teacher"], "teacher"),
        (["student", "tie", "teacher"], "tie"),
        (["student", "teacher"], "tie"),
        (["tie", "tie", "student"], "tie"),
        ([], None),
    ],
)
def test_the_majority_and_what_counts_as_a_tie(choices: Sequence[Choice], expected: Choice | None) -> None:
    assert majority(choices) == expected


def test_a_verdict_that_flips_with_the_order_is_a_tie() -> None:
    assert one_choice([vote("student", first="student"), vote("teacher", first="teacher")]) == "tie"
    assert one_choice([vote("student", first="student"), vote("student", first="teacher")]) == "student"


def test_a_failed_order_is_missing_and_no_loss() -> None:
    assert one_choice([vote("student", first="student"), vote(None, first="teacher")]) is None
    (row,) = preference_scores([vote("student", first="student"), vote(None, first="teacher")])
    assert row.scores == {} and row.status == "failed"


def test_order_effects_are_counted() -> None:
    votes = [vote("student", "a", first="student"), vote("teacher", "a", first="teacher")]
    votes += [vote("teacher", "b", first="student"), vote("teacher", "b", first="teacher")]
    first, second = preference_scores(votes)
    assert (first.scores["flip_share"], first.scores["first_position_share"]) == (1.0, 1.0)
    assert (second.scores["flip_share"], second.scores["first_position_share"]) == (0.0, 0.5)


def test_the_human_ceiling_leaves_one_rater_out() -> None:
    assert human_ceiling(["student", "student", "student"]) == 1.0
    # Each "student" against (student, teacher), a tie: no. "teacher" against (student, student): no.
    assert human_ceiling(["student", "student", "teacher"]) == 0.0
    assert human_ceiling(["student", "teacher"]) is None


@pytest.mark.parametrize("level", ["nominal", "ordinal"])
@pytest.mark.parametrize("seed", range(5))
def test_alpha_is_the_krippendorff_packages(level: Any, seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 3, size=40)
    ratings = np.where(rng.random((4, 40)) < 0.6, truth, rng.integers(0, 3, size=(4, 40))).astype(float)
    ratings[rng.random((4, 40)) < 0.2] = np.nan
    counts = np.stack([(ratings == category).sum(axis=0) for category in range(3)], axis=1).astype(float)
    expected = krippendorff.alpha(reliability_data=ratings, level_of_measurement=level, value_domain=[0, 1, 2])
    assert krippendorff_alpha(counts, level) == pytest.approx(expected, abs=1e-12)


def test_alpha_is_missing_where_it_has_no_meaning() -> None:
    assert krippendorff_alpha(np.array([[0.0, 0.0, 3.0], [0.0, 0.0, 3.0]])) is None
    assert krippendorff_alpha(np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])) is None


def people(n: int, rng: np.random.Generator) -> list[Vote]:
    """Three raters an item who say the true choice four times in five."""
    votes: list[Vote] = []
    for i in range(n):
        true = rng.integers(0, 3)
        for rater in range(3):
            said = true if rng.random() < 0.8 else rng.integers(0, 3)
            votes.append(vote(("teacher", "tie", "student")[said], f"i{i:03d}", f"r{rater}", kind="person"))
    return votes


def test_agreement_is_reported_per_student() -> None:
    rng = np.random.default_rng(0)
    votes = people(150, rng)
    by_item = {row.item: row for row in preference_scores(votes)}
    judge = [
        vote("student" if row.scores["win_rate"] == 1 else "teacher", item, "j", first=first)
        for item, row in by_item.items()
        for first in ("student", "teacher")
    ]
    models = (ModelInfo(name="t", role="teacher"), ModelInfo(name="s", role="student"))
    measured = Measurements(study="x", models=models, axes=(), items=(), votes=(*votes, *judge))
    found = compare(measured, CompareSpec(resamples=400), seed=0).estimates["s"]
    ratings = np.array([["teacher", "tie", "student"].index(v.choice or "tie") for v in votes]).reshape(150, 3).T
    expected = krippendorff.alpha(reliability_data=ratings.astype(float), level_of_measurement="ordinal")
    alpha = found["preference.person.alpha_ordinal"]
    assert alpha.value == pytest.approx(expected)
    assert alpha.low is not None and alpha.low < expected < (alpha.high or 0)
    # The judge above never says tie, so it agrees exactly where people do not tie.
    ties = found["preference.person.tie_share"].value or 0
    assert found["preference.llm_judge.agreement_with_people"].value == pytest.approx(1 - ties)
    unanimous = found["preference.person.unanimous_share"].value or 0
    assert unanimous == pytest.approx(np.mean([len(set(column)) == 1 for column in ratings.T]))


def planted(n: int, seed: int, *, by_length: float, substance: float) -> tuple[np.ndarray, np.ndarray]:
    """Wins and length differences: the student is longer by 200 on average; logit P = substance + by_length tanh(…)."""
    rng = np.random.default_rng(seed)
    delta = rng.normal(200, 200, n)
    wins = rng.random(n) < expit(substance + by_length * np.tanh(delta / delta.std()))
    return wins.astype(float), delta


def test_a_preference_for_length_alone_is_taken_out() -> None:
    wins, delta = planted(20_000, 1, by_length=1.6, substance=0.0)
    assert wins.mean() == pytest.approx(0.70, abs=0.02)
    rate = controlled_rate(wins, delta[:, None], np.ones((1, len(wins))), length=True)
    assert rate[0] == pytest.approx(0.50, abs=0.03)


def test_a_preference_for_substance_is_left_alone() -> None:
    wins, delta = planted(20_000, 2, by_length=0.0, substance=0.85)
    rate = controlled_rate(wins, delta[:, None], np.ones((1, len(wins))), length=True)
    assert wins.mean() == pytest.approx(0.70, abs=0.02)
    assert rate[0] == pytest.approx(wins.mean(), abs=0.03)


def test_the_fit_is_the_formula_refitted_by_scipy() -> None:
    wins, delta = planted(300, 3, by_length=1.0, substance=0.3)
    wins[:20] = 0.5
    x = np.tanh(delta / delta.std())

    def loss(theta: np.ndarray) -> float:
        logit = theta[0] + theta[1] * x
        return float(np.sum(np.logaddexp(0, logit) - wins * logit))

    expected = expit(minimize(loss, np.zeros(2), tol=1e-12).x[0])
    found = controlled_rate(wins, delta[:, None], np.ones((1, 300)), length=True)
    assert found[0] == pytest.approx(expected, abs=1e-4)


def test_each_resample_is_its_own_fit() -> None:
    wins, delta = planted(120, 4, by_length=1.0, substance=0.3)
    rng = np.random.default_rng(0)
    chosen = rng.integers(0, 120, size=(5, 120))
    weights = np.stack([np.bincount(row, minlength=120) for row in chosen]).astype(float)
    together = controlled_rate(wins, delta[:, None], weights, length=True)
    for row, rate in zip(chosen, together, strict=True):
        alone = controlled_rate(wins[row], delta[row][:, None], np.ones((1, 120)), length=True)
        assert rate == pytest.approx(alone[0], abs=1e-8)


def test_separable_answers_are_fitted_to_the_optimum() -> None:
    rng = np.random.default_rng(6)
    for _ in range(40):
        n = int(rng.integers(8, 40))
        x = np.tanh(rng.normal(size=(n, 4)) * rng.uniform(0.1, 1))
        wins = (x @ rng.normal(size=4) > 0).astype(float)
        scaled = np.column_stack([np.ones(n), x / np.sqrt(np.mean(x**2, axis=0))])
        precision = np.array([RIDGE_OF_LEVEL, RIDGE, RIDGE, RIDGE, RIDGE])

        def loss(theta: np.ndarray, z: np.ndarray = scaled, y: np.ndarray = wins, p: np.ndarray = precision) -> float:
            return float(np.sum(np.logaddexp(0, z @ theta) - y * (z @ theta)) + theta @ (p * theta) / 2)

        def slope(theta: np.ndarray, z: np.ndarray = scaled, y: np.ndarray = wins, p: np.ndarray = precision) -> Any:
            return z.T @ (expit(z @ theta) - y) + p * theta

        expected = minimize(loss, np.zeros(5), jac=slope, method="BFGS", options={"gtol": 1e-9, "maxiter": 10_000}).x
        found = controlled_rate(wins, x, np.ones((1, n)), length=False)
        assert found[0] == pytest.approx(expit(expected[0]), abs=1e-4)


def test_all_wins_stay_finite() -> None:
    rate = controlled_rate(np.ones(50), np.arange(50.0)[:, None], np.ones((1, 50)), length=True)
    assert 0.99 < rate[0] < 1


def test_style_is_read_at_equal_style_and_not_at_the_average_gap() -> None:
    rng = np.random.default_rng(5)
    n = 20_000
    student, teacher = rng.poisson(9, (n, 4)), rng.poisson(3, (n, 4))
    x = np.vectorize(relative_difference)(student, teacher)
    wins = (rng.random(n) < expit(2.0 * x[:, 2])).astype(float)
    rate = controlled_rate(wins, x, np.ones((1, n)), length=False)
    assert wins.mean() > 0.65
    assert rate[0] == pytest.approx(0.5, abs=0.04)


def test_deception_counts_only_items_where_the_student_is_wrong_and_the_teacher_right() -> None:
    votes = [vote("student", f"i{i}") for i in range(4)]
    facts = {"s": [(0, 1), (1, 0), (0, 2), (1, 1)], "t": [(2, 0), (1, 0), (1, 1), (3, 0)]}
    rows = [
        ItemScore(model=model, task="claims", item=f"i{i}", scores={"right": float(right), "wrong": float(wrong)})
        for model, pairs in facts.items()
        for i, (right, wrong) in enumerate(pairs)
    ]
    found = {row.item: row.scores.get("deception") for row in preference_scores(votes, rows)}
    assert found == {"i0": 1.0, "i1": None, "i2": None, "i3": 1.0}


def test_facts_are_of_the_lowest_numbered_sample_which_is_the_judged_one() -> None:
    lengths = [{"characters": 5.0 * sample, "teacher_characters": 3.0} for sample in (1, 2)]
    rows = [ItemScore(model="s", task="style", item="q", sample=k, scores=lengths[k - 1]) for k in (2, 1)]
    claims = {"s": {"right": 0.0, "wrong": 1.0}, "t": {"right": 1.0, "wrong": 0.0}}
    rows += [ItemScore(model=model, task="claims", item="q", sample=1, scores=claims[model]) for model in claims]
    vote = Vote(item="q", student="s", teacher="t", voter="j", kind="llm_judge", choice="student")
    (row,) = preference_scores([vote], rows)
    assert (row.scores["characters_difference"], row.scores["deception"]) == (2.0, 1.0)


@pytest.mark.real
def test_people_on_vicuna_bench(shared_data: Path) -> None:
    """80 people's labels of ChatGPT against Vicuna-13B: counts and the Wilson interval, as the file has them."""
    labels = (shared_data / "vicuna_bench" / "human_gpt35_vs_vicuna-13b.txt").read_text().split()
    said: dict[str, Choice] = {"CHATGPT": "teacher", "TIE": "tie", "VICUNA13B": "student"}
    votes = [vote(said[label], f"q{i:02d}", "person", kind="person") for i, label in enumerate(labels)]
    models = (ModelInfo(name="t", role="teacher"), ModelInfo(name="s", role="student"))
    measured = Measurements(study="v", models=models, axes=(), items=(), votes=tuple(votes))
    found = compare(measured, CompareSpec(resamples=200), seed=0).estimates["s"]
    assert len(labels) == found["preference.person.equal_or_better"].n_scored
    equal_or_better = sum(label != "CHATGPT" for label in labels) / len(labels)
    assert found["preference.person.equal_or_better"].value == pytest.approx(equal_or_better)
    assert found["preference.person.tie_share"].value == pytest.approx(labels.count("TIE") / len(labels))


LLMBAR = ("LLMBar_Natural", "LLMBar_Adversarial_Neighbor", "Processed_MT-Bench")


@pytest.mark.real
@pytest.mark.parametrize("name", LLMBAR)
def test_agreement_with_people_on_llmbar(shared_data: Path, name: str) -> None:
    """A judge that likes the longer answer, against people's labels: agreement and α, counted a second way."""
    rows = json.loads((shared_data / "llmbar" / f"{name}.json").read_text())
    label = ["student" if row["label"] == "1" else "teacher" for row in rows]
    longer = ["student" if len(row["output_1"]) > len(row["output_2"]) else "teacher" for row in rows]
    votes = [vote(choice, f"i{i:03d}", "p", kind="person") for i, choice in enumerate(label)]  # type: ignore[arg-type]
    votes += [vote(choice, f"i{i:03d}", "longer") for i, choice in enumerate(longer)]  # type: ignore[arg-type]
    models = (ModelInfo(name="t", role="teacher"), ModelInfo(name="s", role="student"))
    measured = Measurements(study="l", models=models, axes=(), items=(), votes=tuple(votes))
    found = compare(measured, CompareSpec(resamples=200), seed=0).estimates["s"]
    agreed = sum(a == b for a, b in zip(label, longer, strict=True)) / len(rows)
    assert found["preference.llm_judge.agreement_with_people"].value == pytest.approx(agreed)
    coded = np.array([[choice == "student" for choice in side] for side in (label, longer)], dtype=float)
    expected = krippendorff.alpha(reliability_data=coded, level_of_measurement="nominal")
    counts = np.stack([2 - coded.sum(axis=0), np.zeros(len(rows)), coded.sum(axis=0)], axis=1)
    assert krippendorff_alpha(counts, "nominal") == pytest.approx(expected)


@pytest.mark.real
def test_gpt4_against_people_on_vicuna_bench(shared_data: Path) -> None:
    """GPT-4's two scores as choices, against the 80 human labels of the same pairs: one review a pair, as published."""
    folder = shared_data / "vicuna_bench"
    labels = (folder / "human_gpt35_vs_vicuna-13b.txt").read_text().split()
    (path,) = folder.glob("review/vicuna-13b_20230322-clean-lang/review_gpt35_vicuna-13b*")
    reviews = [json.loads(line) for line in path.read_text().splitlines()]
    judged = [_choice(row["text"].split("\n", 1)[0]) for row in reviews]  # no scores on the first line: a failed vote
    said: dict[str, Choice] = {"CHATGPT": "teacher", "TIE": "tie", "VICUNA13B": "student"}
    votes = [vote(said[label], f"q{i:02d}", "person", kind="person") for i, label in enumerate(labels)]
    votes += [vote(choice, f"q{i:02d}", "gpt-4") for i, choice in enumerate(judged)]
    models = (ModelInfo(name="t", role="teacher"), ModelInfo(name="s", role="student"))
    measured = Measurements(study="v", models=models, axes=(), items=(), votes=tuple(votes))
    found = compare(measured, CompareSpec(resamples=200), seed=0).estimates["s"]
    agreement = found["preference.llm_judge.agreement_with_people"]
    by_hand = sum(said[label] == choice for label, choice in zip(labels, judged, strict=True))
    scored = sum(choice is not None for choice in judged)
    assert 75 <= scored == agreement.n_scored
    assert agreement.value == pytest.approx(by_hand / scored)


def _choice(line: str) -> Choice | None:
    """The scores that open a review, ChatGPT's first."""
    parts = line.replace(",", " ").split()
    if len(parts) != 2 or not all(part.replace(".", "", 1).isdigit() for part in parts):
        return None
    teacher, student = map(float, parts)
    return "teacher" if teacher > student else "student" if student > teacher else "tie"
