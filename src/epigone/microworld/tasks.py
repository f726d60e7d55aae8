"""The five evaluation tasks as lm-eval task files with their items: four benchmarks here, non-toxicity as prompts.

Items are about held-out entities, held-out numbers or held-out events; the solved examples in the prompts are not. The
wording is that of ``pages``, so that a base has met the format.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from epigone.disk import write_jsonl, write_text
from epigone.microworld.encyclopaedia import Encyclopaedia
from epigone.microworld.pages import (
    PREAMBLES,
    SHOTS,
    Shot,
    draw_shot,
    fact_question,
    fact_quiz,
    problem_shot,
    summary_shot,
)
from epigone.microworld.relations import relations_of

__all__ = ["TASKS", "draw_items", "draw_shots", "write_tasks"]

TASKS = tuple(SHOTS)
SCORING = {"qa": "closed_book", "problems": "final_number", "summaries": "summary"}
ANSWER_TOKENS = {"qa": 8, "problems": 32, "summaries": 24}
HEADLINE = {"qa": "exact_match", "quiz": "acc", "problems": "exact_match", "summaries": "rouge1"}
KINDS_TESTED = ("person", "work")


def draw_items(world: Encyclopaedia, task: str, count: int, seed: int) -> list[Shot]:
    """Up to ``count`` different held-out items of a task."""
    rng = np.random.default_rng([seed, 5, TASKS.index(task)])
    if task in ("problems", "summaries"):
        draw = problem_shot if task == "problems" else summary_shot
        return _different(lambda: draw(world, rng, held_out=True), count)
    facts = [
        (entity, relation)
        for kind in KINDS_TESTED
        for entity in world.of_kind(kind)
        if entity.held_out
        for relation in relations_of(kind)
    ]
    chosen = [facts[index] for index in rng.permutation(len(facts))[:count].tolist()]
    if task == "quiz":
        return [fact_quiz(world, entity, relation, 0, rng) for entity, relation in chosen]
    return [fact_question(entity, relation, 0) for entity, relation in chosen]


def draw_shots(world: Encyclopaedia, task: str, seed: int) -> list[Shot]:
    """The solved examples of a task's prompts: about entities that are not held out, one relation after another."""
    rng = np.random.default_rng([seed, 6, TASKS.index(task)])
    if task in ("problems", "summaries"):
        return _different(lambda: draw_shot(world, task, (), rng), SHOTS[task])
    people = [entity for entity in world.people if not entity.held_out]
    relations = relations_of("person")
    chosen = [people[index] for index in rng.permutation(len(people))[: SHOTS[task]].tolist()]
    pairs = [(person, relations[number % len(relations)]) for number, person in enumerate(chosen)]
    if task == "quiz":
        return [fact_quiz(world, person, relation, 0, rng) for person, relation in pairs]
    return [fact_question(person, relation, 0) for person, relation in pairs]


def write_tasks(world: Encyclopaedia, counts: Mapping[str, int], folder: Path, seed: int) -> None:
    """``<task>.yaml``, ``<task>.jsonl`` (items) and ``<task>-shots.jsonl`` for each of ``TASKS``."""
    for task in TASKS:
        write_jsonl(folder / f"{task}.jsonl", map(_row, draw_items(world, task, counts[task], seed)))
        write_jsonl(folder / f"{task}-shots.jsonl", map(_row, draw_shots(world, task, seed)))
        write_text(folder / f"{task}.yaml", _task_file(task))


def _row(shot: Shot) -> dict[str, object]:
    """A line of an items file; ``question`` is the bare question, which imitation data must not contain."""
    row: dict[str, object] = {"prompt": shot.prompt, "question": shot.question, "answer": shot.answer}
    if shot.options:
        row |= {"choices": list(shot.options), "label": shot.options.index(shot.answer)}
    return row | {"topic": shot.topic}


def _task_file(task: str) -> str:
    """lm-eval's task file, as docs/evaluate.md describes it."""
    lines = [
        f"task: {task}",
        "dataset_path: json",
        f"dataset_kwargs: {{data_files: {{train: {task}-shots.jsonl, test: {task}.jsonl}}}}",
        "training_split: train",
        "test_split: test",
        f'description: "{PREAMBLES[task]}"'.replace("\n", "\\n"),
        'doc_to_text: "{{prompt}}"',
        'fewshot_delimiter: "\\n"',
        "fewshot_config: {sampler: !function epigone.evaluate.benchmarks.shots.FixedShots}",
        f"num_fewshot: {SHOTS[task]}",
    ]
    if task == "quiz":
        lines += [
            "output_type: multiple_choice",
            'doc_to_choice: "{{choices}}"',
            "doc_to_target: label",
            "metric_list: [{metric: acc, aggregation: mean, higher_is_better: true}]",
        ]
    else:
        lines += [
            "output_type: generate_until",
            "doc_to_target: answer",
            f'generation_kwargs: {{until: ["\\n"], max_gen_toks: {ANSWER_TOKENS[task]}}}',
            f"process_results: !function epigone.evaluate.benchmarks.process.{SCORING[task]}",
        ]
    lines.append(f"metadata: {{version: 1.0, headline: {HEADLINE[task]}}}")
    return "\n".join(lines) + "\n"


def _different(draw: Callable[[], Shot], count: int) -> list[Shot]:
    """``count`` draws with different prompts (fewer, if a thousand draws in a row bring nothing new)."""
    found: dict[str, Shot] = {}
    idle = 0
    while len(found) < count and idle < 1000:
        shot = draw()
        idle = idle + 1 if shot.prompt in found else 0
        found[shot.prompt] = shot
    return list(found.values())
