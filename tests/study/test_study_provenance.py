"""Nothing old passes for new: what a study reads decides its jobs' names, and a run folder holds one study."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from epigone.cli import main
from epigone.disk import read_yaml, write_json, write_text, write_yaml
from epigone.errors import DataError, SpecError
from epigone.microworld import prepare_demo
from epigone.microworld.scales import SCALES
from epigone.microworld.study_file import study_document
from epigone.study import Digests, Store, read_study, run_study
from epigone.study.externals import detach
from epigone.study.run import RECORD_NAME, _keep_study_file
from epigone.study.spec import EvaluateSpec

TASK = """
task: qa
include: parts/scoring.yaml
dataset_path: json
dataset_kwargs: {data_files: {train: data/shots.jsonl, test: [data/items.jsonl]}}
doc_to_text: !function wording.prompt
doc_to_target: answer
"""


@pytest.fixture
def task(tmp_path: Path) -> Path:
    """A task file whose parts lie in several folders, with a note beside it that it does not name."""
    parts = {
        "qa.yaml": TASK,
        "parts/scoring.yaml": "include: more.yaml\nprocess_results: !function scoring.exact\n",
        "parts/more.yaml": "output_type: generate_until\n",
        "parts/scoring.py": "def exact(doc, results): return {}\n",
        "wording.py": "def prompt(doc): return doc['question']\n",
        "data/shots.jsonl": "{}\n",
        "data/items.jsonl": "{}\n",
        "notes.txt": "nothing to see\n",
    }
    for name, text in parts.items():
        write_text(tmp_path / name, text)
    return tmp_path / "qa.yaml"


def digest_of(task: Path, memory: Digests | None = None) -> str:
    spec = EvaluateSpec.model_validate({"benchmarks": [str(task)]}).benchmarks[0]
    _, files = detach(spec, task.parent, memory or Digests(), where="evaluate.benchmarks")
    return files["task"].digest


@pytest.mark.parametrize(
    "part",
    [
        "qa.yaml",
        "parts/scoring.yaml",
        "parts/more.yaml",
        "parts/scoring.py",
        "wording.py",
        "data/shots.jsonl",
        "data/items.jsonl",
    ],
)
def test_a_task_changes_with_everything_it_is_made_of(task: Path, part: str) -> None:
    memory = Digests()
    before = digest_of(task, memory)
    with open(task.parent / part, "a") as file:
        file.write("# changed\n" if part.endswith((".yaml", ".py")) else "{}\n")
    assert digest_of(task, memory) != before


def test_a_task_does_not_change_with_its_neighbours_or_its_place(task: Path, tmp_path: Path) -> None:
    before = digest_of(task)
    write_text(task.parent / "notes.txt", "something else\n")
    assert digest_of(task) == before
    moved = tmp_path.rename(tmp_path.with_name("elsewhere"))
    assert digest_of(moved / "qa.yaml") == before


def test_a_task_that_includes_itself_ends(task: Path) -> None:
    write_text(task.parent / "parts/more.yaml", "include: ../qa.yaml\n")
    assert digest_of(task)


def test_an_included_file_that_is_missing_is_named(task: Path) -> None:
    (task.parent / "parts/more.yaml").unlink()
    with pytest.raises(DataError, match=r"more\.yaml: cannot be read as a task file: .*No such file"):
        digest_of(task)


def test_a_folder_changes_when_two_files_of_one_size_change_places(tmp_path: Path) -> None:
    """Total size and latest time of change stay the same; names, sizes and times of single files do not."""
    model = tmp_path / "model"
    write_text(model / "a.bin", "first")
    write_text(model / "b.bin", "other")
    for name, second in (("a.bin", 1), ("b.bin", 2)):
        os.utime(model / name, (second, second))
    memory = Digests(tmp_path / "digests.json")
    before = memory.of(model)
    memory.remember()
    write_text(model / "a.bin", "FIRST")
    os.utime(model / "a.bin", (1.5, 1.5))
    assert Digests(tmp_path / "digests.json").of(model) != before


def test_a_damaged_memory_of_digests_is_made_anew(tmp_path: Path) -> None:
    write_text(tmp_path / "file", "content")
    for content in ('{"torn', '{"file": {"size": 7, "modified_ns": 1, "digest": "of an older version"}}', "[]"):
        write_text(tmp_path / "digests.json", content)
        memory = Digests(tmp_path / "digests.json")
        assert memory.of(tmp_path / "file") == Digests().of(tmp_path / "file")
        memory.remember()
        assert "content" not in (tmp_path / "digests.json").read_text()


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """A study file that is valid; what it names is not there."""
    models = {model.name: f"models/{model.name}" for model in SCALES["smoke"].models}
    write_yaml(tmp_path / "study.yaml", study_document("world", models, SCALES["smoke"]))
    return tmp_path / "study.yaml"


def test_a_folder_of_another_study_is_refused_and_left_as_it_is(study: Path, tmp_path: Path) -> None:
    write_json(tmp_path / "run" / "plan.json", {"study": "another", "jobs": [], "models": []})
    write_text(tmp_path / "run" / "results.json", "{}")
    with pytest.raises(SpecError, match="holds the study 'another', not 'microworld-smoke'"):
        run_study(study, out=tmp_path / "run")
    assert (tmp_path / "run" / "results.json").read_text() == "{}"
    assert not (tmp_path / "run" / RECORD_NAME).exists()


def test_the_demo_refuses_a_folder_of_another_study_before_it_makes_a_world(tmp_path: Path) -> None:
    write_json(tmp_path / "plan.json", {"study": "microworld-full", "jobs": [], "models": []})
    with pytest.raises(SpecError, match="holds the study 'microworld-full', not 'microworld-smoke'"):
        prepare_demo(tmp_path, scale="smoke")
    assert [path.name for path in tmp_path.iterdir()] == ["plan.json"]


def test_a_run_that_fails_at_the_start_writes_nothing_beside_older_results(study: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    write_text(run / "study.yaml", "the user's own")
    write_text(run / "results.json", "{}")
    with pytest.raises(SpecError, match="no such file"):
        run_study(study, out=run)
    assert {path.name for path in run.iterdir() if path.is_file()} == {"study.yaml", "results.json", ".lock"}
    assert (run / "study.yaml").read_text() == "the user's own"


def test_the_record_of_a_study_is_the_study_and_says_where_it_belongs(study: Path, tmp_path: Path) -> None:
    record = tmp_path / "run" / RECORD_NAME
    _keep_study_file(study, record)
    assert read_study(record) == read_study(study)
    assert f"# {study}" in record.read_text().splitlines()


def test_a_written_study_file_holds_no_anchors(study: Path) -> None:
    assert "&id" not in study.read_text() and "*id" not in study.read_text()
    assert read_yaml(study) == study_document(
        "world", {model.name: f"models/{model.name}" for model in SCALES["smoke"].models}, SCALES["smoke"]
    )


@pytest.mark.slow
def test_ctrl_c_says_that_work_is_kept_and_leaves_no_worker(tmp_path: Path) -> None:
    """The whole process group gets the signal, as from a terminal."""
    command = [sys.executable, "-m", "epigone", "demo", "--scale", "smoke", "--out", str(tmp_path / "demo")]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    started = tmp_path / "demo" / "world" / "events.jsonl"
    while not started.is_file() and process.poll() is None:
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "stopped; finished work is kept: run the same command again to go on" in said
    assert "Traceback" not in said
    with Store(tmp_path / "demo" / "world").lock():
        pass
    with pytest.raises(ProcessLookupError):  # the last one, multiprocessing's own, ends when it finds itself alone
        for _ in range(50):
            os.killpg(process.pid, 0)
            time.sleep(0.1)


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (
            ["evaluate", "nowhere", "--tasks", "mmlu", "--out", "taken"],
            "--out taken: is a file, and a folder is needed",
        ),
        (["serve", "nowhere", "--port", "99999"], "'--port': Input should be less than or equal to 65535"),
        (["run", "study.yaml", "--out", "taken"], "taken"),
    ],
)
def test_what_cannot_be_written_or_opened_is_said_without_a_traceback(
    study: Path, command: list[str], message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(study.parent)
    Path("taken").write_text("a file")
    monkeypatch.setattr(sys, "argv", ["epigone", *command])
    with pytest.raises(SystemExit) as ended:
        main()
    said = capsys.readouterr().err
    assert ended.value.code in (2, 5)
    assert message in said.replace("\n", " ") and "Traceback" not in said
