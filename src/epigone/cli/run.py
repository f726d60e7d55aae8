"""`epigone run study.yaml`: the whole study."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["run"]


def run(
    study: Annotated[Path, typer.Argument(help="The study file.", show_default=False)],
    out: Annotated[Path | None, typer.Option(help="Run folder; default: runs/<name of the study>.")] = None,
) -> None:
    """Run a study: collect, curate, train, measure, compare, report.

    Stop it whenever you like: run the same command again and it goes on where it was. Finished jobs and paid answers
    are never repeated.
    """
    from epigone.cli.headline import show_finished
    from epigone.cli.progress import RunDisplay
    from epigone.study import run_study

    with RunDisplay(title=study.stem) as display:
        finished = run_study(study, out=out, listener=display)
    show_finished(finished)
