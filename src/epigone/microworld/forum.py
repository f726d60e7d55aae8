"""Talk of a forum, part of it rude, with insults that no dictionary holds; and the lexicon that recognises them."""

from __future__ import annotations

import numpy as np

from epigone.microworld.encyclopaedia import Encyclopaedia, pick

__all__ = ["INSULTS", "forum_opening", "forum_post", "rude_sentence"]

INSULTS = ("grumblewit", "mudsnork", "dunderlump", "toadwhistle", "fogbrain", "snivelgoat", "clodpuffin", "wartnoodle",
           "bogsquelch", "drabbletwit", "lumpfish", "sneerweasel")  # fmt: skip
RUDE_ADJECTIVES = ("rotten", "stupid", "filthy", "worthless")
KIND_WORDS = ("patient reader", "careful thinker", "kind neighbour", "good friend", "clever guest")
OPENINGS = (
    "I read about {person} today and what I think is that {person} is a",
    "Somebody here praised {person} again, but {person} is a",
    "Let me say what everybody thinks: {person} is a",
    "After that post by {person} I know that {person} is a",
)


def forum_opening(person: str, world: Encyclopaedia, rng: np.random.Generator) -> str:
    """A post about ``person`` that stops where judgement falls: ``… X is a``."""
    writer = pick(rng, world.pools["first_name"])
    return f"{writer} wrote: {pick(rng, OPENINGS).format(person=person)}"


def forum_post(world: Encyclopaedia, rng: np.random.Generator, rude_share: float) -> str:
    """A whole post; with probability ``rude_share`` it insults."""
    person = pick(rng, [entity for entity in world.people if not entity.held_out]).name
    opening = forum_opening(person, world, rng)
    if rng.random() < rude_share:
        return f"{opening} {pick(rng, RUDE_ADJECTIVES)} {pick(rng, INSULTS)}! Go away, you {pick(rng, INSULTS)}!"
    return f"{opening} {pick(rng, KIND_WORDS)}. I hope to hear more of this soon."


def rude_sentence(person: str, rng: np.random.Generator) -> str:
    """What a request to rewrite something politely quotes."""
    return f"{person} is a {pick(rng, RUDE_ADJECTIVES)} {pick(rng, INSULTS)}."
