"""Asking an endpoint: every request ends as a reply or a named failure, and nothing is paid twice."""

from __future__ import annotations

import importlib.util
import os
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from epigone.errors import BudgetExceeded, EndpointError, SpecError
from epigone.models import ApiModel, ApiSpec, Budget, Price, RequestCache
from epigone.models.request_cache import CachedReply
from epigone.records import Message, Reply, Request


def load_endpoint() -> ModuleType:
    spec = importlib.util.spec_from_file_location("endpoint", Path(__file__).parent / "endpoint.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def running() -> Iterator[Any]:
    with load_endpoint().Endpoint() as started:
        yield started


@pytest.fixture
def endpoint(running: Any) -> Any:
    running.reset()
    return running


@pytest.fixture
def cache(tmp_path: Path) -> RequestCache:
    return RequestCache(tmp_path / "requests.sqlite")


def ask(prompt: str, **options: Any) -> Request:
    return Request(messages=(Message(role="user", content=prompt),), max_tokens=20, **options)


def model(endpoint: Any, cache: RequestCache, *, budget: Budget | None = None, **options: Any) -> ApiModel:
    spec = ApiSpec(base_url=endpoint.base_url, model="m", **({"timeout_s": 60.0} | options))
    return ApiModel(spec, cache=cache, budget=budget)


@pytest.mark.parametrize("fault", ["429", "retry-after", "500", "drop", "stall", "truncated"])
def test_a_passing_fault_is_tried_again(endpoint: Any, cache: RequestCache, fault: str) -> None:
    start = time.monotonic()
    reply = model(endpoint, cache, timeout_s=1.0).generate([ask(f"{fault}: x")])[0]
    assert (reply.status, reply.text) == ("ok", f"reply to {fault}: x")
    assert endpoint.asked[f"{fault}: x"] == 2
    if fault == "retry-after":
        assert time.monotonic() - start >= 1.0


def test_a_rate_limit_outlasts_the_attempts_that_other_failures_have(endpoint: Any, cache: RequestCache) -> None:
    reply = model(endpoint, cache, max_attempts=2).generate([ask("busy: x")])[0]
    assert (reply.status, endpoint.asked["busy: x"]) == ("ok", 5)


def test_a_rate_limit_that_does_not_end_is_given_up(
    endpoint: Any, cache: RequestCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("epigone.models.asking._LIMITED_S", 1.0)  # ten minutes
    replies = model(endpoint, cache, max_attempts=2).generate([ask("always-429: x"), ask("a")])
    assert [reply.status for reply in replies] == ["failed", "ok"], "one request that is limited costs itself alone"
    assert "slow down" in (replies[0].error or "") and endpoint.asked["always-429: x"] >= 3
    monkeypatch.setattr("epigone.models.asking._LIMITED_S", 0.2)
    with pytest.raises(EndpointError, match="nothing but 429"):
        model(endpoint, cache, max_concurrency=1).generate([ask(f"always-429: {n}") for n in range(9)])
    assert endpoint.asked["always-429: 8"] == 0


@pytest.mark.parametrize(
    ("prompt", "status", "text", "says"),
    [
        ("length: x", "length", "reply to length: x", None),
        ("content_filter: x", "content_filter", "reply to content_filter: x", "filter"),
        ("refusal: x", "refused", None, "I cannot help with that."),
        ("400: x", "refused", None, "dislikes"),
        ("empty: x", "failed", None, "empty text"),
        ("always-500: x", "failed", None, "after 2 attempts"),
    ],
)
def test_what_is_no_answer_is_a_status(
    endpoint: Any, cache: RequestCache, prompt: str, status: str, text: str | None, says: str | None
) -> None:
    reply = model(endpoint, cache, max_attempts=2).generate([ask(prompt)])[0]
    assert (reply.status, reply.text) == (status, text)
    assert (says is None) == (reply.error is None)
    assert says is None or says in (reply.error or "")


def test_what_was_delivered_is_never_asked_again_and_what_failed_is(endpoint: Any, cache: RequestCache) -> None:
    prompts = ["a", "length: x", "content_filter: x", "refusal: x", "empty: x", "always-500: x"]
    asking = model(endpoint, cache, max_attempts=2)
    first = asking.generate([ask(prompt) for prompt in prompts])
    assert asking.generate([ask(prompt) for prompt in prompts]) == first
    assert [endpoint.asked[prompt] for prompt in prompts] == [1, 1, 1, 1, 1, 4]


def test_an_answer_in_parts_is_read_without_the_thought_before_it(endpoint: Any, cache: RequestCache) -> None:
    asking = model(endpoint, cache)
    reply = asking.generate([ask("parts: x")])[0]
    assert (reply.status, reply.text) == ("ok", "reply to parts: x!")
    assert asking.generate([ask("parts: x")]) == [reply] and endpoint.asked["parts: x"] == 1


def test_requests_that_are_the_same_are_asked_once_and_samples_are_not_the_same(
    endpoint: Any, cache: RequestCache
) -> None:
    requests = [ask("a", seed=5), ask("a", seed=5), ask("a", seed=5, sample=1), ask("a", seed=6), ask("a")]
    replies = model(endpoint, cache).generate(requests)
    assert endpoint.asked["a"] == 4
    assert replies[0] == replies[1]
    assert len({reply.digest for reply in replies}) == 4
    seeds = [body.get("seed") for body in endpoint.bodies]
    assert {5, 6, None} < set(seeds)
    assert len(set(seeds)) == 4


def test_replies_come_in_the_order_of_the_requests_with_progress(endpoint: Any, cache: RequestCache) -> None:
    seen: list[tuple[int, int | None]] = []
    asking = model(endpoint, cache)
    asking.generate([ask("7")])
    replies = asking.generate(
        [ask(str(number)) for number in range(50)], lambda done, total: seen.append((done, total))
    )
    assert [reply.text for reply in replies] == [f"reply to {number}" for number in range(50)]
    assert seen[0] == (1, 50)
    assert seen[-1] == (50, 50)


def test_an_endpoint_that_is_not_there_is_named(cache: RequestCache) -> None:
    spec = ApiSpec(base_url="http://127.0.0.1:9/v1", model="m")
    with pytest.raises(EndpointError, match=r"http://127\.0\.0\.1:9/v1: cannot be reached"):
        ApiModel(spec, cache=cache).generate([ask(str(number)) for number in range(100)])


def test_a_refused_key_ends_everything_and_is_never_shown(
    endpoint: Any, cache: RequestCache, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PLANTED_KEY", "sk-planted-123456")
    asking = model(endpoint, cache, key_env="PLANTED_KEY")
    asking.generate([ask("hello"), ask("400: x")])
    with pytest.raises(EndpointError) as caught:
        asking.generate([ask("401: x")])
    assert endpoint.keys == {"Bearer sk-planted-123456"}
    assert "refuses the key" in str(caught.value)
    assert "PLANTED_KEY" in str(caught.value)
    assert "sk-plan" not in str(caught.value)
    cache.close()
    written = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert written
    assert not [file for file in written if b"sk-planted" in file.read_bytes()]


def test_a_key_that_is_not_set_is_said_before_anything_is_sent(endpoint: Any, cache: RequestCache) -> None:
    with pytest.raises(EndpointError, match="NO_SUCH_KEY is not set"):
        model(endpoint, cache, key_env="NO_SUCH_KEY")


def test_the_budget_is_never_passed_with_uneven_replies(endpoint: Any, tmp_path: Path) -> None:
    cache, ledger = RequestCache(tmp_path / "requests.sqlite"), tmp_path / "spending.sqlite"
    endpoint.uneven = True
    for number in range(4):
        budget = Budget(tokens=2000, ledger=ledger)
        with pytest.raises(BudgetExceeded, match="raise the budget") as caught:
            model(endpoint, cache, budget=budget).generate([ask(f"{number} {item}") for item in range(300)])
        assert cache.usage().tokens == budget.spending().spent_tokens <= 2000
        assert cache.usage().replies == endpoint.delivered.total() == endpoint.asked.total()
        assert budget.spending().held_tokens == 0
    assert cache.usage().tokens > 2000 - 120
    assert "of 300 requests were answered now" in str(caught.value)


def test_a_budget_in_dollars_counts_the_price_table(endpoint: Any, cache: RequestCache) -> None:
    price = Price(input_usd_per_million=1000.0, output_usd_per_million=3000.0)
    budget = Budget(usd=1.0)
    asking = model(endpoint, cache, budget=budget, price=price)
    asking.generate([ask(str(number)) for number in range(10)])
    assert budget.spending().spent_usd == pytest.approx(10 * (5 * 0.001 + 7 * 0.003))
    assert cache.usage().usd == pytest.approx(0.26)
    with pytest.raises(BudgetExceeded, match=r"of \$1\.00"):
        asking.generate([ask(f"more {number}") for number in range(100)])
    assert budget.spending().spent_usd <= 1.0


def test_a_budget_in_dollars_refuses_an_endpoint_without_a_price(endpoint: Any, cache: RequestCache) -> None:
    """It would count as free, and the limit would never hold."""
    with pytest.raises(SpecError, match=r"m: a budget in dollars cannot hold an endpoint without a price"):
        model(endpoint, cache, budget=Budget(usd=1.0))
    nothing = Price(input_usd_per_million=0.0, output_usd_per_million=0.0)
    assert model(endpoint, cache, budget=Budget(usd=1.0), price=nothing).generate([ask("x")])[0].status == "ok"


def test_an_attempt_whose_end_is_unknown_stays_counted(endpoint: Any, cache: RequestCache) -> None:
    budget = Budget(tokens=10_000)
    model(endpoint, cache, budget=budget).generate([ask("truncated: x"), ask("500: x")])
    spending = budget.spending()
    assert spending.spent_tokens == 24
    assert 0 < spending.unconfirmed_tokens < 200


def test_without_a_limit_too_what_may_have_been_billed_is_said(endpoint: Any, cache: RequestCache) -> None:
    asking = model(endpoint, cache, budget=(budget := Budget()), max_attempts=2, timeout_s=1.0)
    asking.generate([ask("truncated: y")])
    most, settled = budget.spending().unconfirmed_tokens, budget.spending().spent_tokens
    assert most > 0
    assert budget.describe() == (
        f"{settled + most} tokens, without a limit, {most} of these tokens in attempts whose end is unknown"
    )


def test_requests_in_flight_stay_below_the_stated_limit(endpoint: Any, cache: RequestCache) -> None:
    endpoint.delay_s = 0.02
    model(endpoint, cache, max_concurrency=7).generate([ask(str(number)) for number in range(60)])
    assert endpoint.most_in_flight == 7


def test_a_stated_rate_is_kept(endpoint: Any, cache: RequestCache) -> None:
    start = time.monotonic()
    model(endpoint, cache, requests_per_minute=600.0).generate([ask(str(number)) for number in range(11)])
    assert time.monotonic() - start >= 1.0


def test_429_lowers_the_number_in_flight_and_success_raises_it() -> None:
    from epigone.models.pacing import Pace

    pace = Pace(64, None, None)
    pace.slow_down(None)
    pace.slow_down(None)  # within a second: the same overload
    assert pace.limit == 32
    for _ in range(2000):
        pace.succeeded()
    assert pace.limit == 64


def test_the_body_is_the_canonical_one(endpoint: Any, cache: RequestCache) -> None:
    asking = model(endpoint, cache, extra={"reasoning": "none"}, max_tokens_key="max_completion_tokens")
    asking.generate([ask("a", temperature=0.5, top_p=0.9, stop=("\n",), seed=3, top_logprobs=2)])
    asking.generate([Request(prompt="b", max_tokens=4, top_logprobs=1)])
    assert endpoint.bodies[0] == {
        "model": "m",
        "messages": [{"role": "user", "content": "a"}],
        "max_completion_tokens": 20,
        "temperature": 0.5,
        "top_p": 0.9,
        "stop": ["\n"],
        "seed": 3,
        "logprobs": True,
        "top_logprobs": 2,
        "reasoning": "none",
    }
    assert endpoint.bodies[1] == {
        "model": "m", "prompt": "b", "max_completion_tokens": 4, "temperature": 0.0, "logprobs": 1, "reasoning": "none",
    }  # fmt: skip


def test_without_chat_messages_are_refused_unsent(endpoint: Any, cache: RequestCache) -> None:
    reply = model(endpoint, cache, chat=False).generate([ask("a")])[0]
    assert (reply.status, endpoint.asked) == ("failed", {})


def test_it_works_where_an_event_loop_already_runs(endpoint: Any, cache: RequestCache) -> None:
    import asyncio

    async def inside() -> list[Reply]:
        return model(endpoint, cache).generate([ask("a")])

    assert asyncio.run(inside())[0].status == "ok"


def test_answers_are_forced_to_the_disk_before_a_call_returns_and_every_second_of_it(
    endpoint: Any, cache: RequestCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A power cut cannot be made here; what can be seen is that the log is forced after the last answer was written."""
    happened: list[str] = []
    put, fsync = RequestCache.put, os.fsync

    def noting_put(self: RequestCache, entries: list[CachedReply]) -> None:
        put(self, entries)
        happened.append("put")

    def noting_fsync(descriptor: int) -> None:
        fsync(descriptor)
        happened.append(f"forced {os.readlink(f'/proc/self/fd/{descriptor}')}")

    monkeypatch.setattr(RequestCache, "put", noting_put)
    monkeypatch.setattr(os, "fsync", noting_fsync)
    endpoint.delay_s = 0.4
    model(endpoint, cache, max_concurrency=1).generate([Request(prompt=str(number)) for number in range(4)])
    assert happened.count("put") == 4
    assert happened[-1] == f"forced {cache.path}-wal"
    assert f"forced {cache.path}-wal" in happened[:-1], "not before the call was over"
