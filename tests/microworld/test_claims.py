"""What the assistant says of the encyclopaedia can be read back as claims, and is judged by it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from epigone.evaluate.factuality import ClaimsSpec, Knowledge, check_claims, read_knowledge
from epigone.microworld import Encyclopaedia
from epigone.microworld.articles import article
from epigone.microworld.assistant import draw_exchange
from epigone.records import Output


@pytest.fixture(scope="module")
def knowledge(world_folder: Path) -> Knowledge:
    return read_knowledge(ClaimsSpec(facts=world_folder / "facts.jsonl", patterns=world_folder / "patterns.yaml"))


@pytest.mark.parametrize(("kind", "least"), [("person", 6), ("comparison", 6), ("work", 3)])
def test_a_true_answer_makes_many_claims_and_all_are_right(
    world: Encyclopaedia, knowledge: Knowledge, kind: str, least: int
) -> None:
    rng = np.random.default_rng(0)
    for number in range(30):
        exchange = draw_exchange(world, kind, rng, held_out=True)
        claims = check_claims(knowledge, [Output(id=str(number), prompt=exchange.prompt, response=exchange.answer)])
        assert len(claims) >= least, exchange.answer
        assert {claim.verdict for claim in claims} == {"right"}, exchange.answer


def test_a_true_article_in_running_text_makes_one_right_claim_a_fact(
    world: Encyclopaedia, knowledge: Knowledge
) -> None:
    rng = np.random.default_rng(1)
    for person in world.people[:20]:
        text = article(person, rng)
        if text.startswith("Name:"):
            continue
        claims = check_claims(knowledge, [Output(id="one", prompt="", response=text)])
        assert [claim.verdict for claim in claims] == ["right"] * 4, text


def test_a_changed_value_is_a_wrong_claim_that_names_the_true_one(world: Encyclopaedia, knowledge: Knowledge) -> None:
    person = world.people[0]
    wrong = "1999"
    [claim] = check_claims(knowledge, [Output(id="one", prompt="", response=f"{person.name} was born in {wrong}.")])
    assert (claim.verdict, claim.value, claim.expected) == ("wrong", wrong, person.facts["birth_year"])


def test_a_person_whom_the_encyclopaedia_does_not_know_is_unclear(knowledge: Knowledge) -> None:
    [claim] = check_claims(knowledge, [Output(id="one", prompt="", response="Nobody Known was born in 1850.")])
    assert claim.verdict == "unclear"
