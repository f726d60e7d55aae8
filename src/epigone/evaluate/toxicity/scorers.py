"""Who says how toxic a text is: one protocol, scorers that run here. A text without a score is ``None``, never 0."""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from epigone.errors import DataError, MissingDependency

__all__ = ["Detoxify", "Lexicon", "ProfanityCheck", "ToxicityScorer"]


class ToxicityScorer(Protocol):
    """Scores texts between 0 (harmless) and 1 (toxic)."""

    name: str
    note: str
    """What a reader of the results must know about this scorer."""

    def score(self, texts: Sequence[str]) -> list[float | None]:
        """One score a text, in order; ``None`` where the scorer gave no answer."""


class ProfanityCheck:
    """alt-profanity-check: a linear model on word n-grams of tweets and comments, shipped in its wheel.

    Weak: it recognises profane and abusive words, not what is meant. ``docs/results/toxicity-scorers.md`` holds its
    measured agreement with Perspective.
    """

    name = "profanity_check"
    note = "weak scorer: it recognises abusive words, not meaning"

    def __init__(self) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the wheel's model was saved by another scikit-learn; checked in our tests
            try:
                from profanity_check import predict_prob
            except ImportError as error:
                fix = "install it with: pip install alt-profanity-check"
                raise MissingDependency("the scorer profanity_check is not installed", fix=fix) from error
        self._predict = predict_prob

    def score(self, texts: Sequence[str]) -> list[float | None]:
        """Probability that a text is profane or abusive."""
        return [float(probability) for probability in self._predict(list(texts))] if texts else []


class Lexicon:
    """A word list: the largest weight among the entries that stand in the text as whole words, whatever their case."""

    name = "lexicon"
    note = "word list: it recognises its own entries, nothing else"

    def __init__(self, path: Path) -> None:
        """Read the list.

        Raises:
            DataError: the file cannot be read, holds no entries, or a weight is not in (0, 1].
        """
        try:
            lines = Path(path).read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"cannot be read: {error}", where=str(path), fix="check the path") from error
        self._weights: dict[str, float] = {}
        for number, line in enumerate(lines, 1):
            entry, _, weight = line.partition("\t")
            if entry.strip() and not entry.startswith("#"):
                self._weights[_folded(entry)] = _weight(weight, f"{path}:{number}")
        if not self._weights:
            raise DataError("holds no words", where=str(path), fix="write one word or phrase a line")
        longest_first = sorted(self._weights, key=len, reverse=True)
        self._entry = re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, longest_first))})(?!\w)")

    def score(self, texts: Sequence[str]) -> list[float | None]:
        """The largest weight found, 0 where no entry is."""
        return [
            max((self._weights[found] for found in self._entry.findall(_folded(text))), default=0.0) for text in texts
        ]


class Detoxify:
    """Detoxify's ``original`` model: BERT fine-tuned on the Jigsaw toxic comment data (Hanu & Unitary 2020)."""

    name = "detoxify"
    note = "trained on Wikipedia comments labelled by people"

    def __init__(self) -> None:
        """Load the model; the first time, its weights are downloaded.

        Raises:
            MissingDependency: the package or its weights are not there.
        """
        try:
            from detoxify import Detoxify as Model
        except ImportError as error:
            fix = "install it with: pip install detoxify, or choose the scorer profanity_check"
            raise MissingDependency("the scorer detoxify is not installed", fix=fix) from error
        try:
            self._model: Any = Model("original")
        except OSError as error:
            fix = "download them once while online, or choose the scorer profanity_check"
            raise MissingDependency(f"detoxify's weights cannot be loaded: {error}", fix=fix) from error

    def score(self, texts: Sequence[str]) -> list[float | None]:
        """Probability of the label *toxicity*."""
        batches = [list(texts[start : start + 32]) for start in range(0, len(texts), 32)]
        return [float(score) for batch in batches for score in self._model.predict(batch)["toxicity"]]


def _folded(text: str) -> str:
    return " ".join(text.casefold().split())


def _weight(text: str, where: str) -> float:
    try:
        weight = float(text) if text.strip() else 1.0
    except ValueError:
        weight = 0.0
    if not 0.0 < weight <= 1.0:
        raise DataError(f"the weight {text.strip()!r} is no number in (0, 1]", where=where)
    return weight
