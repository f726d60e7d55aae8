"""A model that is shown both answers, blind, and asked which is better (Zheng et al. 2023, arXiv 2306.05685)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from msgspec import Struct

from epigone.evaluate.preference.judge_spec import JudgeSpec
from epigone.evaluate.preference.pairs import Pair
from epigone.evaluate.preference.prompt_file import PromptFile, boundary_for, read_prompt_file
from epigone.evaluate.preference.verdict import (
    is_refusal_to_judge,
    parse_choice,
    parse_two_scores,
    position_to_choice,
)
from epigone.models.protocol import Progress, TextModel
from epigone.records import Message, Reply, Request, Vote, VoteStatus

__all__ = ["Showing", "judge_by_reading", "showings"]

Side = Literal["student", "teacher"]
_NEEDS = ("question", "answer_1", "answer_2", "boundary")
_REMINDERS = {
    "two_scores": "Your reply has no scores that can be read. Reply with one line: two numbers from 1 to 10 with a "
    "space between them, first the score of assistant 1, then that of assistant 2.",
    "three_choices": "Your reply has no choice that can be read. Reply with one word: 1, 2 or same.",
}


class Showing(Struct, frozen=True):
    """One pair in one order, as the judge is asked."""

    pair: Pair
    first: Side
    messages: tuple[Message, ...]


class _Reading(Struct, frozen=True):
    """What was read from one reply: a vote's status, its choice by position, its margin (first − second)."""

    status: VoteStatus
    position: int | None = None
    margin: float | None = None


def showings(spec: JudgeSpec, pairs: Sequence[Pair], *, seed: int) -> list[Showing]:
    """Every question the judge will be asked, before any reminder. Pairs with nothing to compare are not asked:
    a response is missing, or both are the same text."""
    prompt = read_prompt_file(spec.form, spec.template, needs=_NEEDS)
    rng = np.random.default_rng(seed)
    asked: list[Showing] = []
    for pair in pairs:
        drawn: Side = "student" if rng.random() < 0.5 else "teacher"
        if not _comparable(pair):
            continue
        for first in orders_of(spec, drawn):
            asked.append(_showing(prompt, pair, first, seed))
    return asked


def orders_of(spec: JudgeSpec, drawn: Side) -> tuple[Side, ...]:
    """Which sides stand first, showing by showing."""
    return ("student", "teacher") if spec.orders == "both" else (drawn,)


def _showing(prompt: PromptFile, pair: Pair, first: Side, seed: int) -> Showing:
    student, teacher = pair.student_response or "", pair.teacher_response or ""
    one, two = (student, teacher) if first == "student" else (teacher, student)
    boundary = boundary_for(seed, pair.item, (pair.prompt, one, two))
    fields = {"question": pair.prompt, "answer_1": one, "answer_2": two, "boundary": boundary}
    return Showing(pair, first, prompt.fill(fields))


def _comparable(pair: Pair) -> bool:
    return (
        pair.student_response is not None
        and pair.teacher_response is not None
        and pair.student_response.strip() != pair.teacher_response.strip()
    )


def judge_by_reading(
    spec: JudgeSpec, pairs: Sequence[Pair], model: TextModel, *, seed: int, progress: Progress | None = None
) -> list[Vote]:
    """A vote a showing, in the order of ``pairs``; see :func:`epigone.evaluate.preference.judge_pairs`."""
    asked = showings(spec, pairs, seed=seed)
    conversations = [showing.messages for showing in asked]
    replies = model.generate([_request(spec, messages, seed) for messages in conversations], progress)
    readings = [_read(spec, reply, showing) for reply, showing in zip(replies, asked, strict=True)]
    for again in range(spec.ask_again):
        open_ = [index for index, reading in enumerate(readings) if reading.status == "unparsed"]
        if not open_:
            break
        reminder = Message("user", _REMINDERS[spec.form])
        for index in open_:
            said = Message("assistant", replies[index].text or "")
            conversations[index] = (*conversations[index], said, reminder)
        fresh = model.generate([_request(spec, conversations[index], seed, again + 1) for index in open_])
        for index, reply in zip(open_, fresh, strict=True):
            replies[index], readings[index] = reply, _read(spec, reply, asked[index])
    voter = spec.name or model.name
    votes = [
        _vote(showing, reply, _final(reading, reply), voter)
        for showing, reply, reading in zip(asked, replies, readings, strict=True)
    ]
    return _in_order(pairs, votes, voter)


def _request(spec: JudgeSpec, messages: tuple[Message, ...], seed: int, sample: int = 0) -> Request:
    return Request(
        messages=messages, max_tokens=spec.max_tokens, temperature=spec.temperature, seed=seed, sample=sample
    )


def _read(spec: JudgeSpec, reply: Reply, showing: Showing) -> _Reading:
    if reply.status in ("refused", "content_filter"):
        return _Reading("refused")
    if reply.status == "failed" or reply.text is None:
        return _Reading("failed")
    text = _without_quotes(reply.text, showing.pair)
    if spec.form == "three_choices":
        position = parse_choice(text)
        return _Reading("unparsed") if position is None else _Reading("ok", position)
    scores = parse_two_scores(text)
    if scores is None:
        return _Reading("unparsed")
    difference = scores[0] - scores[1]
    position = 0 if abs(difference) <= spec.score_tie else (1 if difference > 0 else 2)
    return _Reading("ok", position, difference)


def _without_quotes(reply: str, pair: Pair) -> str:
    """The reply's first line and its further lines save those copied from an answer: a verdict that an answer wrote
    into itself must not count when the judge quotes it."""
    quoted = {
        line.strip() for text in (pair.student_response, pair.teacher_response) for line in (text or "").split("\n")
    }
    lines = reply.strip().split("\n")
    return "\n".join([lines[0], *(line for line in lines[1:] if line.strip(" >*_\"'") not in quoted)])


def _final(reading: _Reading, reply: Reply) -> _Reading:
    """After the last reminder: prose that declines to judge is a refusal."""
    if reading.status == "unparsed" and is_refusal_to_judge(reply.text or ""):
        return _Reading("refused")
    return reading


def _vote(showing: Showing, reply: Reply, reading: _Reading, voter: str) -> Vote:
    sign = 1.0 if showing.first == "student" else -1.0
    return Vote(
        item=showing.pair.item,
        student=showing.pair.student,
        teacher=showing.pair.teacher,
        voter=voter,
        kind="llm_judge",
        choice=None if reading.position is None else position_to_choice(reading.position, showing.first),
        status=reading.status,
        first=showing.first,
        margin=None if reading.margin is None else sign * reading.margin,
        reason=reply.text or reply.error,
    )


def _in_order(pairs: Sequence[Pair], votes: Sequence[Vote], voter: str) -> list[Vote]:
    """Votes by pair; pairs that were not shown get theirs here: missing responses ``failed``, equal texts a tie."""
    found: dict[tuple[str, str], list[Vote]] = {}
    for vote in votes:
        found.setdefault((vote.item, vote.student), []).append(vote)
    result: list[Vote] = []
    for pair in pairs:
        result += found.get((pair.item, pair.student)) or [unshown_vote(pair, voter, "llm_judge")]
    return result


def unshown_vote(pair: Pair, voter: str, kind: Literal["llm_judge", "likelihood_judge"]) -> Vote:
    """The vote on a pair that need not or cannot be shown."""
    missing = [side for side in ("student", "teacher") if getattr(pair, f"{side}_response") is None]
    return Vote(
        item=pair.item,
        student=pair.student,
        teacher=pair.teacher,
        voter=voter,
        kind=kind,
        choice=None if missing else "tie",
        status="failed" if missing else "ok",
        reason=f"no response of the {' and the '.join(missing)}" if missing else "the two responses are the same text",
    )
