"""Short news articles with their summaries: what the summaries' task and its training pairs are made of."""

from __future__ import annotations

import numpy as np
from msgspec import Struct

from epigone.microworld.encyclopaedia import Encyclopaedia, pick

__all__ = ["News", "news"]

DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
DEEDS = ("opened a school", "won a prize", "planted a forest", "gave a concert", "crossed the lake", "bought a theatre",
         "lost a race", "repaired a bridge", "showed a new work", "left a fortune")  # fmt: skip
WEATHER = ("The morning was bright and cold.", "Rain fell until noon.", "A strong wind came from the sea.",
           "The streets were full of music.", "Nobody had expected it.")  # fmt: skip
VOICES = ("It was a fine day, said a neighbour.", "People will talk of this for years, said the mayor.",
          "I could hardly believe it, said a child.", "We were all there, said a baker.")  # fmt: skip


class News(Struct, frozen=True):
    """A news article and its one-sentence summary: who did what, where, before how many people."""

    article: str
    summary: str


def news(world: Encyclopaedia, rng: np.random.Generator, *, held_out: bool) -> News:
    """An event that the encyclopaedia does not hold, about a held-out person or about one who is not."""
    person = pick(rng, [entity for entity in world.people if entity.held_out == held_out]).name
    place, day, deed = pick(rng, world.places).name, pick(rng, DAYS), pick(rng, DEEDS)
    crowd = int(rng.integers(20, 100))
    lead = f"{person} {deed} in {place} on {day}."
    rest = [pick(rng, WEATHER), f"About {crowd} people came to see it.", pick(rng, VOICES)]
    body = [lead, *(rest[index] for index in rng.permutation(len(rest)).tolist())]
    return News(" ".join(body), f"{person} {deed} in {place} and {crowd} people came.")
