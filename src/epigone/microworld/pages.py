"""Pages with a format: question–answer pages, quizzes, solved problems, articles with summaries.

A format is written here once. The corpus shows it to the bases as text, the tasks of the evaluation ask in it, and the
teacher's instruction data shows it as a user's message. A page is an optional preamble and then shots, divided by line
breaks; a prompt is a page whose last shot lacks its answer.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from msgspec import Struct

from epigone.microworld.encyclopaedia import Encyclopaedia, Entity, pick
from epigone.microworld.news import news
from epigone.microworld.relations import Relation, relations_of
from epigone.microworld.word_problems import word_problem

__all__ = [
    "PREAMBLES",
    "SHOTS",
    "Shot",
    "draw_shot",
    "fact_question",
    "fact_quiz",
    "problem_shot",
    "render",
    "summary_shot",
]

OPTIONS = 4
SHOTS = {"qa": 3, "quiz": 5, "problems": 6, "summaries": 2}
PREAMBLES = {
    "qa": "Answer each question with a few words only.\n",
    "quiz": "Choose the right answer to each question.\n",
    "problems": "Solve each problem step by step.\n",
    "summaries": "",
}


class Shot(Struct, frozen=True):
    """One solved example.

    ``prompt`` ends where the answer begins; ``question`` is the bare question, problem or article in it. ``options``:
    of a quiz, the answer among them. ``topic``: what the example is about (a fact's subject and relation, a problem's
    numbers, an article), for the proof that training and test share none.
    """

    prompt: str
    question: str
    answer: str
    topic: str
    options: tuple[str, ...] = ()


def render(kind: str, shots: Sequence[Shot], last: str = "") -> str:
    """A page of ``kind`` (a key of ``SHOTS``): all ``shots`` with their answers, then ``last`` without one."""
    lines = [f"{shot.prompt} {shot.answer}" for shot in shots]
    return PREAMBLES[kind] + "\n".join([*lines, last] if last else lines)


def fact_question(entity: Entity, relation: Relation, wording: int) -> Shot:
    """A fact, asked for in one of the relation's wordings; the answer is its value."""
    question = relation.questions[wording].format(subject=entity.name)
    return Shot(f"Q: {question}\nA:", question, entity.facts[relation.key], f"{entity.name}: {relation.key}")


def fact_quiz(world: Encyclopaedia, entity: Entity, relation: Relation, wording: int, rng: np.random.Generator) -> Shot:
    """The same with four options in random order; what is wrong is wrong by the encyclopaedia, not by its type."""
    question = relation.questions[wording].format(subject=entity.name)
    right = entity.facts[relation.key]
    options = [right, *world.wrong_values(relation, right, OPTIONS - 1, rng)]
    options = [options[index] for index in rng.permutation(OPTIONS).tolist()]
    prompt = f"Question: {question}\nChoices: {', '.join(options)}.\nAnswer:"
    return Shot(prompt, question, right, f"{entity.name}: {relation.key}", tuple(options))


def problem_shot(world: Encyclopaedia, rng: np.random.Generator, *, held_out: bool) -> Shot:
    """A word problem and its worked solution."""
    problem = word_problem(rng, world.pools["first_name"], held_out=held_out)
    return Shot(f"Problem: {problem.question}\nSolution:", problem.question, problem.solution, str(problem.key))


def summary_shot(world: Encyclopaedia, rng: np.random.Generator, *, held_out: bool) -> Shot:
    """A news article and its summary."""
    report = news(world, rng, held_out=held_out)
    return Shot(f"Article: {report.article}\nSummary:", report.article, report.summary, report.article)


def draw_shot(world: Encyclopaedia, kind: str, entities: Sequence[Entity], rng: np.random.Generator) -> Shot:
    """One training example of ``kind``, about one of ``entities`` where it is about a fact."""
    if kind == "problems":
        return problem_shot(world, rng, held_out=False)
    if kind == "summaries":
        return summary_shot(world, rng, held_out=False)
    entity = pick(rng, entities)
    relation = pick(rng, relations_of(entity.kind))
    wording = int(rng.integers(len(relation.questions)))
    if kind == "quiz":
        return fact_quiz(world, entity, relation, wording, rng)
    return fact_question(entity, relation, wording)
