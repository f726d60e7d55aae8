"""Which endpoint to ask, what it costs, and how hard it may be pressed."""

from __future__ import annotations

import re
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator

from epigone.specs import Spec

__all__ = ["ApiSpec", "Price"]

_VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]*")
_HOST = re.compile(r"[\w.:-]+")


class Price(Spec):
    """What a provider charges, in US dollars for a million tokens."""

    input_usd_per_million: Annotated[float, Field(ge=0)]
    """For tokens of the prompt."""

    output_usd_per_million: Annotated[float, Field(ge=0)]
    """For generated tokens."""

    batch_factor: Annotated[float, Field(gt=0, le=1)] = 0.5
    """The batch endpoint's price as a share of this one."""

    def usd(self, prompt_tokens: int, completion_tokens: int, *, batch: bool = False) -> float:
        """The price of one reply, in US dollars."""
        full = prompt_tokens * self.input_usd_per_million + completion_tokens * self.output_usd_per_million
        return full / 1e6 * (self.batch_factor if batch else 1.0)


class ApiSpec(Spec):
    """A model behind an OpenAI-compatible endpoint."""

    base_url: str
    """The endpoint's address up to and with its version: ``https://api.openai.com/v1``, ``http://127.0.0.1:8000/v1``."""

    model: str
    """The model's name at that endpoint; part of every cache key."""

    key_env: str | None = None
    """The *name* of the environment variable that holds the key, in capitals; a key itself is refused, because specs
    are stored and shown. ``None``: the endpoint asks for none."""

    price: Price | None = None
    """Needed for a budget in dollars. ``None``: money is not counted, tokens are."""

    requests_per_minute: Annotated[float, Field(gt=0)] | None = None
    """The provider's limit on requests. ``None``: no limit is stated; 429 replies are obeyed."""

    tokens_per_minute: Annotated[float, Field(gt=0)] | None = None
    """The provider's limit on tokens, prompt and reply together. ``None``: as above."""

    max_concurrency: Annotated[int, Field(ge=1)] = 64
    """Requests in flight at most; 429 replies lower the number in use, successes raise it again up to this."""

    timeout_s: Annotated[float, Field(gt=0)] = 300.0
    """Seconds until a request without an answer counts as lost and is asked again."""

    max_attempts: Annotated[int, Field(ge=1)] = 8
    """How often one request is tried before its reply is ``failed``. While all that is wrong is a rate limit (429), it
    is tried for ten minutes, however often."""

    batch_endpoint: bool = False
    """Ask through the provider's batch endpoint: cheaper, answered within a day."""

    batch_poll_s: Annotated[float, Field(gt=0)] = 30.0
    """Seconds between two looks at a running batch."""

    chat: bool = True
    """Whether the endpoint has ``/chat/completions``, where requests with messages go; plain prompts always go to
    ``/completions``. ``false``: a request with messages is refused without being sent."""

    chat_scores: Literal["first_token", "prompt_logprobs"] = "first_token"
    """How a continuation of messages (an option of a multiple-choice item) is scored. ``first_token``: looked up among
    the 20 alternatives to the reply's first token, so it has to be one token long: all that most providers offer.
    ``prompt_logprobs``: the whole continuation, as vLLM and ``epigone serve`` return it."""

    max_tokens_key: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    """What the endpoint calls the longest reply; some newer models take only ``max_completion_tokens``."""

    extra: dict[str, str | int | float | bool] = {}
    """Further keys sent with every request, for what an endpoint needs beyond the common ones; part of cache keys."""

    @field_validator("key_env")
    @classmethod
    def _is_a_name(cls, value: str | None) -> str | None:
        if value is not None and not _VARIABLE.fullmatch(value):
            raise ValueError("must be the name of an environment variable, in capitals, and not the key itself")
        return value

    @field_validator("base_url")
    @classmethod
    def _is_an_address(cls, value: str) -> str:
        parts = urlsplit(value)
        if parts.scheme not in ("http", "https"):
            raise ValueError("must begin with http:// or https://")
        if not parts.hostname or not _HOST.fullmatch(parts.hostname) or parts.port == 0:  # .port raises beyond 65535
            raise ValueError("names no host")
        if parts.username is not None or parts.query or parts.fragment:
            raise ValueError("must not carry a key or parameters: name the key's environment variable as key_env")
        return value.rstrip("/")
