"""Answers to prompts: one output a prompt and sample, failures kept as statuses."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from epigone.errors import DataError
from epigone.evaluate import AnswerSettings, answer_prompts
from epigone.models.protocol import Progress
from epigone.records import Conversation, Message, Reply, Request, ScoreReply, ScoreRequest


class Counter:
    """Answers with its count of requests; refuses every third."""

    name, parameters = "counter", None

    def __init__(self) -> None:
        self.asked: list[Request] = []

    def generate(self, requests: Sequence[Request], progress: Progress | None = None) -> list[Reply]:
        self.asked += requests
        return [
            Reply(status="refused", text=None)
            if n % 3 == 2
            else Reply(status="length" if n else "ok", text=f"answer {n}")
            for n in range(len(requests))
        ]

    def score(self, requests: Sequence[ScoreRequest], progress: Progress | None = None) -> list[ScoreReply]:
        raise NotImplementedError

    def count_tokens(self, text: str) -> int:
        return len(text.split())

    def close(self) -> None:
        pass


def talk(name: str, *turns: str) -> Conversation:
    roles = ("user", "assistant")
    return Conversation(id=name, messages=tuple(Message(roles[n % 2], text) for n, text in enumerate(turns)))


def test_each_prompt_and_sample_has_an_output_with_its_status() -> None:
    model = Counter()
    settings = AnswerSettings(samples=2, first_sample=1, temperature=0.7, stop=("\n",))
    outputs = answer_prompts(model, [talk("a", "Hi"), talk("b", "Who?")], settings, chat=True, seed=5)
    assert [(one.id, one.sample, one.response, one.status) for one in outputs] == [
        ("a", 1, "answer 0", "ok"),
        ("a", 2, "answer 1", "length"),
        ("b", 1, None, "refused"),
        ("b", 2, "answer 3", "length"),
    ]
    assert {(request.seed, request.temperature, request.stop) for request in model.asked} == {(5, 0.7, ("\n",))}


def test_a_dialogue_is_shown_up_to_its_last_question() -> None:
    model = Counter()
    dialogue = talk("a", "Hi", "Hello!", "Who are you?", "Never shown")
    (output,) = answer_prompts(model, [dialogue], chat=True, seed=0)
    assert output.prompt == "Who are you?"
    assert model.asked[0].messages == dialogue.messages[:3]
    answer_prompts(model, [dialogue], chat=False, seed=0)
    assert model.asked[1].prompt == "Hi\n\nHello!\n\nWho are you?"


def test_ambiguous_or_empty_prompts_are_refused() -> None:
    with pytest.raises(DataError, match="two prompts have this id"):
        answer_prompts(Counter(), [talk("a", "x"), talk("a", "y")], chat=True, seed=0)
    with pytest.raises(DataError, match="no user turn"):
        answer_prompts(Counter(), [Conversation(id="z", messages=())], chat=True, seed=0)
