"""Several processes with the same questions: each is asked once, and nobody waits for the dead."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from epigone.models import ApiModel, ApiSpec, RequestCache
from epigone.models.claims import Claims
from epigone.models.request_cache import CachedReply, request_digest
from epigone.records import Message, Reply, Request


@pytest.fixture(scope="module")
def running() -> Iterator[Any]:
    found = importlib.util.spec_from_file_location("endpoint_for_claims", Path(__file__).with_name("endpoint.py"))
    assert found is not None and found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    with module.Endpoint() as started:
        yield started


@pytest.fixture
def endpoint(running: Any) -> Any:
    running.reset()
    return running


def ask(prompt: str) -> Request:
    return Request(messages=(Message(role="user", content=prompt),), max_tokens=20)


def model(endpoint: Any, path: Path, **options: Any) -> ApiModel:
    """As another process would open it: on a connection of its own."""
    spec = ApiSpec(base_url=endpoint.base_url, model="m", **({"timeout_s": 60.0, "max_concurrency": 4} | options))
    return ApiModel(spec, cache=RequestCache(path))


def test_the_same_questions_at_the_same_time_are_paid_once(endpoint: Any, tmp_path: Path) -> None:
    endpoint.delay_s = 0.05
    requests = [ask(f"ok: {number}") for number in range(60)]
    askers = [model(endpoint, tmp_path / "requests.sqlite") for _ in range(3)]
    orders = [requests, requests[::-1], requests[30:] + requests[:30]]
    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(lambda asker, order: asker.generate(order), askers, orders))
    assert endpoint.asked.total() == len(endpoint.asked) == 60
    texts = [[reply.text for reply in replies] for replies in found]
    assert texts[0] == texts[1][::-1] == texts[2][30:] + texts[2][:30]
    assert texts[0] == [f"reply to ok: {number}" for number in range(60)]
    assert askers[0].budget.spending().held_tokens == 0


def test_what_one_gives_up_another_tries(endpoint: Any, tmp_path: Path) -> None:
    endpoint.delay_s = 0.3
    askers = [model(endpoint, tmp_path / "requests.sqlite", max_attempts=1) for _ in range(2)]
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda asker: asker.generate([ask("always-500: x"), ask("ok: y")]), askers))
    assert endpoint.asked == {"always-500: x": 2, "ok: y": 1}
    assert [[reply.status for reply in replies] for replies in found] == [["failed", "ok"]] * 2


ASKER = """
import sys
from pathlib import Path
from epigone.models import ApiModel, ApiSpec, RequestCache
from epigone.records import Message, Request
spec = ApiSpec(base_url=sys.argv[1], model="m", max_concurrency=4, timeout_s=60.0)
request = Request(messages=(Message(role="user", content="ok: long"),), max_tokens=20)
ApiModel(spec, cache=RequestCache(Path(sys.argv[2]))).generate([request])
"""


def test_nobody_waits_for_one_that_was_killed(endpoint: Any, tmp_path: Path) -> None:
    endpoint.delay_s = 60.0
    path = tmp_path / "requests.sqlite"
    with subprocess.Popen([sys.executable, "-c", ASKER, endpoint.base_url, str(path)]) as process:
        while not endpoint.asked:
            time.sleep(0.05)
        endpoint.delay_s = 0.0
        with ThreadPoolExecutor(1) as pool:
            second = pool.submit(model(endpoint, path).generate, [ask("ok: long")])
            time.sleep(1.0)
            assert not second.done(), "it waits for the first one's answer"
            os.kill(process.pid, signal.SIGKILL)  # and nobody looks after it: it stays a zombie until the block ends
            killed = time.monotonic()
            assert second.result(timeout=60)[0].text == "reply to ok: long"
        assert time.monotonic() - killed < 20, "it did not wait for the silence of a process that it knows to be dead"
    assert endpoint.asked == {"ok: long": 2}


def test_a_claim_ends_with_an_answer_or_a_release(tmp_path: Path) -> None:
    cache = RequestCache(tmp_path / "requests.sqlite")
    digests = [request_digest("m", ask(str(number))) for number in range(4)]
    first, second, third = Claims(cache), Claims(cache), Claims(cache)
    assert first.take(digests[:2]) == set(digests[:2])
    assert second.take(digests) == set(digests[2:])
    assert first.take(digests) == set(digests[:2]), "its own stay its own"
    first.drop(digests[1:2])
    assert third.take(digests) == {digests[1]}
    reply = Reply(status="ok", text="yes", digest=digests[0])
    cache.put([CachedReply(digest=digests[0], model="m", request=None, reply=reply)])
    second.release()
    assert third.take(digests) == set(digests[1:]), "what is answered is nobody's to ask"
    for one in (first, third):
        one.release()
    assert list(tmp_path.glob("*-asks-*")) == []
    assert Claims(cache).take(digests) == set(digests[1:])


def test_two_batches_of_the_same_questions_are_one(endpoint: Any, tmp_path: Path) -> None:
    requests = [ask(f"ok: {number}") for number in range(30)]
    path = tmp_path / "requests.sqlite"
    askers = [model(endpoint, path, batch_endpoint=True, batch_poll_s=0.1) for _ in range(2)]
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda asker, order: asker.generate(order), askers, [requests, requests[:20]]))
    assert endpoint.asked.total() == len(endpoint.asked) == 30
    assert [reply.text for reply in found[1]] == [reply.text for reply in found[0][:20]]
    spending = askers[0].budget.spending()
    assert (spending.unconfirmed_tokens, spending.held_tokens) == (0, 0)
    assert spending.spent_tokens == RequestCache(path).usage().tokens > 0


def test_waiting_for_another_is_not_taken_for_the_endpoints_silence(
    endpoint: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("epigone.models.asking._LIMITED_S", 0.5)
    cache = RequestCache(tmp_path / "requests.sqlite")
    asker = model(endpoint, cache.path)
    holder = Claims(cache)
    holder.take([request_digest("m", ask("429: once"))])
    with ThreadPoolExecutor(1) as pool:
        reply = pool.submit(asker.generate, [ask("429: once")])
        time.sleep(2.5)
        holder.release()
        assert reply.result(60)[0].status == "ok"


def test_what_goes_wrong_in_one_place_ends_the_asking_before_the_rest_is_paid(endpoint: Any, tmp_path: Path) -> None:
    endpoint.delay_s = 0.02
    asker = model(endpoint, tmp_path / "requests.sqlite")

    def stop(done: int, _: int | None) -> None:
        if done == 3:
            raise ValueError("enough")

    with pytest.raises(ValueError, match="enough"):
        asker.generate([ask(f"ok: {number}") for number in range(100)], stop)
    assert endpoint.asked.total() < 20
    assert asker.cache.usage().replies == endpoint.asked.total(), "what was in flight is kept"
