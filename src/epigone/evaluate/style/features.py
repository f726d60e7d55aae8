"""The style of one text as numbers: layout, length, phrasing, variety."""

from __future__ import annotations

import zlib
from collections.abc import Callable

from msgspec import Struct

from epigone.evaluate.style import phrases
from epigone.evaluate.style.structure import read_structure
from epigone.evaluate.style.summary import has_summary

__all__ = ["StyleFeatures", "TokenCounter", "count_words_and_marks", "style_features"]

TokenCounter = Callable[[str], int | None]
"""Tokens of a text, or None where the tokenizer is not known: ``TextModel.count_tokens`` is one."""


class StyleFeatures(Struct, frozen=True):
    """What can be said about a response's manner without reading what it says.

    Counts are of the whole response unless they say otherwise; rates are per 100 words outside code blocks.

    ``tokens``: by the counter given to :func:`style_features`; ``type_token_ratio``: distinct words ÷ words, of the
    first 100 words (responses of different lengths could not be compared otherwise); ``compression_ratio``: zlib bytes
    ÷ UTF-8 bytes, level 6, small = repetitive; ``sentence_words``: words a sentence, mean.
    """

    tokens: int
    characters: int
    words: int
    paragraphs: int
    list_items: int
    headers: int
    bold: int
    code_blocks: int
    has_list: bool
    has_summary: bool
    opening_formula: bool
    closing_formula: bool
    refusal: bool
    sentence_words: float
    type_token_ratio: float
    compression_ratio: float
    hedges: float
    boosters: float
    first_person: float
    questions: float
    exclamations: float
    commas: float

    @property
    def authoritative(self) -> bool:
        """The offline proxy of an authoritative tone: no refusal, and hedges exceed boosters by at most 1 in 100 words.

        It counts words and knows nothing of tone; the LLM judge's ``authoritative_tone`` is the paper's measurement.
        """
        return self.words > 0 and not self.refusal and self.hedges - self.boosters <= 1.0


_VARIETY_WORDS = 100


def style_features(text: str, count_tokens: TokenCounter | None = None) -> StyleFeatures:
    """Measure one response; ``count_tokens`` is :func:`count_words_and_marks` unless given."""
    structure = read_structure(text)
    prose = structure.prose
    words = phrases.words_of(prose)
    sentences = phrases.sentences_of(prose)
    tokens = count_tokens(text) if count_tokens else None
    raw = text.encode("utf-8", "surrogatepass")
    opening = words[:_VARIETY_WORDS]
    per_100_words = 100.0 / max(1, len(words))
    return StyleFeatures(
        tokens=count_words_and_marks(text) if tokens is None else tokens,
        characters=len(text),
        words=len(words),
        paragraphs=sum(block.kind == "text" for block in structure.blocks),
        list_items=structure.list_items,
        headers=structure.headers,
        bold=structure.bold,
        code_blocks=structure.code_blocks,
        has_list=structure.has_list,
        has_summary=has_summary(structure),
        opening_formula=phrases.has_opening_formula(prose),
        closing_formula=phrases.has_closing_formula(prose),
        refusal=phrases.is_refusal(prose),
        sentence_words=len(words) / max(1, len(sentences)),
        type_token_ratio=len(set(opening)) / max(1, len(opening)),
        compression_ratio=len(zlib.compress(raw, 6)) / len(raw) if raw else 1.0,
        hedges=phrases.count_hedges(prose) * per_100_words,
        boosters=phrases.count_boosters(prose) * per_100_words,
        first_person=phrases.count_first_person(prose) * per_100_words,
        questions=prose.count("?") * per_100_words,
        exclamations=prose.count("!") * per_100_words,
        commas=prose.count(",") * per_100_words,
    )


def count_words_and_marks(text: str) -> int:
    """The default tokenizer, which needs no model: words and single punctuation marks, each one token."""
    return len(phrases.TOKEN.findall(text))
