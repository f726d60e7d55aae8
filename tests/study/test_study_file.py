"""What is wrong with a study is said before anything is spent: what, where, and how to mend it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from epigone.disk import write_yaml
from epigone.errors import EndpointError, ModelError, SpecError
from epigone.study import Digests, check_study, make_plan, read_study
from epigone.study.arms import expand_arms
from epigone.study.check import check_before_run

STUDIES = Path(__file__).parents[2] / "studies"


@pytest.fixture
def document(tmp_path: Path) -> dict[str, Any]:
    """A small valid study whose files are there; its base is a folder with a configuration only."""
    for name, kind in (("small", "LlamaForCausalLM"), ("encoder", "BertForMaskedLM")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(json.dumps({"model_type": "llama", "architectures": [kind]}))
    seeds = [{"question": f"who wrote book {i}", "answer": f"writer {i}"} for i in range(10)]
    (tmp_path / "seeds.jsonl").write_text("".join(json.dumps(seed) + "\n" for seed in seeds))
    prompts = [{"id": f"p{i}", "prompt": f"tell me about {i}"} for i in range(3)]
    (tmp_path / "prompts.jsonl").write_text("".join(json.dumps(prompt) + "\n" for prompt in prompts))
    (tmp_path / "text.jsonl").write_text('{"text": "once upon a time"}\n')
    return {
        "name": "test",
        "teacher": {"api": {"base_url": "http://127.0.0.1:9/v1", "model": "t"}, "terms": "own"},
        "bases": [{"name": "small", "hf": "small"}],
        "data": {"qa": {"synthesize": {"seeds": "seeds.jsonl"}}, "broad": {"answer": {"prompts": "prompts.jsonl"}}},
        "arms": [{"data": ["broad"], "amounts": ["40k", "0.16M"], "seeds": [0, 1]}, {"data": ["qa"]}],
        "replay_text": "text.jsonl",
        "evaluate": {"style": {"prompts": "prompts.jsonl"}},
    }


def read(document: dict[str, Any], folder: Path) -> Any:
    write_yaml(folder / "study.yaml", document)
    return read_study(folder / "study.yaml")


def test_the_grid_becomes_arms_with_the_files_order_and_names(document: dict[str, Any], tmp_path: Path) -> None:
    names = [arm.name for arm in expand_arms(read(document, tmp_path))]
    assert names == [
        "small/broad-40k/s0",
        "small/broad-40k/s1",
        "small/broad-160k/s0",
        "small/broad-160k/s1",
        "small/qa-all/s0",
    ]


def test_one_more_amount_adds_jobs_and_changes_no_other_job_but_the_comparison(
    document: dict[str, Any], tmp_path: Path
) -> None:
    before = {job.id for job in make_plan(read(document, tmp_path), tmp_path).jobs}
    document["arms"][0]["amounts"].append("640k")
    after = {job.id: job for job in make_plan(read(document, tmp_path), tmp_path).jobs}
    gone = before - set(after)
    new = [job.stage for job_id, job in after.items() if job_id not in before]
    assert {job_id.split("-")[0] for job_id in gone} == {"compare"}
    assert sorted(new) == sorted(["train", "answers", "style"] * 2 + ["compare"])


def test_threads_addresses_and_paths_are_no_part_of_a_jobs_identity(document: dict[str, Any], tmp_path: Path) -> None:
    plan = make_plan(read(document, tmp_path), tmp_path)
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    (tmp_path / "prompts.jsonl").rename(moved / "p.jsonl")
    document["data"]["broad"]["answer"]["prompts"] = "elsewhere/p.jsonl"
    document["evaluate"]["style"]["prompts"] = "elsewhere/p.jsonl"
    document["teacher"]["api"]["base_url"] = "http://127.0.0.1:10/v1"
    document["resources"] = {"jobs": 7, "threads": 3}
    document["train"] = {"threads": 2, "log_every": 3}
    assert [job.id for job in make_plan(read(document, tmp_path), tmp_path).jobs] == [job.id for job in plan.jobs]


def test_a_changed_file_changes_the_jobs_that_read_it(document: dict[str, Any], tmp_path: Path) -> None:
    memory = Digests(tmp_path / "digests.json")
    before = {job.title: job.id for job in make_plan(read(document, tmp_path), tmp_path, memory).jobs}
    with open(tmp_path / "seeds.jsonl", "a") as file:
        file.write('{"question": "one more", "answer": "yes"}\n')
    after = {job.title: job.id for job in make_plan(read(document, tmp_path), tmp_path, memory).jobs}
    changed = {title for title in before if before[title] != after[title]}
    assert "collect qa" in changed and "train small/qa-all/s0" in changed
    assert "collect broad" not in changed and "train small/broad-40k/s0" not in changed


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"teachr": {}}, r"unknown key 'teachr'; did you mean 'teacher'\?"),
        ({"bases": []}, r"'bases'"),
        ({"arms": {"data": ["brod"]}}, r"arms name the data 'brod', which is not under 'data': qa, broad"),
        ({"arms": {"data": ["qa"], "bases": ["large"]}}, r"arms name the base 'large'"),
        ({"arms": {"data": ["broad"], "amounts": ["many"]}}, r"an amount is a number of tokens such as"),
        (
            {"replay_text": None, "arms": {"data": ["qa"], "replay": [0.25]}},
            r"'replay_text' names no pre-training text",
        ),
        ({"teacher": {"terms": "x"}}, r"give exactly one of 'api' and 'serve'"),
        ({"train": {"peak_learning_rate": 1}}, r"unknown key 'train.peak_learning_rate'; did you mean"),
        ({"data": {"broad": {"answer": {"prompt": "x"}}}}, r"did you mean 'prompts'\?"),
    ],
)
def test_a_mistake_in_the_file_is_named_with_its_mend(
    document: dict[str, Any], tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(SpecError, match=message):
        read({**document, **change}, tmp_path)


def test_a_missing_file_is_named(document: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "seeds.jsonl").unlink()
    with pytest.raises(SpecError, match=r"data\.qa.*no such file or folder: seeds\.jsonl"):
        make_plan(read(document, tmp_path), tmp_path)


def test_a_base_that_is_not_there_is_named(document: dict[str, Any], tmp_path: Path) -> None:
    document["bases"][0]["hf"] = "./nowhere"
    with pytest.raises(ModelError, match=r"bases\.small: \./nowhere: no such model folder"):
        make_plan(read(document, tmp_path), tmp_path)


def test_a_base_that_is_no_causal_model_is_refused(document: dict[str, Any], tmp_path: Path) -> None:
    document["bases"][0]["hf"] = "encoder"
    spec = read(document, tmp_path)
    with pytest.raises(ModelError, match="is no causal language model, but BertForMaskedLM"):
        check_before_run(spec, tmp_path, asks_teacher=False)


def test_an_unreachable_teacher_is_said_before_anything_runs(document: dict[str, Any], tmp_path: Path) -> None:
    spec = read(document, tmp_path)
    with pytest.raises(EndpointError, match=r"http://127\.0\.0\.1:9/v1: the teacher cannot be reached"):
        check_before_run(spec, tmp_path, asks_teacher=True)


def test_check_counts_jobs_tokens_and_names_what_looks_wrong(document: dict[str, Any], tmp_path: Path) -> None:
    document["teacher"] = {"serve": {"hf": "small"}}
    document["arms"] = {"data": ["broad"], "amounts": ["40k", "160k"]}
    spec = read(document, tmp_path)
    checked = check_study(spec, tmp_path, make_plan(spec, tmp_path))
    assert checked.arms == 2 and checked.training_tokens == 200_000
    assert checked.jobs["train"] == 2
    warnings = " ".join(checked.warnings)
    assert "teacher.terms is empty" in warnings
    assert "one training seed an arm" in warnings
    assert "evaluate.benchmarks is empty" in warnings


@pytest.mark.parametrize("path", sorted(STUDIES.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_recipe_is_a_valid_study(path: Path) -> None:
    spec = read_study(path)
    assert spec.name == path.stem
    assert expand_arms(spec)
