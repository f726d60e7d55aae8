"""`epigone check study.yaml`: what it will do, before anything is spent."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["check"]


def check(study: Annotated[Path, typer.Argument(help="The study file.", show_default=False)]) -> None:
    """Validate a study and say what it will do, cost and take, and what looks wrong."""
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
    console.print(f"training   {checked.training_tokens:,} tokens of imitation data, plus arms of everything there is")
    console.print(f"teacher    at most {checked.teacher_requests:,} requests, {checked.teacher_tokens:,} reply tokens")
    cost = (
        "no price is stated (teacher.api.price)" if checked.usd is None else f"at most ${checked.usd:,.2f} for replies"
    )
    console.print(f"cost       {cost}")
    for warning in checked.warnings:
        console.print(Text(f"warning: {warning}"), soft_wrap=True)
    if not checked.warnings:
        console.print("nothing looks wrong")
