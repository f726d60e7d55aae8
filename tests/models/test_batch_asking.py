"""The batch endpoint: sent once, collected once, also by another process than the one that sent it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from typer.testing import CliRunner

from epigone.cli import app
from epigone.errors import BudgetExceeded, EndpointError
from epigone.models import ApiModel, ApiSpec, Budget, Price, RequestCache
from epigone.records import Message, Request


def load_endpoint() -> ModuleType:
    import importlib.util

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


def ask(prompt: str) -> Request:
    return Request(messages=(Message(role="user", content=prompt),), max_tokens=20)


def model(endpoint: Any, cache: RequestCache, budget: Budget | None = None) -> ApiModel:
    price = Price(input_usd_per_million=1000.0, output_usd_per_million=1000.0)
    spec = ApiSpec(
        base_url=endpoint.base_url, model="m", batch_endpoint=True, batch_poll_s=0.02, price=price, max_attempts=1
    )
    return ApiModel(spec, cache=cache, budget=budget)


def test_replies_are_matched_by_digest_whatever_their_order(endpoint: Any, cache: RequestCache) -> None:
    replies = model(endpoint, cache).generate([ask(str(number)) for number in range(30)])
    assert [reply.text for reply in replies] == [f"reply to {number}" for number in range(30)]
    assert len(endpoint.batches) == 1


def test_it_costs_half_and_a_second_run_nothing(endpoint: Any, cache: RequestCache) -> None:
    budget = Budget(usd=10.0)
    asking = model(endpoint, cache, budget)
    first = asking.generate([ask(str(number)) for number in range(10)])
    assert cache.usage().usd == pytest.approx(10 * 12 * 0.001 / 2)
    assert budget.spending().spent_usd == pytest.approx(0.06)
    assert budget.spending().unconfirmed_usd == pytest.approx(0.0)
    assert asking.generate([ask(str(number)) for number in range(10)]) == first
    assert len(endpoint.batches) == 1


def test_a_refused_or_missing_line_is_a_named_failure_and_is_asked_again(endpoint: Any, cache: RequestCache) -> None:
    replies = model(endpoint, cache).generate([ask("a"), ask("400: x"), ask("missing: x")])
    assert [reply.status for reply in replies] == ["ok", "refused", "failed"]
    assert "has no answer" in (replies[2].error or "")
    model(endpoint, cache).generate([ask("a"), ask("missing: x")])
    assert (endpoint.asked["a"], endpoint.asked["missing: x"]) == (1, 2)


def test_a_batch_of_a_killed_process_is_collected_not_sent_again(
    endpoint: Any, cache: RequestCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    from epigone.models.batch_asking import BatchAsking

    class Killed(BaseException):
        pass

    def kill(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patched, pytest.raises(Killed):
        patched.setattr(BatchAsking, "_collect", kill)
        model(endpoint, cache).generate([ask("a"), ask("b")])
    replies = model(endpoint, cache).generate([ask("a"), ask("b"), ask("c")])
    assert [reply.text for reply in replies] == ["reply to a", "reply to b", "reply to c"]
    assert dict(endpoint.asked) == {"a": 1, "b": 1, "c": 1}

    with (
        monkeypatch.context() as patched,
        pytest.raises(Killed),
    ):  # between the provider's acceptance and our note of it
        patched.setattr(RequestCache, "note_batch", kill)
        model(endpoint, cache).generate([ask("d")])
    assert model(endpoint, cache).generate([ask("d")])[0].text == "reply to d"
    assert endpoint.asked["d"] == 1


def test_a_batch_stays_within_the_budget(endpoint: Any, cache: RequestCache) -> None:
    budget = Budget(tokens=1000)
    with pytest.raises(BudgetExceeded, match="are left"):
        model(endpoint, cache, budget).generate([ask(str(number)) for number in range(200)])
    assert 1000 - 110 < budget.spending().spent_tokens <= 1000
    assert cache.usage().tokens == budget.spending().spent_tokens


def test_an_endpoint_without_batches_says_so(cache: RequestCache) -> None:
    spec = ApiSpec(base_url="http://127.0.0.1:9/v1", model="m", batch_endpoint=True, max_attempts=1)
    with pytest.raises(EndpointError, match="cannot be reached"):
        ApiModel(spec, cache=cache).generate([ask("a")])


@pytest.mark.parametrize("when", ["refuses_batches", "fails_batches"])
def test_why_a_batch_was_refused_is_said_without_the_key_and_costs_nothing(
    endpoint: Any, cache: RequestCache, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    monkeypatch.setenv("PLANTED_KEY", "sk-planted-123456")
    spec = ApiSpec(base_url=endpoint.base_url, model="m", batch_endpoint=True, batch_poll_s=0.02, key_env="PLANTED_KEY")
    asking = ApiModel(spec, cache=cache, budget=(budget := Budget()))
    setattr(endpoint, when, "Enqueued token limit reached for key sk-planted-123456")
    with pytest.raises(EndpointError, match=r"Enqueued token limit reached for key \[key\]") as told:
        asking.generate([ask("a")])
    assert "sk-planted" not in str(told.value)
    assert (budget.spending().spent_tokens, budget.spending().unconfirmed_tokens) == (0, 0)
    setattr(endpoint, when, None)
    assert asking.generate([ask("a")])[0].text == "reply to a", "run again, it is sent again"


def test_while_a_batch_runs_progress_says_what_the_provider_has_answered(endpoint: Any, cache: RequestCache) -> None:
    endpoint.polls_until_done = 4
    seen: list[tuple[int, int | None]] = []
    model(endpoint, cache).generate(
        [ask(str(number)) for number in range(9)], lambda done, total: seen.append((done, total))
    )
    assert seen[:3] == [(1, 9), (2, 9), (3, 9)]
    assert seen[-1] == (9, 9)


def test_epigone_collect_asks_in_batches_says_the_price_before_and_pays_half(endpoint: Any, tmp_path: Path) -> None:
    """Five replies of 5 + 7 tokens at $1,000 a million are $0.06; as a batch $0.03."""
    (tmp_path / "prompts.txt").write_text("".join(f"prompt {number}\n" for number in range(5)))
    price = {"input_usd_per_million": 1000.0, "output_usd_per_million": 1000.0}
    api = {"base_url": endpoint.base_url, "model": "m", "batch_poll_s": 0.02, "price": price}
    recipe = {"teacher": {"api": api}, "budget": {"usd": 5}, "answer": {"prompts": "prompts.txt", "max_tokens": 50}}
    (tmp_path / "recipe.yaml").write_text(json.dumps(recipe))  # JSON is YAML
    command = ["collect", str(tmp_path / "recipe.yaml"), "--out", str(tmp_path / "out"), "--batch"]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    words = " ".join(result.output.split())
    assert words.index("Sent as batches: 50% of the price") < words.index("5 conversations")
    assert "budget: $0.0300 of $5.00" in words
    assert len(endpoint.batches) == 1
    assert endpoint.asked == endpoint.delivered == Counter({f"prompt {number}": 1 for number in range(5)})
    assert CliRunner().invoke(app, command[:-1]).exit_code == 0
    assert endpoint.asked.total() == 5, "what a batch answered is not asked again one by one"
