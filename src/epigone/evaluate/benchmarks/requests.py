"""lm-eval's instances as requests to any of our models, and the replies as the answers that lm-eval scores.

A base model reads lm-eval's prompt as plain text. A fine-tuned model reads the same words as one user message, so that
its turn tokens surround them, and answers in its own turn; as in lm-eval, the blank between prompt and choice then
falls away, because the choice opens a turn.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from epigone.records import ItemStatus, Message, Reply, Request, ScoreReply, ScoreRequest

__all__ = ["StopRule", "answer_of", "cut_at_stop", "generation_request", "likelihood_of", "score_request", "stop_rule"]

DEFAULT_MAX_TOKENS = 256  # lm-eval's, where a task file says nothing


@dataclass(frozen=True)
class StopRule:
    """Where a generated answer ends: the same for teacher, base and student."""

    until: tuple[str, ...]
    max_tokens: int
    temperature: float
    top_p: float


def stop_rule(settings: Mapping[str, Any]) -> StopRule:
    """lm-eval's ``generation_kwargs``; greedy unless ``do_sample``."""
    until = settings.get("until") or ()
    samples = bool(settings.get("do_sample", float(settings.get("temperature") or 0.0) > 0.0))
    return StopRule(
        until=(until,) if isinstance(until, str) else tuple(text for text in until if text),
        max_tokens=int(settings.get("max_gen_toks") or settings.get("max_new_tokens") or DEFAULT_MAX_TOKENS),
        temperature=float(settings.get("temperature") or 1.0) if samples else 0.0,
        top_p=float(settings.get("top_p") or 1.0),
    )


def generation_request(context: str, rule: StopRule, *, chat: bool, seed: int, sample: int) -> Request:
    """One answer to one prompt."""
    return Request(
        messages=(Message("user", context),) if chat else None,
        prompt=None if chat else context,
        max_tokens=rule.max_tokens,
        temperature=rule.temperature,
        top_p=rule.top_p,
        stop=rule.until,
        seed=seed,
        sample=sample,
    )


def score_request(context: str, continuation: str, *, chat: bool) -> ScoreRequest:
    """How likely one choice is. White space at the prompt's end moves to the choice: tokens begin with their blank."""
    if chat:
        return ScoreRequest(continuation=continuation, messages=(Message("user", context),))
    prompt = context.rstrip()
    return ScoreRequest(continuation=context[len(prompt) :] + continuation, prompt=prompt)


def answer_of(reply: Reply, rule: StopRule) -> tuple[str | None, ItemStatus]:
    """The text that is scored, cut at the first stop string; ``None`` where there is none, and the status says why.

    An answer that reached ``max_tokens`` is scored as it stands: its status is ``ok``.
    """
    if reply.status in ("ok", "length") and reply.text is not None:
        return cut_at_stop(reply.text, rule.until), "ok"
    return None, "refused" if reply.status in ("refused", "content_filter") else "failed"


def likelihood_of(reply: ScoreReply) -> tuple[float, bool] | None:
    """lm-eval's answer to a likelihood request: (log-probability in nats, whether greedy decoding gives it)."""
    return None if reply.status != "ok" or reply.logprob is None else (reply.logprob, reply.greedy)


def cut_at_stop(text: str, until: tuple[str, ...]) -> str:
    """The text before the earliest stop string. Servers take few stop strings, so the cut is made here again."""
    ends = [position for stop in until if (position := text.find(stop)) >= 0]
    return text[: min(ends)] if ends else text
