"""`epigone train BASE DATA --out FOLDER`: a student from imitation data; or only the plan, or one example's mask."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from msgspec import Struct
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from epigone.disk import iter_jsonl, read_json, read_jsonl, read_yaml
from epigone.errors import InputError
from epigone.records import Conversation
from epigone.specs import beside, parse_spec

if TYPE_CHECKING:
    from epigone.train import Timing, TrainPlan, TrainRecord, TrainSpec

__all__ = ["train"]


class ReplayText(Struct, frozen=True):
    """A line of a replay file in JSON."""

    text: str


def train(
    base: Annotated[str, typer.Argument(help="Folder or hub id of the base.")],
    data: Annotated[Path, typer.Argument(help="Conversations: a messages JSONL file.")],
    out: Annotated[Path | None, typer.Option(help="Folder of the student. Needed unless only a plan is shown.")] = None,
    settings: Annotated[Path | None, typer.Option(help="YAML with the keys of `train:` in a study file.")] = None,
    replay: Annotated[
        Path | None, typer.Option(help="Plain text to mix in: one text a line, or {text} lines in a .jsonl.")
    ] = None,
    replay_share: Annotated[
        float | None, typer.Option(help="Share of all tokens that replay text shall have; all of it by default.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of data order, new weights and dropout.")] = 0,
    plan: Annotated[bool, typer.Option("--plan", help="Show steps, memory and warnings; train nothing.")] = False,
    show_example: Annotated[
        bool, typer.Option("--show-example", help="Show which tokens of the first conversation are learnt.")
    ] = False,
    threads: Annotated[int | None, typer.Option(help="CPU threads; torch's own choice by default.")] = None,
) -> None:
    """Train a student on imitation data. The same command again goes on from the last checkpoint.

    Several GPUs: torchrun --nproc-per-node N -m epigone train …
    """
    from epigone.train import (
        Timing,
        TrainSpec,
        plan_student,
        show_tokens,
        train_student,
    )

    given = read_yaml(settings) if settings else {}
    spec = beside(parse_spec(TrainSpec, given, where=str(settings or "epigone train")), (settings or Path()).parent)
    trackers = spec.trackers if "trackers" in spec.model_fields_set else ("tensorboard",)
    spec = spec.model_copy(update={"threads": threads or spec.threads, "trackers": trackers})
    console = Console(highlight=False)
    if show_example:
        first = next(iter_jsonl(data, Conversation), None)
        if first is None:
            raise InputError("holds no conversation", where=str(data), fix="look at what curation dropped, and why")
        _show_example(console, show_tokens(base, first, spec))
        return
    conversations = read_jsonl(data, Conversation)
    texts = _replay_texts(replay, replay_share, base, conversations, spec, seed)
    if plan:
        planned = plan_student(spec, base=base, conversations=conversations, seed=seed, replay=texts)
        _show_plan(console, spec, planned)
        return
    if out is None:
        raise InputError("--out is missing", fix="say where the student shall be written")
    if out.is_file() or (out.is_dir() and any(out.iterdir())):
        raise InputError("is there already, and not empty", where=str(out), fix="choose another --out, or delete it")
    with _steps_shown() as progress:
        record = train_student(
            spec,
            base=base,
            conversations=conversations,
            out=out,
            seed=seed,
            replay=texts,
            work=out.with_name(f"{out.name}.work"),
            progress=progress,
        )
    if _leads():
        _tell(console, out, record, read_json(out / "timing.json", Timing))


def _leads() -> bool:
    """Under torchrun the first process alone writes and tells."""
    return os.environ.get("RANK", "0") == "0"


@contextmanager
def _steps_shown() -> Iterator[Callable[[int, int | None], None]]:
    """A bar of the steps, and a word about going on when SIGTERM has ended them."""
    columns = (TextColumn("steps"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        bar = bars.add_task("train", total=None)
        try:
            yield lambda done, total: bars.update(bar, completed=done, total=total)
        except SystemExit:
            if _leads():
                bars.console.print("stopped by SIGTERM; the step is saved, the same command goes on from it")
            raise


def _tell(console: Console, out: Path, record: TrainRecord, timing: Timing) -> None:
    console.print(
        f"{out}: {record.steps:,} steps, {record.tokens:,} tokens ({record.supervised_tokens:,} learnt), "
        f"blocks {record.fill_rate:.0%} full, loss {record.losses[0].loss:.3f} -> {record.final_loss:.3f}, "
        f"{timing.tokens_per_second:,.0f} tokens/s, {timing.peak_memory_bytes / 2**30:.1f} GiB"
    )
    for warning in record.warnings:
        console.print(f"warning: {warning}")


def _replay_texts(
    path: Path | None, share: float | None, base: str, conversations: list[Conversation], spec: TrainSpec, seed: int
) -> list[str]:
    """The replay texts of a file: all, or as many as make ``share`` of all tokens, drawn by the seed."""
    from epigone.curate import take_replay
    from epigone.train import count_conversation_tokens, count_text_tokens

    if path is None:
        if share is not None:
            raise InputError("--replay-share without --replay", fix="name a text file, one text a line")
        return []
    if path.suffix == ".jsonl":  # as `epigone curate` writes it
        texts = [line.text for line in read_jsonl(path, ReplayText)]
    else:
        texts = [text for text in _read(path).splitlines() if text.strip()]
    if share is None:
        return texts
    if not 0 <= share < 1:
        raise InputError(f"--replay-share is {share:g}", fix="give a share from 0 up to, but not, 1")
    wanted = round(sum(count_conversation_tokens(base, conversations, spec)) * share / (1 - share))
    return take_replay(texts, count_text_tokens(base, texts), wanted, seed=seed) if wanted else []


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot be read: {error}", where=str(path), fix="give a text file in UTF-8") from error


def _show_example(console: Console, tokens: list[tuple[str, bool]]) -> None:
    """The tokens in turn shaded by whether they are learnt; without colours, what is learnt stands in brackets."""
    text = Text()
    plain = not console.is_terminal
    inside = False
    for piece, learnt in tokens:
        if plain and learnt != inside:
            text.append("⟦" if learnt else "⟧")
        text.append(piece, style="bold green" if learnt else "dim")
        inside = learnt
    if plain and inside:
        text.append("⟧")
    console.print(text)
    count = sum(learnt for _, learnt in tokens)
    console.print(f"{count} of {len(tokens)} tokens are learnt ({'in brackets' if plain else 'bold green'})")


def _show_plan(console: Console, spec: TrainSpec, plan: TrainPlan) -> None:
    table = Table(show_header=False, box=None)
    table.add_row("base", f"{plan.model_type}, {plan.parameters:,} parameters")
    table.add_row("data", f"{plan.tokens:,} tokens, {spec.epochs:g} {'epoch' if spec.epochs == 1 else 'epochs'}")
    if plan.blocks is not None and plan.fill_rate is not None:
        table.add_row("blocks", f"{plan.blocks:,} of {spec.block_tokens:,} tokens, {plan.fill_rate:.0%} full")
    table.add_row("steps", f"{plan.steps:,} of {plan.tokens_per_step:,} tokens")
    table.add_row("warm-up", f"{plan.warmup_steps:,} steps ({plan.warmup_share:.0%})")
    table.add_row("optimizer", f"{spec.optimizer}, peak rate {spec.peak_lr:g}, {spec.schedule}")
    for devices, count in plan.memory_bytes.items():
        table.add_row("memory" if devices == 1 else "", f"{count / 2**30:.1f} GiB a device with {devices}")
    console.print(table)
    for warning in plan.warnings:
        console.print(f"warning: {warning}")
