"""The base of every config that a user writes: frozen, unknown keys refused, the nearest known key suggested."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from epigone.errors import SpecError

__all__ = ["Spec", "beside", "parse_spec"]


class Spec(BaseModel):
    """A frozen pydantic model that refuses unknown keys. Each field says beneath itself what it means."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, protected_namespaces=())


SpecT = TypeVar("SpecT", bound=Spec)

_MAY_HOLD_A_KEY = {"key_env", "base_url"}
"""Where a user may have written an API key by mistake: what was given there is not repeated in an error."""


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
        found = [dict(problem) for problem in error.errors(include_url=False)]
        problems = list(dict.fromkeys(_describe(kind, data, problem) for problem in found if _is_own(problem, found)))
        fix = None
        if len(problems) == 1 and "; did you mean" in problems[0]:
            fix = "rename or remove that key"
        raise SpecError("; and ".join(problems), where=where, fix=fix) from None


def beside(spec: SpecT, folder: Path) -> SpecT:
    """``spec`` with its relative paths taken from ``folder``; an ``hf`` that is no folder there stays a hub id."""
    return spec.model_copy(update={name: _moved(name, getattr(spec, name), folder) for name in spec.model_fields_set})


def _moved(name: str, value: Any, folder: Path) -> Any:
    if isinstance(value, Spec):
        return beside(value, folder)
    if isinstance(value, tuple):
        return tuple(_moved(name, item, folder) for item in value)
    if name == "hf" and isinstance(value, str):
        local = folder / Path(value).expanduser()
        return str(local) if local.is_dir() else value
    return folder / value.expanduser() if isinstance(value, Path) else value


def _is_own(problem: dict[str, Any], found: list[dict[str, Any]]) -> bool:
    """Not the echo of another: a list that lacks only an entry which is itself wrong is not too short."""
    path = problem["loc"]
    inner = any(other["loc"][: len(path)] == path and len(other["loc"]) > len(path) for other in found)
    return problem["type"] != "too_short" or not inner


def _written_path(data: object, path: list[Any]) -> list[str]:
    """``path`` as the user wrote it: without pydantic's names for the branches of a union."""
    kept: list[str] = []
    for place, part in enumerate(path, 1):
        try:
            data = data[part]  # type: ignore[index]  # a scalar has no parts: TypeError
        except (KeyError, IndexError, TypeError):
            missing = place == len(path) and isinstance(data, Mapping)
            if not missing and not isinstance(part, int):
                continue
        kept.append(str(part))
    return kept


def _describe(kind: type[Spec], data: object, problem: dict[str, Any]) -> str:
    path = list(problem["loc"])
    key = ".".join(_written_path(data, path))
    if problem["type"] == "extra_forbidden":
        known = _known_keys(kind, path[:-1])
        near = difflib.get_close_matches(str(path[-1]), known, n=1, cutoff=0.5)
        hint = f"; did you mean '{near[0]}'?" if near else (f"; known keys: {', '.join(known)}" if known else "")
        return f"unknown key '{key}'{hint}"
    if problem["type"] == "missing":
        return f"the key '{key}' is missing"
    message = str(problem["msg"]).removeprefix("Value error, ")
    if problem["type"] == "too_short":
        message = f"needs at least {problem['ctx']['min_length']} entry"
    given = problem.get("input")
    plain = isinstance(given, str | int | float | bool) or given is None
    shown = f" (given: {given!r})" if plain and (not path or path[-1] not in _MAY_HOLD_A_KEY) else ""
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
