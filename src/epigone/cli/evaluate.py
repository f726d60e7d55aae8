"""`epigone evaluate MODEL`: benchmarks and toxicity of one model, one scored row an item, resumed by item."""

from __future__ import annotations

from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Annotated, Any

import typer

from epigone.cli.out_folder import make_folder
from epigone.errors import SpecError

if TYPE_CHECKING:
    from epigone.cli.evaluate_settings import EvaluateSettings
    from epigone.models import ApiSpec, LocalSpec, ServeSpec
    from epigone.records import ItemScore

__all__ = ["evaluate"]


def evaluate(
    out: Annotated[Path, typer.Option(help="Folder for items.parquet and the record of what was asked.")],
    model: Annotated[
        str | None, typer.Argument(help="Folder or hub id; with --base-url, the name there. Or in --settings.")
    ] = None,
    tasks: Annotated[str, typer.Option(help="Benchmarks by comma: built-in names, task files, lm-eval names.")] = "",
    settings: Annotated[
        Path | None, typer.Option(help="YAML: benchmarks, toxicity, the model, its budget (docs/evaluate.md).")
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

    from epigone.cli.evaluate_settings import EvaluateSettings, asked_tasks, read_settings
    from epigone.evaluate.benchmarks import load_tasks, run_benchmarks
    from epigone.evaluate.toxicity import open_scorer, run_toxicity
    from epigone.models import Budget, LocalSpec, RequestCache, open_model

    given = read_settings(settings) if settings else EvaluateSettings()
    spec = _model_spec(model, given, base_url=base_url, key_env=key_env, dtype=dtype, threads=threads)
    benchmarks, toxicity = [*asked_tasks(tasks, data or [], items), *given.benchmarks], given.toxicity
    if not benchmarks and toxicity is None:
        raise SpecError("nothing to measure", fix="name benchmarks with --tasks, or give a file with --settings")
    scorer = open_scorer(toxicity) if toxicity else None
    make_folder(out)
    loaded = load_tasks(benchmarks, seed=seed)  # before the model: what is wrong with a task is said at once
    paid = not isinstance(spec, LocalSpec)
    budget = Budget(given.budget.usd, given.budget.tokens, ledger=out / "spending.sqlite") if paid else None
    opened = open_model(spec, cache=RequestCache(out / "requests.sqlite") if paid else None, budget=budget)
    console = Console(stderr=True, highlight=False)
    try:
        with Progress(console=console, transient=True) as bars:
            bar = bars.add_task(opened.name, total=None)

            def show(done: int, total: int | None) -> None:
                bars.update(bar, completed=done, total=total)

            rows = run_benchmarks(opened, loaded, chat=chat, seed=seed, out=out, progress=show) if loaded else []
            if toxicity is not None:
                rows += run_toxicity(opened, toxicity, chat=chat, seed=seed, out=out, progress=show, scorer=scorer)
    finally:
        opened.close()
    Console(highlight=False).print(_table(rows))
    for task, reason, count in _problems(out):
        console.print(f"{task}: {count} requests without an answer: {reason}", markup=False, soft_wrap=True)
    if scorer is not None:
        console.print(f"toxicity by {scorer.name}: {scorer.note}", soft_wrap=True)
    if budget is not None:
        console.print(f"budget: {budget.describe()}", soft_wrap=True)
    console.print(f"rows: {out}", soft_wrap=True)


def _model_spec(
    model: str | None,
    settings: EvaluateSettings,
    *,
    base_url: str | None,
    key_env: str | None,
    dtype: str,
    threads: int | None,
) -> ApiSpec | LocalSpec | ServeSpec:
    """The model that the options or the settings file name.

    Raises:
        SpecError: neither does, or both do.
    """
    from epigone.models import ApiSpec, LocalSpec
    from epigone.specs import parse_spec

    if (model is None) == (settings.model is None):
        fix = "give a MODEL, or 'api', 'local' or 'serve' in the settings file"
        raise SpecError("no model is named" if model is None else "two models are named", fix=fix)
    if settings.model is not None:
        return settings.model
    if base_url is None:
        return parse_spec(LocalSpec, {"hf": model, "dtype": dtype, "threads": threads}, where="epigone evaluate")
    endpoint = {"base_url": base_url, "model": model, "key_env": key_env}
    return parse_spec(ApiSpec, endpoint, where="epigone evaluate")


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
