"""What asking a teacher yields: conversations, the drops with their reasons, counts, and the yield curve."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec
from msgspec import Struct

from epigone.disk import atomic_write, write_json, write_jsonl
from epigone.errors import BudgetExceeded
from epigone.models import Progress, TextModel
from epigone.records import Conversation, Drop, Reply, Request

__all__ = ["Collected", "Usage", "ask", "unusable", "write_collected", "write_records"]


class Collected(Struct, frozen=True, kw_only=True):
    """The outcome of one collection.

    ``yield_curve`` holds (requests answered, conversations kept), both so far, after each round. ``stats`` counts
    requests, replies by status, drops by reason (``dropped.<reason>``) and tokens. ``stopped`` says in words why the
    collection ended.
    """

    conversations: tuple[Conversation, ...]
    drops: tuple[Drop, ...]
    stats: dict[str, float]
    yield_curve: tuple[tuple[int, int], ...] = ()
    stopped: str = ""


def write_collected(collected: Collected, folder: Path | str) -> None:
    """Write ``conversations.jsonl``, ``drops.jsonl`` and ``collected.json`` (counts, yield curve, why it stopped).

    Raises:
        DiskError: the folder cannot be written.
    """
    folder = Path(folder)
    write_jsonl(folder / "conversations.jsonl", collected.conversations)
    write_jsonl(folder / "drops.jsonl", collected.drops)
    summary = {"stats": collected.stats, "yield_curve": collected.yield_curve, "stopped": collected.stopped}
    write_json(folder / "collected.json", summary)


def write_records(records: Iterable[Conversation | Drop], folder: Path | str) -> dict[str, float]:
    """Write the same three files from a stream, without holding it; returns the counts.

    Raises:
        DiskError: the folder cannot be written; what was there before is then unchanged.
    """
    folder, encoder, counts = Path(folder), msgspec.json.Encoder(order="deterministic"), Counter[str]()
    with atomic_write(folder / "conversations.jsonl") as kept, atomic_write(folder / "drops.jsonl") as dropped:
        for record in records:
            if isinstance(record, Conversation):
                counts["conversations"] += 1
                kept.write(encoder.encode(record) + b"\n")
            else:
                counts[f"dropped.{record.reason}"] += 1
                dropped.write(encoder.encode(record) + b"\n")
    stats = {"conversations": float(counts.pop("conversations", 0))} | {
        name: float(counts[name]) for name in sorted(counts)
    }
    write_json(folder / "collected.json", {"stats": stats, "yield_curve": (), "stopped": "end of the dump"})
    return stats


class Usage:
    """Running counts of what was asked and what came back.

    Token counts cover the replies whose provider reported usage; ``replies_without_usage`` counts the others.
    """

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    @property
    def requests(self) -> int:
        """Distinct requests answered so far, also with a failure."""
        return self._counts["requests"]

    def add(self, reply: Reply) -> None:
        self._counts["requests"] += 1
        self._counts[f"replies.{reply.status}"] += 1
        self._counts["prompt_tokens"] += reply.prompt_tokens or 0
        self._counts["completion_tokens"] += reply.completion_tokens or 0
        self._counts["replies_without_usage"] += reply.completion_tokens is None

    def stats(self, drops: Iterable[Drop], *, conversations: int) -> dict[str, float]:
        """All counts as one flat mapping, in a stable order."""
        counts = self._counts + Counter(f"dropped.{drop.reason}" for drop in drops)
        return {"conversations": float(conversations)} | {name: float(counts[name]) for name in sorted(counts)}


def ask(
    model: TextModel, requests: Sequence[Request], usage: Usage, *, standing: str, progress: Progress | None = None
) -> list[Reply]:
    """``model.generate``, where equal requests are asked once and a budget that is used up says how far things came.

    Args:
        usage: counts each distinct request's reply.
        standing: a clause such as ``"120 of 6000 pairs collected"``.

    Raises:
        BudgetExceeded: with ``standing`` added; every answer that was paid for stays in the request cache.
    """
    distinct = list(dict.fromkeys(requests))
    try:
        replies = model.generate(distinct, progress)
    except BudgetExceeded as error:
        fix = "raise the budget, or ask for less (target, prompts), and run again: what is in the cache costs nothing"
        raise BudgetExceeded(f"{error.what}; {standing}", where=error.where, fix=fix) from error
    for reply in replies:
        usage.add(reply)
    by_request = dict(zip(distinct, replies, strict=True))
    return [by_request[request] for request in requests]


def unusable(reply: Reply, *, keep_cut: bool = True) -> tuple[str, str] | None:
    """(reason, detail) why ``reply`` holds no text to learn from; ``None`` if it does.

    A reply cut at ``max_tokens`` counts as usable if ``keep_cut``. A reply of white space only is ``empty_reply``.
    """
    if reply.status == "length" and not keep_cut:
        return "length", f"cut off after {reply.completion_tokens or '?'} tokens"
    if reply.status not in ("ok", "length"):
        return reply.status, reply.error or reply.finish_reason or ""
    if reply.text is None or not reply.text.strip():
        return "empty_reply", ""
    return None
