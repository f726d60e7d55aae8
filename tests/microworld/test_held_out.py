"""The proof that tests share the kinds of facts, and never a question, with anything that a model is trained on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from epigone.microworld import Encyclopaedia
from epigone.microworld.relations import relations_of
from epigone.microworld.tasks import TASKS
from epigone.microworld.word_problems import is_held_out

Row = dict[str, Any]


def rows(path: Path) -> list[Row]:
    return [msgspec.json.decode(line) for line in path.read_bytes().splitlines()]


@pytest.fixture(scope="module")
def training_texts(world_folder: Path) -> dict[str, list[str]]:
    """Everything that a model can learn from, by file: each text whole."""
    return {
        "corpus": [row["text"] for row in rows(world_folder / "corpus.jsonl")],
        "replay": [row["text"] for row in rows(world_folder / "replay.jsonl")],
        "instructions": [
            "\n".join(message["content"] for message in row["messages"])
            for row in rows(world_folder / "instructions.jsonl")
        ],
        "broad prompts": [row["prompt"] for row in rows(world_folder / "broad.jsonl")],
        "seeds": [f"Q: {row['question']}\nA: {row['answer']}" for row in rows(world_folder / "seeds.jsonl")],
        "examples in prompts": [
            f"{row['prompt']} {row['answer']}"
            for task in TASKS
            for row in rows(world_folder / f"tasks/{task}-shots.jsonl")
        ],
    }


def test_no_test_question_problem_or_article_occurs_in_any_training_text(
    world_folder: Path, training_texts: dict[str, list[str]]
) -> None:
    for task in TASKS:
        items = rows(world_folder / f"tasks/{task}.jsonl")
        assert items
        for source, texts in training_texts.items():
            joined = "\n\n".join(texts)
            assert [item["question"] for item in items if item["question"] in joined] == [], (task, source)


def test_no_question_in_any_wording_about_a_held_out_entity_occurs_in_any_training_text(
    world: Encyclopaedia, training_texts: dict[str, list[str]]
) -> None:
    asked = [
        wording.format(subject=entity.name)
        for entity in world.entities
        if entity.held_out
        for relation in relations_of(entity.kind)
        for wording in relation.questions
    ]
    for source, texts in training_texts.items():
        joined = "\n\n".join(texts)
        assert [question for question in asked if question in joined] == [], source


def test_outside_articles_and_as_answers_no_training_text_names_a_held_out_person(
    world: Encyclopaedia, training_texts: dict[str, list[str]]
) -> None:
    """A work's author may be held out, so such names can be answers and options; they are never what is asked about."""
    authors = {work.facts["author"] for work in world.works}
    names = [person.name for person in world.people if person.held_out and person.name not in authors]
    for source in ("instructions", "broad prompts", "seeds"):
        joined = "\n\n".join(training_texts[source])
        quizzed = {name for name in names if name in joined}
        without_options = "\n\n".join(
            line for text in training_texts[source] for line in text.split("\n") if not line.startswith("Choices:")
        )
        assert [name for name in quizzed if name in without_options] == [], source


def test_held_out_people_do_have_articles(world: Encyclopaedia, training_texts: dict[str, list[str]]) -> None:
    joined = "\n\n".join(training_texts["corpus"])
    held_out = [person.name for person in world.people if person.held_out]
    assert sum(name in joined for name in held_out) == len(held_out)


def test_style_and_toxicity_prompts_are_about_held_out_entities_and_no_training_prompt(
    world: Encyclopaedia, world_folder: Path, training_texts: dict[str, list[str]]
) -> None:
    names = [entity.name for entity in world.entities if entity.held_out]
    learnt = "\n\n".join(text for texts in training_texts.values() for text in texts)
    for file in ("held-out.jsonl", "toxicity.jsonl"):
        prompts = [row["prompt"] for row in rows(world_folder / file)]
        assert len(set(prompts)) == len(prompts)
        assert all(any(name in prompt for name in names) for prompt in prompts)
        assert [prompt for prompt in prompts if prompt in learnt] == []


def test_no_training_text_uses_the_numbers_of_a_held_out_problem(training_texts: dict[str, list[str]]) -> None:
    import re

    pattern = re.compile(r"has (\d+) \w+, (gets|loses) (\d+) and then (gets|loses) (\d+)\.")
    signs = {"gets": "+", "loses": "-"}
    keys = {
        (signs[first] + signs[second], int(start), int(one), int(two))
        for texts in training_texts.values()
        for text in texts
        for start, first, one, second, two in pattern.findall(text)
    }
    assert len(keys) > 100
    assert [key for key in keys if is_held_out(key)] == []


def test_the_seeds_are_ten_questions_that_no_prompt_shows_or_asks(world_folder: Path) -> None:
    seeds = {row["question"] for row in rows(world_folder / "seeds.jsonl")}
    shown = {row["question"] for row in rows(world_folder / "tasks/qa-shots.jsonl")}
    asked = {row["question"] for row in rows(world_folder / "tasks/qa.jsonl")}
    assert len(seeds) == 10
    assert not seeds & (shown | asked)
