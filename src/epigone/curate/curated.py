"""What a curation is given and gives back: frozen records, the counterpart of :mod:`epigone.records` for this room."""

from __future__ import annotations

from collections import Counter
from typing import Literal

from msgspec import Struct

from epigone.records import Conversation, Drop, ItemSupport

__all__ = [
    "AmountRow",
    "CategoryShare",
    "Checked",
    "Collection",
    "Curated",
    "Diversity",
    "EvaluationText",
    "FunnelRow",
    "Match",
    "MixRow",
    "Nested",
    "Notes",
    "QueryLabel",
    "SimilarPair",
]


class EvaluationText(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One evaluation item as decontamination sees it: its own question (no few-shot examples) and its gold answers.

    Unknown keys are refused: answers under another name would go unchecked without a word.
    """

    benchmark: str
    item: str
    prompt: str
    answers: tuple[str, ...] = ()


class Collection(Struct, frozen=True, kw_only=True):
    """How the data was collected: a ``collected.json``, as ``epigone collect`` writes it.

    ``stats``: counts by name. ``yield_curve``: (requests answered, conversations kept), both so far, after each round.
    ``stopped``: why the collection ended.
    """

    stats: dict[str, float] = {}
    yield_curve: tuple[tuple[int, int], ...] = ()
    stopped: str = ""


class QueryLabel(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One query's category, a line of a labels file; ``category`` is ``None`` unless ``status`` is ok."""

    conversation: str
    query: str
    category: str | None
    labeller: str
    status: Literal["ok", "unparsed", "refused", "failed"] = "ok"
    raw: str | None = None


class CategoryShare(Struct, frozen=True, kw_only=True):
    """A category's share of the queries that ``labeller`` labelled, with its 95 % Wilson interval."""

    labeller: str
    category: str
    count: int
    share: float
    low: float
    high: float


class Match(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An evaluation text found again in the training data: one line of the audit file.

    ``measure`` and ``value``: sentence BLEU in percent, or the number of consecutive words that were looked for and
    found (the texts may have more in common). ``part`` is the side of the evaluation item; ``turn`` is the index of the
    training message. ``dropped`` says which side gave way. Of a long text the part around the match is here, with an
    ellipsis where it is cut.
    """

    benchmark: str
    item: str
    part: Literal["prompt", "answer"]
    conversation: str
    turn: int
    measure: Literal["bleu", "ngrams"]
    value: float
    dropped: Literal["training", "evaluation", "neither"]
    evaluation_text: str
    training_text: str


class Checked(Struct, frozen=True, kw_only=True):
    """What a decontamination looked for, of one benchmark: a row for each, whether or not anything was found.

    ``rule``: what counts as a match, in words. ``texts``: prompts and gold answers of its ``items``; ``too_short`` of
    them were left out, as they would match by chance. ``dropped``: which side of a match gives way.
    """

    benchmark: str
    measure: Literal["bleu", "ngrams"]
    rule: str
    dropped: Literal["training", "evaluation", "neither"]
    items: int
    texts: int
    too_short: int


class FunnelRow(Struct, frozen=True, kw_only=True):
    """What one step received and kept; ``reasons`` counts its drops."""

    step: str
    received: int
    kept: int
    reasons: dict[str, int]


class SimilarPair(Struct, frozen=True, kw_only=True):
    """A query, its most similar other query, and the BLEU (0 … 100) of the first against the second."""

    bleu: float
    query: str
    other: str


class Diversity(Struct, frozen=True, kw_only=True):
    """How alike the queries are: for each the BLEU (0 … 100) to its most similar other query.

    ``mean``: over ``n_queries`` queries, or over ``n_sampled`` of them (each still compared with all), then with a 95 %
    interval. ``None``: fewer than two distinct queries. ``histogram``: counts in ten bins of width 10 from 0 to 100.
    """

    mean: float | None
    low: float | None
    high: float | None
    n_queries: int
    n_sampled: int
    histogram: tuple[int, ...]
    most_similar: tuple[SimilarPair, ...]


class MixRow(Struct, frozen=True, kw_only=True):
    """A source of a mixture: the share of the tokens that was asked for, and its ``tokens`` and share ``held``."""

    source: str
    share: float
    tokens: int
    held: float


class AmountRow(Struct, frozen=True, kw_only=True):
    """An amount: the first ``conversations`` of the data hold ``tokens``, the least number that reaches it.

    ``replay_texts``: how many of the replay texts, from the first, go with it; they hold ``replay_tokens``.
    """

    amount: int
    conversations: int
    tokens: int
    replay_texts: int = 0
    replay_tokens: int = 0


class Curated(Struct, frozen=True, kw_only=True):
    """The outcome of a curation.

    ``checked``: what decontamination looked for; ``audit``: what it found.
    ``support``: how near the data comes to each evaluation item.
    ``tokenizer``: what counted the tokens of ``mix`` and ``amounts``; ``None``: none were counted.
    ``replay``: pre-training texts; each amount takes so many of them, from the first on.
    ``excluded_items``: (benchmark, item) pairs that the recipe removes from evaluation (``drop: evaluation``).
    ``statistics``: counts by stable name, such as ``clean.html_to_text``.
    ``notices``: sentences for a person, such as how many evaluation texts were too short to check.
    """

    conversations: tuple[Conversation, ...]
    drops: tuple[Drop, ...]
    funnel: tuple[FunnelRow, ...]
    checked: tuple[Checked, ...] = ()
    audit: tuple[Match, ...] = ()
    support: tuple[ItemSupport, ...] = ()
    tokenizer: str | None = None
    mix: tuple[MixRow, ...] = ()
    amounts: tuple[AmountRow, ...] = ()
    replay: tuple[str, ...] = ()
    excluded_items: tuple[tuple[str, str], ...] = ()
    diversity: Diversity | None = None
    labels: tuple[QueryLabel, ...] = ()
    statistics: dict[str, float] = {}
    notices: tuple[str, ...] = ()


class Nested(Struct, frozen=True, kw_only=True):
    """One order of the conversations and, for each amount, how many of them from the front make it up.

    ``order``: indices into the conversations given. ``prefix[amount]``: the smallest number of conversations whose
    tokens reach the amount; ``tokens[amount]``: the tokens that these hold, at least the amount.
    """

    order: tuple[int, ...]
    prefix: dict[int, int]
    tokens: dict[int, int]


class Notes:
    """What a step writes down beside its records. Mutable; what chunk steps write is local to a chunk, merged after.

    Counters are integers, so that the merged result does not depend on how the work was cut.
    """

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.matches: list[Match] = []
        self.notices: list[str] = []
        self.diversity: Diversity | None = None
        self.labels: tuple[QueryLabel, ...] = ()
        self.checked: list[Checked] = []
        self.support: tuple[ItemSupport, ...] = ()
        self.mix: tuple[MixRow, ...] = ()
        self.amounts: tuple[AmountRow, ...] = ()
        self.replay: tuple[str, ...] = ()

    def merge(self, other: Notes) -> None:
        """Add a chunk's notes; chunks come in input order, and chunk steps only count and match."""
        self.counts.update(other.counts)
        self.matches.extend(other.matches)
