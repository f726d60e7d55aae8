"""The requests that the server understands; anything else is refused, never silently ignored."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from epigone.records import Message

__all__ = ["ChatBody", "CompletionBody"]

_WITHOUT_EFFECT = {
    # a parameter that this server does not have: the values that ask for nothing
    "frequency_penalty": (0, None),
    "presence_penalty": (0, None),
    "logit_bias": ({}, None),
    "best_of": (1, None),
    "suffix": ("", None),
    "response_format": ({"type": "text"}, None),
    "tools": ([], None),
    "tool_choice": ("none", None),
    "parallel_tool_calls": (False, True, None),
    "functions": ([], None),
    "service_tier": ("auto", "default", None),
    "store": (False, None),
}
_IGNORED = ("user", "metadata", "safety_identifier", "prompt_cache_key")


class _StreamOptions(BaseModel):
    include_usage: bool = False


class _Body(BaseModel):
    """What both kinds of request share."""

    model_config = ConfigDict(extra="forbid", strict=False)

    model: str
    temperature: Annotated[float, Field(ge=0, le=100)] = 1.0
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    n: Annotated[int, Field(ge=1, le=128)] = 1
    stop: str | list[str] | None = None
    seed: int | None = None
    stream: bool = False
    stream_options: _StreamOptions | None = None

    @model_validator(mode="before")
    @classmethod
    def _drop_what_asks_for_nothing(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        kept = {key: value for key, value in data.items() if key not in _IGNORED}
        for key, harmless in _WITHOUT_EFFECT.items():
            if key in kept and kept[key] in harmless:
                del kept[key]
        nulls = ("temperature", "top_p", "n", "stream", "echo", "max_tokens", "max_completion_tokens", "logprobs")
        nulls_of_chat = ("add_generation_prompt", "continue_final_message")
        return {key: value for key, value in kept.items() if value is not None or key not in nulls + nulls_of_chat}

    @property
    def stops(self) -> tuple[str, ...]:
        """The stop strings."""
        return (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ())


class _Part(BaseModel):
    type: Literal["text"]
    text: str


class _Turn(BaseModel):
    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[_Part]
    name: str | None = None

    def message(self) -> Message:
        text = self.content if isinstance(self.content, str) else "".join(part.text for part in self.content)
        return Message(role="system" if self.role == "developer" else self.role, content=text)


class ChatBody(_Body):
    """``POST /v1/chat/completions``."""

    messages: Annotated[list[_Turn], Field(min_length=1)]
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    logprobs: bool = False
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    add_generation_prompt: bool = True
    continue_final_message: bool = False
    prompt_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None

    @model_validator(mode="after")
    def _can_continue(self) -> ChatBody:
        if self.continue_final_message == self.add_generation_prompt:
            raise ValueError("exactly one of add_generation_prompt and continue_final_message must be true")
        if self.continue_final_message and (len(self.messages) < 2 or self.messages[-1].role != "assistant"):
            raise ValueError("to continue the final message, it must be the assistant's, behind another")
        return self

    @property
    def alternatives(self) -> int | None:
        """How many log-probabilities to report beside the chosen one's; ``None``: none."""
        return (self.top_logprobs or 0) if self.logprobs else None


class CompletionBody(_Body):
    """``POST /v1/completions``."""

    prompt: str | list[str] | list[int] | list[list[int]]
    max_tokens: Annotated[int, Field(ge=0)] = 16
    logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    echo: bool = False

    def prompts(self) -> list[str | list[int]]:
        """The prompts of the batch, each text or token ids."""
        if isinstance(self.prompt, str):
            return [self.prompt]
        ids = [token for token in self.prompt if isinstance(token, int)]
        return [ids] if ids else [part for part in self.prompt if not isinstance(part, int)]
