"""`epigone rate import`: votes that people gave elsewhere, as Mechanical Turk and Prolific tables hold them.

A row is one vote. MTurk's batch results name the columns themselves. Prolific keeps no answers: the table is that of
the survey behind it (``--column item=question_id`` where it calls things otherwise), and Prolific's own export says
whose submission was accepted (``--submissions``). The systems shown first and second stand in two columns::

    HITId,WorkerId,AssignmentStatus,WorkTimeInSeconds,Input.item,Input.model_1,Input.model_2,Answer.choice,Answer.reason
    3ABC,A1B2,Approved,41,q7,student-13b,chatgpt,2,more complete
"""

from __future__ import annotations

import csv
import hashlib
import json
import re
import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Literal

import typer

from epigone.errors import DataError, SpecError
from epigone.records import Choice, Drop, Vote

__all__ = ["import_votes", "read_votes"]

_COLUMNS: dict[str, dict[str, tuple[str, ...]]] = {
    "mturk": {
        "item": ("Input.item", "Input.id"),
        "first": ("Input.model_1", "Input.first"),
        "second": ("Input.model_2", "Input.second"),
        "choice": ("Answer.choice", "Answer.category.label", "Answer.preference"),
        "rater": ("WorkerId",),
        "seconds": ("WorkTimeInSeconds",),
        "reason": ("Answer.reason", "Answer.comment"),
        "status": ("AssignmentStatus",),
    },
    "prolific": {
        "item": ("item", "item_id"),
        "first": ("model_1", "first"),
        "second": ("model_2", "second"),
        "choice": ("choice", "preference"),
        "rater": ("PROLIFIC_PID", "Participant id", "participant_id"),
        "seconds": ("seconds",),
        "reason": ("reason",),
        "status": ("Status", "status"),
    },
}
_NEEDED = ("item", "first", "second", "choice", "rater")
_CHOICES: dict[str, Literal["first", "second", "same"]] = {
    **dict.fromkeys(("1", "first", "a", "output 1", "answer 1", "left"), "first"),
    **dict.fromkeys(("2", "second", "b", "output 2", "answer 2", "right"), "second"),
    **dict.fromkeys(("3", "0", "same", "tie", "equal", "both", "about the same"), "same"),
}
_BOX = re.compile(r"Answer\.(?:choice|preference)\.\w+$")
"""MTurk writes a radio group as a column of true and false for each of its values: ``Answer.choice.1``."""
_TASK_ANSWERS = "Answer.taskAnswers"
"""Where MTurk puts all answers of a page made of Crowd HTML Elements: ``[{"choice": {"1": false, "2": true}}]``."""
_NO_SUBMISSION = "no submission"
_NOT_ACCEPTED = {"rejected", "returned", "timed-out", "timed out", "screened out", "active", "reserved", _NO_SUBMISSION}
_SUBMISSION = ("Participant id", "Status")
"""Columns of Prolific's export of a study's submissions."""


def import_votes(
    tables: Annotated[list[Path], typer.Argument(help="CSV files.", show_default=False)],
    teacher: Annotated[str, typer.Option(help="The teacher's name in the tables.", show_default=False)],
    out: Annotated[Path, typer.Option(help="Votes, .jsonl or .parquet.", show_default=False)],
    source: Annotated[str, typer.Option("--from", help="mturk or prolific.")] = "mturk",
    submissions: Annotated[Path | None, typer.Option(help="Prolific's export: whose work was accepted.")] = None,
    column: Annotated[list[str] | None, typer.Option(help="NAME=COLUMN where a table calls it otherwise.")] = None,
) -> None:
    """Turn crowd tables into votes, raters by new pseudonyms; a row that is no vote is listed with its reason."""
    from epigone.cli.rate_export import write_records
    from epigone.disk import write_jsonl

    if source not in _COLUMNS:
        raise SpecError("no such source", where=f"--from {source}", fix=f"one of: {', '.join(_COLUMNS)}")
    names = dict(_COLUMNS[source])
    for given in column or []:
        name, _, value = given.partition("=")
        if name not in names or not value:
            raise SpecError(
                "no column mapping", where=f"--column {given}", fix=f"NAME=COLUMN, NAME of {', '.join(names)}"
            )
        names[name] = (value,)
    salt = secrets.token_hex(16)  # forgotten: nobody can try a list of worker ids against the pseudonyms
    statuses = None if submissions is None else _statuses(submissions)
    votes, drops = [], []
    seen: set[tuple[str, str, str]] = set()
    for path in tables:
        for row in read_votes(path, names, teacher=teacher, salt=salt, statuses=statuses):
            if isinstance(row, Drop):
                drops.append(row)
            elif (key := (row.item, row.student, row.voter)) in seen:
                drops.append(Drop(id=row.item, step="import", reason="rated_before", detail=f"{row.student}, {path}"))
            else:
                seen.add(key)
                votes.append(row)
    if not votes:
        why = f": {drops[0].reason} ({drops[0].detail})" if drops else ""
        raise DataError(f"no row is a vote{why}", where=str(tables[0]), fix="check --teacher and --column")
    typer.echo(f"{out}: {write_records(out, votes)} votes of {len({vote.voter for vote in votes})} raters")
    if drops:
        listed = out.with_name(f"{out.stem}.drops.jsonl")
        typer.echo(f"{listed}: {write_jsonl(listed, drops)} rows that are no votes, each with its reason")


def read_votes(
    path: Path,
    columns: Mapping[str, tuple[str, ...]],
    *,
    teacher: str,
    salt: str,
    statuses: Mapping[str, str] | None = None,
) -> Iterator[Vote | Drop]:
    """Each row of a table as a vote, or as a drop that says why it is none.

    Args:
        columns: what a vote needs to the names that a column with it may have; the first that is filled counts.
        statuses: crowd id to the status of its submission, instead of a column; who is not in it was not accepted.

    Raises:
        DataError: the file cannot be read as CSV, or a column that is needed is missing.
    """
    rows = [row | _task_answers(row) for row in _table(path)]
    there = list(dict.fromkeys(name for row in rows for name in row))
    boxes = {column.rpartition(".")[2]: column for column in there if _BOX.match(column)}
    for name in _NEEDED:
        if not set(columns[name]) & set(there) and not (name == "choice" and boxes):
            fix = f"--column {name}=NAME; the table's columns: {', '.join(there) or 'none'}"
            raise DataError(f"no column for '{name}'", where=str(path), fix=fix)
    for number, row in enumerate(rows, 2):
        cells = {
            name: next((text for column in called if (text := (row.get(column) or "").strip())), "")
            for name, called in columns.items()
        }
        ticked = [value for value, box in boxes.items() if (row.get(box) or "").lower() == "true"]
        if not cells["choice"] and len(ticked) == 1:
            cells["choice"] = ticked[0]
        if statuses is not None:
            cells["status"] = statuses.get(cells["rater"], _NO_SUBMISSION)
        yield _vote(cells, f"{path.name}:{number}", teacher, salt)


def _table(path: Path) -> list[dict[str, str]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return [{name: cell for name, cell in row.items() if name} for row in csv.DictReader(file)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"cannot be read: {error}", where=str(path), fix="give a CSV file in UTF-8") from error


def _task_answers(row: Mapping[str, str]) -> dict[str, str]:
    """The answers in a row's one JSON cell as cells of their own, called as MTurk calls them elsewhere."""
    try:
        given = json.loads(row.get(_TASK_ANSWERS) or "[]")
    except json.JSONDecodeError:
        return {}
    first = given[0] if isinstance(given, list) and given else given
    cells: dict[str, str] = {}
    for name, value in first.items() if isinstance(first, dict) else ():
        inner = {f".{key}": part for key, part in value.items()} if isinstance(value, dict) else {"": value}
        cells |= {f"Answer.{name}{end}": str(part) for end, part in inner.items()}
    return cells


def _statuses(path: Path) -> dict[str, str]:
    rows = _table(path)
    if not rows or any(name not in rows[0] for name in _SUBMISSION):
        fix = "give the CSV file that Prolific's page of the study's submissions downloads"
        raise DataError(f"has no rows with {' and '.join(_SUBMISSION)}", where=str(path), fix=fix)
    rater, status = _SUBMISSION
    return {(row[rater] or "").strip(): (row[status] or "").strip() for row in rows}


def _vote(cells: Mapping[str, str], where: str, teacher: str, salt: str) -> Vote | Drop:
    models = (cells["first"], cells["second"])
    choice = _CHOICES.get(cells["choice"].lower().removesuffix(" is better"))
    reason = ""
    if cells.get("status", "").lower() in _NOT_ACCEPTED:
        reason = "not_accepted"
    elif not cells["rater"] or not cells["item"]:
        reason = "no_rater_or_item"
    elif models.count(teacher) != 1:
        reason = "not_against_the_teacher"
    elif choice is None:
        reason = "no_choice"
    if reason or choice is None:
        return Drop(
            id=where, step="import", reason=reason, detail=cells.get("status") or " | ".join((*models, cells["choice"]))
        )
    teacher_first = models[0] == teacher
    meant: dict[str, Choice] = {"same": "tie"}
    meant["first"], meant["second"] = ("teacher", "student") if teacher_first else ("student", "teacher")
    seconds = cells.get("seconds", "")
    return Vote(
        item=cells["item"],
        student=models[1] if teacher_first else models[0],
        teacher=teacher,
        voter="rater-" + hashlib.sha256(f"{salt}:{cells['rater']}".encode()).hexdigest()[:12],
        kind="person",
        choice=meant[choice],
        first="teacher" if teacher_first else "student",
        seconds=float(seconds) if seconds.replace(".", "", 1).isdecimal() else None,
        reason=cells.get("reason") or None,
    )
