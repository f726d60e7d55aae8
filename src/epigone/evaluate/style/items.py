"""Style similarity of one model's answers to the teacher's, item by item (paper, section 4.4 and Table 2, and beyond).

Every key is described in ``docs/style.md``. Nothing is averaged here: ``compare`` turns the rows into estimates.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from epigone.disk import digest_bytes
from epigone.evaluate.style.features import StyleFeatures, TokenCounter, style_features
from epigone.evaluate.style.phrases import words_of
from epigone.records import ItemScore, ItemStatus, Output

__all__ = ["shuffled_teacher", "split_teacher", "style_items", "unigram_jaccard", "unigram_overlap"]

PRESENCE = {
    "list_both_ways": "has_list",
    "summary_both_ways": "has_summary",
    "headers_agreement": "headers",
    "bold_agreement": "bold",
    "code_agreement": "code_blocks",
    "opening_agreement": "opening_formula",
    "closing_agreement": "closing_formula",
    "refusal_agreement": "refusal",
    "first_person_agreement": "first_person",
}
"""Agreement key → the feature whose presence (> 0) is compared."""

DIFFERENCE = {
    "paragraphs_difference": "paragraphs",
    "list_items_difference": "list_items",
    "sentence_words_difference": "sentence_words",
    "type_token_ratio_difference": "type_token_ratio",
    "compression_ratio_difference": "compression_ratio",
    "hedges_difference": "hedges",
    "boosters_difference": "boosters",
}
"""Difference key → the feature of which |other − teacher| is taken."""

BOTH = ("characters", "list_items", "headers", "bold")
"""Features given raw for both sides (``bold``, ``teacher_bold``): what a style-controlled preference is fitted on."""


def style_items(
    teacher: Sequence[Output], other: Sequence[Output], *, model: str, count_tokens: TokenCounter | None = None
) -> list[ItemScore]:
    """Compare each answer in ``other`` with the teacher's first sample on the same item.

    Args:
        teacher: the reference; of several samples of an item the lowest-numbered one is used.
        other: the answers to measure, matched by ``id``; each sample gives a row of its own (``sample``, clustered).
        model: the name that the rows carry.
        count_tokens: what ``length_tokens`` counts; words and marks unless given.

    Returns:
        One row a teacher item and sample, task ``style``, in the teacher's order; lengths and their ranks in the row of
        an item's first answered sample only: the mean length of several samples goes with the teacher's more closely
        than any one of them does, and one sample is what the ceiling has. An item that ``other`` does not have,
        or has no response to, gives a row without scores whose ``status`` says so; where the *teacher* has no response
        the row is ``not_applicable``.
    """
    reference: dict[str, Output] = {}
    for output in teacher:
        if output.id not in reference or output.sample < reference[output.id].sample:
            reference[output.id] = output
    answers: dict[str, list[Output]] = {}
    for output in other:
        answers.setdefault(output.id, []).append(output)
    rows: list[ItemScore] = []
    for identity, first in reference.items():
        found = answers.get(identity) or [Output(id=identity, prompt=first.prompt, response=None, status="failed")]
        original = None if first.response is None else style_features(first.response, count_tokens)
        rows += [
            _row(first, original, output, model, clustered=len(found) > 1, count_tokens=count_tokens)
            for output in found
        ]
    return _with_lengths_of_firsts(rows)


def _row(
    teacher: Output,
    original: StyleFeatures | None,
    output: Output,
    model: str,
    *,
    clustered: bool,
    count_tokens: TokenCounter | None,
) -> ItemScore:
    scores: dict[str, float] = {}
    status: ItemStatus = "ok"
    if teacher.response is None or original is None:
        status = "not_applicable"
    elif output.response is None:
        status = "refused" if output.status in ("refused", "content_filter") else "failed"
    else:
        copy = style_features(output.response, count_tokens)
        scores = _scores(original, copy)
        scores["unigram_overlap"] = unigram_overlap(teacher.response, output.response)
        scores["unigram_jaccard"] = unigram_jaccard(teacher.response, output.response)
    return ItemScore(
        model=model,
        task="style",
        item=teacher.id,
        scores=scores,
        status=status,
        sample=output.sample,
        cluster=teacher.id if clustered else None,
        prompt_digest=digest_bytes(teacher.prompt.encode("utf-8", "surrogatepass")),
    )


def _scores(teacher: StyleFeatures, other: StyleFeatures) -> dict[str, float]:
    """All keys that depend on the two texts' features only."""
    scores: dict[str, float] = {}
    if teacher.has_list:
        scores["list_agreement"] = float(other.has_list)
    if teacher.has_summary:
        scores["summary_agreement"] = float(other.has_summary)
    scores["length_tokens"] = float(other.tokens)
    scores["teacher_length_tokens"] = float(teacher.tokens)
    scores["length_difference"] = abs(math.log((other.tokens + 1) / (teacher.tokens + 1)))
    scores["authoritative_tone_proxy"] = float(other.authoritative)
    for key, feature in PRESENCE.items():
        scores[key] = float(bool(getattr(other, feature)) == bool(getattr(teacher, feature)))
    for key, feature in DIFFERENCE.items():
        scores[key] = abs(float(getattr(other, feature)) - float(getattr(teacher, feature)))
    for feature in BOTH:
        scores[feature] = float(getattr(other, feature))
        scores[f"teacher_{feature}"] = float(getattr(teacher, feature))
    return scores


def _with_lengths_of_firsts(rows: list[ItemScore]) -> list[ItemScore]:
    """Lengths in each item's first answered row only, with their ranks: Pearson's r of the ranks is Spearman's."""
    firsts: dict[str, ItemScore] = {}
    for row in rows:
        if row.scores and (row.item not in firsts or row.sample < firsts[row.item].sample):
            firsts[row.item] = row
    for row in rows:
        if row.scores and row is not firsts[row.item]:
            del row.scores["length_tokens"], row.scores["teacher_length_tokens"]
    for key in ("length", "teacher_length"):
        lengths = np.array([row.scores[f"{key}_tokens"] for row in firsts.values()])
        for row, rank in zip(firsts.values(), _mid_ranks(lengths), strict=True):
            row.scores[f"{key}_rank"] = float(rank)
    return rows


def _mid_ranks(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Ranks from 1; equal values share the mean of their ranks. Shape (n,) to (n,)."""
    ordered = np.sort(values)
    ranks: npt.NDArray[np.float64] = (
        np.searchsorted(ordered, values, "left") + np.searchsorted(ordered, values, "right") + 1
    ) / 2
    return ranks


def unigram_overlap(first: str, second: str) -> float:
    """Words in common, counted as often as both have them: 2·|A ∩ B| ÷ (|A| + |B|), multisets of lower-cased words.

    Range 0–1; 1 when neither has a word. ROUGE-1's F measure without stemming, save that an apostrophe does not cut a
    word in two and letters beyond ASCII count. The paper (Table 2) reports a
    "unigram intersection" in percent and does not say what it divides by; this form is symmetric and punishes both a
    short answer and a long one. :func:`unigram_jaccard` is the other common reading.
    """
    a, b = Counter(words_of(first)), Counter(words_of(second))
    total = a.total() + b.total()
    return 2 * (a & b).total() / total if total else 1.0


def unigram_jaccard(first: str, second: str) -> float:
    """Distinct words in common: |A ∩ B| ÷ |A ∪ B|, sets of lower-cased words; 0–1, 1 when neither has a word."""
    a, b = set(words_of(first)), set(words_of(second))
    return len(a & b) / len(a | b) if a | b else 1.0


def shuffled_teacher(teacher: Sequence[Output], *, seed: int) -> list[Output]:
    """The teacher's answers dealt out to other prompts: its manner kept, the question ignored.

    Where there is no second teacher sample, comparing this with the teacher gives a *lower* bound of the ceiling: what
    a perfect copy of the manner reaches that never looks at the prompt. The order is one random cycle, so that no item
    keeps its own answer; a single answered item has no other to take, and none is returned.
    """
    first = {output.id: output for output in sorted(teacher, key=lambda output: -output.sample)}
    in_order = [first[key] for key in dict.fromkeys(output.id for output in teacher)]
    answered = [output for output in in_order if output.response is not None]
    if len(answered) < 2:
        return []
    cycle = np.random.default_rng(seed).permutation(len(answered))
    dealt = {int(cycle[k]): int(cycle[(k + 1) % len(cycle)]) for k in range(len(cycle))}
    return [
        Output(id=output.id, prompt=output.prompt, response=answered[dealt[index]].response, model=output.model)
        for index, output in enumerate(answered)
    ]


def split_teacher(teacher: Sequence[Output], *, seed: int) -> tuple[list[Output], list[Output]]:
    """The teacher's answers in two halves, drawn by seed; the second half stands under the first one's items.

    For measures that look at one answer at a time (the style classifier) two halves of one model are what a second
    sample would be: nothing but chance tells them apart.
    """
    first = {output.id: output for output in sorted(teacher, key=lambda output: -output.sample)}
    answered = [first[key] for key in dict.fromkeys(output.id for output in teacher) if first[key].response is not None]
    drawn = np.random.default_rng(seed).permutation(len(answered))
    half = len(answered) // 2
    ours, theirs = ([answered[index] for index in part] for part in (drawn[:half], drawn[half : 2 * half]))
    renamed = [
        Output(id=mine.id, prompt=mine.prompt, response=other.response, model=other.model)
        for mine, other in zip(ours, theirs, strict=True)
    ]
    return ours, renamed
