"""A teacher that misbehaves, a process that is killed, money that runs out, a key that must not leak: end to end."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from epigone.collect import AnswerSpec, QuestionAnswer, SynthesizeSpec, answer, synthesize
from epigone.errors import BudgetExceeded
from epigone.models import ApiModel, ApiSpec, Budget, RequestCache
from epigone.records import Conversation, Message

CONCURRENCY = 16
PLANTED = "sk-planted-5f3c9a1e77"
SEEDS = [QuestionAnswer(f"seed question {i}", f"seed answer {i}") for i in range(10)]


def prompts(count: int) -> list[Conversation]:
    return [Conversation(id=f"p{i}", messages=(Message("user", f"prompt {i}"),)) for i in range(count)]


def echo(body: dict[str, Any]) -> str:
    return f"reply to {body['messages'][-1]['content']}"


def ten_pairs(body: dict[str, Any]) -> str:
    return "\n".join(f"Q: question {body['seed']} {i}\nA: answer {i}" for i in range(10))


def write_prompts(path: Path, count: int) -> None:
    path.write_text("".join(json.dumps({"id": f"p{i}", "prompt": f"prompt {i}"}) + "\n" for i in range(count)))


def recipe(folder: Path, base_url: str, **more: Any) -> Path:
    api = {
        "base_url": base_url,
        "model": "m",
        "key_env": "PLANTED_KEY",
        "max_concurrency": CONCURRENCY,
        "timeout_s": 20,
    }
    content = {"source": "test", "teacher": {"api": api, "terms": "none"}} | more
    path = folder / "recipe.yaml"
    path.write_text(json.dumps(content))  # JSON is YAML
    return path


def start(recipe: Path, out: Path) -> subprocess.Popen[str]:
    """The command line in a process of its own; what it says goes to a file beside its folder."""
    command = [sys.executable, "-m", "epigone", "collect", str(recipe), "--out", str(out)]
    with out.with_suffix(".said").open("a") as said:
        return subprocess.Popen(
            command, env=os.environ | {"PLANTED_KEY": PLANTED}, stdout=said, stderr=subprocess.STDOUT, text=True
        )


def collect(recipe: Path, out: Path) -> tuple[int, str]:
    """(exit code, all that was said so far about this folder)."""
    code = start(recipe, out).wait(120)
    return code, out.with_suffix(".said").read_text()


@pytest.mark.slow
def test_five_thousand_requests_of_a_faulty_teacher_end_as_a_reply_or_a_named_failure(
    loopback: Any, tmp_path: Path
) -> None:
    with loopback(echo, faults=0.3) as teacher:
        spec = ApiSpec(base_url=teacher.base_url, model="m", max_concurrency=128, timeout_s=2)
        model = ApiModel(spec, cache=RequestCache(tmp_path / "requests.sqlite"))
        result = answer(AnswerSpec(requests_per_round=5000), prompts(5000), model, seed=0, source="s")
        drawn = Counter(teacher.fault_of.values())
        assert sum(drawn.values()) == pytest.approx(1500, abs=150)
        assert set(drawn) == {*teacher.PASSING, *teacher.STAYING}
        reasons = Counter(drop.reason for drop in result.drops)
        assert reasons == {
            "empty_reply": drawn["empty"],
            "length": drawn["length"],
            "content_filter": drawn["content_filter"],
        }
        assert len(result.conversations) + len(result.drops) == 5000
        assert result.stats["requests"] == 5000
        assert all(c.messages[1].content == f"reply to {c.messages[0].content}" for c in result.conversations)
        assert set(teacher.delivered.values()) == {1}, "an answer that was delivered was asked again"
        passing = sum(drawn[fault] for fault in teacher.PASSING)
        assert teacher.attempts.total() == 5000 + passing
        again = answer(AnswerSpec(), prompts(5000), model, seed=0, source="s")
        assert again.conversations == result.conversations
        assert teacher.attempts.total() == 5000 + passing


# Imports once, then forks a collecting process for each line it reads, says its id, and says how it ended.
NURSERY = """
import os, sys
from pathlib import Path
from epigone.collect import read_recipe, run_recipe, write_collected
from epigone.models import ApiModel, Budget, RequestCache
path, out = Path(sys.argv[1]), Path(sys.argv[2])
for _ in sys.stdin:
    child = os.fork()
    if child == 0:
        recipe, cache = read_recipe(path), RequestCache(out / "requests.sqlite")
        model = ApiModel(recipe.teacher.api, cache=cache, budget=Budget(ledger=out / "spending.sqlite"))
        write_collected(run_recipe(recipe, model, seed=0), out)
        os._exit(0)
    print(child, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


@pytest.mark.slow
def test_kill_9_at_twenty_random_moments_pays_nothing_twice(loopback: Any, tmp_path: Path) -> None:
    """Killed at 20 moments drawn over the collection; what may be asked again is only what was in flight then."""
    count, kills, moment = 2000, 20, random.Random(7)
    write_prompts(tmp_path / "prompts.jsonl", count)
    with loopback(echo, latency_s=0.02) as teacher:
        path = recipe(tmp_path, teacher.base_url, answer={"prompts": "prompts.jsonl"})
        command = [sys.executable, "-c", NURSERY, str(path), str(tmp_path / "out")]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        with subprocess.Popen(command, env=os.environ | {"PLANTED_KEY": PLANTED}, **pipes) as nursery:  # type: ignore[call-overload]
            stops: list[float] = []
            for goal in [*sorted(moment.sample(range(30, count - 100), kills)), None]:
                nursery.stdin.write("go\n")
                nursery.stdin.flush()
                child = int(nursery.stdout.readline())
                if goal is None:
                    assert int(nursery.stdout.readline()) == 0
                    break
                while len(teacher.delivered) < goal:
                    time.sleep(0.001)
                time.sleep(moment.random() * 0.05)
                os.kill(child, signal.SIGKILL)
                stops.append(time.monotonic())
                assert int(nursery.stdout.readline()) == -signal.SIGKILL
                time.sleep(0.1)  # what was on its way arrives, and is in flight by the server's own log
            nursery.stdin.close()
        assert len((tmp_path / "out" / "conversations.jsonl").read_text().splitlines()) == count
        assert len(teacher.attempts) == count
        again = _asked_again(teacher.events, stops)
        assert len(again) == kills
        assert max(len(keys) for keys in again) <= CONCURRENCY, "more was asked again than was in flight"
        assert sum(len(keys) for keys in again) == teacher.attempts.total() - count


def _asked_again(events: list[tuple[float, str, str]], stops: list[float]) -> list[set[str]]:
    """For each kill: what had arrived at the server before it and arrived once more later.

    A worker sends its next request only after the last answer is on the disk, so at any moment no more than
    ``max_concurrency`` requests have been sent and are not kept: this many may be asked again after a kill, and no
    request may be asked again after a kill that came later than its own.
    """
    runs = [
        [key for at, what, key in events if what == "arrived" and start < at <= end] for start, end in _spans(stops)
    ]
    later = [{key for run in runs[number + 1 :] for key in run} for number in range(len(stops))]
    return [set(run) & rest for run, rest in zip(runs, later, strict=False)]


def _spans(stops: list[float]) -> list[tuple[float, float]]:
    """From one kill to the next; what a killed process had on its way arrives up to 0.1 s later."""
    ends = [stop + 0.09 for stop in stops]
    return list(zip([0.0, *ends], [*ends, float("inf")], strict=True))


def test_the_budget_is_never_passed_and_the_rest_is_said(loopback: Any, tmp_path: Path) -> None:
    """Replies of 1 to 250 tokens against a limit of 8,000; the request that could pass it is never sent."""

    def uneven(body: dict[str, Any]) -> str:
        return "Q: q {}\nA: {}".format(body["seed"], "a" * (body["seed"] % 1000))

    with loopback(uneven) as teacher:
        spec = ApiSpec(base_url=teacher.base_url, model="m", max_concurrency=32)
        cache, ledger = RequestCache(tmp_path / "requests.sqlite"), tmp_path / "spending.sqlite"
        wanted = SynthesizeSpec(target=200, max_tokens=256, requests_per_round=20)
        with pytest.raises(BudgetExceeded, match=r"of 8,000 tokens.*pairs collected after \d+ requests"):
            synthesize(
                wanted,
                SEEDS,
                ApiModel(spec, cache=cache, budget=Budget(tokens=8_000, ledger=ledger)),
                seed=0,
                source="s",
            )
        assert 4_000 < teacher.tokens_billed <= 8_000
        first = teacher.tokens_billed
        with pytest.raises(BudgetExceeded):  # a second start does not forget what was spent
            synthesize(
                wanted,
                SEEDS,
                ApiModel(spec, cache=cache, budget=Budget(tokens=8_000, ledger=ledger)),
                seed=0,
                source="s",
            )
        assert teacher.tokens_billed == pytest.approx(first, abs=2000)
        assert teacher.tokens_billed <= 8_000
        billed = teacher.tokens_billed
        spent = ApiModel(spec, cache=cache, budget=Budget(tokens=8_000, ledger=ledger))
        less = synthesize(SynthesizeSpec(target=10, max_tokens=256), SEEDS, spent, seed=0, source="s")
        assert len(less.conversations) == 10 and teacher.tokens_billed == billed, "what was paid for can be had"
        more = ApiModel(spec, cache=cache, budget=Budget(tokens=200_000, ledger=ledger))
        result = synthesize(wanted, SEEDS, more, seed=0, source="s")
        assert len(result.conversations) >= 200
        assert set(teacher.delivered.values()) == {1}


def test_a_rerun_from_the_cache_gives_the_same_bytes_and_asks_nothing(loopback: Any, tmp_path: Path) -> None:
    (tmp_path / "seeds.jsonl").write_text(
        "".join(json.dumps({"question": s.question, "answer": s.answer}) + "\n" for s in SEEDS)
    )
    with loopback(ten_pairs) as teacher:
        path = recipe(tmp_path, teacher.base_url, synthesize={"seeds": "seeds.jsonl", "target": 300, "grown_shots": 2})
        out = tmp_path / "out"
        code, said = collect(path, out)
        assert code == 0, said
        assert "target reached: " in said
        kept = {name: (out / name).read_bytes() for name in ("conversations.jsonl", "drops.jsonl", "collected.json")}
        asked = teacher.attempts.total()
        assert collect(path, out)[0] == 0
        assert {name: (out / name).read_bytes() for name in kept} == kept
        assert teacher.attempts.total() == asked


def test_the_key_is_in_no_file_and_no_output(loopback: Any, tmp_path: Path) -> None:
    """A good run, a refused key that the server quotes back, an unreachable server: the key is nowhere."""
    write_prompts(tmp_path / "prompts.jsonl", 20)
    with loopback(echo) as teacher:
        path = recipe(tmp_path, teacher.base_url, answer={"prompts": "prompts.jsonl"}, budget={"tokens": 100000})
        code, said = collect(path, tmp_path / "good")
        assert code == 0, said
        assert teacher.keys == {f"Bearer {PLANTED}"}
        teacher.refuse_key = True
        code, refusal = collect(path, tmp_path / "refused")
        assert (code, "refuses the key (401)" in refusal) == (3, True)
    code, silence = collect(path, tmp_path / "unreachable")
    assert code == 3
    assert "Traceback" not in said + refusal + silence
    files = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert len(files) > 10
    assert [file for file in files if PLANTED.encode() in file.read_bytes()] == []


def test_a_collection_that_keeps_nothing_is_an_error_with_the_reason(loopback: Any, tmp_path: Path) -> None:
    write_prompts(tmp_path / "prompts.jsonl", 3)
    with loopback(lambda _: "  ") as teacher:
        path = recipe(tmp_path, teacher.base_url, answer={"prompts": "prompts.jsonl"})
        code, said = collect(path, tmp_path / "out")
    assert code == 2
    assert "no conversation was collected; the first reply was dropped as empty_reply" in said
    assert len((tmp_path / "out" / "drops.jsonl").read_text().splitlines()) == 3
