"""A model's free-text answers held against the teacher's (style, preference) and against known facts (claims)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from epigone.disk import read_json, read_jsonl, write_json, write_jsonl
from epigone.evaluate.factuality import ClaimsSpec, claim_scores, read_knowledge
from epigone.evaluate.factuality import check_claims as check_texts
from epigone.evaluate.preference import JudgeSpec, judge_pairs, judge_tone, make_pairs, score_answers
from epigone.evaluate.style import style_items
from epigone.records import Output, ScoreReply
from epigone.study.externals import attach
from epigone.study.job import JobContext
from epigone.study.jobs.asking import judge_model

__all__ = ["check_claims", "judge", "score_teacher", "style"]


class _StyleParams(Struct, frozen=True):
    seed: int
    tone: dict[str, Any] | None = None


def style(context: JobContext) -> None:
    """Write ``items.jsonl``: how each answer compares with the teacher's to the same prompt, and whether its tone is
    authoritative, where a judge listens."""
    params = context.params(_StyleParams)
    teacher, other = _outputs(context.inputs["teacher"]), _outputs(context.inputs["other"])
    rows = style_items(teacher, other, model="")
    if params.tone is not None:
        with judge_model(context, attach(JudgeSpec, params.tone, context)) as judging:
            rows += judge_tone(other, judging, model="", seed=params.seed, progress=context.progress)
    write_jsonl(context.folder / "items.jsonl", rows)


class _JudgeParams(Struct, frozen=True):
    judge: dict[str, Any]
    seed: int


def score_teacher(context: JobContext) -> None:
    """Write ``scores.json``: the likelihood judge's log-probability of each of the teacher's answers, by item."""
    spec = attach(JudgeSpec, context.params(_JudgeParams).judge, context)
    with judge_model(context, spec) as model:
        scores = score_answers(_outputs(context.inputs["teacher"]), model, progress=context.progress)
    write_json(context.folder / "scores.json", scores)


def judge(context: JobContext) -> None:
    """Write ``votes.jsonl``: every vote, also those that could not be read."""
    params = context.params(_JudgeParams)
    spec = attach(JudgeSpec, params.judge, context)
    teacher, other = _outputs(context.inputs["teacher"]), _outputs(context.inputs["other"])
    pairs = make_pairs(teacher, other, student_name="")
    known = context.inputs.get("teacher_scores")
    scores = None if known is None else read_json(known / "scores.json", dict[str, ScoreReply])
    with judge_model(context, spec) as model:
        votes = judge_pairs(spec, pairs, model, seed=params.seed, teacher_scores=scores, progress=context.progress)
    write_jsonl(context.folder / "votes.jsonl", votes)


class _ClaimsParams(Struct, frozen=True):
    claims: dict[str, Any]


def check_claims(context: JobContext) -> None:
    """Write ``claims.jsonl`` (each claim with its place and verdict) and ``items.jsonl`` (one row an answer)."""
    params = context.params(_ClaimsParams)
    knowledge = read_knowledge(attach(ClaimsSpec, params.claims, context))
    outputs = _outputs(context.inputs["other"])
    claims = check_texts(knowledge, outputs)
    write_jsonl(context.folder / "claims.jsonl", [replace(claim, model="") for claim in claims])
    rows = claim_scores(claims, outputs)
    write_jsonl(context.folder / "items.jsonl", [replace(row, model="") for row in rows])


def _outputs(folder: Path) -> list[Output]:
    return read_jsonl(folder / "outputs.jsonl", Output)
