"""User queries: which turns are queries, when one only asks to go on, and when two are the same."""

from __future__ import annotations

import re
import sys
import unicodedata
from functools import cache
from typing import Literal, NamedTuple

from epigone.records import Conversation
from epigone.specs import Spec

__all__ = [
    "Normalization",
    "first_query",
    "is_continuation",
    "normalize",
    "split_words",
    "substantive_queries",
    "user_queries",
]

_ASCII_WORD = re.compile(r"\w+")
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
        bare = _patterns().punctuation.sub(" " if rules.white_space else "", text)
        text = bare if bare.strip() else text
    return " ".join(text.split()) if rules.white_space else text


def split_words(text: str) -> list[str]:
    """The words of ``text`` as runs of letters and digits, each with the marks that belong to it."""
    return (_ASCII_WORD if text.isascii() else _patterns().word).findall(text)


class _Patterns(NamedTuple):
    word: re.Pattern[str]
    punctuation: re.Pattern[str]


@cache
def _patterns() -> _Patterns:
    """Words and punctuation where a letter keeps its marks. Python's ``\\w`` has none of the vowel signs of Hindi or
    Thai, and would take words that differ in a vowel for one. Marks that enclose a sign, or only choose how it is drawn
    (variation selectors), are no part of a word."""
    marks = "".join(
        chr(code)
        for code in range(0x300, sys.maxunicode + 1)
        if unicodedata.category(chr(code)) in ("Mn", "Mc") and "VARIATION SELECTOR" not in unicodedata.name(chr(code))
    )
    return _Patterns(
        word=re.compile(rf"\w[\w{marks}]*"), punctuation=re.compile(rf"(?:[^\w\s{marks}]|_|(?<!\S)[{marks}])[{marks}]*")
    )


def _fold(text: str, rules: Normalization) -> str:
    if rules.unicode:
        text = unicodedata.normalize("NFKC", text)
    return text.casefold() if rules.case else text


def is_continuation(query: str) -> bool:
    """Whether a turn only asks the model to go on: ``continue``, ``please continue.``, ``go on``, or no word at all."""
    if len(query) > 160:
        return False
    bare = normalize(query)
    return not _WORD_CHARACTER.search(bare) or _CONTINUATION.fullmatch(bare) is not None


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
