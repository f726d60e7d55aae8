"""What the stages hand each other: frozen records, no behaviour.

Rooms never import one another; they meet here. Every record is a ``msgspec.Struct``: immutable, typed, and the same
in memory as in JSON. A failure is a ``status``, never a number; a value that is missing is absent or ``None``.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

__all__ = [
    "Axis",
    "AxisKind",
    "Choice",
    "Claim",
    "Conversation",
    "Drop",
    "Estimate",
    "Finding",
    "ItemScore",
    "ItemStatus",
    "ItemSupport",
    "Message",
    "ModelInfo",
    "ModelRole",
    "Output",
    "Reply",
    "ReplyStatus",
    "Request",
    "Results",
    "Role",
    "ScoreReply",
    "ScoreRequest",
    "Verdict",
    "Vote",
    "VoteStatus",
    "VoterKind",
]

Role = Literal["system", "user", "assistant"]


class Message(Struct, frozen=True, forbid_unknown_fields=True):
    """One turn, as TRL, axolotl and the OpenAI API write it."""

    role: Role
    content: str


class Conversation(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One training example: a line of a ``messages`` JSONL file.

    ``id`` is unique within a file. ``source`` names the collection it came from (``sharegpt``, ``nq``).
    ``requests`` are the cache digests of the teacher requests that produced it. ``tags`` are short free labels
    (language, category) that curation adds.
    """

    id: str
    messages: tuple[Message, ...]
    source: str = ""
    teacher: str = ""
    terms: str = ""
    requests: tuple[str, ...] = ()
    tags: dict[str, str] = {}


class Drop(Struct, frozen=True, kw_only=True):
    """A record that a step did not keep, and why. ``reason`` is a short stable word; ``detail`` is for people."""

    id: str
    step: str
    reason: str
    detail: str = ""


# ---------------------------------------------------------------------------------------------- asking a model

ReplyStatus = Literal["ok", "length", "content_filter", "refused", "failed"]


class Request(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One question to a model: chat (``messages``) or plain text (``prompt``), exactly one of the two.

    ``sample`` tells independent draws of the same request apart. ``seed`` is sent to the provider and, for local
    models, seeds this request's own generator: the reply does not depend on what it was batched with.
    ``top_logprobs`` > 0 asks for the log-probabilities of that many alternatives at each generated position.
    """

    messages: tuple[Message, ...] | None = None
    prompt: str | None = None
    max_tokens: int = 256
    temperature: float = 0.0
    top_p: float = 1.0
    stop: tuple[str, ...] = ()
    seed: int | None = None
    sample: int = 0
    top_logprobs: int = 0


class Reply(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What came back. ``text`` is ``None`` when there is none (``failed``, some ``content_filter``).

    ``ok``: ended by itself or at a stop string. ``length``: cut at ``max_tokens``. ``content_filter``: the provider
    withheld it. ``refused``: the provider refused the request (4xx, a ``refusal`` field). ``failed``: no usable answer
    after all retries; ``error`` says why. ``digest`` identifies model + request in the cache.
    ``top_logprobs[i]`` maps each alternative token text at generated position i to its log-probability (nats).
    """

    status: ReplyStatus
    text: str | None
    digest: str = ""
    finish_reason: str | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    top_logprobs: tuple[dict[str, float], ...] = ()
    error: str | None = None


class ScoreRequest(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How likely is ``continuation`` after ``prompt`` (plain text) or as the next assistant turn after ``messages``?"""

    continuation: str
    messages: tuple[Message, ...] | None = None
    prompt: str | None = None


class ScoreReply(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """``logprob``: summed log-probability of the continuation's ``tokens`` tokens, in nats; ``None`` unless ``ok``.

    ``greedy``: whether greedy decoding would produce exactly this continuation.
    """

    status: Literal["ok", "failed"]
    logprob: float | None = None
    tokens: int = 0
    greedy: bool = False
    error: str | None = None


# ---------------------------------------------------------------------------------------------- measurements


class Output(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A model's answer to a prompt: a line of an outputs file. ``response``: ``None`` unless ok or length."""

    id: str
    prompt: str
    response: str | None
    model: str = ""
    sample: int = 0
    status: ReplyStatus = "ok"


ItemStatus = Literal["ok", "unparsed", "length", "refused", "failed", "not_applicable"]


class ItemScore(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One model on one item of one task: a row of an items file.

    ``scores`` maps metric to value; a metric that could not be computed is absent, and ``status`` says why. The axis of
    a metric is ``task.metric`` (``nq.exact_match``). ``cluster`` groups items that are not independent (an article).
    """

    model: str
    task: str
    item: str
    scores: dict[str, float]
    status: ItemStatus = "ok"
    sample: int = 0
    cluster: str | None = None
    prompt_digest: str = ""
    raw: str | None = None
    extracted: str | None = None
    reference: str | None = None


class ItemSupport(Struct, frozen=True, kw_only=True):
    """How much the imitation data ``data`` supports one evaluation item; ``task`` and ``item`` as in ItemScore.

    ``value``: 0 for no word in common with any training query, about 1 and above for a copy. An item whose prompt
    holds no word has no record.
    """

    data: str
    task: str
    item: str
    value: float


Choice = Literal["student", "teacher", "tie"]
VoterKind = Literal["person", "llm_judge", "likelihood_judge", "simulated"]
VoteStatus = Literal["ok", "unparsed", "refused", "failed"]


class Vote(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One voter on one pair, student against teacher. A person's vote and a judge's vote are the same record.

    ``choice`` is ``None`` unless ``status`` is ok. ``first`` says whose output was shown first (``None``: the outputs
    were scored apart, order cannot matter). ``margin`` is the voter's own graded preference for the student, where it
    has one (score difference, log-probability per token). ``marks``: the same question asked of one criterion each;
    ``facts_checked``: the voter says to have looked the facts up (``None``: was not asked).
    """

    item: str
    student: str
    teacher: str
    voter: str
    kind: VoterKind
    choice: Choice | None
    status: VoteStatus = "ok"
    first: Literal["student", "teacher"] | None = None
    margin: float | None = None
    seconds: float | None = None
    reason: str | None = None
    marks: dict[str, Choice] = {}
    facts_checked: bool | None = None


Verdict = Literal["right", "wrong", "unclear"]


class Claim(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A checkable statement in a text: characters ``start:end``, what it says, and how it was judged."""

    item: str
    model: str
    start: int
    end: int
    verdict: Verdict
    relation: str = ""
    value: str = ""
    expected: str = ""


# ---------------------------------------------------------------------------------------------- estimates

AxisKind = Literal["capability", "style", "preference", "safety", "factuality"]


class Estimate(Struct, frozen=True, kw_only=True):
    """A number with its error bar. ``low``/``high`` are ``None`` where there is no interval; ``method`` says why.

    ``value`` is ``None`` where the quantity cannot be estimated (nothing scored; a ratio whose denominator's interval
    covers 0). ``n_scored`` of ``n_total`` items entered it.
    """

    value: float | None
    low: float | None
    high: float | None
    n_scored: int
    n_total: int
    method: str


class Axis(Struct, frozen=True, kw_only=True):
    """One measured quantity. ``headline``: whether it enters *style closed* / *capability closed*."""

    name: str
    label: str
    kind: AxisKind
    unit: str
    higher_is_better: bool = True
    headline: bool = False


ModelRole = Literal["teacher", "teacher_second_sample", "base", "student"]


class ModelInfo(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A measured model. A student's arm is (base, data, amount, replay, seed); tokens are the student's own.

    ``trained_tokens``: imitation tokens it saw; ``supervised_tokens``: of those, the ones it was trained to produce.
    ``pooled``: names of the arm's models where this entry stands for several training seeds (``seed`` is None).
    """

    name: str
    role: ModelRole
    parameters: int | None = None
    base: str | None = None
    data: str | None = None
    data_kind: Literal["broad", "local"] | None = None
    amount_tokens: int | None = None
    replay: float = 0.0
    seed: int | None = None
    trained_tokens: int | None = None
    supervised_tokens: int | None = None
    local_task: str | None = None
    pooled: tuple[str, ...] = ()


class Finding(Struct, frozen=True, kw_only=True):
    """A hypothesis named before the run, the rule fixed with it, and what came out."""

    key: str
    hypothesis: str
    rule: str
    verdict: Literal["supported", "not_supported", "undecided"]
    evidence: tuple[str, ...]
    estimates: dict[str, Estimate]


class Results(Struct, frozen=True, kw_only=True):
    """``results.json``: every estimate under a stable axis name, per model. No times, no versions.

    ``estimates[model][axis]``; ``gap_closed[student][axis]``; ``difference[student][axis]`` is student − base, paired;
    ``gain_by_support[arm][axis]``: rank correlation over items of student − base with the item's support.
    ``headline`` has ``style_closed`` and ``capability_closed`` of ``headline_models`` (largest broad arm, pooled);
    ``headline_over``: of each of these means, the axes that it is taken over.
    """

    format: int
    study: str
    seed: int
    models: tuple[ModelInfo, ...]
    axes: tuple[Axis, ...]
    estimates: dict[str, dict[str, Estimate]]
    difference: dict[str, dict[str, Estimate]]
    gap_closed: dict[str, dict[str, Estimate]]
    headline: dict[str, Estimate]
    headline_models: tuple[str, ...]
    findings: tuple[Finding, ...]
    notes: tuple[str, ...] = ()
    gain_by_support: dict[str, dict[str, Estimate]] = {}
    confidence: float = 0.95  # of every two-sided interval
    headline_over: dict[str, tuple[str, ...]] = {}
