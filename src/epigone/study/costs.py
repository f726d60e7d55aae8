"""What a study asks of models that cost money, worked out from its plan before anything is sent.

Every number is an upper bound by the rule of the budget's reservations: no tokenizer makes more tokens than a text has
bytes, and a reply ends at its limit. What a model is asked about another one's answer is not known yet: the answer is
taken to be as long as it may be, and twice as many tokens to its reader as to its writer. Attempts that a provider
bills without delivering an answer come on top; only ``budget`` holds those.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from epigone.collect import (
    PAIRS_PER_REPLY,
    AnswerSpec,
    SummariesSpec,
    SynthesizeSpec,
    read_examples,
    read_passages,
    read_prompts,
    read_seeds,
    summary_requests,
    synthesize_requests,
)
from epigone.errors import EpigoneError
from epigone.evaluate.answers import AnswerSettings, answer_prompts
from epigone.evaluate.benchmarks import BenchmarkSpec, run_benchmarks
from epigone.evaluate.preference import JudgeSpec, Pair, judge_pairs, judge_tone
from epigone.evaluate.toxicity import ToxicitySpec, run_toxicity
from epigone.models import ApiSpec, Progress
from epigone.models.api_wire import first_token_request
from epigone.models.worst_cost import worst_cost
from epigone.records import Conversation, Message, Output, Reply, Request, ScoreReply, ScoreRequest
from epigone.study.externals import attached
from epigone.study.job import Job
from epigone.study.plan import Plan
from epigone.study.spec import StudySpec, TeacherSpec
from epigone.study.teacher import SERVED_HERE

__all__ = ["Asking", "asked_at_most", "most_synthesis_requests"]

_READ_BY_ANOTHER = 2  # tokens to a reader for each token of the writer
_REMINDER_TOKENS = 512  # of a judge's reminder, more than any is long


class Asking(Struct, frozen=True, kw_only=True):
    """At most so much of one kind. ``unknown`` says why a part of it cannot be counted yet.

    ``likely_usd`` takes four bytes for a token and replies half as long as they may be; both are ``None`` without a
    price. In a synthesis the likely reply brings as many new pairs as the default wording asks for.
    """

    what: str
    requests: int = 0
    prompt_tokens: int = 0
    reply_tokens: int = 0
    likely_usd: float | None = None
    usd: float | None = None
    unknown: str = ""


def asked_at_most(spec: StudySpec, plan: Plan, *, stages: Collection[str] | None = None) -> list[Asking]:
    """What the teacher, and judges behind an API, will be asked: a row for each data set and kind of measurement.

    Args:
        stages: count these only. ``None``: all.

    Raises:
        EpigoneError: a file that the study names cannot be read.
    """
    rows: dict[str, Asking] = {}
    for job in plan.jobs:
        if stages is not None and job.stage not in stages:
            continue
        for part in _of_job(job, spec, plan):
            rows[part.what] = _sum(rows[part.what], part) if part.what in rows else part
    return list(rows.values())


def most_synthesis_requests(spec: SynthesizeSpec) -> int | None:
    """How many requests a synthesis can come to; ``None`` without any bound.

    It goes on while each ``stall_requests`` requests bring ``stall_pairs`` pairs, looked at after each round: the
    slowest way to the target.
    """
    bound = None
    if spec.stall_pairs:
        stretches = (spec.target - 1) // spec.stall_pairs + 1
        bound = stretches * (spec.stall_requests + spec.requests_per_round)
    given = [limit for limit in (spec.max_requests, bound) if limit is not None]
    return min(given, default=None)


def _of_job(job: Job, spec: StudySpec, plan: Plan) -> Iterator[Asking]:
    teacher = _endpoint(spec.teacher)
    if job.stage == "collect" and job.asks_teacher:
        what = f"data {job.subject}"
        for way, plain in _params(job, "asked").items():
            yield _collected(what, way, plain, job, teacher)
    elif job.stage == "curate" and spec.data[job.subject].curate.labeller is not None:
        labeller = spec.data[job.subject].curate.labeller
        if labeller is not None and labeller.api is not None:
            yield Asking(what=f"labels of {job.subject}", unknown="the number of conversations is not known yet")
    elif job.stage in ("benchmark", "answers", "toxicity") and job.asks_teacher:
        yield _measured(job, teacher)
    elif job.stage == "judge":
        judge = attached(JudgeSpec, _params(job, "judge"), job)
        if isinstance(judge.model, ApiSpec):
            yield _judged(judge, judge.model, job, plan)
    elif job.stage == "style" and job.params.get("tone") is not None:
        hearing = attached(JudgeSpec, _params(job, "tone"), job).model
        if isinstance(hearing, ApiSpec):
            yield _heard(hearing, job, plan)


def _endpoint(teacher: TeacherSpec) -> ApiSpec:
    """A served teacher is asked in the same way, for nothing."""
    if teacher.api is not None:
        return teacher.api
    assert teacher.serve is not None
    return ApiSpec(
        base_url="http://localhost/v1", model="served", chat_scores=teacher.serve.chat_scores, price=SERVED_HERE
    )


def _params(job: Job, name: str) -> dict[str, Any]:
    found = job.params[name]
    assert isinstance(found, dict)
    return found


# ---------------------------------------------------------------------------------------------- data


def _collected(what: str, way: str, plain: dict[str, Any], job: Job, teacher: ApiSpec) -> Asking:
    if way == "answer":
        answers = attached(AnswerSpec, plain, job)
        return _turns(what, answers, read_prompts(_named(answers.prompts)), teacher)
    if way == "summaries":
        spec = attached(SummariesSpec, plain, job)
        examples, passages = read_examples(_named(spec.examples)), read_passages(_named(spec.passages))
        asked = summary_requests(spec, examples, passages, seed=0, count_tokens=lambda _: 0)
        return _bound(what, teacher, asked)
    pairs = attached(SynthesizeSpec, plain, job)
    seeds = read_seeds(_named(pairs.seeds))
    longest = max(seeds, key=lambda pair: len(pair.question.encode()) + len(pair.answer.encode()))
    shown = [longest] * len(seeds)  # as many as there are: too few for the shots are refused here
    request = synthesize_requests(pairs, shown, seed=0, count=1)[0]
    count = most_synthesis_requests(pairs)
    if count is None:
        return Asking(what=what, unknown="nothing ends the synthesis for certain: set max_requests or stall_pairs")
    bound = _bound(what, teacher, [request], times=count, extra=pairs.grown_shots * pairs.max_tokens)
    fruitful = min(count, math.ceil(pairs.target / min(pairs.pairs.max_pairs or PAIRS_PER_REPLY, PAIRS_PER_REPLY)))
    return replace(bound, likely_usd=_bound(what, teacher, [request], times=fruitful).likely_usd)


def _turns(what: str, spec: AnswerSpec, prompts: Iterable[Conversation], teacher: ApiSpec) -> Asking:
    """Each turn carries the dialogue before it, with the teacher's own answers at their full length."""
    total = Asking(what=what)
    for prompt in prompts:
        said = [message for message in prompt.messages if message.role == "system"][:1]
        if not said and spec.system is not None:
            said = [Message("system", spec.system)]
        users = [message for message in prompt.messages if message.role == "user"][: spec.max_turns]
        for turn, message in enumerate(users):
            said = [*said, message]
            request = Request(messages=tuple(said), max_tokens=spec.max_tokens)
            part = _bound(what, teacher, [request], times=spec.samples, extra=turn * spec.max_tokens)
            total = _sum(total, part)
            said.append(Message("assistant", ""))
    return total


def _named(path: Path | None) -> Path:
    assert path is not None, "a plan names the files that its jobs read"
    return path


# ---------------------------------------------------------------------------------------------- measurements


class _Unanswered:
    """A model that answers nothing and notes what it was asked: what a measurement asks, it asks here too."""

    name, parameters = "nobody", None

    def __init__(self) -> None:
        self.asked: list[Request | ScoreRequest] = []

    def generate(self, requests: Sequence[Request], progress: Progress | None = None) -> list[Reply]:  # noqa: ARG002
        self.asked += requests
        return [Reply(status="failed", text=None) for _ in requests]

    def score(self, requests: Sequence[ScoreRequest], progress: Progress | None = None) -> list[ScoreReply]:  # noqa: ARG002
        self.asked += requests
        return [ScoreReply(status="failed") for _ in requests]

    def count_tokens(self, text: str) -> int | None:  # noqa: ARG002
        return None

    def close(self) -> None:
        return


def _measured(job: Job, teacher: ApiSpec) -> Asking:
    """The teacher's own rows."""
    nobody, seed = _Unanswered(), int(str(job.params["seed"]))
    what = f"teacher: {job.stage}"
    try:
        if job.stage == "benchmark":
            run_benchmarks(nobody, [attached(BenchmarkSpec, _params(job, "benchmark"), job)], chat=True, seed=seed)
        elif job.stage == "toxicity":
            run_toxicity(nobody, attached(ToxicitySpec, _params(job, "toxicity"), job), chat=True, seed=seed)
        else:
            longest = AnswerSettings(max_tokens=int(str(job.params["max_tokens"])))
            answer_prompts(nobody, _shown(job), longest, chat=True, seed=seed)
    except EpigoneError as error:
        return Asking(what=what, unknown=f"{job.title}: {error.what}")
    return _bound(what, teacher, nobody.asked)


def _shown(answers: Job) -> list[Conversation]:
    """The prompts of an answers job; of a drawn part the longest, since any may be drawn."""
    prompts = read_prompts(answers.files["prompts"].path)
    longest_first = sorted(prompts, key=lambda prompt: -sum(len(m.content.encode()) for m in prompt.messages))
    items = answers.params["items"]
    return longest_first[: items if isinstance(items, int) else None]


def _judged(spec: JudgeSpec, api: ApiSpec, job: Job, plan: Plan) -> Asking:
    """Both answers are shown in each order, and once more after each reply that cannot be read."""
    answers = {name: _job(plan, job.inputs[name]) for name in ("teacher", "other")}
    pairs = [
        Pair(
            item=str(number),
            prompt="\n".join(message.content for message in prompt.messages),
            student="student",
            teacher="teacher",
            student_response="a",
            teacher_response="b",
        )
        for number, prompt in enumerate(_shown(answers["teacher"]))
    ]
    nobody = _Unanswered()
    judge_pairs(spec, pairs, nobody, seed=0)
    lengths = [int(str(answer.params["max_tokens"])) * _READ_BY_ANOTHER for answer in answers.values()]
    if spec.kind == "likelihood":
        return _bound("judge", api, nobody.asked, extra=max(lengths))
    once = _bound("judge", api, nobody.asked, extra=sum(lengths))
    again = _bound("judge", api, nobody.asked, extra=sum(lengths) + spec.max_tokens + _REMINDER_TOKENS)
    for number in range(spec.ask_again):
        more = number * len(nobody.asked) * (spec.max_tokens + _REMINDER_TOKENS)
        longer = replace(again, prompt_tokens=again.prompt_tokens + more)
        once = _sum(once, _priced(api, longer, batch=api.batch_endpoint))
    return once


def _heard(api: ApiSpec, job: Job, plan: Plan) -> Asking:
    """The judge of the tone sees one answer at a time, and once more after a reply that cannot be read."""
    answers = _job(plan, job.inputs["other"])
    prompts = _shown(answers)
    outputs = [
        Output(id=str(number), prompt=prompt.messages[-1].content, response="a", model="")
        for number, prompt in enumerate(prompts)
    ]
    nobody = _Unanswered()
    judge_tone(outputs, nobody, model="", seed=0)
    length = int(str(answers.params["max_tokens"])) * _READ_BY_ANOTHER
    return _bound("tone", api, nobody.asked, times=2, extra=length + _REMINDER_TOKENS)


def _job(plan: Plan, name: str) -> Job:
    return next(job for job in plan.jobs if job.id == name)


# ---------------------------------------------------------------------------------------------- sums


def _bound(
    what: str, api: ApiSpec, asked: Iterable[Request | ScoreRequest], *, times: int = 1, extra: int = 0
) -> Asking:
    """Each of ``asked``, ``times`` over, with ``extra`` more tokens in its prompt."""
    looked_up = api.chat_scores == "first_token"
    sent = dict.fromkeys(
        first_token_request(request)
        if looked_up and isinstance(request, ScoreRequest) and request.messages is not None
        else request
        for request in asked
    )
    prompts, replies = 0, 0
    for request in sent:
        longest = request.max_tokens if isinstance(request, Request) else 1
        replies += longest
        prompts += worst_cost(api, request, extra_tokens=extra).tokens - longest
    # Only what is generated can be sent as batches.
    batch = api.batch_endpoint and all(isinstance(request, Request) for request in sent)
    found = Asking(what=what, requests=times * len(sent), prompt_tokens=times * prompts, reply_tokens=times * replies)
    return _priced(api, found, batch=batch)


def _priced(api: ApiSpec, asking: Asking, *, batch: bool) -> Asking:
    if api.price is None:
        return asking
    prompt, reply = asking.prompt_tokens, asking.reply_tokens
    return replace(
        asking,
        likely_usd=api.price.usd(prompt // 4, reply // 2, batch=batch),
        usd=api.price.usd(prompt, reply, batch=batch),
    )


def _sum(one: Asking, other: Asking) -> Asking:
    return Asking(
        what=one.what,
        requests=one.requests + other.requests,
        prompt_tokens=one.prompt_tokens + other.prompt_tokens,
        reply_tokens=one.reply_tokens + other.reply_tokens,
        likely_usd=_sum_known(one.likely_usd, other.likely_usd),
        usd=_sum_known(one.usd, other.usd),
        unknown="; ".join(filter(None, dict.fromkeys((one.unknown, other.unknown)))),
    )


def _sum_known(one: float | None, other: float | None) -> float | None:
    return None if one is None and other is None else (one or 0.0) + (other or 0.0)
