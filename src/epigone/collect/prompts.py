"""Prompt files of the usual shapes, as conversations that hold user turns only."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from msgspec import Struct

from epigone.disk import iter_jsonl
from epigone.errors import DataError
from epigone.records import Conversation, Message

__all__ = ["read_prompts"]


class _PromptLine(Struct, frozen=True):
    """A line of a prompt file: the first of these keys that is there holds the prompt."""

    messages: list[Message] | None = None
    turns: list[str] | None = None
    prompt: str | None = None
    instruction: str | None = None
    question: str | None = None
    text: str | None = None
    input: str | None = None
    id: str | int | None = None
    question_id: str | int | None = None
    source: str = ""


def read_prompts(path: Path | str) -> list[Conversation]:
    """Read prompts as conversations of user turns (a leading system turn is kept; assistant turns are left out).

    ``.jsonl`` or ``.json`` lines hold one of ``messages``, ``turns`` (a list of user turns, as MT-bench has),
    ``prompt``, ``instruction`` (with an optional ``input``), ``question`` or ``text``, and may hold ``id`` or
    ``question_id``. Any other file is plain text, one prompt a line. Ids that are missing are made from the line.

    Raises:
        DataError: no such file, a line that holds no prompt, an id given twice, no prompt at all.
    """
    path = Path(path)
    lines = iter_jsonl(path, _PromptLine) if path.suffix in (".jsonl", ".json") else _text_lines(path)
    prompts: list[Conversation] = []
    seen: set[str] = set()
    for number, line in enumerate(lines, 1):
        messages = tuple(message for message in _messages(line) if message.content.strip())
        if not any(message.role == "user" for message in messages):
            raise DataError("holds no user turn", where=f"{path}: record {number}", fix="remove it or give it a prompt")
        given = line.id if line.id is not None else line.question_id
        name = f"{path.stem}-{number:06d}" if given is None else str(given)
        if name in seen:
            raise DataError(f"the id '{name}' is given twice", where=f"{path}: record {number}")
        seen.add(name)
        prompts.append(Conversation(id=name, messages=messages, source=line.source or path.stem))
    if not prompts:
        raise DataError("holds no prompt", where=str(path))
    return prompts


def _messages(line: _PromptLine) -> list[Message]:
    if line.messages is not None:
        return [message for message in line.messages if message.role != "assistant"]
    if line.turns is not None:
        return [Message("user", turn) for turn in line.turns]
    if line.prompt is None and line.instruction is not None and line.input:
        return [Message("user", f"{line.instruction}\n\n{line.input}")]
    text = next((text for text in (line.prompt, line.instruction, line.question, line.text) if text is not None), "")
    return [Message("user", text)]


def _text_lines(path: Path) -> Iterator[_PromptLine]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror}", where=str(path), fix="check the path") from error
    except UnicodeDecodeError as error:
        raise DataError("is not UTF-8 text", where=str(path)) from error
    return (_PromptLine(prompt=line) for line in text.splitlines() if line.strip())
