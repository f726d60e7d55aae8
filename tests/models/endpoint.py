"""A real HTTP endpoint on the loopback that misbehaves as its prompts ask it to; not a test itself."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse


class Endpoint:
    """Serves ``/v1`` in a thread. A prompt of the form ``word: anything`` selects what goes wrong.

    Attributes:
        asked: how often each prompt arrived; ``delivered``: how often a whole answer was sent.
        bodies: the JSON of every request.
    """

    def __init__(self) -> None:
        self.reset()
        self._socket = socket.socket()
        self._socket.bind(("127.0.0.1", 0))
        self.base_url = f"http://127.0.0.1:{self._socket.getsockname()[1]}/v1"
        config = uvicorn.Config(self._app(), log_level="critical", timeout_graceful_shutdown=1)
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [self._socket]}, daemon=True)

    def reset(self) -> None:
        """Forget everything."""
        self.asked: Counter[str] = Counter()
        self.delivered: Counter[str] = Counter()
        self.bodies: list[dict[str, Any]] = []
        self.keys: set[str] = set()
        self.in_flight = self.most_in_flight = 0
        self.delay_s = 0.0
        self.reply_tokens = 7
        self.uneven = False
        self.files: dict[str, bytes] = {}
        self.batches: dict[str, dict[str, Any]] = {}
        self.polls_until_done = 2
        self.refuses_batches: str | None = None
        self.fails_batches: str | None = None

    def __enter__(self) -> Endpoint:
        self._thread.start()
        while not self._server.started:
            time.sleep(0.01)
        return self

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._thread.join(10)
        self._socket.close()

    def _app(self) -> FastAPI:
        app = FastAPI()

        @app.post("/v1/chat/completions")
        async def chat(request: Request) -> Response:
            body = await request.json()
            return await self._answer(request, body, body["messages"][-1]["content"])

        @app.post("/v1/completions")
        async def completions(request: Request) -> Response:
            body = await request.json()
            return await self._answer(request, body, body["prompt"])

        self._add_batches(app)
        return app

    async def _answer(self, request: Request, body: dict[str, Any], prompt: str) -> Response:
        self.asked[prompt] += 1
        self.bodies.append(body)
        self.keys.add(request.headers.get("authorization", ""))
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            await asyncio.sleep(self.delay_s)
            return await self._behave(prompt, "messages" in body)
        finally:
            self.in_flight -= 1

    async def _behave(self, prompt: str, chat: bool) -> Response:
        word, first = prompt.split(":")[0], self.asked[prompt] == 1
        if word == "429" and first:
            return error("slow down", 429)
        if (word == "busy" and self.asked[prompt] <= 4) or word == "always-429":
            return error("slow down", 429)
        if word == "retry-after" and first:
            return error("slow down", 429, {"Retry-After": "1"})
        if word == "500" and first:
            return error("broken", 500)
        if word == "always-500":
            return error("broken", 500)
        if word == "400":
            return error("this model dislikes your prompt", 400)
        if word == "401":
            return error("Incorrect API key provided: sk-plan**********3456, or sk-planted-123456", 401)
        if word == "stall" and first:
            await asyncio.sleep(30)
        if word == "drop" and first:
            return StreamingResponse(half(), headers={"content-length": "1000"}, media_type="application/json")
        whole = completion(
            f"reply to {prompt}", 1 + self.asked.total() * 7 % 20 if self.uneven else self.reply_tokens, chat
        )
        if word == "truncated" and first:
            return Response(json.dumps(whole)[:40], media_type="application/json")
        choice = whole["choices"][0]
        if word == "empty":
            choice |= {"message": {"role": "assistant", "content": ""}, "text": ""}
        if word in ("length", "content_filter"):
            choice["finish_reason"] = word
        if word == "parts":
            thought = {"type": "thinking", "thinking": [{"type": "text", "text": "let me see"}]}
            spoken = [{"type": "text", "text": part} for part in (choice["message"]["content"], "!")]
            choice["message"]["content"] = [thought, *spoken]
        if word == "refusal":
            choice["message"] |= {"content": None, "refusal": "I cannot help with that."}
        self.delivered[prompt] += 1
        return JSONResponse(whole)

    def _add_batches(self, app: FastAPI) -> None:
        @app.post("/v1/files")
        async def upload(request: Request) -> Response:
            boundary = request.headers["content-type"].partition("boundary=")[2].encode()
            parts = (await request.body()).split(b"--" + boundary)
            name = f"file-{len(self.files)}"
            self.files[name] = next(part.partition(b"\r\n\r\n")[2].strip() for part in parts if b'name="file"' in part)
            return JSONResponse(
                {"id": name, "object": "file", "bytes": 1, "created_at": 0, "filename": "x", "purpose": "batch"}
            )

        @app.post("/v1/batches")
        async def create(request: Request) -> Response:
            if self.refuses_batches is not None:
                return error(self.refuses_batches, 400)
            body = await request.json()
            name = f"batch-{len(self.batches)}"
            kept = {"input": body["input_file_id"], "polls": 0, "metadata": body.get("metadata")}
            self.batches[name] = kept | {"fails": self.fails_batches}
            return JSONResponse(self._batch(name))

        @app.get("/v1/batches")
        async def listed() -> Response:
            found = [self._batch(name) for name in self.batches]
            return JSONResponse({"object": "list", "data": found, "has_more": False})

        @app.get("/v1/batches/{name}")
        async def poll(name: str) -> Response:
            self.batches[name]["polls"] += 1
            return JSONResponse(self._batch(name))

        @app.get("/v1/files/{name}/content")
        async def content(name: str) -> Response:
            return Response(self.files[name], media_type="application/jsonl")

    def _batch(self, name: str) -> dict[str, Any]:
        batch = self.batches[name]
        done = batch["polls"] >= self.polls_until_done
        problems = {"object": "list", "data": [{"code": "x", "message": batch["fails"], "line": None, "param": None}]}
        if batch["fails"] is None and done and "output" not in batch:
            batch["output"] = f"file-{len(self.files)}"
            lines = []
            for line in self.files[batch["input"]].splitlines():
                row = json.loads(line)
                prompt = row["body"]["messages"][-1]["content"]
                self.asked[prompt] += 1
                if prompt.startswith("missing"):
                    continue
                failed = prompt.startswith("400")
                body = error_body("dislikes it") if failed else completion(f"reply to {prompt}", 7, True)
                response = {"status_code": 400 if failed else 200, "request_id": "r", "body": body}
                lines.append(
                    json.dumps({"id": "x", "custom_id": row["custom_id"], "response": response, "error": None})
                )
                self.delivered[prompt] += 1
            self.files[batch["output"]] = "\n".join(reversed(lines)).encode()
        return {
            "id": name, "object": "batch", "endpoint": "/v1/chat/completions", "input_file_id": batch["input"],
            "completion_window": "24h", "created_at": 0,
            "status": ("failed" if batch["fails"] else "completed") if done else "in_progress",
            "errors": problems if batch["fails"] else None,
            "output_file_id": batch.get("output"), "error_file_id": None, "metadata": batch["metadata"],
            "request_counts": {"total": 9, "completed": batch["polls"], "failed": 0},
        }  # fmt: skip


async def half() -> AsyncIterator[bytes]:
    yield b'{"choices": ['


def completion(text: str, tokens: int, chat: bool) -> dict[str, Any]:
    content = {"message": {"role": "assistant", "content": text}} if chat else {"text": text}
    return {
        "id": "x", "object": "chat.completion", "created": 0, "model": "m",
        "choices": [{"index": 0, "finish_reason": "stop", **content}],
        "usage": {"prompt_tokens": 5, "completion_tokens": tokens, "total_tokens": 5 + tokens},
    }  # fmt: skip


def error_body(message: str) -> dict[str, Any]:
    return {"error": {"message": message, "type": "error", "param": None, "code": None}}


def error(message: str, status: int, headers: dict[str, str] | None = None) -> Response:
    return JSONResponse(error_body(message), status, headers=headers)
