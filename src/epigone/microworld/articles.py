"""Articles of the encyclopaedia: running text, a fact sheet, or a list, each fact in one of several paraphrases."""

from __future__ import annotations

import numpy as np

from epigone.microworld.encyclopaedia import Entity, pick
from epigone.microworld.relations import Relation, relations_of

__all__ = ["article", "fact_sheet", "sentence", "sentences"]


def sentence(entity: Entity, relation: Relation, rng: np.random.Generator) -> str:
    """One fact in one of its paraphrases."""
    return pick(rng, relation.sentences).format(subject=entity.name, value=entity.facts[relation.key])


def sentences(entity: Entity, rng: np.random.Generator, *, shuffle: bool = True) -> list[str]:
    """Every fact of ``entity``, a sentence each."""
    relations = list(relations_of(entity.kind))
    order = rng.permutation(len(relations)).tolist() if shuffle else range(len(relations))
    return [sentence(entity, relations[index], rng) for index in order]


def article(entity: Entity, rng: np.random.Generator) -> str:
    """Running text (three in four), a numbered list, or a fact sheet."""
    form = int(rng.integers(8))
    if form == 0:
        lines = [f"{number}. {text}" for number, text in enumerate(sentences(entity, rng), 1)]
        return "\n".join([f"{entity.name} in short:", *lines])
    if form == 1:
        return fact_sheet(entity, rng)
    return " ".join(sentences(entity, rng))


def fact_sheet(entity: Entity, rng: np.random.Generator) -> str:
    """``Name: …`` and then a labelled value a line, in random order."""
    relations = list(relations_of(entity.kind))
    rows = [f"{relations[i].label}: {entity.facts[relations[i].key]}" for i in rng.permutation(len(relations)).tolist()]
    return "\n".join([f"Name: {entity.name}", *rows])
