"""The words and formulas that mark a manner of answering, and how often a text uses them."""

from __future__ import annotations

import re

__all__ = [
    "TOKEN",
    "count_boosters",
    "count_first_person",
    "count_hedges",
    "has_closing_formula",
    "has_opening_formula",
    "is_refusal",
    "sentences_of",
    "words_of",
]

_WORD = re.compile(r"\w+(?:['’]\w+)*")
TOKEN = re.compile(r"\w+|[^\w\s]")
"""A word or a single mark."""
_SENTENCE_END = re.compile(r"(?<=[.!?。!?])[\"'”’)\]]*\s+|\n+")

# After Hyland (2005), "Metadiscourse": the commonest hedges and boosters of expository English; modals included.
_HEDGES = re.compile(
    r"\b(?:may|might|could|perhaps|possibly|probably|maybe|likely|unlikely|seems?|seemed|appears? to|appeared to|"
    r"suggests?|usually|generally|typically|often|sometimes|somewhat|roughly|approximately|apparently|presumably|"
    r"in my opinion|i think|i believe|i guess|i suppose|not sure|unclear|uncertain|it depends|tends? to|"
    r"to some extent|as far as i know)\b",
    re.IGNORECASE,
)
_BOOSTERS = re.compile(
    r"\b(?:clearly|certainly|definitely|obviously|undoubtedly|indeed|of course|always|never|must|surely|"
    r"without (?:a )?doubt|no doubt|in fact|the fact that|it is (?:clear|important|essential|crucial|well known)|"
    r"known for|essential|crucial|key|significant(?:ly)?|highly|truly|really|very|absolutely|completely|"
    r"shows? that|demonstrates?|proves?|ensures?)\b",
    re.IGNORECASE,
)
_FIRST_PERSON = re.compile(r"\b(?:I|I['’](?:m|d|ve|ll)|my|My|me|myself|mine)\b")
_OPENING = re.compile(
    r"^\W*(?:sure|certainly|of course|absolutely|definitely|great question|good question|thank you for|thanks for|"
    r"as an ai|i['’]d be (?:happy|glad)|happy to|here (?:is|are)|here['’]s|yes,|no,|hello|hi\b|i['’]m sorry|"
    r"i apologi[sz]e)",
    re.IGNORECASE,
)
_CLOSING = re.compile(
    r"(?:hope (?:this|that|these|it|you)|let me know|feel free to|good luck|enjoy\b|if you have any|"
    r"is there anything|happy to help|have a (?:great|nice|good)|don['’]t hesitate|please let)",
    re.IGNORECASE,
)
_REFUSAL = re.compile(
    r"\b(?:as an ai(?: language model| assistant)?,? (?:i|it)\b[^.]{0,60}\b(?:can['’]?t|cannot|can not|don['’]t|do not|"
    r"am not|unable|not able|not appropriate)|i(?:['’]m| am) sorry,? but (?:i|as an|that)\b|"
    r"i(?:['’]m| am) (?:unable|not able|not programmed|not capable)|"
    r"i (?:cannot|can['’]t|can not|won['’]t|will not) (?:provide|assist|help|fulfil|comply|answer|generate|create|"
    r"give|write|do|support|engage)|i apologi[sz]e,? but)",
    re.IGNORECASE,
)
_REFUSAL_WITHIN = 300
_CLOSING_WITHIN = 250


def words_of(text: str) -> list[str]:
    """Lower-cased words; an apostrophe inside a word belongs to it, marks are left out."""
    return _WORD.findall(text.lower())


def sentences_of(text: str) -> list[str]:
    """Sentences, cut after ``. ! ?`` and at line breaks; abbreviations are not looked for."""
    return [part for part in _SENTENCE_END.split(text) if part.strip() and _WORD.search(part)]


def count_hedges(text: str) -> int:
    """How many words or phrases soften what is said (*may*, *perhaps*, *tends to*)."""
    return len(_HEDGES.findall(text))


def count_boosters(text: str) -> int:
    """How many words or phrases strengthen what is said (*clearly*, *must*, *it is essential*)."""
    return len(_BOOSTERS.findall(text))


def count_first_person(text: str) -> int:
    """How often the speaker says *I*, *me*, *my*."""
    return len(_FIRST_PERSON.findall(text))


def has_opening_formula(text: str) -> bool:
    """Whether the response begins with a phrase of courtesy or announcement (*Sure!*, *Here are*, *As an AI*)."""
    return bool(_OPENING.match(text))


def has_closing_formula(text: str) -> bool:
    """Whether the last 250 characters wish, offer or take leave (*I hope this helps*, *Let me know*, *Enjoy!*)."""
    return bool(_CLOSING.search(text[-_CLOSING_WITHIN:]))


def is_refusal(text: str) -> bool:
    """Whether the first 300 characters decline to answer (*I'm sorry, but I*, *As an AI …, I cannot*)."""
    return bool(_REFUSAL.search(text[:_REFUSAL_WITHIN]))
