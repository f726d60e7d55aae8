"""The whole study on real, tiny models: end to end, killed ten times, changed in one place."""

from __future__ import annotations

import json
import os
import random
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from epigone.disk import read_json, read_jsonl, read_yaml, write_yaml
from epigone.microworld import prepare_demo
from epigone.models import ServerProcess
from epigone.records import Results
from epigone.study import Event

sys.path.insert(0, str(Path(__file__).parent))
from counting_proxy import CountingProxy

pytestmark = pytest.mark.slow
KILLS = 10


def command(study: Path, out: Path) -> list[str]:
    return [sys.executable, "-m", "epigone", "run", str(study), "--out", str(out)]


def run(study: Path, out: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(study, out), capture_output=True, text=True, timeout=600, check=False)


def events(root: Path, kind: str) -> list[Event]:
    return [event for event in read_jsonl(root / "events.jsonl", Event) if event.kind == kind]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a demo whose world and models are made and whose study file is written."""
    root = tmp_path_factory.mktemp("demo")
    prepare_demo(root, scale="smoke", seed=0)
    return root


@pytest.fixture(scope="module")
def finished(prepared: Path) -> Path:
    """The same, run without disturbance, the teacher served by the run itself."""
    done = run(prepared / "study.yaml", prepared)
    assert done.returncode == 0, done.stderr
    assert "style closed" in done.stdout and "report" in done.stdout
    return prepared


def test_results_hold_every_model_on_every_axis(finished: Path) -> None:
    results = read_json(finished / "results.json", Results)
    roles = Counter(model.role for model in results.models if not model.pooled)
    assert roles == {"teacher": 1, "teacher_second_sample": 1, "base": 2, "student": 8}
    measured = {axis.name for axis in results.axes}
    assert {"qa.exact_match", "quiz.acc", "problems.exact_match", "toxicity.non_toxicity"} <= measured
    assert any(name.startswith("preference.likelihood_judge") for name in measured)
    students = [model.name for model in results.models if model.role == "student"]
    for student in students:
        for axis in ("qa.exact_match", "quiz.acc", "summaries.rouge1", "style.unigram_overlap"):
            estimate = results.estimates[student][axis]
            assert estimate.n_total > 0
    assert len(results.findings) == 6


def test_no_time_path_or_version_is_in_the_results(finished: Path) -> None:
    text = (finished / "results.json").read_text()
    assert str(finished) not in text
    assert "seconds" not in json.loads(text)


def test_every_finished_job_left_a_manifest_that_names_its_outputs(finished: Path) -> None:
    plan = json.loads((finished / "plan.json").read_text())
    for job in plan["jobs"]:
        manifest = json.loads((finished / "jobs" / job["id"] / "manifest.json").read_text())
        assert manifest["outputs"], job["title"]


def test_running_again_does_nothing_and_changes_nothing(finished: Path) -> None:
    before = (finished / "results.json").read_bytes()
    started = len(events(finished, "started"))
    assert run(finished / "study.yaml", finished).returncode == 0
    assert len(events(finished, "started")) == started
    assert (finished / "results.json").read_bytes() == before


def test_one_more_seed_runs_only_what_depends_on_it(finished: Path, tmp_path: Path) -> None:
    document: Any = read_yaml(finished / "study.yaml")
    document["arms"][0]["seeds"] = [0, 1]
    document["arms"][0]["amounts"] = document["arms"][0]["amounts"][:1]
    document["arms"] = document["arms"][:1]
    document["bases"] = document["bases"][:1]
    write_yaml(finished / "more.yaml", document)
    before = {event.job for event in events(finished, "finished")}
    done = run(finished / "more.yaml", finished)
    assert done.returncode == 0, done.stderr
    new = [event for event in events(finished, "finished") if event.job not in before]
    stages = Counter(event.stage for event in new)
    benchmarks = len(document["evaluate"]["benchmarks"])
    assert stages == {
        "train": 1,
        "benchmark": benchmarks,
        "answers": 1,
        "toxicity": 1,
        "style": 1,
        "judge": 1,
        "claims": 1,
        "compare": 1,
    }


@pytest.fixture
def served_teacher(prepared: Path, tmp_path: Path) -> Iterator[CountingProxy]:
    document: Any = read_yaml(prepared / "study.yaml")
    teacher = (prepared / document["teacher"]["serve"]["hf"]).resolve()
    with (
        ServerProcess(str(teacher), dtype="float64", threads=1, log=tmp_path / "server.log") as server,
        CountingProxy(server.base_url) as proxy,
    ):
        document["teacher"] = {
            "api": {"base_url": proxy.base_url, "model": server.model_name},
            "terms": document["teacher"]["terms"],
        }
        write_yaml(prepared / "study-api.yaml", document)
        yield proxy


def test_killed_ten_times_it_gives_the_same_bytes_and_repeats_nothing(
    finished: Path, served_teacher: CountingProxy, tmp_path: Path
) -> None:
    """Against an undisturbed run whose teacher was served another way: another port, other batches, the same bytes."""
    out, study = tmp_path / "killed", finished / "study-api.yaml"
    moments = random.Random(0)
    kills: list[float] = []
    for _ in range(KILLS):
        process = subprocess.Popen(command(study, out), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            process.wait(timeout=moments.uniform(3.0, 12.0))
        except subprocess.TimeoutExpired:
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
            kills.append(time.time())
    done = run(study, out)
    assert done.returncode == 0, done.stderr
    assert (out / "results.json").read_bytes() == (finished / "results.json").read_bytes()
    finished_jobs = Counter(event.job for event in events(out, "finished"))
    assert max(finished_jobs.values()) == 1, "a finished job ran again"
    for times in served_teacher.delivered.values():
        for first, _ in pairwise(times):
            assert any(0 <= kill - first < 1.5 for kill in kills), "a delivered answer was asked for again"
    assert len(kills) >= KILLS // 2, "the run was over before it could be killed often enough"


def test_a_full_disk_is_named_without_a_traceback(prepared: Path, tmp_path: Path) -> None:
    """On a real file system of 3 MiB, mounted in a namespace of its own that ends with the process."""
    small = tmp_path / "small"
    small.mkdir()
    mount = f'mount -t tmpfs -o size=3m tmpfs "{small}"'
    alone = ["unshare", "--mount", "sh", "-c"]
    if shutil.which("unshare") is None or subprocess.run([*alone, mount], check=False, capture_output=True).returncode:
        pytest.skip("cannot mount a small file system here (needs root, unshare and tmpfs)")
    inner = shlex.join(command(prepared / "study.yaml", small / "run"))
    done = subprocess.run(
        [*alone, f"{mount} && exec {inner}"], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode not in (0, 1)
    # Who meets it first decides the wording: a file ("No space left on device") or SQLite ("database or disk is full").
    assert "No space left" in done.stderr or "disk is full" in done.stderr
    assert "fix: free some space" in done.stderr
    assert "Traceback" not in done.stderr
