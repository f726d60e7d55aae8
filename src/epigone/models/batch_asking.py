"""Asking through a provider's batch endpoint: upload, wait, collect; a batch outlives the process that sent it.

https://platform.openai.com/docs/guides/batch
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress

import msgspec
import openai
from msgspec import Struct

from epigone.disk import digest_json
from epigone.errors import BudgetExceeded, DiskError, EndpointError
from epigone.models.api_spec import ApiSpec
from epigone.models.api_wire import UnreadableReply, Usage, read_reply, write_request
from epigone.models.asking import api_key, without_key
from epigone.models.budget import Budget, Reservation
from epigone.models.claims import Claims
from epigone.models.request_cache import CachedReply, OpenBatch, RequestCache
from epigone.models.worst_cost import worst_cost
from epigone.records import Reply, Request

__all__ = ["BatchAsking"]

_MOST_REQUESTS = 50_000
_MOST_BYTES = 100_000_000
_OVER = {"completed", "failed", "expired", "cancelled"}
_MARK = "epigone_requests"
_OTHERS_S = 2.0

_Part = list[tuple[str, bytes, Reservation]]
"""Requests of one file: digest, line, the most it can cost."""


class _Answer(Struct):
    status_code: int
    body: msgspec.Raw


class _Line(Struct):
    custom_id: str
    response: _Answer | None = None
    error: dict[str, str | None] | None = None


class BatchAsking:
    """Sends what is missing as batches, waits for them, and commits every answer before it counts.

    A batch is known to the cache as soon as the provider has accepted it, and carries the digest of its requests as
    metadata: after a kill the next call finds it, here or at the provider, and collects it instead of paying again.

    Args:
        missing: requests by digest; each is asked once.
        answered: called with each digest and its reply.
        under_way: called, at each look at a batch, with how many of its requests the provider has answered.
    """

    def __init__(
        self,
        spec: ApiSpec,
        name: str,
        cache: RequestCache,
        budget: Budget,
        missing: Mapping[str, Request],
        answered: Callable[[str, Reply], None],
        under_way: Callable[[int], None],
    ) -> None:
        self._spec, self._name, self._cache, self._budget = spec, name, cache, budget
        self._missing, self._answered, self._under_way = missing, answered, under_way
        self._client = openai.OpenAI(
            api_key=api_key(spec), base_url=spec.base_url, max_retries=spec.max_attempts, timeout=spec.timeout_s
        )

    def run(self) -> None:
        """Return once every request has its reply.

        Raises:
            EndpointError: the endpoint cannot be reached, has no batches, or refuses one.
            BudgetExceeded: the next request would pass the budget; batches already sent are collected first.
        """
        claims = Claims(self._cache)
        with self._client, self._endpoint_errors():
            try:
                left = list(self._missing)
                while left:
                    left = self._round(left, claims)
            finally:
                with suppress(DiskError):  # its claims have ended all the same
                    claims.release()

    def _round(self, left: list[str], claims: Claims) -> list[str]:
        """Send what nobody else has sent or is sending, wait for all that is under way; gives what is still left."""
        waiting = [batch for batch in self._open_batches() if set(left) & set(batch.digests)]
        on_their_way = {digest for batch in waiting for digest in batch.digests}
        wanted = [digest for digest in left if digest not in on_their_way]
        mine = claims.take(wanted)
        known = self._cache.get_many([digest for digest in wanted if digest not in mine], Reply)
        for digest, reply in known.items():
            self._answered(digest, reply)
        sent, unsent = self._send([digest for digest in wanted if digest in mine])
        claims.drop(mine)  # what was sent is known as a batch
        waiting += sent
        others = [digest for digest in wanted if digest not in mine and digest not in known]
        if unsent and not waiting and not others:
            raise BudgetExceeded(
                f"the next request could pass the budget ({self._budget.describe()}); "
                f"{len(unsent):,} of {len(self._missing):,} requests are left",
                where=self._name,
                fix="raise the budget and run the same command again: what was answered is not paid again",
            )
        if others and not waiting:
            time.sleep(min(self._spec.batch_poll_s, _OTHERS_S))
        for batch in waiting:
            self._collect(batch)
        return unsent + others

    def _open_batches(self) -> list[OpenBatch]:
        return self._cache.open_batches(self._spec.base_url, self._name)

    def _send(self, digests: list[str]) -> tuple[list[OpenBatch], list[str]]:
        """Send as many requests as the budget allows; gives the batches, and what does not fit yet."""
        by_path: dict[str, _Part] = {}
        left: list[str] = []
        for digest in digests:
            request = self._missing[digest]
            worst = worst_cost(self._spec, request, batch=True)
            if left or not self._budget.reserve(worst):
                left.append(digest)
                continue
            to, body = write_request(self._spec, request)
            line = {"custom_id": digest, "method": "POST", "url": f"/v1{to}", "body": body}
            by_path.setdefault(to, []).append((digest, msgspec.json.encode(line) + b"\n", worst))
        parts = [(path, part) for path, lines in by_path.items() for part in _parts(lines)]
        batches: list[OpenBatch] = []
        for number, (path, part) in enumerate(parts):
            try:
                batches.append(self._create(path, part))
            except openai.OpenAIError:
                for _, unsent in parts[number:]:
                    self._budget.settle(_sum(unsent), usd=0.0, tokens=0)
                raise
            self._budget.settle_unknown(_sum(part))
        return batches, left

    def _create(self, path: str, part: _Part) -> OpenBatch:
        """Hand one batch to the provider, or find it there if a killed process has handed it over already."""
        digests, worst = [digest for digest, _, _ in part], _sum(part)
        mark = digest_json(sorted(digests))
        batch_id = self._find(mark)
        if batch_id is None:
            file = self._client.files.create(
                file=("requests.jsonl", b"".join(line for _, line, _ in part)), purpose="batch"
            )
            once = self._client.with_options(max_retries=0)
            endpoint = f"/v1{path}"
            batch_id = once.batches.create(
                input_file_id=file.id,
                endpoint=endpoint,  # type: ignore[arg-type]
                completion_window="24h",
                metadata={_MARK: mark},
            ).id
        batch = OpenBatch(batch_id=batch_id, digests=tuple(digests), worst_usd=worst.usd, worst_tokens=worst.tokens)
        self._cache.note_batch(batch, self._spec.base_url, self._name)
        return batch

    def _find(self, mark: str) -> str | None:
        """The batch that carries ``mark``, among the provider's last hundred."""
        try:
            listed = self._client.batches.list(limit=100).data
        except openai.APIStatusError:
            return None  # some endpoints cannot list
        usable = (batch for batch in listed if batch.status not in _OVER or batch.status == "completed")
        return next((batch.id for batch in usable if (batch.metadata or {}).get(_MARK) == mark), None)

    def _collect(self, open_batch: OpenBatch) -> None:
        """Wait for a batch and commit what it brought."""
        batch = self._client.batches.retrieve(open_batch.batch_id)
        while batch.status not in _OVER:
            if batch.request_counts is not None:
                self._under_way(batch.request_counts.completed)
            time.sleep(self._spec.batch_poll_s)
            batch = self._client.batches.retrieve(open_batch.batch_id)
        replies: dict[str, Reply] = {}
        entries: list[CachedReply] = []
        cost = Reservation(0.0, 0)
        for file in (batch.output_file_id, batch.error_file_id):
            if file is None:
                continue
            for line in self._client.files.content(file).content.splitlines():
                if line.strip():
                    digest, reply, usage = _read_line(line)
                    replies[digest] = reply
                    if usage is not None:
                        entries.append(self._entry(digest, reply, usage))
                        cost = Reservation(cost.usd + entries[-1].usd, cost.tokens + _tokens(usage))
        self._cache.put(entries)
        self._cache.sync()
        if self._cache.close_batch(open_batch.batch_id):
            self._budget.confirm(Reservation(open_batch.worst_usd, open_batch.worst_tokens), cost)
        if batch.status == "failed" and not replies:
            errors = (batch.errors.data if batch.errors else None) or []
            problems = without_key(self._spec, "; ".join(str(error.message) for error in errors))
            fix = "read the reason, correct the spec, and run again"
            raise EndpointError(f"the batch {batch.id} was refused: {problems}", where=self._spec.base_url, fix=fix)
        for digest in open_batch.digests:
            if digest in self._missing:
                lost = f"batch {batch.id} ({batch.status}) has no answer to this request"
                self._answered(
                    digest, replies.get(digest) or Reply(status="failed", text=None, digest=digest, error=lost)
                )

    def _entry(self, digest: str, reply: Reply, usage: Usage) -> CachedReply:
        price = self._spec.price
        tokens = (usage.prompt_tokens or 0, usage.completion_tokens or 0)
        return CachedReply(
            digest=digest,
            model=self._name,
            request=self._missing.get(digest),
            reply=reply,
            usd=price.usd(*tokens, batch=True) if price else 0.0,
            prompt_tokens=usage.prompt_tokens,
            completion_tokens=usage.completion_tokens,
        )

    @contextmanager
    def _endpoint_errors(self) -> Iterator[None]:
        """Turn the client's errors into ours."""
        try:
            yield
        except openai.APIStatusError as error:
            fix = "check base_url, the key, and that this endpoint has /batches; or set batch_endpoint: false"
            words = without_key(self._spec, str(error.message))
            what = f"refuses the batch (status {error.status_code}): {words}"
            raise EndpointError(what, where=self._spec.base_url, fix=fix) from None
        except openai.APIConnectionError as error:
            cause = type(error.__cause__).__name__ if error.__cause__ is not None else "connection error"
            fix = "check the network and run again: batches already sent are collected then"
            raise EndpointError(f"cannot be reached ({cause})", where=self._spec.base_url, fix=fix) from None


def _sum(part: _Part) -> Reservation:
    return Reservation(sum(worst.usd for _, _, worst in part), sum(worst.tokens for _, _, worst in part))


def _parts(lines: _Part) -> Iterator[_Part]:
    """Cut into files within the provider's limits."""
    part: _Part = []
    size = 0
    for entry in lines:
        if part and (len(part) == _MOST_REQUESTS or size + len(entry[1]) > _MOST_BYTES):
            yield part
            part, size = [], 0
        part.append(entry)
        size += len(entry[1])
    if part:
        yield part


def _tokens(usage: Usage) -> int:
    return (usage.prompt_tokens or 0) + (usage.completion_tokens or 0)


def _read_line(line: bytes) -> tuple[str, Reply, Usage | None]:
    """(digest, reply, usage) of one output line; the usage is ``None`` where nothing was billed."""
    try:
        read = msgspec.json.decode(line, type=_Line)
    except msgspec.DecodeError as error:
        raise EndpointError(f"an output line of the batch is no JSON: {error}") from error
    digest = read.custom_id
    if read.response is not None and read.response.status_code == 200:
        try:
            reply, usage = read_reply(bytes(read.response.body), digest)
        except UnreadableReply as error:
            return digest, Reply(status="failed", text=None, digest=digest, error=str(error)), None
        return digest, reply, usage
    code = read.response.status_code if read.response is not None else 0
    words = bytes(read.response.body).decode("utf-8", "replace")[:300] if read.response is not None else str(read.error)
    status = "refused" if 400 <= code < 500 else "failed"
    return digest, Reply(status=status, text=None, digest=digest, error=f"status {code}: {words}"), None  # type: ignore[arg-type]
