"""The paper's tables, and the table of everything, as cells that know which estimate they show."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Literal

from msgspec import Struct

from epigone.records import Axis, Estimate, ModelInfo
from epigone.report.arms import Arms
from epigone.report.numbers import interval_text, number_text, tokens_text, with_minus_signs

__all__ = ["Cell", "Row", "Table", "draw_tables", "everything", "measured"]


class Cell(Struct, frozen=True, kw_only=True):
    """One estimate: its text, and where it stands in ``results.json``.

    ``scored``: "14 of 16" where not every item could be scored. ``note``: why there is no estimate.
    """

    model: str
    axis: str
    value: float | None
    text: str
    interval: str = ""
    scored: str = ""
    note: str = ""


class Row(Struct, frozen=True, kw_only=True):
    """A model's row."""

    label: str
    detail: str
    cells: tuple[Cell, ...]
    role: str


class Table(Struct, frozen=True, kw_only=True):
    """A table of the page."""

    key: str
    title: str
    caption: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    shows: Literal["estimates", "gain_by_support"] = "estimates"
    """Which part of ``results.json`` the cells are of."""


def draw_tables(arms: Arms) -> list[Table]:
    """Tables 1, 2 and 7 of a study, and who gains, where there is something to put into them."""
    if not any(model.amount_tokens for model in arms.students):
        return []
    found = [_table_1(arms), _table_2(arms), _table_7(arms), _gain_by_support(arms)]
    return [table for table in found if table.columns and table.rows]


def measured(arms: Arms) -> Table | None:
    """Of models that are no arms of a study (files of outputs): every headline axis; ``None`` for a study."""
    if any(model.amount_tokens for model in arms.students):
        return None
    models = [*arms.students, *arms.bases, *_maybe(arms.ceiling)]
    found = {axis for model in models for axis in arms.results.estimates.get(model.name, ())}
    shown = ("win_rate", "authoritative_tone")
    axes = [a for a in arms.results.axes if a.name in found and (a.headline or a.name.rpartition(".")[2] in shown)]
    rows = _rows(arms, models, axes)
    if not rows:
        return None
    return Table(key="measured", title="What was measured", caption="", columns=_labels(axes), rows=rows)


def everything(arms: Arms) -> list[Table]:
    """Every axis of every model, a table a kind of axis."""
    models = [*_maybe(arms.teacher), *_maybe(arms.ceiling), *arms.bases, *arms.students]
    labels = {
        "capability": "Capability",
        "factuality": "Claims in free text",
        "style": "Style",
        "preference": "Preference",
        "safety": "Safety",
    }
    tables = []
    for kind, title in labels.items():
        axes = [axis for axis in arms.results.axes if axis.kind == kind]
        rows = _rows(arms, models, axes)
        if axes and rows:
            tables.append(Table(key=f"all-{kind}", title=title, caption="", columns=_labels(axes), rows=rows))
    return tables


def _table_1(arms: Arms) -> Table:
    summaries = [axis for axis in arms.headline_axes("capability") if "rouge" in axis.name.lower()]
    axes = [axis for axis in (arms.local_axis, *summaries[:1]) if axis is not None]
    models = [*_per_base(arms, lambda base: [base, *arms.broad(base.name)[-1:], *arms.local(base.name)])]
    models += _maybe(arms.teacher)
    return Table(
        key="table1",
        title="Table 1: broad against local imitation",
        caption="Bases, students of the largest broad amount, students of the local data, and the teacher. Two-sided "
        "intervals.",
        columns=_labels(axes),
        rows=_rows(arms, models, axes),
    )


def _table_2(arms: Arms) -> Table:
    axes = arms.headline_axes("style") + [
        axis for axis in arms.results.axes if "tone" in axis.name and not axis.headline
    ]
    models = [*_per_base(arms, lambda base: [base, *arms.broad(base.name)]), *_maybe(arms.ceiling)]
    return Table(
        key="table2",
        title="Table 2: style",
        caption="Each model's answers held against the teacher's; the teacher's own second sample is the ceiling.",
        columns=_labels(axes),
        rows=_rows(arms, models, axes),
    )


def _table_7(arms: Arms) -> Table:
    axes = [axis for axis in arms.results.axes if axis.name.lower().endswith(("rouge1", "rouge2", "rougel"))]
    models = [
        *_maybe(arms.teacher),
        *_per_base(arms, lambda base: [base, *arms.broad(base.name)[-1:], *arms.local(base.name)]),
    ]
    return Table(
        key="table7",
        title="Table 7: ROUGE",
        caption="F-measure.",
        columns=_labels(axes),
        rows=_rows(arms, models, axes),
    )


def _gain_by_support(arms: Arms) -> Table:
    """Do students gain on the items that their data support, and lose on the others?"""
    correlations = arms.results.gain_by_support
    names = {axis for found in correlations.values() for axis in found}
    known = [axis for axis in arms.results.axes if axis.name in names]
    axes = [axis for axis in known if axis.headline] or known
    students = [model for model in arms.students if model.name in correlations]
    rows = [
        Row(
            label=_name(model),
            detail=_detail(model),
            cells=tuple(_cell(model, axis, correlations[model.name].get(axis.name), unit="r") for axis in axes),
            role=model.role,
        )
        for model in students
    ]
    return Table(
        key="gain-by-support",
        title="Gain by support",
        caption="Spearman's rank correlation, over items, of student − base with how much the student's own data "
        "support the item (share of BM25). Above 0: it gains where its data speak of the question.",
        columns=_labels(axes),
        rows=tuple(rows),
        shows="gain_by_support",
    )


def _per_base(arms: Arms, choose: Callable[[ModelInfo], list[ModelInfo]]) -> list[ModelInfo]:
    return [model for base in arms.bases for model in choose(base)]


def _maybe(model: ModelInfo | None) -> list[ModelInfo]:
    return [] if model is None else [model]


def _labels(axes: Iterable[Axis]) -> tuple[str, ...]:
    return tuple(axis.label for axis in axes)


def _rows(arms: Arms, models: Sequence[ModelInfo], axes: Sequence[Axis]) -> tuple[Row, ...]:
    rows = []
    for model in models:
        cells = tuple(_cell(model, axis, arms.estimate(model, axis.name)) for axis in axes)
        if any(cell.value is not None or cell.note for cell in cells):
            rows.append(Row(label=_name(model), detail=_detail(model), cells=cells, role=model.role))
    return tuple(rows)


def _name(model: ModelInfo) -> str:
    """A study calls the second sample teacher#2; in files of outputs everybody has a name of their own."""
    return "teacher, second sample" if model.name == "teacher#2" else model.name


def _detail(model: ModelInfo) -> str:
    parts = []
    if model.parameters:
        parts.append(f"{tokens_text(model.parameters)} parameters")
    if model.role == "student" and model.amount_tokens:
        kind = f"{model.data_kind} imitation" if model.data_kind else "imitation"
        parts.append(f"{kind}, {tokens_text(model.amount_tokens)} tokens")
        if model.replay:
            parts.append(f"{100 * model.replay:.0f} % replay")
        if model.pooled:
            parts.append(f"{len(model.pooled)} seeds")
    return ", ".join(parts)


def _cell(model: ModelInfo, axis: Axis, estimate: Estimate | None, *, unit: str | None = None) -> Cell:
    if estimate is None:
        return Cell(model=model.name, axis=axis.name, value=None, text="–")
    some = estimate.value is not None and estimate.n_scored < estimate.n_total
    return Cell(
        model=model.name,
        axis=axis.name,
        value=estimate.value,
        text=number_text(estimate.value, unit or axis.unit),
        interval=interval_text(estimate, unit or axis.unit),
        scored=f"{estimate.n_scored:,} of {estimate.n_total:,}" if some else "",
        note="" if estimate.value is not None else with_minus_signs(estimate.method),
    )
