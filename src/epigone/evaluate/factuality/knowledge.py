"""What is true: facts as triples, and the patterns by which texts state them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from msgspec import Struct

from epigone.disk import iter_jsonl, read_yaml
from epigone.errors import DataError, SpecError
from epigone.specs import Spec

__all__ = ["ClaimsSpec", "Fact", "Knowledge", "normalize_value", "read_knowledge"]


class ClaimsSpec(Spec):
    """Facts to judge claims by, and how claims are found in a text."""

    facts: Path
    """JSON lines ``{"subject": …, "relation": …, "value": …, "aliases": […]}``; ``aliases`` may be left out. Several
    lines of one subject and relation are all true."""

    patterns: Path
    """YAML, relation -> regular expressions with a group ``value`` and, where the sentence names it, ``subject``:
    ``birth_year: ['(?P<subject>[A-Z]\\w+ [A-Z]\\w+) was born in (?P<value>\\d{4})']``. Python's syntax; letters' case
    counts unless a pattern begins with ``(?i)``."""


class Fact(Struct, frozen=True, forbid_unknown_fields=True):
    """``value``, or any of ``aliases``, is what ``relation`` of ``subject`` is."""

    subject: str
    relation: str
    value: str
    aliases: tuple[str, ...] = ()


class Knowledge(Struct, frozen=True):
    """Facts ready to be looked up.

    ``facts[subject, relation]``: accepted values, normalised, and the first spelling for people to read.
    ``subjects``: normalised name -> name. ``patterns[relation]``: compiled expressions.
    """

    facts: dict[tuple[str, str], tuple[frozenset[str], str]]
    subjects: dict[str, str]
    patterns: dict[str, tuple[re.Pattern[str], ...]]
    mention: re.Pattern[str]


def read_knowledge(spec: ClaimsSpec) -> Knowledge:
    """Read facts and patterns.

    Raises:
        DataError: a fact is malformed, or there are none.
        SpecError: a pattern is no regular expression, has no group ``value``, or its relation has no fact.
    """
    facts: dict[tuple[str, str], tuple[frozenset[str], str]] = {}
    subjects: dict[str, str] = {}
    for fact in iter_jsonl(spec.facts, Fact):
        key = (normalize_value(fact.subject), fact.relation)
        accepted = frozenset(normalize_value(text) for text in (fact.value, *fact.aliases))
        before, shown = facts.get(key, (frozenset(), ""))
        facts[key] = (before | accepted, f"{shown} | {fact.value}" if shown else fact.value)
        subjects[key[0]] = fact.subject
    if not facts:
        raise DataError("holds no facts", where=str(spec.facts))
    patterns = _read_patterns(spec.patterns, {relation for _, relation in facts})
    return Knowledge(facts, subjects, patterns, _mention_of(subjects.values()))


def normalize_value(text: str) -> str:
    """Lower case, outer punctuation off, single spaces: two spellings of one value become equal."""
    return " ".join(text.lower().split()).strip(" .,;:!?\"'()")


def _read_patterns(path: Path, relations: set[str]) -> dict[str, tuple[re.Pattern[str], ...]]:
    document = read_yaml(path)
    if not isinstance(document, Mapping) or not document:
        raise SpecError("expected a mapping relation -> list of regular expressions", where=str(path))
    patterns: dict[str, tuple[re.Pattern[str], ...]] = {}
    for relation, listed in document.items():
        if relation not in relations:
            known = ", ".join(sorted(relations))
            raise SpecError(f"no fact has the relation '{relation}'", where=str(path), fix=f"relations: {known}")
        expressions = [listed] if isinstance(listed, str) else listed
        if not isinstance(expressions, Sequence) or not all(isinstance(one, str) for one in expressions):
            raise SpecError(f"'{relation}' must be a list of regular expressions", where=str(path))
        patterns[str(relation)] = tuple(_compile(one, relation, path) for one in expressions)
    return patterns


def _compile(expression: str, relation: str, path: Path) -> re.Pattern[str]:
    try:
        compiled = re.compile(expression)
    except re.error as error:
        raise SpecError(f"'{relation}': not a regular expression: {error}", where=str(path), fix=expression) from error
    if "value" not in compiled.groupindex:
        fix = "name the group that holds the value: (?P<value>…)"
        raise SpecError(f"'{relation}': no group 'value' in {expression!r}", where=str(path), fix=fix)
    return compiled


def _mention_of(names: Iterable[str]) -> re.Pattern[str]:
    """One expression for every known subject; the longest name wins where one begins like another."""
    ordered = sorted(names, key=len, reverse=True)
    return re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, ordered))})(?!\w)", re.IGNORECASE)
