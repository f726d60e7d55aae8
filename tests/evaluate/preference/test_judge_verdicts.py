"""Judges' replies are read as stated, or not at all."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from epigone.evaluate.preference import parse_choice, parse_two_scores

# Two published records whose stored score is not what the review says (review id: stored, stated); read: as stated.
MISRECORDED = {
    "57H8uDw5kYEX2wFgvY8BN8": ([10, 2], (10.0, 4.0)),
    "ZgNXGB9wziYPnGFjqLzqVH": ([10, 2], (10.0, 4.0)),
}
# Totals over 80 questions as the Vicuna blog of March 2023 published them.
PUBLISHED = {
    "review_llama-13b_vicuna-13b": (513, 694),
    "review_alpaca-13b_vicuna-13b": (583, 704),
    "review_bard_vicuna-13b": (664, 655.5),
    "review_gpt35_vicuna-13b": (693, 638),
}


def test_every_published_review_is_read_as_its_text_states(shared_data: Path) -> None:
    rows = [
        json.loads(line)
        for file in sorted((shared_data / "vicuna_bench" / "review").glob("*/*.jsonl"))
        for line in file.read_text().splitlines()
    ]
    other = {
        row["review_id"]: (row["score"], parse_two_scores(row["text"]))
        for row in rows
        if parse_two_scores(row["text"]) != tuple(row["score"])
    }
    assert len(rows) == 1040
    assert other == MISRECORDED


@pytest.mark.parametrize("name", PUBLISHED)
def test_totals_are_those_of_the_vicuna_blog(shared_data: Path, name: str) -> None:
    file = shared_data / "vicuna_bench" / "review" / "vicuna-13b_20230322-clean-lang" / f"{name}.jsonl"
    first = second = 0.0
    for line in file.read_text().splitlines():
        row = json.loads(line)
        scores = parse_two_scores(row["text"])
        assert scores is not None
        if row["review_id"] in MISRECORDED:  # the blog added up the record, not the review
            scores = tuple(MISRECORDED[row["review_id"]][0])
        first, second = first + scores[0], second + scores[1]
    assert (first, second) == PUBLISHED[name]


@pytest.mark.parametrize(
    ("reply", "scores"),
    [
        ("9 8.5\nBoth are good.", (9, 8.5)),
        ("\n\n  7, 8  \n", (7, 8)),
        ("8.5/10, 7", (8.5, 7)),
        ("8/10 7/10", (8, 7)),
        ("**9 | 7**", (9, 7)),
        ("Scores: 6 and 7", (6, 7)),
        ("(8, 9)", (8, 9)),
        ("8 9\nAssistant 1: 1\nAssistant 2: 10", (8, 9)),
        ("I solved it: the points are (1, 2).\n\nScores:\nAssistant 1: 10 (right)\nAssistant 2: 4/10", (10, 4)),
        ("f(2) = 39.\nThe tuple output is (1, 4).", (1, 4)),
        ("Both are good answers.", None),
        ("11 3", None),
        ("9", None),
        ("9 8 7", None),
        ("The points are (2, -2) and (10, 4).", None),
        ("In 2023 there were 8 9 cases", None),
        ("", None),
    ],
)
def test_two_scores(reply: str, scores: tuple[float, float] | None) -> None:
    assert parse_two_scores(reply) == scores


@pytest.mark.parametrize(
    ("reply", "position"),
    [
        ("1", 1),
        ("2\nIt is complete.", 2),
        ("same", 0),
        ("**Same.**", 0),
        ("Answer 2", 2),
        ("Answer 1 is better.", 1),
        ("My verdict: 2", 2),
        ("They differ a lot.\nVerdict: [[1]]", 1),
        ("They differ.\nVerdict: 1\nNo: verdict: 2", None),
        ("I prefer the one with 2 examples.", None),
        ("1 or 2", None),
        ("3", None),
        ("", None),
    ],
)
def test_choices(reply: str, position: int | None) -> None:
    assert parse_choice(reply) == position
