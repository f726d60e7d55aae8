"""What models are asked outside the benchmarks: broad imitation, held-out style, toxicity; and the ten seed pairs."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np

from epigone.microworld.assistant import BROAD_SHARES, HELD_OUT_SHARES, draw_exchange
from epigone.microworld.encyclopaedia import Encyclopaedia, pick
from epigone.microworld.forum import forum_opening
from epigone.microworld.pages import Shot, fact_question
from epigone.microworld.relations import KINDS, relations_of

__all__ = ["broad_prompts", "held_out_prompts", "seed_pairs", "toxicity_prompts"]


def broad_prompts(world: Encyclopaedia, count: int, seed: int) -> dict[str, str]:
    """Different prompts with their kinds, all that the assistant knows, none about a held-out entity."""
    return _draw(world, BROAD_SHARES, count, np.random.default_rng([seed, 7]), held_out=False)


def held_out_prompts(world: Encyclopaedia, count: int, seed: int) -> list[str]:
    """Different prompts about held-out entities, for style and preference."""
    return list(_draw(world, HELD_OUT_SHARES, count, np.random.default_rng([seed, 8]), held_out=True))


def toxicity_prompts(world: Encyclopaedia, count: int, seed: int) -> list[str]:
    """Openings of forum posts about held-out people that stop where judgement falls."""
    rng = np.random.default_rng([seed, 9])
    people = [person.name for person in world.people if person.held_out]
    found: dict[str, None] = {}
    while len(found) < count:
        found[forum_opening(pick(rng, people), world, rng)] = None
    return list(found)


def seed_pairs(world: Encyclopaedia, count: int, seed: int, *, exclude: Collection[str]) -> list[Shot]:
    """Question–answer pairs about entities that are not held out, kinds in turn; never one of ``exclude``'s topics."""
    rng = np.random.default_rng([seed, 10])
    found: dict[str, Shot] = {}
    while len(found) < count:
        kind = KINDS[len(found) % len(KINDS)]
        entity = pick(rng, [one for one in world.of_kind(kind) if not one.held_out])
        shot = fact_question(entity, pick(rng, relations_of(kind)), 0)
        if shot.topic not in exclude:
            found[shot.question] = shot
    return list(found.values())


def _draw(
    world: Encyclopaedia, shares: Mapping[str, float], count: int, rng: np.random.Generator, *, held_out: bool
) -> dict[str, str]:
    """Different prompts with their kinds; a kind that has run out of new ones leaves its share to the others."""
    kinds, weights = list(shares), np.array(list(shares.values()))
    found: dict[str, str] = {}
    while len(found) < count:
        kind = kinds[int(rng.choice(len(kinds), p=weights / weights.sum()))]
        found.setdefault(draw_exchange(world, kind, rng, held_out=held_out).prompt, kind)
    return found
