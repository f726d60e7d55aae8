"""What ``compare`` reads: every score and every vote of a study, and what they are about."""

from __future__ import annotations

from msgspec import Struct

from epigone.records import Axis, ItemScore, ItemSupport, ModelInfo, Vote

__all__ = ["Measurements"]


class Measurements(Struct, frozen=True, kw_only=True):
    """All that was measured. The order of the rows is of no consequence.

    ``items``: long rows, one per model, task and item. Style rows stand under the model whose answers were compared
    with the teacher's; the teacher's second sample is a model of its own (role ``teacher_second_sample``) and gives the
    ceiling. ``votes``: student against teacher; a base that was judged stands as ``student`` in its votes.
    ``axes``: what to report, in the order of the page; an axis ``task.metric`` is the mean of that metric over the
    task's items, save those that :mod:`epigone.compare.axes` defines otherwise (length correlation, preferences).
    ``support``: how much each data set of the students supports each item, for who gains and who regresses.
    """

    study: str
    models: tuple[ModelInfo, ...]
    axes: tuple[Axis, ...]
    items: tuple[ItemScore, ...]
    votes: tuple[Vote, ...] = ()
    support: tuple[ItemSupport, ...] = ()
