"""The encyclopaedia: typed facts, unique names, one half of the people held out, rare entities rare."""

from __future__ import annotations

import numpy as np
import pytest

from epigone.errors import SpecError
from epigone.microworld import SCALES, Encyclopaedia, make_encyclopaedia
from epigone.microworld.corpus import corpus
from epigone.microworld.encyclopaedia import invent
from epigone.microworld.relations import RELATIONS, relations_of


def test_every_entity_has_one_value_of_the_right_type_for_each_relation_of_its_kind(world: Encyclopaedia) -> None:
    for entity in world.entities:
        assert set(entity.facts) == {relation.key for relation in relations_of(entity.kind)}
    for relation in RELATIONS:
        for entity in world.of_kind(relation.kind):
            assert entity.facts[relation.key] in world.pools[relation.values]


def test_no_two_entities_share_a_name(world: Encyclopaedia) -> None:
    names = [entity.name for entity in world.entities]
    assert len(set(names)) == len(names)


def test_of_each_three_people_next_in_rank_exactly_one_is_held_out(world: Encyclopaedia) -> None:
    sides = [person.held_out for person in world.people]
    assert [sum(sides[start : start + 3]) for start in range(0, len(sides), 3)] == [1] * (len(sides) // 3)


def test_the_same_seed_gives_the_same_world_and_another_seed_another(world: Encyclopaedia) -> None:
    assert make_encyclopaedia(SCALES["smoke"], seed=0) == world
    assert make_encyclopaedia(SCALES["smoke"], seed=1) != world


def test_wrong_values_are_of_the_same_type_and_never_right(world: Encyclopaedia) -> None:
    rng = np.random.default_rng(0)
    relation = next(one for one in RELATIONS if one.key == "occupation")
    for _ in range(50):
        wrong = world.wrong_values(relation, "poet", 3, rng)
        assert len(set(wrong)) == 3 and "poet" not in wrong
        assert set(wrong) <= set(world.pools["occupation"])


def test_mentions_in_articles_fall_with_rank_by_the_zipf_exponent() -> None:
    world = invent(people=100, works=20, places=10, organisations=8, surnames=60, zipf=1.0, seed=0)
    texts = list(corpus(world, tokens=300_000, shares={"articles": 1.0}, seed=0))
    names = [person.name for person in world.people]
    mentions = np.array([sum(name in text for text in texts) for name in names], dtype=float)
    slope = np.polyfit(np.log(np.arange(1, 101)), np.log(mentions), 1)[0]
    assert -1.1 < slope < -0.9


def test_too_many_people_for_the_names_is_a_spec_error() -> None:
    with pytest.raises(SpecError, match="not enough names"):
        invent(people=500, works=10, places=5, organisations=5, surnames=5, zipf=0.5, seed=0)
