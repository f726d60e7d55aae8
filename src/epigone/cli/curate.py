"""`epigone curate RECIPE IN… --out DIR`, and `epigone curate label IN… --out FILE`: categories by hand."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

if TYPE_CHECKING:
    from epigone.curate import Curated
    from epigone.models import TextModel

__all__ = ["curate"]


class _RecipeFirst(TyperGroup):
    """`epigone curate recipe.yaml …` runs the recipe; only `label` is a word of its own."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        return super().resolve_command(ctx, args if args and args[0] in self.commands else ["run", *args])

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        # Options may stand before the recipe; `--help` alone belongs to the group.
        begins_with_option = bool(args) and args[0].startswith("-") and args[0] != "--help"
        return super().parse_args(ctx, ["run", *args] if begins_with_option else args)


curate = typer.Typer(cls=_RecipeFirst, no_args_is_help=True, add_completion=False, rich_markup_mode=None)

Inputs = Annotated[list[Path], typer.Argument(help="Conversations, JSONL in the messages form.", show_default=False)]


@curate.callback()
def _curate() -> None:
    """Clean, deduplicate, decontaminate and measure imitation data.

    epigone curate RECIPE.yaml IN.jsonl … --out DIR
    """


@curate.command("run")
def run_recipe(
    recipe: Annotated[Path, typer.Argument(help="The recipe: a YAML file with `steps:`.", show_default=False)],
    inputs: Inputs,
    out: Annotated[Path, typer.Option(help="Folder for the data, its drops, audit and card.", show_default=False)],
    evaluation: Annotated[
        list[Path] | None,
        typer.Option(help="Evaluation items to keep apart: JSONL {benchmark, item, prompt, answers}."),
    ] = None,
    judge: Annotated[Path | None, typer.Option(help="A YAML file of the model that judges categories.")] = None,
    title: Annotated[str | None, typer.Option(help="Title of the data card; default: the folder's name.")] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes on this machine; changes nothing but the time.")] = 1,
    ray: Annotated[str | None, typer.Option(help="Work on Ray: a cluster's address, or `local`.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of everything that is drawn.")] = 0,
) -> None:
    """Run a recipe over conversation files, read as one stream."""
    from epigone.curate import CurateSpec, EvaluationText, curate_to_folder, open_workers, read_conversations
    from epigone.disk import read_jsonl, read_yaml
    from epigone.specs import parse_spec

    spec = parse_spec(CurateSpec, read_yaml(recipe), where=str(recipe))
    curated = curate_to_folder(
        spec,
        read_conversations(inputs),
        out,
        seed=seed,
        title=title or out.resolve().name,
        evaluation=[item for path in evaluation or [] for item in read_jsonl(path, EvaluationText)],
        workers=open_workers(workers, ray),
        judge=_open_judge(judge, out),
    )
    _show(curated, out)


@curate.command("label")
def label_by_hand(
    inputs: Inputs,
    out: Annotated[Path, typer.Option(help="Labels file; go on with the same one later.", show_default=False)],
    sample: Annotated[int, typer.Option(min=1, help="How many queries to draw; the paper read 50.")] = 50,
    definitions: Annotated[
        Path | None, typer.Option(help="Your own categories, YAML; default: the paper's nine.")
    ] = None,
    name: Annotated[str, typer.Option(help="Who labels.")] = "person",
    seed: Annotated[int, typer.Option(help="Seed of the draw.")] = 0,
) -> None:
    """Sort sampled queries into categories by hand; stop and go on whenever you like."""
    from epigone.curate import QueryLabel, draw_queries, read_conversations, read_definitions
    from epigone.disk import append_jsonl, read_jsonl
    from epigone.records import Conversation

    known = read_definitions(definitions)
    conversations = (record for record in read_conversations(inputs) if isinstance(record, Conversation))
    drawn = draw_queries(conversations, sample, seed=seed)
    done = {label.conversation for label in read_jsonl(out, QueryLabel)} if out.exists() else set()
    waiting = [(identifier, query) for identifier, query in drawn if identifier not in done]
    for place, (identifier, query) in enumerate(waiting, len(drawn) - len(waiting) + 1):
        category = _ask(query, list(known.categories.items()), f"{place} of {len(drawn)}")
        if category is None:
            typer.echo(f"stopped; {place - 1} of {len(drawn)} are in {out}: run the same command again to go on")
            break
        append_jsonl(out, QueryLabel(conversation=identifier, query=query, category=category, labeller=name))
    if out.exists():
        _show_shares(read_jsonl(out, QueryLabel))


def _ask(query: str, categories: list[tuple[str, str]], heading: str) -> str | None:
    """The category that a person chooses by number; ``None``: they want to stop."""
    typer.echo(f"\n--- {heading} " + "-" * 40 + f"\n{_printable(query[:2_000])}\n")
    for number, (name, meaning) in enumerate(categories, 1):
        typer.echo(f"{number:>3}  {name}: {meaning}")
    while True:
        answer = typer.prompt("number, or q to stop", default="q", show_default=False).strip()
        if answer.casefold() == "q":
            return None
        if answer.isascii() and answer.isdigit() and 1 <= int(answer) <= len(categories):
            return categories[int(answer) - 1][0]
        typer.echo(f"a number from 1 to {len(categories)}, please")


def _printable(text: str) -> str:
    """``text`` without control characters: a query must not move the cursor or colour the terminal."""
    return "".join(char if char.isprintable() or char == "\n" else "\N{REPLACEMENT CHARACTER}" for char in text)


def _open_judge(path: Path | None, out: Path) -> TextModel | None:
    if path is None:
        return None
    from epigone.disk import read_yaml
    from epigone.models import ApiSpec, LocalSpec, RequestCache, open_model
    from epigone.specs import parse_spec

    document: Any = read_yaml(path)
    if isinstance(document, dict) and "hf" in document:
        return open_model(parse_spec(LocalSpec, document, where=str(path)))
    return open_model(parse_spec(ApiSpec, document, where=str(path)), cache=RequestCache(out / "requests.sqlite"))


def _show(curated: Curated, out: Path) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console()
    table = Table("step", "received", "kept", "dropped, by reason", box=None, padding=(0, 2, 0, 0))
    for column in table.columns[1:3]:
        column.justify = "right"
    for row in curated.funnel:
        reasons = ", ".join(f"{reason} {count:,}" for reason, count in row.reasons.items())
        received, kept = (f"{row.received:,}", f"{row.kept:,}") if row.received else ("", "")
        table.add_row(row.step, received, kept, reasons)
    console.print(table)
    if curated.diversity is not None and curated.diversity.mean is not None:
        console.print(f"most similar other query: BLEU {curated.diversity.mean:.1f} on average")
    for notice in curated.notices:
        console.print(f"note: {notice}")
    if curated.audit:
        console.print(f"{len(curated.audit):,} matches with the evaluation: {out / 'audit.jsonl'}")
    console.print(f"data and card: {out}", soft_wrap=True)


def _show_shares(labels: list[Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    from epigone.curate import category_shares

    table = Table("category", "queries", "share", "95 % interval", box=None, padding=(0, 2, 0, 0))
    for row in category_shares(labels):
        table.add_row(row.category, str(row.count), f"{row.share:.0%}", f"{row.low:.0%} to {row.high:.0%}")
    Console().print(table)
