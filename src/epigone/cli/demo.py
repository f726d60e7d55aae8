"""`epigone demo`: the whole study on an embedded world, offline, from models trained on the spot."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

__all__ = ["demo"]


class ScaleName(StrEnum):
    """How large the embedded world is."""

    FULL = "full"
    SMOKE = "smoke"


def demo(
    scale: Annotated[
        ScaleName, typer.Option(help="full: every finding, minutes; smoke: the same path, seconds.")
    ] = ScaleName.FULL,
    seed: Annotated[int, typer.Option(help="Of the world, its models and everything drawn.")] = 0,
    seeds: Annotated[int, typer.Option(min=1, help="Training seeds an arm.")] = 1,
    out: Annotated[Path | None, typer.Option(help="Run folder; default: runs/demo or runs/demo-smoke.")] = None,
) -> None:
    """Run the whole study on an embedded world: CPU, no network, every figure and table.

    The world, its texts, a teacher and three bases are made here; then the study file that is written into the run
    folder runs as any other would.
    """
    from rich.console import Console
    from rich.text import Text

    from epigone.cli.headline import show_finished
    from epigone.cli.progress import RunDisplay
    from epigone.microworld import prepare_demo
    from epigone.study import run_study

    root = out if out is not None else Path("runs") / ("demo" if scale is ScaleName.FULL else f"demo-{scale.value}")
    console = Console(stderr=True, highlight=False)
    console.print(Text("1/2  the embedded world: texts, bases, a teacher"))
    with RunDisplay(console, title="world") as display:
        study = prepare_demo(root, scale=scale.value, seed=seed, training_seeds=seeds, listener=display)
    console.print(Text(f"2/2  the study: {study}"), soft_wrap=True)
    with RunDisplay(console, title="study") as display:
        finished = run_study(study, out=root, listener=display)
    show_finished(finished)
