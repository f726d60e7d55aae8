"""`epigone curate RECIPE IN… --out DIR`, and `epigone curate label IN… --out FILE`: categories by hand."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from epigone.errors import DataError

if TYPE_CHECKING:
    from epigone.curate import Curated, CurateSpec, EvaluationText, QueryLabel, TokenCounter
    from epigone.models import TextModel

__all__ = ["curate"]

_SHOWN = 2_000  # characters of a query that a person reads to label it


class _Wish(Enum):
    """What a person who labels may want instead of giving a category."""

    BACK = "b"
    STOP = "q"


class _RecipeFirst(TyperGroup):
    """`epigone curate recipe.yaml …` runs the recipe; only `label` is a word of its own."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        return super().resolve_command(ctx, args if args and args[0] in self.commands else ["run", *args])

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        # Options may stand before the recipe; `--help` alone belongs to the group.
        begins_with_option = bool(args) and args[0].startswith("-") and args[0] != "--help"
        return super().parse_args(ctx, ["run", *args] if begins_with_option else args)


curate = typer.Typer(cls=_RecipeFirst, no_args_is_help=True, add_completion=False, rich_markup_mode=None)

Inputs = Annotated[
    list[Path],
    typer.Argument(
        help="Conversations, JSONL in the messages form, or a folder that `collect` wrote.", show_default=False
    ),
]


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
    usd: Annotated[float | None, typer.Option(help="Spend at most this much on the categories' judge.")] = None,
    title: Annotated[str | None, typer.Option(help="Title of the data card; default: the folder's name.")] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes on this machine; changes nothing but the time.")] = 1,
    ray: Annotated[str | None, typer.Option(help="Work on Ray: a cluster's address, or `local`.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of everything that is drawn.")] = 0,
) -> None:
    """Run a recipe over conversation files, read as one stream."""
    from epigone.curate import (
        Curation,
        curate_to_folder,
        open_workers,
        read_collections,
        read_conversations,
        read_recipe,
    )

    spec = read_recipe(recipe)
    _keep_what_is_read(spec, inputs, out)
    with _labeller(spec, out, usd) as judge:
        curation = Curation(
            spec,
            seed=seed,
            evaluation=_evaluation_items(evaluation or []),
            workers=open_workers(workers, ray),
            judge=judge,
            tokens=_counter(spec),
        )
        records, collections = read_conversations(inputs), read_collections(inputs)
        title = title or out.resolve().name
        curated = curate_to_folder(curation, records, out, title=title, collections=collections)
    _show(curated, out)
    if spec.steps and not curated.funnel[-1].kept:
        typer.echo("note: no conversation is left; other forms than messages go through `epigone collect` first")


def _keep_what_is_read(spec: CurateSpec, inputs: Sequence[Path], out: Path) -> None:
    """Refuse a folder in which this run would write over what it reads: raw data, or labels made by hand."""
    read = [path / "conversations.jsonl" if path.is_dir() else path for path in inputs]
    labelling = [step.categories for step in spec.steps if step.categories is not None]
    read += [step.labels for step in labelling if step.labels is not None]
    written = {(out / name).resolve() for name in ("conversations.jsonl", "drops.jsonl", "labels.jsonl")}
    for path in read:
        if path.resolve() in written:
            raise DataError(
                "is read and would be written over", where=str(path), fix="give --out another folder than the input's"
            )


def _evaluation_items(paths: Sequence[Path]) -> list[EvaluationText]:
    """The items of all files; one that stands twice would count once, with the words of the last."""
    from epigone.curate import EvaluationText
    from epigone.disk import iter_jsonl

    items: dict[tuple[str, str], EvaluationText] = {}
    for path in paths:
        for item in iter_jsonl(path, EvaluationText):
            if (item.benchmark, item.item) in items:
                raise DataError(
                    f"item {item.item!r} of {item.benchmark!r} stands twice",
                    where=str(path),
                    fix="give every item of a benchmark an id of its own, and all its answers in one line",
                )
            items[item.benchmark, item.item] = item
    return list(items.values())


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
    from epigone.disk import append_jsonl
    from epigone.records import Conversation

    known = read_definitions(definitions).categories
    conversations = (record for record in read_conversations(inputs) if isinstance(record, Conversation))
    drawn = draw_queries(conversations, sample, seed=seed)
    if not drawn:
        raise DataError(
            "holds no conversation with a query to label",
            where=", ".join(str(path) for path in inputs),
            fix="give conversations in the messages form, one a line; dumps go through `epigone collect` first",
        )
    done = _labels_by(name, out, known)
    place = _next_unlabelled(drawn, done)
    while place < len(drawn):
        identifier, query = drawn[place]
        answer = _ask(query, known, f"{place + 1} of {len(drawn)}")
        if answer is _Wish.STOP:
            count = sum(identifier in done for identifier, _ in drawn)
            typer.echo(f"stopped; {count} of {len(drawn)} are in {out}: run the same command again to go on")
            break
        if answer is _Wish.BACK:
            place = max(0, place - 1)
            continue
        label = QueryLabel(conversation=identifier, query=query, category=answer, labeller=name)
        append_jsonl(out, label)
        done[identifier] = label
        place = _next_unlabelled(drawn, done)
    _show_shares([done[identifier] for identifier, _ in drawn if identifier in done])


def _labels_by(name: str, path: Path, known: Mapping[str, str]) -> dict[str, QueryLabel]:
    """Conversation to label, of those that ``name`` gave before."""
    from epigone.curate import QueryLabel, latest_labels
    from epigone.disk import read_jsonl

    labels = latest_labels(read_jsonl(path, QueryLabel)) if path.exists() else []
    done = {label.conversation: label for label in labels if label.labeller == name}
    strange = sorted({str(label.category) for label in done.values()} - set(known))
    if strange:
        raise DataError(
            f"holds labels of other categories: {', '.join(strange)}",
            where=str(path),
            fix="give the same --definitions as before, or another --out",
        )
    return done


def _next_unlabelled(drawn: Sequence[tuple[str, str]], done: Mapping[str, QueryLabel]) -> int:
    return next((place for place, (identifier, _) in enumerate(drawn) if identifier not in done), len(drawn))


def _ask(query: str, known: Mapping[str, str], heading: str) -> str | _Wish:
    """The category that a person chooses by number, or their wish to go back one or to stop."""
    categories = list(known.items())
    cut = f" … ({len(query) - _SHOWN:,} more characters)" if len(query) > _SHOWN else ""
    typer.echo(f"\n--- {heading} " + "-" * 40 + f"\n{_printable(query[:_SHOWN])}{cut}\n")
    for number, (name, meaning) in enumerate(categories, 1):
        typer.echo(f"{number:>3}  {name}: {meaning}")
    while True:
        typed = typer.prompt("number, b to go back, q to stop", default="q", show_default=False)
        answer = str(typed).strip().casefold()
        if answer in ("b", "q"):
            return _Wish(answer)
        if answer.isascii() and answer.isdigit() and 1 <= int(answer) <= len(categories):
            return categories[int(answer) - 1][0]
        typer.echo(f"a number from 1 to {len(categories)}, please")


def _printable(text: str) -> str:
    """``text`` without control characters: a query must not move the cursor or colour the terminal."""
    return "".join(char if char.isprintable() or char == "\n" else "\N{REPLACEMENT CHARACTER}" for char in text)


@contextmanager
def _labeller(spec: CurateSpec, out: Path, usd: float | None) -> Iterator[TextModel | None]:
    """The model that the recipe's ``categories`` step asks; paid answers are kept, and asked for once."""
    from epigone.models import Budget, RequestCache, open_model

    if spec.labeller is None:
        yield None
        return
    cache = out / "cache"
    cache.mkdir(parents=True, exist_ok=True)
    budget = Budget(usd=usd, ledger=cache / "spending.sqlite")
    model = open_model(spec.labeller.model, cache=RequestCache(cache / "requests.sqlite"), budget=budget)
    try:
        yield model
    finally:
        model.close()


def _counter(spec: CurateSpec) -> TokenCounter | None:
    if spec.tokenizer is None:
        return None
    from epigone.study import StudentTokens  # only a study's part knows both curation and training

    return StudentTokens(spec.tokenizer)


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
    for amount in curated.amounts:
        replay = f", {amount.replay_texts:,} replay texts" if amount.replay_texts else ""
        console.print(f"{amount.amount:,} tokens: the first {amount.conversations:,} conversations{replay}")
    if curated.labels:
        _show_shares(curated.labels)
    for notice in curated.notices:
        console.print(f"note: {notice}")
    counts = Counter((match.benchmark, match.measure, match.dropped) for match in curated.audit)
    for checked in curated.checked:
        found = counts[checked.benchmark, checked.measure, checked.dropped]
        looked = f"{checked.texts - checked.too_short:,} of {checked.texts:,} texts"
        console.print(f"{checked.benchmark}: {found:,} matches ({checked.rule}; {looked} looked for)")
    if curated.audit:
        console.print(f"all matches with both texts: {out / 'audit.jsonl'}", soft_wrap=True)
    console.print(f"data and card: {out}", soft_wrap=True)


def _show_shares(labels: Sequence[QueryLabel]) -> None:
    from rich.console import Console
    from rich.table import Table

    from epigone.curate import category_shares

    shares = category_shares(labels)
    table = Table("category", "by", "queries", "share", "95 % interval", box=None, padding=(0, 2, 0, 0))
    for row in shares:
        table.add_row(
            row.category, row.labeller, str(row.count), f"{row.share:.0%}", f"{row.low:.0%} to {row.high:.0%}"
        )
    console = Console()
    if shares:
        console.print(table)
    unusable = Counter(label.status for label in labels if label.status != "ok")
    if unusable:
        console.print("not in the shares: " + ", ".join(f"{count} {status}" for status, count in unusable.items()))
