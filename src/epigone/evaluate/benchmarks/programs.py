"""HumanEval's scores: does the program pass its tests, run in the sandbox; and pass@k from several programs."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache, partial
from math import prod
from typing import Any

from epigone.evaluate.benchmarks.process import Item
from epigone.evaluate.benchmarks.sandbox import Confinement, Limits, find_confinement, run_test

__all__ = ["PassesTests", "complete_program", "fenced_program", "keep_all", "pass_at_k", "passes_tests"]

STOPS = ("\nclass", "\ndef", "\n#", "\nif", "\nprint")  # where Codex's completions end (Chen et al. 2021, section 2.1)
KS = (1, 10, 100)

_FENCE = re.compile(r"```[ \t]*(?:python|py|Python)?[ \t]*\n(.*?)(?:```|\Z)", re.DOTALL)


def pass_at_k(samples: int, passed: int, k: int) -> float:
    """Unbiased probability that one of k programs passes: 1 − C(n−c, k) / C(n, k), in [0, 1] (Chen et al. 2021, eq. 1).

    Args:
        samples: n, programs drawn. passed: c, of these that pass. k: at most n.
    """
    if samples - passed < k:
        return 1.0
    return 1.0 - prod(1.0 - k / i for i in range(samples - passed + 1, samples + 1))


def complete_program(prompt: str, completion: str) -> str:
    """The prompt with its completion, cut where a new top-level statement begins (strict)."""
    ends = [position for stop in STOPS if (position := completion.find(stop)) >= 0]
    return prompt + (completion[: min(ends)] if ends else completion)


def fenced_program(prompt: str, answer: str, entry_point: str) -> str:
    """The program that a chatty answer holds (lenient): its first fenced block that defines the function, after the
    prompt's own imports and helpers; a block without the definition counts as its body; without a block, as strict.
    """
    blocks = _FENCE.findall(answer)
    header = prompt.partition(f"def {entry_point}(")[0]
    for block in blocks:
        if re.search(rf"^(?:async )?def {re.escape(entry_point)}\b", block, re.MULTILINE):
            return f"{header}\n{block}"
    if blocks:
        return complete_program(prompt, str(blocks[0]))
    if re.search(rf"^def {re.escape(entry_point)}\b", answer, re.MULTILINE):
        return f"{header}\n{answer[answer.index(f'def {entry_point}') :]}"
    return complete_program(prompt, answer)


def keep_all(answers: list[list[str]], docs: Sequence[Item]) -> list[list[str]]:
    """lm-eval's filter that hands all samples of an item to the scoring, where its default keeps the first."""
    del docs
    return answers


class PassesTests:
    """Programs run against the item's tests (HumanEval).

    ``pass@1`` (strict): the prompt with the answer as its continuation passes; with n samples, their share. ``pass@10``
    and ``pass@100`` where n allows. ``lenient_pass@1``: so does the program that a chatty answer holds in a code block.
    """

    metrics: Mapping[str, str] = {"pass@1": "pass@1", "lenient_pass@1": "pass@1 of code blocks too"}

    def __init__(self, *, allow_unconfined: bool = False, limits: Limits | None = None) -> None:
        self.allow_unconfined = allow_unconfined
        self.limits = limits or Limits()

    def __call__(self, doc: Item, results: Sequence[Any]) -> dict[str, float]:
        """See the class. ``results[0]``: one answer, or a list of samples."""
        answers = [str(one) for one in results[0]] if isinstance(results[0], list) else [str(results[0])]
        prompt, entry_point = str(doc["prompt"]), str(doc["entry_point"])
        passes = cache(partial(self._passes, doc))  # an answer without a code block is one program, not two
        strict = [passes(complete_program(prompt, answer)) for answer in answers]
        lenient = [
            passed or passes(fenced_program(prompt, answer, entry_point))
            for answer, passed in zip(answers, strict, strict=True)
        ]
        scores = {f"pass@{k}": pass_at_k(len(strict), sum(strict), k) for k in KS if k <= len(strict)}
        return scores | {"lenient_pass@1": pass_at_k(len(lenient), sum(lenient), 1)}

    def extract(self, answer: str) -> str | None:
        """The continuation as the strict score reads it."""
        return complete_program("", answer) or None

    def reference(self, doc: Item) -> str:
        """The benchmark's own solution, where the data hold it."""
        return str(doc.get("canonical_solution") or "")

    def confine(self) -> Confinement:
        """The walls that programs run behind.

        Raises:
            SandboxError: one does not hold here, and ``allow_unconfined`` does not accept it.
        """
        return find_confinement(allow_unconfined=self.allow_unconfined)

    def _passes(self, doc: Item, program: str) -> bool:
        found = run_test(
            program,
            prompt=str(doc["prompt"]),
            test=str(doc["test"]),
            entry_point=str(doc["entry_point"]),
            confinement=self.confine(),
            limits=self.limits,
        )
        return found.verdict == "passed"


passes_tests = PassesTests()
