"""Scoring functions that task files name under ``process_results``: from one answer to strict and lenient scores.

A chatty right answer fails the strict score and passes the lenient one. Lost format and lost knowledge are different
things, and only the two scores side by side tell them apart (§4.3 of the paper reports the strict ones).

Each is a :class:`Scoring`: called by lm-eval with the item and the answer, it returns one number for each metric. All
are shares in [0, 1], higher is better, and lm-eval's mean over items is the task's score.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, Protocol, runtime_checkable

from epigone.errors import DataError
from epigone.evaluate.benchmarks import text_match

__all__ = [
    "ChosenLetter",
    "ClosedBook",
    "FinalNumber",
    "Scoring",
    "Summary",
    "accepted_answers",
    "chosen_letter",
    "closed_book",
    "final_number",
    "summary",
]

Item = Mapping[str, Any]


@runtime_checkable
class Scoring(Protocol):
    """What a task's answers are compared with, and how."""

    metrics: Mapping[str, str]
    """Metric -> label, the strict one first."""

    def __call__(self, doc: Item, results: Sequence[Any]) -> dict[str, float]:
        """Scores of ``results[0]``, the model's answer to ``doc``."""

    def extract(self, answer: str) -> str | None:
        """What the strict score compares; ``None`` if the answer holds no such thing."""

    def reference(self, doc: Item) -> str:
        """The right answer, for people to read."""


def accepted_answers(doc: Item) -> list[str]:
    """The accepted answers of an item: ``answers`` or ``answer``, a text, a number or a list of them.

    Raises:
        DataError: the item has neither.
    """
    found = doc.get("answers") if doc.get("answers") is not None else doc.get("answer")
    if found is None:
        raise DataError(
            f"the item has neither 'answers' nor 'answer'; its columns are {', '.join(doc)}",
            fix="rename a column with 'fields: {answer: <column>}'",
        )
    return [str(one) for one in found] if isinstance(found, list | tuple) else [str(found)]


class ClosedBook:
    """Short factual answers (Natural Questions).

    ``exact_match`` (strict): the first line equals an accepted answer after SQuAD's normalisation (paper, Table 8).
    ``contains`` (lenient): an accepted answer stands anywhere in the whole answer.
    ``f1``: shared words of the first line and the best accepted answer.
    ``harness_exact_match``: the first line under lm-eval's own normalisation.
    """

    metrics: Mapping[str, str] = {
        "exact_match": "exact match",
        "contains": "answer contained",
        "f1": "F1 of words",
        "harness_exact_match": "exact match as lm-eval normalises",
    }

    def __call__(self, doc: Item, results: Sequence[Any]) -> dict[str, float]:
        """See the class."""
        answer, accepted = str(results[0]), accepted_answers(doc)
        line = text_match.first_line(answer)
        return {
            "exact_match": text_match.exact_match(line, accepted),
            "contains": text_match.contains_answer(answer, accepted),
            "f1": text_match.token_f1(line, accepted),
            "harness_exact_match": text_match.harness_exact_match(line, accepted),
        }

    def extract(self, answer: str) -> str | None:
        """The first line that holds anything."""
        return text_match.first_line(answer) or None

    def reference(self, doc: Item) -> str:
        """The accepted answers, joined."""
        return " | ".join(accepted_answers(doc))


class FinalNumber:
    """Word problems with reasoning (GSM8K).

    ``exact_match`` (strict): the number after ``####`` or *the answer is*, as the few-shot examples write it.
    ``lenient_match``: that number or, without a mark, the last number of the answer.
    Numbers are compared as numbers: ``$1,234.00`` is 1234. An answer without a number is wrong, not missing.
    """

    metrics: Mapping[str, str] = {"exact_match": "final number", "lenient_match": "last number"}

    def __call__(self, doc: Item, results: Sequence[Any]) -> dict[str, float]:
        """See the class."""
        answer, wanted = str(results[0]), self._gold(doc)
        marked = text_match.marked_number(answer)
        found = marked if marked is not None else text_match.last_number(answer)
        return {"exact_match": float(marked == wanted), "lenient_match": float(found == wanted)}

    def extract(self, answer: str) -> str | None:
        """The marked number, else the last one."""
        marked = text_match.marked_number(answer)
        found = marked if marked is not None else text_match.last_number(answer)
        return None if found is None else str(found)

    def reference(self, doc: Item) -> str:
        """The right number."""
        return str(self._gold(doc))

    def _gold(self, doc: Item) -> Any:
        text = accepted_answers(doc)[0]
        marked = text_match.marked_number(text)
        gold = marked if marked is not None else text_match.last_number(text)
        if gold is None:
            raise DataError(f"the item's answer holds no number: {text[:60]!r}")
        return gold


class ChosenLetter:
    """Multiple choice answered in words, for models that give no log-probabilities.

    ``exact_match`` (strict): the answer opens with the right letter alone (``B``, ``(B)``, ``B.``).
    ``lenient_match``: the answer states the right letter somewhere (*the answer is (B)*) or mentions no other.
    """

    metrics: Mapping[str, str] = {"exact_match": "letter alone", "lenient_match": "letter stated"}

    def __init__(self, letters: str = "ABCD") -> None:
        self.letters = letters

    def __call__(self, doc: Item, results: Sequence[Any]) -> dict[str, float]:
        """See the class."""
        answer, wanted = str(results[0]), self.reference(doc)
        strict = text_match.stated_letter(answer, self.letters)
        lenient = text_match.mentioned_letter(answer, self.letters)
        return {"exact_match": float(strict == wanted), "lenient_match": float(lenient == wanted)}

    def extract(self, answer: str) -> str | None:
        """The letter that the lenient score reads."""
        return text_match.mentioned_letter(answer, self.letters)

    def reference(self, doc: Item) -> str:
        """The right letter; items may give it as a letter or as an index from 0."""
        gold = accepted_answers(doc)[0].strip()
        return self.letters[int(gold)] if gold.isdigit() else gold


class Summary:
    """Summaries, as F1 of overlap with the reference (the best, if there are several).

    ``rouge1``, ``rouge2``: shared words and word pairs. ``rougeL``: longest common subsequence. Words are stemmed, as
    in the original ROUGE settings (Lin 2004); computed by the rouge-score package.
    ``rouge1_recall`` (lenient): share of the reference's words that the answer holds; padding does not lower it.
    """

    metrics: Mapping[str, str] = {
        "rouge1": "ROUGE-1",
        "rouge2": "ROUGE-2",
        "rougeL": "ROUGE-L",
        "rouge1_recall": "ROUGE-1 recall",
    }
    columns = ("summary", "highlights", "reference")

    @cached_property
    def _scorer(self) -> Any:
        from rouge_score.rouge_scorer import RougeScorer  # loads nltk: half a second that other tasks need not pay

        return RougeScorer(["rouge1", "rouge2", "rougeL"], use_stemmer=True)

    def __call__(self, doc: Item, results: Sequence[Any]) -> dict[str, float]:
        """See the class."""
        answer = str(results[0]).strip()
        each = [self._scorer.score(reference, answer) for reference in self._references(doc)]
        scores = {name: max(float(one[name].fmeasure) for one in each) for name in ("rouge1", "rouge2", "rougeL")}
        return scores | {"rouge1_recall": max(float(one["rouge1"].recall) for one in each)}

    def extract(self, answer: str) -> str | None:
        """The whole answer, stripped."""
        return answer.strip() or None

    def reference(self, doc: Item) -> str:
        """The reference summaries, joined."""
        return " | ".join(self._references(doc))

    def _references(self, doc: Item) -> list[str]:
        for column in self.columns:
            if doc.get(column):
                return [str(doc[column])]
        return accepted_answers(doc)


closed_book = ClosedBook()
final_number = FinalNumber()
chosen_letter = ChosenLetter()
summary = Summary()
