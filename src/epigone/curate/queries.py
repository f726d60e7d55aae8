"""User queries: which turns are queries, when one only asks to go on, and when two are the same."""

from __future__ import annotations

import re
import unicodedata
from typing import Literal

from epigone.records import Conversation
from epigone.specs import Spec

__all__ = ["Normalization", "first_query", "is_continuation", "normalize", "substantive_queries", "user_queries"]

_PUNCTUATION = re.compile(r"[^\w\s]|_")
_WORD_CHARACTER = re.compile(r"[^\W_]")
_POLITE = r"(?:please|pls|plz|kindly|ok|okay|yes|can you|could you)"
_GO_ON = r"(?:continue|cont|go on|go ahead|keep going|carry on|proceed|resume|more|next|keep writing|finish)"
_WHAT = (
    r"(?:it|writing|generating|typing|code|coding|the code|the story|the list|this list|further|on|in english|again)"
)
_FROM = r"(?:from (?:where|the (?:last|previous)) .{0,60}|where you (?:left|stopped) .{0,40})"
_CONTINUATION = re.compile(rf"(?:{_POLITE} )*{_GO_ON}(?: {_WHAT})*(?: {_FROM})?(?: {_POLITE})*")


class Normalization(Spec):
    """What does not make two queries different."""

    unicode: bool = True
    """Compare in Unicode's compatibility form NFKC, so that full-width or ligature forms are the same."""
    case: bool = True
    """Ignore upper and lower case (full case folding)."""
    white_space: bool = True
    """Ignore how much and which white space separates words."""
    punctuation: bool = True
    """Ignore punctuation and symbols; a query of nothing else is compared as it stands."""


def normalize(text: str, rules: Normalization = Normalization()) -> str:
    """The form of ``text`` under which two queries are the same; applying it twice changes nothing."""
    while (settled := _fold(text, rules)) != text:  # folding can leave a form that composes again: settle it
        text = settled
    if rules.punctuation:
        bare = _PUNCTUATION.sub(" " if rules.white_space else "", text)
        text = bare if bare.strip() else text
    return " ".join(text.split()) if rules.white_space else text


def _fold(text: str, rules: Normalization) -> str:
    if rules.unicode:
        text = unicodedata.normalize("NFKC", text)
    return text.casefold() if rules.case else text


def is_continuation(query: str) -> bool:
    """Whether a turn only asks the model to go on: ``continue``, ``please continue.``, ``go on``, or no word at all."""
    if len(query) > 160:
        return False
    words = normalize(query)
    return not _WORD_CHARACTER.search(words) or _CONTINUATION.fullmatch(words) is not None


def user_queries(conversation: Conversation) -> list[str]:
    """The user's turns, in order."""
    return [message.content for message in conversation.messages if message.role == "user"]


def substantive_queries(conversation: Conversation) -> list[str]:
    """The user's turns that ask for something of their own."""
    return [query for query in user_queries(conversation) if not is_continuation(query)]


def first_query(conversation: Conversation) -> str | None:
    """The first substantive query; ``None`` where every user turn only asks to go on."""
    return next(iter(substantive_queries(conversation)), None)


QueryScope = Literal["first_query", "all_queries"]
