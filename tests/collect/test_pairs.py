"""Reading seeds, parsing a teacher's list of pairs, and when two questions count as the same."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from epigone.collect import PairFormat, QuestionAnswer, normalise_question, parse_pairs, read_seeds
from epigone.errors import DataError
from epigone.specs import parse_spec


def test_pairs_on_two_lines_are_read_and_chat_around_them_is_not() -> None:
    reply = (
        "Sure! Here are more:\n\nQ: who wrote dracula\nA: Bram Stoker\nQ: capital of peru\nA: Lima\n\nHope this helps!"
    )
    pairs, malformed = parse_pairs(reply, PairFormat())
    assert pairs == [QuestionAnswer("who wrote dracula", "Bram Stoker"), QuestionAnswer("capital of peru", "Lima")]
    assert malformed == []


@pytest.mark.parametrize(
    "reply",
    [
        "Q: who wrote dracula A: Bram Stoker Q: capital of peru A: Lima",
        "1. Q: who wrote dracula\n   A: Bram Stoker\n2. Q: capital of peru\n   A: Lima",
        "- **Q:** who wrote dracula\n- **A:** Bram Stoker\n- **Q:** capital of peru\n- **A:** Lima",
        "**Q: who wrote dracula**\nA: Bram Stoker\n\n**Q: capital of peru**\nA: Lima",
        "q: who wrote dracula\r\na: Bram Stoker\r\nq: capital of peru\r\na: Lima",
    ],
)
def test_common_ways_of_writing_the_list_are_understood(reply: str) -> None:
    pairs, malformed = parse_pairs(reply, PairFormat())
    assert pairs == [QuestionAnswer("who wrote dracula", "Bram Stoker"), QuestionAnswer("capital of peru", "Lima")]
    assert malformed == []


@pytest.mark.parametrize(
    ("reply", "reasons"),
    [
        ("I cannot help with that.", ["no_pairs"]),
        ("A: Lima\nQ: who\nA: Bram Stoker", ["answer_without_question"]),
        ("Q: who\nQ: capital of peru\nA: Lima", ["question_without_answer"]),
        ("Q: capital of peru\nA: Lima\nQ: who", ["question_without_answer"]),
        ("Q:\nA: Lima", ["empty_question"]),
        ("Q: ???\nA: Lima", ["empty_question"]),
        ("Q: who\nA:\n", ["empty_answer"]),
    ],
)
def test_what_is_no_pair_gets_a_reason(reply: str, reasons: list[str]) -> None:
    _, malformed = parse_pairs(reply, PairFormat())
    assert [piece.reason for piece in malformed] == reasons


def test_the_last_pair_of_a_reply_that_was_cut_is_never_kept() -> None:
    pairs, malformed = parse_pairs("Q: a1 b\nA: Lima\nQ: c2 d\nA: Bram Sto", PairFormat(), cut=True)
    assert pairs == [QuestionAnswer("a1 b", "Lima")]
    assert [piece.reason for piece in malformed] == ["cut_off"]
    pairs, malformed = parse_pairs("Q: a1 b\nA: Lima\nQ: c2 d", PairFormat(), cut=True)
    assert (pairs, [piece.reason for piece in malformed]) == ([QuestionAnswer("a1 b", "Lima")], ["cut_off"])


def test_a_tiny_teacher_that_continues_a_list_in_its_own_format() -> None:
    form = PairFormat(question="question :", answer="answer :", continues=True, max_pairs=2)
    reply = " where was mara born answer : oslo question : what is ivo answer : baker question : when was answer : 1900"
    pairs, malformed = parse_pairs(reply, form)
    assert pairs == [QuestionAnswer("where was mara born", "oslo"), QuestionAnswer("what is ivo", "baker")]
    assert malformed == []


def test_length_limits_drop_with_a_reason() -> None:
    form = PairFormat(max_answer_words=2, max_question_words=4)
    pairs, malformed = parse_pairs("Q: one\nA: a b\nQ: two\nA: a b c\nQ: one two three four five\nA: a", form)
    assert [pair.question for pair in pairs] == ["one"]
    assert [piece.reason for piece in malformed] == ["answer_too_long", "question_too_long"]


def test_multi_line_answers_are_kept_whole_on_request() -> None:
    pairs, _ = parse_pairs("Q: list two\nA: one\ntwo", PairFormat(first_line_only=False))
    assert pairs == [QuestionAnswer("list two", "one\ntwo")]


@given(st.text())
def test_any_text_at_all_is_parsed_into_pairs_or_reasons(reply: str) -> None:
    pairs, malformed = parse_pairs(reply, PairFormat())
    assert pairs or malformed
    assert all(normalise_question(pair.question) and pair.answer for pair in pairs)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Who wrote the Iliad?", "who wrote iliad"),
        ("who's the king", "Whos THE king?"),
        ("hawaii five-o", "Hawaii Five O"),
        ("ﬁnal  score", "final\u00a0score"),
        ("cafe\u0301", "CAFÉ"),
        ("straße", "STRASSE"),
    ],
)
def test_questions_that_differ_in_spelling_only_are_the_same(one: str, other: str) -> None:
    assert normalise_question(one) == normalise_question(other)


def test_questions_that_differ_in_a_word_or_a_vowel_sign_are_not_the_same() -> None:
    assert normalise_question("who wrote dracula") != normalise_question("who wrote carmilla")
    assert normalise_question("की") != normalise_question("का")


def test_seeds_take_the_first_of_several_answers(tmp_path: Path) -> None:
    path = tmp_path / "seeds.jsonl"
    path.write_text('{"question": "q1", "answer": ["a", "b"]}\n\n{"question": " q2 ", "answer": "c", "id": 3}\n')
    assert read_seeds(path) == [QuestionAnswer("q1", "a"), QuestionAnswer("q2", "c")]


@pytest.mark.parametrize(
    "text", ["", '{"question": "q"}\n', '{"question": "q", "answer": []}', '{"question": " ", "answer": "a"}', "{"]
)
def test_files_without_proper_seeds_are_refused_with_their_name(tmp_path: Path, text: str) -> None:
    path = tmp_path / "seeds.jsonl"
    path.write_text(text)
    with pytest.raises(DataError, match=r"seeds\.jsonl"):
        read_seeds(path)


def test_a_blank_marker_is_refused() -> None:
    with pytest.raises(ValueError, match="visible"):
        PairFormat(question="  ")
    assert parse_spec(PairFormat, {"question": " Frage: "}, where="x").question == "Frage:"


def test_real_seed_file_of_the_paper_is_read(shared_data: Path) -> None:
    seeds = read_seeds(shared_data / "nq_open" / "NQ-open.efficientqa.dev.1.1.jsonl")
    assert len(seeds) == 1800
    assert seeds[0] == QuestionAnswer("the last time la dodgers won the world series", "1988")
