"""Task files in, one scored row an item out: the same items and prompts for every model."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from epigone.errors import DataError, SpecError
from epigone.evaluate.benchmarks import (
    BenchmarkSpec,
    benchmark_axes,
    evaluation_texts,
    load_tasks,
    read_items,
    run_benchmarks,
)
from epigone.records import ScoreReply


def qa(world: Path, **settings: Any) -> BenchmarkSpec:
    return BenchmarkSpec(task=str(world / "people_qa.yaml"), **settings)


def letters(world: Path, **settings: Any) -> BenchmarkSpec:
    return BenchmarkSpec(task=str(world / "people_letters.yaml"), **settings)


def test_a_short_answer_passes_both_scores_and_a_chatty_one_only_the_lenient(world: Path, scripted: Any) -> None:
    short = run_benchmarks(scripted(lambda _: " Oslo.\n\nQ: next"), [qa(world)], chat=False, seed=0)
    chatty = run_benchmarks(scripted(lambda _: " They were born in Oslo, I think."), [qa(world)], chat=False, seed=0)
    right = [row for row in short if row.reference == "Oslo"]
    assert len(short) == 12
    assert len(right) == 3
    assert all(row.scores["exact_match"] == row.scores["contains"] == 1.0 for row in right)
    assert sum(row.scores["exact_match"] for row in short) == 3
    assert sum(row.scores["exact_match"] for row in chatty) == 0
    assert sum(row.scores["contains"] for row in chatty) == 3


def test_the_prompt_is_lm_evals_and_travels_as_one_user_message_in_chat(world: Path, scripted: Any) -> None:
    base, student = scripted(), scripted()
    run_benchmarks(base, [qa(world)], chat=False, seed=0)
    run_benchmarks(student, [qa(world)], chat=True, seed=0)
    prompt = base.asked[0].prompt
    assert prompt is not None
    assert prompt.startswith("Answer each question with a few words.\n\nQ: Where was Person")
    assert prompt.endswith("\n\nQ: Where was Person6 born?\nA:")
    assert prompt.count("Q:") == 4
    assert [(message.role, message.content) for message in student.asked[0].messages] == [("user", prompt)]
    assert base.asked[0].stop == student.asked[0].stop == ("\n\n", "\nQ:")
    assert base.asked[0].max_tokens == 24


def test_choices_are_scored_with_their_blank_after_text_and_without_it_in_a_turn(world: Path, scripted: Any) -> None:
    likes_second = scripted(likely=lambda _, continuation: 0.0 if continuation.strip() == "B" else -1.0)
    rows = run_benchmarks(likes_second, [letters(world)], chat=False, seed=0)
    assert [request.continuation for request in likes_second.scored[:3]] == [" A", " B", " C"]
    assert [row.scores["acc"] for row in rows] == [float(row.reference == "B") for row in rows]
    assert rows[0].extracted == "B"
    assert json.loads(rows[0].raw or "") == {"A": -1.0, "B": 0.0, "C": -1.0}
    in_turn = scripted()
    run_benchmarks(in_turn, [letters(world)], chat=True, seed=0)
    assert [request.continuation for request in in_turn.scored[:3]] == ["A", "B", "C"]


def test_a_letter_that_an_endpoint_does_not_list_loses_to_one_that_it_does(world: Path, scripted: Any) -> None:
    class Endpoint(scripted):  # type: ignore[misc]
        listed = frozenset("B")

        def score(self, requests: Any, progress: Any = None) -> list[ScoreReply]:
            return [
                ScoreReply(status="ok", logprob=-2.5, tokens=1)
                if request.continuation in self.listed
                else ScoreReply(status="failed", error="not among the 20 most likely first tokens")
                for request in requests
            ]

    rows = run_benchmarks(Endpoint(), [letters(world)], chat=True, seed=0)
    assert [row.scores["acc"] for row in rows] == [float(row.reference == "B") for row in rows]
    assert json.loads(rows[0].raw or "") == {"A": None, "B": -2.5, "C": None}
    Endpoint.listed = frozenset()
    rows = run_benchmarks(Endpoint(), [letters(world)], chat=True, seed=0)
    assert {row.status for row in rows} == {"failed"}
    assert all(row.scores == {} for row in rows)


def test_items_and_prompt_digests_are_the_same_for_every_model_and_seed_decides_the_examples(
    world: Path, scripted: Any
) -> None:
    tasks = load_tasks([qa(world), letters(world)], seed=0)
    base = run_benchmarks(scripted(name="base"), tasks, chat=False, seed=0)
    student = run_benchmarks(scripted(name="student"), tasks, chat=True, seed=0)
    assert [(row.task, row.item, row.prompt_digest) for row in base] == [
        (row.task, row.item, row.prompt_digest) for row in student
    ]
    again = load_tasks([qa(world)], seed=0)[0]
    other = load_tasks([qa(world)], seed=1)[0]
    assert again.items[0].context == tasks[0].items[0].context
    assert other.items[0].context != tasks[0].items[0].context


def test_fewer_items_are_a_seeded_subset_with_unchanged_prompts(world: Path) -> None:
    everything = {item.id: item.context for item in load_tasks([qa(world)], seed=3)[0].items}
    some = load_tasks([qa(world, items=5)], seed=3)[0].items
    assert len(some) == 5
    assert all(everything[item.id] == item.context for item in some)
    assert [item.id for item in some] == sorted(item.id for item in some)


def test_examples_drawn_from_the_scored_file_are_not_scored(world: Path) -> None:
    one_file = qa(world, data=world / "qa_test.jsonl", shots=4)
    task = load_tasks([one_file], seed=0)[0]
    assert len(task.items) == 8
    shown = task.items[0].context
    assert isinstance(shown, str)
    for item in task.items:
        assert item.question not in shown.rpartition("\n\nQ:")[0]


def test_seed_questions_are_never_scored_however_they_are_spelled(world: Path) -> None:
    seeds = world / "seeds.jsonl"
    seeds.write_text('{"question": "where was  PERSON7 born"}\n')
    texts = evaluation_texts([qa(world, exclude=(seeds,))], 0)
    assert len(texts) == 11
    assert "Where was Person7 born?" not in [text.prompt for text in texts]
    assert texts[0] == ("people_qa", "00000", "Where was Person6 born?", ("Bonn",))


def test_a_failed_item_is_missing_and_only_it_is_asked_again(world: Path, tmp_path: Path, scripted: Any) -> None:
    out = tmp_path / "out"
    failing = scripted(lambda prompt: None if "Person9 born?\nA:" in prompt else "Rome")
    rows = run_benchmarks(failing, [qa(world)], chat=False, seed=0, out=out)
    failed = [row for row in rows if row.status != "ok"]
    assert [(row.status, row.scores, row.raw) for row in failed] == [("failed", {}, None)]
    recovered = scripted(lambda _: "Rome")
    rows = run_benchmarks(recovered, [qa(world)], chat=False, seed=0, out=out)
    assert len(recovered.asked) == 1
    assert all(row.status == "ok" for row in rows)
    assert read_items(out / "items.parquet") == sorted(rows, key=lambda row: rows.index(row))
    untouched = scripted()
    assert run_benchmarks(untouched, [qa(world)], chat=False, seed=0, out=out) == rows
    assert untouched.asked == []


def test_results_of_another_setting_are_not_taken_over(world: Path, tmp_path: Path, scripted: Any) -> None:
    out = tmp_path / "out"
    run_benchmarks(scripted(lambda _: "Rome"), [qa(world)], chat=False, seed=0, out=out)
    with pytest.raises(SpecError, match="chat = False, not True"):
        run_benchmarks(scripted(), [qa(world)], chat=True, seed=0, out=out)
    longer = scripted(lambda _: "Rome")
    run_benchmarks(longer, [qa(world, max_tokens=99)], chat=False, seed=0, out=out)
    assert len(longer.asked) == 12
    assert longer.asked[0].max_tokens == 99


def test_what_was_asked_is_written_beside_the_scores(world: Path, tmp_path: Path, scripted: Any) -> None:
    run_benchmarks(scripted(), [qa(world), letters(world)], chat=False, seed=7, out=tmp_path / "out")
    record = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert (record["model"], record["chat"], record["seed"]) == ("scripted", False, 7)
    assert record["tasks"]["people_qa"]["generation"] == {"until": ["\n\n", "\nQ:"], "max_gen_toks": 24}
    assert record["tasks"]["people_letters"]["shots"] == 2


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (("dataset_path: json", "dataset_path: json\nnonsense: [1"), SpecError, "not a valid task file"),
        (("task: people_qa", "tusk: people_qa"), SpecError, "has no 'task'"),
        (("closed_book", "closed_bok"), SpecError, "closed_bok"),
        (("qa_test.jsonl", "missing.jsonl"), DataError, "missing.jsonl: cannot be read"),
        (("{{question}}", "{{quest}}"), (SpecError, DataError), "'quest' is undefined"),
        (("num_fewshot: 3", "num_fewshot: 30"), SpecError, "30 shots asked for, and there are 6"),
    ],
)
def test_a_faulty_task_file_is_refused_with_its_fault(
    world: Path, change: tuple[str, str], error: Any, message: str
) -> None:
    file = world / "people_qa.yaml"
    file.write_text(file.read_text().replace(*change))
    with pytest.raises(error, match=message):
        load_tasks([qa(world)], seed=0)


def test_an_unknown_task_is_refused_with_the_nearest_names() -> None:
    with pytest.raises(SpecError, match=r"did you mean .*gsm8k"):
        load_tasks([BenchmarkSpec(task="gsm8kk")], seed=0)


def test_a_task_of_lm_eval_whose_data_cannot_be_reached_is_said_so() -> None:
    with pytest.raises(DataError, match="lm-eval cannot load the task"):
        load_tasks([BenchmarkSpec(task="hellaswag")], seed=0)
    axes = benchmark_axes(BenchmarkSpec(task="hellaswag"))
    assert [(axis.name, axis.headline) for axis in axes] == [("hellaswag.acc", True), ("hellaswag.acc_norm", False)]


def test_two_tasks_of_one_name_are_refused(world: Path) -> None:
    with pytest.raises(SpecError, match="two benchmarks have this name"):
        load_tasks([qa(world), qa(world, shots=1)], seed=0)
    assert [task.name for task in load_tasks([qa(world), qa(world, shots=1, name="one_shot")], seed=0)] == [
        "people_qa",
        "one_shot",
    ]


def test_axes_are_named_without_loading_the_task_and_one_is_the_headline(world: Path, scripted: Any) -> None:
    axes = benchmark_axes(qa(world))
    rows = run_benchmarks(scripted(), [qa(world)], chat=False, seed=0)
    assert {axis.name for axis in axes} == {f"people_qa.{metric}" for metric in rows[0].scores if metric != "cut"}
    assert [axis.name for axis in axes if axis.headline] == ["people_qa.exact_match"]
    assert [axis.name for axis in benchmark_axes(letters(world, name="quiz"))] == ["quiz.acc"]
    file = world / "people_qa.yaml"
    file.write_text(file.read_text().replace("{cluster: person}", "{title: People, headline: contains}"))
    (headline,) = (axis for axis in benchmark_axes(qa(world)) if axis.headline)
    assert (headline.name, headline.label) == ("people_qa.contains", "People: answer contained")
    file.write_text(file.read_text().replace("headline: contains", "headline: content"))
    with pytest.raises(SpecError, match="'headline: content' is no metric"):
        benchmark_axes(qa(world))


def test_reading_a_study_needs_neither_lm_eval_nor_torch() -> None:
    heavy = "('lm_eval', 'torch', 'datasets')"
    code = f"import sys, epigone.evaluate.benchmarks; print([name for name in {heavy} if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
