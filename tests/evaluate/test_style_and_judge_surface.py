"""What the two rooms offer, and that texts made to stall a reader do not."""

from __future__ import annotations

import time

import pytest

from epigone.evaluate import preference, style


def test_the_public_names_are_these() -> None:
    assert style.__all__ == [
        "StyleClassifier",
        "StyleFeatures",
        "classifier_auc",
        "count_words_and_marks",
        "shuffled_teacher",
        "split_teacher",
        "style_features",
        "style_items",
        "unigram_jaccard",
        "unigram_overlap",
    ]
    assert preference.__all__ == [
        "AttackEffect",
        "JudgePlan",
        "JudgeSpec",
        "Pair",
        "attack_judge",
        "judge_pairs",
        "judge_tone",
        "make_pairs",
        "parse_choice",
        "parse_two_scores",
        "plan_attacks",
        "plan_judging",
        "plan_tone",
        "score_answers",
        "tone_judge",
    ]
    for room in (style, preference):
        assert all(hasattr(room, name) for name in room.__all__)


@pytest.mark.parametrize("unit", ["*", "**a", "__a", "!", "1. ", "\n", "- a\n", ".)", "```\n", "Assistant 1: ", "("])
def test_a_hostile_text_is_read_in_linear_time(unit: str) -> None:
    text = unit * 10_000
    start = time.process_time()
    style.style_features(text)
    preference.parse_choice(text)
    preference.parse_two_scores(text)
    assert time.process_time() - start < 3.0
