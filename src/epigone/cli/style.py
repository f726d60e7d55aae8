"""`epigone style --teacher T --student S … --out DIR`: how alike are they, whatever they say?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from msgspec import Struct

from epigone.cli.out_folder import make_folder
from epigone.records import Estimate, ItemScore, ModelInfo, Output, Results

if TYPE_CHECKING:
    from rich.console import Console

    from epigone.cli.outputs_given import GivenOutputs
    from epigone.evaluate.preference import JudgeSpec
    from epigone.evaluate.style import StyleClassifier
    from epigone.report import Sample

__all__ = ["first_samples", "print_estimates", "spoken", "style"]

Ceiling = Literal["second_sample", "perfect_copy"]
_FORMAT = 1
_TOKENIZER = "words and single punctuation marks"
_CEILINGS: dict[Ceiling, str] = {
    "second_sample": "a second sample of the teacher, measured against the first",
    "perfect_copy": "no second sample was given: the teacher's own answers stand in, which nobody reaches, so that "
    "style closed is a lower bound for a student that moved away from the teacher on no axis. Splits of the teacher's "
    "answers bound the ceiling from below: 'shuffled' (dealt to other prompts) for each axis, two halves for the "
    "classifier",
}
_SPLIT = "teacher, split in halves"
_LABEL_WIDTH, _CELL_WIDTH = 20, 20  # of a terminal's table, in characters


class StyleFile(Struct, frozen=True, kw_only=True):
    """``style.json``. ``results`` is as in a study's ``results.json``; the rest is what that has no place for.

    ``style_closed``: student → mean gap closed over Table 2's axes. ``classifier``: model → AUC against the teacher;
    without a second sample also of the teacher's answers against one another, split in halves.
    ``shuffled``: axis → estimate for the teacher's own answers dealt out to other prompts.
    """

    format: int
    teacher: str
    tokenizer: str
    ceiling: Ceiling
    ceiling_note: str
    items: int
    unmatched: int
    results: Results
    style_closed: dict[str, Estimate]
    classifier: dict[str, StyleClassifier]
    shuffled: dict[str, Estimate]


def style(
    teacher: Annotated[str, typer.Option(help="The teacher's outputs: FILE or NAME=FILE.", show_default=False)],
    student: Annotated[list[str], typer.Option(help="A student's outputs; several are welcome.", show_default=False)],
    out: Annotated[Path, typer.Option(help="Folder for style.json and the page.", show_default=False)],
    base: Annotated[str | None, typer.Option(help="Outputs of the model the student was made from.")] = None,
    second_teacher: Annotated[str | None, typer.Option(help="A second sample of the teacher: the ceiling.")] = None,
    seed: Annotated[int, typer.Option(help="Draws the resamples and the classifier's folds.")] = 0,
    resamples: Annotated[int, typer.Option(help="Bootstrap resamples.", min=100)] = 2000,
    tone_judge: Annotated[Path | None, typer.Option(help="A judge's YAML: hears the authoritative tone.")] = None,
    usd: Annotated[float | None, typer.Option(help="Spend at most this much on that judge, in US dollars.")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Ask a paid judge without asking you first.")] = False,
    plan_only: Annotated[bool, typer.Option("--plan", help="Say what the judge would cost, and stop.")] = False,
) -> None:
    """Measure how alike models are in style: Table 2 of the paper, what goes beyond it, and a style classifier.

    Files are JSON lines of {id, prompt, response} or AlpacaEval's JSON; items are matched by id or prompt.
    """
    from rich.console import Console

    from epigone.cli.outputs_given import read_given
    from epigone.disk import write_json, write_jsonl

    given = read_given(teacher, student, base=base, second_teacher=second_teacher)
    console = Console(highlight=False)
    heard: list[ItemScore] = []
    if tone_judge is not None:
        spec = _tone_cost(console, tone_judge, given, seed=seed, yes=yes or plan_only)
        if plan_only:
            return
        heard = _hear(spec, given, out, usd, seed=seed)
    found, rows = _measure(given, heard, seed=seed, resamples=resamples)
    write_json(out / "style.json", found)
    write_jsonl(out / "items.jsonl", rows)
    write_jsonl(out / "unmatched.jsonl", given.unmatched)
    page = _write_page(given, found, out)
    _print_table(console, found)
    for caveat in _caveats(given, found):
        console.print(f"note: {caveat}", markup=False)
    console.print(f"{found.items} items, {found.unmatched} unmatched; ceiling: {found.ceiling_note}")
    console.print(f"page: {page}", soft_wrap=True, markup=False)


def _tone_cost(console: Console, path: Path, given: GivenOutputs, *, seed: int, yes: bool) -> JudgeSpec:
    """The judge of the tone, after its cost was shown and agreed to."""
    from epigone.cli.judge_given import confirm_cost, read_judge, show_cost
    from epigone.evaluate.preference import plan_tone, tone_judge

    spec = tone_judge(read_judge(path), where=str(path))
    plan = plan_tone([output for outputs in _spoken_by(given).values() for output in outputs], seed=seed)
    show_cost(console, spec, plan, "texts to hear")
    confirm_cost(spec, plan.requests, yes=yes)
    return spec


def _spoken_by(given: GivenOutputs) -> dict[str, tuple[Output, ...]]:
    """Every model's outputs, the teacher's own too: its tone is what the others' is held against."""
    return {given.teacher_name: given.teacher} | {model.info.name: model.outputs for model in given.others}


def _hear(spec: JudgeSpec, given: GivenOutputs, out: Path, usd: float | None, *, seed: int) -> list[ItemScore]:
    """Rows of task ``tone``, for every model."""
    from epigone.cli.judge_given import opened, progress_bar
    from epigone.evaluate.preference import judge_tone
    from epigone.models import Budget

    make_folder(out)
    rows: list[ItemScore] = []
    with opened(spec, out, Budget(usd=usd, ledger=out / "spending.sqlite")) as model, progress_bar(spec.title) as show:
        for name, outputs in _spoken_by(given).items():
            rows += judge_tone(outputs, model, model=name, seed=seed, progress=show)
    return rows


def _measure(
    given: GivenOutputs, heard: list[ItemScore], *, seed: int, resamples: int
) -> tuple[StyleFile, list[ItemScore]]:
    from epigone.compare import CompareSpec, Measurements, compare, style_axes
    from epigone.evaluate.style import classifier_auc, shuffled_teacher, split_teacher, style_items

    spec = CompareSpec(resamples=resamples)
    by_model = {
        model.info.name: style_items(given.teacher, model.outputs, model=model.info.name) for model in given.others
    }
    infos = [model.info for model in given.others]
    ceiling: Ceiling = "second_sample"
    if not given.of_role("teacher_second_sample"):
        ceiling, copy = "perfect_copy", f"{given.teacher_name} (itself)"
        by_model[copy] = style_items(given.teacher, given.teacher, model=copy)
        infos.insert(0, ModelInfo(name=copy, role="teacher_second_sample"))
    dealt = style_items(given.teacher, shuffled_teacher(given.teacher, seed=seed), model="shuffled")

    def results(models: list[ModelInfo], rows: list[ItemScore]) -> Results:
        measured = Measurements(
            study="style",
            models=(ModelInfo(name=given.teacher_name, role="teacher"), *models),
            axes=style_axes(tone=bool(heard)),
            items=tuple(rows),
        )
        return compare(measured, spec, seed=seed)

    rows = [row for mine in by_model.values() for row in mine]
    references = [info for info in infos if info.role != "student"]
    closed: dict[str, Estimate] = {}
    for model in given.of_role("student"):
        needed = [*references, model.info]
        alone = results(needed, [row for info in needed for row in by_model[info.name]])
        if "style_closed" in alone.headline:
            closed[model.info.name] = alone.headline["style_closed"]
    classifier = {model.info.name: classifier_auc(given.teacher, model.outputs, seed=seed) for model in given.others}
    if ceiling == "perfect_copy":
        classifier[_SPLIT] = classifier_auc(*split_teacher(given.teacher, seed=seed), seed=seed)
    shuffled = results([ModelInfo(name="shuffled", role="student")], dealt).estimates["shuffled"]
    found = StyleFile(
        format=_FORMAT,
        teacher=given.teacher_name,
        tokenizer=_TOKENIZER,
        ceiling=ceiling,
        ceiling_note=_CEILINGS[ceiling],
        items=given.items,
        unmatched=len(given.unmatched),
        results=results(infos, [*rows, *heard]),
        style_closed=closed,
        classifier=classifier,
        shuffled=shuffled,
    )
    return found, [*rows, *heard]


def _write_page(given: GivenOutputs, found: StyleFile, out: Path) -> Path:
    """The page of a study's report, from these files alone."""
    from epigone.report import ReportContent, write_report

    parts = [f"{name}: {spoken(estimate)} of the style gap closed" for name, estimate in found.style_closed.items()]
    parts += [
        f"{name}: told from the teacher with AUC {spoken(c.auc)}"
        for name, c in found.classifier.items()
        if name != _SPLIT
    ]
    content = ReportContent(
        results=found.results,
        title=f"Style of {', '.join(model.info.name for model in given.of_role('student'))} against {found.teacher}",
        summary=f"{'. '.join(parts)}. Ceiling: {found.ceiling_note}. Lengths in {found.tokenizer}."
        + "".join(f" Note: {caveat}." for caveat in _caveats(given, found)),
        samples=first_samples(given),
        links=(("style.json", "style.json"), ("items.jsonl", "items.jsonl"), ("unmatched.jsonl", "unmatched.jsonl")),
    )
    return write_report(content, out / "index.html")


def first_samples(given: GivenOutputs, shown: int = 40) -> tuple[Sample, ...]:
    """The first items side by side, the teacher's answer first."""
    from epigone.report import Answer, Sample

    answers = {model.info.name: {o.id: o for o in reversed(model.outputs)} for model in given.others}
    return tuple(
        Sample(
            item=output.id,
            prompt=output.prompt,
            answers=(
                Answer(model=given.teacher_name, text=output.response),
                *(Answer(model=n, text=mine[output.id].response) for n, mine in answers.items() if output.id in mine),
            ),
        )
        for output in given.teacher[:shown]
    )


def spoken(estimate: Estimate) -> str:
    """An estimate with its interval, short enough for a terminal."""
    if estimate.value is None:
        return "not estimated"
    if estimate.low is None or estimate.high is None:
        return f"{estimate.value:.2f} [no interval]"
    return f"{estimate.value:.2f} [{estimate.low:.2f}, {estimate.high:.2f}]"


def _caveats(given: GivenOutputs, found: StyleFile) -> list[str]:
    """Why a number is not there, or is not what it seems."""
    if not given.of_role("base"):
        return ["without the outputs of a base (--base) there is no gap, and so no style closed"]
    caveats: list[str] = []
    for name, estimate in found.style_closed.items():
        away = _moved_away(found, name) if found.ceiling == "perfect_copy" and estimate.value is not None else []
        if estimate.value is None:
            caveats.append(f"style closed of {name} is not estimated: {estimate.method}")
        elif away:
            caveats.append(
                f"{name} is further from the teacher than its base in {'; '.join(away)}: there the unknown ceiling "
                "makes it look better than it is, and its style closed bounds nothing"
            )
    return caveats


def _moved_away(found: StyleFile, student: str) -> list[str]:
    """Labels of the axes under style closed on which the student is further from the teacher than its base."""
    results = found.results
    key = "style_closed" if results.headline_models[:1] == (student,) else f"style_closed@{student}"
    closed = results.gap_closed.get(student, {})
    labels = {axis.name: axis.label for axis in results.axes}
    return [labels[name] for name in results.headline_over.get(key, ()) if (closed[name].value or 0.0) < 0]


def print_estimates(
    console: Console, names: Sequence[str], rows: Sequence[tuple[str, Sequence[Estimate | None]]]
) -> None:
    """A table of estimates, a row an axis, models as columns, cut into several where the terminal is narrow.

    Names come from files and may hold anything: no markup is read from them. Rows without an estimate are left out.
    """
    from rich.table import Table
    from rich.text import Text

    at_once = max(1, (console.width - _LABEL_WIDTH) // _CELL_WIDTH)
    for start in range(0, len(names), at_once):
        here = slice(start, start + at_once)
        table = Table(box=None, pad_edge=False)
        table.add_column("", overflow="fold")
        for name in names[here]:
            table.add_column(Text(name), justify="right", overflow="fold")
        for label, cells in rows:
            if any(cells):
                table.add_row(Text(label), *(Text(spoken(cell) if cell else "–") for cell in cells[here]))
        console.print(table)


def _print_table(console: Console, found: StyleFile) -> None:
    """Headline axes, the classifier and style closed; models as columns."""
    copy = f"{found.teacher} (itself)"
    names = [model.name for model in found.results.models if found.results.estimates.get(model.name)]
    names = [name for name in names if name != copy]
    rows: list[tuple[str, list[Estimate | None]]] = [
        (axis.label, [found.results.estimates[name].get(axis.name) for name in names])
        for axis in found.results.axes
        if axis.headline or axis.name == "tone.authoritative_tone"
    ]
    told = {name: classifier.auc for name, classifier in found.classifier.items()}
    rows.append(("classifier AUC", [told.get(name) for name in names]))
    bounded = found.ceiling == "perfect_copy" and not any(_moved_away(found, name) for name in found.style_closed)
    label = "style closed, at least" if bounded else "style closed"
    rows.append((label, [found.style_closed.get(name) for name in names]))
    print_estimates(console, names, rows)
    if _SPLIT in told:
        console.print(
            f"classifier AUC of the teacher's halves against one another: {spoken(told[_SPLIT])}", markup=False
        )
