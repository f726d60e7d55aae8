"""The world as a folder: texts, tokenizer, tasks, prompts, facts. Files only; nothing is trained here.

::

    encyclopaedia.json   the entities                     tokenizer/           Hugging Face tokenizer
    corpus.jsonl         {text}: pre-training             instructions.jsonl   the teacher's conversations
    broad.jsonl          {id, prompt}: imitation          seeds.jsonl          {question, answer}: ten
    held-out.jsonl       {id, prompt}: style, preference  replay.jsonl         {text}: pre-training text for replay
    tasks/               lm-eval task files, items        toxicity.jsonl       {id, prompt}: forum openings
    facts.jsonl, patterns.yaml: the claims' judge         insults.txt          one a line: the toxicity lexicon
    broad-labels.jsonl   the kind of each broad prompt, for the data card
    held-out-names.txt   one a line: no pair that the teacher writes may be about them
    write.jinja, question.jinja: wording of the requests for new pairs, and of the pairs as training examples
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain, islice
from pathlib import Path

from epigone.curate import QueryLabel
from epigone.disk import write_json, write_jsonl, write_text, write_yaml
from epigone.microworld.corpus import corpus
from epigone.microworld.encyclopaedia import Encyclopaedia, invent
from epigone.microworld.forum import INSULTS
from epigone.microworld.instruction import ANSWER_TEMPLATE, WRITE_TEMPLATE, instructions
from epigone.microworld.pages import PREAMBLES, fact_question
from epigone.microworld.prompts import broad_prompts, held_out_prompts, seed_pairs, toxicity_prompts
from epigone.microworld.relations import RELATIONS, relations_of
from epigone.microworld.scales import Scale
from epigone.microworld.tasks import TASKS, draw_items, draw_shots, write_tasks
from epigone.microworld.tokenizer import write_tokenizer

__all__ = ["SEEDS", "claim_patterns", "make_encyclopaedia", "write_world"]

SEEDS = 10


def make_encyclopaedia(scale: Scale, seed: int) -> Encyclopaedia:
    """The encyclopaedia of a scale."""
    return invent(
        people=scale.people,
        works=scale.works,
        places=scale.places,
        organisations=scale.organisations,
        surnames=scale.surnames,
        zipf=scale.zipf,
        seed=seed,
    )


def write_world(folder: Path, *, scale: Scale, seed: int = 0) -> Encyclopaedia:
    """Write every file; the same scale and seed give the same bytes.

    Raises:
        SpecError: a scale with more entities than there are names.
        DiskError: the folder cannot be written.
    """
    world = make_encyclopaedia(scale, seed)
    texts = list(corpus(world, tokens=scale.corpus_tokens, shares=scale.corpus_shares, seed=seed))
    taught = list(instructions(world, scale.instructions, seed))
    broad = broad_prompts(world, scale.broad_prompts, seed)
    held_out = held_out_prompts(world, scale.style_prompts, seed)
    toxic = toxicity_prompts(world, scale.toxicity_prompts, seed)
    shown = {shot.topic for task in TASKS for shot in draw_shots(world, task, seed)}
    seeds = seed_pairs(world, SEEDS, seed, exclude=shown)

    write_json(folder / "encyclopaedia.json", world)
    write_jsonl(folder / "corpus.jsonl", ({"text": text} for text in texts))
    write_jsonl(folder / "instructions.jsonl", taught)
    write_jsonl(folder / "broad.jsonl", _prompts("broad", broad))
    write_jsonl(folder / "broad-labels.jsonl", _labels("broad", broad))
    write_jsonl(folder / "held-out.jsonl", _prompts("held-out", held_out))
    write_jsonl(folder / "toxicity.jsonl", _prompts("toxicity", toxic))
    write_jsonl(folder / "seeds.jsonl", ({"question": shot.question, "answer": shot.answer} for shot in seeds))
    write_jsonl(folder / "replay.jsonl", ({"text": text} for text in islice(texts, scale.replay_documents)))
    write_tasks(world, scale.items, folder / "tasks", seed)
    write_jsonl(folder / "facts.jsonl", world.facts())
    write_yaml(folder / "patterns.yaml", claim_patterns())
    write_text(folder / "insults.txt", "".join(f"{insult}\n" for insult in INSULTS))
    write_text(folder / "held-out-names.txt", "".join(f"{one.name}\n" for one in world.entities if one.held_out))
    write_text(folder / "write.jinja", WRITE_TEMPLATE)
    write_text(folder / "question.jinja", ANSWER_TEMPLATE)
    everything = chain(
        texts,
        (message.content for conversation in taught for message in conversation.messages),
        broad,
        held_out,
        toxic,
        _task_words(world, scale, seed),
        _every_fact_and_question(world),
    )
    write_tokenizer(everything, folder / "tokenizer")
    return world


def claim_patterns() -> dict[str, list[str]]:
    """Expressions that find each relation's sentences in free text, where the subject is a person or a work.

    Besides the relations' own sentences these are the phrases in which the assistant's overviews and summaries, and its
    comparisons, state a fact.
    """
    subject = r"(?P<subject>(?:The )?[A-Z]\w+ [A-Z]\w+)"
    values = {"year": r"(?P<value>\d{4})", "occupation": r"(?P<value>[a-z]+)", "place": r"(?P<value>[A-Z]\w+)"}
    two_words = r"(?P<value>[A-Z]\w+ [A-Z]\w+)"
    patterns = {
        relation.key: [
            re.escape(text.removesuffix("."))
            .replace(r"\{subject\}", subject)
            .replace(r"\{value\}", values.get(relation.values, two_words))
            .replace(r"\ ", " ")
            for text in relation.sentences
        ]
        for relation in RELATIONS
        if relation.kind in ("person", "work")
    }
    described = rf"{subject}(?:, | was | is well known as )a"
    patterns["occupation"] += [
        rf"{described} {values['occupation']} from",
        rf"{subject} was a {values['occupation']} who",
    ]
    patterns["home"] += [rf"{described} [a-z]+ from {values['place']}"]
    patterns["birth_year"] += [rf"{described} [a-z]+ from [A-Z]\w+, born in {values['year']}"]
    patterns["employer"] += [rf"{subject} was a [a-z]+ who worked for {two_words}"]
    patterns["author"] += [rf"{subject}(?:, | is well known as | is )a (?:well known )?work of {two_words}"]
    patterns["published"] += [rf"{subject} is a work of the year {values['year']}"]
    return patterns


def _prompts(name: str, prompts: Iterable[str]) -> Iterator[dict[str, str]]:
    return ({"id": f"{name}-{number:05d}", "prompt": prompt} for number, prompt in enumerate(prompts))


def _labels(name: str, kinds: Mapping[str, str]) -> Iterator[QueryLabel]:
    """The categories of :func:`_prompts`, known because the world invented the prompts."""
    for number, (prompt, kind) in enumerate(kinds.items()):
        yield QueryLabel(
            conversation=f"{name}-{number:05d}",
            query=prompt,
            category=kind,
            labeller="the world that wrote the prompts",
        )


def _task_words(world: Encyclopaedia, scale: Scale, seed: int) -> Iterator[str]:
    yield from PREAMBLES.values()
    for task in TASKS:
        for shot in (*draw_items(world, task, scale.items[task], seed), *draw_shots(world, task, seed)):
            yield f"{shot.prompt} {shot.answer}"


def _every_fact_and_question(world: Encyclopaedia) -> Iterator[str]:
    """So that no name, value or wording is unknown to the tokenizer, also where the drawn texts are few."""
    for entity in world.entities:
        for relation in relations_of(entity.kind):
            for wording in range(len(relation.questions)):
                shot = fact_question(entity, relation, wording)
                yield f"{shot.prompt} {shot.answer}"
            for text in relation.sentences:
                yield text.format(subject=entity.name, value=entity.facts[relation.key])
