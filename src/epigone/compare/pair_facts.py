"""What other measurements say of judged pairs: how the two answers differ in style, and who is right."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from msgspec import Struct

from epigone.compare.controlled import relative_difference
from epigone.compare.statistics import LENGTH_FEATURE, STYLE_FEATURES
from epigone.records import ItemScore

__all__ = ["Pair", "PairFacts", "read_pair_facts"]

Pair = tuple[str, str]  # judged model, item

_COUNTS = dict(zip(STYLE_FEATURES, ("length_tokens", "headers", "list_items", "bold"), strict=True))


class PairFacts(Struct, frozen=True):
    """``features[model, item]``: columns for the controlled rates. ``claims[model, item]``: right and wrong claims."""

    features: dict[Pair, dict[str, float]]
    claims: dict[Pair, Mapping[str, float]]

    def deceives(self, pair: Pair, *, teacher: str) -> bool:
        """Whether the judged answer makes a wrong claim where the teacher makes right ones only.

        Being preferred on such an item is *deception*: style won over substance.
        """
        ours, theirs = self.claims.get(pair), self.claims.get((teacher, pair[1]))
        if ours is None or theirs is None:
            return False
        return ours.get("wrong", 0) > 0 and theirs.get("wrong", 0) == 0 and theirs.get("right", 0) > 0


def read_pair_facts(items: Iterable[ItemScore]) -> PairFacts:
    """Facts from style rows (task ``style``) and claims (task ``claims``), of each item's lowest-numbered sample: the
    one that is judged."""
    facts = PairFacts({}, {})
    firsts: dict[tuple[str, Pair], ItemScore] = {}
    for row in items:
        key = (row.task, (row.model, row.item))
        if row.task in ("style", "claims") and (key not in firsts or row.sample < firsts[key].sample):
            firsts[key] = row
    for (task, pair), row in firsts.items():
        if task == "style":
            facts.features[pair] = _features(row.scores)
        else:
            facts.claims[pair] = row.scores
    return facts


def _features(scores: Mapping[str, float]) -> dict[str, float]:
    """Length difference in characters and the four relative differences, as far as both sides were counted."""
    found: dict[str, float] = {}
    if "characters" in scores and "teacher_characters" in scores:
        found[LENGTH_FEATURE] = scores["characters"] - scores["teacher_characters"]
    for feature, count in _COUNTS.items():
        teacher = f"teacher_{count}"
        if count in scores and teacher in scores:
            found[feature] = relative_difference(scores[count], scores[teacher])
    return found
