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
from epigone.models import RequestCache, ServerProcess
from epigone.records import Conversation, Output, Results, ScoreReply, Vote
from epigone.study import Event, Job, LocalPool, Plan, Schedule, Store, make_plan, read_study
from epigone.study.costs import asked_at_most

sys.path.insert(0, str(Path(__file__).parent))
from counting_proxy import CountingProxy

pytestmark = pytest.mark.slow
KILLS = 10
ORPHAN_S = 1.0
"""A worker looks for its parent every quarter of a second; on a busy machine that takes longer."""
PLANTED = "sk-planted-8d1f20c4b7"


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
    """The same, by the demo's own command, undisturbed: what is made is kept, then the study runs, teacher and all."""
    demo = [sys.executable, "-m", "epigone", "demo", "--scale", "smoke", "--out", str(prepared)]
    done = subprocess.run(demo, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    assert "0 % is its base, 100 % the teacher\n  style closed" in done.stdout and "report" in done.stdout
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


def test_check_bounds_what_the_run_asked_its_teacher(finished: Path) -> None:
    """All but a synthesis, which may go faster than it must, is counted to the request."""
    spec = read_study(finished / "study.yaml")
    plan = make_plan(spec, finished)
    asked = {row.what: row for row in asked_at_most(spec, plan)}
    assert set(asked) == {
        "data broad",
        "data qa",
        *(f"teacher: {kind}" for kind in ("benchmark", "answers", "toxicity")),
    }
    assert not any(row.unknown for row in asked.values())
    usage = RequestCache(finished / "cache" / "requests.sqlite").usage()
    qa = next(job for job in plan.of_stage("collect") if job.subject == "qa")
    written = read_json(Store(finished).folder(qa.id) / "collected.json", dict[str, Any])["stats"]["requests"]
    assert written <= asked["data qa"].requests
    assert usage.replies - written == sum(row.requests for what, row in asked.items() if what != "data qa")
    assert usage.prompt_tokens <= sum(row.prompt_tokens for row in asked.values())
    assert usage.completion_tokens <= sum(row.reply_tokens for row in asked.values())


def test_a_likelihood_judge_scores_the_teachers_answers_once(finished: Path) -> None:
    plan = make_plan(read_study(finished / "study.yaml"), finished)
    (scoring,) = plan.of_stage("likelihood")
    judging = plan.of_stage("judge")
    assert len(judging) == len(plan.models) - 1
    assert {job.inputs["teacher_scores"] for job in judging} == {scoring.id}
    store = Store(finished)
    scores = read_json(store.folder(scoring.id) / "scores.json", dict[str, ScoreReply])
    answers = read_jsonl(store.folder(scoring.inputs["teacher"]) / "outputs.jsonl", Output)
    assert set(scores) == {answer.id for answer in answers if answer.response}
    for job in judging:
        for vote in read_jsonl(store.folder(job.id) / "votes.jsonl", Vote):
            if vote.status == "ok" and vote.margin:
                score = scores[vote.item]
                assert f"teacher {(score.logprob or 0) / score.tokens:.3f};" in (vote.reason or "")


def test_running_again_does_nothing_and_changes_nothing(finished: Path) -> None:
    before = (finished / "results.json").read_bytes()
    started = len(events(finished, "started"))
    assert run(finished / "study.yaml", finished).returncode == 0
    assert len(events(finished, "started")) == started
    assert (finished / "results.json").read_bytes() == before


def test_the_page_is_made_again_from_what_every_run_leaves(finished: Path, tmp_path: Path) -> None:
    """A study file lies where its writer put it, and not in the run folder as the demo's does."""
    moved = shutil.copytree(
        finished, tmp_path / "moved", ignore=shutil.ignore_patterns("study.yaml", "world", "report")
    )
    again = [sys.executable, "-m", "epigone", "report", "--run", str(moved)]
    done = subprocess.run(again, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert (moved / "report" / "index.html").read_bytes() == (finished / "report" / "index.html").read_bytes()


def test_one_more_seed_runs_only_what_depends_on_it(finished: Path, tmp_path: Path) -> None:
    """In a copy: the other tests compare their results with the first study's. A moved run's jobs are found again."""
    moved = tmp_path / "moved"
    shutil.copytree(finished, moved)
    document: Any = read_yaml(moved / "study.yaml")
    document["arms"][0]["seeds"] = [0, 1]
    document["arms"][0]["amounts"] = document["arms"][0]["amounts"][:1]
    document["arms"] = document["arms"][:1]
    document["bases"] = document["bases"][:1]
    write_yaml(moved / "more.yaml", document)
    before = {event.job for event in events(moved, "finished")}
    done = run(moved / "more.yaml", moved)
    assert done.returncode == 0, done.stderr
    new = [event for event in events(moved, "finished") if event.job not in before]
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
def served_teacher(prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[CountingProxy]:
    """The teacher as a provider that asks for a key; ``study-api.yaml`` asks it."""
    monkeypatch.setenv("PLANTED_KEY", PLANTED)
    document: Any = read_yaml(prepared / "study.yaml")
    teacher = (prepared / document["teacher"]["serve"]["hf"]).resolve()
    with (
        ServerProcess(str(teacher), dtype="float64", threads=1, log=tmp_path / "server.log") as server,
        CountingProxy(server.base_url) as proxy,
    ):
        document["teacher"] = {
            "api": {
                "base_url": proxy.base_url,
                "model": server.model_name,
                "chat_scores": "prompt_logprobs",
                "key_env": "PLANTED_KEY",
            },
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
        for (asked, answered), _ in pairwise(times):
            # In flight at a kill: asked before it, or by a worker that had not yet seen that its parent is gone.
            in_flight = [kill for kill in kills if asked - ORPHAN_S < kill < answered + 1.5]
            since = [(round(kill - asked, 2), round(kill - answered, 2)) for kill in kills]
            assert in_flight, ("a delivered answer was asked for again; kills after asking, after the answer", since)
    assert len(kills) >= KILLS // 2, "the run was over before it could be killed often enough"
    assert served_teacher.keys == {f"Bearer {PLANTED}"}
    served_teacher.refuse_keys = True
    refused = run(study, tmp_path / "refused")
    assert refused.returncode == 3
    assert "refuses the key (401)" in refused.stderr
    assert PLANTED not in done.stdout + done.stderr + refused.stdout + refused.stderr
    written = [path for root in (out, tmp_path / "refused") for path in root.rglob("*") if path.is_file()]
    assert {
        "requests.sqlite",
        "spending.sqlite",
        "events.jsonl",
        "results.json",
        "index.html",
        "study-as-run.yaml",
    } <= {path.name for path in written}
    holding_the_key = [path for path in written if PLANTED.encode() in path.read_bytes()]
    assert holding_the_key == [], "the key stands in the run folder"


def test_a_student_is_measured_through_a_server_of_the_engine_that_the_study_names(finished: Path) -> None:
    """Nothing before the measurement is repeated; the answers are those of the local engine, save for rounding."""
    here = make_plan(read_study(finished / "study.yaml"), finished)
    document: Any = read_yaml(finished / "study.yaml")
    document["evaluate"]["serve"] = {"engine": "epigone", "dtype": "float32"}
    write_yaml(finished / "served.yaml", document)
    served = make_plan(read_study(finished / "served.yaml"), finished)
    assert {job.stage for job in served.jobs if job not in here.jobs} <= {
        "benchmark", "answers", "toxicity", "style", "judge", "claims", "compare",
    }  # fmt: skip
    texts: list[dict[str, str]] = []
    for plan in (here, served):
        job = next(job for job in plan.of_stage("answers") if "student" in job.inputs)
        store, pool = Store(finished), LocalPool(1, threads=1)
        with store.lock():
            Schedule([job, *ancestors(job, plan)], store, pool).run()
        pool.close()
        outputs = read_jsonl(store.folder(job.id) / "outputs.jsonl", Output)
        texts.append({output.id: output.response for output in outputs})
    assert len(texts[0]) > 5
    assert sum(texts[1][item] == text for item, text in texts[0].items()) >= 0.9 * len(texts[0])
    assert events(finished, "finished")[-1].job == job.id


def ancestors(job: Job, plan: Plan) -> list[Job]:
    """Everything that a job is made from."""
    by_id = {other.id: other for other in plan.jobs}
    found = {name: by_id[name] for name in job.inputs.values()}
    for parent in list(found.values()):
        found |= {other.id: other for other in ancestors(parent, plan)}
    return list(found.values())


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
    # Who meets it first decides the wording: a file, SQLite, or training, which asks for room before it starts.
    wordings = ("No space left", "disk is full", "are free")
    assert any(wording in done.stderr for wording in wordings), done.stderr
    assert "fix: free some space" in done.stderr
    assert "Traceback" not in done.stderr


def test_nothing_that_the_teacher_wrote_for_a_local_task_is_about_what_the_tests_ask(finished: Path) -> None:
    """The teacher words test questions anew; their entities' names show it."""
    world = (finished / read_yaml(finished / "study.yaml")["data"]["qa"]["synthesize"]["seeds"]).parent
    names = world.joinpath("held-out-names.txt").read_text().splitlines()
    asked = [item for task in ("qa", "quiz") for item in read_jsonl(world / "tasks" / f"{task}.jsonl", dict[str, Any])]
    assert all(any(name in item["question"] for name in names) for item in asked)
    plan = json.loads((finished / "plan.json").read_text())
    curated = [job["id"] for job in plan["jobs"] if job["stage"] == "curate" and job["title"] == "curate qa"]
    pairs = [c for job in curated for c in read_jsonl(finished / "jobs" / job / "conversations.jsonl", Conversation)]
    assert pairs
    for pair in pairs:
        assert not any(name.lower() in pair.messages[-1].content.lower() for name in names)
        question = pair.messages[0].content.rpartition("\nQ:")[2]
        assert not any(name.lower() in question.lower() for name in names)
