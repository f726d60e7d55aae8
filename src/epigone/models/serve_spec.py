"""Which server to start for a model on this machine."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from epigone.specs import Spec

__all__ = ["ServeSpec", "ServerSpec"]


class ServerSpec(Spec):
    """A server started as a child process. In YAML also short: ``serve: vllm`` for ``serve: {engine: vllm}``."""

    engine: str = "epigone"
    """``epigone`` (the local engine), ``vllm`` (``vllm serve``), or the command of any other OpenAI-compatible server,
    with ``{model}``, ``{name}`` and ``{port}`` where they belong."""

    dtype: Literal["auto", "float64", "float32", "bfloat16", "float16"] = "auto"
    """Number format. ``float64`` makes replies independent of what they are batched with (tiny models on a CPU;
    ``epigone`` only)."""

    batch_rows: Annotated[int, Field(ge=1)] = 64
    """Requests decoded side by side at most (``epigone`` only)."""

    arguments: tuple[str, ...] = ()
    """Further command-line arguments, such as ``[--max-model-len, "2048"]``."""

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, data: Any) -> Any:
        return {"engine": data} if isinstance(data, str) else data

    @model_validator(mode="after")
    def _is_an_engine(self) -> ServerSpec:
        if self.engine not in ("epigone", "vllm") and not ("{model}" in self.engine and "{port}" in self.engine):
            raise ValueError("'engine' must be epigone, vllm, or a command that contains {model} and {port}")
        return self

    @property
    def chat_scores(self) -> Literal["first_token", "prompt_logprobs"]:
        """How this server scores continuations of messages; see :class:`~epigone.models.ApiSpec`."""
        return "prompt_logprobs" if self.engine in ("epigone", "vllm") else "first_token"


class ServeSpec(ServerSpec):
    """A model that is served on this machine, over loopback, while it is needed."""

    hf: str
    """Folder or hub id."""
