"""`epigone train BASE DATA --out FOLDER`: a student from imitation data; or only the plan, or one example's mask."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from epigone.disk import iter_jsonl, read_json, read_jsonl, read_yaml
from epigone.errors import InputError
from epigone.records import Conversation
from epigone.specs import parse_spec

if TYPE_CHECKING:
    from epigone.train import TrainPlan, TrainSpec

__all__ = ["train"]


def train(
    base: Annotated[str, typer.Argument(help="Folder or hub id of the base.")],
    data: Annotated[Path, typer.Argument(help="Conversations: a messages JSONL file.")],
    out: Annotated[Path | None, typer.Option(help="Folder of the student. Needed unless only a plan is shown.")] = None,
    settings: Annotated[Path | None, typer.Option(help="YAML with the keys of `train:` in a study file.")] = None,
    replay: Annotated[Path | None, typer.Option(help="Plain text to mix in: a text file, one text a line.")] = None,
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
        count_conversation_tokens,
        plan_training,
        show_tokens,
        train_student,
    )

    given = read_yaml(settings) if settings else {}
    spec = parse_spec(TrainSpec, given, where=str(settings or "epigone train"))
    spec = spec.model_copy(update={"threads": threads or spec.threads, "trackers": spec.trackers or ("tensorboard",)})
    console = Console(highlight=False)
    if show_example:
        first = next(iter_jsonl(data, Conversation), None)
        if first is None:
            raise InputError("holds no conversation", where=str(data), fix="look at what curation dropped, and why")
        _show_example(console, show_tokens(base, first, spec))
        return
    conversations = read_jsonl(data, Conversation)
    if plan:
        tokens = sum(count_conversation_tokens(base, conversations, spec))
        _show_plan(console, spec, plan_training(spec, base=base, tokens=tokens))
        return
    if out is None:
        raise InputError("--out is missing", fix="say where the student shall be written")
    texts = replay.read_text(encoding="utf-8").splitlines() if replay else []
    columns = (TextColumn("steps"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        bar = bars.add_task("train", total=None)
        record = train_student(
            spec,
            base=base,
            conversations=conversations,
            out=out,
            seed=seed,
            replay=[text for text in texts if text.strip()],
            work=out.with_name(f"{out.name}.work"),
            progress=lambda done, total: bars.update(bar, completed=done, total=total),
        )
    timing = read_json(out / "timing.json", Timing)
    console.print(
        f"{out}: {record.steps:,} steps, {record.tokens:,} tokens ({record.supervised_tokens:,} learnt), "
        f"loss {record.losses[0].loss:.3f} -> {record.final_loss:.3f}, "
        f"{timing.tokens_per_second:,.0f} tokens/s, {timing.peak_memory_bytes / 2**30:.1f} GiB"
    )
    for warning in record.warnings:
        console.print(f"warning: {warning}")


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
    table.add_row("data", f"{plan.tokens:,} tokens, {spec.epochs:g} epochs")
    table.add_row("steps", f"{plan.steps:,} of {plan.tokens_per_step:,} tokens")
    table.add_row("warm-up", f"{plan.warmup_steps:,} steps ({plan.warmup_share:.0%})")
    table.add_row("optimizer", f"{spec.optimizer}, peak rate {spec.peak_lr:g}, {spec.schedule}")
    for devices, count in plan.memory_bytes.items():
        table.add_row("memory" if devices == 1 else "", f"{count / 2**30:.1f} GiB a device with {devices}")
    console.print(table)
    for warning in plan.warnings:
        console.print(f"warning: {warning}")
