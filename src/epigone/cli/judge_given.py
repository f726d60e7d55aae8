"""A judge's file as a command got it: read, its cost shown, agreed to, its model opened."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import typer
from rich.console import Console

from epigone.disk import read_yaml
from epigone.errors import SpecError
from epigone.evaluate.preference import JudgePlan, JudgeSpec
from epigone.models import ApiSpec, Budget, Progress, RequestCache, TextModel, open_model
from epigone.specs import beside, parse_spec

__all__ = ["confirm_cost", "opened", "progress_bar", "read_judge", "show_cost"]


def read_judge(path: Path) -> JudgeSpec:
    """The judge in ``path``; relative paths in it start at its folder.

    Raises:
        SpecError: the file cannot be read or is no judge.
    """
    return beside(parse_spec(JudgeSpec, read_yaml(path), where=str(path)), path.parent)


def show_cost(console: Console, spec: JudgeSpec, plan: JudgePlan, what: str = "questions") -> None:
    """Print what a judge will be asked, and the most it can cost."""
    price = spec.model.price if isinstance(spec.model, ApiSpec) else None
    cost = "no price is stated" if isinstance(spec.model, ApiSpec) else "runs here"
    if price is not None:
        estimate = " if that estimate holds" if plan.estimated else ""
        cost = f"at most ${price.usd(plan.prompt_tokens, plan.reply_tokens_at_most):,.2f}{estimate}, reminders aside"
    about = "about " if plan.estimated else ""
    console.print(
        f"{spec.title}: {plan.requests:,} {what}, {about}{plan.prompt_tokens:,} prompt tokens, "
        f"at most {plan.reply_tokens_at_most:,} reply tokens; {cost}",
        soft_wrap=True,
        markup=False,
    )


def confirm_cost(spec: JudgeSpec, requests: int, *, yes: bool) -> None:
    """Let the user agree before a judge behind an API is asked.

    Raises:
        SpecError: nobody can be asked at this terminal, and ``yes`` was not said.
    """
    if yes or not isinstance(spec.model, ApiSpec) or requests == 0:
        return
    if not sys.stdin.isatty():
        raise SpecError("a judge behind an API may cost money", where=spec.title, fix="say --yes, or first see --plan")
    typer.confirm("Ask it?", abort=True)


@contextmanager
def opened(spec: JudgeSpec, out: Path, budget: Budget) -> Iterator[TextModel]:
    """The judging model; what it was asked is kept in ``out``, so that nothing is paid twice."""
    with closing(open_model(spec.model, cache=RequestCache(out / "requests.sqlite"), budget=budget)) as model:
        yield model


@contextmanager
def progress_bar(title: str) -> Iterator[Progress]:
    """A bar on standard error, to be called with (done, total)."""
    from rich.progress import Progress as Bars

    with Bars(console=Console(stderr=True), transient=True) as bars:
        bar = bars.add_task(title, total=None)

        def show(done: int, total: int | None) -> None:
            bars.update(bar, completed=done, total=total)

        yield show
