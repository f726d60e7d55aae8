"""lm-eval's `local-completions` works against a served model and measures what lm-eval's own engine measures."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from epigone.models import ServerProcess


@pytest.mark.slow
def test_lm_eval_measures_the_same_through_the_server_as_with_its_own_engine(
    make_model: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """lm-eval as a whole, as its users run it: a multiple-choice and a free-text task of files on this disk."""
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "datasets")
    import lm_eval

    cities = [" Kiel", " Lisbon", " the harbour", " Rome"]
    rows = [{"question": f"Where is boat {number}?", "choices": cities, "answer": number % 4} for number in range(12)]
    (tmp_path / "quiz.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    common = {
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(tmp_path / "quiz.jsonl")}},
        "test_split": "test",
        "doc_to_text": "Question: {{question}}\nAnswer:",
    }
    choice = {"task": "choice", "output_type": "multiple_choice", "doc_to_choice": "{{choices}}",
              "doc_to_target": "{{answer}}", "metric_list": [{"metric": "acc"}]}  # fmt: skip
    free = {"task": "free", "output_type": "generate_until", "doc_to_target": "Kiel",
            "generation_kwargs": {"until": ["\n"], "max_gen_toks": 6, "temperature": 0, "do_sample": False},
            "metric_list": [{"metric": "exact_match"}]}  # fmt: skip
    folder = make_model("llama")

    def measure(model: str, arguments: dict[str, object]) -> dict[str, list[object]]:
        found = lm_eval.simple_evaluate(
            model, model_args=arguments, tasks=[common | choice, common | free], log_samples=True, bootstrap_iters=0
        )
        return {task: [sample["filtered_resps"] for sample in rows] for task, rows in found["samples"].items()}

    with ServerProcess(str(folder), dtype="float32", log=tmp_path / "log") as server:
        served = measure(
            "local-completions",
            {"base_url": f"{server.base_url}/completions", "model": server.model_name, "tokenizer": str(folder),
             "num_concurrent": 4, "max_length": 256},
        )  # fmt: skip
    own = measure("hf", {"pretrained": str(folder), "dtype": "float32", "device": "cpu"})
    assert served["free"] == own["free"]
    for ours, theirs in zip(served["choice"], own["choice"], strict=True):
        assert [value for value, _ in ours] == pytest.approx([value for value, _ in theirs], abs=1e-4)
        assert [greedy for _, greedy in ours] == [greedy for _, greedy in theirs]
