"""Normalisation and extraction, on cases worked out by hand."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from rouge_score.rouge_scorer import RougeScorer

from epigone.errors import DataError
from epigone.evaluate.benchmarks.process import chosen_letter, closed_book, final_number, summary
from epigone.evaluate.benchmarks.text_match import (
    contains_answer,
    exact_match,
    last_number,
    marked_number,
    mentioned_letter,
    normalize_answer,
    stated_letter,
    token_f1,
)


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("The Beatles", "beatles"),
        ("an  Apple, a Day!", "apple day"),
        ("U.S.A.", "usa"),
        ("Theatre", "theatre"),
        ("14 December 1972", "14 december 1972"),
        ("rock-and-roll", "rockandroll"),
    ],
)
def test_squad_normalisation(text: str, normal: str) -> None:
    assert normalize_answer(text) == normal


def test_two_encodings_of_an_accent_are_one_answer_but_the_strict_score_wants_the_accent() -> None:
    composed, decomposed = "Bront\u00eb", "Bronte\u0308"
    assert exact_match(composed, [decomposed]) == 1.0
    assert exact_match("Bronte", [composed]) == 0.0
    assert contains_answer("It was Emily Bronte.", [composed]) == 1.0


def test_any_alias_counts_and_words_match_whole() -> None:
    aliases = ["December 1972", "14 December 1972 UTC"]
    assert exact_match("december, 1972", aliases) == 1.0
    assert exact_match("1972", aliases) == 0.0
    assert contains_answer("I believe it was in December 1972, on Apollo 17.", aliases) == 1.0
    assert contains_answer("There were 112 of them", ["11"]) == 0.0
    assert contains_answer("anything", ["the"]) == 0.0
    assert token_f1("Emily Bronte", ["Emily Jane Bronte", "Bronte"]) == pytest.approx(0.8)


@pytest.mark.parametrize(
    ("answer", "marked", "last"),
    [
        ("She pays $1,234.00", None, "1234.00"),
        ("It fell by 12%", None, "12"),
        ("The change is -7 degrees", None, "-7"),
        ("#### \N{MINUS SIGN}3", "-3", "-3"),
        ("First 3, then 4.\n#### 7", "7", "7"),
        ("#### $1,000\nThat was 2 steps", "1000", "2"),
        ("The answer is 18 dollars.", "18", "18"),
        ("The final answer: -0.5", "-0.5", "-0.5"),
        ("no number at all", None, None),
        ("the answer is unknown", None, None),
        ("rooms 3-4 are 12", None, "12"),
        ("covid-19", None, "19"),
        ("so 5 - 8 = -3", None, "-3"),
        ("The answer is 5. No: the answer is 6.", "6", "6"),
    ],
)
def test_numbers_are_read_as_numbers(answer: str, marked: str | None, last: str | None) -> None:
    assert marked_number(answer) == (None if marked is None else Decimal(marked))
    assert last_number(answer) == (None if last is None else Decimal(last))


def test_a_word_problem_is_right_by_value_and_an_answer_without_a_number_is_wrong() -> None:
    item = {"answer": "48/2 = <<48/2=24>>24\n#### 1,072"}
    assert final_number(item, ["… #### 1072.00"]) == {"exact_match": 1.0, "lenient_match": 1.0}
    assert final_number(item, ["That makes 1072 clips"]) == {"exact_match": 0.0, "lenient_match": 1.0}
    assert final_number(item, ["I cannot say"]) == {"exact_match": 0.0, "lenient_match": 0.0}
    assert final_number.reference(item) == "1072"
    with pytest.raises(DataError, match="holds no number"):
        final_number({"answer": "none"}, ["1"])


@pytest.mark.parametrize(
    ("answer", "stated", "mentioned"),
    [
        ("B", "B", "B"),
        (" (C) because", "C", "C"),
        ("**D**. It is", "D", "D"),
        ("The answer is (A).", None, "A"),
        ("The correct answer would be B", None, "B"),
        ("A good question. The answer is C", "A", "C"),
        ("Between A and B, hard to say", None, None),
        ("I'd go with D!", None, "D"),
        ("Because", None, None),
    ],
)
def test_letters(answer: str, stated: str | None, mentioned: str | None) -> None:
    assert stated_letter(answer) == stated
    assert mentioned_letter(answer) == mentioned


def test_an_item_may_give_its_letter_as_index() -> None:
    assert chosen_letter({"answer": 1}, ["(B)"]) == {"exact_match": 1.0, "lenient_match": 1.0}
    assert chosen_letter({"answer": "B"}, ["the answer is B"]) == {"exact_match": 0.0, "lenient_match": 1.0}


def test_rouge_is_that_of_the_rouge_score_package() -> None:
    reference, answer = "A water park and a hotel were refused.", "The council refused the hotel and its water parks."
    expected = RougeScorer(["rouge1", "rouge2", "rougeL"], use_stemmer=True).score(reference, answer)
    scores = summary({"summary": reference}, [f" {answer}\n"])
    assert {name: scores[name] for name in expected} == {name: one.fmeasure for name, one in expected.items()}
    assert scores["rouge1_recall"] == expected["rouge1"].recall
    assert summary({"answers": ["x y", reference]}, [reference])["rougeL"] == 1.0


def test_an_item_without_an_answer_says_which_columns_it_has() -> None:
    with pytest.raises(DataError, match="its columns are question, reply"):
        closed_book({"question": "?", "reply": "x"}, ["x"])


def rows(path: Path, count: int) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().split("\n")[:count] if line]


@pytest.mark.real
def test_the_golds_of_the_real_data_are_right_as_their_own_answers(shared_data: Path) -> None:
    for item in rows(shared_data / "gsm8k" / "test.jsonl", 1319):
        assert final_number(item, [item["answer"]]) == {"exact_match": 1.0, "lenient_match": 1.0}
    for item in rows(shared_data / "nq_open" / "NQ-open.dev.jsonl", 3610):
        for alias in item["answer"]:
            scores = closed_book(item, [alias])
            assert scores["exact_match"] == scores["f1"] == scores["harness_exact_match"] == 1.0, item
            assert scores["contains"] == 1.0 or not normalize_answer(alias), item
    for item in rows(shared_data / "mmlu" / "test.jsonl", 14042):
        letter = "ABCD"[item["answer"]]
        assert chosen_letter(item, [letter])["exact_match"] == 1.0
        assert chosen_letter(item, [f"The answer is ({letter})."])["lenient_match"] == 1.0
