"""The base of every config that a user writes: frozen, unknown keys refused, the nearest known key suggested."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from epigone.errors import SpecError

__all__ = ["Spec", "parse_spec"]


class Spec(BaseModel):
    """A frozen pydantic model that refuses unknown keys. Each field says beneath itself what it means."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, protected_namespaces=())


SpecT = TypeVar("SpecT", bound=Spec)


def parse_spec(kind: type[SpecT], data: object, *, where: str) -> SpecT:
    """Validate ``data`` (as read from YAML) as ``kind``.

    Raises:
        SpecError: every problem at once, a line each: the key's path, what is wrong, the nearest known key.
    """
    if not isinstance(data, Mapping):
        raise SpecError(f"expected a mapping of keys to values, found {type(data).__name__}", where=where)
    try:
        return kind.model_validate(data)
    except ValidationError as error:
        problems = [_describe(kind, dict(problem)) for problem in error.errors(include_url=False)]
        fix = None
        if len(problems) == 1 and "; did you mean" in problems[0]:
            fix = "rename or remove that key"
        raise SpecError("; and ".join(problems), where=where, fix=fix) from None


def _describe(kind: type[Spec], problem: dict[str, Any]) -> str:
    path = list(problem["loc"])
    key = ".".join(str(part) for part in path)
    if problem["type"] == "extra_forbidden":
        known = _known_keys(kind, path[:-1])
        near = difflib.get_close_matches(str(path[-1]), known, n=1, cutoff=0.5)
        hint = f"; did you mean '{near[0]}'?" if near else (f"; known keys: {', '.join(known)}" if known else "")
        return f"unknown key '{key}'{hint}"
    if problem["type"] == "missing":
        return f"the key '{key}' is missing"
    message = str(problem["msg"]).removeprefix("Value error, ")
    given = problem.get("input")
    shown = f" (given: {given!r})" if isinstance(given, str | int | float | bool) or given is None else ""
    return f"'{key}': {message}{shown}" if key else message


def _known_keys(kind: type[Spec], path: list[Any]) -> list[str]:
    """The field names at ``path`` below ``kind``; unions are searched through."""
    candidates: list[Any] = [kind]
    for part in path:
        following: list[Any] = []
        for candidate in candidates:
            if isinstance(candidate, type) and issubclass(candidate, BaseModel):
                field = candidate.model_fields.get(str(part))
                if field is not None:
                    following += _inner_types(field.annotation)
                    continue
                if candidate.__name__ == str(part):
                    following.append(candidate)
                    continue
            following.append(candidate)
        candidates = following
    names: list[str] = []
    for candidate in candidates:
        if isinstance(candidate, type) and issubclass(candidate, BaseModel):
            names += [field.alias or name for name, field in candidate.model_fields.items()]
    return list(dict.fromkeys(names))


def _inner_types(annotation: Any) -> list[Any]:
    arguments = getattr(annotation, "__args__", None)
    if not arguments:
        return [annotation]
    return [inner for argument in arguments for inner in _inner_types(argument)]
