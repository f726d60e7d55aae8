"""Two-step word problems with worked solutions, and the tables of sums that teach their steps."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from msgspec import Struct

from epigone.microworld.encyclopaedia import pick

__all__ = ["WordProblem", "is_held_out", "sums", "word_problem"]

THINGS = ("apples", "books", "coins", "stones", "candles", "letters", "eggs", "nails")
VERBS = {"+": "gets", "-": "loses"}
LARGEST_START, LARGEST_STEP = 10, 6


class WordProblem(Struct, frozen=True):
    """``question``, its worked ``solution`` (which ends with the answer) and the final ``answer``.

    ``key``: the operations and numbers, without names and things; what is held out is held out by key.
    """

    question: str
    solution: str
    answer: int
    key: tuple[str, int, int, int]


def is_held_out(key: tuple[str, int, int, int]) -> bool:
    """One key in five belongs to the test: no training text of any kind uses it."""
    operations, start, first, second = key
    return (start * 7 + first * 3 + second * 11 + len(operations) * 5 + operations.count("+")) % 5 == 0


def word_problem(rng: np.random.Generator, first_names: Sequence[str], *, held_out: bool) -> WordProblem:
    """Draw a problem of the form start ± first ± second, all results at least 0."""
    while True:
        start, first, second = (int(rng.integers(2, top + 1)) for top in (LARGEST_START, LARGEST_STEP, LARGEST_STEP))
        operations = pick(rng, ("++", "+-", "-+", "--"))
        middle = start + first if operations[0] == "+" else start - first
        end = middle + second if operations[1] == "+" else middle - second
        key = (operations, start, first, second)
        if middle >= 0 and end >= 0 and is_held_out(key) == held_out:
            break
    name, thing = pick(rng, first_names), pick(rng, THINGS)
    verbs = [VERBS[operation] for operation in operations]
    question = f"{name} has {start} {thing}, {verbs[0]} {first} and then {verbs[1]} {second}. How many are there?"
    solution = (
        f"{start} {operations[0]} {first} = {middle}. {middle} {operations[1]} {second} = {end}. The answer is {end}."
    )
    return WordProblem(question, solution, end, key)


def sums(rng: np.random.Generator) -> str:
    """Ten lines of a table of sums and differences, the single steps of the problems."""
    lines = []
    for _ in range(10):
        left, right = int(rng.integers(0, LARGEST_START + LARGEST_STEP + 1)), int(rng.integers(2, LARGEST_STEP + 1))
        if left >= right and rng.integers(2):
            lines.append(f"{left} - {right} = {left - right}.")
        else:
            lines.append(f"{left} + {right} = {left + right}.")
    return " ".join(lines)
