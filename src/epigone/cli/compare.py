"""`epigone compare --teacher T --base B --student S … --out DIR`: what can be said of files of outputs and scores."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from epigone.errors import SpecError
from epigone.records import Axis, AxisKind, Estimate, ItemScore, ModelInfo, Results

if TYPE_CHECKING:
    from rich.console import Console

    from epigone.cli.outputs_given import GivenOutputs

__all__ = ["compare"]

_HEADLINE_METRICS = ("exact_match", "acc", "accuracy", "pass@1", "rouge1", "right_share", "non_toxicity")
"""Of each task's metrics the first of these stands for it in the headline, unless --headline says otherwise."""

_SAFETY_METRICS = {"non_toxicity", "max_toxicity", "toxic"}
"""A task with one of these measures safety, its refusals too."""

_LOWER_IS_BETTER = {"max_toxicity", "toxic", "any_wrong", "wrong"}


def compare(
    teacher: Annotated[str, typer.Option(help="The teacher's outputs: FILE or NAME=FILE.", show_default=False)],
    student: Annotated[list[str], typer.Option(help="A student's outputs; several are welcome.", show_default=False)],
    out: Annotated[Path, typer.Option(help="Folder for compare.json and the page.", show_default=False)],
    base: Annotated[str | None, typer.Option(help="Outputs of the model the student was made from.")] = None,
    second_teacher: Annotated[str | None, typer.Option(help="A second sample of the teacher: the ceiling.")] = None,
    items: Annotated[list[Path] | None, typer.Option(help="Item scores, .parquet or .jsonl; several.")] = None,
    votes: Annotated[list[Path] | None, typer.Option(help="Votes of people or judges, .jsonl; several.")] = None,
    amount: Annotated[
        list[str] | None,
        typer.Option(help="NAME=TOKENS (40k, 20M) that a student imitated: slopes and saturation; one a student."),
    ] = None,
    headline: Annotated[list[str] | None, typer.Option(help="A capability axis of the headline, task.metric.")] = None,
    confidence: Annotated[float, typer.Option(help="Of every interval.", min=0.51, max=0.999)] = 0.95,
    resamples: Annotated[int, typer.Option(help="Bootstrap resamples.", min=100)] = 2000,
    seed: Annotated[int, typer.Option(help="Draws the resamples.")] = 0,
) -> None:
    """Turn outputs, item scores and votes into estimates: gap closed, differences, win rates, with intervals.

    Item scores and votes name models as the outputs files are named here: use NAME=FILE.
    """
    from rich.console import Console

    from epigone.cli.judge_votes import read_votes
    from epigone.cli.outputs_given import read_given
    from epigone.compare import CompareSpec, Measurements, style_axes
    from epigone.compare import compare as estimate
    from epigone.disk import write_json, write_jsonl
    from epigone.evaluate.style import style_items

    given = _with_amounts(read_given(teacher, student, base=base, second_teacher=second_teacher), amount or [])
    rows = [row for path in items or [] for row in _read_items(path)]
    cast = read_votes(votes or [], given)
    axes = _axes(rows, headline or [])
    styles = [row for m in given.others for row in style_items(given.teacher, m.outputs, model=m.info.name)]
    models = (ModelInfo(name=given.teacher_name, role="teacher"), *(model.info for model in given.others))
    measured = Measurements(
        study="compare",
        models=models,
        axes=(*axes, *style_axes(tone=any(row.task == "tone" for row in rows))),
        items=(*rows, *styles),
        votes=tuple(cast),
    )
    results = estimate(measured, CompareSpec(resamples=resamples, confidence=confidence), seed=seed)
    write_json(out / "compare.json", results)
    write_jsonl(out / "unmatched.jsonl", given.unmatched)
    page = _write_page(given, results, out)
    console = Console(highlight=False)
    _print_table(console, results)
    for note in (*results.notes, *_not_closed(results)):
        console.print(f"note: {note}", markup=False)
    console.print(
        f"{given.items} items, {len(given.unmatched)} unmatched; estimates: {out / 'compare.json'}",
        soft_wrap=True,
        markup=False,
    )
    console.print(f"page: {page}", soft_wrap=True, markup=False)


def _with_amounts(given: GivenOutputs, amounts: Sequence[str]) -> GivenOutputs:
    """The students as points of a curve: what is asked of an amount needs to know it."""
    if not amounts:
        return given
    from msgspec.structs import replace
    from pydantic import TypeAdapter, ValidationError

    from epigone.curate import Amount

    students = [model.info.name for model in given.of_role("student")]
    tokens: dict[str, int] = {}
    for argument in amounts:
        name, _, text = argument.rpartition("=")
        fix = f"write NAME=TOKENS, with one of: {', '.join(students)}; and a number such as 300000, 40k or 20M"
        if name not in students:
            raise SpecError("names no student", where=f"--amount {argument}", fix=fix)
        try:
            read = TypeAdapter[int | str](Amount).validate_python(text)
        except ValidationError as error:
            raise SpecError("is no number of tokens", where=f"--amount {argument}", fix=fix) from error
        if isinstance(read, str) or name in tokens:
            raise SpecError("is no number of tokens, or the student's second", where=f"--amount {argument}", fix=fix)
        tokens[name] = read
    others = (
        replace(model, info=replace(model.info, amount_tokens=tokens.get(model.info.name))) for model in given.others
    )
    return replace(given, others=tuple(others))


def _read_items(path: Path) -> list[ItemScore]:
    from epigone.disk import read_jsonl
    from epigone.evaluate.benchmarks import read_items

    return read_items(path) if path.suffix == ".parquet" else read_jsonl(path, ItemScore)


def _axes(rows: Sequence[ItemScore], headline: Sequence[str]) -> list[Axis]:
    """An axis a metric, by name; style and tone rows have their own axes."""
    metrics: dict[str, set[str]] = {}
    for row in rows:
        if row.task not in ("style", "tone"):
            metrics.setdefault(row.task, set()).update(row.scores)
    names = {f"{task}.{metric}" for task, found in metrics.items() for metric in found}
    unknown = sorted(set(headline) - names)
    if unknown:
        fix = f"one of: {', '.join(sorted(names)) or 'none, give --items'}"
        raise SpecError("no item has a score on this axis", where=f"--headline {unknown[0]}", fix=fix)
    axes: list[Axis] = []
    for task in sorted(metrics):
        first = next(
            (metric for metric in _HEADLINE_METRICS if metric in metrics[task]), min(metrics[task], default="")
        )
        safety = not _SAFETY_METRICS.isdisjoint(metrics[task])
        kind: AxisKind = "factuality" if task == "claims" else "safety" if safety else "capability"
        for metric in sorted(metrics[task]):
            name = f"{task}.{metric}"
            axes.append(
                Axis(
                    name=name,
                    label=f"{task} {metric.replace('_', ' ')}",
                    kind=kind,
                    unit="share" if _is_share(rows, task, metric) else "score",
                    higher_is_better=metric not in _LOWER_IS_BETTER,
                    headline=name in headline if headline else metric == first,
                )
            )
    return axes


def _is_share(rows: Sequence[ItemScore], task: str, metric: str) -> bool:
    return all(0 <= row.scores[metric] <= 1 for row in rows if row.task == task and metric in row.scores)


def _write_page(given: GivenOutputs, results: Results, out: Path) -> Path:
    from epigone.cli.style import first_samples
    from epigone.disk import write_jsonl
    from epigone.report import ReportContent, write_report

    samples = first_samples(given)
    write_jsonl(out / "samples.jsonl", samples)
    students = ", ".join(model.info.name for model in given.of_role("student"))
    content = ReportContent(
        results=results,
        title=f"{students} against {given.teacher_name}",
        summary=f"From {given.items} answers a model; {len(given.unmatched)} did not match.",
        samples=samples,
        links=(("compare.json", "compare.json"), ("unmatched.jsonl", "unmatched.jsonl")),
    )
    return write_report(content, out / "index.html")


def _print_table(console: Console, results: Results) -> None:
    """Headline, then every headline axis: the level; students as columns."""
    from epigone.cli.style import print_estimates

    students = [model.name for model in results.models if model.role == "student"]
    keys = ("style_closed", "capability_closed")
    rows = [(key.replace("_", " "), [_headline_of(results, key, name) for name in students]) for key in keys]
    rows += [
        (axis.label, [results.estimates[name].get(axis.name) for name in students])
        for axis in results.axes
        if axis.headline
    ]
    print_estimates(console, students, rows)


def _not_closed(results: Results) -> list[str]:
    """Why a student's style or capability closed is not estimated."""
    if not results.headline_models:
        return ["without the outputs of a base (--base) there is no gap to be closed"]
    students: dict[str, list[str]] = {}
    ceiling = any(model.role == "teacher_second_sample" for model in results.models)
    for key in ("style_closed", "capability_closed") if ceiling else ("capability_closed",):  # else a note is there
        for name in results.headline_models:
            estimate = _headline_of(results, key, name)
            if estimate is not None and estimate.value is None:
                why = f"{key.replace('_', ' ')} is not estimated, {estimate.method}"
                students.setdefault(why, []).append(name)
    return [f"{', '.join(names)}: {why}" for why, names in students.items()]


def _headline_of(results: Results, key: str, student: str) -> Estimate | None:
    if results.headline_models and results.headline_models[0] == student:
        return results.headline.get(key)
    return results.headline.get(f"{key}@{student}")
