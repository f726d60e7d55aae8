"""One round of asking an endpoint: many requests in flight, each tried until it has a reply or a named failure."""

from __future__ import annotations

import asyncio
import os
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress

import httpx2
import msgspec
import openai
from msgspec import Struct

from epigone.errors import BudgetExceeded, DiskError, EndpointError, EpigoneError
from epigone.models.aiohttp_client import AioHttpClient
from epigone.models.api_spec import ApiSpec
from epigone.models.api_wire import UnreadableReply, Usage, read_reply, read_score, write_request
from epigone.models.budget import Budget, Reservation
from epigone.models.claims import Claims
from epigone.models.committing import Committer
from epigone.models.pacing import Pace, backoff_s, retry_after_s
from epigone.models.request_cache import CachedReply, RequestCache
from epigone.models.worst_cost import worst_cost
from epigone.records import Reply, Request, ScoreReply, ScoreRequest

__all__ = ["Asking", "api_key", "open_client", "without_key"]

_NEVER_REACHED_S, _LOST_S = 5.0, 60.0
_LIMITED_S = 600.0
_SYNC_S = 1.0
_LOOK_S = (0.1, 2.0)
_TRY_AGAIN = {408, 409, 425, 429}
_CONCERNS_ALL = {
    401: "refuses the key",
    402: "asks for payment",
    403: "forbids access with this key",
    404: "does not know this address or model",
    405: "does not answer at this address",
}


class _Failure(Struct, frozen=True):
    """Why an attempt gave no reply, whether it may have been billed, and whether only a rate limit was in the way."""

    reason: str
    billed: bool
    pause_s: float | None = None
    limited: bool = False


def api_key(spec: ApiSpec) -> str:
    """The key out of the environment.

    Raises:
        EndpointError: the variable that the spec names is not set.
    """
    if spec.key_env is None:
        return "none"
    key = os.environ.get(spec.key_env)
    if not key:
        fix = f"export {spec.key_env}=… in the shell that starts epigone"
        raise EndpointError(f"the environment variable {spec.key_env} is not set", where=spec.base_url, fix=fix)
    return key


def without_key(spec: ApiSpec, words: str) -> str:
    """A provider's words, at most 300 characters, without the key that it may quote, whole or in a usual short form."""
    if spec.key_env is not None:
        key = api_key(spec)
        shown = words.replace(key, "[key]")
        words = " ".join("[key]" if "**" in word and key[:3] in word else word for word in shown.split(" "))
    return words[:300]


def open_client(spec: ApiSpec) -> openai.AsyncOpenAI:
    """The official client, without its own retries: ours also lower the pace and count the budget."""
    silence_s = spec.timeout_s + 5.0  # an attempt is given up before, with words of our own
    http_client = AioHttpClient(
        spec.base_url,
        connections=spec.max_concurrency,
        timeout_s=silence_s,
        connect_s=min(10.0, spec.timeout_s),
    )
    return openai.AsyncOpenAI(
        api_key=api_key(spec), base_url=spec.base_url, max_retries=0, timeout=silence_s, http_client=http_client
    )


class Asking:
    """Asks for what is missing from the cache; every answer is committed there before it counts.

    What another process is asking at this moment is left to it, and read from the cache once it is there; what it gives
    up, or was killed over, is asked after all.

    Args:
        missing: requests by digest, all of one kind; each is asked once.
        answered: called with each digest and its reply as it is known (failures too).
    """

    def __init__(
        self,
        spec: ApiSpec,
        name: str,
        cache: RequestCache,
        budget: Budget,
        missing: Mapping[str, Request | ScoreRequest],
        answered: Callable[[str, Reply | ScoreReply], None],
    ) -> None:
        self._spec, self._name, self._budget = spec, name, budget
        self._missing, self._answered = missing, answered
        self._unclaimed, self._claimed = deque(missing), deque[str]()
        self._elsewhere: list[str] = []
        self._kind: type[Reply | ScoreReply] = Reply
        if any(isinstance(request, ScoreRequest) for request in missing.values()):
            self._kind = ScoreReply
        self._claims = Claims(cache)
        self._pace = Pace(spec.max_concurrency, spec.requests_per_minute, spec.tokens_per_minute)
        self._cache, self._committer = cache, Committer(cache)
        self._over: EpigoneError | None = None
        self._ended = asyncio.Event()
        self._done = 0
        self._extra_prompt_tokens = 0
        self._heard_at = self._answered_at = time.monotonic()
        self._heard = False
        self._unheard_attempts = 0

    async def run(self) -> None:
        """Ask until every request has its reply.

        Raises:
            EndpointError: the endpoint cannot be reached, or refuses every request.
            BudgetExceeded: the next request would pass the budget.
            DiskError: an answer cannot be kept. In each case the attempts in flight are still awaited and kept.
        """
        forcing = asyncio.create_task(self._force_to_disk())
        try:
            async with open_client(self._spec) as client:
                while (self._unclaimed or self._claimed or self._elsewhere) and not self._ended.is_set():
                    workers = min(self._spec.max_concurrency, len(self._unclaimed) + len(self._claimed))
                    work = (self._work(client) for _ in range(workers))
                    for result in await asyncio.gather(*work, return_exceptions=True):
                        if isinstance(result, BaseException):
                            raise result
                    await self._wait_for_others()
        finally:
            forcing.cancel()
            with suppress(DiskError):  # its claims have ended all the same
                self._claims.release()
            self._cache.sync()
        if self._over is not None:
            raise self._over

    async def _force_to_disk(self) -> None:
        """Every second, so that a power cut costs a second's answers at most: those of a call that had not returned."""
        while self._over is None:
            await asyncio.sleep(_SYNC_S)
            try:
                await asyncio.to_thread(self._cache.sync)
            except DiskError as error:
                self._end(error)

    async def _work(self, client: openai.AsyncOpenAI) -> None:
        """Ask one after the other; what goes wrong here ends the others' work too, after what they have in flight."""
        try:
            while not self._ended.is_set():
                if self._claimed:
                    await self._ask_next(client, self._claimed.popleft())
                elif self._unclaimed:
                    count = min(len(self._unclaimed), self._spec.max_concurrency)
                    self._claim([self._unclaimed.popleft() for _ in range(count)])
                    await asyncio.sleep(0)
                else:
                    return
        except EpigoneError as error:
            self._end(error)
        except BaseException:
            self._ended.set()
            raise

    async def _ask_next(self, client: openai.AsyncOpenAI, digest: str) -> None:
        reply = await self._ask(client, digest, self._missing[digest])
        if reply is None:
            return
        if reply.status in ("failed", "refused"):
            self._claims.drop([digest])
        self._know(digest, reply)

    def _know(self, digest: str, reply: Reply | ScoreReply) -> None:
        self._done += 1
        self._answered(digest, reply)

    def _claim(self, digests: list[str]) -> None:
        """Take what is free for this round, and learn what others know; what they are asking is put aside."""
        mine = self._claims.take(digests)
        others = [digest for digest in digests if digest not in mine]
        self._claimed.extend(digest for digest in digests if digest in mine)
        known = self._cache.get_many(others, self._kind)
        for digest, reply in known.items():
            self._know(digest, reply)
        self._elsewhere.extend(digest for digest in others if digest not in known)

    async def _wait_for_others(self) -> None:
        """Until what others were asking is answered, or some of it is free to be asked here."""
        pause_s = _LOOK_S[0]
        waited = bool(self._elsewhere)
        while self._elsewhere and not self._claimed and not self._ended.is_set():
            left, self._elsewhere = self._elsewhere, []
            held = self._claims.held_elsewhere(left)
            free = [digest for digest in left if digest not in held]
            some, rest = free[: self._spec.max_concurrency], free[self._spec.max_concurrency :]
            self._elsewhere = [digest for digest in left if digest in held] + rest
            if some:
                self._claim(some)
            else:
                await self._pause(pause_s)
                pause_s = min(2 * pause_s, _LOOK_S[1])
        if waited:  # others' time was not the endpoint's silence
            self._heard_at = self._answered_at = time.monotonic()
            self._unheard_attempts = 0

    async def _ask(
        self, client: openai.AsyncOpenAI, digest: str, request: Request | ScoreRequest
    ) -> Reply | ScoreReply | None:
        """Try until there is a reply; ``None`` once everything is over.

        A rate limit is waited for up to ten minutes, however many attempts that takes: the provider refuses them for
        free, and a limit by the minute outlasts any number of short pauses.
        """
        if request.messages is not None and not self._spec.chat:
            return _failed(request, digest, "the spec says that this endpoint has no chat (chat: false)")
        started, attempt = time.monotonic(), 0
        while True:
            attempt += 1
            worst = await self._reserve(request)
            if worst is None:
                return None
            outcome = await self._attempt(client, digest, request, worst)
            if not isinstance(outcome, _Failure):
                return outcome
            if self._ended.is_set():
                return None
            waits = outcome.limited and time.monotonic() - started < _LIMITED_S
            if attempt >= self._spec.max_attempts and not waits:
                return _failed(request, digest, f"{outcome.reason} (after {attempt} attempts)")
            await self._pause(max(backoff_s(attempt, digest), outcome.pause_s or 0.0))

    async def _pause(self, seconds: float) -> None:
        """Sleep, but no longer than until everything is over."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._ended.wait(), seconds)

    def _end(self, error: EpigoneError) -> None:
        """Ask for nothing more; the first reason is the one that is raised."""
        self._over = self._over or error
        self._ended.set()

    async def _reserve(self, request: Request | ScoreRequest) -> Reservation | None:
        """Set the worst cost of an attempt aside, waiting for others to settle; ``None`` once everything is over."""
        worst = worst_cost(self._spec, request, extra_tokens=self._extra_prompt_tokens)
        while not self._budget.reserve(worst):
            if self._ended.is_set():
                return None
            if self._budget.is_stuck():
                self._end(self._budget_error())
                return None
            await asyncio.sleep(0.02)
        return worst

    def _budget_error(self) -> BudgetExceeded:
        left = len(self._missing) - self._done
        return BudgetExceeded(
            f"the next request could pass the budget ({self._budget.describe()}); {self._done:,} of "
            f"{len(self._missing):,} requests were answered now, {left:,} are left",
            where=self._name,
            fix="raise the budget and run the same command again: what was answered is not paid again",
        )

    async def _attempt(
        self, client: openai.AsyncOpenAI, digest: str, request: Request | ScoreRequest, worst: Reservation
    ) -> Reply | ScoreReply | _Failure:
        """One attempt; what it cost is settled and its reply committed."""
        try:
            await self._pace.enter(worst.tokens)
            try:
                outcome = await self._send(client, request)
            finally:
                self._pace.leave()
        except BaseException:  # stopped from outside: whether it was billed nobody can tell
            self._budget.settle_unknown(worst)
            raise
        if isinstance(outcome, bytes):
            try:
                reply, usage = (
                    read_reply(outcome, digest) if isinstance(request, Request) else read_score(outcome, request)
                )
            except UnreadableReply as error:
                outcome = _Failure(str(error), billed=True)
            else:
                self._pace.succeeded()
                self._answered_at = time.monotonic()
                await self._keep(digest, request, reply, usage, worst)
                return reply
        if isinstance(outcome, _Failure):
            if outcome.billed:
                self._budget.settle_unknown(worst)
            else:
                self._budget.settle(worst, usd=0.0, tokens=0)
            return outcome
        self._budget.settle(worst, usd=0.0, tokens=0)
        return _refused(request, digest, outcome)

    async def _keep(
        self, digest: str, request: Request | ScoreRequest, reply: Reply | ScoreReply, usage: Usage, worst: Reservation
    ) -> None:
        """Settle what a reply cost and commit it; without a usage in the reply the worst is assumed."""
        usd, tokens, price = worst.usd, worst.tokens, self._spec.price
        if usage.prompt_tokens is not None and usage.completion_tokens is not None:
            usd = price.usd(usage.prompt_tokens, usage.completion_tokens) if price else 0.0
            tokens = usage.prompt_tokens + usage.completion_tokens
            self._extra_prompt_tokens = max(self._extra_prompt_tokens, tokens - worst.tokens)
        self._budget.settle(worst, usd=usd, tokens=tokens)
        await self._committer.commit(
            CachedReply(
                digest=digest,
                model=self._name,
                request=request,
                reply=reply,
                usd=usd,
                prompt_tokens=usage.prompt_tokens,
                completion_tokens=usage.completion_tokens,
            )
        )

    async def _send(self, client: openai.AsyncOpenAI, request: Request | ScoreRequest) -> bytes | str | _Failure:
        """The reply's bytes, or the provider's refusal of this request in words, or why the attempt failed."""
        path, body = write_request(self._spec, request)
        try:
            async with asyncio.timeout(self._spec.timeout_s):
                response = await client.post(
                    self._spec.base_url + path, cast_to=httpx2.Response, content=msgspec.json.encode(body)
                )
        except openai.APIStatusError as error:
            self._hear()
            return self._status(error)
        except (TimeoutError, openai.APIConnectionError) as error:
            return self._lost(error)
        self._hear()
        return response.content

    def _lost(self, error: BaseException) -> _Failure:
        """What became of an attempt without an answer; only one that never connected was surely not billed."""
        if isinstance(error.__cause__, httpx2.ConnectError):
            return self._unheard(f"cannot be reached ({error.__cause__})", billed=False)
        if isinstance(error.__cause__, httpx2.ReadError):
            return self._unheard(f"the connection was lost ({error.__cause__})", billed=True)
        return self._unheard(f"no answer within {self._spec.timeout_s:g} s", billed=True)

    def _status(self, error: openai.APIStatusError) -> str | _Failure:
        """What an HTTP error status means: for all requests, for this one, or for now."""
        status, words = error.status_code, without_key(self._spec, str(error.message))
        quota_is_gone = status == 429 and error.code == "insufficient_quota"
        if status in _CONCERNS_ALL or quota_is_gone:
            what = "says that the quota is used up" if quota_is_gone else _CONCERNS_ALL[status]
            fix = f"check base_url, model ('{self._spec.model}') and the key in {self._spec.key_env or 'key_env'}"
            self._end(EndpointError(f"{what} ({status}): {words}", where=self._spec.base_url, fix=fix))
        elif status not in _TRY_AGAIN and status < 500:
            return f"refused ({status}): {words}"
        pause = retry_after_s(dict(error.response.headers))
        if status == 429:
            self._pace.slow_down(pause)
            silent_s = time.monotonic() - self._answered_at
            if silent_s > 2 * _LIMITED_S:
                what = f"has said nothing but 429 for {silent_s / 60:.0f} minutes: {words}"
                fix = "wait until the provider's limit is free again, then run again: answers so far are kept"
                self._end(EndpointError(what, where=self._spec.base_url, fix=fix))
        return _Failure(f"status {status}: {words}", billed=False, pause_s=pause, limited=status == 429)

    def _hear(self) -> None:
        self._heard, self._heard_at, self._unheard_attempts = True, time.monotonic(), 0

    def _unheard(self, reason: str, *, billed: bool) -> _Failure:
        """Note an attempt without any answer; if there has been none for long, give the endpoint up."""
        self._unheard_attempts += 1
        silent_s = time.monotonic() - self._heard_at
        patience_s = _LOST_S if self._heard else _NEVER_REACHED_S
        if self._unheard_attempts >= 3 and silent_s > patience_s + (self._spec.timeout_s if billed else 0.0):
            what = f"{reason}: {self._unheard_attempts} attempts in {silent_s:.0f} s"
            fix = "check base_url, that the server runs, and the network; then run again: answers so far are kept"
            self._end(EndpointError(what, where=self._spec.base_url, fix=fix))
        return _Failure(f"{self._spec.base_url} {reason}", billed=billed)


def _failed(request: Request | ScoreRequest, digest: str, problem: str) -> Reply | ScoreReply:
    if isinstance(request, ScoreRequest):
        return ScoreReply(status="failed", error=problem)
    return Reply(status="failed", text=None, digest=digest, error=problem)


def _refused(request: Request | ScoreRequest, digest: str, problem: str) -> Reply | ScoreReply:
    if isinstance(request, ScoreRequest):
        return ScoreReply(status="failed", error=problem)
    return Reply(status="refused", text=None, digest=digest, error=problem)
