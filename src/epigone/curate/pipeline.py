"""Run a recipe: conversations in, conversations and reasoned drops out, chunk by chunk, with flat memory and fixed
order.

Steps are of two kinds. A *chunk step* treats each conversation by itself, and consecutive ones run together over
chunks on any number of workers. A *stream step* must see all conversations (deduplication) and runs here. Records
stay in input order and every count is an integer, so that the result does not depend on where the work was done.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from epigone.curate.amounts import Amounts, AmountsSpec
from epigone.curate.categories import CategoriesSpec, LabelCategories
from epigone.curate.clean import Clean, CleanSpec
from epigone.curate.curated import Curated, EvaluationText, FunnelRow, Notes
from epigone.curate.decontaminate import Decontaminate, DecontaminateSpec
from epigone.curate.deduplicate import Deduplicate, DeduplicateSpec
from epigone.curate.diversity import DiversitySpec, MeasureDiversity
from epigone.curate.language import Language, LanguageSpec
from epigone.curate.mix import Mix, MixSpec
from epigone.curate.near_duplicates import NearDuplicates, NearDuplicatesSpec
from epigone.curate.recipe import CurateSpec, StepSpec
from epigone.curate.support import MeasureSupport, SupportSpec
from epigone.curate.tokens import CountedOnce, TokenCounter
from epigone.curate.workers import Here, Workers, open_workers
from epigone.errors import SpecError
from epigone.models import TextModel
from epigone.records import Conversation, Drop
from epigone.specs import parse_spec

__all__ = ["Curation", "curate", "run_step"]

_CHUNK_RECORDS, _CHUNK_CHARS = 512, 4_000_000

Record = Conversation | Drop

_STREAM_STEPS = (Deduplicate, NearDuplicates, MeasureDiversity, LabelCategories, MeasureSupport, Mix, Amounts)


class ChunkStep(Protocol):
    """A step that treats each conversation by itself; it travels to workers."""

    def run(self, chunk: Sequence[Conversation], notes: Notes) -> Iterable[Record]: ...


class StreamStep(Protocol):
    """A step that sees all conversations, once and in order."""

    def run(self, stream: Iterable[Conversation], notes: Notes) -> Iterable[Record]: ...


@dataclass
class _Tally:
    """A funnel row while it is counted."""

    received: int = 0
    reasons: Counter[str] = field(default_factory=Counter)


def curate(
    spec: CurateSpec,
    conversations: Iterable[Record],
    *,
    seed: int,
    evaluation: Sequence[EvaluationText] = (),
    workers: int = 1,
    judge: TextModel | None = None,
    tokens: TokenCounter | None = None,
) -> Curated:
    """Apply the recipe's steps in order.

    ``conversations`` may hold :class:`Drop` records of an earlier stage (an importer's); they are kept and counted as
    steps of their own. Where ``evaluation`` is given and the recipe has no ``decontaminate`` step, matches are
    audited at the end and nothing is dropped for them; support is measured at the end as well.

    Args:
        workers: processes on this machine; the result does not depend on it.
        judge: the model that a ``categories`` step asks.
        tokens: counts for ``mix`` and ``amounts``, as the recipe's ``tokenizer`` says.
    """
    held = open_workers(workers)
    curation = Curation(spec, seed=seed, evaluation=evaluation, workers=held, judge=judge, tokens=tokens)
    kept: list[Conversation] = []
    drops: list[Drop] = []
    for record in curation.stream(conversations):
        if isinstance(record, Conversation):
            kept.append(record)
        else:
            drops.append(record)
    return curation.result(kept, drops)


def run_step(name: str, records: Iterable[Record], *, seed: int = 0, **settings: object) -> Iterator[Record]:
    """One step alone, lazily: ``run_step("language", conversations, keep=["en"])`` gives conversations and drops, in
    order. Steps that need more than conversations are functions of their own: ``find_matches``, ``support``,
    ``mix_sources``, ``nested_amounts``, ``label_queries``.

    Raises:
        SpecError: there is no such step, or a setting is wrong.
    """
    spec = parse_spec(CurateSpec, {"steps": [{name: settings}]}, where=name)
    return Curation(spec, seed=seed).stream(records)


class Curation:
    """One run of a recipe as a stream; :meth:`result` tells, after the stream has ended, what happened."""

    def __init__(
        self,
        spec: CurateSpec,
        *,
        seed: int,
        evaluation: Sequence[EvaluationText] = (),
        workers: Workers | None = None,
        judge: TextModel | None = None,
        tokens: TokenCounter | None = None,
    ) -> None:
        self.workers = workers or Here()
        self.notes = Notes()
        self.seed = seed
        self.tokens = CountedOnce(tokens) if tokens is not None else None
        self._evaluation = evaluation
        self._judge = judge
        self._tallies: list[tuple[str, _Tally]] = []
        self._earlier: dict[str, Counter[str]] = {}
        self._steps = spec.steps
        named = {step.name for step in spec.steps}
        if evaluation and "decontaminate" not in named:
            self._steps += (StepSpec(decontaminate=DecontaminateSpec(drop="neither")),)
            self.notes.notices.append(
                "the recipe has no decontaminate step: matches with the evaluation were listed, none was dropped"
            )
        if evaluation and "support" not in named:
            self._steps += (StepSpec(support=SupportSpec()),)

    def stream(self, records: Iterable[Record]) -> Iterator[Record]:
        """Conversations that stay and drops, in order."""
        flow = self._intake(records)
        together: list[_Counted] = []
        for step in self._steps:
            built = self._build(step)
            tally = _Tally()
            self._tallies.append((step.name, tally))
            if isinstance(built, _STREAM_STEPS):
                flow = self._through_stream(built, tally, self._through_chunks(together, flow))
                together = []
            else:
                together.append(_Counted(built, tally))
        return self._through_chunks(together, flow)

    def result(self, kept: Sequence[Conversation], drops: Sequence[Drop]) -> Curated:
        """What the stream amounted to; ``kept`` and ``drops`` are whatever part of it the caller holds in memory."""
        rows = [
            FunnelRow(step=name, received=0, kept=0, reasons=dict(sorted(reasons.items())))
            for name, reasons in sorted(self._earlier.items())
        ]
        for name, tally in self._tallies:
            dropped = sum(tally.reasons.values())
            reasons = dict(sorted(tally.reasons.items()))
            rows.append(FunnelRow(step=name, received=tally.received, kept=tally.received - dropped, reasons=reasons))
        excluded = {(match.benchmark, match.item) for match in self.notes.matches if match.dropped == "evaluation"}
        return Curated(
            conversations=tuple(kept),
            drops=tuple(drops),
            funnel=tuple(rows),
            checked=tuple(self.notes.checked),
            audit=tuple(self.notes.matches),
            support=self.notes.support,
            tokenizer=self.tokens.name if self.tokens is not None else None,
            mix=self.notes.mix,
            amounts=self.notes.amounts,
            replay=self.notes.replay,
            excluded_items=tuple(sorted(excluded)),
            diversity=self.notes.diversity,
            labels=self.notes.labels,
            statistics={name: float(count) for name, count in sorted(self.notes.counts.items()) if count},
            notices=tuple(self.notes.notices),
        )

    def _build(self, step: StepSpec) -> ChunkStep | StreamStep:
        match step.settings:
            case CleanSpec() as settings:
                return Clean(settings)
            case DeduplicateSpec() as settings:
                return Deduplicate(settings)
            case NearDuplicatesSpec() as settings:
                return NearDuplicates(settings, seed=self.seed)
            case CategoriesSpec() as settings:
                return LabelCategories(settings, self._judge, seed=self.seed)
            case LanguageSpec() as settings:
                return Language(settings)
            case DiversitySpec() as settings:
                return MeasureDiversity(settings, seed=self.seed, workers=self.workers)
            case SupportSpec() as settings:
                return MeasureSupport(settings, self._evaluation)
            case MixSpec() as settings:
                return Mix(settings, self._counter(), seed=self.seed)
            case AmountsSpec() as settings:
                return Amounts(settings, self._counter(), seed=self.seed)
            case DecontaminateSpec() as settings:
                built = Decontaminate(settings, self._evaluation)
                self.notes.checked += built.checked
                if not self._evaluation:
                    self.notes.notices.append("decontaminate: no evaluation texts were given, so nothing was checked")
                return built
        raise AssertionError(f"no step is built from {type(step.settings).__name__}")

    def _counter(self) -> TokenCounter:
        if self.tokens is None:
            raise SpecError(
                "the recipe measures in tokens, and nothing was given that counts them",
                where="tokenizer",
                fix="pass `tokens=`, such as study.StudentTokens",
            )
        return self.tokens

    def _intake(self, records: Iterable[Record]) -> Iterator[Record]:
        """Count an earlier stage's drops and refuse text that no file or tokenizer can hold."""
        for record in records:
            checked = record if isinstance(record, Drop) else _refuse_unwritable(record)
            if isinstance(checked, Drop):
                self._earlier.setdefault(checked.step, Counter())[checked.reason] += 1
            yield checked

    def _through_chunks(self, steps: Sequence[_Counted], flow: Iterator[Record]) -> Iterator[Record]:
        if not steps:
            yield from flow
            return
        job = _ChunkJob([counted.step for counted in steps])
        for records, tallies, notes in self.workers.map(job, _chunks(flow)):
            self.notes.merge(notes)
            for counted, part in zip(steps, tallies, strict=True):
                counted.tally.received += part.received
                counted.tally.reasons.update(part.reasons)
            yield from records

    def _through_stream(self, step: StreamStep, tally: _Tally, flow: Iterator[Record]) -> Iterator[Record]:
        passing: list[Drop] = []

        def conversations() -> Iterator[Conversation]:
            for record in flow:
                if isinstance(record, Drop):
                    passing.append(record)
                else:
                    tally.received += 1
                    yield record

        for record in step.run(conversations(), self.notes):
            yield from passing
            passing.clear()
            if isinstance(record, Drop):
                tally.reasons[record.reason] += 1
            yield record
        yield from passing


class _Counted(NamedTuple):
    step: ChunkStep
    tally: _Tally


class _ChunkJob:
    """Consecutive chunk steps as one function of a chunk, for a worker."""

    def __init__(self, steps: list[ChunkStep]) -> None:
        self.steps = steps

    def __call__(self, chunk: list[Record]) -> tuple[list[Record], list[_Tally], Notes]:
        notes = Notes()
        records, tallies = chunk, []
        for step in self.steps:
            staying = [record for record in records if isinstance(record, Conversation)]
            outcomes = list(step.run(staying, notes))
            reasons = Counter(outcome.reason for outcome in outcomes if isinstance(outcome, Drop))
            tallies.append(_Tally(received=len(staying), reasons=reasons))
            in_turn = iter(outcomes)  # one for each conversation; earlier drops keep their places between them
            records = [record if isinstance(record, Drop) else next(in_turn) for record in records]
        return records, tallies, notes


def _chunks(flow: Iterable[Record]) -> Iterator[list[Record]]:
    chunk: list[Record] = []
    chars = 0
    for record in flow:
        chunk.append(record)
        if isinstance(record, Conversation):
            chars += sum(len(message.content) for message in record.messages)
        if len(chunk) >= _CHUNK_RECORDS or chars >= _CHUNK_CHARS:
            yield chunk
            chunk, chars = [], 0
    if chunk:
        yield chunk


def _refuse_unwritable(conversation: Conversation) -> Record:
    """The conversation, or a drop where some of its text cannot be written as UTF-8 or holds a NUL character."""
    around = [conversation.id, conversation.source, conversation.teacher, conversation.terms, *conversation.requests]
    around += [text for tag in conversation.tags.items() for text in tag]
    for turn, text in enumerate((*(message.content for message in conversation.messages), *around)):
        where = f"message {turn}" if turn < len(conversation.messages) else "outside the messages"
        if "\x00" in text:
            return _unwritable(conversation, "nul_character", where)
        try:
            text.encode("utf-8")
        except UnicodeEncodeError:
            return _unwritable(conversation, "lone_surrogate", where)
    return conversation


def _unwritable(conversation: Conversation, reason: str, where: str) -> Drop:
    identifier = conversation.id.encode("utf-8", "backslashreplace").decode("utf-8")
    return Drop(id=identifier, step="intake", reason=reason, detail=where)
