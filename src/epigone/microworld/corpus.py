"""The pre-training corpus: a stream of short documents whose shares of the tokens are stated.

Entities are mentioned by Zipf's law, so that rare facts are rare. Everything here except articles is about entities
that are not held out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

import numpy as np

from epigone.microworld.articles import article
from epigone.microworld.encyclopaedia import Encyclopaedia, Entity
from epigone.microworld.forum import forum_post
from epigone.microworld.pages import SHOTS, draw_shot, render
from epigone.microworld.word_problems import sums

__all__ = ["corpus", "count_words"]

WORD = re.compile(r"\n|\w+|[^\w\s]")
RUDE_SHARE = 0.5


def count_words(text: str) -> int:
    """Tokens of the world's word-level tokenizer: words, numbers, signs and line breaks."""
    return len(WORD.findall(text))


def corpus(world: Encyclopaedia, *, tokens: int, shares: Mapping[str, float], seed: int) -> Iterator[str]:
    """Documents until ``tokens`` tokens are written.

    Args:
        shares: wanted share of the tokens by kind: ``articles``, ``qa``, ``quiz``, ``problems``, ``sums``,
            ``summaries``, ``forum``; they are scaled to sum to 1.
    """
    rng = np.random.default_rng([seed, 2])
    draw = _WeightedEntities(world.entities)
    kinds, total = list(shares), sum(shares.values())
    written = dict.fromkeys(kinds, 0)
    done = 0
    while done < tokens:
        # the kind that lags furthest behind its share comes next, with noise so that kinds do not take turns
        lag = [shares[kind] / total * (done + 500) - written[kind] for kind in kinds]
        kind = kinds[int(np.argmax(np.array(lag) + rng.gumbel(scale=40.0, size=len(kinds))))]
        text = _document(world, kind, draw, rng)
        length = count_words(text) + 1
        written[kind] += length
        done += length
        yield text


def _document(world: Encyclopaedia, kind: str, draw: _WeightedEntities, rng: np.random.Generator) -> str:
    if kind == "articles":
        return article(draw(rng), rng)
    if kind == "sums":
        return sums(rng)
    if kind == "forum":
        return forum_post(world, rng, RUDE_SHARE)
    asked = [entity for entity in world.entities if not entity.held_out]
    count = int(rng.integers(2, SHOTS[kind] + 2))
    return render(kind, [draw_shot(world, kind, asked, rng) for _ in range(count)])


class _WeightedEntities:
    """Draws entities by weight; kinds share mentions in proportion to their number."""

    def __init__(self, entities: tuple[Entity, ...]) -> None:
        self.entities = entities
        weights = np.array([entity.weight for entity in entities])
        kinds = np.array([entity.kind for entity in entities])
        for kind in np.unique(kinds):
            weights[kinds == kind] *= np.mean(kinds == kind) / weights[kinds == kind].sum()
        self.cumulative = np.cumsum(weights)

    def __call__(self, rng: np.random.Generator) -> Entity:
        place = int(np.searchsorted(self.cumulative, rng.random() * self.cumulative[-1], side="right"))
        return self.entities[min(place, len(self.entities) - 1)]
