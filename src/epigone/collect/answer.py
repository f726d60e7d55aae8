"""A teacher's answers to given prompts: single questions, or dialogues whose user turns are continued one by one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal

from pydantic import Field

from epigone.collect.collected import Collected, Usage, ask, unusable
from epigone.collect.draw import request_seed
from epigone.collect.rounds import rounds
from epigone.errors import SpecError
from epigone.models import Progress, TextModel
from epigone.records import Conversation, Drop, Message, Reply, Request
from epigone.specs import Spec

__all__ = ["AnswerSpec", "answer", "answer_requests"]

STEP = "answer"


class AnswerSpec(Spec):
    """How to ask for answers."""

    prompts: Path | None = None
    """File of prompts, read with ``read_prompts``. ``None``: the caller hands them over."""
    system: str | None = None
    """System message put before each dialogue that has none. ``None``: none."""
    samples: int = Field(default=1, ge=1)
    """Independent answers to each prompt."""
    temperature: float = Field(default=1.0, ge=0)
    """Sampling temperature of the teacher."""
    top_p: float = Field(default=1.0, gt=0, le=1)
    """Nucleus sampling. 1: off."""
    max_tokens: int = Field(default=1024, ge=1)
    """Tokens of one answer at most."""
    stop: tuple[str, ...] = ()
    """Strings at which the teacher stops."""
    form: Literal["chat", "plain"] = "chat"
    """``chat``: the dialogue travels as messages. ``plain``: single questions only, as text to be continued."""
    max_turns: int | None = Field(default=None, ge=1)
    """User turns asked of one dialogue, the first ones. ``None``: all."""
    keep_cut: bool = False
    """Whether an answer cut at ``max_tokens`` is kept. If not, it counts as a turn without an answer."""
    keep_partial: bool = True
    """When a later turn gets no answer: keep the dialogue up to the turn before. If not, the whole dialogue goes."""
    requests_per_round: int = Field(default=1000, ge=1)
    """Dialogues asked together, a turn at a time."""


class _Dialogue:
    """A prompt under way: the turns still to be asked, the messages so far, the requests that made them."""

    def __init__(self, prompt: Conversation, sample: int, spec: AnswerSpec) -> None:
        users = [message for message in prompt.messages if message.role == "user"]
        system = [message for message in prompt.messages if message.role == "system"][:1]
        if not system and spec.system is not None:
            system = [Message("system", spec.system)]
        self.prompt, self.sample = prompt, sample
        self.name = prompt.id if spec.samples == 1 else f"{prompt.id}#{sample}"
        self.waiting = users if spec.max_turns is None else users[: spec.max_turns]
        self.messages: list[Message] = list(system)
        self.digests: list[str] = []
        self.answered = 0
        self.given_up = False

    def is_open(self) -> bool:
        """Whether another turn can be asked."""
        return not self.given_up and self.answered < len(self.waiting)

    def is_kept(self, spec: AnswerSpec) -> bool:
        """Whether what was answered becomes a conversation."""
        return self.answered > 0 and (spec.keep_partial or not self.given_up)

    def request(self, spec: AnswerSpec, seed: int) -> Request:
        messages = (*self.messages, self.waiting[self.answered])
        plain = spec.form == "plain"
        if plain and len(messages) > 1:
            raise SpecError(
                "a dialogue of several messages cannot be asked as plain text",
                where=f"answer: prompt {self.prompt.id}",
                fix="set form: chat, or max_turns: 1 and no system message",
            )
        return Request(
            messages=None if plain else messages,
            prompt=messages[0].content if plain else None,
            max_tokens=spec.max_tokens,
            temperature=spec.temperature,
            top_p=spec.top_p,
            stop=spec.stop,
            # The same for every prompt: a prompt's answer does not depend on where it stands among the others.
            seed=request_seed(seed, STEP, self.sample, self.answered),
            sample=self.sample,
        )

    def take(self, reply: Reply) -> None:
        self.messages += [self.waiting[self.answered], Message("assistant", (reply.text or "").strip())]
        if reply.digest:
            self.digests.append(reply.digest)
        self.answered += 1


def answer(
    spec: AnswerSpec,
    prompts: Iterable[Conversation],
    model: TextModel,
    *,
    seed: int,
    source: str,
    terms: str = "",
    progress: Progress | None = None,
) -> Collected:
    """Ask ``model`` every user turn of every prompt, each after the answers that it gave before.

    A request depends on the seed, the dialogue so far and the sample index alone: prompts may be added or reordered
    without paying again, and a prompt that stands in the file twice is paid for once.

    Args:
        prompts: their user turns are asked; a system turn is kept; assistant turns are passed over.
        source: names the collection in each conversation; empty: the prompt's own source.
        progress: called with (user turns done, total where known).

    Drops (step ``answer``): ``no_user_turn``, ``length``, ``content_filter``, ``refused``, ``failed``, ``empty_reply``.
    The drop of a later turn is named ``<id>/turn-<n>`` where the dialogue before it is kept.

    Raises:
        SpecError: ``form: plain`` with more than one message. BudgetExceeded: a re-run goes on from the cache.
    """
    collection = _Answers(spec, model, seed, progress, total=_count_turns(spec, prompts))
    conversations, curve = list[Conversation](), [(0, 0)]
    dialogues = (_Dialogue(prompt, sample, spec) for prompt in prompts for sample in range(spec.samples))
    for batch in rounds(dialogues, spec.requests_per_round):
        collection.ask_all(batch, standing=f"{len(conversations)} dialogues collected before this round")
        conversations += [
            _conversation(dialogue, source=source, teacher=model.name, terms=terms)
            for dialogue in batch
            if dialogue.is_kept(spec)
        ]
        curve.append((collection.usage.requests, len(conversations)))
    return Collected(
        conversations=tuple(conversations),
        drops=tuple(collection.drops),
        stats=collection.usage.stats(collection.drops, conversations=len(conversations)),
        yield_curve=tuple(curve),
        stopped="every prompt was asked",
    )


def answer_requests(spec: AnswerSpec, prompts: Iterable[Conversation], *, seed: int) -> list[Request]:
    """The requests for the first turns of ``prompts``, exactly as :func:`answer` will ask them. Asks nothing."""
    dialogues = (_Dialogue(prompt, sample, spec) for prompt in prompts for sample in range(spec.samples))
    return [dialogue.request(spec, seed) for dialogue in dialogues if dialogue.waiting]


def _count_turns(spec: AnswerSpec, prompts: Iterable[Conversation]) -> int | None:
    """User turns to ask, all samples together; ``None`` where ``prompts`` can be walked through once only."""
    if not isinstance(prompts, Sequence):
        return None
    turns = [len([message for message in prompt.messages if message.role == "user"]) for prompt in prompts]
    return spec.samples * sum(min(count, spec.max_turns or count) for count in turns)


class _Answers:
    """Asks dialogues a turn at a time; keeps the drops and the counts."""

    def __init__(
        self, spec: AnswerSpec, model: TextModel, seed: int, progress: Progress | None, *, total: int | None
    ) -> None:
        self._spec, self._model, self._seed, self._progress, self._total = spec, model, seed, progress, total
        self._turns_done = 0
        self.usage, self.drops = Usage(), list[Drop]()

    def ask_all(self, dialogues: Sequence[_Dialogue], *, standing: str) -> None:
        """Take every dialogue to its last turn, or to the first that gets no answer."""
        for dialogue in dialogues:
            if not dialogue.waiting:
                self._give_up(dialogue, "no_user_turn", "")
        while active := [dialogue for dialogue in dialogues if dialogue.is_open()]:
            requests = [dialogue.request(self._spec, self._seed) for dialogue in active]
            replies = ask(self._model, requests, self.usage, standing=standing, progress=self._turn_progress)
            for dialogue, reply in zip(active, replies, strict=True):
                fault = unusable(reply, keep_cut=self._spec.keep_cut)
                if fault is None:
                    dialogue.take(reply)
                    self._turns_done += 1
                else:
                    self._give_up(dialogue, *fault)
            self._turn_progress(0, None)

    def _give_up(self, dialogue: _Dialogue, reason: str, detail: str) -> None:
        dialogue.given_up = True
        self._turns_done += len(dialogue.waiting) - dialogue.answered
        turn = dialogue.answered + 1
        name = f"{dialogue.name}/turn-{turn}" if dialogue.is_kept(self._spec) else dialogue.name
        where = f"turn {turn} of {len(dialogue.waiting)}"
        self.drops.append(
            Drop(id=name, step=STEP, reason=reason, detail=f"{where}: {detail}"[:500] if detail else where)
        )

    def _turn_progress(self, done: int, _: int | None) -> None:
        if self._progress is not None:
            self._progress(self._turns_done + done, self._total)


def _conversation(dialogue: _Dialogue, *, source: str, teacher: str, terms: str) -> Conversation:
    return Conversation(
        id=dialogue.name,
        messages=tuple(dialogue.messages),
        source=source or dialogue.prompt.source,
        teacher=teacher,
        terms=terms,
        requests=tuple(dialogue.digests),
        tags=dialogue.prompt.tags,
    )
