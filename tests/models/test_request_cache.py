"""The request cache: whole, shared by processes, small in memory."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from epigone.errors import DiskError
from epigone.models import Budget, RequestCache, request_digest
from epigone.models.budget import Reservation
from epigone.models.request_cache import CachedReply
from epigone.records import Message, Reply, Request, ScoreReply, ScoreRequest


def entry(number: int) -> CachedReply:
    request = Request(messages=(Message(role="user", content=f"question {number}"),))
    digest = request_digest("m", request)
    reply = Reply(status="ok", text=f"answer {number} é 😀", digest=digest, top_logprobs=({"a": -0.5},))
    return CachedReply(
        digest=digest, model="m", request=request, reply=reply, usd=0.25, prompt_tokens=3, completion_tokens=2
    )


def test_what_was_put_is_there_after_opening_again(tmp_path: Path) -> None:
    cache = RequestCache(tmp_path / "deep" / "requests.sqlite")
    entries = [entry(number) for number in range(1200)]
    cache.put(entries)
    cache.close()
    again = RequestCache(tmp_path / "deep" / "requests.sqlite")
    assert again.get_many([one.digest for one in entries], Reply) == {one.digest: one.reply for one in entries}
    assert again.get("0" * 64) is None
    usage = again.usage("m")
    assert (usage.replies, usage.tokens, usage.usd) == (1200, 6000, 300.0)
    assert again.usage("other").replies == 0


def test_a_score_is_kept_as_a_score(tmp_path: Path) -> None:
    cache = RequestCache(tmp_path / "requests.sqlite")
    request, reply = ScoreRequest(prompt="a", continuation=" b"), ScoreReply(status="ok", logprob=-1.5, tokens=1)
    digest = request_digest("m", request)
    cache.put([CachedReply(digest=digest, model="m", request=request, reply=reply)])
    assert cache.get_many([digest], ScoreReply) == {digest: reply}


def test_every_field_of_a_request_makes_another_digest() -> None:
    plain = Request(prompt="a")
    changed = [
        Request(prompt="b"),
        Request(messages=(Message(role="user", content="a"),)),
        Request(prompt="a", max_tokens=255),
        Request(prompt="a", temperature=0.5),
        Request(prompt="a", top_p=0.9),
        Request(prompt="a", stop=("x",)),
        Request(prompt="a", seed=0),
        Request(prompt="a", sample=1),
        Request(prompt="a", top_logprobs=1),
    ]
    digests = {request_digest("m", request) for request in [plain, *changed]} | {request_digest("n", plain)}
    assert len(digests) == len(changed) + 2


def test_a_file_that_is_no_cache_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.sqlite").write_text("this is no database, but it is long enough to look at" * 50)
    with pytest.raises(DiskError, match="cannot be used as a request cache"):
        RequestCache(tmp_path / "x.sqlite")


WRITER = """
import sys
sys.path.insert(0, sys.argv[3])
from test_request_cache import entry
from epigone.models import RequestCache
cache = RequestCache(sys.argv[1])
start = int(sys.argv[2])
for number in range(start, start + 10_000):
    cache.put([entry(number)])
    print(number, flush=True)
"""


def test_processes_share_a_cache_and_a_killed_one_loses_nothing_it_was_told_of(tmp_path: Path) -> None:
    path = tmp_path / "requests.sqlite"
    arguments = [sys.executable, "-c", WRITER, str(path)]
    writers = [
        subprocess.Popen([*arguments, str(start), str(Path(__file__).parent)], stdout=subprocess.PIPE, text=True)
        for start in (0, 100_000)
    ]
    told: list[int] = []
    for writer in writers:
        assert writer.stdout is not None
        told += [int(writer.stdout.readline()) for _ in range(40)]
    for writer in writers:
        os.kill(writer.pid, signal.SIGKILL)
        assert writer.stdout is not None
        told += [int(line) for line in writer.stdout.read().splitlines()]
        writer.stdout.close()
        writer.wait()
    cache = RequestCache(path)
    found = cache.get_many([entry(number).digest for number in told], Reply)
    assert len(found) == len(told) >= 80


def test_budgets_on_one_ledger_spend_together_also_after_a_restart(tmp_path: Path) -> None:
    ledger = tmp_path / "spending.sqlite"
    first, second = Budget(tokens=100, ledger=ledger), Budget(tokens=100, ledger=ledger)
    assert first.reserve(Reservation(0.0, 60))
    assert not second.reserve(Reservation(0.0, 60))
    assert not second.is_stuck()
    first.settle(Reservation(0.0, 60), usd=0.0, tokens=10)
    assert second.reserve(Reservation(0.0, 60))
    second.settle_unknown(Reservation(0.0, 60))
    restarted = Budget(tokens=100, ledger=ledger)
    assert restarted.is_stuck()
    assert not restarted.reserve(Reservation(0.0, 31))
    assert restarted.reserve(Reservation(0.0, 30))


def test_what_a_killed_process_had_in_flight_stays_counted(tmp_path: Path) -> None:
    ledger = tmp_path / "spending.sqlite"
    script = (
        "import os, signal\nfrom epigone.models import Budget\nfrom epigone.models.budget import Reservation\n"
        f"Budget(tokens=100, ledger={str(ledger)!r}).reserve(Reservation(0.0, 70))\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    subprocess.run([sys.executable, "-c", script], check=False)
    budget = Budget(tokens=100, ledger=ledger)
    assert budget.is_stuck()
    assert not budget.reserve(Reservation(0.0, 31))
    assert "70 of 100 tokens" in budget.describe()


# The peak is read from /proc: ru_maxrss would also count the process that started this one.
REPLAY = """
import re, sys, time
from epigone.models import ApiModel, ApiSpec, RequestCache
from epigone.records import Message, Request
requests = [Request(messages=(Message(role="user", content=f"question {number}"),)) for number in range(100_000)]
model = ApiModel(ApiSpec(base_url="http://127.0.0.1:9/v1", model="m"), cache=RequestCache(sys.argv[1]))
start = time.perf_counter()
replies = model.generate(requests)
seconds = time.perf_counter() - start
assert [reply.text for reply in replies[::9999]] == [f"answer {number} é 😀" for number in range(0, 100_000, 9999)]
peak_kib = int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1])
print(seconds, peak_kib / 1024)
"""


@pytest.mark.slow
def test_a_hundred_thousand_cached_replies_replay_within_a_minute_and_400_mib(tmp_path: Path) -> None:
    path = tmp_path / "requests.sqlite"
    cache = RequestCache(path)
    for start in range(0, 100_000, 5000):
        cache.put([entry(number) for number in range(start, start + 5000)])
    cache.close()
    ran = subprocess.run([sys.executable, "-c", REPLAY, str(path)], capture_output=True, text=True, check=True)
    seconds, mib = map(float, ran.stdout.split())
    assert seconds < 60
    assert mib <= 400
