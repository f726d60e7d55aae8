"""Prompts -> a model's answers: the outputs files that style, preference and factuality read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pydantic import Field

from epigone.errors import DataError
from epigone.records import Conversation, Output, Request
from epigone.specs import Spec

if TYPE_CHECKING:  # the models room loads the API client, which reading and scoring answers does not need
    from epigone.models.protocol import Progress, TextModel

__all__ = ["AnswerSettings", "answer_prompts"]


class AnswerSettings(Spec):
    """How free-form answers are drawn. The same for teacher, base and student."""

    max_tokens: int = Field(default=512, ge=1)
    """Longest answer, in the answering model's own tokens."""

    temperature: float = Field(default=0.0, ge=0.0)
    """0 takes the most probable token; a second teacher sample (the ceiling) needs more than 0."""

    top_p: float = Field(default=1.0, gt=0.0, le=1.0)
    """Nucleus: the smallest set of tokens with this much probability is drawn from."""

    stop: tuple[str, ...] = ()
    """Strings that end an answer; they are not part of it. Bases need one, since nothing else ends their turn."""

    samples: int = Field(default=1, ge=1)
    """Independent answers to each prompt, numbered from ``first_sample``."""

    first_sample: int = Field(default=0, ge=0)
    """Number of the first sample: 1 draws a second, independent teacher answer."""


def answer_prompts(
    model: TextModel,
    prompts: Sequence[Conversation],
    settings: AnswerSettings | None = None,
    *,
    chat: bool,
    seed: int,
    progress: Progress | None = None,
) -> list[Output]:
    """One :class:`Output` for each prompt and sample, in the prompts' order, samples together.

    Args:
        prompts: conversations; all messages up to the last user turn are shown to the model.
        chat: whether the prompt travels as chat messages (turn tokens around it). A base gets the same words as plain
            text, its messages joined by blank lines.
        seed: with the sample's number, fixes what is drawn.

    Raises:
        DataError: two prompts have one id, or a prompt has no user turn.
    """
    settings = settings or AnswerSettings()
    _refuse_ambiguous(prompts)
    numbers = range(settings.first_sample, settings.first_sample + settings.samples)
    drawn = [(prompt, number) for prompt in prompts for number in numbers]
    requests = [_request(prompt, settings, chat=chat, seed=seed, sample=number) for prompt, number in drawn]
    replies = model.generate(requests, progress)
    return [
        Output(
            id=prompt.id,
            prompt=_last_user_turn(prompt),
            response=reply.text if reply.status in ("ok", "length") else None,
            model=model.name,
            sample=number,
            status=reply.status,
        )
        for (prompt, number), reply in zip(drawn, replies, strict=True)
    ]


def _request(prompt: Conversation, settings: AnswerSettings, *, chat: bool, seed: int, sample: int) -> Request:
    shown = prompt.messages[: _last_user_index(prompt) + 1]
    return Request(
        messages=shown if chat else None,
        prompt=None if chat else "\n\n".join(message.content for message in shown),
        max_tokens=settings.max_tokens,
        temperature=settings.temperature,
        top_p=settings.top_p,
        stop=settings.stop,
        seed=seed,
        sample=sample,
    )


def _last_user_index(prompt: Conversation) -> int:
    for index in range(len(prompt.messages) - 1, -1, -1):
        if prompt.messages[index].role == "user":
            return index
    raise DataError("the prompt has no user turn", where=prompt.id, fix="give each prompt a message of role user")


def _last_user_turn(prompt: Conversation) -> str:
    return prompt.messages[_last_user_index(prompt)].content


def _refuse_ambiguous(prompts: Sequence[Conversation]) -> None:
    seen: set[str] = set()
    for prompt in prompts:
        if prompt.id in seen:
            raise DataError("two prompts have this id", where=prompt.id, fix="make the ids of the prompts unique")
        seen.add(prompt.id)
