"""Categories by a real model behind a real server, from the command line and inside a study; nothing is paid twice."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from epigone.cli import app
from epigone.curate import CategoryDefinitions, QueryLabel
from epigone.disk import read_json, read_jsonl, write_jsonl, write_yaml
from epigone.errors import BudgetExceeded
from epigone.models import ServerProcess
from epigone.records import Conversation, ItemSupport, Message
from epigone.study import Job, Store, execute_job, make_plan, read_study
from epigone.study.execute import JobCall

DEFINITIONS = {
    "instruction": "Sort the request.",
    "categories": {"cooking": "food", "travel": "places", "code": "programs"},
}
ANSWERS = {
    "How do I bake bread?": "cooking",
    "What is in a good soup?": "Cooking.",
    "Fix this loop in Python": "code",
    "Which train goes to Kiel?": "travel",
    "Say anything": "no idea",
}
DATA = [
    Conversation(
        id=f"c{n}",
        messages=(Message(role="user", content=query), Message(role="assistant", content="Certainly, here it is.")),
        source="talk",
    )
    for n, query in enumerate(ANSWERS)
]
EXPECTED = {"c0": "cooking", "c1": "cooking", "c2": "code", "c3": "travel", "c4": None}


@pytest.fixture(scope="module")
def labeller(teach_labelling: Callable[[dict[str, str], CategoryDefinitions], Path]) -> Path:
    return teach_labelling(ANSWERS, CategoryDefinitions.model_validate(DEFINITIONS))


@pytest.fixture
def served(labeller: Path, tmp_path: Path) -> Iterator[ServerProcess]:
    with ServerProcess(str(labeller), dtype="float64", threads=1, log=tmp_path / "server.log") as server:
        yield server


def categories(judge: dict[str, Any]) -> dict[str, Any]:
    return {"categories": {"sample": 50, "definitions": "definitions.yaml", "judge": judge}}


def curate(folder: Path) -> str:
    command = ["curate", str(folder / "recipe.yaml"), str(folder / "in.jsonl"), "--out", str(folder / "out")]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, (result.output, result.exception)
    return result.output


def labels(folder: Path) -> dict[str, str | None]:
    return {label.conversation: label.category for label in read_jsonl(folder / "labels.jsonl", QueryLabel)}


def test_a_served_model_labels_and_the_same_command_asks_it_nothing_again(
    served: ServerProcess, tmp_path: Path
) -> None:
    judge = {"api": {"base_url": served.base_url, "model": served.model_name}}
    write_yaml(tmp_path / "definitions.yaml", DEFINITIONS)
    write_yaml(tmp_path / "recipe.yaml", {"steps": ["clean", categories(judge)]})
    write_jsonl(tmp_path / "in.jsonl", DATA)
    shown = curate(tmp_path)
    assert labels(tmp_path / "out") == EXPECTED
    assert "cooking" in shown and "50%" in shown and "15% to 85%" in shown  # Wilson 1927 for 2 of 4
    assert "not in the shares: 1 unparsed" in shown
    assert f"| cooking | {served.model_name} | 2 | 50 % | 15 to 85 % |" in (tmp_path / "out" / "card.md").read_text()
    before = (tmp_path / "out" / "labels.jsonl").read_bytes()
    served.__exit__(None, None, None)  # whoever asks now gets no answer
    curate(tmp_path)
    assert (tmp_path / "out" / "labels.jsonl").read_bytes() == before


def test_a_model_run_here_labels_as_the_served_one(labeller: Path, tmp_path: Path) -> None:
    write_yaml(tmp_path / "definitions.yaml", DEFINITIONS)
    judge = {"local": {"hf": str(labeller), "dtype": "float64", "threads": 1}}
    write_yaml(tmp_path / "recipe.yaml", {"steps": [categories(judge)]})
    write_jsonl(tmp_path / "in.jsonl", DATA)
    curate(tmp_path)
    assert labels(tmp_path / "out") == EXPECTED


def study_jobs(folder: Path, root: Path) -> dict[str, Job]:
    """The jobs that make the data, run in this process."""
    plan = make_plan(read_study(folder / "study.yaml"), folder)
    found = {job.stage: job for job in plan.jobs if job.stage in ("items", "collect", "curate")}
    for job in found.values():
        execute_job(JobCall(root=str(root), job=job, threads=1))
    return found


def test_a_study_asks_the_judge_counts_tokens_and_keeps_support(
    served: ServerProcess, tiny_base: Path, tmp_path: Path
) -> None:
    write_yaml(tmp_path / "definitions.yaml", DEFINITIONS)
    write_jsonl(tmp_path / "talk.jsonl", DATA)
    prompts = [{"id": "p1", "prompt": "How do I bake bread in an old oven?"}, {"id": "p2", "prompt": "Why?"}]
    write_jsonl(tmp_path / "prompts.jsonl", prompts)
    judge = {"api": {"base_url": served.base_url, "model": served.model_name}}
    document: dict[str, Any] = {
        "name": "s",
        "teacher": {"api": {"base_url": "http://127.0.0.1:9/v1", "model": "t"}, "terms": "own"},
        "bases": [{"name": "tiny", "hf": str(tiny_base)}],
        "data": {
            "talk": {
                "import": [{"messages": "talk.jsonl", "source": "talk"}],
                "curate": {
                    "tokenizer": {"hf": str(tiny_base)},
                    "steps": ["clean", {"mix": {"shares": {"talk": 1}}}, categories(judge)],
                },
            }
        },
        "arms": [{"data": ["talk"]}],
        "evaluate": {"style": {"prompts": "prompts.jsonl"}},
        "budget": {"tokens": 100_000},
    }
    write_yaml(tmp_path / "study.yaml", document)
    store = Store(tmp_path / "run")
    jobs = study_jobs(tmp_path, store.root)
    folder = store.folder(jobs["curate"].id)
    assert sorted(labels(folder).values(), key=str) == sorted(EXPECTED.values(), key=str)
    facts = read_json(folder / "curated.json", dict[str, Any])
    assert facts["tokenizer"] == "tiny"
    assert facts["tokens"] == facts["mix"][0]["tokens"] > 0
    # Looked for without being asked, and said although nothing was found.
    assert [(row["benchmark"], row["items"], row["matches"]) for row in facts["decontamination"]] == [("style", 2, 0)]
    support = {record.item: record.value for record in read_jsonl(folder / "support.jsonl", ItemSupport)}
    assert support["p1"] > 0.1 and support["p2"] == 0.0
    assert (store.root / "cache" / "spending.sqlite").is_file()

    document["budget"] = {"tokens": 5}
    write_yaml(tmp_path / "study.yaml", document)
    with pytest.raises(BudgetExceeded):
        study_jobs(tmp_path, tmp_path / "poor")
    # Where the judge stands, and what may be spent, are no part of what comes out.
    document["data"]["talk"]["curate"]["steps"][2]["categories"]["judge"]["api"]["base_url"] = "http://127.0.0.1:9/v1"
    write_yaml(tmp_path / "study.yaml", document)
    plan = make_plan(read_study(tmp_path / "study.yaml"), tmp_path)
    assert [job.id for job in plan.of_stage("curate")] == [jobs["curate"].id]
