"""A Hugging Face causal language model, run here."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

import torch

from epigone.errors import ModelError
from epigone.models.local.decoding import Decoder
from epigone.models.local.forward import Forward
from epigone.models.local.jobs import Job
from epigone.models.local.likelihood import Given, TokenLikelihood, likelihoods
from epigone.models.local.loading import load_weights
from epigone.models.local.text import Text
from epigone.models.local_spec import LocalSpec, model_name
from epigone.models.protocol import Progress
from epigone.models.request_cache import request_digest
from epigone.models.seeds import stream_seed, wire_seed
from epigone.records import Reply, Request, ScoreReply, ScoreRequest

__all__ = ["LocalModel", "load_local"]

_ROWS_CPU, _ROWS_ELSEWHERE = 64, 256
_CACHE_CPU = 320 * 2**20
_POSITIONS_ELSEWHERE = 65_536


def load_local(spec: LocalSpec) -> LocalModel:
    """Load a model into this process.

    Raises:
        ModelError: the folder cannot be used.
    """
    return LocalModel(spec)


class LocalModel:
    """A model in this process, asked in batches; a :class:`~epigone.models.TextModel`.

    Calls from several threads wait for one another. A request without a seed is drawn with seed 0: the same request
    always gets the same reply.
    """

    def __init__(self, spec: LocalSpec) -> None:
        if spec.threads is not None:
            torch.set_num_threads(spec.threads)
        self.spec = spec
        self.name = model_name(spec)
        model, tokenizer = load_weights(spec)
        self.parameters: int | None = model.num_parameters()
        ends = model.generation_config.eos_token_id
        self.text = Text(
            tokenizer, ends=ends if isinstance(ends, list) else [] if ends is None else [ends], where=spec.hf
        )
        self.max_context = _max_context(model, spec)
        self._forward = Forward(model)
        self._forward.check(spec.hf)
        self._lock = threading.Lock()
        self._limits = self._batch_limits(spec)
        self._decoder = Decoder(self._forward, self.text, **self._limits)

    def _batch_limits(self, spec: LocalSpec) -> dict[str, int]:
        """Rows and cached positions of a batch, as the specification says or as suits the device."""
        if self._forward.device.type == "cpu":
            weights = sum(weight.nbytes for weight in self._forward.model.parameters())
            rows, tokens = _ROWS_CPU, max(_CACHE_CPU, weights // 2) // self._forward.position_bytes
        else:
            rows, tokens = _ROWS_ELSEWHERE, _POSITIONS_ELSEWHERE
        return {"batch_rows": spec.batch_rows or rows, "batch_tokens": spec.batch_tokens or tokens}

    @property
    def vocabulary(self) -> int:
        """How many token ids there are."""
        return self._forward.vocabulary

    @property
    def device(self) -> str:
        """Where it runs, such as ``cpu`` or ``cuda:0``."""
        return str(self._forward.device)

    @property
    def dtype(self) -> str:
        """The weights' number format, such as ``float32``."""
        return str(self._forward.dtype).removeprefix("torch.")

    def generate(self, requests: Sequence[Request], progress: Progress | None = None) -> list[Reply]:
        """Answer each request; a prompt that leaves no room for a reply is ``failed``."""
        replies: list[Reply | None] = [None] * len(requests)
        owners: dict[int, int] = {}
        jobs: list[Job] = []
        for index, request in enumerate(requests):
            job = self.job(request)
            if isinstance(job, Job):
                owners[id(job)] = index
                jobs.append(job)
            else:
                replies[index] = Reply(status="failed", text=None, digest=request_digest(self.name, request), error=job)
        finished = len(requests) - len(jobs)

        def done(job: Job) -> None:
            nonlocal finished
            index = owners[id(job)]
            replies[index] = self.reply(job, request_digest(self.name, requests[index]))
            finished += 1
            if progress is not None:
                progress(finished, len(requests))

        self.run(jobs, done=done)
        return [reply for reply in replies if reply is not None]

    def run(
        self,
        jobs: Sequence[Job],
        *,
        done: Callable[[Job], None] | None = None,
        more: Callable[[], Sequence[Job]] | None = None,
    ) -> None:
        """Run jobs through the engine, one caller at a time."""
        with self._lock:
            self._decoder.run(jobs, done=done, more=more)

    def job(self, request: Request) -> Job | str:
        """The engine's form of a request, or why it cannot be answered.

        Raises:
            ModelError: it has messages and the model has no chat template.
        """
        if (request.messages is None) == (request.prompt is None):
            return "a request has either messages or a prompt"
        prompt = self.encode(request.messages if request.messages is not None else request.prompt or "")
        if isinstance(prompt, str):
            return prompt
        seed = stream_seed(wire_seed(request.seed or 0, request.sample), request.messages or request.prompt or "")
        return Job(
            prompt=prompt,
            max_new=min(request.max_tokens, self.max_context - len(prompt)),
            temperature=request.temperature,
            top_p=request.top_p,
            stop=tuple(word for word in request.stop if word),
            alternatives=request.top_logprobs or None,
            seed=seed,
        )

    def encode(self, prompt: object) -> list[int] | str:
        """Token ids of a prompt (text, messages or ids), or why there is no room for a reply to it."""
        if isinstance(prompt, str):
            ids = self.text.encode(prompt)
        else:
            ids = self.text.encode_chat(prompt)  # type: ignore[arg-type]
        return self.check_length(ids)

    def check_length(self, ids: list[int]) -> list[int] | str:
        """``ids``, or why they cannot be continued."""
        if not ids:
            return "the prompt has no tokens, and the tokenizer has no token to begin a text with"
        if len(ids) >= self.max_context:
            return f"the prompt has {len(ids)} tokens and leaves no room: the context is {self.max_context} tokens"
        return ids

    def reply(self, job: Job, digest: str = "") -> Reply:
        """The record of a finished job."""
        text = job.text if job.text is not None else self.text.after(job.prompt, job.ids)
        return Reply(
            status="length" if job.finish == "length" else "ok",
            text=text,
            digest=digest,
            finish_reason=job.finish,
            prompt_tokens=len(job.prompt),
            completion_tokens=job.written,
            top_logprobs=tuple(self.text.by_text(top) for top in job.top),
        )

    def score(self, requests: Sequence[ScoreRequest], progress: Progress | None = None) -> list[ScoreReply]:
        """Log-probability of each continuation."""
        given: list[Given] = []
        owners: list[int] = []
        replies = [ScoreReply(status="failed", error="the continuation has no tokens")] * len(requests)
        for index, request in enumerate(requests):
            ids, begin = self._split(request)
            if len(ids) > self.max_context:
                problem = f"prompt and continuation have {len(ids)} tokens, the context {self.max_context}"
                replies[index] = ScoreReply(status="failed", error=problem)
            elif 0 < begin < len(ids):
                given.append(Given(tuple(ids), begin))
                owners.append(index)
        skipped = len(requests) - len(given)

        def done(count: int) -> None:
            if progress is not None:
                progress(skipped + count, len(requests))

        for index, tokens in zip(owners, self.likelihoods(given, done), strict=True):
            replies[index] = ScoreReply(
                status="ok",
                logprob=round(sum(token.logprob for token in tokens), 6),
                tokens=len(tokens),
                greedy=all(token.greedy for token in tokens),
            )
        return replies

    def likelihoods(
        self, given: Sequence[Given], done: Callable[[int], None] | None = None
    ) -> list[list[TokenLikelihood]]:
        """Log-probabilities of given tokens."""
        with self._lock:
            return likelihoods(self._forward, given, **self._limits, done=done)

    def _split(self, request: ScoreRequest) -> tuple[list[int], int]:
        """Token ids of prompt and continuation together, and where the continuation begins.

        With a plain prompt both are tokenized as one text, spaces at the prompt's end belonging to the continuation, as
        lm-eval does it; after a chat template the continuation is tokenized by itself.
        """
        if request.messages is not None:
            prompt = self.text.encode_chat(request.messages)
            return [*prompt, *self.text.encode_bare(request.continuation)], len(prompt)
        prompt_text = request.prompt or ""
        bare = prompt_text.rstrip()
        continuation = prompt_text[len(bare) :] + request.continuation
        prompt = self.text.encode(bare)
        whole = self.text.encode(bare + continuation) if bare else [*prompt, *self.text.encode_bare(continuation)]
        return whole, len(prompt)

    def count_tokens(self, text: str) -> int | None:
        """Tokens in ``text``, without special tokens."""
        return len(self.text.encode_bare(text))

    def close(self) -> None:
        """Free the weights."""
        self._forward.model = None


def _max_context(model: object, spec: LocalSpec) -> int:
    config = model.config.get_text_config()  # type: ignore[attr-defined]
    own = getattr(config, "max_position_embeddings", None) or getattr(config, "n_positions", None)
    limits = [limit for limit in (own, spec.max_context) if limit]
    if not limits:
        fix = "state max_context in the spec"
        raise ModelError("the configuration does not say how long a text may be", where=spec.hf, fix=fix)
    return int(min(limits))
