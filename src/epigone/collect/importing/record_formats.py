"""What a record of each dump format holds, as dialogues of ``messages``.

sharegpt  {"id": "QWJhYvA_0", "conversations": [{"from": "human", "value": "…"}, {"from": "gpt", "value": "…"}]}
          (``items`` instead of ``conversations`` in raw scrapes)
hc3       {"question": "…", "human_answers": ["…"], "chatgpt_answers": ["…", "…"], "source": "reddit_eli5"}
alpaca    {"instruction": "…", "input": "", "output": "…"}
pairs     {"prompt": "…", "response": "…"}           (keys as the spec names them)
messages  {"messages": [{"role": "user", "content": "…"}, …]}
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from msgspec import Struct, field

from epigone.collect.importing.import_spec import DumpFormat, ImportSpec
from epigone.page_text import html_to_text, is_rendered_page
from epigone.records import Message, Role

__all__ = ["READERS", "Dialogue", "Fault", "RecordReader"]

_ROLES: dict[str, Role] = {
    "human": "user", "user": "user", "prompter": "user", "gpt": "assistant", "chatgpt": "assistant",
    "assistant": "assistant", "system": "system",
}  # fmt: skip
_PROMPT_KEYS = ("prompt", "input", "question")
_RESPONSE_KEYS = ("response", "output", "completion", "answer")


class Dialogue(Struct, frozen=True):
    """A dialogue found in a record. ``origin``: the record's own id, with the answer's number where it has several."""

    origin: str
    messages: tuple[Message, ...]
    tags: dict[str, str] = {}


class Fault(Struct, frozen=True):
    """Why a record, or a part of it, is no dialogue."""

    origin: str
    reason: str
    detail: str = ""


class RecordReader(Struct, frozen=True):
    """The type to decode a record as, and how to take its dialogues out."""

    kind: Any
    dialogues: Callable[[Any, ImportSpec], Iterator[Dialogue | Fault]]


class _Turn(Struct, frozen=True):
    speaker: str = field(name="from")
    value: str | None = None


class _ShareGpt(Struct, frozen=True):
    id: str | int | None = None
    conversations: list[_Turn] | None = None
    items: list[_Turn] | None = None


class _Hc3(Struct, frozen=True):
    question: str
    chatgpt_answers: list[str]
    id: str | int | None = None
    source: str | None = None


class _Alpaca(Struct, frozen=True):
    instruction: str
    output: str
    input: str | None = None
    id: str | int | None = None


class _Part(Struct, frozen=True):
    type: str
    text: str | None = None


class _ChatTurn(Struct, frozen=True):
    role: str
    content: str | list[_Part] | None = None


class _Messages(Struct, frozen=True):
    messages: list[_ChatTurn]
    id: str | int | None = None


def _sharegpt(record: _ShareGpt, spec: ImportSpec) -> Iterator[Dialogue | Fault]:
    turns = record.conversations if record.conversations is not None else record.items
    spoken = [(turn.speaker, turn.value or "") for turn in turns or ()]
    yield _dialogue(_name(record.id), spoken, spec)


def _hc3(record: _Hc3, spec: ImportSpec) -> Iterator[Dialogue | Fault]:
    name, tags = _name(record.id), {"hc3": record.source} if record.source else {}
    if not record.chatgpt_answers:
        yield Fault(name, "no_answer")
    several = len(record.chatgpt_answers) > 1
    for number, answer in enumerate(record.chatgpt_answers):
        found = _pair(f"{name}#{number}" if several else name, record.question, answer, spec)
        yield found if isinstance(found, Fault) else Dialogue(found.origin, found.messages, tags)


def _alpaca(record: _Alpaca, spec: ImportSpec) -> Iterator[Dialogue | Fault]:
    prompt = f"{record.instruction}\n\n{record.input}" if record.input else record.instruction
    yield _pair(_name(record.id), prompt, record.output, spec)


def _pairs(record: dict[str, object], spec: ImportSpec) -> Iterator[Dialogue | Fault]:
    given = record.get("id")
    name = _name(given if isinstance(given, str | int) else None)
    prompt = _first_text(record, (spec.prompt_key,) if spec.prompt_key else _PROMPT_KEYS)
    response = _first_text(record, (spec.response_key,) if spec.response_key else _RESPONSE_KEYS)
    if prompt is None or response is None:
        missing = "prompt_key" if prompt is None else "response_key"
        yield Fault(name, "not_a_record", f"{missing} names no text; keys: {', '.join(list(record)[:8])}")
        return
    yield _pair(name, prompt, response, spec)


def _messages(record: _Messages, spec: ImportSpec) -> Iterator[Dialogue | Fault]:
    name = _name(record.id)
    spoken: list[tuple[str, str]] = []
    for turn in record.messages:
        if isinstance(turn.content, list):
            if any(part.type != "text" or part.text is None for part in turn.content):
                yield Fault(name, "not_only_text", "a turn holds an image, audio or a tool call")
                return
            spoken.append((turn.role, "".join(part.text or "" for part in turn.content)))
        else:
            spoken.append((turn.role, turn.content or ""))
    yield _dialogue(name, spoken, spec)


READERS: dict[DumpFormat, RecordReader] = {
    "sharegpt": RecordReader(_ShareGpt, _sharegpt),
    "hc3": RecordReader(_Hc3, _hc3),
    "alpaca": RecordReader(_Alpaca, _alpaca),
    "pairs": RecordReader(dict[str, object], _pairs),
    "messages": RecordReader(_Messages, _messages),
}


def _first_text(record: dict[str, object], keys: tuple[str, ...]) -> str | None:
    return next((text for key in keys if isinstance(text := record.get(key), str)), None)


def _name(given: str | int | None) -> str:
    return "" if given is None else str(given)


def _pair(name: str, prompt: str, response: str, spec: ImportSpec) -> Dialogue | Fault:
    if not prompt.strip():
        return Fault(name, "empty_prompt")
    if not response.strip():
        return Fault(name, "empty_answer", prompt[:500])
    return _dialogue(name, [("user", prompt), ("assistant", response)], spec)


def _dialogue(name: str, spoken: list[tuple[str, str]], spec: ImportSpec) -> Dialogue | Fault:
    """Map the speakers. Order and empty turns stay as they are: mending a dialogue is curation's task."""
    messages: list[Message] = []
    for speaker, text in spoken:
        role = spec.roles.get(speaker) or _ROLES.get(speaker)
        if role is None:
            return Fault(name, "unknown_role", speaker[:100])
        messages.append(Message(role, html_to_text(text) if spec.html == "text" and is_rendered_page(text) else text))
    if not any(message.content.strip() for message in messages):
        return Fault(name, "empty")
    return Dialogue(name, tuple(messages))
