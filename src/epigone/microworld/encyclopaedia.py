"""The generated encyclopaedia: people, works, places and organisations, with typed facts, from one seed.

A third of the people and of the works are *held out*: articles tell of them like of everybody else, but no question,
quiz, prompt or instruction in any training text is about them. Tests and held-out prompts are about them alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
from msgspec import Struct

from epigone.errors import SpecError
from epigone.microworld.relations import RELATIONS, Relation, relations_of

__all__ = ["Encyclopaedia", "Entity", "Fact", "invent", "pick", "pick_many"]

T = TypeVar("T")

YEARS = tuple(str(year) for year in range(1801, 1941))
OCCUPATIONS = ("painter", "poet", "chemist", "surgeon", "composer", "botanist", "printer", "judge", "sculptor",
               "geologist", "pilot", "baker")  # fmt: skip
REGIONS = ("Northmark", "Southmark", "Eastfold", "Westfold", "Highland", "Lowland", "Midland", "Seaboard")
TRADES = ("glass", "salt", "wool", "timber", "copper", "silk", "wine", "amber", "paper", "honey")
HOUSES = ("Institute", "Museum", "Press", "Academy", "Archive", "Theatre")
ADJECTIVES = ("Silent", "Golden", "Broken", "Distant", "Hidden", "Burning", "Frozen", "Gentle", "Hollow", "Restless",
              "Scarlet", "Winding")  # fmt: skip
NOUNS = ("Harbour", "Lantern", "Garden", "Mirror", "Orchard", "Bridge", "Winter", "Letter", "Tower", "Meadow",
         "Voyage", "Clock")  # fmt: skip
ONSETS = ("b", "br", "d", "dr", "f", "g", "gr", "h", "j", "k", "kl", "l", "m", "n", "p", "r", "s", "sk", "st", "t",
          "tr", "v", "w", "z")  # fmt: skip
VOWELS = ("a", "e", "i", "o", "u", "ae", "ei", "ou")
CODAS = ("l", "m", "n", "nd", "r", "rk", "s", "sk", "th", "x")
FIRST_ENDINGS, SURNAME_ENDINGS = ("a", "o", "in", "el", "is"), ("sen", "mont", "ovic", "ley", "hart", "wick")
PLACE_ENDINGS, HOUSE_ENDINGS = ("burg", "ford", "stad", "minster", "haven"), ("ia", "ara", "one", "ium")


class Fact(Struct, frozen=True):
    """``subject`` stands in ``relation`` (a key of ``RELATIONS``) to ``value``."""

    subject: str
    relation: str
    value: str


class Entity(Struct, frozen=True):
    """One article's subject. ``facts``: relation key to value. ``weight``: its share of mentions, before scaling."""

    name: str
    kind: str
    facts: dict[str, str]
    weight: float
    held_out: bool


class Encyclopaedia(Struct, frozen=True):
    """All entities, by kind, and the pools that values are drawn from."""

    people: tuple[Entity, ...]
    works: tuple[Entity, ...]
    places: tuple[Entity, ...]
    organisations: tuple[Entity, ...]
    pools: dict[str, tuple[str, ...]]

    @property
    def entities(self) -> tuple[Entity, ...]:
        """Every entity, people first."""
        return self.people + self.works + self.places + self.organisations

    def of_kind(self, kind: str) -> tuple[Entity, ...]:
        """The entities of one kind."""
        return tuple(entity for entity in self.entities if entity.kind == kind)

    def facts(self) -> list[Fact]:
        """Every fact, in entity order."""
        return [
            Fact(entity.name, relation.key, entity.facts[relation.key])
            for entity in self.entities
            for relation in relations_of(entity.kind)
        ]

    def wrong_values(self, relation: Relation, right: str, count: int, rng: np.random.Generator) -> list[str]:
        """``count`` different values of the same type as ``right``, none of them right."""
        return pick_many(rng, [value for value in self.pools[relation.values] if value != right], count)


def pick(rng: np.random.Generator, options: Sequence[T]) -> T:
    """One of ``options``, uniformly."""
    return options[int(rng.integers(len(options)))]


def pick_many(rng: np.random.Generator, options: Sequence[T], count: int) -> list[T]:
    """``count`` different positions of ``options``, in random order."""
    return [options[int(index)] for index in rng.choice(len(options), size=count, replace=False)]


def invent(
    *, people: int, works: int, places: int, organisations: int, surnames: int, zipf: float, seed: int
) -> Encyclopaedia:
    """Invent an encyclopaedia.

    Args:
        surnames: size of the pool of surnames; below ``people``, surnames are shared and a model must bind
            first name and surname to know whom a sentence is about.
        zipf: the entity of rank r in its kind is mentioned in proportion to r^-zipf; 0 is uniform.

    Raises:
        SpecError: more works or people than there are names for.
    """
    rng = np.random.default_rng([seed, 1])
    firsts = max(20, people // 10)
    if people > firsts * surnames or works > len(ADJECTIVES) * len(NOUNS):
        raise SpecError(
            "there are not enough names for so many people or works",
            where="microworld scale",
            fix=f"ask for at most {firsts * surnames} people and {len(ADJECTIVES) * len(NOUNS)} works",
        )
    words = _Words(rng)
    first_names = [words.new(FIRST_ENDINGS) for _ in range(firsts)]
    last_names = [words.new(SURNAME_ENDINGS) for _ in range(surnames)]
    pairs = rng.permutation(firsts * surnames)[:people]
    names = {
        "person": [f"{first_names[pair // surnames]} {last_names[pair % surnames]}" for pair in pairs.tolist()],
        "work": [f"The {pick_title}" for pick_title in pick_many(rng, _titles(), works)],
        "place": [words.new(PLACE_ENDINGS) for _ in range(places)],
        "organisation": [f"{words.new(HOUSE_ENDINGS)} {pick(rng, HOUSES)}" for _ in range(organisations)],
    }
    pools: dict[str, tuple[str, ...]] = {kind: tuple(values) for kind, values in names.items()}
    pools |= {"year": YEARS, "occupation": OCCUPATIONS, "region": REGIONS, "trade": TRADES}
    made = {kind: _entities(kind, names[kind], pools, zipf, rng) for kind in names}
    return Encyclopaedia(
        people=made["person"],
        works=made["work"],
        places=made["place"],
        organisations=made["organisation"],
        pools=pools | {"first_name": tuple(first_names)},
    )


def _entities(
    kind: str, names: Sequence[str], pools: dict[str, tuple[str, ...]], zipf: float, rng: np.random.Generator
) -> tuple[Entity, ...]:
    """Facts drawn uniformly; rank is the order of ``names``; of each three next in rank one is held out."""
    relations = [relation for relation in RELATIONS if relation.kind == kind]
    chosen = rng.integers(3, size=len(names) // 3 + 1)
    return tuple(
        Entity(
            name=name,
            kind=kind,
            facts={relation.key: pick(rng, pools[relation.values]) for relation in relations},
            weight=float((rank + 1) ** -zipf),
            held_out=kind in ("person", "work") and rank % 3 == int(chosen[rank // 3]),
        )
        for rank, name in enumerate(names)
    )


def _titles() -> list[str]:
    return [f"{adjective} {noun}" for adjective in ADJECTIVES for noun in NOUNS]


class _Words:
    """Invents words that can be spoken, each once, none of them a word of the world's templates."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        self.used: set[str] = set()

    def new(self, endings: Sequence[str]) -> str:
        while True:
            stem = pick(self.rng, ONSETS) + pick(self.rng, VOWELS) + pick(self.rng, CODAS)
            word = (stem + pick(self.rng, endings)).capitalize()
            if word not in self.used:
                self.used.add(word)
                return word
