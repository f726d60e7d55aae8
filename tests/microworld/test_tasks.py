"""The task files, read by the evaluation's own loader: prompts, shots, and scores of right and wrong answers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from epigone.evaluate.benchmarks import BenchmarkSpec, load_tasks, run_benchmarks
from epigone.microworld import Encyclopaedia, Scale
from epigone.microworld.pages import SHOTS, render
from epigone.microworld.tasks import TASKS, draw_items
from epigone.models import Progress
from epigone.records import Reply, Request, ScoreReply, ScoreRequest


class AnswerKey:
    """A model that knows the answer to the last example of each prompt; ``wrong``: gives the others' answers."""

    name, parameters = "answer-key", None

    def __init__(self, answers: dict[str, str], *, wrong: bool) -> None:
        self.answers, self.wrong = answers, wrong

    def _known(self, request: Request | ScoreRequest) -> str:
        text = request.messages[-1].content if request.messages else request.prompt or ""
        return next(answer for prompt, answer in self.answers.items() if text.endswith(prompt))

    def generate(self, requests: Sequence[Request], progress: Progress | None = None) -> list[Reply]:
        return [Reply(status="ok", text="nothing" if self.wrong else f" {self._known(one)}\n") for one in requests]

    def score(self, requests: Sequence[ScoreRequest], progress: Progress | None = None) -> list[ScoreReply]:
        return [
            ScoreReply(
                status="ok", logprob=-1.0 if (one.continuation.strip() == self._known(one)) != self.wrong else -9.0
            )
            for one in requests
        ]

    def count_tokens(self, text: str) -> int | None:
        return None

    def close(self) -> None:
        pass


HEADLINES = {"qa": "exact_match", "quiz": "acc", "problems": "exact_match", "summaries": "rouge1"}


@pytest.mark.parametrize("chat", [False, True])
@pytest.mark.parametrize("task", TASKS)
def test_the_right_answers_score_one_and_wrong_ones_zero(
    world: Encyclopaedia, scale: Scale, world_folder: Path, task: str, chat: bool
) -> None:
    loaded = load_tasks([BenchmarkSpec(task=str(world_folder / f"tasks/{task}.yaml"))], seed=0)
    answers = {shot.prompt: shot.answer for shot in draw_items(world, task, scale.items[task], 0)}
    for wrong in (False, True):
        scored = run_benchmarks(AnswerKey(answers, wrong=wrong), loaded, chat=chat, seed=0)
        assert len(scored) == scale.items[task]
        assert {item.scores[HEADLINES[task]] for item in scored} == {0.0 if wrong else 1.0}


@pytest.mark.parametrize("task", TASKS)
def test_a_prompt_is_a_page_of_the_corpus_whose_last_answer_is_missing(world_folder: Path, task: str) -> None:
    [loaded] = load_tasks([BenchmarkSpec(task=str(world_folder / f"tasks/{task}.yaml"))], seed=0)
    opening = {"qa": "Q:", "quiz": "Question:", "problems": "Problem:", "summaries": "Article:"}[task]
    for item in loaded.items:
        assert isinstance(item.context, str)
        assert item.context.startswith(render(task, [])) and item.context.endswith(":")
        assert sum(line.startswith(opening) for line in item.context.split("\n")) == SHOTS[task] + 1
        assert "\n\n" not in item.context


def test_a_quiz_has_four_different_options_and_the_right_one_stands_anywhere(
    world: Encyclopaedia, scale: Scale
) -> None:
    items = draw_items(world, "quiz", 60, 0)
    assert all(len(set(item.options)) == 4 and item.answer in item.options for item in items)
    assert {item.options.index(item.answer) for item in items} == {0, 1, 2, 3}
