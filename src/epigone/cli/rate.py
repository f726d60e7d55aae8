"""`epigone rate`: people judge pairs of outputs, blind, on a page of one's own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["rate"]

rate = typer.Typer(help="Let people judge pairs of outputs, blind, on a web page.", no_args_is_help=True)
_Where = Annotated[str, typer.Argument(help="Campaign file (SQLite) or database URL.", show_default=False)]


@rate.command()
def new(
    campaign: _Where,
    teacher: Annotated[Path, typer.Option(help="The teacher's outputs.", show_default=False)],
    student: Annotated[list[Path], typer.Option(help="A student's outputs; may be given again.", show_default=False)],
    ratings: Annotated[int, typer.Option(min=1, help="Ratings of each pair.")] = 3,
    timeout_s: Annotated[float, typer.Option(help="Seconds until an unrated pair is handed out again.")] = 1800.0,
) -> None:
    """Make a campaign from outputs files; says the invitation link's last part."""
    from epigone.evaluate.outputs_file import read_outputs
    from epigone.evaluate.preference import make_pairs
    from epigone.evaluate.preference.rating_app import new_campaign

    shown = read_outputs(teacher)
    pairs = [pair for path in student for pair in make_pairs(shown, read_outputs(path), student_name=path.stem)]
    made = new_campaign(campaign, pairs, ratings=ratings, timeout_s=timeout_s)
    typer.echo(f"{campaign}: {made.progress().pairs} pairs, {ratings} ratings each")
    typer.echo(f"invitation: /join/{made.setting('invitation')}")
    typer.echo(f"organiser:  /progress/{made.setting('organiser')}")


@rate.command()
def serve(
    campaign: _Where,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port.")] = 8321,
) -> None:
    """Serve the raters' page."""
    import uvicorn

    from epigone.evaluate.preference.rating_app import open_campaign, rating_app

    opened = open_campaign(campaign)
    typer.echo(f"invite raters with http://{host}:{port}/join/{opened.setting('invitation')}")
    uvicorn.run(rating_app(opened), host=host, port=port, log_level="warning")


@rate.command()
def status(campaign: _Where) -> None:
    """Say how far a campaign is."""
    from epigone.evaluate.preference.rating_app import open_campaign

    state = open_campaign(campaign).progress()
    typer.echo(
        f"{state.votes} of {state.wanted} votes by {state.raters} raters; {state.complete} of {state.pairs} pairs done"
    )
    typer.echo(f"{state.open} pairs are open in somebody's browser")


@rate.command()
def export(
    campaign: _Where,
    out: Annotated[Path, typer.Option(help="JSONL of votes, as `epigone judge` writes them.", show_default=False)],
) -> None:
    """Write every vote; raters by pseudonym."""
    from epigone.disk import write_jsonl
    from epigone.evaluate.preference.rating_app import open_campaign

    count = write_jsonl(out, open_campaign(campaign).votes())
    typer.echo(f"{out}: {count} votes")
