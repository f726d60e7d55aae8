"""`epigone rate`: people judge pairs of outputs, blind, on a page of one's own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from socket import AF_INET, AF_INET6, create_server, socket
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlsplit

import typer

from epigone.cli.rate_import import import_votes
from epigone.cli.rate_results import results

if TYPE_CHECKING:
    from epigone.evaluate.preference import Pair
    from epigone.evaluate.preference.rating_app import Campaign, LiveFigures, RatingRules

__all__ = ["rate"]

rate = typer.Typer(
    help="Let people judge pairs of outputs, blind, on a web page.", no_args_is_help=True, rich_markup_mode=None
)
_Where = Annotated[str, typer.Argument(help="Campaign file (SQLite) or PostgreSQL URL.", show_default=False)]


@rate.command()
def new(
    campaign: _Where,
    teacher: Annotated[str, typer.Option(help="The teacher's outputs: FILE or NAME=FILE.", show_default=False)],
    student: Annotated[list[str], typer.Option(help="A student's outputs; several are welcome.", show_default=False)],
    prompts: Annotated[Path | None, typer.Option(help="Only the prompts of this file.")] = None,
    english: Annotated[bool, typer.Option("--english", help="Only English prompts.")] = False,
    no_coding: Annotated[bool, typer.Option("--no-coding", help="No prompts that ask for programs.")] = False,
    training: Annotated[
        list[Path] | None, typer.Option(help="Imitation data; prompts with BLEU > 20 % to a query go.")
    ] = None,
    gold: Annotated[Path | None, typer.Option(help="Items whose better answer is known.")] = None,
    rules: Annotated[Path | None, typer.Option(help="Rules in YAML; the options below overrule it.")] = None,
    ratings: Annotated[int | None, typer.Option(min=1, help="Ratings of each pair [3].")] = None,
    timeout_s: Annotated[float | None, typer.Option(help="Seconds a pair is kept for its rater [1800].")] = None,
    minimum_s: Annotated[float | None, typer.Option(help="Seconds before a vote is taken [0].")] = None,
    pairs_per_rater: Annotated[int | None, typer.Option(min=1, help="Pairs until a rater is done [all].")] = None,
    expert: Annotated[bool | None, typer.Option("--expert", help="Ask for marks on each criterion.")] = None,
    consent: Annotated[Path | None, typer.Option(help="Consent text, Markdown.")] = None,
    instructions: Annotated[Path | None, typer.Option(help="The task explained, Markdown.")] = None,
    completion_code: Annotated[str | None, typer.Option(help="Shown to a crowd platform's rater.")] = None,
    return_url: Annotated[str | None, typer.Option(help="Where the platform wants raters back.")] = None,
) -> None:
    """Make a campaign from outputs files. Its rules are fixed from then on."""
    from epigone.cli.outputs_given import read_given
    from epigone.cli.rate_prompts import choose_prompts
    from epigone.disk import write_jsonl
    from epigone.evaluate.preference import make_pairs
    from epigone.evaluate.preference.rating_app import new_campaign, read_checks

    texts = {"consent": _text(consent), "instructions": _text(instructions)}
    given_rules = {"ratings": ratings, "timeout_s": timeout_s, "minimum_s": minimum_s, "expert": expert, **texts}
    given_rules |= {"completion_code": completion_code, "return_url": return_url, "pairs_per_rater": pairs_per_rater}
    fixed = _rules(rules, given_rules)
    given = read_given(teacher, student)
    kept, drops = choose_prompts(
        given.teacher, prompts=prompts, english=english, no_coding=no_coding, training=training or []
    )
    pairs = [
        pair
        for model in given.of_role("student")
        for pair in make_pairs(
            given.teacher, model.outputs, student_name=model.info.name, teacher_name=given.teacher_name
        )
        if pair.item in kept
    ]
    made = new_campaign(campaign, pairs, fixed, checks=read_checks(gold) if gold else ())
    state = made.progress()
    typer.echo(f"{made.database.name}: {state.pairs} pairs, {fixed.ratings} ratings each: {state.wanted} votes")
    if drops:
        listed = Path(f"{campaign}.drops.jsonl" if made.database.is_file else "rate.drops.jsonl")
        write_jsonl(listed, drops)
        counts = ", ".join(f"{count} {reason}" for reason, count in Counter(d.reason for d in drops).most_common())
        typer.echo(f"prompts left out: {counts}; listed in {listed}")
    _say_what_to_mind(pairs, fixed, state.pairs)
    typer.echo("next: epigone rate serve, which prints the invitation link")


@rate.command()
def serve(
    campaign: _Where,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 picks a free one.")] = 8321,
    public_url: Annotated[str | None, typer.Option(help="The address that raters use, behind a proxy.")] = None,
) -> None:
    """Serve the raters' page and the organiser's; what is refused is logged to stderr."""
    import logging

    import uvicorn

    from epigone.evaluate.preference.rating_app import open_campaign, rating_app

    public = None if public_url is None else _web_address(public_url)
    opened = open_campaign(campaign)
    listening = _listen(host, port)
    logging.basicConfig(format="%(asctime)s %(message)s", level=logging.WARNING)
    base = public or f"http://{host}:{listening.getsockname()[1]}"
    invitation = f"{base}/join/{opened.setting('invitation')}"
    typer.echo(f"invite raters:  {invitation}")
    typer.echo(f"from Prolific:  {invitation}?PROLIFIC_PID={{{{%PROLIFIC_PID%}}}}")
    typer.echo(f"watch it:       {base}/organiser/{opened.setting('organiser')}")
    app = rating_app(opened, public_url=public)
    config = uvicorn.Config(app, log_level="warning", access_log=False, server_header=False)
    uvicorn.Server(config).run(sockets=[listening])


@rate.command()
def status(campaign: _Where) -> None:
    """Say how far a campaign is, and who rates how."""
    opened = _open(campaign)
    figures = opened.figures()
    state = "closed" if figures.closed else f"{figures.open} pairs are open in somebody's browser"
    typer.echo(f"{figures.votes} of {figures.wanted} votes by {figures.raters} raters; {state}")
    typer.echo(f"{figures.complete} of {figures.pairs} pairs have all their ratings")
    for name, votes in figures.votes_by_student.items():
        typer.echo(f"  {name}: {votes} votes")
    if figures.people:
        from rich.console import Console

        Console(highlight=False).print(_people(figures))


@rate.command()
def export(
    campaign: _Where,
    out: Annotated[Path, typer.Option(help="Votes, .jsonl or .parquet.", show_default=False)],
    raters: Annotated[Path | None, typer.Option(help="Raters with their flags, .jsonl or .parquet.")] = None,
    checks: Annotated[Path | None, typer.Option(help="Answers to check items, .jsonl or .parquet.")] = None,
    crowd_ids: Annotated[
        Path | None, typer.Option(help="Crowd ids with their pseudonyms, to pay people; not to publish.")
    ] = None,
    without_flagged: Annotated[bool, typer.Option("--without-flagged", help="Leave flagged raters out.")] = False,
) -> None:
    """Write every vote as `epigone judge` writes a judge's; raters by pseudonym."""
    from epigone.cli.rate_export import write_records

    opened = _open(campaign)
    people = opened.figures().people
    votes = opened.votes()
    flagged = {person.rater for person in people if person.flags}
    kept = [vote for vote in votes if not (without_flagged and vote.voter in flagged)]
    typer.echo(f"{out}: {write_records(out, kept)} votes")
    if flagged:
        theirs = sum(vote.voter in flagged for vote in votes)
        typer.echo(f"{len(flagged)} flagged raters gave {theirs} votes{': left out' if without_flagged else ''}")
    if raters is not None:
        typer.echo(f"{raters}: {write_records(raters, people)} raters")
    if checks is not None:
        typer.echo(f"{checks}: {write_records(checks, opened.checks_answered())} answers to check items")
    if crowd_ids is not None:
        known = opened.crowd_raters()
        typer.echo(f"{crowd_ids}: {write_records(crowd_ids, known)} raters with their crowd ids; do not publish it")


@rate.command()
def close(campaign: _Where) -> None:
    """Take no more votes."""
    opened = _open(campaign)
    opened.close()
    typer.echo(f"{opened.database.name}: closed with {opened.progress().votes} votes")


@rate.command("delete-rater")
def delete_rater(
    campaign: _Where,
    rater: Annotated[str, typer.Argument(help="Pseudonym (see `status`) or crowd id.", show_default=False)],
) -> None:
    """Forget a rater with every vote; their pairs are handed out again."""
    typer.echo(f"deleted {rater} and {_open(campaign).delete_rater(rater)} votes")


rate.command("results")(results)
rate.command("import")(import_votes)


def _web_address(url: str) -> str:
    from epigone.errors import SpecError

    given = urlsplit(url)
    if given.scheme not in ("http", "https") or not given.netloc or given.path.strip("/") or given.query:
        raise SpecError("no web address of a host", where=f"--public-url {url}", fix="such as https://rate.example.org")
    return f"{given.scheme}://{given.netloc}"


def _listen(host: str, port: int) -> socket:
    from epigone.errors import EndpointError

    try:
        return create_server((host, port), family=AF_INET6 if ":" in host else AF_INET, backlog=2048)
    except OSError as error:
        why = error.strerror or str(error)
        fix = "choose another --port (0 picks a free one) or --host"
        raise EndpointError(f"cannot listen: {why}", where=f"{host}:{port}", fix=fix) from None


def _open(campaign: str) -> Campaign:
    from epigone.evaluate.preference.rating_app import open_campaign

    return open_campaign(campaign)


def _rules(path: Path | None, given: dict[str, Any]) -> RatingRules:
    from epigone.disk import read_yaml
    from epigone.errors import SpecError
    from epigone.evaluate.preference.rating_app import RatingRules
    from epigone.specs import parse_spec

    written = read_yaml(path) if path is not None else {}
    if not isinstance(written, dict):
        raise SpecError("expected a mapping of rules", where=str(path), fix="write lines such as `ratings: 3`")
    overruled = {name: value for name, value in given.items() if value is not None}
    return parse_spec(RatingRules, written | overruled, where=str(path) if path else "the options")


def _text(path: Path | None) -> str | None:
    from epigone.errors import DataError

    try:
        return None if path is None else path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot be read: {error}", where=str(path), fix="give a text file in UTF-8") from error


def _say_what_to_mind(pairs: Sequence[Pair], rules: RatingRules, shown: int) -> None:
    """How many people it takes, outputs that name a system, pairs that cannot be shown."""
    students = len({pair.student for pair in pairs})
    least = rules.ratings * (1 if rules.repeat_prompts else students)
    if rules.pairs_per_rater:
        least = max(least, -(-shown * rules.ratings // rules.pairs_per_rater))
    typer.echo(f"at least {least} raters are needed")
    if len(pairs) > shown:
        typer.echo(f"{len(pairs) - shown} pairs lack an output and are not shown")
    named = [p for p in pairs if any(n.lower() in _words(p) for n in (p.student, p.teacher) if len(n) > 3)]
    if named:
        example = named[0]
        typer.echo(
            f"warning: {len(named)} pairs name a system in what raters read (first: {example.item}); they are not blind"
        )


def _words(pair: Pair) -> str:
    return f"{pair.student_response or ''}\n{pair.teacher_response or ''}".lower()


def _people(figures: LiveFigures) -> Any:
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for name in ("rater", "votes", "checks", "median s", "agrees", "flags"):
        table.add_column(name, justify="left" if name in ("rater", "flags") else "right")
    for person in figures.people:
        table.add_row(
            person.rater,
            str(person.votes),
            person.checks,
            "–" if person.median_s is None else f"{person.median_s:.0f}",
            "–" if person.agreement is None else f"{person.agreement:.2f}",
            ", ".join(person.flags) or ("not qualified" if person.qualified is False else ""),
        )
    return table
