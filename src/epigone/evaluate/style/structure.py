"""The layout of a response: code blocks, headers, lists, paragraphs; in Markdown, plain text or word-level text.

A response is read as lines. Code blocks are set aside first: nothing inside them is a list, a header or a paragraph.
Word-level models write ``1 .`` for ``1.`` and put spaces around line breaks: markers may stand apart from their dots.
"""

from __future__ import annotations

import re
from typing import Literal

from msgspec import Struct

__all__ = ["Block", "BlockKind", "Structure", "read_structure"]

BlockKind = Literal["text", "list", "header", "code"]

_FENCE = re.compile(r"^\s*(```+(?=[^`]*$)|~~~+)")  # ``` on both sides of a line's code is code within a line
_RULE = re.compile(r"^\s*([-*_])(?:\s*\1){2,}\s*$")
_HEADER = re.compile(r"^\s{0,3}#{1,6}\s+\S")
_BULLET = re.compile(r"^\s*(?:[-*+•◦‣▪●·–]\s+|•)(?=\S)")
_NUMBER = re.compile(r"^\s*(?:\*\*|__)?(?:\(?(\d{1,3})\s?[.)](?!\d)|(?:[Ss]tep|#)\s?(\d{1,3})\s?[:.)-])\s*(?=\S)")
_LETTER = re.compile(r"^\s*\(?([a-zA-Z])[.)]\s+(?=\S)")
_INLINE_NUMBER = re.compile(r"(?:^|(?<=[\s:;]))\(?(\d{1,2})\s?[.)](?=\s|[A-Z])")
_BOLD = re.compile(r"\*\*(?=\S)[^*\n]+?(?<=\S)\*\*|(?<!\w)__(?=\S)[^_\n]+?(?<=\S)__(?!\w)")
_PLAIN_ITEM_WORDS = 12
_PLAIN_MEAN_WORDS = 6  # longer unmarked lines are verse or dialogue


class Block(Struct, frozen=True):
    """A run of lines of one kind. ``items``: how many list items it holds (0 unless it is a list)."""

    kind: BlockKind
    text: str
    items: int = 0


class Structure(Struct, frozen=True):
    """A response's blocks in order, and what was counted on the way. ``prose`` is everything outside code."""

    blocks: tuple[Block, ...]
    prose: str
    headers: int
    bold: int

    @property
    def list_items(self) -> int:
        """Items of all lists; nested items count as items."""
        return sum(block.items for block in self.blocks)

    @property
    def has_list(self) -> bool:
        """Whether any list stands outside code."""
        return any(block.kind == "list" for block in self.blocks)

    @property
    def code_blocks(self) -> int:
        """Fenced blocks of code."""
        return sum(block.kind == "code" for block in self.blocks)


def read_structure(text: str) -> Structure:
    """Split a response into code, headers, lists and paragraphs of text.

    A list has at least two items: lines that begin with a bullet, a number or a letter; numbers that count up from 1
    within one line; or at least three short plain lines after a line that ends in a colon. An item's further lines
    belong to it until a blank line is followed by a line that is no item and not indented.
    """
    blocks: list[Block] = []
    prose: list[str] = []
    for kind, lines in _split_code(text):
        if kind == "code":
            blocks.append(Block("code", "\n".join(lines)))
        else:
            prose += lines
            blocks += _prose_blocks(lines)
    joined = "\n".join(prose)
    headers = sum(block.kind == "header" for block in blocks)
    return Structure(tuple(blocks), joined, headers, len(_BOLD.findall(joined)))


def _split_code(text: str) -> list[tuple[Literal["code", "prose"], list[str]]]:
    """Alternate runs of lines outside and inside fences; a fence that is never closed runs to the end."""
    runs: list[tuple[Literal["code", "prose"], list[str]]] = [("prose", [])]
    fence = ""
    for line in text.splitlines():
        mark = _FENCE.match(line)
        if not fence and mark:
            fence = mark[1]
            runs.append(("code", []))
        elif fence and mark and mark[1].startswith(fence):
            fence = ""
            runs.append(("prose", []))
        else:
            runs[-1][1].append(line)
    return [run for run in runs if run[0] == "code" or any(line.strip() for line in run[1])]


def _prose_blocks(lines: list[str]) -> list[Block]:
    """Paragraphs, then paragraphs joined where a list runs on over blank lines."""
    blocks: list[Block] = []
    for paragraph in _paragraphs(lines):
        blocks += _paragraph_blocks(paragraph, blocks[-1] if blocks else None)
    return _settle(blocks)


def _paragraphs(lines: list[str]) -> list[list[str]]:
    """Runs of lines between blank lines."""
    found: list[list[str]] = [[]]
    for line in lines:
        if line.strip():
            found[-1].append(line)
        elif found[-1]:
            found.append([])
    return [paragraph for paragraph in found if paragraph]


def _paragraph_blocks(lines: list[str], before: Block | None) -> list[Block]:
    """One paragraph's blocks; a line that is no item continues an item only within its paragraph or when indented."""
    if _is_plain_list(lines, before):
        intro = [Block("text", lines[0])] if lines[0].rstrip().endswith(":") else []
        rest = lines[len(intro) :]
        return [*intro, Block("list", "\n".join(rest), len(rest))]
    found: list[Block] = []
    for line in lines:
        last = found[-1] if found else before
        if _HEADER.match(line):
            found.append(Block("header", line))
        elif _is_item(line):
            _append(found, Block("list", line, 1))
        elif last is not None and last.kind == "list" and (found or line[:1].isspace()) and not _closes(line):
            _append(found, Block("list", line, 0))
        else:
            inline = _inline_items(line)
            _append(found, Block("list", line, inline) if inline else Block("text", line))
    return found


def _append(found: list[Block], block: Block) -> None:
    """Add a line to the last block if it is of the same kind, else begin a new block."""
    if found and found[-1].kind == block.kind:
        last = found[-1]
        found[-1] = Block(last.kind, f"{last.text}\n{block.text}", last.items + block.items)
    else:
        found.append(block)


def _settle(blocks: list[Block]) -> list[Block]:
    """Join lists that a blank line, or a paragraph of an item, parts; a list of a single item is text after all."""
    joined: list[Block] = []
    for block in blocks:
        if joined and block.kind == joined[-1].kind == "list":
            last = joined[-1]
            joined[-1] = Block("list", f"{last.text}\n\n{block.text}", last.items + block.items)
        else:
            joined.append(block)
    apart = sum(block.items for block in joined)
    return [Block("text", block.text) if block.kind == "list" and apart < 2 else block for block in joined]


def _is_item(line: str) -> bool:
    if _RULE.match(line):
        return False
    return bool(_BULLET.match(line) or _NUMBER.match(line) or _LETTER.match(line))


def _closes(line: str) -> bool:
    """Whether an unindented line after an item begins a paragraph of its own, as word-level closings do."""
    return not line.startswith("  ") and len(line.split()) > 3 and line.rstrip()[-1:] in ".!?:"


def _inline_items(line: str) -> int:
    """Items of a list written on one line, ``1. … 2. … 3. …``: numbers that count up from 1, at least two."""
    count = 0
    for mark in _INLINE_NUMBER.finditer(line):
        if int(mark[1]) == count + 1:
            count += 1
    return count if count >= 2 else 0


def _is_plain_list(lines: list[str], before: Block | None) -> bool:
    """At least three short lines without an end mark after a line that ends in a colon."""
    if lines[0].rstrip().endswith(":"):
        items = lines[1:]
    elif before is not None and before.kind == "text" and before.text.rstrip().endswith(":"):
        items = lines
    else:
        return False
    if len(items) < 3 or any(_is_item(line) or line.lstrip().startswith("|") for line in items):
        return False
    words = [len(line.split()) for line in items]
    brief = max(words) <= _PLAIN_ITEM_WORDS and sum(words) <= _PLAIN_MEAN_WORDS * len(words)
    return brief and all(line.rstrip()[-1] not in ".!?,;:" for line in items)
