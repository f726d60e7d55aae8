"""What is finished is never done again; what is half done is never taken for finished; failures are named."""

from __future__ import annotations

import os
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from epigone.disk import read_json, read_jsonl
from epigone.errors import DataError, JobFailed, SpecError, TrainingError
from epigone.study import Event, Job, LocalPool, Schedule, Store, execute_job, make_job
from epigone.study.execute import JobCall

sys.path.insert(0, str(Path(__file__).parent))
HERE = "arithmetic_jobs"


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    return Store(tmp_path / "run")


@pytest.fixture
def pool(store: Store) -> Iterator[LocalPool]:
    pool = LocalPool(2, threads=1)
    yield pool
    pool.close()


def number(value: int) -> Job:
    return make_job("number", f"{HERE}:constant", title=f"number {value}", params={"value": value})


def total(*parts: Job, title: str = "total") -> Job:
    return make_job("total", f"{HERE}:total", title=title, inputs={str(i): part for i, part in enumerate(parts)})


def executions(store: Store) -> Counter[str]:
    path = store.cache.parent / "executions.jsonl"
    return Counter(read_jsonl(path, str)) if path.is_file() else Counter()


def value(store: Store, job: Job) -> int:
    return read_json(store.folder(job.id) / "value.json", int)


def test_jobs_run_after_their_inputs_and_are_kept(store: Store, pool: LocalPool) -> None:
    two, three = number(2), number(3)
    five = total(two, three)
    with store.lock():
        Schedule([two, three, five], store, pool).run()
        assert value(store, five) == 5
        Schedule([two, three, five], store, pool).run()
    assert executions(store) == {"number 2": 1, "number 3": 1, "total": 1}


def test_a_job_that_wants_to_be_alone_waits_for_the_others_and_gets_all_threads(store: Store, pool: LocalPool) -> None:
    alone = make_job("wide", f"{HERE}:constant", title="alone", params={"value": 1}, cost=99.0, alone=True)
    before = [number(value) for value in (2, 3, 4)]
    after = total(alone, *before)
    running: list[str] = []
    beside: dict[str, int] = {}

    def watch(event: Event) -> None:
        if event.kind == "started":
            running.append(event.title)
            beside[event.title] = len(running)
        elif event.kind == "finished":
            running.remove(event.title)

    with store.lock():
        Schedule([alone, *before, after], store, pool, listener=watch).run()
    assert list(beside) == ["number 2", "number 3", "number 4", "alone", "total"]
    assert (beside["alone"], beside["total"]) == (1, 1)
    assert {store.manifest(job.id).threads for job in (*before, after)} == {1}
    assert store.manifest(alone.id).threads == 2


def test_one_changed_setting_runs_only_what_depends_on_it(store: Store, pool: LocalPool) -> None:
    one, two, three = number(1), number(2), number(3)
    with store.lock():
        Schedule([one, two, total(one, two, title="first")], store, pool).run()
        Schedule([one, three, total(one, three, title="second")], store, pool).run()
    assert executions(store) == {"number 1": 1, "number 2": 1, "first": 1, "number 3": 1, "second": 1}


def test_a_title_a_cost_or_a_path_is_no_part_of_a_jobs_identity() -> None:
    one = make_job("stage", "m:f", title="a", params={"x": 1}, cost=1.0, subject="s")
    assert one.id == make_job("stage", "m:f", title="b", params={"x": 1}, cost=9.0, subject="t").id
    assert one.id != make_job("stage", "m:f", title="a", params={"x": 2}).id
    assert one.id != make_job("stage", "m:f", title="a", params={"x": 1}, version=2).id


def test_an_unfinished_job_is_cleaned_and_resumes_from_its_work_folder(store: Store, pool: LocalPool) -> None:
    job = make_job("halves", f"{HERE}:in_two_parts", title="halves")
    with store.lock():
        with pytest.raises(JobFailed, match="worker process ended"):
            Schedule([job], store, pool).run()
        assert not store.is_done(job.id)
        second = LocalPool(1)
        Schedule([job], store, second).run()
        second.close()
    assert value(store, job) == 42
    assert not (store.folder(job.id) / "torn.json").exists()
    assert not (store.folder(job.id) / "work").exists()


def test_a_damaged_output_makes_the_job_run_again(store: Store) -> None:
    job = number(7)
    with store.lock():
        execute_job(JobCall(root=str(store.root), job=job, threads=1))
        (store.folder(job.id) / "value.json").write_text("70000")
        assert not store.is_done(job.id)


def test_a_rooms_error_comes_through_with_its_job_and_fix(store: Store, pool: LocalPool) -> None:
    bad = make_job("bad", f"{HERE}:wrong_data", title="curate broad")
    with store.lock(), pytest.raises(DataError) as caught:
        Schedule([bad], store, pool).run()
    assert str(caught.value) == "data.jsonl: is empty (in: curate broad)\n  fix: give some data"


def test_a_failed_training_does_not_stop_the_other_arms(store: Store, pool: LocalPool) -> None:
    bad = make_job("train", f"{HERE}:diverging", title="train a", cost=100.0)
    good = number(4)
    behind = make_job("total", f"{HERE}:total", title="behind", inputs={"bad": bad})
    with store.lock(), pytest.raises(TrainingError, match="the loss is not a number"):
        Schedule([bad, good, behind], store, pool).run()
    assert store.is_done(good.id)
    assert not store.is_done(behind.id)


def test_an_unforeseen_error_leaves_its_traceback_in_the_job(store: Store, pool: LocalPool) -> None:
    bad = make_job("bad", f"{HERE}:defect", title="defect")
    with store.lock(), pytest.raises(JobFailed, match="KeyError"):
        Schedule([bad], store, pool).run()
    assert "unforeseen" in (store.folder(bad.id) / "error.txt").read_text()


def test_ctrl_c_ends_the_workers_at_once_and_nothing_passes_for_finished(store: Store) -> None:
    def interrupt(event: Event) -> None:
        if event.kind == "started" and event.title == "long":
            raise KeyboardInterrupt

    one = number(1)
    long = make_job("total", f"{HERE}:total", title="long", inputs={"0": one}, params={"seconds": 60})
    pool = LocalPool(1)
    begun = time.monotonic()
    with store.lock(), pytest.raises(KeyboardInterrupt):
        Schedule([one, long], store, pool, listener=interrupt).run()
    pool.close()
    assert time.monotonic() - begun < 30
    assert store.is_done(one.id) and not store.is_done(long.id)


def test_a_closed_pool_leaves_the_environment_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    pool = LocalPool(1, threads=3)
    assert os.environ["OMP_NUM_THREADS"] == os.environ["MKL_NUM_THREADS"] == "3"
    pool.close()
    assert os.environ["OMP_NUM_THREADS"] == "7" and "MKL_NUM_THREADS" not in os.environ


def test_events_tell_what_was_kept_started_and_finished(store: Store, pool: LocalPool) -> None:
    heard: list[Event] = []
    with store.lock():
        Schedule([number(1)], store, pool).run()
        Schedule([number(1), number(2)], store, pool, listener=heard.append).run()
    assert [(event.kind, event.title) for event in heard] == [
        ("kept", "number 1"),
        ("planned", "number 2"),
        ("started", "number 2"),
        ("finished", "number 2"),
    ]


def test_two_processes_cannot_run_one_study(store: Store) -> None:
    with store.lock(), pytest.raises(SpecError, match="another process is running"), Store(store.root).lock():
        pass
