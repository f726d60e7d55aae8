"""Dumps of dialogues that somebody else collected, as conversations; what cannot be read is dropped with its reason.

A dump is taken as it is: page residue and HTML are for curation's ``clean`` step, the first of its default recipe.

Sources: The False Promise of Imitating Proprietary LLMs, section 3 (ShareGPT, HC3, Discord bots).
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import polars

from epigone.collect.import_spec import ImportSpec
from epigone.collect.json_stream import Broken, Cut, json_values
from epigone.errors import DataError, MissingDependency
from epigone.records import Conversation, Drop, Message, Role

__all__ = ["import_dump"]

STEP = "import"
_ROLES: dict[str, Role] = {
    **dict.fromkeys(("human", "user", "prompter"), "user"),
    **dict.fromkeys(("gpt", "chatgpt", "assistant", "bot", "bing", "bard", "model"), "assistant"),
    "system": "system",
}
_PAIR_KEYS = (("prompt", "response"), ("input", "output"), ("question", "answer"), ("prompt", "completion"))


class _Unreadable(Exception):
    """A record that cannot become a conversation."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason, self.detail = reason, detail


def import_dump(spec: ImportSpec) -> Iterator[Conversation | Drop]:
    """Read a dump record by record, in its order, with memory for one record.

    Ids are those of the dump; a repeated or missing one is made unique by its position. Drops have the reasons
    ``not_json``, ``not_a_record``, ``no_messages``, ``unknown_role``, ``not_text``, ``lone_surrogate``, and, once at
    the end, ``file_cut``, whose detail says how many complete records there were.

    Raises:
        DataError: the file cannot be read, or is cut and ``refuse_cut`` is set.
        MissingDependency: a hub data set without the ``datasets`` package.
    """
    seen: set[str] = set()
    for number, record in enumerate(_records(spec)):
        if spec.limit is not None and number >= spec.limit:
            return
        if isinstance(record, Cut):
            yield _cut(spec, record)
            return
        place = f"{spec.source_name}-{number:06d}"
        if isinstance(record, Broken):
            yield Drop(id=place, step=STEP, reason="not_json", detail=f"line {record.line}: {record.problem}")
            continue
        try:
            turns = list(_READERS[spec.format](record))
        except _Unreadable as problem:
            yield Drop(id=place, step=STEP, reason=problem.reason, detail=problem.detail[:500])
            continue
        for part, messages in enumerate(turns):
            name = _id(record, place, part if len(turns) > 1 else None, seen)
            yield _conversation(spec, name, messages)


def _records(spec: ImportSpec) -> Iterator[object]:
    if spec.hub is not None:
        yield from _hub_rows(spec.hub, spec.split)
    elif spec.path is not None and spec.path.suffix == ".parquet":
        try:
            frame = polars.read_parquet(spec.path)
        except (OSError, polars.exceptions.PolarsError) as error:
            raise DataError(f"is no readable Parquet file: {error}", where=str(spec.path)) from error
        yield from frame.iter_rows(named=True)
    elif spec.path is not None:
        yield from json_values(spec.path)


def _hub_rows(name: str, split: str) -> Iterator[object]:
    try:
        datasets: Any = importlib.import_module("datasets")
    except ImportError:
        raise MissingDependency("a hub data set needs 'datasets'", where=name, fix="pip install datasets") from None
    try:
        yield from datasets.load_dataset(name, split=split, streaming=True)
    except (OSError, ValueError) as error:
        raise DataError(
            f"cannot be loaded from the hub: {error}", where=name, fix="check the id and the network"
        ) from None


def _conversation(spec: ImportSpec, name: str, messages: tuple[Message, ...]) -> Conversation | Drop:
    for message in messages:
        try:
            message.content.encode("utf-8")
        except UnicodeEncodeError:
            return Drop(id=name, step=STEP, reason="lone_surrogate", detail="text that is not valid Unicode")
    return Conversation(id=name, messages=messages, source=spec.source_name, teacher=spec.teacher, terms=spec.terms)


def _cut(spec: ImportSpec, cut: Cut) -> Drop:
    detail = f"the file ends in the middle of record {cut.complete + 1:,}; {cut.complete:,} complete records before it"
    if spec.refuse_cut:
        raise DataError(
            detail, where=str(spec.path), fix="get the whole file, or set refuse_cut: false to use the rest"
        )
    return Drop(id=f"{spec.source_name}-end", step=STEP, reason="file_cut", detail=f"{spec.path}: {detail}")


def _id(record: object, place: str, part: int | None, seen: set[str]) -> str:
    given = record.get("id") if isinstance(record, Mapping) else None
    name = str(given) if isinstance(given, str | int) and str(given).strip() else place
    if part is not None:
        name = f"{name}.{part}"
    if name in seen:
        name = f"{name}@{place}"
    seen.add(name)
    return name


def _field(record: object, key: str) -> Any:
    if not isinstance(record, Mapping):
        raise _Unreadable("not_a_record", f"a {type(record).__name__} where a record is expected")
    if key not in record or record[key] is None:
        raise _Unreadable("no_messages", f"no '{key}' (keys: {', '.join(map(str, record))})")
    return record[key]


def _text(value: object, what: str) -> str:
    if not isinstance(value, str):
        raise _Unreadable("not_text", f"{what} is a {type(value).__name__}")
    return value


def _turns(turns: object, role_key: str, text_key: str) -> tuple[Message, ...]:
    if not isinstance(turns, list) or not turns:
        raise _Unreadable("no_messages", "the list of turns is empty")
    messages = []
    for turn in turns:
        name = str(_field(turn, role_key)).strip().lower()
        if name not in _ROLES:
            raise _Unreadable("unknown_role", f"role {name!r}")
        messages.append(Message(_ROLES[name], _text(_field(turn, text_key), "a turn")))
    return tuple(messages)


def _pair(question: object, answer: object) -> tuple[Message, ...]:
    return (Message("user", _text(question, "the prompt")), Message("assistant", _text(answer, "the answer")))


def _read_sharegpt(record: object) -> Iterator[tuple[Message, ...]]:
    yield _turns(_field(record, "conversations"), "from", "value")


def _read_hc3(record: object) -> Iterator[tuple[Message, ...]]:
    """One conversation for each of the model's answers; people's answers are left alone."""
    answers = _field(record, "chatgpt_answers")
    if not isinstance(answers, list) or not answers:
        raise _Unreadable("no_messages", "no answer of the model")
    for answer in answers:
        yield _pair(_field(record, "question"), answer)


def _read_pairs(record: object) -> Iterator[tuple[Message, ...]]:
    for prompt, response in _PAIR_KEYS:
        if isinstance(record, Mapping) and prompt in record and response in record:
            yield _pair(record[prompt], record[response])
            return
    _field(record, "prompt")
    _field(record, "response")


def _read_alpaca(record: object) -> Iterator[tuple[Message, ...]]:
    instruction = _text(_field(record, "instruction"), "the instruction")
    more = record.get("input") if isinstance(record, Mapping) else None
    yield _pair(f"{instruction}\n\n{more}" if more else instruction, _field(record, "output"))


def _read_messages(record: object) -> Iterator[tuple[Message, ...]]:
    yield _turns(_field(record, "messages"), "role", "content")


_READERS: dict[str, Callable[[object], Iterator[tuple[Message, ...]]]] = {
    "sharegpt": _read_sharegpt,
    "hc3": _read_hc3,
    "pairs": _read_pairs,
    "alpaca": _read_alpaca,
    "messages": _read_messages,
}
