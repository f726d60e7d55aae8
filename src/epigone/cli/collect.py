"""`epigone collect RECIPE.yaml --out DIR`, and `epigone collect DUMP --format sharegpt --out DIR`."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from epigone.errors import DataError, SpecError
from epigone.specs import parse_spec

if TYPE_CHECKING:
    from epigone.collect import Collected, Forecast, ImportSpec, RecipeSpec
    from epigone.records import Conversation, Request

__all__ = ["collect"]


def collect(
    source: Annotated[
        Path, typer.Argument(help="Recipe (YAML), or with --format a dump or a hub data set's id.", show_default=False)
    ],
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for conversations.jsonl, drops.jsonl, collected.json.", show_default=False),
    ] = None,
    format: Annotated[
        str | None, typer.Option(help="Read SOURCE as a dump: sharegpt, hc3, pairs, alpaca or messages.")
    ] = None,
    dry_run: Annotated[bool, typer.Option(help="Show the first requests in full and the cost; ask nothing.")] = False,
    show: Annotated[int, typer.Option(min=0, help="How many requests a dry run shows.")] = 2,
    seed: Annotated[int, typer.Option(help="Seed of everything that is drawn.")] = 0,
    cache: Annotated[
        Path | None, typer.Option(help="File that keeps every paid answer.  [default: DIR/cache/requests.sqlite]")
    ] = None,
    batch: Annotated[
        bool | None,
        typer.Option("--batch/--no-batch", help="Ask through the provider's batch endpoint, whatever the recipe says."),
    ] = None,
    refuse_cut: Annotated[bool, typer.Option(help="Refuse a dump that ends in the middle of a record.")] = False,
    terms: Annotated[str, typer.Option(help="Licence or terms of a dump.")] = "",
) -> None:
    """Ask a teacher for imitation data as a recipe says, or import a dump. Run it again to go on where it stopped."""
    from epigone.collect import ImportSpec, forecast, read_recipe

    console = Console(highlight=False)
    if format is not None:
        place = "hub" if _is_hub_id(source) else "path"
        fields = {"format": format, place: str(source), "refuse_cut": refuse_cut, "terms": terms}
        _import(console, [parse_spec(ImportSpec, fields, where="--format")], _folder(out))
        return
    if source.suffix not in (".yaml", ".yml"):
        raise SpecError("is no recipe", where=str(source), fix="name a .yaml file, or say --format for a dump")
    recipe = read_recipe(source)
    if batch is not None:
        recipe = _in_batches(recipe, batch)
    if recipe.imports and not dry_run:
        specs = [spec.model_copy(update={"refuse_cut": True}) if refuse_cut else spec for spec in recipe.imports]
        _import(console, specs, _folder(out))
        return
    folder = None if dry_run else _folder(out)
    _show_forecast(console, recipe, forecast(recipe, seed=seed, show=show if dry_run else 0))
    if folder is None:
        console.print("Nothing was asked.")
    else:
        _ask(console, recipe, folder, seed=seed, cache=cache)


def _folder(out: Path | None) -> Path:
    if out is None:
        raise SpecError("no folder to write into", where="--out", fix="add --out DIR, or --dry-run to only look")
    return out


def _is_hub_id(source: Path) -> bool:
    """Whether this is no file here but an id such as ``organisation/name``."""
    return not source.exists() and not source.suffix and not source.is_absolute() and len(source.parts) == 2


def _in_batches(recipe: RecipeSpec, batch: bool) -> RecipeSpec:
    """The recipe with its teacher's ``batch_endpoint`` set so.

    Raises:
        SpecError: the teacher is no API.
    """
    teacher = recipe.teacher
    if teacher is None or teacher.api is None:
        raise SpecError("only an API has a batch endpoint", where="--batch", fix="leave it out, or name teacher.api")
    api = teacher.api.model_copy(update={"batch_endpoint": batch})
    return recipe.model_copy(update={"teacher": teacher.model_copy(update={"api": api})})


def _import(console: Console, specs: list[ImportSpec], out: Path) -> None:
    from epigone.collect import import_dump, write_records
    from epigone.records import Drop

    noted: list[Drop] = []

    def noting_drops() -> Iterator[Conversation | Drop]:
        for record in chain.from_iterable(import_dump(spec) for spec in specs):
            if isinstance(record, Drop) and (record.reason == "file_cut" or not noted):
                noted.append(record)
            yield record

    stats = write_records(noting_drops(), out)
    _show_counts(console, stats)
    for drop in noted:
        if drop.reason == "file_cut":
            console.print(f"[bold]cut:[/] {drop.detail}", soft_wrap=True)
    if not stats["conversations"]:
        why = f"; the first record was dropped as {noted[0].reason}: {noted[0].detail}" if noted else ""
        where = str(specs[0].path or specs[0].hub)
        raise DataError(f"no conversation was found{why}", where=where, fix=f"see {out}/drops.jsonl")
    console.print(f"written to {out}", soft_wrap=True)


def _ask(console: Console, recipe: RecipeSpec, out: Path, *, seed: int, cache: Path | None) -> None:
    from epigone.collect import run_recipe, write_collected
    from epigone.models import Budget, RequestCache, open_model

    assert recipe.teacher is not None  # RecipeSpec sees to it
    answers = RequestCache(cache or out / "cache" / "requests.sqlite")
    if kept := answers.usage().replies:
        console.print(f"{kept:,} answers are in {answers.path} already; those are not paid again.", soft_wrap=True)
    budget = Budget(recipe.budget.usd, recipe.budget.tokens, ledger=answers.path.with_name("spending.sqlite"))
    model = open_model(recipe.teacher.model, cache=answers, budget=budget)
    bars = Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn(),
        console=Console(stderr=True),
    )  # fmt: skip
    try:
        with bars:
            task = bars.add_task(f"asking {model.name}", total=None)
            collected = run_recipe(
                recipe, model, seed=seed, progress=lambda done, total: bars.update(task, completed=done, total=total)
            )
    finally:
        model.close()
    write_collected(collected, out)
    _show_collected(console, collected)
    console.print(f"budget: {budget.describe()}\nwritten to {out}", soft_wrap=True)
    if not collected.conversations:
        first = collected.drops[0] if collected.drops else None
        why = f"; the first reply was dropped as {first.reason}: {first.detail}" if first else ""
        raise DataError(f"no conversation was collected{why}", where=str(out), fix=f"see {out}/drops.jsonl")


def _show_forecast(console: Console, recipe: RecipeSpec, found: Forecast) -> None:
    """What will be asked and what it may cost: shown before anything is sent, with or without ``--dry-run``."""
    from epigone.collect import PAIRS_PER_REPLY

    assert recipe.teacher is not None  # RecipeSpec sees to it
    for number, request in enumerate(found.first, 1):
        console.rule(f"request {number} of about {found.requests:,}", align="left")
        _show_request(console, request)
    if found.first:
        console.rule(align="left")
    api, budget = recipe.teacher.api, recipe.budget
    table = Table(box=None, pad_edge=False)
    for name in ("", "estimate", "high estimate"):
        table.add_column(name, justify="left" if not name else "right")
    table.add_row("requests", f"{found.requests:,}", f"{found.most_requests:,}")
    table.add_row("prompt tokens", f"{found.prompt_tokens:,}", f"{found.most_prompt_tokens:,}")
    table.add_row("reply tokens", f"{found.completion_tokens:,}", f"{found.most_completion_tokens:,}")
    if found.usd is not None and found.most_usd is not None:
        table.add_row("cost", _dollars(found.usd), _dollars(found.most_usd))
    else:
        table.add_row("cost", "none: it runs here" if api is None else "unknown: no price", "")
    limits = [
        _dollars(budget.usd) if budget.usd is not None else "",
        f"{budget.tokens:,} tokens" if budget.tokens else "",
    ]
    table.add_row("budget", ", ".join(filter(None, limits)) or "no limit", "")
    console.print(table)
    many, one = (f", {PAIRS_PER_REPLY} new pairs each", ", one each") if recipe.synthesize is not None else ("", "")
    console.print(
        f"Taken: four characters a token, replies half as long as they may be{many}; high: at full length{one}."
    )
    if budget.usd is None and budget.tokens is None:
        console.print("Neither is a bound: only a budget is.")
    if api is not None and api.batch_endpoint:
        factor = f"{api.price.batch_factor:.0%} of the price" if api.price is not None else "cheaper"
        console.print(f"Sent as batches: {factor}, answered within a day; it may be stopped and run again.")


def _dollars(usd: float) -> str:
    """Cents are enough, unless there are none."""
    return f"${usd:,.2f}" if usd >= 0.01 or not usd else f"${usd:.4f}"


def _show_request(console: Console, request: Request) -> None:
    for message in request.messages or ():
        console.print(f"[bold]{message.role}[/]")
        console.print(message.content, markup=False, soft_wrap=True)
    if request.prompt is not None:
        console.print(request.prompt, markup=False, soft_wrap=True)
    settings = f"temperature {request.temperature:g}, max_tokens {request.max_tokens}, seed {request.seed}"
    console.print(f"[dim]{settings}[/]")


def _show_collected(console: Console, collected: Collected) -> None:
    _show_counts(console, collected.stats)
    curve = collected.yield_curve
    shown = curve[:: max(1, len(curve) // 8)][1:]
    shown = shown if not curve or curve[-1] in shown else (*shown, curve[-1])
    if len(shown) > 1:
        steps = ", ".join(f"{requests:,}: {kept:,}" for requests, kept in shown)
        console.print(f"kept after so many requests: {steps}", soft_wrap=True)
    console.print(f"[bold]{collected.stopped}[/]", soft_wrap=True)


def _show_counts(console: Console, stats: dict[str, float]) -> None:
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(justify="right")
    table.add_column()
    for name, count in stats.items():
        table.add_row(
            f"{count:,.0f}", name.replace("dropped.", "dropped: ").replace("replies.", "replies: ").replace("_", " ")
        )
    console.print(table)
