"""What an item's votes say together: both orders of a judge first, then the majority of voters."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from msgspec import Struct

from epigone.records import Choice, Vote

__all__ = ["Majority", "majority"]


class Majority(Struct, frozen=True, kw_only=True):
    """The verdict on one item. ``choice`` is ``None`` where no voter gave a usable vote.

    ``voters`` gave a usable verdict, ``missing`` votes were not usable; ``unanimous``: all voters agree, and there are
    two or more; ``split``: no choice has more votes than every other, and the verdict is a tie for that reason.
    """

    item: str
    student: str
    choice: Choice | None
    voters: int
    missing: int
    unanimous: bool
    split: bool


def majority(votes: Sequence[Vote]) -> list[Majority]:
    """One verdict an item and student, in order of first appearance.

    A voter's several votes on an item (a judge's two orders) are first made one: if they do not all agree, the voter
    says *tie* (Zheng et al. 2023). Then the choice with the most voters wins; where two or three share the first place
    (three raters of whom each says something else) the verdict is a tie. The paper (Appendix B) takes the majority of
    three and is silent on that last case.
    """
    by_item: dict[tuple[str, str], dict[str, list[Vote]]] = {}
    for vote in votes:
        by_item.setdefault((vote.item, vote.student), {}).setdefault(vote.voter, []).append(vote)
    return [_verdict(item, student, voters) for (item, student), voters in by_item.items()]


def _verdict(item: str, student: str, voters: dict[str, list[Vote]]) -> Majority:
    missing = sum(vote.choice is None for votes in voters.values() for vote in votes)
    said = [choice for votes in voters.values() if (choice := _one_voice(votes)) is not None]
    ranked = Counter(said).most_common()
    split = len(ranked) > 1 and ranked[0][1] == ranked[1][1]
    return Majority(
        item=item,
        student=student,
        choice=None if not said else ("tie" if split else ranked[0][0]),
        voters=len(said),
        missing=missing,
        unanimous=len(said) > 1 and len(ranked) == 1,
        split=split,
    )


def _one_voice(votes: Sequence[Vote]) -> Choice | None:
    choices = {vote.choice for vote in votes if vote.choice is not None}
    if not choices:
        return None
    return choices.pop() if len(choices) == 1 else "tie"
