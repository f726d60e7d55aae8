"""What every test may ask for: the shared real data, when it is there, and an endpoint that answers by a script."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

# One thread a test process: two busy processes with two threads each run many times slower on two cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

SHARED_DATA = Path(os.environ.get("EPIGONE_SHARED_DATA", Path(__file__).parents[2] / "shared" / "data"))


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """No bytes in a test's name: compressed ones may differ between two processes that collect the same tests."""
    return argname if isinstance(val, bytes) else None


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data that lies beside the checkout; the project contains none of it."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"real data not found at {SHARED_DATA}: set EPIGONE_SHARED_DATA to run this test")
    return SHARED_DATA


Reply = Callable[[list[dict[str, str]]], str | int]
"""A request's messages → the reply's text, or an HTTP status to fail with."""


class ChatServer(ThreadingHTTPServer):
    """An OpenAI-compatible chat endpoint on a free port of loopback."""

    request_queue_size = 128  # the client connects for many requests at once
    daemon_threads = True

    def __init__(self, reply: Reply) -> None:
        self.reply = reply
        super().__init__(("127.0.0.1", 0), ChatHandler)


class ChatHandler(BaseHTTPRequestHandler):
    server: ChatServer

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        reply = self.server.reply(body["messages"])
        if isinstance(reply, int):
            status, content = reply, {"error": {"message": "scripted", "type": "error"}}
        else:
            message = {"role": "assistant", "content": reply}
            choice = {"index": 0, "finish_reason": "stop", "message": message}
            usage = {"prompt_tokens": 5, "completion_tokens": 5, "total_tokens": 10}
            status, content = 200, {"id": "x", "object": "chat.completion", "created": 0, "model": body["model"]}
            content |= {"choices": [choice], "usage": usage}
        data = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def serve_chat() -> Iterator[Callable[[Reply], str]]:
    """Starts an endpoint that answers by a script until the test ends; its base URL."""
    with ExitStack() as stack:

        def start(reply: Reply) -> str:
            server = stack.enter_context(ChatServer(reply))
            thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
            thread.start()
            stack.callback(thread.join, 10)
            stack.callback(server.shutdown)
            return f"http://127.0.0.1:{server.server_address[1]}/v1"

        yield start
