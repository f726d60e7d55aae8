"""`epigone report --from DIR` or `--run DIR`: the page of results, again, from what lies in a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from msgspec import Struct

from epigone.errors import DataError, SpecError
from epigone.records import Results

__all__ = ["report"]

_RESULTS_FILES = ("compare.json", "results.json", "style.json", "judge.json")


class _Inside(Struct):
    """``style.json`` and ``judge.json`` hold their results among other things."""

    results: Results


def report(
    folder: Annotated[
        Path | None, typer.Option("--from", help="Folder with compare.json, results.json, style.json or judge.json.")
    ] = None,
    run: Annotated[Path | None, typer.Option(help="Folder of a finished study, as `epigone run` leaves it.")] = None,
    out: Annotated[
        Path | None, typer.Option(help="The page; default: index.html where the run or folder has it.")
    ] = None,
) -> None:
    """Make the page of results: one HTML file that opens from disk and asks no network."""
    from rich.console import Console

    if (folder is None) == (run is None):
        raise SpecError("give one of --from and --run", fix="--from a folder of files, or --run a study's run folder")
    page = _of_run(run, out) if run is not None else _of_folder(folder or Path(), out)
    Console(highlight=False).print(f"page: {page}", soft_wrap=True)


def _of_folder(folder: Path, out: Path | None) -> Path:
    from epigone.disk import read_jsonl
    from epigone.report import ReportContent, Sample, write_report

    name = next((name for name in _RESULTS_FILES if (folder / name).is_file()), None)
    if name is None:
        fix = f"give a folder that holds one of: {', '.join(_RESULTS_FILES)}"
        raise DataError("no results here", where=str(folder), fix=fix)
    results = _read_results(folder / name)
    samples = folder / "samples.jsonl"
    target = out or folder / "index.html"
    content = ReportContent(
        results=results,
        title=_title(results),
        samples=tuple(read_jsonl(samples, Sample)) if samples.is_file() else (),
        links=((name, name),) if target.parent.resolve() == folder.resolve() else (),
    )
    return write_report(content, target)


def _title(results: Results) -> str:
    """A study's own name; files of outputs have none: who was compared with whom."""
    if results.study not in ("compare", "style", "judge"):
        return results.study
    students = ", ".join(model.name for model in results.models if model.role == "student")
    teachers = ", ".join(model.name for model in results.models if model.role == "teacher")
    return f"{students} against {teachers}" if teachers else students


def _read_results(path: Path) -> Results:
    from epigone.compare import RESULTS_FORMAT
    from epigone.disk import read_json

    inside = path.name in ("style.json", "judge.json")
    results = read_json(path, _Inside).results if inside else read_json(path, Results)
    if results.format != RESULTS_FORMAT:
        fix = f"this epigone reads format {RESULTS_FORMAT}: run the comparison again"
        raise DataError(f"results of format {results.format}", where=str(path), fix=fix)
    return results


def _of_run(root: Path, out: Path | None) -> Path:
    from epigone.disk import read_json
    from epigone.report import write_report
    from epigone.study import Plan, Store, read_study
    from epigone.study.reporting import gather_report
    from epigone.study.run import RECORD_NAME

    for needed in (RECORD_NAME, "plan.json", "results.json"):
        if not (root / needed).is_file():
            fix = "give the folder of a finished run, or finish it: epigone run study.yaml"
            raise DataError(f"has no {needed}", where=str(root), fix=fix)
    plan = read_json(root / "plan.json", Plan)
    content = gather_report(
        read_study(root / RECORD_NAME), plan, Store(root.resolve()), _read_results(root / "results.json")
    )
    return write_report(content, out or root / "report" / "index.html")
