"""The data card: what is in a data folder, where it came from, what was removed and why; as Markdown and as HTML."""

from __future__ import annotations

import hashlib
import heapq
import re
from array import array
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from functools import cache
from typing import NamedTuple

import jinja2
import msgspec
import numpy as np
from msgspec import Struct

from epigone.curate.categories import category_shares
from epigone.curate.curated import AmountRow, CategoryShare, Collection, Curated, Diversity, FunnelRow, MixRow
from epigone.curate.tokens import TokenCounter
from epigone.records import Conversation

__all__ = ["Census", "DataCard", "SourceRow", "card_html", "card_markdown", "data_card"]

_EXCERPT = 600  # characters of each turn of an example
_EXAMPLE_TURNS = 4
_CONFUSION = "language.confusion "
_CURVE_POINTS = 12
_SHOWN = 20  # rows of an open-ended table
_BACKTICKS = re.compile("`+")
_MARKUP = re.compile(r"[|<>&`*\[\]\\!#]")


class SourceRow(Struct, frozen=True, kw_only=True):
    """One source: who answered, under which terms, and how much of it there is. ``tokens``: ``None`` if not counted."""

    source: str
    teachers: tuple[str, ...]
    terms: tuple[str, ...]
    conversations: int
    turns: int
    characters: int
    tokens: int | None


class LengthRow(Struct, frozen=True, kw_only=True):
    """How long something is: the median, the 5th and 95th percentile and the longest."""

    what: str
    p5: float
    median: float
    p95: float
    longest: float


class MatchRow(Struct, frozen=True, kw_only=True):
    """Decontamination of one benchmark: what was looked for, and what was found.

    ``texts``: prompts and gold answers of the benchmark's ``items``, ``too_short`` of which could not be checked.
    ``matches``: pairs of such a text and a training turn that fulfil ``rule``; they concern ``matched_items`` and
    ``conversations``. ``dropped``: which side of a match went.
    """

    benchmark: str
    rule: str
    items: int
    texts: int
    too_short: int
    matches: int
    matched_items: int
    conversations: int
    dropped: str


class SupportRow(Struct, frozen=True, kw_only=True):
    """How near the training queries come to a benchmark's items: the mean and the quartiles of their support."""

    benchmark: str
    items: int
    mean: float
    p25: float
    median: float
    p75: float


class DataCard(Struct, frozen=True, kw_only=True):
    """Everything that the card shows; :func:`card_markdown` and :func:`card_html` are two views of it.

    ``collections``: how the data was collected; their yield curves are thinned.
    ``tokens``: of all conversations, counted by ``tokenizer``; ``None`` if not counted.
    ``confusion``: how often two language detectors gave each pair of answers, such as ``en es``; ``agreement`` is the
    share of dialogues on which they agree.
    ``unlabelled``: queries of the category sample that got no usable label; they are not in the shares.
    """

    title: str
    description: str
    collections: tuple[Collection, ...]
    sources: tuple[SourceRow, ...]
    funnel: tuple[FunnelRow, ...]
    tags: dict[str, dict[str, int]]
    lengths: tuple[LengthRow, ...]
    tokenizer: str | None
    tokens: int | None
    mix: tuple[MixRow, ...]
    amounts: tuple[AmountRow, ...]
    decontamination: tuple[MatchRow, ...]
    support: tuple[SupportRow, ...]
    categories: tuple[CategoryShare, ...]
    unlabelled: int
    diversity: Diversity | None
    confusion: dict[str, float]
    agreement: float | None
    statistics: dict[str, float]
    notices: tuple[str, ...]
    examples: tuple[Conversation, ...]


class Census:
    """Counts conversations one by one, so that a card can be made of a stream; holds a few bytes for each."""

    def __init__(self, *, examples: int = 3, seed: int = 0, tokenizer: str | None = None) -> None:
        self._tokenizer = tokenizer
        self._sources: defaultdict[str, _SourceCount] = defaultdict(_SourceCount.empty)
        self._tags: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self._lengths = {"turns a conversation": array("q"), "characters a query": array("q")}
        self._lengths |= {"characters an answer": array("q"), "tokens a conversation": array("q")}
        self._wanted, self._seed = examples, seed
        self._examples: list[tuple[int, int, Conversation]] = []  # a heap: the largest draw on top; ids may repeat

    def add(self, conversation: Conversation, tokens: int | None = None) -> None:
        """Count one conversation; ``tokens`` by the student's tokenizer, where they are known."""
        count = self._sources[conversation.source]
        count.teachers[conversation.teacher] += 1
        count.terms[conversation.terms] += 1
        size = sum(len(message.content) for message in conversation.messages)
        for name, amount in (("conversations", 1), ("turns", len(conversation.messages)), ("characters", size)):
            count.totals[name] += amount
        if tokens is not None:
            count.totals["tokens"] += tokens
            self._lengths["tokens a conversation"].append(tokens)
        for tag, value in conversation.tags.items():
            self._tags[tag][value] += 1
        self._lengths["turns a conversation"].append(len(conversation.messages))
        for message in conversation.messages:
            if message.role != "system":
                what = "characters a query" if message.role == "user" else "characters an answer"
                self._lengths[what].append(len(message.content))
        self._draw(conversation)

    def _draw(self, conversation: Conversation) -> None:
        """Keep the examples with the smallest digests of (seed, id): a draw that no order of the records changes."""
        text = f"{self._seed}\x00{conversation.id}".encode("utf-8", "surrogatepass")
        draw = int.from_bytes(hashlib.blake2b(text, digest_size=8).digest())
        heapq.heappush(self._examples, (-draw, len(self._lengths["turns a conversation"]), conversation))
        if len(self._examples) > self._wanted:
            heapq.heappop(self._examples)

    def card(
        self, curated: Curated, *, title: str, description: str, collections: Sequence[Collection] = ()
    ) -> DataCard:
        """The card of what was counted; ``curated`` gives the funnel, the audit and the measures."""
        confusion = {
            name.removeprefix(_CONFUSION): count
            for name, count in curated.statistics.items()
            if name.startswith(_CONFUSION)
        }
        agreed = sum(count for pair, count in confusion.items() if len(set(pair.split())) == 1)
        examples = sorted(self._examples, key=lambda entry: -entry[0])
        tokens = self._lengths["tokens a conversation"]
        return DataCard(
            title=title,
            description=description,
            collections=tuple(_thinned(collection) for collection in collections),
            sources=tuple(count.row(source) for source, count in sorted(self._sources.items())),
            funnel=curated.funnel,
            tags={tag: dict(counts.most_common()) for tag, counts in sorted(self._tags.items())},
            lengths=tuple(_length_row(what, values) for what, values in self._lengths.items() if values),
            tokenizer=self._tokenizer,
            tokens=sum(tokens) if self._tokenizer is not None else None,
            mix=curated.mix,
            amounts=curated.amounts,
            decontamination=_match_rows(curated),
            support=_support_rows(curated),
            categories=category_shares(curated.labels),
            unlabelled=sum(1 for label in curated.labels if label.status != "ok"),
            diversity=curated.diversity,
            confusion=dict(sorted(confusion.items(), key=lambda entry: (-entry[1], entry[0]))),
            agreement=agreed / sum(confusion.values()) if confusion else None,
            statistics={name: count for name, count in curated.statistics.items() if not name.startswith(_CONFUSION)},
            notices=curated.notices,
            examples=tuple(conversation for _, _, conversation in examples),
        )


def data_card(
    curated: Curated,
    *,
    title: str,
    description: str = "",
    tokens: TokenCounter | None = None,
    examples: int = 3,
    seed: int = 0,
) -> DataCard:
    """The card of a curation that is in memory; ``tokens`` counts by the student's own tokenizer."""
    census = Census(examples=examples, seed=seed, tokenizer=tokens.name if tokens is not None else None)
    conversations = curated.conversations
    counts: Iterable[int | None] = (
        [None] * len(conversations) if tokens is None else tokens.conversations(conversations)
    )
    for conversation, count in zip(conversations, counts, strict=True):
        census.add(conversation, count)
    return census.card(curated, title=title, description=description)


def card_markdown(card: DataCard) -> str:
    """The card as Markdown; model outputs stand in fenced blocks that they cannot close."""
    return _environment(html=False).get_template("data_card.md.jinja").render(card=card)


def card_html(card: DataCard, *, page: bool = False) -> str:
    """The card as an HTML fragment, or a whole ``page``; everything that it shows is escaped."""
    template = "data_card_page.html.jinja" if page else "data_card.html.jinja"
    return _environment(html=True).get_template(template).render(card=card)


class _SourceCount(NamedTuple):
    teachers: Counter[str]
    terms: Counter[str]
    totals: Counter[str]

    @classmethod
    def empty(cls) -> _SourceCount:
        return cls(Counter(), Counter(), Counter())

    def row(self, source: str) -> SourceRow:
        return SourceRow(
            source=source or "(unnamed)",
            teachers=tuple(sorted(name for name in self.teachers if name)),
            terms=tuple(sorted(terms or "not declared" for terms in self.terms)),
            conversations=self.totals["conversations"],
            turns=self.totals["turns"],
            characters=self.totals["characters"],
            tokens=self.totals.get("tokens"),
        )


def _length_row(what: str, values: array[int]) -> LengthRow:
    p5, median, p95 = np.percentile(np.frombuffer(values, dtype=np.int64), (5, 50, 95)).tolist()
    return LengthRow(what=what, p5=p5, median=median, p95=p95, longest=float(max(values)))


def _thinned(collection: Collection) -> Collection:
    """The collection with at most a dozen points of its yield curve, the first and the last among them."""
    curve = collection.yield_curve
    places = np.unique(np.linspace(0, len(curve) - 1, min(len(curve), _CURVE_POINTS)).round().astype(int))
    return msgspec.structs.replace(collection, yield_curve=tuple(curve[place] for place in places))


def _match_rows(curated: Curated) -> tuple[MatchRow, ...]:
    by_check = defaultdict(list)
    for match in curated.audit:
        by_check[match.benchmark, match.measure, match.dropped].append(match)
    rows = []
    for checked in curated.checked:
        matches = by_check[checked.benchmark, checked.measure, checked.dropped]
        rows.append(
            MatchRow(
                benchmark=checked.benchmark,
                rule=checked.rule,
                items=checked.items,
                texts=checked.texts,
                too_short=checked.too_short,
                matches=len(matches),
                matched_items=len({match.item for match in matches}),
                conversations=len({match.conversation for match in matches}),
                dropped=checked.dropped,
            )
        )
    return tuple(rows)


def _support_rows(curated: Curated) -> tuple[SupportRow, ...]:
    by_benchmark: defaultdict[str, list[float]] = defaultdict(list)
    for record in curated.support:
        by_benchmark[record.task].append(record.value)
    rows = []
    for benchmark, values in sorted(by_benchmark.items()):
        p25, median, p75 = np.percentile(values, (25, 50, 75)).tolist()
        mean = float(np.mean(values))
        rows.append(SupportRow(benchmark=benchmark, items=len(values), mean=mean, p25=p25, median=median, p75=p75))
    return tuple(rows)


@cache
def _environment(*, html: bool) -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("epigone.curate", "templates"),
        autoescape=html,  # noqa: S701 - the Markdown template escapes by its own filters
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"fence": _fence, "cell": _cell, "excerpt": _excerpt}
    environment.filters["count"] = lambda number: f"{number:,.0f}"
    environment.globals |= {"shown": _SHOWN, "example_turns": _EXAMPLE_TURNS}
    return environment


def _excerpt(text: str) -> str:
    return text if len(text) <= _EXCERPT else text[:_EXCERPT].rstrip() + " …"


def _fence(text: str) -> str:
    """A fenced code block with more backticks than the longest run in ``text``."""
    longest = max((len(run) for run in _BACKTICKS.findall(text)), default=0)
    ticks = "`" * max(3, longest + 1)
    return f"{ticks}text\n{text}\n{ticks}"


def _cell(text: str) -> str:
    """``text`` for a cell of a Markdown table: one line, no markup."""
    line = " ".join(text.split())
    return _MARKUP.sub(lambda found: f"&#{ord(found.group())};", line)
