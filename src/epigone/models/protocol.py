"""What every model can be asked, whether it runs here, on a server started here, or at a provider."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

from epigone.records import Reply, Request, ScoreReply, ScoreRequest

__all__ = ["Progress", "TextModel"]

Progress = Callable[[int, int | None], None]
"""Called with (done, total or ``None``) as work goes on."""


@runtime_checkable
class TextModel(Protocol):
    """A causal language model that writes text and says how likely a text is.

    A reply depends on its request alone, not on what it was asked together with. A request that cannot be answered
    gets a reply whose ``status`` says so; only what concerns every request (an unreachable endpoint, a budget used
    up) is raised.
    """

    @property
    def name(self) -> str:
        """Stable: the same name means the same weights. It is part of every cache key."""

    @property
    def parameters(self) -> int | None:
        """How many parameters the model has; ``None`` where nobody says."""

    def generate(self, requests: Sequence[Request], progress: Progress | None = None) -> list[Reply]:
        """Answer each request; replies come in the order of the requests.

        Raises:
            EndpointError: the endpoint cannot be reached, or refuses the key or the model.
            BudgetExceeded: the next request would pass the budget; what was answered is in the cache.
        """

    def score(self, requests: Sequence[ScoreRequest], progress: Progress | None = None) -> list[ScoreReply]:
        """How likely each continuation is, in the order of the requests; errors as for :meth:`generate`."""

    def count_tokens(self, text: str) -> int | None:
        """How many tokens the model sees in ``text``, without special tokens; ``None`` where nobody can say."""

    def close(self) -> None:
        """Free what the model holds; it is not asked again."""
