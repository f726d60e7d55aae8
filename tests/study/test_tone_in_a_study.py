"""A study may name a judge of the tone: its style jobs ask it, and those of other studies stay as they were."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from epigone.disk import read_jsonl, write_jsonl, write_yaml
from epigone.errors import SpecError
from epigone.records import ItemScore, Output
from epigone.study import Plan, make_plan, read_study
from epigone.study.job import JobContext
from epigone.study.jobs.relating import style

JUDGE = {"api": {"base_url": "http://127.0.0.1:9/v1", "model": "ear"}}


@pytest.fixture
def document(tmp_path: Path) -> dict[str, Any]:
    (tmp_path / "small").mkdir()
    config = {"model_type": "llama", "architectures": ["LlamaForCausalLM"]}
    (tmp_path / "small" / "config.json").write_text(json.dumps(config))
    (tmp_path / "prompts.jsonl").write_text('{"id": "p", "prompt": "tell me"}\n')
    return {
        "name": "tone",
        "teacher": {"api": {"base_url": "http://127.0.0.1:9/v1", "model": "t"}, "terms": "own"},
        "bases": [{"name": "small", "hf": "small"}],
        "data": {"broad": {"answer": {"prompts": "prompts.jsonl"}}},
        "arms": {"data": ["broad"]},
        "evaluate": {"style": {"prompts": "prompts.jsonl"}},
        "budget": {"tokens": 3_000_000},
    }


def plan(document: dict[str, Any], folder: Path) -> Plan:
    write_yaml(folder / "study.yaml", document)
    return make_plan(read_study(folder / "study.yaml"), folder)


def test_only_the_style_jobs_and_what_reads_them_change(document: dict[str, Any], tmp_path: Path) -> None:
    before = plan(document, tmp_path)
    document["evaluate"]["style"]["tone"] = JUDGE
    after = plan(document, tmp_path)
    changed = {job.stage for job in after.jobs} - {job.stage for job in after.jobs if job in before.jobs}
    assert changed == {"style", "compare"}
    job = next(job for job in after.jobs if job.stage == "style")
    assert job.params["tone"]["api"]["model"] == "ear"
    assert job.params["budget"]["$machine"]["tokens"] == 3_000_000


def test_the_budget_is_no_part_of_what_was_heard(document: dict[str, Any], tmp_path: Path) -> None:
    document["evaluate"]["style"]["tone"] = JUDGE
    before = [job.id for job in plan(document, tmp_path).jobs]
    document["budget"] = {"tokens": 4_000_000}
    assert [job.id for job in plan(document, tmp_path).jobs] == before


def test_a_likelihood_judge_is_refused(document: dict[str, Any], tmp_path: Path) -> None:
    document["evaluate"]["style"]["tone"] = {"likelihood": {"hf": "small"}}
    with pytest.raises(SpecError, match="hears no tone"):
        plan(document, tmp_path)


@pytest.fixture
def ear(serve_chat: Callable[[Callable[[list[dict[str, str]]], str]], str]) -> str:
    """An endpoint that hears authority wherever a text does not say "perhaps"."""
    return serve_chat(lambda messages: "No." if "perhaps" in messages[-1]["content"] else "yes")


def test_the_style_job_writes_what_the_judge_heard(document: dict[str, Any], tmp_path: Path, ear: str) -> None:
    document["evaluate"]["style"]["tone"] = {"api": {"base_url": ear, "model": "ear"}}
    job = next(job for job in plan(document, tmp_path).jobs if job.stage == "style")
    said = {"teacher": ("It is so.", "It is."), "other": ("It is so.", "It is perhaps so.")}
    for name, texts in said.items():
        outputs = [Output(id=f"p{k}", prompt=f"Is it {k}?", response=text) for k, text in enumerate(texts)]
        write_jsonl(tmp_path / name / "outputs.jsonl", outputs)
    folder = tmp_path / "job"
    folder.mkdir()
    inputs = {name: tmp_path / name for name in said}
    style(JobContext(job=job, folder=folder, work=tmp_path / "work", inputs=inputs, cache=tmp_path / "requests.sqlite"))
    rows = read_jsonl(folder / "items.jsonl", ItemScore)
    heard = {row.item: row.scores.get("authoritative_tone") for row in rows if row.task == "tone"}
    assert heard == {"p0": 1.0, "p1": 0.0}
    assert sum(row.task == "style" for row in rows) == 2
