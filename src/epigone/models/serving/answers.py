"""What the server sends back, in the shapes of the OpenAI API."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from epigone.models.local.jobs import Job
from epigone.models.local.likelihood import TokenLikelihood
from epigone.models.local.text import Text

__all__ = ["chat_choice", "completion_choice", "error_body", "prompt_logprobs", "usage"]


def error_body(
    message: str, *, kind: str = "invalid_request_error", param: str | None = None, code: str | None = None
) -> dict[str, Any]:
    """An error as OpenAI writes it."""
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def usage(prompt_tokens: int, completion_tokens: int) -> dict[str, int]:
    """Tokens read and written."""
    total = prompt_tokens + completion_tokens
    return {"prompt_tokens": prompt_tokens, "completion_tokens": completion_tokens, "total_tokens": total}


def finish_reason(job: Job) -> str:
    """``stop`` or ``length``."""
    return "length" if job.finish == "length" else "stop"


def chat_choice(text: Text, job: Job, index: int) -> dict[str, Any]:
    """One choice of a chat completion."""
    logprobs = None
    if job.alternatives is not None:
        tokens = written_tokens(job)
        rows = zip(tokens, job.logprobs, job.top, strict=True)
        logprobs = {"content": [_position(text, *row) for row in rows], "refusal": None}
    message = {"role": "assistant", "content": reply_text(text, job), "refusal": None}
    return {"index": index, "message": message, "logprobs": logprobs, "finish_reason": finish_reason(job)}


def _position(text: Text, token: int, logprob: float, top: Sequence[tuple[int, float]]) -> dict[str, Any]:
    return _token(text, token, logprob) | {"top_logprobs": [_token(text, *other) for other in top]}


def _token(text: Text, token: int, logprob: float) -> dict[str, Any]:
    piece = text.piece(token)
    return {"token": piece, "logprob": logprob, "bytes": list(piece.encode())}


def prompt_logprobs(
    text: Text, prompt: Sequence[int], read: Sequence[TokenLikelihood]
) -> list[dict[str, dict[str, Any]] | None]:
    """A prompt's own log-probabilities in vLLM's form: at each position the token that was sent, then the likeliest.

    Positions before those that were read have none: the first, and where a message is continued all before it, so that
    the options of one question are read as cheaply as they can be. ``rank`` is known for the likeliest tokens only.
    """
    begin = len(prompt) - len(read)
    positions: list[dict[str, dict[str, Any]] | None] = [None] * begin
    for token, piece, likelihood in zip(prompt[begin:], text.pieces(prompt[begin:]), read, strict=True):
        best = 1 if likelihood.greedy else None
        position: dict[str, dict[str, Any]] = {}
        position[str(token)] = {"logprob": likelihood.logprob, "rank": best, "decoded_token": piece}
        for rank, (other, logprob) in enumerate(likelihood.top, start=1):
            known: dict[str, Any] = {"logprob": logprob, "rank": rank, "decoded_token": text.piece(other)}
            position.setdefault(str(other), known)["rank"] = rank
        positions.append(position)
    return positions


def completion_choice(
    text: Text, job: Job, index: int, *, echoed: Sequence[TokenLikelihood] | None, generated: bool
) -> dict[str, Any]:
    """One choice of a plain completion.

    Args:
        echoed: for ``echo`` with log-probabilities: those of the prompt's second to last token.
        generated: ``False`` when ``max_tokens`` was 0 and the job was never run.
    """
    written = reply_text(text, job) if generated else ""
    shown = written
    prompt_pieces = text.pieces(job.prompt)
    if echoed is not None:
        shown = "".join(prompt_pieces) + written
    logprobs = None
    if job.alternatives is not None:
        pieces = text.pieces(written_tokens(job)) if generated else []
        values: list[float | None] = list(job.logprobs)
        tops: list[dict[str, float] | None] = [text.by_text(top) for top in job.top]
        if echoed is not None:
            pieces = prompt_pieces + pieces
            values = [None, *(token.logprob for token in echoed), *values]
            tops = [None, *(text.by_text(token.top) for token in echoed), *tops]
        offsets, at = [], 0
        for piece in pieces:
            offsets.append(at)
            at += len(piece)
        logprobs = {"tokens": pieces, "token_logprobs": values, "top_logprobs": tops, "text_offset": offsets}
    return {"index": index, "text": shown, "logprobs": logprobs, "finish_reason": finish_reason(job)}


def written_tokens(job: Job) -> list[int]:
    """What was written, with the end token."""
    return job.ids if job.ended_by is None else [*job.ids, job.ended_by]


def reply_text(text: Text, job: Job) -> str:
    """The reply, cut at a stop string."""
    return job.text if job.text is not None else text.after(job.prompt, job.ids)
