"""Query-level deduplication: planted duplicates are found, planted near-misses stay, the order does not matter."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from epigone.curate import run_step
from epigone.curate.curated import Notes
from epigone.curate.deduplicate import Deduplicate, DeduplicateSpec
from epigone.curate.near_duplicates import NearDuplicates, NearDuplicatesSpec
from epigone.curate.queries import Normalization, is_continuation, normalize, substantive_queries
from epigone.errors import SpecError
from epigone.records import Conversation, Drop, Message


def asks(name: str, *queries: str, answer: str = "An answer.") -> Conversation:
    messages: list[Message] = []
    for query in queries:
        messages += [Message(role="user", content=query), Message(role="assistant", content=answer)]
    return Conversation(id=name, messages=tuple(messages))


def kept(data: list[Conversation], **settings: object) -> list[Conversation]:
    step = Deduplicate(DeduplicateSpec.model_validate(settings))
    return [record for record in step.run(data, Notes()) if isinstance(record, Conversation)]


ORIGINAL = "Why is the sky blue at noon, Dr. Müller?"


@pytest.mark.parametrize(
    "copy",
    [
        "why is the sky blue at noon, dr. müller?",
        "  Why is\tthe sky\n\nblue at  noon, Dr. Müller? ",
        "Why is the sky blue at noon Dr Müller",
        "Why is the sky blue at noon, Dr. Mu\u0308ller?",  # decomposed ü
        "Ｗｈｙ is the sky blue at noon, Dr. Müller？",  # full-width forms
        "WHY IS THE SKY BLUE AT NOON, DR. MÜLLER!!!",
    ],
)
def test_a_planted_duplicate_is_found(copy: str) -> None:
    assert [one.id for one in kept([asks("a", ORIGINAL), asks("b", copy)])] == ["a"]


@pytest.mark.parametrize(
    "other",
    [
        "Why is the sky blue at noon, Dr. Muller?",  # another name
        "Why is the sky blue at noon, Dr. Müller? Explain.",
        "Why is the sea blue at noon, Dr. Müller?",
        "Why is the sky blue at noon , Dr . Mül ler?",
    ],
)
def test_a_planted_near_miss_stays(other: str) -> None:
    assert len(kept([asks("a", ORIGINAL), asks("b", other)])) == 2


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("किताब कहाँ है?", "कीताब कहाँ है?"),  # Hindi: a short and a long vowel
        ("ก่อน", "ก้อน"),  # Thai: before, and lump
        ("What is x\u0304 here?", "What is x\u0302 here?"),  # x̄ and x̂ have no composed form
    ],
)
def test_queries_that_differ_in_a_letter_s_marks_are_two(one: str, other: str) -> None:
    assert len(kept([asks("a", one), asks("b", other)])) == 2
    assert len(kept([asks("a", one), asks("b", f" {one} !")])) == 1


def test_marks_that_stand_on_no_letter_are_punctuation() -> None:
    assert len(kept([asks("a", "Thanks \u2764\ufe0f"), asks("b", "thanks!"), asks("c", "thanks -\u0301")])) == 1


def test_each_kind_of_normalization_can_be_switched_off() -> None:
    pairs = {"case": "WHY IS IT?", "white_space": "why  is it?", "punctuation": "why is it", "unicode": "ｗhy is it?"}
    for rule, variant in pairs.items():
        data = [asks("a", "why is it?"), asks("b", variant)]
        assert len(kept(data)) == 1, rule
        assert len(kept(data, normalization={rule: False})) == 2, rule


def test_continuation_turns_do_not_decide() -> None:
    data = [asks("a", "continue", "Tell me of Rome."), asks("b", "continue", "Tell me of Paris."), asks("c", "go on")]
    assert [one.id for one in kept([*data, asks("d", "Please continue."), asks("e", "Tell me of Rome!")])] == list(
        "abcd"
    )


@pytest.mark.parametrize(
    "turn",
    ["continue", "Continue.", "please continue", "go on", "keep going", "continue writing please", "", "next", "more",
     "Please continue from where you stopped", "cont", "continue it", "Can you continue?", "..."],
)  # fmt: skip
def test_a_turn_that_only_asks_to_go_on(turn: str) -> None:
    assert is_continuation(turn)


@pytest.mark.parametrize(
    "turn", ["continue the argument against nuclear power", "What is next?", "go on strike: how?", "yes", "1", "code"]
)
def test_a_turn_that_asks_for_something(turn: str) -> None:
    assert not is_continuation(turn)


def test_by_all_queries_only_the_whole_sequence_makes_a_duplicate() -> None:
    data = [asks("a", "One?", "Two?"), asks("b", "one", "two"), asks("c", "One?", "Three?")]
    assert [one.id for one in kept(data, by="all_queries")] == ["a", "c"]
    assert [one.id for one in kept(data, by="first_query")] == ["a"]


def test_keep_longest_keeps_the_most_assistant_text() -> None:
    data = [
        asks("a", "q", answer="short"),
        asks("b", "Q", answer="a much longer answer"),
        asks("c", "q?", answer="mid"),
    ]
    assert [one.id for one in kept(data, keep="longest")] == ["b"]


QUERIES = st.lists(st.sampled_from(["a b", "A  b!", "c", "C.", "continue", "ｄ", "d", "é", "e\u0301", ""]), max_size=3)
DIALOGUES = st.lists(st.tuples(QUERIES, st.sampled_from(["x", "yy", "zzz"])), max_size=14)


def first_queries(dialogues: list[Conversation]) -> list[str]:
    return [normalize(queries[0]) for queries in map(substantive_queries, dialogues) if queries]


def build(data: list[tuple[list[str], str]]) -> list[Conversation]:
    return [asks(str(n), *queries, answer=answer) for n, (queries, answer) in enumerate(data)]


@settings(max_examples=150, deadline=None)
@given(data=DIALOGUES, seed=st.integers(0, 9), keep=st.sampled_from(["longest", "drawn"]))
def test_what_is_kept_does_not_depend_on_the_order(data: list[tuple[list[str], str]], seed: int, keep: str) -> None:
    dialogues = build(data)
    shuffled = random.Random(seed).sample(dialogues, len(dialogues))
    assert {one.id for one in kept(shuffled, keep=keep)} == {one.id for one in kept(dialogues, keep=keep)}


@settings(max_examples=150, deadline=None)
@given(data=DIALOGUES, seed=st.integers(0, 9), keep=st.sampled_from(["first", "longest", "drawn"]))
def test_one_dialogue_stays_for_each_query_and_nothing_is_lost(
    data: list[tuple[list[str], str]], seed: int, keep: str
) -> None:
    dialogues = random.Random(seed).sample(build(data), len(data))
    step = Deduplicate(DeduplicateSpec(keep=keep))  # type: ignore[arg-type]
    outcome = list(step.run(dialogues, Notes()))
    assert sorted(record.id for record in outcome) == sorted(one.id for one in dialogues)
    staying = [record for record in outcome if isinstance(record, Conversation)]
    assert [one for one in dialogues if one in staying] == staying  # in input order
    assert sorted(first_queries(staying)) == sorted(set(first_queries(dialogues)))
    again = [record for record in step.run(staying, Notes()) if isinstance(record, Drop)]
    assert again == []


@settings(max_examples=300, deadline=None)
@given(text=st.text(max_size=30), flags=st.tuples(*[st.booleans()] * 4))
def test_normalizing_twice_changes_nothing(text: str, flags: tuple[bool, bool, bool, bool]) -> None:
    names = ("unicode", "case", "white_space", "punctuation")
    rules = Normalization(**dict(zip(names, flags, strict=True)))
    once = normalize(text, rules)
    assert normalize(once, rules) == once


def test_near_duplicates_are_found_by_minhash_and_others_stay() -> None:
    words = [f"word{number}" for number in range(60)]
    query = " ".join(words)
    close = " ".join([*words[:-1], "changed"])  # 57 of 59 trigrams in common: Jaccard 0.95
    far = " ".join([*words[:30], *reversed(words[30:])])  # 28 of 88: 0.32
    data = [asks("a", query), asks("b", close), asks("c", far), asks("d", "continue"), asks("e", "continue")]
    outcome = list(NearDuplicates(NearDuplicatesSpec(), seed=0).run(data, Notes()))
    assert [record.id for record in outcome if isinstance(record, Conversation)] == ["a", "c", "d", "e"]
    (drop,) = [record for record in outcome if isinstance(record, Drop)]
    assert (drop.id, drop.reason) == ("b", "near_duplicate_query")
    assert drop.detail.startswith("a, similarity 0.9")


def test_near_duplicates_estimate_the_jaccard_similarity_without_bias() -> None:
    base = [f"w{number}" for number in range(40)]
    found = 0
    for seed in range(40):
        other = " ".join([*base[:-4], "p", "q", "r", "s"])  # 34 of 42 trigrams in common: 0.81
        step = NearDuplicates(NearDuplicatesSpec(threshold=0.7), seed=seed)
        outcome = list(step.run([asks("a", " ".join(base)), asks("b", other)], Notes()))
        found += isinstance(outcome[1], Drop)
    assert found >= 34  # 0.81 is three standard errors above 0.7


def test_near_duplicates_that_no_index_can_find_are_refused() -> None:
    with pytest.raises(SpecError, match="16 permutations are too few"):
        list(run_step("near_duplicates", [], threshold=0.99, permutations=16))
