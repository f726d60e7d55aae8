"""Reading a judge's reply: two scores, or one of three choices. What cannot be read is ``None``, never a guess.

The verdict is looked for where the form asks for it: the first line. Only then are labelled verdicts accepted, such as
reviews of mathematics end with. An answer's own "10 1", quoted in the explanation, does not change the reading.
"""

from __future__ import annotations

import re

from epigone.records import Choice

__all__ = ["Position", "is_refusal_to_judge", "parse_choice", "parse_two_scores", "position_to_choice"]

Position = int
"""1: the answer shown first is better; 2: the second; 0: the same."""

_SCALE = 10.0
_VERDICT_CHARACTERS = 200  # a longer line is no verdict, and hostile ones would take the patterns long to refuse
_NUMBER = r"(\d{1,2}(?:\.\d+)?)(?:\s*/\s*10)?"
_TWO_ON_A_LINE = re.compile(
    rf"^\W*(?:scores?\s*:\s*)?{_NUMBER}(?:\s*[,;|&/]\s*|\s+and\s+|\s+){_NUMBER}\W*$", re.IGNORECASE
)
_TUPLE = re.compile(rf"\(\s*{_NUMBER}\s*,\s*{_NUMBER}\s*\)")
_TUPLE_LABEL = re.compile(r"\b(?:tuple|output|scores?|ratings?|verdict)\b", re.IGNORECASE)
_LABELLED = re.compile(
    rf"\b(?:assistant|answer|response)\s*#?([12])\W{{0,4}}(?:'s)?\s*(?:(?:overall|final)\s+)?(?:score|rating)?"
    rf"\s*(?::|=|is|gets|receives|a score of|an? overall score of)\W{{0,4}}{_NUMBER}(?![\w.]*\d)(?=\W|$)",
    re.IGNORECASE,
)
_SCORE_SENTENCE = re.compile(rf"\bscore (?:is|of|would be)\W{{0,4}}{_NUMBER}(?=\W|$)", re.IGNORECASE)
_CHOICES: dict[str, Position] = {"1": 1, "2": 2, "same": 0, "equal": 0, "tie": 0, "both": 0, "neither": 0, "0": 0}
_CHOICE_LINE = re.compile(
    r"^\W*(?:(?:my |the |final )*(?:verdict|choice|answer|preference|judg(?:e)?ment|winner)\s*(?:is)?\s*:?\s*)?\W*"
    r"(?:(?:answer|assistant|response)\s*#?)?(1|2|same|equal|tie)"
    r"(?:\s+is\s+(?:clearly\s+|slightly\s+|much\s+)?better)?\W*$",
    re.IGNORECASE,
)
_CHOICE_LABEL = re.compile(
    r"\b(?:verdict|final choice|final answer|preference|winner)\W{1,4}(?:is\W{1,3})?"
    r"(?:(?:answer|assistant|response)\s*#?)?(1|2|same|equal|tie)\b",
    re.IGNORECASE,
)
_REFUSAL = re.compile(
    r"^\W*(?:i['’]?m sorry|i am sorry|sorry,|i apologi[sz]e|i (?:cannot|can['’]?t|won['’]?t|am unable|must decline)|"
    r"as an ai\b)",
    re.IGNORECASE,
)


def parse_two_scores(reply: str) -> tuple[float, float] | None:
    """The scores of the first and the second answer, each 0 to 10, or ``None``.

    Read, in this order: a first line of exactly two numbers (``9 8.5``, ``8.5/10, 7``, ``(8, 9)``); the last labelled
    pair of scores, one for each assistant; the last tuple on a line that speaks of scores.
    """
    lines = [line for line in reply.splitlines() if line.strip()]
    if not lines:
        return None
    first = _TWO_ON_A_LINE.match(_short(lines[0])) or _whole_line_tuple(lines[0])
    if first:
        return _within_scale(first[1], first[2])
    labelled = {mark[1]: mark[2] for mark in _LABELLED.finditer(reply)}
    tuples = [
        mark for line in lines if _TUPLE_LABEL.search(line) or _whole_line_tuple(line) for mark in _TUPLE.finditer(line)
    ]
    if len(labelled) == 2:
        return _within_scale(labelled["1"], labelled["2"])
    if tuples:
        return _within_scale(tuples[-1][1], tuples[-1][2])
    return _line_of_scores(lines) or _sections(reply)


def _short(line: str) -> str:
    """The line, or nothing where it is too long to be a verdict."""
    return line if len(line) <= _VERDICT_CHARACTERS else ""


def _line_of_scores(lines: list[str]) -> tuple[float, float] | None:
    """A later line of exactly two numbers, if there is only one such line."""
    found = [mark for line in lines if (mark := _TWO_ON_A_LINE.match(_short(line)))]
    return _within_scale(found[0][1], found[0][2]) if len(found) == 1 else None


def _sections(reply: str) -> tuple[float, float] | None:
    """One *the score is …* in the last section that speaks of each assistant."""
    parts = re.split(r"^[^\w\n]*Assistant ([12])\b", reply, flags=re.MULTILINE | re.IGNORECASE)
    scores: dict[str, str] = {}
    for label, part in zip(parts[1::2], parts[2::2], strict=True):
        for mark in _SCORE_SENTENCE.finditer(part):
            scores[label] = mark[1]
    return _within_scale(scores["1"], scores["2"]) if len(scores) == 2 else None


def _whole_line_tuple(line: str) -> re.Match[str] | None:
    return _TUPLE.fullmatch(line.strip().strip("*`. "))


def _within_scale(first: str, second: str) -> tuple[float, float] | None:
    scores = float(first), float(second)
    return scores if max(scores) <= _SCALE else None


def parse_choice(reply: str) -> Position | None:
    """Which answer the reply prefers: 1, 2, or 0 for the same; ``None`` where it does not say so in the form asked for.

    Read: a first line that is the choice and nothing else; else labelled verdicts (``verdict: 2``) anywhere, if they
    all agree.
    """
    lines = [line for line in reply.splitlines() if line.strip()]
    if not lines:
        return None
    first = _CHOICE_LINE.match(_short(lines[0]))
    if first:
        return _CHOICES[first[1].lower()]
    labelled = {_CHOICES[mark[1].lower()] for mark in _CHOICE_LABEL.finditer(reply)}
    return labelled.pop() if len(labelled) == 1 else None


def is_refusal_to_judge(reply: str) -> bool:
    """Whether an unreadable reply declines the task instead of answering it in prose."""
    return bool(_REFUSAL.match(reply))


def position_to_choice(position: Position, first: str) -> Choice:
    """Translate "the answer shown first" into whose it was; ``first`` is ``student`` or ``teacher``."""
    if position == 0:
        return "tie"
    return "student" if (position == 1) == (first == "student") else "teacher"
