"""A scripted judge behind a real HTTP endpoint on the loopback, asked through the real client."""

from __future__ import annotations

import importlib.util
import json
import re
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from epigone.models import ApiModel, ApiSpec, RequestCache

ANSWERS = re.compile(
    r"^\[Answer (?:of assistant )?(?P<which>[12]) (?P<mark>[0-9a-f]{12})\]\n(?P<text>.*?)\n"
    r"^\[End of answer (?:of assistant )?(?P=which) (?P=mark)\]$",
    re.MULTILINE | re.DOTALL,
)
Script = Callable[[str, str], str | int]
"""(first answer, second answer) → the reply's text, or an HTTP status to fail with."""


def answers_in(prompt: str) -> tuple[str, str]:
    """What a reader of the prompt finds between the marks."""
    found = {match["which"]: match["text"] for match in ANSWERS.finditer(prompt)}
    return found["1"], found["2"]


class Server(ThreadingHTTPServer):
    request_queue_size = 128  # the client connects for many requests at once
    daemon_threads = True


class ScriptedJudge:
    """An OpenAI-compatible endpoint whose replies come from ``script``; ``asked`` keeps every request's messages."""

    def __init__(self) -> None:
        self.script: Script = lambda first, second: "5 5"
        self.again: Script | None = None
        self.asked: list[list[dict[str, str]]] = []
        judge = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                messages = body["messages"]
                judge.asked.append(messages)
                reminded = len(messages) > 2
                script = judge.again if reminded and judge.again else judge.script
                reply = script(*answers_in(messages[1]["content"]))
                self.answer(reply)

            def answer(self, reply: str | int) -> None:
                if isinstance(reply, int):
                    status, content = reply, {"error": {"message": "scripted", "type": "error"}}
                else:
                    status, content = 200, completion(reply)
                data = json.dumps(content).encode()
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *args: object) -> None:
                pass

        self.server = Server(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self.thread.start()

    @property
    def spec(self) -> ApiSpec:
        port = self.server.server_address[1]
        return ApiSpec(base_url=f"http://127.0.0.1:{port}/v1", model="scripted", max_attempts=1, timeout_s=10)

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join(10)


def completion(text: str) -> dict[str, Any]:
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
    usage = {"prompt_tokens": 5, "completion_tokens": 5, "total_tokens": 10}
    return {"id": "x", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice], "usage": usage}


@pytest.fixture
def judge() -> Iterator[ScriptedJudge]:
    scripted = ScriptedJudge()
    yield scripted
    scripted.stop()


@pytest.fixture
def judge_model(judge: ScriptedJudge, tmp_path: Path) -> Iterator[ApiModel]:
    model = ApiModel(judge.spec, cache=RequestCache(tmp_path / "requests.sqlite"))
    yield model
    model.close()


@pytest.fixture(scope="session")
def postgres() -> Iterator[Any]:
    """Debian's own PostgreSQL, started for these tests and thrown away; skips loudly where it is not installed."""
    path = Path(__file__).parents[3] / "dev" / "throwaway_postgres.py"
    spec = importlib.util.spec_from_file_location("throwaway_postgres", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    with module.throwaway_postgres() as server:
        if server is None:
            pytest.skip("PostgreSQL is not installed (Debian: apt-get install postgresql)")
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def campaign_place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where a campaign can be made: a new SQLite file; an empty PostgreSQL database."""
    if request.param == "sqlite":
        return str(tmp_path / "campaign.sqlite")
    return str(request.getfixturevalue("postgres").fresh())
