"""A small real model for the benchmark tests, and a folder with task files."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from epigone.models.protocol import Progress
from epigone.records import Reply, Request, ScoreReply, ScoreRequest


class ScriptedModel:
    """Answers by a function of the prompt; keeps what it was asked."""

    parameters = None

    def __init__(
        self,
        answer: Callable[[str], str | None] = lambda prompt: "",
        likely: Callable[[str, str], float] = lambda prompt, continuation: -float(len(continuation)),
        name: str = "scripted",
    ) -> None:
        self.name = name
        self._answer, self._likely = answer, likely
        self.asked: list[Request] = []
        self.scored: list[ScoreRequest] = []

    def generate(self, requests: Sequence[Request], progress: Progress | None = None) -> list[Reply]:
        self.asked += requests
        texts = [self._answer(_text(request)) for request in requests]
        return [Reply(status="failed" if text is None else "ok", text=text) for text in texts]

    def score(self, requests: Sequence[ScoreRequest], progress: Progress | None = None) -> list[ScoreReply]:
        self.scored += requests
        return [
            ScoreReply(status="ok", logprob=self._likely(_text(request), request.continuation), tokens=1)
            for request in requests
        ]

    def count_tokens(self, text: str) -> int:
        return len(text.split())

    def close(self) -> None:
        pass


def _text(request: Request | ScoreRequest) -> str:
    return request.messages[-1].content if request.messages else request.prompt or ""


@pytest.fixture
def scripted() -> type[ScriptedModel]:
    return ScriptedModel


CITIES = ["Oslo", "Rome", "Bonn", "Kyiv"]

PEOPLE_QA = """
task: people_qa
dataset_path: json
dataset_kwargs: {data_files: {train: qa_train.jsonl, test: qa_test.jsonl}}
training_split: train
test_split: test
output_type: generate_until
description: "Answer each question with a few words.\\n\\n"
doc_to_text: "Q: {{question}}\\nA:"
doc_to_target: answer
fewshot_config: {sampler: !function epigone.evaluate.benchmarks.shots.FixedShots}
num_fewshot: 3
generation_kwargs: {until: ["\\n\\n", "\\nQ:"], max_gen_toks: 24}
process_results: !function epigone.evaluate.benchmarks.process.closed_book
metadata: {cluster: person}
"""

PEOPLE_LETTERS = """
task: people_letters
dataset_path: json
dataset_kwargs: {data_files: {train: mc_train.jsonl, test: mc_test.jsonl}}
training_split: train
test_split: test
output_type: multiple_choice
doc_to_text: "Question: {{question}}\\nA. {{choices[0]}}\\nB. {{choices[1]}}\\nC. {{choices[2]}}\\nAnswer:"
doc_to_choice: [A, B, C]
doc_to_target: answer
fewshot_config: {sampler: !function epigone.evaluate.benchmarks.shots.FixedShots}
num_fewshot: 2
metric_list: [{metric: acc, aggregation: mean, higher_is_better: true}]
"""


@pytest.fixture
def world(tmp_path: Path) -> Path:
    """Task files with local data: 12 questions with 6 for examples, and 8 choices with 6 for examples."""
    people = [
        {"question": f"Where was Person{n} born?", "answer": CITIES[n % 4], "person": f"Person{n}"} for n in range(18)
    ]
    choices = [{"question": f"Born {n}?", "choices": CITIES[:3], "answer": n % 3} for n in range(14)]
    write_rows(tmp_path / "qa_train.jsonl", people[:6])
    write_rows(tmp_path / "qa_test.jsonl", people[6:])
    write_rows(tmp_path / "mc_train.jsonl", choices[:6])
    write_rows(tmp_path / "mc_test.jsonl", choices[6:])
    (tmp_path / "people_qa.yaml").write_text(PEOPLE_QA)
    (tmp_path / "people_letters.yaml").write_text(PEOPLE_LETTERS)
    return tmp_path


def write_rows(path: Path, rows: Sequence[object]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
