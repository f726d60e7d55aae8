"""New question-answer pairs from a few seeds (the paper's NQ-synthetic; Self-Instruct's way of asking).

Each request shows a teacher a few random seeds and asks for more of the kind. What request number *i* shows depends
only on the seed and *i* (and, where the pool grows, on the pairs accepted in earlier rounds), so that a re-run against
the request cache gives the same data byte for byte.

Sources: The False Promise of Imitating Proprietary LLMs, appendix A (10 seeds, 5 shown, temperature 1.0, duplicates
discarded); Self-Instruct (Wang et al. 2023), section 3.1, for growing the pool.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Literal

from msgspec import Struct
from pydantic import Field, model_validator

from epigone.collect.collected import Collected, Usage, ask, unusable
from epigone.collect.draw import generator, request_seed
from epigone.collect.pairs import PairFormat, QuestionAnswer, normalise_question, parse_pairs
from epigone.collect.template import Template
from epigone.errors import DataError
from epigone.models import Progress, TextModel
from epigone.records import Conversation, Drop, Message, Reply, Request
from epigone.specs import Spec

__all__ = ["SynthesizeSpec", "synthesize", "synthesize_requests"]

STEP = "synthesize"


class SynthesizeSpec(Spec):
    """How to ask for new pairs, how to read the replies, and when to stop."""

    task: Literal["question_answering"] = "question_answering"
    """What is made. Summaries have a spec of their own."""
    seeds: Path | None = None
    """JSONL of ``{question, answer}``, read with ``read_seeds``. ``None``: the caller hands the seeds over."""
    shots: int = Field(default=5, ge=1)
    """Pairs shown in each request, drawn without replacement."""
    grown_shots: int = Field(default=0, ge=0)
    """How many of ``shots`` are drawn from pairs accepted in earlier rounds, once there are that many. 0: the pool does
    not grow. Self-Instruct: 2 of 8."""
    target: int = Field(default=6000, ge=1)
    """New pairs wanted. The last round may bring more, which are kept: they are paid for."""
    stall_requests: int = Field(default=200, ge=1)
    """Stop when this many requests in a row …"""
    stall_pairs: int = Field(default=10, ge=0)
    """… brought fewer than this many new pairs together. 0: never stop for that reason."""
    max_requests: int | None = Field(default=None, ge=1)
    """Requests asked at most. ``None``: no limit besides target, stall and the budget."""
    requests_per_round: int = Field(default=64, ge=1)
    """Requests sent together. The last round is made smaller by the yield seen so far."""
    temperature: float = Field(default=1.0, ge=0)
    """Sampling temperature of the teacher."""
    top_p: float = Field(default=1.0, gt=0, le=1)
    """Nucleus sampling. 1: off."""
    max_tokens: int = Field(default=512, ge=1)
    """Tokens of one reply at most; a pair cut off by it is dropped."""
    stop: tuple[str, ...] = ()
    """Strings at which the teacher stops."""
    form: Literal["chat", "plain"] = "chat"
    """``chat``: the prompt travels as one user message. ``plain``: as text to be continued."""
    template: Path | None = None
    """Jinja file with the prompt's wording; it may use ``examples`` (each with ``question``, ``answer``). ``None``: the
    default in ``collect/wording/question_answering.jinja``."""
    pairs: PairFormat = PairFormat()
    """How the reply writes its pairs."""
    exclude_phrases: Path | None = None
    """Text file, a phrase a line: a pair that holds one of them, in question or answer, is dropped. Meant for the names
    that the evaluation asks about: a teacher words a test question anew, and no comparison of questions finds that."""
    training_template: Path | None = None
    """Jinja file with the user turn of the training examples; it may use ``question`` and ``examples``. ``None``: the
    question alone."""
    training_shots: int = Field(default=0, ge=0)
    """Seeds handed to the training template as ``examples``, drawn anew for each training example."""

    @model_validator(mode="after")
    def _pool_grows_within_the_shots(self) -> SynthesizeSpec:
        if self.grown_shots > self.shots:
            raise ValueError("grown_shots cannot be larger than shots")
        return self


class _Accepted(Struct, frozen=True):
    pair: QuestionAnswer
    request: str


def synthesize(
    spec: SynthesizeSpec,
    seeds: Sequence[QuestionAnswer],
    model: TextModel,
    *,
    seed: int,
    exclude: Collection[str] = (),
    source: str,
    terms: str = "",
    progress: Progress | None = None,
) -> Collected:
    """Ask ``model`` for new pairs until the target, a stall, or ``max_requests``.

    Args:
        exclude: questions (evaluation items) that must not enter the data; compared by ``normalise_question``.
        source: names the collection in each conversation and begins each id.
        progress: called with (new pairs, target) after each round.

    Drops: a reply that is no text (``refused``, ``content_filter``, ``failed``, ``empty_reply``), a malformed piece
    (reasons of ``parse_pairs``), ``seed`` (repeats a seed), ``duplicate``, ``evaluation_item``, ``excluded_phrase``.

    Raises:
        DataError: fewer seeds than shots.
        SpecError: a template is wrong. Both before anything is asked.
        BudgetExceeded: says how many pairs there were; a re-run goes on from the cache.
    """
    run = _Synthesis(spec, seeds, exclude=exclude, seed=seed, source=source)
    run.check_templates()
    curve = [(0, 0)]
    stopped = ""
    while not stopped:
        first, count = len(run.new_pairs), run.next_round()
        requests = [run.request(index) for index in range(first, first + count)]
        standing = f"{len(run.accepted)} of {spec.target} pairs collected after {first} requests"
        for index, reply in enumerate(ask(model, requests, run.usage, standing=standing), first):
            run.take(index, reply)
        curve.append((len(run.new_pairs), len(run.accepted)))
        stopped = run.stopped()
        if progress is not None:
            progress(min(len(run.accepted), spec.target), spec.target)
    conversations = tuple(run.conversation(number, model.name, terms) for number in range(len(run.accepted)))
    return Collected(
        conversations=conversations,
        drops=tuple(run.drops),
        stats=run.usage.stats(run.drops, conversations=len(conversations)),
        yield_curve=tuple(curve),
        stopped=stopped,
    )


def synthesize_requests(
    spec: SynthesizeSpec, seeds: Sequence[QuestionAnswer], *, seed: int, count: int
) -> list[Request]:
    """The first ``count`` requests exactly as :func:`synthesize` will ask them (before any growth of the pool)."""
    run = _Synthesis(spec, seeds, exclude=(), seed=seed, source="preview")
    return [run.request(index) for index in range(count)]


class _Synthesis:
    """The state of one collection: what was accepted, dropped and counted."""

    def __init__(
        self,
        spec: SynthesizeSpec,
        seeds: Sequence[QuestionAnswer],
        *,
        exclude: Collection[str],
        seed: int,
        source: str,
    ) -> None:
        needed = max(spec.shots, spec.training_shots)
        if len(seeds) < needed:
            raise DataError(
                f"{len(seeds)} seeds are fewer than the {needed} shots of a request",
                where=str(spec.seeds or "seeds"),
                fix="give more seeds or fewer shots",
            )
        self.spec, self.seeds, self.seed, self.source = spec, tuple(seeds), seed, source
        self.accepted: list[_Accepted] = []
        self.drops: list[Drop] = []
        self.new_pairs: list[int] = []  # accepted pairs, by request
        self.usage = Usage()
        self._template = Template(spec.template, default="question_answering")
        self._training_template = Template(spec.training_template, default="question")
        self._pool: tuple[QuestionAnswer, ...] = ()
        # Why a normalised question cannot be accepted (again); the evaluation's claim is the strongest.
        self._taken = {normalise_question(pair.question): "seed" for pair in seeds}
        self._taken |= {normalise_question(question): "evaluation_item" for question in exclude}
        self._phrases = _read_phrases(spec.exclude_phrases)

    def check_templates(self) -> None:
        """Render both once, so that a mistake shows before anything is paid."""
        self.request(0)
        self._training_prompt(self.seeds[0].question)

    def next_round(self) -> int:
        """How many requests to send now; freezes the pool that they draw from."""
        self._pool = tuple(accepted.pair for accepted in self.accepted) if self.spec.grown_shots else ()
        asked = len(self.new_pairs)
        count = self.spec.requests_per_round
        if asked and self.accepted:
            missing = self.spec.target - len(self.accepted)
            count = min(count, math.ceil(missing * asked / len(self.accepted)))
        if self.spec.max_requests is not None:
            count = min(count, self.spec.max_requests - asked)
        return min(count, self.spec.target)

    def request(self, index: int) -> Request:
        draw = generator(self.seed, STEP, index)
        grown = self.spec.grown_shots if len(self._pool) >= max(self.spec.grown_shots, 1) else 0
        examples = [self.seeds[i] for i in draw.permutation(len(self.seeds))[: self.spec.shots - grown]]
        examples += [self._pool[i] for i in draw.choice(len(self._pool), grown, replace=False)] if grown else []
        examples = [examples[i] for i in draw.permutation(len(examples))]
        prompt = self._template.render(examples=examples)
        chat = self.spec.form == "chat"
        return Request(
            messages=(Message("user", prompt),) if chat else None,
            prompt=None if chat else prompt,
            max_tokens=self.spec.max_tokens,
            temperature=self.spec.temperature,
            top_p=self.spec.top_p,
            stop=self.spec.stop,
            seed=request_seed(self.seed, STEP, index),
        )

    def take(self, index: int, reply: Reply) -> None:
        """Enter a reply's new pairs, and the reason for everything else."""
        before = len(self.accepted)
        fault = unusable(reply)
        if fault is not None:
            self._drop(f"{self.source}-request-{index:06d}", *fault)
        else:
            pairs, malformed = parse_pairs(reply.text or "", self.spec.pairs, cut=reply.status == "length")
            name = f"{self.source}-request-{index:06d}"
            for number, pair in enumerate(pairs):
                self._enter(f"{name}.{number}", pair, reply.digest)
            for number, piece in enumerate(malformed, len(pairs)):
                self._drop(f"{name}.{number}", piece.reason, piece.text)
        self.new_pairs.append(len(self.accepted) - before)

    def _enter(self, name: str, pair: QuestionAnswer, digest: str) -> None:
        key = normalise_question(pair.question)
        taken = self._taken.setdefault(key, "")
        words = f" {key} {normalise_question(pair.answer)} "
        reason = taken or ("excluded_phrase" if any(phrase in words for phrase in self._phrases) else "")
        if reason:
            self._drop(name, reason, f"{pair.question} | {pair.answer}")
            return
        self._taken[key] = "duplicate"
        self.accepted.append(_Accepted(pair, digest))

    def _drop(self, name: str, reason: str, detail: str) -> None:
        self.drops.append(Drop(id=name, step=STEP, reason=reason, detail=detail[:500]))

    def stopped(self) -> str:
        """Why no further round is asked; empty while there is reason to go on."""
        spec, found, asked = self.spec, len(self.accepted), len(self.new_pairs)
        if found >= spec.target:
            return f"target reached: {found} pairs of {spec.target}"
        recent = sum(self.new_pairs[-spec.stall_requests :])
        if asked >= spec.stall_requests and recent < spec.stall_pairs:
            return f"stalled at {found} pairs of {spec.target}: the last {spec.stall_requests} requests gave {recent}"
        if spec.max_requests is not None and asked >= spec.max_requests:
            return f"max_requests reached: {found} pairs of {spec.target} after {asked} requests"
        return ""

    def conversation(self, number: int, teacher: str, terms: str) -> Conversation:
        entry = self.accepted[number]
        prompt = self._training_prompt(entry.pair.question)
        return Conversation(
            id=f"{self.source}-{number:06d}",
            messages=(Message("user", prompt), Message("assistant", entry.pair.answer)),
            source=self.source,
            teacher=teacher,
            terms=terms,
            requests=(entry.request,) if entry.request else (),
        )

    def _training_prompt(self, question: str) -> str:
        shots: list[QuestionAnswer] = []
        if self.spec.training_shots:
            draw = generator(self.seed, "training_shots", question)
            shots = [self.seeds[i] for i in draw.permutation(len(self.seeds))[: self.spec.training_shots]]
        return self._training_template.render(question=question, examples=shots)


def _read_phrases(path: Path | None) -> tuple[str, ...]:
    """The phrases as whole words of a normalised text: a space before and behind."""
    if path is None:
        return ()
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot be read: {error}", where=str(path), fix="one phrase a line, UTF-8") from error
    return tuple(f" {phrase} " for line in lines if (phrase := normalise_question(line)))
