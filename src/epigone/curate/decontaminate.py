"""Decontaminate: find evaluation texts in the training data, by BLEU or by long runs of words in common, and say so.

Two measures. ``bleu``: an evaluation text is the hypothesis, a training turn the reference, and a match is a sentence
BLEU above a threshold; the paper removed evaluation prompts with BLEU > 20 % to any training query (footnote 2).
``ngrams``: 13 consecutive words in common, case and punctuation ignored (Brown et al. 2020, appendix C; their filter,
too, lower-cases and strips punctuation); an evaluation text shorter than 13 words matches when it occurs whole.
Prompts are compared with the user's turns, answers with the assistant's.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

import numpy as np
from pydantic import Field

from epigone.curate.bleu import BleuPairs, Hypotheses, tokenize_13a
from epigone.curate.curated import Checked, EvaluationText, Match, Notes
from epigone.curate.grams import GramTable
from epigone.curate.queries import split_words
from epigone.records import Conversation, Drop
from epigone.specs import Spec

__all__ = ["Decontaminate", "DecontaminateSpec", "find_matches"]

_EXCERPT = 4_000  # characters of each text in the audit file, those around the match
_BEFORE = 1_000  # of them before it


class DecontaminateSpec(Spec):
    """What counts as a match, and which side gives way."""

    measure: Literal["ngrams", "bleu"] = "ngrams"
    """``ngrams``: ``ngram_words`` consecutive words in common. ``bleu``: sentence BLEU above ``bleu_above``."""
    drop: Literal["training", "evaluation", "neither"] = "training"
    """Which side of a match goes: the conversation, the evaluation item (the paper's choice), or neither (audit
    only)."""
    ngram_words: int = Field(default=13, ge=2)
    """Words in a row that make a match."""
    shortest_words: int = Field(default=8, ge=1)
    """For ``ngrams``: evaluation texts with fewer words are not checked (they would match by chance), only counted."""
    bleu_above: float = Field(default=20.0, ge=0, lt=100)
    """For ``bleu``: the threshold in percent; a match lies above it."""
    shortest_tokens: int = Field(default=4, ge=1)
    """For ``bleu``: evaluation texts with fewer 13a tokens are not checked, only counted."""
    answers: bool = True
    """Also look for the items' gold answers in the assistant's turns, with the same limits."""

    @property
    def rule(self) -> str:
        """What counts as a match, in words."""
        return f"BLEU > {self.bleu_above:g}" if self.measure == "bleu" else f"{self.ngram_words} words in a row"


class _Text(NamedTuple):
    owner: EvaluationText
    part: Literal["prompt", "answer"]
    text: str


class Decontaminate:
    """The step: independent for each chunk of conversations, so that it runs on any number of workers."""

    def __init__(self, spec: DecontaminateSpec, evaluation: Sequence[EvaluationText]) -> None:
        self.spec = spec
        parts = _texts_by_part(spec, evaluation)
        self._finders = [_make_finder(spec, texts) for texts in parts]
        texts = Counter(text.owner.benchmark for part in parts for text in part)
        looked_for = Counter(text.owner.benchmark for finder in self._finders for text in finder.texts)
        items: defaultdict[str, set[str]] = defaultdict(set)
        for item in evaluation:
            items[item.benchmark].add(item.item)
        self.checked = tuple(
            Checked(
                benchmark=name,
                measure=spec.measure,
                rule=spec.rule,
                dropped=spec.drop,
                items=len(items[name]),
                texts=texts[name],
                too_short=texts[name] - looked_for[name],
            )
            for name in sorted(items)
        )

    def run(self, chunk: Sequence[Conversation], notes: Notes) -> Iterator[Conversation | Drop]:
        matches = self.matches(chunk)
        notes.matches.extend(match for _, match in matches)
        notes.counts["decontaminate.matches"] += len(matches)
        first = dict(reversed(matches))
        for place, conversation in enumerate(chunk):
            match = first.get(place)
            if match is None or self.spec.drop != "training":
                yield conversation
                continue
            detail = f"{match.benchmark} {match.item} ({match.part}): {match.measure} {match.value:.4g}"
            yield Drop(id=conversation.id, step="decontaminate", reason=f"matches_{match.part}", detail=detail)

    def matches(self, chunk: Sequence[Conversation]) -> list[tuple[int, Match]]:
        """Every match with its conversation's place in ``chunk``, by conversation, turn and evaluation text."""
        found: list[tuple[int, int, Match]] = []
        for finder in self._finders:
            role = "user" if finder.part == "prompt" else "assistant"
            turns = [
                (place, turn, message.content)
                for place, conversation in enumerate(chunk)
                for turn, message in enumerate(conversation.messages)
                if message.role == role
            ]
            for which, at, value in finder.find([text for _, _, text in turns]):
                source, (place, turn, text) = finder.texts[which], turns[at]
                match = Match(
                    benchmark=source.owner.benchmark,
                    item=source.owner.item,
                    part=source.part,
                    conversation=chunk[place].id,
                    turn=turn,
                    measure=self.spec.measure,
                    value=value,
                    dropped=self.spec.drop,
                    evaluation_text=self._excerpt(source.text, text),
                    training_text=self._excerpt(text, source.text),
                )
                found.append((place, turn, match))
        return [(place, match) for place, _, match in sorted(found, key=lambda entry: entry[:2])]

    def _excerpt(self, text: str, other: str) -> str:
        """What the audit shows of ``text``: the part around the first run of words that ``other`` has, too; an ellipsis
        where it is cut."""
        start = 0
        if len(text) > _EXCERPT and self.spec.measure == "ngrams":
            start = max(0, _first_common_run(text, _words(other), self.spec.ngram_words) - _BEFORE)
        shown = text[start : start + _EXCERPT]
        return ("… " if start else "") + shown + (" …" if start + _EXCERPT < len(text) else "")


def find_matches(
    evaluation: Sequence[EvaluationText],
    conversations: Sequence[Conversation],
    spec: DecontaminateSpec = DecontaminateSpec(),
) -> list[Match]:
    """All matches between evaluation items and conversations; nothing is dropped."""
    return [match for _, match in Decontaminate(spec, evaluation).matches(conversations)]


def _texts_by_part(spec: DecontaminateSpec, evaluation: Sequence[EvaluationText]) -> list[list[_Text]]:
    prompts = [_Text(item, "prompt", item.prompt) for item in evaluation]
    answers = [_Text(item, "answer", answer) for item in evaluation for answer in item.answers] if spec.answers else []
    return [texts for texts in (prompts, answers) if texts]


def _make_finder(spec: DecontaminateSpec, texts: Sequence[_Text]) -> _BleuFinder | _NgramFinder:
    return _BleuFinder(spec, texts) if spec.measure == "bleu" else _NgramFinder(spec, texts)


class _BleuFinder:
    """Evaluation texts whose BLEU to a training turn is above the threshold."""

    def __init__(self, spec: DecontaminateSpec, texts: Sequence[_Text]) -> None:
        tokens = [tokenize_13a(text.text) for text in texts]
        kept = [place for place, found in enumerate(tokens) if len(found) >= spec.shortest_tokens]
        self.texts = [texts[place] for place in kept]
        self.part = texts[0].part
        self._floor = spec.bleu_above
        self._hypotheses = Hypotheses([tokens[place] for place in kept])

    def find(self, turns: Sequence[str]) -> list[tuple[int, int, float]]:
        if not turns or not self.texts:
            return []
        pairs = BleuPairs(self._hypotheses, [tokenize_13a(turn) for turn in turns]).above(self._floor)
        triples = zip(pairs.hypothesis.tolist(), pairs.reference.tolist(), pairs.bleu.tolist(), strict=True)
        return sorted(triples, key=lambda triple: (triple[1], triple[0]))


class _NgramFinder:
    """Evaluation texts that have a long run of words in common with a training turn."""

    def __init__(self, spec: DecontaminateSpec, texts: Sequence[_Text]) -> None:
        said = [_words(text.text) for text in texts]
        kept = [place for place, found in enumerate(said) if len(found) >= spec.shortest_words]
        self.texts = [texts[place] for place in kept]
        self.part = texts[0].part
        kept_words = [said[place] for place in kept]
        self._table = GramTable(kept_words, spec.ngram_words)
        # needles[n][g]: the evaluation texts that n-gram g stands for; shorter than ngram_words only where it is the
        # whole text.
        self._needles: dict[int, dict[int, list[int]]] = {}
        for n, (grams, text_of) in enumerate(self._table.positions(kept_words), 1):
            here: dict[int, list[int]] = {}
            for gram, place in zip(grams.tolist(), text_of.tolist(), strict=True):
                whole = len(kept_words[place]) == n and gram >= 0
                if gram >= 0 and (n == spec.ngram_words or whole):
                    owners = here.setdefault(gram, [])
                    if place not in owners:
                        owners.append(place)
            if here:
                self._needles[n] = here

    def find(self, turns: Sequence[str]) -> list[tuple[int, int, float]]:
        longest: dict[tuple[int, int], int] = {}
        if not turns or not self.texts:
            return []
        for n, (grams, text_of) in enumerate(self._table.positions([_words(turn) for turn in turns]), 1):
            needles = self._needles.get(n)
            if not needles:
                continue
            wanted = np.flatnonzero(np.isin(grams, np.fromiter(needles, dtype=np.int64)))
            for gram, turn in zip(grams[wanted].tolist(), text_of[wanted].tolist(), strict=True):
                for place in needles[gram]:
                    longest[place, turn] = n
        return sorted(
            ((place, turn, float(n)) for (place, turn), n in longest.items()), key=lambda triple: (triple[1], triple[0])
        )


def _first_common_run(text: str, other: Sequence[str], size: int) -> int:
    """The character of ``text`` at which the first run of ``size`` words of ``other`` begins (of all, if it has
    fewer)."""
    said, starts = [], []
    for piece in re.finditer(r"\S+", text):
        for word in _words(piece.group()):
            said.append(word)
            starts.append(piece.start())
    size = min(size, len(other))
    runs = {tuple(other[start : start + size]) for start in range(len(other) - size + 1)}
    return next((at for place, at in enumerate(starts) if tuple(said[place : place + size]) in runs), 0)


def _words(text: str) -> list[str]:
    return split_words(unicodedata.normalize("NFKC", text).casefold())
