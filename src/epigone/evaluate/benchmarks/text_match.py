"""Is this answer right? Normalisation, exact match, containment, final numbers and letters, on plain strings."""

from __future__ import annotations

import re
import string
import unicodedata
from collections import Counter
from collections.abc import Sequence
from decimal import Decimal, InvalidOperation

__all__ = [
    "contains_answer",
    "exact_match",
    "first_line",
    "harness_exact_match",
    "last_number",
    "marked_number",
    "mentioned_letter",
    "normalize_answer",
    "stated_letter",
    "token_f1",
]

_ARTICLES = re.compile(r"\b(?:a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)
_NUMBER = re.compile(r"-?\$?\s?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?|-?\$?\s?\.\d+")
_MINUS_SIGN = "\N{MINUS SIGN}"  # what typesetters and some models write for the hyphen of a negative number
_MARKED = re.compile(r"(?:####|\b(?:the\s+)?(?:final\s+)?answer\s*(?:is|:|=))\s*:?\s*", re.IGNORECASE)


def normalize_answer(text: str) -> str:
    """SQuAD's normalisation: lower case, no punctuation, no English articles, single spaces.

    Text is first brought to Unicode form NFD, as the Natural Questions evaluation does, so that two encodings of the
    same accented letter agree; accents stay. Source: Rajpurkar et al. 2016 (SQuAD evaluation script); Min et al. 2021
    (EfficientQA evaluation script).
    """
    decomposed = unicodedata.normalize("NFD", text).lower().translate(_PUNCTUATION)
    return " ".join(_ARTICLES.sub(" ", decomposed).split())


def exact_match(answer: str, accepted: Sequence[str]) -> float:
    """1.0 if the normalised answer equals one of the normalised accepted answers, else 0.0 (the strict score)."""
    given = normalize_answer(answer)
    return float(any(given == normalize_answer(one) for one in accepted))


def contains_answer(text: str, accepted: Sequence[str]) -> float:
    """1.0 if the words of an accepted answer stand in the text in order and next to each other, else 0.0.

    The lenient score: a right answer inside a chatty sentence counts. Accents and whole-word boundaries: ``Bronte``
    matches ``Brontë``; ``11`` does not match ``112``. An accepted answer that normalises to nothing never counts.
    """
    haystack = f" {_without_accents(normalize_answer(text))} "
    needles = (_without_accents(normalize_answer(one)) for one in accepted)
    return float(any(needle and f" {needle} " in haystack for needle in needles))


def token_f1(answer: str, accepted: Sequence[str]) -> float:
    """F1 of shared words with the accepted answer that shares most, normalised, in [0, 1] (SQuAD's second score)."""
    return max((_f1(normalize_answer(answer).split(), normalize_answer(one).split()) for one in accepted), default=0.0)


def harness_exact_match(answer: str, accepted: Sequence[str]) -> float:
    """Exact match with the normalisation of lm-eval's ``nq_open`` task, over all accepted answers, in {0, 1}.

    lm-eval removes the words *the, a, an* only where a space follows, then lowers case and drops punctuation; white
    space inside stays as it is. Departs from lm-eval's task file in comparing with every alias.
    """

    def plain(text: str) -> str:
        without_articles = re.sub(r"\b(?:The |the |An |A |The |a |an )", "", text)
        return without_articles.lower().translate(_PUNCTUATION)

    given = plain(answer.strip())
    return float(any(given == plain(one) for one in accepted))


def first_line(text: str) -> str:
    """The first line that holds anything, stripped; empty if there is none."""
    return next((line.strip() for line in text.splitlines() if line.strip()), "")


def marked_number(text: str) -> Decimal | None:
    """The number right after the last ``####`` or ``the answer is``: what the few-shot examples ask for (strict)."""
    text = text.replace(_MINUS_SIGN, "-")
    for mark in reversed(list(_MARKED.finditer(text))):
        number = _NUMBER.match(text, mark.end())
        if number:
            return _decimal(number.group())
    return None


def last_number(text: str) -> Decimal | None:
    """The last number anywhere in the text (lenient). ``$1,234.00`` is 1234, ``12%`` is 12, a minus sign counts.

    A hyphen that joins two numbers or a word to a number (``3-4``, ``covid-19``) is not a minus sign.
    """
    found: str | None = None
    text = text.replace(_MINUS_SIGN, "-")
    for number in _NUMBER.finditer(text):
        joined = number.group().startswith("-") and number.start() > 0 and text[number.start() - 1].isalnum()
        found = number.group().lstrip("-") if joined else number.group()
    return None if found is None else _decimal(found)


def stated_letter(text: str, letters: str = "ABCD") -> str | None:
    """The letter that the answer consists of or opens with: ``B``, ``(B)``, ``B.``, ``B) because …`` (strict)."""
    found = re.match(rf"\s*[(\[*]*([{letters}])(?![A-Za-z0-9'])", text)
    return found.group(1) if found else None


def mentioned_letter(text: str, letters: str = "ABCD") -> str | None:
    """The letter that the answer states (``the answer is (C)``), opens with, or the only one it mentions (lenient)."""
    stated = re.findall(
        rf"answer\s*(?:is|:|would be)\s*:?\s*\**[(\[]?([{letters}])(?![A-Za-z0-9'])", text, re.IGNORECASE
    )
    if stated and stated[-1] in letters:
        return str(stated[-1])
    opening = stated_letter(text, letters)
    if opening:
        return opening
    alone = set(re.findall(rf"(?<![A-Za-z0-9'])([{letters}])(?![A-Za-z0-9'])", text))
    return alone.pop() if len(alone) == 1 else None


def _f1(given: list[str], wanted: list[str]) -> float:
    if not given or not wanted:
        return float(given == wanted)
    shared = sum((Counter(given) & Counter(wanted)).values())
    return 2 * shared / (len(given) + len(wanted))


def _without_accents(text: str) -> str:
    return "".join(character for character in text if not unicodedata.combining(character))


def _decimal(text: str) -> Decimal | None:
    try:
        return Decimal(re.sub(r"[,$\s]", "", text))
    except InvalidOperation:
        return None
