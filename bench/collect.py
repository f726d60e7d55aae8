"""How fast we ask: a loopback teacher with 50 ms latency, asked by epigone, by a bare loop, and by a collector library.

    python bench/collect.py [--requests 2000] [--concurrency 16 64 256] [--peer-python /path/to/venv/bin/python]

Ours is the whole path: dialogue, request cache on disk, budget ledger, conversation. The bare loop is the official
async client behind a semaphore, which keeps nothing. The peer is bespokelabs-curator, which keeps replies as we do;
its requirements conflict with ours, so it lives in an environment of its own (``pip install bespokelabs-curator``
there, and name its python with ``--peer-python``). Where it is not given, that is said, and its ratio is missing.
Every contestant runs in a process of its own, against the same server process, in turn, with the same number of
requests in flight; none counts its start or its imports. Beside wall time stands the process's CPU time, which other
work on the machine hardly changes. The peer's rate limits are set far above what is reached; its progress display and
telemetry are off.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from peer_ratio import print_ratio

SERVER = r"""
import asyncio, json, sys
async def serve(reader, writer):
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length")]
            length = int(lengths[0].split(b":")[1]) if lengths else 0
            body = json.loads(await reader.readexactly(length)) if length else {}
            await asyncio.sleep(float(sys.argv[1]))
            text = "reply to " + body["messages"][-1]["content"] if body.get("messages") else ""
            reply = json.dumps({"id": "x", "object": "chat.completion", "created": 0, "model": body.get("model", "m"),
                "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}],
                "usage": {"prompt_tokens": 20, "completion_tokens": 10, "total_tokens": 30}}).encode()
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
                         b"x-ratelimit-limit-requests: 1000000\r\nx-ratelimit-limit-tokens: 1000000000\r\n"
                         b"content-length: %d\r\n\r\n" % len(reply) + reply)
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()
async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()
asyncio.run(main())
"""

BARE = r"""
import asyncio, sys, time, openai
url, count, concurrency = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
async def main():
    client, gate = openai.AsyncOpenAI(api_key="none", base_url=url, max_retries=0), asyncio.Semaphore(concurrency)
    async def ask(number):
        async with gate:
            reply = await client.chat.completions.create(
                model="m", messages=[{"role": "user", "content": f"prompt {number}"}], max_tokens=64, temperature=1.0)
            return reply.choices[0].message.content
    begun, cpu = time.perf_counter(), time.process_time()
    texts = await asyncio.gather(*(ask(number) for number in range(count)))
    print(time.perf_counter() - begun, time.process_time() - cpu)
    assert texts == [f"reply to prompt {number}" for number in range(count)]
asyncio.run(main())
"""

OURS = r"""
import sys, tempfile, time
from pathlib import Path
from epigone.collect import AnswerSpec, answer
from epigone.models import ApiModel, ApiSpec, RequestCache
from epigone.records import Conversation, Message
url, count, concurrency = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
with tempfile.TemporaryDirectory() as folder:
    spec = ApiSpec(base_url=url, model="m", max_concurrency=concurrency)
    model = ApiModel(spec, cache=RequestCache(Path(folder) / "r.sqlite"))
    prompts = [Conversation(id=str(n), messages=(Message("user", f"prompt {n}"),)) for n in range(count)]
    begun, cpu = time.perf_counter(), time.process_time()
    result = answer(AnswerSpec(max_tokens=64, requests_per_round=count), prompts, model, seed=0, source="s")
    print(time.perf_counter() - begun, time.process_time() - cpu)
    assert [c.messages[1].content for c in result.conversations] == [f"reply to prompt {n}" for n in range(count)]
"""

PEER = r"""
import os, sys, tempfile, time
from pathlib import Path
os.environ |= {"CURATOR_DISABLE_RICH_DISPLAY": "1", "TELEMETRY_ENABLED": "0", "CURATOR_CACHE_DIR": tempfile.mkdtemp(),
               "OPENAI_API_KEY": "none", "HF_HUB_OFFLINE": "1"}
import litellm  # it carries the tokenizer file that tiktoken would fetch from the network
carried = Path(litellm.__file__).parent.rglob("9b5ad71b2ce5302211f9c61530b329a4922fc6a4")  # tiktoken's name for cl100k
os.environ["TIKTOKEN_CACHE_DIR"] = str(next(carried).parent)
from bespokelabs import curator
url, count, concurrency = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
class Asker(curator.LLM):
    def prompt(self, input): return input["text"]
    def parse(self, input, response): return {"text": response}
asker = Asker(model_name="m", backend="openai", generation_params={"max_tokens": 64, "temperature": 1.0},
    backend_params={"base_url": url, "max_concurrent_requests": concurrency, "max_requests_per_minute": 1000000,
                    "max_tokens_per_minute": 1000000000, "require_all_responses": True})
begun, cpu = time.perf_counter(), time.process_time()
result = asker([{"text": f"prompt {n}"} for n in range(count)])
seconds = time.perf_counter() - begun, time.process_time() - cpu
rows = getattr(result, "dataset", result)
assert sorted(row["text"] for row in rows) == sorted(f"reply to prompt {n}" for n in range(count))
print(*seconds)
"""


def timed(python: str, script: str, url: str, requests: int, concurrency: int) -> tuple[float, float]:
    """(wall, CPU) seconds that the contestant says its requests took."""
    command = [python, "-c", script, url, str(requests), str(concurrency)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tempfile.gettempdir())
    if done.returncode:
        sys.exit(f"a contestant failed:\n{done.stderr[-2000:]}")
    wall, cpu = done.stdout.split()[-2:]
    return float(wall), float(cpu)


def measure(contestants: dict[str, tuple[str, str]], url: str, concurrency: int, options: argparse.Namespace) -> None:
    """Run everybody in turn and print medians and ratios."""
    runs: dict[str, list[tuple[float, float]]] = {name: [] for name in contestants}
    for _ in range(options.repeats):
        for name, (python, script) in contestants.items():
            runs[name].append(timed(python, script, url, options.requests, concurrency))
            time.sleep(0.5)
    median = {
        name: [statistics.median(column) for column in zip(*values, strict=True)] for name, values in runs.items()
    }
    floor = options.requests / concurrency * options.latency_s
    print(f"{options.requests} requests, {concurrency} in flight, {options.latency_s * 1000:.0f} ms latency")
    print(f"{'floor':12} {floor:6.2f} s")
    for name, (wall, cpu) in median.items():
        each = " ".join(f"{seconds:.2f}" for seconds, _ in runs[name])
        rate, cost = options.requests / wall, cpu / options.requests * 1e3
        print(f"{name:12} {wall:6.2f} s {rate:6.0f} requests/s {cost:5.2f} ms CPU a request  ({each})")
    ours = median["epigone"]
    ratios = {
        f"epigone vs {name}": {"wall": round(wall / ours[0], 2), "cpu": round(cpu / ours[1], 2)}
        for name, (wall, cpu) in median.items()
        if name != "epigone"
    }
    print(json.dumps(ratios))
    print_ratio([wall for wall, _ in runs["epigone"]], [wall for wall, _ in runs[list(contestants)[-1]]])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--concurrency", type=int, nargs="+", default=[64])
    parser.add_argument("--latency-s", type=float, default=0.05)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--peer-python", type=Path, help="python of an environment with bespokelabs-curator")
    options = parser.parse_args()
    contestants = {"epigone": (sys.executable, OURS), "bare client": (sys.executable, BARE)}
    if options.peer_python is None:
        print("SKIPPED: bespokelabs-curator (name its environment's python with --peer-python)", file=sys.stderr)
    else:
        contestants["curator"] = (str(options.peer_python), PEER)
    server = subprocess.Popen([sys.executable, "-c", SERVER, str(options.latency_s)], stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        url = f"http://127.0.0.1:{server.stdout.readline().strip()}/v1"
        for concurrency in options.concurrency:
            measure(contestants, url, concurrency, options)
    finally:
        server.terminate()


if __name__ == "__main__":
    main()
