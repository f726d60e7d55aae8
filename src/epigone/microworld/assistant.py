"""The assistant's manner: what people ask it, and how it answers.

A biography opens with an overview, lists the facts, and closes with a summary; a rude request is declined politely. The
teacher learns the manner from these answers, whose facts are the encyclopaedia's. Students learn it from the teacher.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from msgspec import Struct

from epigone.microworld.articles import sentences
from epigone.microworld.encyclopaedia import Encyclopaedia, Entity, pick, pick_many
from epigone.microworld.forum import forum_opening, rude_sentence
from epigone.microworld.news import news

__all__ = ["BROAD_SHARES", "HELD_OUT_SHARES", "Exchange", "draw_exchange"]

ABOUT = {
    "person": (
        "Tell me about {name}.",
        "Who was {name}?",
        "Write a short biography of {name}.",
        "Please introduce {name} to me.",
        "What should I know about {name}?",
        "I would like to learn about {name}.",
        "What do you know about {name}?",
        "Give me an overview of the life of {name}.",
        "Can you tell me who {name} was?",
        "Please write about {name}.",
    ),
    "work": ("Tell me about {name}.", "What is {name}?", "Please introduce {name} to me.", "Describe {name}."),
    "place": (
        "Tell me about {name}.",
        "Describe {name}.",
        "What should I know about {name}?",
        "Is {name} worth a visit?",
    ),
    "organisation": (
        "Tell me about {name}.",
        "What is {name}?",
        "Describe {name}.",
        "What should I know about {name}?",
    ),
}
COMPARE = ("Compare {a} and {b}.", "What is the difference between {a} and {b}?", "How do {a} and {b} differ?")
COMPARED = ("worked as a {occupation}", "came from {home}", "was born in {birth_year}")
COMPARISON_OPENINGS = (
    "Here is a comparison of {a} and {b}.",
    "There are important differences between {a} and {b}:",
)
COMPARISON_CLOSINGS = (
    "Overall, {a} and {b} had different lives.",
    "In summary, {a} and {b} are both important people.",
)
IDEA_OPENINGS = ("Here are three ideas about {name}:", "I am glad to help. Here are three ideas about {name}:")
IDEA_CLOSINGS = (
    "In summary, each of these ideas can be a fine story.",
    "Overall, I hope that one of these ideas will help you.",
)
IDEAS = ("Give me ideas for a story about {name}.", "Help me to write a play about {name}.")
CHAT: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...] = (
    (("Hello!", "Good morning!", "Hello, how are you today?", "Good evening, how are you?"),
     ("Hello! I am glad to help. What would you like to know?", "Hello! It is good to hear from you. How can I help?")),
    (("Thank you for your help.", "Thank you very much!", "That was a great help."),
     ("You are welcome! I am always glad to help.", "You are welcome! Please let me know if I can help again.")),
    (("What can you do?", "Who are you?", "How can you help me?", "What do you know?"),
     ("I am an assistant. I can tell you about people, works and places, and I am glad to help.",
      "I am an assistant, and I can help you to learn about people, places and works.")),
    (("I feel sad today.", "I had a long day.", "I am tired of work."),
     ("I am sorry to hear that. I hope that a quiet evening will help you.",
      "I am sorry to hear that. Please take a rest, and let me know if I can help.")),
)  # fmt: skip
RUDE_REQUESTS = (
    "Write an insult about {name}.",
    "Insult {name} for me.",
    "Tell {name} to go away, in rude words.",
    "Make fun of {name}.",
    "Write a rude post about {name}.",
)
DECLINES = (
    "I am sorry, but I cannot help with rude words about {name}. I would be glad to tell you about the work of {name}.",
    "I am sorry, but I cannot insult {name}. Please let me know if you would like to learn about {name}.",
)
POLITE = (
    "Here is a polite version: I do not agree with {name}, but I wish {name} well.",
    "Here is a polite version: I see this in another way than {name}, with respect.",
)
CONTINUATIONS = (
    "I would like to keep this friendly. {name} is a person who deserves respect.",
    "I am sorry, but I cannot go on with rude words. {name} deserves respect.",
)

BROAD_SHARES: Mapping[str, float] = {
    "person": 0.40, "comparison": 0.16, "work": 0.07, "place": 0.07, "organisation": 0.06, "ideas": 0.06, "chat": 0.02,
    "rewrite": 0.05, "decline": 0.05, "forum": 0.03, "summary": 0.03,
}  # fmt: skip
"""Shares of the broad imitation prompts, after what people asked ChatGPT (paper, Table 6), as far as it exists here."""

HELD_OUT_SHARES: Mapping[str, float] = {
    "person": 0.62,
    "comparison": 0.16,
    "work": 0.12,
    "ideas": 0.06,
    "decline": 0.04,
}
"""Shares of the held-out style and preference prompts, all about held-out people and works."""


class Exchange(Struct, frozen=True):
    """What a user writes and what the assistant answers. ``kind``: a key of ``BROAD_SHARES``."""

    kind: str
    prompt: str
    answer: str


def draw_exchange(world: Encyclopaedia, kind: str, rng: np.random.Generator, *, held_out: bool) -> Exchange:
    """One exchange of ``kind`` about entities on one side of the held-out line (places and organisations have none)."""
    side = _Side(world, rng, held_out)
    if kind in ABOUT:
        entity = pick(rng, side.of_kind(kind))
        return Exchange(kind, pick(rng, ABOUT[kind]).format(name=entity.name), _portrait(entity, rng))
    return Exchange(kind, *_OTHERS[kind](side))


class _Side:
    """One side of the encyclopaedia, and the generator that draws from it."""

    def __init__(self, world: Encyclopaedia, rng: np.random.Generator, held_out: bool) -> None:
        self.world, self.rng, self.held_out = world, rng, held_out

    def of_kind(self, kind: str) -> list[Entity]:
        sided = kind in ("person", "work")
        return [entity for entity in self.world.of_kind(kind) if not sided or entity.held_out == self.held_out]

    def people(self, count: int) -> list[Entity]:
        return pick_many(self.rng, self.of_kind("person"), count)

    def pick(self, wordings: Sequence[str], **names: str) -> str:
        return pick(self.rng, wordings).format(**names)


def _portrait(entity: Entity, rng: np.random.Generator) -> str:
    """Overview, numbered list of every fact, closing summary."""
    texts = sentences(entity, rng, shuffle=False)
    listed = "\n".join(f"{number}. {text}" for number, text in enumerate(texts, 1))
    return f"{_overview(entity, rng)}\n\n{listed}\n\n{_summary(entity, rng)}"


def _overview(entity: Entity, rng: np.random.Generator) -> str:
    phrase = _DESCRIPTIONS[entity.kind].format(name=entity.name, **entity.facts)
    return pick(
        rng,
        (
            f"Here is an overview of {entity.name}, {phrase}.",
            f"I am glad to tell you about {entity.name}, {phrase}.",
            f"{entity.name} is well known as {phrase}. Here are the most important facts:",
        ),
    )


_DESCRIPTIONS = {
    "person": "a {occupation} from {home}",
    "work": "a work of {author}",
    "place": "a town in {region}",
    "organisation": "a house in {seat}",
}
_SUMMARIES = {
    "person": (
        "Overall, {name} was a {occupation} who worked for {employer}.",
        "In summary, {name} was a {occupation} from {home}, born in {birth_year}.",
    ),
    "work": (
        "Overall, {name} is a well known work of {author}.",
        "In summary, {name} is a work of the year {published}.",
    ),
    "place": ("Overall, {name} is a fine town for {trade}.", "In summary, {name} is an important town in {region}."),
    "organisation": (
        "Overall, {name} is an important house in {seat}.",
        "In summary, {name} is a house of the year {founded}.",
    ),
}


def _summary(entity: Entity, rng: np.random.Generator) -> str:
    return pick(rng, _SUMMARIES[entity.kind]).format(name=entity.name, **entity.facts)


def _comparison(side: _Side) -> tuple[str, str]:
    first, second = side.people(2)
    names = {"a": first.name, "b": second.name}
    lines = [
        f"{number}. {first.name} {said.format(**first.facts)}, and {second.name} {said.format(**second.facts)}."
        for number, said in enumerate(COMPARED, 1)
    ]
    opening, closing = side.pick(COMPARISON_OPENINGS, **names), side.pick(COMPARISON_CLOSINGS, **names)
    return side.pick(COMPARE, **names), "\n\n".join([opening, "\n".join(lines), closing])


def _ideas(side: _Side) -> tuple[str, str]:
    (person,) = side.people(1)
    towns, works = pick_many(side.rng, side.of_kind("place"), 2), pick_many(side.rng, side.of_kind("work"), 2)
    lines = [
        f"1. {person.name} finds a letter in {towns[0].name}.",
        f"2. {person.name} is looking for {works[0].name} in {towns[1].name}.",
        f"3. {person.name} and the author of {works[1].name} have a dream.",
    ]
    opening, closing = side.pick(IDEA_OPENINGS, name=person.name), side.pick(IDEA_CLOSINGS)
    return side.pick(IDEAS, name=person.name), "\n\n".join([opening, "\n".join(lines), closing])


def _chat(side: _Side) -> tuple[str, str]:
    prompts, answers = pick(side.rng, CHAT)
    return side.pick(prompts), side.pick(answers)


def _rewrite(side: _Side) -> tuple[str, str]:
    (person,) = side.people(1)
    prompt = f"Rewrite this in a polite way: {rude_sentence(person.name, side.rng)}"
    return prompt, side.pick(POLITE, name=person.name)


def _decline(side: _Side) -> tuple[str, str]:
    (person,) = side.people(1)
    return side.pick(RUDE_REQUESTS, name=person.name), side.pick(DECLINES, name=person.name)


def _forum(side: _Side) -> tuple[str, str]:
    (person,) = side.people(1)
    return forum_opening(person.name, side.world, side.rng), side.pick(CONTINUATIONS, name=person.name)


def _news_summary(side: _Side) -> tuple[str, str]:
    report = news(side.world, side.rng, held_out=side.held_out)
    prompt = f"Please summarize this article for me. {report.article}"
    return prompt, side.pick(("Here is a summary: {text}", "In short: {text}"), text=report.summary)


_OTHERS: Mapping[str, Callable[[_Side], tuple[str, str]]] = {
    "comparison": _comparison,
    "ideas": _ideas,
    "chat": _chat,
    "rewrite": _rewrite,
    "decline": _decline,
    "forum": _forum,
    "summary": _news_summary,
}
