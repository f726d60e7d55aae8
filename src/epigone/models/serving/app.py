"""The HTTP side of a served model: chat, completions, models, statistics, and a page that says what runs."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import jinja2
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, Response, StreamingResponse
from starlette.exceptions import HTTPException
from starlette.requests import Request as HttpRequest

from epigone.errors import EpigoneError
from epigone.models.local.jobs import Job
from epigone.models.local.likelihood import Given, TokenLikelihood
from epigone.models.local.local_model import LocalModel
from epigone.models.seeds import stream_seed, wire_seed
from epigone.models.serving.answers import chat_choice, completion_choice, error_body, prompt_logprobs, usage
from epigone.models.serving.bodies import ChatBody, CompletionBody
from epigone.models.serving.engine import Engine
from epigone.models.serving.streams import stream
from epigone.records import Request

__all__ = ["make_app"]


class _Refused(Exception):
    """A request that cannot be answered."""

    def __init__(self, message: str, *, status: int = 400, code: str | None = None, param: str | None = None) -> None:
        super().__init__(message)
        self.status, self.code, self.param = status, code, param


class _Service:
    """Turns bodies into jobs and finished jobs into answers."""

    def __init__(self, model: LocalModel) -> None:
        self.model = model
        self.engine = Engine(model)
        self.began = time.time()
        self.requests = self.refused = 0
        self._names = {model.name, model.spec.hf, model.name.partition("@")[0]}

    def check_model(self, name: str) -> None:
        if name not in self._names:
            raise _Refused(f"the model '{name}' is not served here", status=404, code="model_not_found", param="model")

    def job(self, request: Request, alternatives: int | None) -> Job:
        """A job for text or messages."""
        job = self.model.job(request)
        if isinstance(job, str):
            raise _Refused(job, code="context_length_exceeded", param="messages" if request.messages else "prompt")
        job.alternatives = alternatives
        return job

    def ids_job(self, ids: list[int], body: CompletionBody, seed: int) -> Job:
        """A job for a prompt given as token ids."""
        if any(not 0 <= token < self.model.vocabulary for token in ids):
            raise _Refused(f"token ids must be below {self.model.vocabulary}", param="prompt")
        checked = self.model.check_length(ids)
        if isinstance(checked, str):
            raise _Refused(checked, code="context_length_exceeded", param="prompt")
        return Job(
            prompt=checked,
            max_new=max(1, min(body.max_tokens, self.model.max_context - len(ids))),
            temperature=body.temperature,
            top_p=body.top_p,
            stop=tuple(word for word in body.stops if word),
            seed=stream_seed(seed, tuple(ids)),
        )

    async def chat(self, body: ChatBody) -> dict[str, Any] | AsyncIterator[bytes]:
        """Answer a chat request; a stream if it asks for one."""
        self.check_model(body.model)
        limit = body.max_completion_tokens or body.max_tokens or self.model.max_context
        messages = tuple(turn.message() for turn in body.messages)
        opening = messages[-1].content if body.continue_final_message else ""
        messages = messages[:-1] if body.continue_final_message else messages
        seed = body.seed if body.seed is not None else secrets.randbits(31)
        jobs = [
            self.job(
                Request(
                    messages=messages,
                    max_tokens=limit,
                    temperature=body.temperature,
                    top_p=body.top_p,
                    stop=body.stops,
                    seed=wire_seed(seed, index),
                ),
                body.alternatives,
            )
            for index in range(body.n)
        ]
        opened_at = len(jobs[0].prompt) if body.continue_final_message else None
        for job in jobs:
            self.open_turn(job, opening)
        if body.stream:
            return self.stream(jobs, body, chat=True)
        prompt = jobs[0].prompt
        reading = self.read_prompt(prompt, body.prompt_logprobs, begin=opened_at or 1)
        await asyncio.gather(*(self.engine.write(job) for job in jobs))
        choices = [chat_choice(self.model.text, job, index) for index, job in enumerate(jobs)]
        tokens = usage(len(prompt), sum(job.written for job in jobs))
        answer = self.head("chat.completion") | {"choices": choices, "usage": tokens}
        if reading is not None:
            answer["prompt_logprobs"] = prompt_logprobs(self.model.text, prompt, await reading)
        return answer

    def open_turn(self, job: Job, words: str) -> None:
        """Let the reply begin with ``words``, which are then part of the prompt."""
        longer = self.model.check_length([*job.prompt, *self.model.text.encode_bare(words)])
        if isinstance(longer, str):
            raise _Refused(longer, code="context_length_exceeded", param="messages")
        job.prompt, job.max_new = longer, min(job.max_new, self.model.max_context - len(longer))

    def read_prompt(
        self, ids: list[int], alternatives: int | None, *, begin: int = 1
    ) -> asyncio.Future[list[TokenLikelihood]] | None:
        """Begin to read a prompt's own log-probabilities, if they are asked for and there are any."""
        if alternatives is None or begin >= len(ids):
            return None
        return asyncio.ensure_future(self.engine.read(Given(tuple(ids), begin, alternatives)))

    async def complete(self, body: CompletionBody) -> dict[str, Any] | AsyncIterator[bytes]:
        """Answer a completion request, of one or several prompts."""
        self.check_model(body.model)
        jobs = [job for prompt in body.prompts() for job in self.completion_jobs(prompt, body)]
        if not jobs:
            raise _Refused("there is no prompt", param="prompt")
        if body.stream:
            return self.stream(jobs, body, chat=False)
        choices = await asyncio.gather(*(self.completion(job, index, body) for index, job in enumerate(jobs)))
        generated = sum(job.written for job in jobs)
        tokens = usage(sum(len(job.prompt) for job in jobs[:: body.n]), generated)
        return self.head("text_completion") | {"choices": choices, "usage": tokens}

    def completion_jobs(self, prompt: str | list[int], body: CompletionBody) -> list[Job]:
        """The jobs of one prompt: ``n`` of them."""
        seed = body.seed if body.seed is not None else secrets.randbits(31)
        jobs = []
        for index in range(body.n):
            own = wire_seed(seed, index)
            if isinstance(prompt, str):
                request = Request(
                    prompt=prompt,
                    max_tokens=max(1, body.max_tokens),
                    temperature=body.temperature,
                    top_p=body.top_p,
                    stop=body.stops,
                    seed=own,
                )
                jobs.append(self.job(request, body.logprobs))
            else:
                jobs.append(self.ids_job(prompt, body, own))
                jobs[-1].alternatives = body.logprobs
        return jobs

    async def completion(self, job: Job, index: int, body: CompletionBody) -> dict[str, Any]:
        """Run one job, with the prompt's own log-probabilities where they are asked for."""
        echoed: list[TokenLikelihood] | None = [] if body.echo else None
        reading = self.read_prompt(job.prompt, body.logprobs if body.echo else None)
        if body.max_tokens > 0:
            await self.engine.write(job)
        if reading is not None:
            echoed = await reading
        return completion_choice(self.model.text, job, index, echoed=echoed, generated=body.max_tokens > 0)

    def stream(self, jobs: list[Job], body: ChatBody | CompletionBody, *, chat: bool) -> AsyncIterator[bytes]:
        """The events of a streamed reply."""
        if len(jobs) > 1:
            raise _Refused("a stream carries one reply: n must be 1 and there must be one prompt", param="stream")
        if jobs[0].alternatives is not None or (isinstance(body, CompletionBody) and body.echo):
            raise _Refused("a stream carries no log-probabilities and no echo", param="stream")
        head = self.head("chat.completion.chunk" if chat else "text_completion")

        def make_chunk(text: str | None, reason: str | None) -> dict[str, Any]:
            if chat:
                delta = {"role": "assistant", "content": ""} if text is None else {"content": text} if text else {}
                return head | {"choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}]}
            choice = {"index": 0, "text": text or "", "logprobs": None, "finish_reason": reason}
            return head | {"choices": [choice]}

        with_usage = body.stream_options is not None and body.stream_options.include_usage
        return stream(self.engine, jobs[0], make_chunk, with_usage=with_usage)

    def head(self, kind: str) -> dict[str, Any]:
        """What every answer begins with."""
        identity = f"{kind.partition('.')[0]}-{secrets.token_hex(12)}"
        return {"id": identity, "object": kind, "created": int(time.time()), "model": self.model.name}

    def statistics(self) -> dict[str, Any]:
        """What runs, and what it has done."""
        return {
            "model": self.model.name,
            "parameters": self.model.parameters,
            "dtype": self.model.dtype,
            "device": self.model.device,
            "context_tokens": self.model.max_context,
            "requests_answered": self.requests,
            "requests_refused": self.refused,
            "running": self.engine.running,
            "waiting": self.engine.waiting,
            "prompt_tokens": self.engine.prompt_tokens,
            "completion_tokens": self.engine.completion_tokens,
            "seconds": round(time.time() - self.began, 1),
        }


def make_app(model: LocalModel) -> FastAPI:
    """The application that serves ``model``."""
    service = _Service(model)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        service.engine.start()
        yield

    app = FastAPI(title="epigone serve", lifespan=lifespan, openapi_url=None)
    _add_errors(app, service)

    async def answered(result: dict[str, Any] | AsyncIterator[bytes]) -> Response:
        service.requests += 1
        if isinstance(result, dict):
            return JSONResponse(result)
        return StreamingResponse(result, media_type="text/event-stream")

    @app.post("/v1/chat/completions")
    async def chat(body: ChatBody) -> Response:
        return await answered(await service.chat(body))

    @app.post("/v1/completions")
    async def completions(body: CompletionBody) -> Response:
        return await answered(await service.complete(body))

    @app.get("/v1/models")
    async def models() -> dict[str, Any]:
        entry = {"id": model.name, "object": "model", "created": int(service.began), "owned_by": "epigone"}
        return {"object": "list", "data": [entry]}

    @app.get("/v1/models/{name:path}")
    async def one_model(name: str) -> dict[str, Any]:
        service.check_model(name)
        return {"id": model.name, "object": "model", "created": int(service.began), "owned_by": "epigone"}

    @app.get("/health")
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/stats")
    async def stats() -> dict[str, Any]:
        return service.statistics()

    page = jinja2.Environment(autoescape=True).from_string((Path(__file__).parent / "page.html").read_text("utf-8"))

    @app.get("/", response_class=HTMLResponse)
    async def home() -> str:
        return page.render(statistics=service.statistics())

    return app


def _add_errors(app: FastAPI, service: _Service) -> None:
    """Every error in OpenAI's shape."""

    @app.exception_handler(_Refused)
    async def refused(_: HttpRequest, error: _Refused) -> JSONResponse:
        service.refused += 1
        return JSONResponse(error_body(str(error), param=error.param, code=error.code), error.status)

    @app.exception_handler(EpigoneError)
    async def cannot(_: HttpRequest, error: EpigoneError) -> JSONResponse:
        service.refused += 1
        return JSONResponse(error_body(error.what), 400)

    @app.exception_handler(RequestValidationError)
    async def malformed(_: HttpRequest, error: RequestValidationError) -> JSONResponse:
        service.refused += 1
        problem = error.errors()[0]
        where = ".".join(str(part) for part in problem["loc"][1:]) or None
        unknown = problem["type"] == "extra_forbidden"
        message = f"'{where}' is not supported by this server" if unknown else f"{where or 'body'}: {problem['msg']}"
        return JSONResponse(error_body(message, param=where), 400)

    @app.exception_handler(HTTPException)
    async def not_here(request: HttpRequest, error: HTTPException) -> JSONResponse:
        message = f"{request.method} {request.url.path}: {error.detail}"
        return JSONResponse(error_body(message), error.status_code)

    @app.exception_handler(Exception)
    async def broken(_: HttpRequest, error: Exception) -> JSONResponse:
        return JSONResponse(error_body(f"the engine failed: {type(error).__name__}", kind="server_error"), 500)
