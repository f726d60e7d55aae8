"""A reply sent piece by piece, as server-sent events."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec

from epigone.models.local.jobs import Job
from epigone.models.local.text import Text
from epigone.models.serving.answers import finish_reason, reply_text, usage
from epigone.models.serving.engine import Engine

__all__ = ["stream"]


async def stream(
    engine: Engine, job: Job, make_chunk: Callable[[str | None, str | None], dict[str, Any]], *, with_usage: bool
) -> AsyncIterator[bytes]:
    """Events of one job's reply.

    Args:
        make_chunk: from (new text, finish reason) to the chunk's JSON; (None, None) opens the stream.
        with_usage: whether a last chunk carries the token counts.
    """
    loop = asyncio.get_running_loop()
    grown: asyncio.Queue[str] = asyncio.Queue()

    def on_token(current: Job) -> None:
        text = _safe_part(engine.model.text, current)
        loop.call_soon_threadsafe(grown.put_nowait, text)

    job.on_token = on_token
    running = asyncio.ensure_future(engine.write(job))
    sent = ""
    try:
        yield _event(make_chunk(None, None))
        while not running.done() or not grown.empty():
            getting = asyncio.ensure_future(grown.get())
            await asyncio.wait({running, getting}, return_when=asyncio.FIRST_COMPLETED)
            if not getting.done():
                getting.cancel()
                continue
            text = getting.result()
            if len(text) > len(sent) and text.startswith(sent):
                yield _event(make_chunk(text[len(sent) :], None))
                sent = text
        await running
        rest = reply_text(engine.model.text, job)[len(sent) :]
        if rest:
            yield _event(make_chunk(rest, None))
        yield _event(make_chunk("", finish_reason(job)))
        if with_usage:
            yield _event(make_chunk(None, None) | {"choices": [], "usage": usage(len(job.prompt), job.written)})
        yield b"data: [DONE]\n\n"
    finally:
        running.cancel()


def _safe_part(text: Text, job: Job) -> str:
    """The text so far, less what may still change: half a character, the beginning of a stop string."""
    if job.text is not None:
        return job.text
    current = text.after(job.prompt, job.ids).rstrip("\ufffd")
    held = max(
        (size for word in job.stop for size in range(1, len(word)) if current.endswith(word[:size])),
        default=0,
    )
    return current[: len(current) - held]


def _event(chunk: dict[str, Any]) -> bytes:
    return b"data: " + msgspec.json.encode(chunk) + b"\n\n"
