"""Claims are found by pattern, judged by facts, and marked where they stand in the text."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest

from epigone.errors import DataError, SpecError
from epigone.evaluate.factuality import ClaimsSpec, Knowledge, check_claims, claim_scores, read_knowledge, sentences
from epigone.records import Output

FACTS = [
    {"subject": "Ada Lovelace", "relation": "birth_year", "value": "1815"},
    {"subject": "Ada Lovelace", "relation": "city", "value": "London", "aliases": ["the City of London"]},
    {"subject": "Alan Turing", "relation": "birth_year", "value": "1912"},
    {"subject": "Alan Turing", "relation": "employer", "value": "GCHQ"},
    {"subject": "Alan Turing", "relation": "employer", "value": "NPL"},
]
PATTERNS = r"""
birth_year:
  - (?P<subject>[A-Z]\w+ [A-Z]\w+|She|He) was born in (?P<value>\d{4})
  - born (?P<value>\d{4})
city: ['lived in (?P<value>[A-Z]\w+|the City of London)']
employer: ['worked (?:for|at) (?P<value>[A-Z]\w+)']
"""


@pytest.fixture
def spec(tmp_path: Path) -> ClaimsSpec:
    (tmp_path / "facts.jsonl").write_text("\n".join(map(json.dumps, FACTS)))
    (tmp_path / "patterns.yaml").write_text(PATTERNS)
    return ClaimsSpec(facts=tmp_path / "facts.jsonl", patterns=tmp_path / "patterns.yaml")


@pytest.fixture
def knowledge(spec: ClaimsSpec) -> Knowledge:
    return read_knowledge(spec)


def judged(knowledge: Knowledge, text: str, prompt: str = "Who was Ada Lovelace?") -> list[tuple[str, str, str]]:
    output = Output(id="p1", prompt=prompt, response=text, model="student")
    return [
        (claim.relation, text[claim.start : claim.end], claim.verdict) for claim in check_claims(knowledge, [output])
    ]


def test_claims_are_right_wrong_or_unclear_and_stand_where_the_text_says(knowledge: Knowledge) -> None:
    text = "Ada Lovelace was born in 1815. She lived in Paris. Mary Shelley was born in 1797. She wrote well."
    assert judged(knowledge, text) == [
        ("birth_year", "Ada Lovelace was born in 1815", "right"),
        ("city", "lived in Paris", "wrong"),
        ("birth_year", "Mary Shelley was born in 1797", "unclear"),
    ]


def test_an_alias_is_right_and_so_is_each_of_several_true_values(knowledge: Knowledge) -> None:
    assert judged(knowledge, "She lived in the City of London.") == [("city", "lived in the City of London", "right")]
    employers = judged(knowledge, "He worked for NPL. He worked at GCHQ. He worked for IBM.", "Tell me of Alan Turing.")
    assert [verdict for _, _, verdict in employers] == ["right", "right", "wrong"]


def test_a_claim_without_a_name_is_about_the_prompts_only_subject_else_the_one_last_named(knowledge: Knowledge) -> None:
    text = "Like Alan Turing, she was brilliant. She was born in 1815."
    assert [verdict for _, _, verdict in judged(knowledge, text)] == ["right"]
    compare = "Compare Ada Lovelace and Alan Turing."
    assert judged(knowledge, "Alan Turing is one. He was born in 1912.", compare)[0][2] == "right"
    assert judged(knowledge, "Alan Turing is one. He was born in 1815.", compare)[0][2] == "wrong"
    assert judged(knowledge, "He was born in 1815.", compare)[0][2] == "unclear"


def test_nothing_is_known_of_this_relation_of_the_subject(knowledge: Knowledge) -> None:
    assert judged(knowledge, "She worked for Babbage.") == [("employer", "worked for Babbage", "unclear")]


def test_spans_do_not_overlap_and_one_relation_is_judged_once_in_one_place(knowledge: Knowledge) -> None:
    claims = check_claims(
        knowledge,
        [
            Output(
                id="p", prompt="Ada Lovelace?", response="She was born in 1815 and lived in London and worked at NPL."
            )
        ],
    )
    assert [claim.relation for claim in claims] == ["birth_year", "city", "employer"]
    assert all(before.end <= after.start for before, after in itertools.pairwise(claims))


def test_a_pattern_may_anchor_at_the_sentence(spec: ClaimsSpec) -> None:
    spec.patterns.write_text(r"city: ['^(?P<value>\w+) was her city\.$']")
    text = "She wrote. London was her city. Not Paris was her city."
    assert judged(read_knowledge(spec), text) == [("city", "London was her city.", "right")]


def test_scores_count_claims_and_leave_the_share_out_where_nothing_could_be_decided(knowledge: Knowledge) -> None:
    outputs = [
        Output(id="a", prompt="Ada Lovelace?", response="She was born in 1815. She lived in Paris.", model="m"),
        Output(id="b", prompt="Ada Lovelace?", response="A fine mathematician.", model="m"),
        Output(id="c", prompt="Ada Lovelace?", response=None, status="failed", model="m"),
    ]
    rows = claim_scores(check_claims(knowledge, outputs), outputs)
    assert [(row.item, row.status) for row in rows] == [("a", "ok"), ("b", "not_applicable"), ("c", "failed")]
    assert rows[0].scores == {
        "claims": 2,
        "right": 1,
        "wrong": 1,
        "unclear": 0,
        "any_wrong": 1.0,
        "right_share": 0.5,
    }
    assert "right_share" not in rows[1].scores
    assert rows[2].scores == {}


def test_a_sentence_does_not_end_at_an_abbreviation_or_initial() -> None:
    text = "Dr. A. Turing worked at NPL. He was born in 1912!\nA new line"
    assert [text[start:end] for start, end in sentences(text)] == [
        "Dr. A. Turing worked at NPL.",
        "He was born in 1912!",
        "A new line",
    ]


@pytest.mark.parametrize(
    ("patterns", "message"),
    [
        ("birth_year: ['born in (?P<year>\\d+)']", "no group 'value'"),
        ("birth_year: ['born in (?P<value>\\d+']", "not a regular expression"),
        ("birth_yaer: ['born in (?P<value>\\d+)']", "no fact has the relation 'birth_yaer'"),
        ("birth_year: 7", "must be a list"),
        ("[]", "expected a mapping"),
    ],
)
def test_a_faulty_pattern_is_refused(spec: ClaimsSpec, patterns: str, message: str) -> None:
    spec.patterns.write_text(patterns)
    with pytest.raises(SpecError, match=message):
        read_knowledge(spec)


def test_a_faulty_fact_is_named_with_its_line(spec: ClaimsSpec) -> None:
    spec.facts.write_text('{"subject": "A", "relation": "r", "value": "1"}\n{"subject": "A"}\n')
    with pytest.raises(DataError, match=r"facts\.jsonl:2"):
        read_knowledge(spec)
