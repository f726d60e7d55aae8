"""`epigone evaluate MODEL`: benchmarks and toxicity of one model, one scored row an item, resumed by item."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Annotated, Any

import typer

from epigone.errors import SpecError

if TYPE_CHECKING:
    from epigone.evaluate.benchmarks import BenchmarkSpec
    from epigone.evaluate.toxicity import ToxicitySpec
    from epigone.models import TextModel
    from epigone.records import ItemScore

__all__ = ["evaluate"]


def evaluate(
    model: Annotated[str, typer.Argument(help="Folder or hub id of a model; with --base-url, its name there.")],
    out: Annotated[Path, typer.Option(help="Folder for items.parquet and the record of what was asked.")],
    tasks: Annotated[str, typer.Option(help="Benchmarks by comma: built-in names, task files, lm-eval names.")] = "",
    settings: Annotated[
        Path | None, typer.Option(help="YAML with 'benchmarks: [{task: …, data: …}]' and 'toxicity: {…}'.")
    ] = None,
    data: Annotated[list[str] | None, typer.Option(help="TASK=FOLDER or FILE: local data for a task.")] = None,
    items: Annotated[int | None, typer.Option(help="Score this many items a task, drawn by seed.")] = None,
    chat: Annotated[
        bool, typer.Option(help="Ask in chat turns (teachers, students) or in plain text (bases).")
    ] = False,
    seed: Annotated[int, typer.Option(help="Draws few-shot examples and items.")] = 0,
    base_url: Annotated[str | None, typer.Option(help="Ask an OpenAI-compatible endpoint at this address.")] = None,
    key_env: Annotated[str | None, typer.Option(help="Name of the variable that holds the endpoint's key.")] = None,
    dtype: Annotated[str, typer.Option(help="auto, float64, float32, bfloat16 or float16.")] = "auto",
    threads: Annotated[int | None, typer.Option(help="CPU threads; torch's own choice by default.")] = None,
) -> None:
    """Score a model on benchmarks and toxicity. The same command again goes on where it stopped."""
    from rich.console import Console
    from rich.progress import Progress

    from epigone.evaluate.benchmarks import run_benchmarks, write_items
    from epigone.evaluate.toxicity import open_scorer, run_toxicity
    from epigone.models import ApiSpec, LocalSpec, RequestCache, open_model
    from epigone.specs import parse_spec

    benchmarks, toxicity = _what(tasks, settings, data or [], items)
    scorer = open_scorer(toxicity) if toxicity else None
    fields: dict[str, Any] = {"hf": model, "dtype": dtype, "threads": threads}
    spec: ApiSpec | LocalSpec = parse_spec(LocalSpec, fields, where="epigone evaluate")
    if base_url is not None:
        fields = {"base_url": base_url, "model": model, "key_env": key_env}
        spec = parse_spec(ApiSpec, fields, where="epigone evaluate")
    out.mkdir(parents=True, exist_ok=True)
    opened: TextModel = open_model(spec, cache=RequestCache(out / "requests.sqlite") if base_url else None)
    console = Console(stderr=True, highlight=False)
    try:
        with Progress(console=console, transient=True) as bars:
            bar = bars.add_task(opened.name, total=None)

            def show(done: int, total: int | None) -> None:
                bars.update(bar, completed=done, total=total)

            rows = (
                run_benchmarks(opened, benchmarks, chat=chat, seed=seed, out=out, progress=show) if benchmarks else []
            )
            if toxicity is not None:
                further = run_toxicity(opened, toxicity, chat=chat, seed=seed, progress=show, scorer=scorer)
                write_items(out / f"{toxicity.name}.parquet", further)
                rows += further
    finally:
        opened.close()
    Console(highlight=False).print(_table(rows))
    for task, reason, count in _problems(out) if benchmarks else ():
        console.print(f"{task}: {count} requests without an answer: {reason}", markup=False, soft_wrap=True)
    if scorer is not None:
        console.print(f"toxicity by {scorer.name}: {scorer.note}", soft_wrap=True)
    console.print(f"rows: {out}", soft_wrap=True)


def _what(
    tasks: str, settings: Path | None, data: list[str], items: int | None
) -> tuple[list[BenchmarkSpec], ToxicitySpec | None]:
    """Specs from the options and the settings file; relative paths in the file start at its folder."""
    from epigone.disk import read_yaml
    from epigone.evaluate.benchmarks import BenchmarkSpec
    from epigone.evaluate.toxicity import ToxicitySpec
    from epigone.specs import parse_spec

    local = dict(entry.partition("=")[::2] for entry in data)
    asked: list[Mapping[str, Any]] = [{"task": name.strip()} for name in tasks.split(",") if name.strip()]
    specs = [
        parse_spec(BenchmarkSpec, {**one, "items": items, "data": local.pop(one["task"], None)}, where=one["task"])
        for one in asked
    ]
    if local:
        raise SpecError("--data names a task that is not asked for", where=next(iter(local)), fix="add it to --tasks")
    toxicity = None
    if settings is not None:
        document = read_yaml(settings)
        if not isinstance(document, Mapping) or set(document) - {"benchmarks", "toxicity"}:
            raise SpecError("expected the keys 'benchmarks' and 'toxicity'", where=str(settings))
        folder = settings.parent.resolve()
        for one in document.get("benchmarks") or ():
            given = {"task": one} if isinstance(one, str) else one
            specs.append(parse_spec(BenchmarkSpec, _absolute(given, folder), where=str(settings)))
        if document.get("toxicity"):
            toxicity = parse_spec(ToxicitySpec, _absolute(document["toxicity"], folder), where=str(settings))
    if not specs and toxicity is None:
        raise SpecError("nothing to measure", fix="name benchmarks with --tasks, or give a file with --settings")
    return specs, toxicity


def _absolute(given: Any, folder: Path) -> Any:
    """The settings with the paths in them counted from their file's folder."""
    if not isinstance(given, Mapping):
        return given

    def placed(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {key: placed(one) for key, one in value.items()}
        return [placed(one) for one in value] if isinstance(value, list) else str(folder / str(value))

    files = {key for key in ("data", "exclude", "prompts", "lexicon") if given.get(key) is not None}
    files |= {"task"} if str(given.get("task")).endswith((".yaml", ".yml")) else set()
    return {key: placed(value) if key in files else value for key, value in given.items()}


def _problems(out: Path) -> list[tuple[str, str, int]]:
    """Why requests of this run failed: (task, reason, how many)."""
    from epigone.disk import read_json

    tasks = read_json(out / "evaluation.json", dict[str, Any])["tasks"]
    return [(task, *found) for task, asked in tasks.items() for found in asked.get("problems", {}).items()]


def _table(rows: list[ItemScore]) -> Any:
    """Mean of each metric, and how many of the items it is the mean of."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for heading in ("task", "metric", "mean", "scored"):
        table.add_column(heading, justify="left" if heading in ("task", "metric") else "right")
    for task in dict.fromkeys(row.task for row in rows):
        mine = [row for row in rows if row.task == task]
        metrics = dict.fromkeys(metric for row in mine for metric in row.scores)
        for metric in metrics or ["–"]:
            values = [row.scores[metric] for row in mine if metric in row.scores]
            table.add_row(task, metric, f"{fmean(values):.3f}" if values else "–", f"{len(values)}/{len(mine)}")
    return table
