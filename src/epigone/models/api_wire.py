"""How requests and replies are written for an OpenAI-compatible endpoint."""

from __future__ import annotations

from typing import Any, Literal

import msgspec
from msgspec import Struct

from epigone.models.api_spec import ApiSpec
from epigone.models.seeds import wire_seed
from epigone.records import Reply, Request, ScoreReply, ScoreRequest

__all__ = [
    "UnreadableReply",
    "Usage",
    "first_token_request",
    "first_token_score",
    "read_reply",
    "read_score",
    "write_request",
]

Path = Literal["/chat/completions", "/completions"]
_MOST_ALTERNATIVES = 20


class UnreadableReply(Exception):
    """The endpoint answered with something that is no completion; the attempt may have been billed."""


class Usage(Struct, frozen=True):
    """Tokens as the provider counted them."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None


class _Alternative(Struct):
    token: str
    logprob: float


class _Position(Struct):
    top_logprobs: list[_Alternative] = []


class _Logprobs(Struct):
    content: list[_Position] | None = None
    tokens: list[str] | None = None
    token_logprobs: list[float | None] | None = None
    top_logprobs: list[dict[str, float] | None] | None = None
    text_offset: list[int] | None = None


class _Part(Struct):
    text: str | None = None


class _Message(Struct):
    """Some providers write the content in parts, and a thought that came before the answer as one without text."""

    content: str | list[_Part] | None = None
    refusal: str | None = None

    @property
    def text(self) -> str | None:
        """What was answered."""
        parts = self.content
        return "".join(part.text or "" for part in parts) if isinstance(parts, list) else parts


class _Choice(Struct):
    message: _Message | None = None
    text: str | None = None
    finish_reason: str | None = None
    logprobs: _Logprobs | None = None


class _PromptToken(Struct):
    logprob: float
    rank: int | None = None
    decoded_token: str | None = None


class _Completion(Struct):
    choices: list[_Choice]
    usage: Usage | None = None
    prompt_logprobs: list[dict[str, _PromptToken] | None] | None = None


_DECODER = msgspec.json.Decoder(_Completion)


def write_request(spec: ApiSpec, request: Request | ScoreRequest) -> tuple[Path, dict[str, Any]]:
    """(path below ``base_url``, JSON body) of one request.

    A seed is sent as :func:`wire_seed` makes it of seed and sample, so that the samples of one seeded request differ.
    """
    if isinstance(request, ScoreRequest):
        return _write_score(spec, request)
    body: dict[str, Any] = {"model": spec.model, spec.max_tokens_key: request.max_tokens, **spec.extra}
    body["temperature"] = request.temperature
    if request.top_p != 1.0:
        body["top_p"] = request.top_p
    if request.stop:
        body["stop"] = list(request.stop)
    if request.seed is not None:
        body["seed"] = wire_seed(request.seed, request.sample)
    if request.messages is None:
        if request.top_logprobs:
            body["logprobs"] = request.top_logprobs
        return "/completions", body | {"prompt": request.prompt}
    if request.top_logprobs:
        body |= {"logprobs": True, "top_logprobs": request.top_logprobs}
    messages = [{"role": message.role, "content": message.content} for message in request.messages]
    return "/chat/completions", body | {"messages": messages}


def _write_score(spec: ApiSpec, request: ScoreRequest) -> tuple[Path, dict[str, Any]]:
    """A scoring request: a completion that echoes the text, or a chat whose last turn is the continuation, left open.

    Either with the log-probabilities of what was sent; one token is generated, because providers refuse to do none.
    """
    body: dict[str, Any] = {"model": spec.model, "temperature": 0.0, **spec.extra}
    if request.messages is not None:
        messages = [{"role": message.role, "content": message.content} for message in request.messages]
        messages.append({"role": "assistant", "content": request.continuation})
        opened = {"add_generation_prompt": False, "continue_final_message": True, "prompt_logprobs": 1}
        return "/chat/completions", body | {"messages": messages, spec.max_tokens_key: 1, **opened}
    text = (request.prompt or "") + request.continuation
    return "/completions", body | {"prompt": text, "max_tokens": 1, "echo": True, "logprobs": 1}


def first_token_request(request: ScoreRequest) -> Request:
    """What has to be asked to look a continuation of messages up: the alternatives to the reply's first token."""
    return Request(messages=request.messages, max_tokens=1, top_logprobs=_MOST_ALTERNATIVES)


def _decode(content: bytes) -> _Completion:
    try:
        completion = _DECODER.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UnreadableReply(f"not a completion: {error}") from error
    if not completion.choices:
        raise UnreadableReply("a completion without choices")
    return completion


def read_reply(content: bytes, digest: str) -> tuple[Reply, Usage]:
    """The first choice of a completion as a record.

    An empty text is a reply if the provider says that at most the end token was written; otherwise words were lost on
    the way and it is ``failed``. It is kept either way: it was paid.

    Raises:
        UnreadableReply: truncated or foreign JSON, no choices.
    """
    completion = _decode(content)
    choice, usage = completion.choices[0], completion.usage or Usage()
    message = choice.message or _Message(content=choice.text)
    text, reason = message.text, choice.finish_reason
    error = None
    if message.refusal:
        status, text, error = "refused", None, message.refusal
    elif reason == "content_filter":
        status, text, error = "content_filter", text or None, "withheld by the provider's content filter"
    elif reason == "length":
        status = "length"
        text = text or ""
    elif text or (text == "" and usage.completion_tokens is not None and usage.completion_tokens <= 1):
        status = "ok"
    else:
        status, text, error = "failed", None, f"the endpoint returned an empty text (finish_reason {reason})"
    reply = Reply(
        status=status,  # type: ignore[arg-type]
        text=text,
        digest=digest,
        finish_reason=reason,
        prompt_tokens=usage.prompt_tokens,
        completion_tokens=usage.completion_tokens,
        top_logprobs=_alternatives(choice.logprobs),
        error=error,
    )
    return reply, usage


def _alternatives(logprobs: _Logprobs | None) -> tuple[dict[str, float], ...]:
    if logprobs is None:
        return ()
    if logprobs.content is not None:
        # Of two alternatives with the same text the first counts: it is the likelier one.
        return tuple(
            {other.token: other.logprob for other in reversed(position.top_logprobs)} for position in logprobs.content
        )
    return tuple(dict(top or {}) for top in logprobs.top_logprobs or ())


def read_score(content: bytes, request: ScoreRequest) -> tuple[ScoreReply, Usage]:
    """The continuation's log-probability out of an echoed completion or a chat's ``prompt_logprobs``.

    Raises:
        UnreadableReply: as for :func:`read_reply`.
    """
    completion = _decode(content)
    if request.messages is not None:
        score = _turn_score(completion.prompt_logprobs or [], request.continuation)
    else:
        score = _echo_score(completion.choices[0].logprobs, request)
    return score, completion.usage or Usage()


def _turn_score(positions: list[dict[str, _PromptToken] | None], continuation: str) -> ScoreReply:
    """Sum the last tokens that together spell the continuation, or spell it without the white space around it.

    A chat template may take that white space away. Of each position's tokens the first is the one that was sent, as
    vLLM orders them.
    """
    wanted, spelled, logprob, greedy = continuation.strip(), "", 0.0, True
    trimmed: ScoreReply | None = None
    for count, position in enumerate(reversed(positions), start=1):
        sent = next(iter(position.values()), None) if position else None
        if sent is None or sent.decoded_token is None:
            break
        spelled = sent.decoded_token + spelled
        logprob += sent.logprob
        greedy = greedy and sent.rank == 1
        score = ScoreReply(status="ok", logprob=round(logprob, 6), tokens=count, greedy=greedy)
        if spelled == continuation:
            return score
        if trimmed is None and spelled.strip() == wanted:
            trimmed = score
        if not continuation.endswith(spelled) and not wanted.endswith(spelled.strip()):
            break
    if trimmed is not None and wanted:
        return trimmed
    if not positions:
        problem = "the endpoint returned no prompt_logprobs; set chat_scores: first_token"
        return ScoreReply(status="failed", error=problem)
    return ScoreReply(status="failed", error="the prompt's last tokens, as returned, do not spell the continuation")


def first_token_score(first: Reply, continuation: str) -> ScoreReply:
    """Look a single-token continuation up in the reply to :func:`first_token_request`."""
    if not first.top_logprobs:
        problem = first.error if first.status in ("failed", "refused") else None
        return ScoreReply(status="failed", error=problem or "the endpoint returned no log-probabilities")
    top = first.top_logprobs[0]
    found = continuation if continuation in top else None
    if found is None:
        found = next((token for token in top if token.strip() == continuation.strip()), None)
    if found is None:
        problem = f"the continuation is not among the {len(top)} most likely first tokens, or is longer than one token"
        return ScoreReply(status="failed", error=problem)
    return ScoreReply(status="ok", logprob=top[found], tokens=1, greedy=top[found] >= max(top.values()))


def _echo_score(logprobs: _Logprobs | None, request: ScoreRequest) -> ScoreReply:
    """Sum the echoed tokens that lie behind the prompt.

    The generated token's offset says where the echoed text ends, whatever the endpoint puts before it (BOS).
    """
    tokens = (logprobs.tokens or []) if logprobs else []
    if logprobs is None or not logprobs.token_logprobs or not logprobs.text_offset or not tokens:
        return ScoreReply(status="failed", error="the endpoint does not echo log-probabilities of the prompt")
    bare = (request.prompt or "").rstrip()
    whole = (request.prompt or "") + request.continuation
    end = logprobs.text_offset[-1] if logprobs.text_offset[-1] >= len(whole) else None
    if end is None:
        return ScoreReply(status="failed", error="the endpoint's text offsets do not fit the text")
    boundary = len(bare) + end - len(whole)
    behind = [
        index
        for index, (token, offset) in enumerate(zip(tokens[:-1], logprobs.text_offset, strict=False))
        if offset + len(token) > boundary
    ]
    values = [logprobs.token_logprobs[index] for index in behind]
    known = [value for value in values if value is not None]
    if not values or len(known) < len(values):
        return ScoreReply(status="failed", error="the endpoint gave no log-probability for the continuation")
    tops = logprobs.top_logprobs or []
    greedy = all(
        index < len(tops) and tops[index] and value >= max((tops[index] or {}).values())
        for index, value in zip(behind, known, strict=True)
    )
    return ScoreReply(status="ok", logprob=round(sum(known), 6), tokens=len(known), greedy=bool(greedy))
