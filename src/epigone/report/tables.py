"""The paper's tables, and the table of everything, as cells that know which estimate they show."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from msgspec import Struct

from epigone.records import Axis, Estimate, ModelInfo
from epigone.report.arms import Arms
from epigone.report.numbers import interval_text, number_text, tokens_text

__all__ = ["Cell", "Row", "Table", "draw_tables", "everything"]


class Cell(Struct, frozen=True, kw_only=True):
    """One estimate: its text, and where it stands in ``results.json``."""

    model: str
    axis: str
    value: float | None
    text: str
    interval: str = ""
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


def draw_tables(arms: Arms) -> list[Table]:
    """Tables 1, 2 and 7, where there is something to put into them."""
    found = [_table_1(arms), _table_2(arms), _table_7(arms)]
    return [table for table in found if table.columns and table.rows]


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
        "95 % intervals.",
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
    names = {"teacher": "teacher", "teacher_second_sample": "teacher, second sample"}
    return names.get(model.role, model.name)


def _detail(model: ModelInfo) -> str:
    parts = []
    if model.parameters:
        parts.append(f"{tokens_text(model.parameters)} parameters")
    if model.role == "student":
        kind = f"{model.data_kind} imitation" if model.data_kind else "imitation"
        parts.append(f"{kind}, {tokens_text(model.amount_tokens)} tokens")
        if model.replay:
            parts.append(f"{100 * model.replay:.0f} % replay")
        if model.pooled:
            parts.append(f"{len(model.pooled)} seeds")
    return ", ".join(parts)


def _cell(model: ModelInfo, axis: Axis, estimate: Estimate | None) -> Cell:
    if estimate is None:
        return Cell(model=model.name, axis=axis.name, value=None, text="–")
    scored = f"{estimate.n_scored} of {estimate.n_total} scored; " if estimate.n_scored < estimate.n_total else ""
    return Cell(
        model=model.name,
        axis=axis.name,
        value=estimate.value,
        text=number_text(estimate.value, axis.unit),
        interval=interval_text(estimate, axis.unit),
        note=f"{scored}{estimate.method}" if estimate.value is None or scored else "",
    )
