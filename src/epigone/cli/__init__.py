"""The command line: one short file a command, imported only when it runs."""

from __future__ import annotations

import importlib
import sys
from typing import Any

import typer
from typer.core import TyperGroup

from epigone import __version__
from epigone.errors import EpigoneError

__all__ = ["app", "main"]

COMMANDS: dict[str, str] = {
    # command: one line of help; the code is in epigone/cli/<command>.py, a function (or a typer app) of that name
    "demo": "Run the whole study on the embedded world, offline, in minutes.",
    "run": "Run a study file: collect, train, measure, report.",
    "check": "Say what a study will do and cost at most, and what looks wrong, before anything is spent.",
    "collect": "Ask a teacher for imitation data, or import a dump.",
    "curate": "Clean, deduplicate, decontaminate and mix imitation data.",
    "train": "Train a student on imitation data.",
    "evaluate": "Score a model on benchmarks and toxicity.",
    "style": "Measure how alike two files of outputs are in style.",
    "judge": "Let a model judge pairs of outputs, blind and in both orders.",
    "rate": "Let people judge pairs of outputs, blind, on a web page.",
    "compare": "Turn scores into estimates: gap closed, win rates, intervals.",
    "report": "Make a page of results.",
    "serve": "Serve a model over an OpenAI-compatible API.",
}


class _LazyCommands(TyperGroup):
    """Imports a command's file when it is named, so that `epigone --help` needs none of them."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 - the signature is typer's
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002 - the signature is typer's
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"epigone.cli.{cmd_name}")
        found = getattr(module, cmd_name)
        if isinstance(found, typer.Typer):
            command: Any = typer.main.get_group(found)
        else:
            single = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
            single.command(name=cmd_name)(found)
            command = typer.main.get_command(single)
        command.name = cmd_name
        return command

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002 - the signature is typer's
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


_INTERRUPTED = 130
"""What typer makes of Ctrl-C."""

app = typer.Typer(
    cls=_LazyCommands, no_args_is_help=True, add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False
)


def _print_version(value: bool) -> None:
    if value:
        typer.echo(f"epigone {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: bool = typer.Option(False, "--version", callback=_print_version, is_eager=True, help="Print the version."),
) -> None:
    """Imitation studies of language models: how much of the gap closed in style, and how much in capability."""


def main() -> None:
    """Run the command line; an :class:`EpigoneError` is printed without a traceback and gives its own exit code."""
    try:
        app()
    except EpigoneError as error:
        sys.stdout.flush()
        typer.echo(f"error: {error}", err=True)
        sys.exit(error.exit_code)
    except SystemExit as end:
        if end.code == _INTERRUPTED:
            typer.echo("stopped; finished work is kept: run the same command again to go on", err=True)
        raise
