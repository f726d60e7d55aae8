"""Summaries in the manner of a few examples (the paper's TLDR-synthetic).

Each request shows two random (passage, summary) examples, or one where two do not fit the teacher's context, and asks
for a summary of a new passage. Source: The False Promise of Imitating Proprietary LLMs, appendix A and Table 5.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Literal

from msgspec import Struct
from pydantic import Field

from epigone.collect.collected import Collected, Usage, ask, unusable
from epigone.collect.draw import generator, request_seed
from epigone.collect.pairs import normalise_question
from epigone.collect.rounds import rounds
from epigone.collect.template import Template
from epigone.disk import iter_jsonl
from epigone.errors import DataError
from epigone.models import Progress, TextModel
from epigone.records import Conversation, Drop, Message, Request
from epigone.specs import Spec

__all__ = ["PassageSummary", "SummariesSpec", "read_examples", "read_passages", "summary_requests", "write_summaries"]

STEP = "summaries"
CHARACTERS_PER_TOKEN = 3.0  # where the model cannot count: English has about 4, so this errs towards one example


class PassageSummary(Struct, frozen=True):
    """A passage with its summary: an example to follow."""

    passage: str
    summary: str


class SummariesSpec(Spec):
    """How to ask for summaries."""

    examples: Path | None = None
    """JSONL of ``{passage, summary}``, read with ``read_examples``. ``None``: the caller hands them over."""
    passages: Path | None = None
    """JSONL of ``{passage}``, read with ``read_passages``. ``None``: the caller hands them over."""
    shots: int = Field(default=2, ge=1)
    """Examples shown in each request; one where that many do not fit."""
    context_tokens: int = Field(default=4096, ge=16)
    """The teacher's context, prompt and reply together."""
    temperature: float = Field(default=1.0, ge=0)
    """Sampling temperature of the teacher."""
    top_p: float = Field(default=1.0, gt=0, le=1)
    """Nucleus sampling. 1: off."""
    max_tokens: int = Field(default=256, ge=1)
    """Tokens of one summary at most."""
    stop: tuple[str, ...] = ()
    """Strings at which the teacher stops."""
    keep_cut: bool = False
    """Whether a summary cut at ``max_tokens`` is kept; otherwise it is dropped as ``length``."""
    form: Literal["chat", "plain"] = "chat"
    """``chat``: the prompt travels as one user message. ``plain``: as text to be continued."""
    template: Path | None = None
    """Jinja file with the prompt's wording; it may use ``examples`` (each with ``passage``, ``summary``) and
    ``passage``. ``None``: the default in ``collect/wording/summaries.jinja``."""
    training_template: Path | None = None
    """Jinja file with the user turn of the training examples; it may use ``passage``. ``None``: the passage, an empty
    line, and ``TL;DR:``."""
    requests_per_round: int = Field(default=1000, ge=1)
    """Requests handed to the model together."""


def read_examples(path: Path | str) -> list[PassageSummary]:
    """Read ``{"passage": …, "summary": …}`` a line.

    Raises:
        DataError: no such file, a line without the two, an empty one, no line at all.
    """
    examples = list(iter_jsonl(path, PassageSummary))
    for number, example in enumerate(examples, 1):
        if not example.passage.strip() or not example.summary.strip():
            raise DataError("an example needs a passage and a summary", where=f"{path}: record {number}")
    if not examples:
        raise DataError("holds no example", where=str(path))
    return examples


class _PassageLine(Struct, frozen=True):
    passage: str


def read_passages(path: Path | str) -> list[str]:
    """Read ``{"passage": …}`` a line; other keys are passed over.

    Raises:
        DataError: no such file, or a line without a passage.
    """
    return [line.passage for line in iter_jsonl(path, _PassageLine)]


def write_summaries(
    spec: SummariesSpec,
    examples: Sequence[PassageSummary],
    passages: Iterable[str],
    model: TextModel,
    *,
    seed: int,
    source: str,
    terms: str = "",
    progress: Progress | None = None,
) -> Collected:
    """Ask ``model`` to summarize each passage.

    Which examples a passage is shown depends on the seed and the passage alone, so passages may be added later without
    paying again for the others.

    Args:
        progress: called with (passages done, total where known) after each round.

    Drops: ``empty_passage``, ``duplicate`` (the same passage again), ``too_long`` (does not fit
    with one example), ``length``, ``content_filter``, ``refused``, ``failed``, ``empty_reply``.

    Raises:
        DataError: no example. SpecError: a template is wrong. BudgetExceeded: a re-run goes on from the cache.
    """
    prompts = _Prompts(spec, examples, model.count_tokens, seed)
    total = len(passages) if isinstance(passages, Sequence) else None
    usage, drops, conversations, curve = Usage(), list[Drop](), list[Conversation](), [(0, 0)]
    taken = {"": "empty_passage"}
    for batch in rounds(enumerate(passages), spec.requests_per_round):
        asked: list[tuple[str, str, Request]] = []
        for number, passage in batch:
            name, key = f"{source}-{number:06d}", normalise_question(passage)
            request = None if key in taken else prompts.request(passage)
            if request is None:
                drops.append(Drop(id=name, step=STEP, reason=taken.get(key, "too_long"), detail=passage[:500]))
            else:
                asked.append((name, passage, request))
            taken.setdefault(key, "duplicate")
        standing = f"{len(conversations)} summaries collected before this round"
        replies = ask(model, [request for *_, request in asked], usage, standing=standing)
        for (name, passage, _), reply in zip(asked, replies, strict=True):
            fault = unusable(reply, keep_cut=spec.keep_cut)
            if fault is not None:
                drops.append(Drop(id=name, step=STEP, reason=fault[0], detail=fault[1][:500]))
                continue
            messages = (Message("user", prompts.training(passage)), Message("assistant", (reply.text or "").strip()))
            digests = (reply.digest,) if reply.digest else ()
            conversations.append(
                Conversation(
                    id=name, messages=messages, source=source, teacher=model.name, terms=terms, requests=digests
                )
            )
        curve.append((usage.requests, len(conversations)))
        if progress is not None:
            progress(batch[-1][0] + 1, total)
    return Collected(
        conversations=tuple(conversations),
        drops=tuple(drops),
        stats=usage.stats(drops, conversations=len(conversations)) | {"fewer_examples": float(prompts.short)},
        yield_curve=tuple(curve),
        stopped="every passage was asked",
    )


def summary_requests(
    spec: SummariesSpec,
    examples: Sequence[PassageSummary],
    passages: Iterable[str],
    *,
    seed: int,
    count_tokens: Callable[[str], int | None] = lambda _: None,
) -> list[Request]:
    """The requests of :func:`write_summaries` for ``passages``; those that do not fit are left out. Asks nothing."""
    prompts = _Prompts(spec, examples, count_tokens, seed)
    return [request for passage in passages if (request := prompts.request(passage)) is not None]


class _Prompts:
    """Makes each passage's request, with as many examples as fit."""

    def __init__(
        self,
        spec: SummariesSpec,
        examples: Sequence[PassageSummary],
        count_tokens: Callable[[str], int | None],
        seed: int,
    ) -> None:
        if not examples:
            raise DataError("there is no example to show", where=str(spec.examples or "examples"))
        self.short = 0
        self._spec, self._examples, self._count_tokens, self._seed = spec, examples, count_tokens, seed
        self._template = Template(spec.template, default="summaries")
        self._training_template = Template(spec.training_template, default="passage")
        self._template.render(
            examples=list(examples[: spec.shots]), passage=""
        )  # a mistake shows before money is spent
        self.training("")

    def training(self, passage: str) -> str:
        return self._training_template.render(passage=passage.strip())

    def request(self, passage: str) -> Request | None:
        order = generator(self._seed, STEP, passage).permutation(len(self._examples))[: self._spec.shots]
        shown = [self._examples[i] for i in order]
        for examples in (shown, shown[:1]) if len(shown) > 1 else (shown,):
            prompt = self._template.render(examples=examples, passage=passage.strip())
            if self._tokens(prompt) + self._spec.max_tokens <= self._spec.context_tokens:
                self.short += len(examples) < self._spec.shots
                return self._as_request(prompt, passage)
        return None

    def _tokens(self, prompt: str) -> float:
        counted = self._count_tokens(prompt)
        return len(prompt) / CHARACTERS_PER_TOKEN if counted is None else counted

    def _as_request(self, prompt: str, passage: str) -> Request:
        chat = self._spec.form == "chat"
        return Request(
            messages=(Message("user", prompt),) if chat else None,
            prompt=None if chat else prompt,
            max_tokens=self._spec.max_tokens,
            temperature=self._spec.temperature,
            top_p=self._spec.top_p,
            stop=self._spec.stop,
            seed=request_seed(self._seed, STEP, passage),
        )
