"""Question-answer pairs: read as seeds, parsed out of a teacher's reply, compared by normalised question."""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path

from msgspec import Struct
from pydantic import Field, field_validator

from epigone.disk import iter_jsonl
from epigone.errors import DataError
from epigone.specs import Spec

__all__ = ["MalformedPair", "PairFormat", "QuestionAnswer", "normalise_question", "parse_pairs", "read_seeds"]


class QuestionAnswer(Struct, frozen=True):
    """A question with one answer."""

    question: str
    answer: str


class MalformedPair(Struct, frozen=True):
    """A piece of a reply that is no pair. ``reason``: a short stable word; ``text``: the piece."""

    reason: str
    text: str


class PairFormat(Spec):
    """How the teacher writes pairs. Markers are found at the start of the reply, of a line, or after white space;
    a list number, bullet or bold sign before a marker is passed over."""

    question: str = "Q:"
    """Marker that opens a question. Compared without regard to case."""
    answer: str = "A:"
    """Marker that opens an answer. Compared without regard to case."""
    continues: bool = False
    """Whether the prompt ends with the question marker, so that the reply begins inside the first question."""
    first_line_only: bool = True
    """Keep only the first line of each question and answer; what follows is chat around the list."""
    max_pairs: int | None = Field(default=None, ge=1)
    """Pairs taken from one reply, the first ones. ``None``: all."""
    max_question_words: int | None = Field(default=None, ge=1)
    """Longer questions are dropped as ``question_too_long``. ``None``: no limit."""
    max_answer_words: int | None = Field(default=None, ge=1)
    """Longer answers are dropped as ``answer_too_long``. ``None``: no limit."""

    @field_validator("question", "answer")
    @classmethod
    def _marker_is_visible(cls, marker: str) -> str:
        if not marker.strip():
            raise ValueError("a marker needs at least one visible character")
        return marker.strip()


class _SeedLine(Struct, frozen=True):
    """A seed as it stands in a file; NQ files give a list of accepted answers."""

    question: str
    answer: str | list[str]


def read_seeds(path: Path | str) -> list[QuestionAnswer]:
    """Read seed pairs from JSONL: ``{"question": …, "answer": …}`` a line.

    An answer may be a list, as in NQ-open; its first entry is used. Other keys are passed over.

    Raises:
        DataError: no such file, a line that is no pair, an empty question or answer, no pair at all.
    """
    seeds: list[QuestionAnswer] = []
    for number, line in enumerate(iter_jsonl(path, _SeedLine), 1):
        answers = [line.answer] if isinstance(line.answer, str) else line.answer
        if not line.question.strip() or not answers or not answers[0].strip():
            raise DataError("a seed needs a question and an answer", where=f"{path}: record {number}")
        seeds.append(QuestionAnswer(line.question.strip(), answers[0].strip()))
    if not seeds:
        raise DataError("holds no seed", where=str(path), fix="write one JSON object with question and answer a line")
    return seeds


_ARTICLES = re.compile(r"\b(?:a|an|the)\b")
_APOSTROPHES = re.compile("['’ʼ`]")


def normalise_question(text: str) -> str:
    """The form in which two questions count as the same: NFKC, case folded, no punctuation, no articles, single spaces.

    The steps of SQuAD's answer normalisation (Rajpurkar et al. 2016, its evaluation script) after Unicode folding, save
    that punctuation other than apostrophes becomes a space ("five-o" is "five o"). Text made of nothing but
    punctuation and articles normalises to the empty string.
    """
    folded = _APOSTROPHES.sub("", unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold()))
    words = "".join(" " if unicodedata.category(sign)[0] in "PSC" else sign for sign in folded)
    return " ".join(_ARTICLES.sub(" ", words).split())


def parse_pairs(reply: str, form: PairFormat, *, cut: bool = False) -> tuple[list[QuestionAnswer], list[MalformedPair]]:
    """Split a reply into pairs, and what is no pair into malformed pieces with a reason.

    Args:
        cut: the reply was cut at its token limit; its last piece is then incomplete (``cut_off``), never a pair.

    Reasons: ``no_pairs`` (no marker in the whole reply), ``answer_without_question``, ``question_without_answer``,
    ``empty_question``, ``empty_answer``, ``question_too_long``, ``answer_too_long``, ``cut_off``. Text before the first
    marker is chat, not a malformed pair. Pairs beyond ``max_pairs`` are not counted at all.
    """
    text = f"{form.question} {reply}" if form.continues else reply
    pieces = _pieces(text, form)
    if not pieces:
        return [], [MalformedPair("no_pairs", reply)]
    pairs: list[QuestionAnswer] = []
    malformed: list[MalformedPair] = []
    question: str | None = None
    for index, (is_question, content) in enumerate(pieces):
        last = index == len(pieces) - 1
        if is_question:
            if question is not None:
                malformed.append(MalformedPair("question_without_answer", question))
            question = content
            if last:
                malformed.append(MalformedPair("cut_off" if cut else "question_without_answer", content))
        elif question is None:
            malformed.append(MalformedPair("answer_without_question", content))
        else:
            pair = QuestionAnswer(_clean(question, form), _clean(content, form))
            reason = "cut_off" if cut and last else _fault(pair, form)
            if reason is None:
                pairs.append(pair)
            else:
                malformed.append(MalformedPair(reason, f"{question} | {content}"))
            question = None
        if form.max_pairs is not None and len(pairs) == form.max_pairs:
            break
    return pairs, malformed


def _pieces(text: str, form: PairFormat) -> list[tuple[bool, str]]:
    """(is a question, text up to the next marker), in order."""
    markers = sorted((form.question, form.answer), key=len, reverse=True)  # the longer first: one may begin the other
    pattern = re.compile(
        r"(?:^|(?<=\s))(?:\d+[.)][ \t]*)?[-*#]*[ \t]*(" + "|".join(re.escape(marker) for marker in markers) + r")\**",
        re.IGNORECASE | re.MULTILINE,
    )
    found = list(pattern.finditer(text))
    bounds = [*(match.start() for match in found), len(text)]
    return [
        (match.group(1).casefold() == form.question.casefold(), text[match.end() : bounds[number + 1]].strip())
        for number, match in enumerate(found)
    ]


def _clean(text: str, form: PairFormat) -> str:
    line = text.split("\n", 1)[0] if form.first_line_only else text
    return line.strip().removesuffix("**").strip()


def _fault(pair: QuestionAnswer, form: PairFormat) -> str | None:
    if not normalise_question(pair.question):
        return "empty_question"
    if not pair.answer:
        return "empty_answer"
    if form.max_question_words is not None and len(pair.question.split()) > form.max_question_words:
        return "question_too_long"
    if form.max_answer_words is not None and len(pair.answer.split()) > form.max_answer_words:
        return "answer_too_long"
    return None
