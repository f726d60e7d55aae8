"""Arms: one student each, (base, data, amount, replay, seed)."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from epigone.study.spec import StudySpec
from epigone.token_text import tokens_text

__all__ = ["Arm", "expand_arms"]


class Arm(Struct, frozen=True, kw_only=True):
    """One student to train. ``amount`` in tokens of imitation data, or everything there is."""

    base: str
    data: str
    amount: int | Literal["all"]
    replay: float
    seed: int

    @property
    def group(self) -> str:
        """The arm without its seed: what is pooled over seeds."""
        replay = f"-replay{self.replay:g}" if self.replay else ""
        return f"{self.base}/{self.data}-{_amount_text(self.amount)}{replay}"

    @property
    def name(self) -> str:
        """The student's name everywhere."""
        return f"{self.group}/s{self.seed}"


def expand_arms(spec: StudySpec) -> list[Arm]:
    """Every student of a study, once, in the order in which the file names them."""
    arms = [
        Arm(base=base.name, data=data, amount=amount, replay=replay, seed=seed)
        for grid in spec.arms
        for base in spec.bases
        if grid.bases is None or base.name in grid.bases
        for data in grid.data
        for amount in grid.amounts
        for replay in grid.replay
        for seed in grid.seeds
    ]
    return list(dict.fromkeys(arms))


def _amount_text(amount: int | str) -> str:
    """300000 as ``300k``, 20000000 as ``20M``; a word stays a word."""
    if isinstance(amount, str):
        return amount
    return tokens_text(amount)
