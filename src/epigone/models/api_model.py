"""A model behind an OpenAI-compatible endpoint, with every answer kept."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from epigone.disk import digest_json
from epigone.errors import SpecError
from epigone.models.api_spec import ApiSpec
from epigone.models.api_wire import first_token_request, first_token_score
from epigone.models.asking import Asking, api_key
from epigone.models.batch_asking import BatchAsking
from epigone.models.budget import Budget
from epigone.models.protocol import Progress
from epigone.models.request_cache import RequestCache, request_digest
from epigone.records import Reply, Request, ScoreReply, ScoreRequest

__all__ = ["ApiModel"]

ReplyT = TypeVar("ReplyT", Reply, ScoreReply)


class ApiModel:
    """Asks an endpoint for what its cache does not hold; a :class:`~epigone.models.TextModel`.

    Synchronous outside; inside, one event loop a call.

    Args:
        spec: where and how to ask.
        cache: where answers are kept; several models and processes may share one.
        budget: what may be spent; ``None``: no limit, counted in ``spending.sqlite`` beside the cache.
        name: what the model is called in results; ``None``: ``spec.model``. The cache is keyed by ``spec.model``.

    Raises:
        EndpointError: the environment variable that holds the key is not set.
        SpecError: ``budget`` is in dollars and ``spec`` states no price.
    """

    parameters: int | None = None

    def __init__(
        self, spec: ApiSpec, *, cache: RequestCache, budget: Budget | None = None, name: str | None = None
    ) -> None:
        api_key(spec)
        self.spec, self.cache = spec, cache
        self.budget = budget if budget is not None else Budget(ledger=cache.path.with_name("spending.sqlite"))
        if self.budget.usd is not None and spec.price is None:
            fix = "state its 'price' (zeros, if it costs nothing), or limit tokens instead"
            raise SpecError("a budget in dollars cannot hold an endpoint without a price", where=spec.model, fix=fix)
        self.name = name or spec.model
        self._cache_name = spec.model if not spec.extra else f"{spec.model}+{digest_json(spec.extra)[:12]}"

    def generate(self, requests: Sequence[Request], progress: Progress | None = None) -> list[Reply]:
        """Answer each request, from the cache or the endpoint.

        Raises:
            EndpointError: the endpoint cannot be reached, or refuses the key or the model.
            BudgetExceeded: the next request would pass the budget; what was answered is in the cache.
            DiskError: an answer cannot be kept.
        """
        return self._ask(requests, Reply, progress)

    def score(self, requests: Sequence[ScoreRequest], progress: Progress | None = None) -> list[ScoreReply]:
        """How likely each continuation is; errors as for :meth:`generate`.

        With ``prompt`` the endpoint has to echo log-probabilities (``/completions``). With ``messages`` it is as
        ``spec.chat_scores`` says: ``first_token`` looks the continuation up among the alternatives to the reply's first
        token, so it has to be one token long; all continuations of the same messages are looked up in one reply.
        """
        looked_up = self.spec.chat_scores == "first_token"
        opened = [index for index, request in enumerate(requests) if looked_up and request.messages is not None]
        echoed = sorted(set(range(len(requests))) - set(opened))
        scores: dict[int, ScoreReply] = {}

        def both(done: int, _: int | None) -> None:
            if progress is not None:
                progress(len(scores) + done, len(requests))

        scores |= zip(echoed, self._ask([requests[index] for index in echoed], ScoreReply, both), strict=True)
        firsts = self._ask([first_token_request(requests[index]) for index in opened], Reply, both)
        for index, first in zip(opened, firsts, strict=True):
            scores[index] = first_token_score(first, requests[index].continuation)
        return [scores[index] for index in range(len(requests))]

    def _ask(
        self, requests: Sequence[Request | ScoreRequest], kind: type[ReplyT], progress: Progress | None
    ) -> list[ReplyT]:
        digests = [request_digest(self._cache_name, request) for request in requests]
        replies: dict[str, ReplyT] = self.cache.get_many(digests, kind)
        missing: dict[str, Request | ScoreRequest] = {
            digest: request for digest, request in zip(digests, requests, strict=True) if digest not in replies
        }
        waiting = sum(digest in missing for digest in digests)
        copies = dict.fromkeys(missing, 0)
        for digest in digests:
            if digest in copies:
                copies[digest] += 1

        def answered(digest: str, reply: Reply | ScoreReply) -> None:
            nonlocal waiting
            assert isinstance(reply, kind)
            replies[digest] = reply
            waiting -= copies[digest]
            under_way(0)

        def under_way(done: int) -> None:
            if progress is not None:
                progress(len(requests) - waiting + done, len(requests))

        if waiting < len(requests):
            under_way(0)
        if missing:
            shared = (self.spec, self._cache_name, self.cache, self.budget)
            plain = {digest: request for digest, request in missing.items() if isinstance(request, Request)}
            if self.spec.batch_endpoint and plain:
                BatchAsking(*shared, plain, answered, under_way).run()
            else:
                _run_to_end(Asking(*shared, missing, answered).run())
        return [replies[digest] for digest in digests]

    def count_tokens(self, text: str) -> int | None:  # noqa: ARG002 - the protocol's signature
        """Unknown: the tokenizer is at the provider."""
        return None

    def close(self) -> None:
        """Nothing is held between calls; the cache belongs to whoever opened it."""


def _run_to_end(work: Coroutine[None, None, None]) -> None:
    """Run a coroutine, also where an event loop already runs in this thread (a notebook)."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        asyncio.run(work)
        return
    with ThreadPoolExecutor(1) as pool:
        pool.submit(asyncio.run, work).result()
