"""The likelihood judge: which answer would the judging model sooner have written itself?

It reads nothing and has no opinion on quality. For an answer y of n tokens to a prompt x, with the model's chat
template around both, the score is log p(y | x) / n in nats per token; the higher one wins, and scores within the stated
margin tie. With the teacher's own weights this measures how much an answer sounds like the teacher, which favours
imitators by construction: a preference bought by style alone, which is what an imitation study sets out to show.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from epigone.evaluate.preference.judge_spec import JudgeSpec
from epigone.evaluate.preference.llm_judge import unshown_vote
from epigone.evaluate.preference.pairs import Pair, first_samples
from epigone.models.protocol import Progress, TextModel
from epigone.records import Choice, Message, Output, ScoreReply, ScoreRequest, Vote

__all__ = ["judge_by_likelihood", "score_answers"]


def score_answers(
    outputs: Sequence[Output], model: TextModel, *, progress: Progress | None = None
) -> dict[str, ScoreReply]:
    """The judging model's log-probability of each item's first answer; an item without one, or a prompt, is not in."""
    answers = {
        item: _request(output.prompt, output.response)
        for item, output in first_samples(outputs).items()
        if output.prompt and output.response
    }
    return dict(zip(answers, model.score(list(answers.values()), progress), strict=True))


def judge_by_likelihood(
    spec: JudgeSpec,
    pairs: Sequence[Pair],
    model: TextModel,
    *,
    teacher_scores: Mapping[str, ScoreReply] | None = None,
    progress: Progress | None = None,
) -> list[Vote]:
    """One vote a pair, in order; ``first`` is ``None``: the answers are scored apart, order cannot matter.

    ``margin`` is the student's log-probability per token minus the teacher's, in nats. An answer that cannot be scored
    (empty, too long for the model) makes the vote ``failed``. ``teacher_scores``: what :func:`score_answers` gave
    for the teacher's answers, for a model that judges many students; an item that is missing there is scored here.
    """
    known = teacher_scores or {}
    voter = spec.name or f"{model.name} (likelihood)"
    asked = {
        (pair.item, pair.student): pair
        for pair in pairs
        if pair.student_response and pair.teacher_response and pair.student_response != pair.teacher_response
    }
    wanted = list(
        dict.fromkeys(
            _request(pair.prompt, answer)
            for pair in asked.values()
            for answer in (pair.student_response, None if pair.item in known else pair.teacher_response)
            if answer is not None
        )
    )
    scored = dict(zip(wanted, model.score(wanted, progress), strict=True))
    votes: list[Vote] = []
    for pair in pairs:
        if (pair.item, pair.student) in asked:
            student = scored[_request(pair.prompt, pair.student_response or "")]
            teacher = known.get(pair.item) or scored[_request(pair.prompt, pair.teacher_response or "")]
            votes.append(_vote(spec, pair, student, teacher, voter))
        elif pair.student_response == "" or pair.teacher_response == "":
            votes.append(_failed(pair, voter, "an empty response has no log-probability per token"))
        else:
            votes.append(unshown_vote(pair, voter, "likelihood_judge"))
    return votes


def _request(prompt: str, answer: str) -> ScoreRequest:
    return ScoreRequest(messages=(Message("user", prompt),), continuation=answer)


def _vote(spec: JudgeSpec, pair: Pair, student: ScoreReply, teacher: ScoreReply, voter: str) -> Vote:
    if student.logprob is None or teacher.logprob is None or not student.tokens or not teacher.tokens:
        return _failed(pair, voter, student.error or teacher.error or "no tokens to score")
    ours, theirs = student.logprob / student.tokens, teacher.logprob / teacher.tokens
    margin = ours - theirs
    choice: Choice = "tie" if abs(margin) <= spec.margin else ("student" if margin > 0 else "teacher")
    return Vote(
        item=pair.item,
        student=pair.student,
        teacher=pair.teacher,
        voter=voter,
        kind="likelihood_judge",
        choice=choice,
        margin=margin,
        reason=f"nats per token: student {ours:.3f}, teacher {theirs:.3f}; tie within {spec.margin:g}",
    )


def _failed(pair: Pair, voter: str, why: str) -> Vote:
    return Vote(
        item=pair.item,
        student=pair.student,
        teacher=pair.teacher,
        voter=voter,
        kind="likelihood_judge",
        choice=None,
        status="failed",
        reason=why,
    )
