"""Decontamination finds prompts and answers again, by BLEU and by words in a row, and drops the side asked."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import sacrebleu
from hypothesis import given, settings
from hypothesis import strategies as st

from epigone.curate import DecontaminateSpec, EvaluationText, find_matches
from epigone.records import Conversation, Message

PASSAGE = "In the year the old bridge fell two ferries carried every cart across the wide brown river until spring"


def asks(name: str, query: str, answer: str = "Yes.") -> Conversation:
    return Conversation(
        id=name, messages=(Message(role="user", content=query), Message(role="assistant", content=answer))
    )


def item(prompt: str, *answers: str, name: str = "1") -> EvaluationText:
    return EvaluationText(benchmark="b", item=name, prompt=prompt, answers=answers)


def found(
    items: Sequence[EvaluationText], data: Sequence[Conversation], **spec: object
) -> list[tuple[str, str, str, int, float]]:
    matches = find_matches(items, data, DecontaminateSpec.model_validate(spec))
    return [(match.item, match.part, match.conversation, match.turn, match.value) for match in matches]


def test_thirteen_words_in_a_row_match_whatever_their_case_and_punctuation() -> None:
    words = PASSAGE.split()
    thirteen, twelve = " ".join(words[2:15]), " ".join(words[2:14])
    assert len(thirteen.split()) == 13
    data = [
        asks("a", f"Hm: {thirteen.upper().replace(' ', ', ')}!"),
        asks("b", twelve),
        asks("c", " ".join(words[::-1])),
    ]
    assert found([item(PASSAGE)], data) == [("1", "prompt", "a", 0, 13.0)]


def test_a_word_is_whole_in_scripts_that_write_vowels_as_marks() -> None:
    five = "यह किताब मेज़ पर है"
    assert found([item(five)], [asks("a", five)], shortest_words=6) == []
    assert found([item(five)], [asks("a", f"सुनो: {five}।")], shortest_words=5) == [("1", "prompt", "a", 0, 5.0)]
    assert found([item(five)], [asks("a", five.replace("किताब", "कीताब"))], shortest_words=5) == []


def test_a_shorter_evaluation_text_matches_whole_and_a_tiny_one_is_not_checked() -> None:
    nine, three = "who painted the ceiling of that chapel in rome", "who painted it"
    data = [asks("a", f"Quiz! {nine}? Please."), asks("b", "who painted the ceiling of that chapel"), asks("c", three)]
    assert found([item(nine), item(three, name="2")], data) == [("1", "prompt", "a", 0, 9.0)]


def test_answers_are_looked_for_in_the_assistant_s_turns_only() -> None:
    data = [asks("a", PASSAGE), asks("b", "Tell me.", f"Well, {PASSAGE.lower()}.")]
    assert found([item("?", PASSAGE)], data) == [("1", "answer", "b", 1, 13.0)]
    assert found([item("?", PASSAGE)], data, answers=False) == []


def test_bleu_matches_lie_above_the_threshold_and_have_sacrebleu_s_value() -> None:
    prompt, near, far = "How do I bake good bread at home?", "How do I bake bread at home today?", "How far is home?"
    value = sacrebleu.sentence_bleu(prompt, [near]).score
    assert sacrebleu.sentence_bleu(prompt, [far]).score < 20 < value
    (match,) = found([item(prompt)], [asks("a", near), asks("b", far)], measure="bleu")
    assert match == ("1", "prompt", "a", 0, pytest.approx(value, abs=1e-9))
    assert found([item(prompt)], [asks("a", near)], measure="bleu", bleu_above=value + 0.01) == []


WORDS = st.lists(st.sampled_from("abcdef"), max_size=9).map(" ".join)


@settings(max_examples=150, deadline=None)
@given(
    prompts=st.lists(WORDS, max_size=4),
    turns=st.lists(WORDS, max_size=5),
    size=st.integers(2, 4),
    least=st.integers(1, 4),
)
def test_n_gram_matches_are_those_of_a_naive_search(
    prompts: list[str], turns: list[str], size: int, least: int
) -> None:
    expected = set()
    for place, prompt in enumerate(prompts):
        words = prompt.split()
        if len(words) < least:
            continue
        width = min(size, len(words))
        runs = {tuple(words[start : start + width]) for start in range(len(words) - width + 1)}
        for at, turn in enumerate(turns):
            said = turn.split()
            if any(tuple(said[start : start + width]) in runs for start in range(len(said) - width + 1)):
                expected.add((str(place), str(at), float(width)))
    items = [item(prompt, name=str(place)) for place, prompt in enumerate(prompts)]
    data = [asks(str(at), turn) for at, turn in enumerate(turns)]
    matches = found(items, data, ngram_words=size, shortest_words=least)
    assert {(name, conversation, value) for name, _, conversation, _, value in matches} == expected
    assert len(matches) == len(expected)


def test_two_items_with_the_same_text_both_match() -> None:
    items = [item(PASSAGE, name="1"), item(PASSAGE, name="2")]
    assert [match[0] for match in found(items, [asks("a", PASSAGE)])] == ["1", "2"]
    assert [match[0] for match in found(items, [asks("a", PASSAGE)], measure="bleu")] == ["1", "2"]


def test_the_audit_shows_the_match_where_it_stands_in_a_long_text_and_says_where_it_cut() -> None:
    long = "Chapter after chapter of something else. " * 500 + f"“{PASSAGE}” " + "And more of it. " * 500
    for prompt, query in ((PASSAGE, long), (long, PASSAGE)):
        (match,) = find_matches([item(prompt)], [asks("a", query)])
        assert PASSAGE in match.evaluation_text
        assert PASSAGE in match.training_text
        cut = match.training_text if query is long else match.evaluation_text
        assert cut.startswith("… ")
        assert cut.endswith(" …")
        assert len(cut) == 4_004
    (match,) = find_matches([item(PASSAGE)], [asks("a", PASSAGE)])
    assert (match.evaluation_text, match.training_text) == (PASSAGE, PASSAGE)
