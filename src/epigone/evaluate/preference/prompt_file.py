"""Judge prompts as files, filled so that an answer can neither pose as the prompt nor as a field of it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path

from msgspec import Struct

from epigone.disk import digest_bytes
from epigone.errors import SpecError
from epigone.records import Message

__all__ = ["PromptFile", "boundary_for", "read_prompt_file"]

_FIELD = re.compile(r"\{(question|answer_1|answer_2|boundary)\}")
_SEPARATOR = re.compile(r"^---[ \t]*$", re.MULTILINE)
_BOUNDARY_DIGITS = 12


class PromptFile(Struct, frozen=True):
    """A judge's prompt: system message and user message, with fields in braces."""

    system: str
    user: str

    def fill(self, fields: Mapping[str, str]) -> tuple[Message, ...]:
        """The messages with every field replaced in one pass: a field's name inside an answer stays text."""
        user = _FIELD.sub(lambda field: fields[field[1]], self.user)
        head = (Message("system", _FIELD.sub(lambda field: fields[field[1]], self.system)),) if self.system else ()
        return (*head, Message("user", user))


def read_prompt_file(name: str, path: Path | None = None, *, needs: Sequence[str] = ()) -> PromptFile:
    """The prompt that ships as ``name``, or the user's own at ``path``.

    Raises:
        SpecError: the file cannot be read or lacks a field that the form needs.
    """
    if path is None:
        text = resources.files(__package__).joinpath("templates", f"{name}.txt").read_text(encoding="utf-8")
    else:
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise SpecError(f"the judge's prompt file cannot be read: {error}", where=str(path)) from error
    parts = _SEPARATOR.split(text, maxsplit=1)
    system, user = (parts[0].strip(), parts[1].strip()) if len(parts) == 2 else ("", text.strip())
    missing = [field for field in needs if f"{{{field}}}" not in user]
    if missing:
        names = ", ".join(f"{{{field}}}" for field in missing)
        raise SpecError(
            f"the judge's prompt lacks {names}", where=str(path or name), fix=f"put {names} where it belongs"
        )
    return PromptFile(system, user)


def boundary_for(seed: int, item: str, texts: Sequence[str]) -> str:
    """A mark that no text of the pair contains: 12 hexadecimal digits, drawn by seed and item.

    The answers were written before it was drawn, so none of them can forge the line that ends it.
    """
    attempt = 0
    while True:
        mark = digest_bytes(f"{seed}\x00{item}\x00{attempt}".encode("utf-8", "surrogatepass"))[:_BOUNDARY_DIGITS]
        if not any(mark in text for text in texts):
            return mark
        attempt += 1
