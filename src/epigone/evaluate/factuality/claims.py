"""Claims in free text: found by patterns, judged right, wrong or unclear by facts (the paper's Figure 2, by machine).

The figure marks the sentences of an answer by hand as correct, ambiguous or wrong. Here a claim is what a pattern
matches inside one sentence, and the knowledge base decides; what no pattern matches is not judged at all.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from epigone.evaluate.factuality.knowledge import Knowledge, normalize_value
from epigone.records import Axis, Claim, ItemScore, ItemStatus, Output, Verdict

__all__ = ["check_claims", "claim_axes", "claim_scores", "sentences"]

_SENTENCE_END = re.compile(r"(?<=[.!?])[\"')\]]*\s+|\n+")
_ABBREVIATION = re.compile(r"(?:\b(?:Dr|Mr|Mrs|Ms|Prof|St|Jr|Sr|vs|etc|e\.g|i\.e|No)|\b[A-Z])\.$")


def check_claims(knowledge: Knowledge, outputs: Sequence[Output]) -> list[Claim]:
    """Every claim of every answered output, in the order of the text; spans of one output do not overlap.

    A claim's subject is the one it names; without a name (*She was born …*) it is the prompt's, if the prompt names
    exactly one known subject, else the one last named before the claim. **right**: the value is a true one. **wrong**:
    the facts say otherwise. **unclear**: the subject is unknown, or nothing is known of this relation of it.
    """
    return [claim for output in outputs if output.response for claim in _claims_of(knowledge, output, output.response)]


def claim_scores(claims: Sequence[Claim], outputs: Sequence[Output], *, task: str = "claims") -> list[ItemScore]:
    """One row for each output of the first sample.

    ``right_share``: right / (right + wrong), in [0, 1]; absent, with status ``not_applicable``, where an answer makes
    no claim that could be decided. ``claims``, ``right``, ``wrong``, ``unclear``: counts. ``any_wrong``: 0 or 1.
    Departs from FActScore (Min et al. 2023), where what is not supported counts as wrong: here unclear claims count
    apart.
    """
    found: dict[tuple[str, str], Counter[Verdict]] = defaultdict(Counter)
    for claim in claims:
        found[claim.model, claim.item][claim.verdict] += 1
    return [_score(output, found[output.model, output.id], task) for output in outputs if output.sample == 0]


def claim_axes(task: str = "claims") -> tuple[Axis, ...]:
    """What :func:`claim_scores` measures."""
    axes = (
        ("right_share", "Right among decided claims", "share", True),
        ("right", "Right claims an answer", "count", True),
        ("wrong", "Wrong claims an answer", "count", False),
        ("any_wrong", "Answers with a wrong claim", "share", False),
    )
    return tuple(
        Axis(
            name=f"{task}.{metric}",
            label=label,
            kind="factuality",
            unit=unit,
            higher_is_better=higher,
            headline=metric == "right_share",
        )
        for metric, label, unit, higher in axes
    )


def sentences(text: str) -> Iterator[tuple[int, int]]:
    """(start, end) of each sentence: ended by ``.``, ``!`` or ``?`` and a blank, or by a line break."""
    start = 0
    for gap in _SENTENCE_END.finditer(text):
        if "\n" not in gap.group() and _ABBREVIATION.search(text[start : gap.start()]):
            continue
        if text[start : gap.start()].strip():
            yield start, gap.start()
        start = gap.end()
    if text[start:].strip():
        yield start, len(text)


class _Match(NamedTuple):
    """A pattern's match in one sentence; ``offset`` is where the sentence begins in the text."""

    relation: str
    offset: int
    found: re.Match[str]

    @property
    def start(self) -> int:
        return self.offset + self.found.start()

    @property
    def end(self) -> int:
        return self.offset + self.found.end()


def _claims_of(knowledge: Knowledge, output: Output, text: str) -> Iterator[Claim]:
    in_prompt = {normalize_value(found) for found in knowledge.mention.findall(output.prompt)}
    of_prompt = next(iter(in_prompt)) if len(in_prompt) == 1 else None
    named = [(found.start(), normalize_value(found.group())) for found in knowledge.mention.finditer(text)]
    covered = 0
    for match in _matches(knowledge, text):
        value = match.found.group("value")
        value_start = match.offset + match.found.start("value")
        last_named = next((name for start, name in reversed(named) if start < value_start), None)
        subject = _named_subject(knowledge, match.found) or of_prompt or last_named
        accepted, expected = knowledge.facts.get((subject or "", match.relation), (frozenset[str](), ""))
        verdict: Verdict = "unclear" if not accepted else "right" if normalize_value(value) in accepted else "wrong"
        start, covered = max(match.start, covered), max(match.end, covered)
        yield Claim(
            item=output.id,
            model=output.model,
            start=start,
            end=covered,
            verdict=verdict,
            relation=match.relation,
            value=value,
            expected=expected,
        )


def _matches(knowledge: Knowledge, text: str) -> list[_Match]:
    """Matches within sentences, in the text's order; of one relation's overlapping ones the first pattern's stays."""
    kept: list[_Match] = []
    for start, end in sentences(text):
        for relation, patterns in knowledge.patterns.items():
            taken: list[tuple[int, int]] = []
            for pattern in patterns:
                for found in pattern.finditer(text[start:end]):
                    if found.group("value") and all(found.end() <= low or found.start() >= high for low, high in taken):
                        taken.append(found.span())
                        kept.append(_Match(relation, start, found))
    return sorted(kept, key=lambda match: (match.start, match.end))


def _named_subject(knowledge: Knowledge, match: re.Match[str]) -> str | None:
    """The subject that the claim names itself. A name that is not known stays: the claim is then unclear."""
    named = match.groupdict().get("subject")
    if not named:
        return None
    normalized = normalize_value(named)
    if normalized in knowledge.subjects or not _is_pronoun(normalized):
        return normalized
    return None


def _is_pronoun(name: str) -> bool:
    return name in ("he", "she", "it", "they", "his", "her", "hers", "its", "their", "who")


def _score(output: Output, verdicts: Counter[Verdict], task: str) -> ItemScore:
    if output.response is None:
        status: ItemStatus = "refused" if output.status in ("refused", "content_filter") else "failed"
        return ItemScore(model=output.model, task=task, item=output.id, scores={}, status=status)
    right, wrong, unclear = verdicts["right"], verdicts["wrong"], verdicts["unclear"]
    scores: dict[str, float] = {"claims": right + wrong + unclear, "right": right, "wrong": wrong, "unclear": unclear}
    scores["any_wrong"] = float(wrong > 0)
    if right + wrong:
        scores["right_share"] = right / (right + wrong)
    return ItemScore(
        model=output.model,
        task=task,
        item=output.id,
        scores=scores,
        status="ok" if right + wrong else "not_applicable",
        raw=output.response,
    )
