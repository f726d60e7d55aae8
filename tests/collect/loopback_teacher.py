"""A teacher on the loopback: real HTTP, a log of every delivery, and faults drawn from what it is asked; not a test."""

from __future__ import annotations

import asyncio
import hashlib
import json
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import uvicorn

Send = Callable[[dict[str, Any]], Any]


class LoopbackTeacher:
    """Serves ``/v1/chat/completions`` in a thread.

    ``faults`` is the share of requests that something happens to; what happens is drawn from the request's own bytes,
    and for those that pass it happens on the first attempt only, so that counts can be worked out.

    Attributes:
        attempts: arrivals by request key; ``delivered``: whole good answers sent by request key.
        fault_of: what was drawn for each request key that has a fault.
        events: (seconds, ``"arrived"`` or ``"delivered"``, request key), in order.
    """

    PASSING = ("429", "429-retry-after", "500", "dropped", "stalled", "truncated")
    STAYING = ("empty", "length", "content_filter")

    def __init__(self, write: Callable[[dict[str, Any]], str], *, faults: float = 0.0, latency_s: float = 0.0) -> None:
        self.write, self.faults, self.latency_s = write, faults, latency_s
        self.attempts: Counter[str] = Counter()
        self.delivered: Counter[str] = Counter()
        self.fault_of: dict[str, str] = {}
        self.events: list[tuple[float, str, str]] = []
        self.tokens_billed = 0
        self.keys: set[str] = set()
        self.refuse_key = False
        self._socket = socket.socket()
        self._socket.bind(("127.0.0.1", 0))
        self.base_url = f"http://127.0.0.1:{self._socket.getsockname()[1]}/v1"
        config = uvicorn.Config(
            self._app, log_level="critical", lifespan="off", interface="asgi3", timeout_graceful_shutdown=1
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [self._socket]}, daemon=True)

    def __enter__(self) -> LoopbackTeacher:
        self._thread.start()
        while not self._server.started:
            time.sleep(0.01)
        return self

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._thread.join(10)
        self._socket.close()

    async def _app(self, scope: dict[str, Any], receive: Callable[[], Any], send: Send) -> None:
        raw = b""
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":  # killed while it was still asking: nothing was asked
                return
            raw += message.get("body", b"")
            if not message.get("more_body"):
                break
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        self.keys.add(headers.get("authorization", ""))
        if self.refuse_key:
            await self._reply(send, 401, _error(f"Incorrect API key provided: {headers.get('authorization', '')}"))
            return
        key = hashlib.sha256(raw).hexdigest()
        self.attempts[key] += 1
        self.events.append((time.monotonic(), "arrived", key))
        await asyncio.sleep(self.latency_s)
        body = json.loads(raw)
        fault = self._draw(key)
        if fault in self.PASSING and self.attempts[key] == 1:
            await self._misbehave(fault, send)
            return
        await self._reply(send, 200, self._answer(body, fault))
        self.delivered[key] += 1
        self.events.append((time.monotonic(), "delivered", key))

    def _draw(self, key: str) -> str:
        share = int(key[:8], 16) / 16**8
        if share >= self.faults:
            return ""
        kinds = (*self.PASSING, *self.STAYING)
        self.fault_of[key] = kinds[int(key[8:16], 16) % len(kinds)]
        return self.fault_of[key]

    async def _misbehave(self, fault: str, send: Send) -> None:
        if fault == "429":
            await self._reply(send, 429, _error("slow down"))
        elif fault == "429-retry-after":
            await self._reply(send, 429, _error("slow down"), {"retry-after": "0.05"})
        elif fault == "500":
            await self._reply(send, 500, _error("broken"))
        elif fault == "stalled":
            await asyncio.sleep(20)
        elif fault == "truncated":
            await self._reply(send, 200, b'{"id": "x", "choices": [{"index": 0, "mess')
        else:  # the connection ends before the promised length
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"1000")]})
            await send({"type": "http.response.body", "body": b'{"choices": ['})

    def _answer(self, body: dict[str, Any], fault: str) -> bytes:
        text = "" if fault == "empty" else self.write(body)
        tokens = max(1, len(text) // 4)
        self.tokens_billed += 20 + tokens
        finish = fault if fault in ("length", "content_filter") else "stop"
        message = {"role": "assistant", "content": None if fault == "content_filter" else text}
        return json.dumps(
            {
                "id": "x", "object": "chat.completion", "created": 0, "model": body["model"],
                "choices": [{"index": 0, "finish_reason": finish, "message": message}],
                "usage": {"prompt_tokens": 20, "completion_tokens": tokens, "total_tokens": 20 + tokens},
            }
        ).encode()  # fmt: skip

    async def _reply(self, send: Send, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        fields = {"content-type": "application/json", "content-length": str(len(body))} | (headers or {})
        encoded = [(name.encode(), value.encode()) for name, value in fields.items()]
        await send({"type": "http.response.start", "status": status, "headers": encoded})
        await send({"type": "http.response.body", "body": body})


def _error(message: str) -> bytes:
    return json.dumps({"error": {"message": message, "type": "error", "param": None, "code": None}}).encode()
