"""Clean: page residue, HTML, empty turns, broken role order, and what cannot be text."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Literal

import msgspec
from pydantic import Field

from epigone.curate.curated import Notes
from epigone.page_text import html_to_text, is_rendered_page
from epigone.records import Conversation, Drop, Message
from epigone.specs import Spec

__all__ = ["Clean", "CleanSpec", "clean_conversation"]

_COPY_CODE = re.compile(r"(?m)^(?:[a-z+#]{1,12}\n?)?Copy code(?:\n|(?=\S))|(?<=[a-z])Copy code$")
# Buttons are as the page writes them: who asks "how do I regenerate a response" means it.
_FOOTERS = re.compile(
    r"(?:\s*(?:Share Prompt|지금 번역하기|Regenerate response|Shared? (?:via|with) ShareGPT\S*|"
    r"(?i:https?://(?:www\.)?(?:sharegpt\.com/c/|shareg\.pt/)\S+)))+\s*$"
)
_INVISIBLE = re.compile("[\u200b\u2060\ufeff]")
_SELF = re.compile(
    r"\b(?:openai|chatgpt|gpt-?[345](?:\.5)?|anthropic|claude|google bard|bing chat)\b"
    r"|\bas an? (?:ai|artificial intelligence)(?: language)? (?:model|assistant)\b"
    r"|\bas an? (?:large |ai )*(?:language model|ai|artificial intelligence)(?: ai)?,? (?:i|i['’]m|my)\b"
    r"|\b(?:i am|i['’]m) an? (?:(?:large |ai )*language model\b|ai(?=[,.;]| model\b))",
    re.I,
)


class CleanSpec(Spec):
    """How to clean; the defaults change nothing that a person wrote on purpose."""

    html: Literal["page", "keep"] = "page"
    """``page``: assistant turns that are markup of a saved chat page become text, code blocks kept. ``keep``: as
    given."""
    residue: bool = True
    """Remove what chat pages add: "Copy code", share-link footers, "Regenerate response", zero-width characters."""
    role_order: Literal["repair", "drop"] = "repair"
    """``repair``: begin at the first user turn (a system turn before it stays) and end at the last assistant turn
    before two turns of the same role follow each other. ``drop``: such conversations go."""
    self_identification: Literal["keep", "drop"] = "keep"
    """``drop``: conversations in which the assistant names its provider or calls itself a language model go (Koala)."""
    max_turn_chars: int = Field(default=200_000, ge=1)
    """A conversation with a longer turn is dropped: such turns are pasted files, and cost more than they teach."""


class Clean:
    """The step: one conversation at a time."""

    def __init__(self, spec: CleanSpec) -> None:
        self.spec = spec

    def run(self, chunk: Sequence[Conversation], notes: Notes) -> Iterator[Conversation | Drop]:
        for conversation in chunk:
            yield clean_conversation(conversation, self.spec, notes)


def clean_conversation(conversation: Conversation, spec: CleanSpec, notes: Notes) -> Conversation | Drop:
    """The cleaned conversation, or why there is none; ``notes`` counts the repairs."""
    if any(len(message.content) > spec.max_turn_chars for message in conversation.messages):
        longest = max(len(message.content) for message in conversation.messages)
        return _drop(conversation, "turn_too_long", f"{longest:,} characters")
    messages = tuple(_clean_message(message, spec, notes) for message in conversation.messages)
    if not any(message.content.strip() for message in messages):
        return _drop(conversation, "empty", "no turn holds any text")
    ordered = _in_order(messages)
    if len(ordered) < len(messages):
        if spec.role_order == "drop":
            return _drop(conversation, "role_order", " ".join(message.role for message in messages[:12]))
        if len(ordered) < 2:
            return _drop(conversation, "no_exchange", "no answer follows the first user turn")
        notes.counts["clean.role_order_repaired"] += 1
    if spec.self_identification == "drop":
        for message in ordered:
            found = _SELF.search(message.content) if message.role == "assistant" else None
            if found:
                return _drop(conversation, "self_identification", found.group())
    return conversation if ordered == conversation.messages else msgspec.structs.replace(conversation, messages=ordered)


def _clean_message(message: Message, spec: CleanSpec, notes: Notes) -> Message:
    text = message.content
    if spec.html == "page" and message.role == "assistant" and is_rendered_page(text):
        text = html_to_text(text)
        notes.counts["clean.html_to_text"] += 1
    if spec.residue:
        bare = text
        if "opy code" in bare:
            bare = _COPY_CODE.sub("", bare)
        if message.role == "user" or "http" in bare[-200:]:
            bare = bare[:-400] + _FOOTERS.sub("", bare[-400:])
        bare = _INVISIBLE.sub("", bare)
        notes.counts["clean.residue_removed"] += bare != text
        text = bare
    return message if text is message.content else Message(role=message.role, content=text)


def _in_order(messages: Sequence[Message]) -> tuple[Message, ...]:
    """The longest run user, assistant, user, … from the first user turn on, ending with an answer; empty turns break
    it.

    A system turn that opens the conversation stays. Fewer than two turns: there is no exchange.
    """
    system = tuple(message for message in messages[:1] if message.role == "system" and message.content.strip())
    start = next(
        (place for place, message in enumerate(messages) if message.role == "user" and message.content.strip()), None
    )
    if start is None:
        return ()
    run: list[Message] = []
    for message in messages[start:]:
        expected = "user" if len(run) % 2 == 0 else "assistant"
        if message.role != expected or not message.content.strip():
            break
        run.append(message)
    run = run[: len(run) // 2 * 2]
    return system + tuple(run) if run else ()


def _drop(conversation: Conversation, reason: str, detail: str) -> Drop:
    return Drop(id=conversation.id, step="clean", reason=reason, detail=detail)
