"""The most that one request can cost, before anything is known about its reply."""

from __future__ import annotations

from epigone.models.api_spec import ApiSpec
from epigone.models.budget import Reservation
from epigone.records import Request, ScoreRequest

__all__ = ["worst_cost"]

_MESSAGE_TOKENS = 16
_REQUEST_TOKENS = 64


def worst_cost(
    spec: ApiSpec, request: Request | ScoreRequest, *, extra_tokens: int = 0, batch: bool = False
) -> Reservation:
    """An upper bound: no tokenizer makes more tokens than there are bytes, and a reply ends at ``max_tokens``.

    16 tokens a message and 64 a request are added for what chat templates and providers put around the text.

    Args:
        extra_tokens: what this provider has been seen to add beyond that.
        batch: at the batch endpoint's price.
    """
    messages = request.messages or ()
    size = sum(len(message.content.encode()) for message in messages) + len((request.prompt or "").encode())
    prompt = size + _MESSAGE_TOKENS * len(messages) + _REQUEST_TOKENS + extra_tokens
    if isinstance(request, ScoreRequest):
        prompt, completion = prompt + len(request.continuation.encode()), 1
    else:
        completion = request.max_tokens
    usd = spec.price.usd(prompt, completion, batch=batch) if spec.price else 0.0
    return Reservation(usd=usd, tokens=prompt + completion)
