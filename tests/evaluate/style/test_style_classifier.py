"""The classifier's AUC: formula against scikit-learn, coverage by simulation, planted and absent differences."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from epigone.evaluate.style import classifier_auc
from epigone.evaluate.style.classifier import auc_interval
from epigone.records import Output

WORDS = ("the", "red", "fox", "may", "run", "over", "hills", "and", "see", "many", "small", "birds", "by", "lakes")


def answers(seed: int, *, closing: str = "", n: int = 150) -> list[Output]:
    rng = np.random.default_rng(seed)
    return [
        Output(id=str(k), prompt="", response=" ".join(rng.choice(WORDS, size=rng.integers(20, 60))) + "." + closing)
        for k in range(n)
    ]


def test_auc_equals_scikit_learn_with_ties() -> None:
    rng = np.random.default_rng(0)
    positive, negative = rng.integers(0, 6, 80) + 1.0, rng.integers(0, 6, 80) * 1.0
    label = np.repeat([1, 0], 80)
    expected = roc_auc_score(label, np.concatenate([positive, negative]))
    assert auc_interval(positive, negative)[0] == pytest.approx(expected)


def test_the_interval_covers_the_truth_also_when_a_prompts_two_scores_go_together() -> None:
    """Both scores share the prompt's part, variance ½ of 1; Φ(1/√2) is P(positive > negative) for unit variances."""
    rng = np.random.default_rng(1)
    truth, covered, runs = 0.7602499389065233, 0, 1000
    for _ in range(runs):
        shared = rng.normal(size=100) * np.sqrt(0.5)
        positive = 1 + shared + rng.normal(size=100) * np.sqrt(0.5)
        negative = shared + rng.normal(size=100) * np.sqrt(0.5)
        _, low, high = auc_interval(positive, negative)
        assert low is not None
        assert high is not None
        covered += low <= truth <= high
    assert 0.93 <= covered / runs <= 0.97


def test_two_samples_of_one_manner_are_indistinguishable_and_a_formula_gives_the_student_away() -> None:
    teacher, twin = answers(1), answers(2)
    same = classifier_auc(teacher, twin, seed=0).auc
    assert same.low is not None
    assert same.high is not None
    assert same.low < 0.5 < same.high
    told = classifier_auc(teacher, answers(3, closing=" Enjoy!"), seed=0)
    assert told.auc.value is not None
    assert told.auc.value > 0.99
    assert dict(told.telling)["closing_formula"] == 1.0
    assert (told.auc.n_scored, told.auc.n_total) == (150, 150)


def test_too_few_prompts_give_no_number_and_missing_answers_are_counted() -> None:
    few = classifier_auc(answers(1, n=10), answers(2, n=10), seed=0).auc
    assert few.value is None
    assert "fewer than 20" in few.method
    missing = [Output(id=o.id, prompt="", response=None if int(o.id) < 50 else o.response) for o in answers(2)]
    assert classifier_auc(answers(1), missing, seed=0).auc.n_scored == 100
