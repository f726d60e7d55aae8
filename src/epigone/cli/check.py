"""`epigone check study.yaml`: what it will do, before anything is spent."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from epigone.models import BudgetSpec
    from epigone.study import StudySpec
    from epigone.study.costs import Asking

__all__ = ["check"]


def check(study: Annotated[Path, typer.Argument(help="The study file.", show_default=False)]) -> None:
    """Validate a study and say what it will do and cost at most, and what looks wrong."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from epigone.study import check_study, make_plan, read_study

    spec = read_study(study)
    folder = study.parent.resolve()
    plan = make_plan(spec, folder)
    checked = check_study(spec, folder, plan)
    console = Console(highlight=False)
    console.print(
        Text(f"{spec.name}: {len(plan.jobs)} jobs, {checked.arms} students of {len(spec.bases)} bases", style="bold")
    )
    table = Table.grid(padding=(0, 2))
    for stage, count in checked.jobs.items():
        table.add_row(Text(f"  {stage}"), Text(str(count), justify="right"))
    console.print(table)
    _show_students(console, spec)
    console.print(f"training   {checked.training_tokens:,} tokens of imitation data, plus arms of everything there is")
    _show_costs(console, checked.asked, spec.budget)
    for warning in checked.warnings:
        console.print(Text(f"warning: {warning}"), soft_wrap=True)
    if checked.refusal is not None:
        raise checked.refusal
    if not checked.warnings:
        console.print("nothing looks wrong")


def _show_students(console: Console, spec: StudySpec) -> None:
    """The grids as the file has them: a row for each kind of data in each."""
    from rich.table import Table

    from epigone.token_text import tokens_text

    table = Table(box=None, pad_edge=False)
    for column in ("students of", "bases", "amounts", "replay", "seeds"):
        table.add_column(column, overflow="fold")
    for grid in spec.arms:
        bases = ", ".join(grid.bases or (base.name for base in spec.bases))
        amounts = ", ".join(amount if isinstance(amount, str) else tokens_text(amount) for amount in grid.amounts)
        replay = ", ".join(f"{share:g}" for share in grid.replay)
        for data in grid.data:
            table.add_row(data, bases, amounts, replay, ", ".join(map(str, grid.seeds)))
    console.print(table)


def _show_costs(console: Console, asked: Sequence[Asking], budget: BudgetSpec) -> None:
    """A row for each purpose, and what all of it can come to."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, show_footer=True)
    priced = any(row.usd is not None for row in asked)
    more = " + ?" if any(row.usd is None for row in asked) else ""
    columns = {
        "asked": ([row.what for row in asked], "together"),
        "requests": ([f"{row.requests:,}" for row in asked], f"{sum(row.requests for row in asked):,}"),
        "prompt tokens": ([f"{row.prompt_tokens:,}" for row in asked], f"{sum(row.prompt_tokens for row in asked):,}"),
        "reply tokens": ([f"{row.reply_tokens:,}" for row in asked], f"{sum(row.reply_tokens for row in asked):,}"),
    }
    if priced:
        for name, costs in (
            ("about", [row.likely_usd for row in asked]),
            ("at most", [row.usd for row in asked]),
        ):
            known = sum(cost for cost in costs if cost is not None)
            columns[name] = (["?" if cost is None else f"${cost:,.2f}" for cost in costs], f"${known:,.2f}{more}")
    for name, (_, total) in columns.items():
        table.add_column(name, total, justify="left" if name == "asked" else "right")
    for row in zip(*(values for values, _ in columns.values()), strict=True):
        table.add_row(*row)
    console.print(table)
    for part in asked:
        if part.unknown:
            console.print(f"{part.what}: not in these numbers: {part.unknown}", markup=False, soft_wrap=True)
        elif part.usd is None:
            console.print(f"{part.what}: not in the dollars: no 'price' is stated for who is asked", markup=False)
    limits = [
        *([f"${budget.usd:,.2f}"] if budget.usd is not None else []),
        *([f"{budget.tokens:,} tokens"] if budget.tokens is not None else []),
    ]
    console.print(f"budget     {' and '.join(limits)}, never passed" if limits else "budget     no limit")
    console.print("Requests and tokens are upper bounds: a byte a token, replies at full length. See docs/study.md.")
