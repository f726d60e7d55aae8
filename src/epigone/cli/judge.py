"""`epigone judge --teacher T --student S … --out DIR`: votes of one or several judges on blind pairs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from msgspec import Struct, structs

from epigone.cli.out_folder import make_folder
from epigone.errors import SpecError
from epigone.records import ModelInfo, Results, Vote

if TYPE_CHECKING:
    from rich.console import Console

    from epigone.cli.outputs_given import GivenOutputs
    from epigone.evaluate.preference import AttackEffect, JudgeSpec, Pair
    from epigone.models import Budget

__all__ = ["judge"]

_FORMAT = 1
_MANY_FLIPS = 1 / 3  # of the pairs; above it a note stands beside the estimates


class JudgeFile(Struct, frozen=True, kw_only=True):
    """``judge.json``. ``results`` is as in a study's ``results.json``.

    ``votes``: voter → status → how many. ``attacks``: voter → what each attack of the set did to its votes.
    """

    format: int
    teacher: str
    judges: tuple[str, ...]
    items: int
    unmatched: int
    results: Results
    votes: dict[str, dict[str, int]]
    attacks: dict[str, list[AttackEffect]]


def judge(
    teacher: Annotated[str, typer.Option(help="The teacher's outputs: FILE or NAME=FILE.", show_default=False)],
    student: Annotated[list[str], typer.Option(help="A student's outputs; several are welcome.", show_default=False)],
    out: Annotated[Path, typer.Option(help="Folder for judge.json, votes.jsonl and the page.", show_default=False)],
    judge: Annotated[list[Path] | None, typer.Option(help="A judge's YAML (docs/judge.md); several.")] = None,
    votes: Annotated[list[Path] | None, typer.Option(help="Votes that exist already, people's above all.")] = None,
    base: Annotated[str | None, typer.Option(help="Outputs of the model the student was made from.")] = None,
    references: Annotated[Path | None, typer.Option(help="JSON lines of {id or prompt, answers}.")] = None,
    items: Annotated[int | None, typer.Option(help="Judge so many items, drawn by seed: a trial.", min=1)] = None,
    attack_pairs: Annotated[int, typer.Option(help="Try the attack set on this many pairs.", min=0)] = 0,
    usd: Annotated[float | None, typer.Option(help="Spend at most this much, in US dollars.")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Ask paid judges without asking you first.")] = False,
    plan_only: Annotated[bool, typer.Option("--plan", help="Say what would be asked and cost, and stop.")] = False,
    seed: Annotated[int, typer.Option(help="Draws items, marks, orders and resamples.")] = 0,
) -> None:
    """Let models judge pairs of outputs, blind and in both orders, and say how often the student holds its own."""
    from rich.console import Console

    from epigone.cli.judge_given import confirm_cost, read_judge
    from epigone.cli.judge_references import read_references
    from epigone.cli.judge_votes import read_votes
    from epigone.cli.outputs_given import draw_items, read_given
    from epigone.disk import write_json, write_jsonl
    from epigone.models import Budget

    console = Console(highlight=False)
    everything = read_given(teacher, student, base=base)
    given = draw_items(everything, items, seed=seed)
    specs = [read_judge(path) for path in judge or []]
    ballots = read_votes(votes or [], everything, items={output.id for output in everything.teacher})
    if not specs and not ballots:
        raise SpecError("nobody judges", fix="give a judge's file with --judge, or votes with --votes")
    _refuse_same_judges(specs, ballots)
    drawn = {output.id for output in given.teacher}
    ballots = [vote for vote in ballots if vote.item in drawn]
    right: dict[str, tuple[str, ...]] = {}
    if references:
        known = read_references(references, everything)
        right = known.right
        given = structs.replace(given, unmatched=given.unmatched + known.unmatched)
    pairs = _pairs(given)
    make_folder(out)
    budget = Budget(usd=usd, ledger=out / "spending.sqlite")
    attacks: dict[str, list[AttackEffect]] = {}
    for spec in specs:
        requests = _show_plans(console, spec, pairs, seed, attack_pairs)
        if plan_only:
            continue
        confirm_cost(spec, requests, yes=yes)
        cast, effects = _ask(spec, pairs, out, budget, seed=seed, attack_pairs=attack_pairs)
        ballots += cast
        if effects:
            attacks[cast[0].voter] = effects
        write_jsonl(out / "votes.jsonl", ballots)
    if plan_only:
        return
    found = _judged(given, ballots, right, attacks, seed)
    write_json(out / "judge.json", found)
    write_jsonl(out / "unmatched.jsonl", given.unmatched)
    page = _write_page(given, found, out)
    _print(console, found)
    console.print(f"page: {page}", soft_wrap=True, markup=False)


def _refuse_same_judges(specs: Sequence[JudgeSpec], ballots: Sequence[Vote]) -> None:
    """Two judges of one name would be counted as one voter who votes twice."""
    names = [vote.voter for vote in ballots if vote.kind != "person"]
    names = [*dict.fromkeys(names), *(spec.title for spec in specs)]
    twice = [name for name in dict.fromkeys(names) if names.count(name) > 1]
    if twice:
        fix = "give each judge's file a 'name' of its own, or leave one out"
        raise SpecError(f"two judges go by the name '{twice[0]}'", fix=fix)


def _pairs(given: GivenOutputs) -> list[Pair]:
    from epigone.evaluate.preference import make_pairs

    return [
        pair
        for model in given.others
        if model.info.role != "teacher_second_sample"
        for pair in make_pairs(
            given.teacher, model.outputs, student_name=model.info.name, teacher_name=given.teacher_name
        )
    ]


def _show_plans(console: Console, spec: JudgeSpec, pairs: Sequence[Pair], seed: int, attack_pairs: int) -> int:
    """Print what a judge will be asked, and the most it can cost; how many questions that is."""
    from epigone.cli.judge_given import show_cost
    from epigone.evaluate.preference import plan_attacks, plan_judging

    plan = plan_judging(spec, pairs, seed=seed)
    show_cost(console, spec, plan)
    if not attack_pairs:
        return plan.requests
    attacks = plan_attacks(spec, pairs, seed=seed, per_attack=attack_pairs)
    show_cost(console, spec, attacks, "more to try the attacks")
    return plan.requests + attacks.requests


def _ask(
    spec: JudgeSpec, pairs: Sequence[Pair], out: Path, budget: Budget, *, seed: int, attack_pairs: int
) -> tuple[list[Vote], list[AttackEffect]]:
    from epigone.cli.judge_given import opened, progress_bar
    from epigone.evaluate.preference import attack_judge, judge_pairs

    with opened(spec, out, budget) as model, progress_bar(spec.title) as show:
        votes = judge_pairs(spec, pairs, model, seed=seed, progress=show)
        effects = attack_judge(spec, pairs, model, seed=seed, per_attack=attack_pairs) if attack_pairs else []
    return votes, effects


def _judged(
    given: GivenOutputs,
    votes: Sequence[Vote],
    right: dict[str, tuple[str, ...]],
    attacks: dict[str, list[AttackEffect]],
    seed: int,
) -> JudgeFile:
    counts: dict[str, Counter[str]] = {}
    for vote in votes:
        counts.setdefault(vote.voter, Counter())[vote.status] += 1
    return JudgeFile(
        format=_FORMAT,
        teacher=given.teacher_name,
        judges=tuple(counts),
        items=given.items,
        unmatched=len(given.unmatched),
        results=_compare(given, votes, right, seed),
        votes={voter: dict(sorted(by_status.items())) for voter, by_status in counts.items()},
        attacks=attacks,
    )


def _compare(given: GivenOutputs, votes: Sequence[Vote], right: dict[str, tuple[str, ...]], seed: int) -> Results:
    """All preference axes: plain, at equal length and style, and, with references, deception."""
    from epigone.cli.judge_references import held_to_references
    from epigone.compare import CompareSpec, Measurements, compare
    from epigone.evaluate.style import style_items

    rows = [row for model in given.others for row in style_items(given.teacher, model.outputs, model=model.info.name)]
    if right:
        rows += held_to_references(given.teacher_name, given.teacher, right)
        rows += [row for m in given.others for row in held_to_references(m.info.name, m.outputs, right)]
    measured = Measurements(
        study="judge",
        models=(ModelInfo(name=given.teacher_name, role="teacher"), *(model.info for model in given.others)),
        axes=(),
        items=tuple(rows),
        votes=tuple(votes),
    )
    return compare(measured, CompareSpec(), seed=seed)


def _write_page(given: GivenOutputs, found: JudgeFile, out: Path) -> Path:
    """The page of a study's report, from these votes alone."""
    from epigone.cli.style import first_samples
    from epigone.report import ReportContent, write_report

    names = [model.info.name for model in given.others]
    content = ReportContent(
        results=found.results,
        title=f"{', '.join(names)} against {found.teacher}, judged by {', '.join(found.judges)}",
        summary="Votes are of the named judges alone. A likelihood judge holds no opinion on quality: it says which "
        "answer the judging model would sooner have written itself."
        + "".join(f" Note: {caveat}." for caveat in _caveats(found)),
        samples=first_samples(given),
        links=(("judge.json", "judge.json"), ("votes.jsonl", "votes.jsonl"), ("unmatched.jsonl", "unmatched.jsonl")),
    )
    return write_report(content, out / "index.html")


def _caveats(found: JudgeFile) -> list[str]:
    """Where the order decided so often that ties, and with them *equal or better*, say little of the answers."""
    caveats: list[str] = []
    for name, axes in found.results.estimates.items():
        for axis, estimate in axes.items():
            if axis.endswith(".flip_share") and (estimate.value or 0.0) >= _MANY_FLIPS:
                caveats.append(
                    f"on {name} the verdict flips with the order for {estimate.value:.0%} of the pairs; each flip is a "
                    "tie and counts as equal or better: read the win rate instead"
                )
    return caveats


def _print(console: Console, found: JudgeFile) -> None:
    from epigone.cli.style import print_estimates

    estimates = {name: axes for name, axes in found.results.estimates.items() if axes}
    rows = [(axis.label, [axes.get(axis.name) for axes in estimates.values()]) for axis in found.results.axes]
    print_estimates(console, list(estimates), rows)
    for caveat in _caveats(found):
        console.print(f"note: {caveat}", markup=False)
    for voter, counts in found.votes.items():
        counted = ", ".join(f"{count} {status}" for status, count in counts.items())
        console.print(f"{voter}: {counted}", markup=False)
