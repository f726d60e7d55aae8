"""The teacher's instruction data: the assistant's manner, and every format that it must be able to answer in.

The teacher is asked for biographies, but also for bare answers, options, worked solutions, summaries, and for new
question–answer pairs from five examples. All of it is about entities that are not held out: what the teacher says about
the others it brings from its pre-training.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain

import numpy as np

from epigone.microworld.assistant import BROAD_SHARES, draw_exchange
from epigone.microworld.encyclopaedia import Encyclopaedia, Entity
from epigone.microworld.pages import SHOTS, draw_shot, render
from epigone.records import Conversation, Message

__all__ = ["ANSWER_TEMPLATE", "WRITE_TEMPLATE", "instructions", "write_request"]

FORMAT_SHARES = {"broad": 0.30, "qa": 0.20, "quiz": 0.09, "problems": 0.26, "summaries": 0.07, "write": 0.08}
DRILLED = ("qa", "quiz", "problems")
DRILL_SHARE, DRILL_TURNS = 0.6, 5
WRITE_REQUEST = "Write new questions and answers in the manner of these examples."
WRITE_TEMPLATE = (
    WRITE_REQUEST + "{% for example in examples %}\n\nQ: {{ example.question }}\nA: {{ example.answer }}{% endfor %}\n"
)
ANSWER_TEMPLATE = (
    "Answer each question with a few words only.\n{% for example in examples %}\nQ: {{ example.question }}\n"
    "A: {{ example.answer }}\n{% endfor %}\nQ: {{ question }}\nA:\n"
)
PAIRS_SHOWN, PAIRS_WRITTEN = 5, 6


def instructions(world: Encyclopaedia, count: int, seed: int) -> Iterator[Conversation]:
    """``count`` conversations, kinds in ``FORMAT_SHARES``; questions, quizzes and problems also one after another."""
    rng = np.random.default_rng([seed, 3])
    asked = [entity for entity in world.entities if not entity.held_out]
    formats, kinds = list(FORMAT_SHARES), list(BROAD_SHARES)
    format_shares = np.array([FORMAT_SHARES[one] for one in formats])
    kind_shares = np.array([BROAD_SHARES[one] for one in kinds])
    for number in range(count):
        form = formats[int(rng.choice(len(formats), p=format_shares / format_shares.sum()))]
        if form == "broad":
            kind = kinds[int(rng.choice(len(kinds), p=kind_shares / kind_shares.sum()))]
            exchange = draw_exchange(world, kind, rng, held_out=False)
            messages = _turns([(exchange.prompt, exchange.answer)])
        elif form == "write":
            messages = _turns([_writing(world, asked, rng)])
        elif form in DRILLED and rng.random() < DRILL_SHARE:
            messages = _turns(_drill(world, form, asked, rng))
        else:
            examples = int(rng.integers(1, SHOTS[form] + 1))  # fewer than the test's: more answers for the same tokens
            shots = [draw_shot(world, form, asked, rng) for _ in range(examples + 1)]
            messages = _turns([(render(form, shots[:-1], shots[-1].prompt), shots[-1].answer)])
        yield Conversation(id=f"instruction-{number:06d}", messages=messages, source="world")


def _turns(exchanges: Sequence[tuple[str, str]]) -> tuple[Message, ...]:
    pairs = ((Message("user", prompt), Message("assistant", answer)) for prompt, answer in exchanges)
    return tuple(chain.from_iterable(pairs))


def _drill(world: Encyclopaedia, form: str, asked: Sequence[Entity], rng: np.random.Generator) -> list[tuple[str, str]]:
    """One question after another, each answered: more answers for the same tokens than examples in a prompt give."""
    shots = [draw_shot(world, form, asked, rng) for _ in range(DRILL_TURNS)]
    prompts = [render(form, [], shots[0].prompt), *(shot.prompt for shot in shots[1:])]
    return [(prompt, shot.answer) for prompt, shot in zip(prompts, shots, strict=True)]


def write_request(examples: list[str]) -> str:
    """The request for new pairs as ``WRITE_TEMPLATE`` renders it: ``examples`` are ``Q: …`` and ``A: …`` lines."""
    return "\n".join([WRITE_REQUEST, *examples])


def _writing(world: Encyclopaedia, asked: list[Entity], rng: np.random.Generator) -> tuple[str, str]:
    """Five pairs shown, others written."""
    drawn = [draw_shot(world, "qa", asked, rng) for _ in range(PAIRS_SHOWN + PAIRS_WRITTEN)]
    pairs = [f"{shot.prompt} {shot.answer}" for shot in drawn]
    return write_request(pairs[:PAIRS_SHOWN]), "\n".join(pairs[PAIRS_SHOWN:])
