"""`epigone rate results CAMPAIGN`: what people preferred, how sure that is, how much they agree, and with a judge."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from msgspec import Struct

from epigone.errors import DataError
from epigone.records import ModelInfo, Results, Vote

if TYPE_CHECKING:
    from rich.table import Table

    from epigone.compare.rater_spread import OutcomeSpread, RaterAgreement

__all__ = ["RatingFile", "results"]

_PEOPLE = "preference.person."
_ROWS = {
    "equal_or_better": "rated equal or better",
    "win_rate": "win rate, ties half",
    "tie_share": "ties of the majority",
    "split_share": "of these 1-1-1 (items)",
    "unanimous_share": "unanimous items",
    "alpha_ordinal": "Krippendorff's α, ordinal",
    "human_ceiling": "one rater with the others",
}


class RatingFile(Struct, frozen=True, kw_only=True):
    """What ``--out`` holds. ``results`` is as in a study's ``results.json``; ``spread``: by student."""

    format: int
    votes: int
    flagged: tuple[str, ...]
    results: Results
    spread: dict[str, OutcomeSpread]
    raters: tuple[RaterAgreement, ...]


def results(
    campaign: Annotated[str, typer.Argument(help="Campaign, or its exported votes.jsonl.", show_default=False)],
    judge: Annotated[list[Path] | None, typer.Option(help="Votes of a judge on the same pairs, .jsonl.")] = None,
    out: Annotated[Path | None, typer.Option(help="Every number as JSON.")] = None,
    without_flagged: Annotated[bool, typer.Option("--without-flagged", help="Leave flagged raters out.")] = False,
    confidence: Annotated[float, typer.Option(help="Of every interval.", min=0.51, max=0.999)] = 0.95,
    resamples: Annotated[int, typer.Option(help="Bootstrap resamples.", min=100)] = 2000,
    seed: Annotated[int, typer.Option(help="Draws the resamples.")] = 0,
) -> None:
    """Shares per student with intervals (items and raters resampled), agreement, raters, and judges against people."""
    from rich.console import Console

    from epigone.compare import CompareSpec, Measurements, compare
    from epigone.compare.rater_spread import outcome_spread, rater_agreement
    from epigone.disk import read_jsonl, write_json

    votes, flagged = _read(campaign)
    if without_flagged:
        votes = [vote for vote in votes if vote.voter not in flagged]
    if not votes:
        raise DataError("holds no votes of people", where=campaign, fix="wait for the first ones")
    cast = [*votes, *(vote for path in judge or [] for vote in read_jsonl(path, Vote))]
    measured = Measurements(study="rate", models=_models(cast), axes=(), items=(), votes=tuple(cast))
    found = compare(measured, CompareSpec(resamples=resamples, confidence=confidence), seed=seed)
    file = RatingFile(
        format=1,
        votes=len(votes),
        flagged=flagged,
        results=found,
        spread=outcome_spread(votes),
        raters=tuple(rater_agreement(votes)),
    )
    console = Console(highlight=False)
    console.print(f"{len(votes)} votes of {len(file.raters)} raters on {len({v.item for v in votes})} prompts")
    console.print(_shares(file))
    if judge:
        console.print(_judges(found))
    console.print(_raters(file))
    if flagged and not without_flagged:
        console.print(f"{len(flagged)} raters are flagged; --without-flagged leaves them out", soft_wrap=True)
    if out is not None:
        write_json(out, file)
        console.print(f"every number: {out}", soft_wrap=True)


def _read(campaign: str) -> tuple[list[Vote], tuple[str, ...]]:
    if campaign.endswith(".jsonl"):
        from epigone.disk import read_jsonl

        return [vote for vote in read_jsonl(Path(campaign), Vote) if vote.kind == "person"], ()
    from epigone.evaluate.preference.rating_app import open_campaign

    opened = open_campaign(campaign)
    return opened.votes(), tuple(person.rater for person in opened.figures().people if person.flags)


def _models(votes: Sequence[Vote]) -> tuple[ModelInfo, ...]:
    teachers = sorted({vote.teacher for vote in votes})
    if len(teachers) > 1:
        raise DataError(
            f"votes are against several teachers: {', '.join(teachers)}", fix="give one teacher's at a time"
        )
    students = sorted({vote.student for vote in votes})
    return (ModelInfo(name=teachers[0], role="teacher"), *(ModelInfo(name=n, role="student") for n in students))


def _table(columns: Sequence[str]) -> Table:
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for place, name in enumerate(columns):
        table.add_column(name, justify="right" if place else "left", overflow="fold")
    return table


def _shares(file: RatingFile) -> Table:
    from epigone.cli.style import spoken

    students = sorted(file.spread)
    table = _table(["", *students])
    for metric, label in _ROWS.items():
        cells = [file.results.estimates[name].get(_PEOPLE + metric) for name in students]
        if any(cells):
            table.add_row(label, *(spoken(cell) if cell else "–" for cell in cells))
        if metric == "equal_or_better":
            for part, word in (("sd", "  standard deviation"), ("se", "  standard error")):
                values = [getattr(file.spread[name], part) for name in students]
                table.add_row(word, *("–" if value is None else f"{value:.3f}" for value in values))
    return table


def _judges(found: Results) -> Table:
    from epigone.cli.style import spoken

    students = [model.name for model in found.models if model.role == "student"]
    table = _table(["judge against people", *students])
    for kind in ("llm_judge", "likelihood_judge", "simulated"):
        for metric, label in (("agreement_with_people", "agrees with the majority"), ("equal_or_better", "says so of")):
            cells: list[Any] = [found.estimates[name].get(f"preference.{kind}.{metric}") for name in students]
            if any(cells):
                table.add_row(f"{kind}: {label}", *(spoken(cell) if cell else "–" for cell in cells))
    return table


def _raters(file: RatingFile) -> Table:
    table = _table(["rater", "votes", "agrees with the others", "median s", ""])
    for row in file.raters:
        agrees = "–" if row.agreement is None else f"{row.agreement:.2f} of {row.compared}"
        speed = "–" if row.median_s is None else f"{row.median_s:.0f}"
        table.add_row(row.rater, str(row.votes), agrees, speed, "flagged" if row.rater in file.flagged else "")
    return table
