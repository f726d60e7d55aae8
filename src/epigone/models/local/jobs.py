"""One sequence to write: what is asked, and what has been written so far."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

__all__ = ["Job"]


@dataclass(eq=False)
class Job:
    """A sequence in the engine. The engine fills the second half; nothing else changes after the job is handed over."""

    prompt: list[int]
    """Token ids, at least one."""

    max_new: int
    """How many tokens may be written, at least one."""

    temperature: float = 0.0
    """0: the most likely token each time."""

    top_p: float = 1.0
    """Draw from the smallest set of tokens that holds this much probability."""

    stop: tuple[str, ...] = ()
    """The text ends before the first of these."""

    alternatives: int | None = None
    """How many log-probabilities to report at each position beside the chosen one's; ``None``: none at all."""

    seed: int = 0
    """Of this job's own random numbers."""

    on_token: Callable[[Job], None] | None = None
    """Called in the engine's thread after each token."""

    ids: list[int] = field(default_factory=list)
    """What was written, without the end token."""

    finish: Literal["stop", "length", "cancelled"] | None = None
    """``None`` while it is being written."""

    text: str | None = None
    """Set when a stop string was found: what lies before it."""

    ended_by: int | None = None
    """The end token, if one was written."""

    logprobs: list[float] = field(default_factory=list)
    """Log-probability of each written token (the end token too), in nats, at temperature 1."""

    top: list[list[tuple[int, float]]] = field(default_factory=list)
    """The most likely tokens at each position, best first."""

    cancelled: bool = False
    """Set by whoever waits for the job and does not want it any more."""

    uniforms: NDArray[np.float64] | None = None
    """The random numbers, one a token."""

    def __post_init__(self) -> None:
        if self.temperature > 0:
            self.uniforms = np.random.Generator(np.random.PCG64(self.seed)).random(self.max_new)

    @property
    def length(self) -> int:
        """Tokens so far, prompt and text."""
        return len(self.prompt) + len(self.ids)

    @property
    def written(self) -> int:
        """Tokens written so far, the end token too."""
        return len(self.ids) + (self.ended_by is not None)
