"""`epigone run`: plan, execute what is not finished, write ``results.json`` and the report."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import psutil
from msgspec import Struct

from epigone.disk import atomic_write, read_json, write_json
from epigone.records import Results
from epigone.report import write_report
from epigone.study.check import check_before_run
from epigone.study.executors import Executor, LocalPool, RayCluster
from epigone.study.externals import Digests
from epigone.study.plan import Plan, make_plan
from epigone.study.reporting import gather_report
from epigone.study.schedule import Listener, Schedule
from epigone.study.spec import ResourcesSpec, StudySpec, read_study
from epigone.study.store import Store
from epigone.study.teacher import Teacher

__all__ = ["Finished", "Resources", "choose_resources", "open_executor", "run_study"]

_SMALL_BASE_BYTES = 200_000_000  # about 50M float32 parameters: below it, one thread a job and a job a core is faster


class Finished(Struct, frozen=True, kw_only=True):
    """Where a finished study left its results."""

    root: Path
    results_path: Path
    report: Path
    results: Results


@dataclass(frozen=True)
class Resources:
    """Jobs at a time, threads a job, GPUs to share out."""

    jobs: int
    threads: int
    gpus: tuple[int, ...] = ()


def run_study(path: Path | str, *, out: Path | None = None, listener: Listener | None = None) -> Finished:
    """Run a study file, or go on with it: a killed run continues where its last finished job and answer left it.

    Args:
        path: the study file.
        out: the run folder. ``None``: ``runs/<name>`` in the current folder.
        listener: told about every job.

    Raises:
        SpecError, DataError, ModelError: something in the study cannot work; nothing was spent.
        EpigoneError: the first job that failed; what finished is kept.
    """
    path = Path(path)
    spec = read_study(path)
    root = out if out is not None else Path("runs") / spec.name
    store = Store(root.resolve())
    with store.lock():
        digests = Digests(store.root / "cache" / "digests.json")
        plan = make_plan(spec, path.parent.resolve(), digests)
        digests.remember()
        waiting = [job for job in plan.jobs if not store.is_done(job.id)]
        if waiting:
            check_before_run(spec, path.parent.resolve(), asks_teacher=any(job.asks_teacher for job in waiting))
        _keep_study_file(path, store.root / "study.yaml")
        write_json(store.root / "plan.json", plan)
        if waiting:
            _execute(spec, path.parent.resolve(), plan, store, listener)
        results_path = store.root / "results.json"
        with atomic_write(results_path) as file:
            file.write((store.folder(plan.compare.id) / "results.json").read_bytes())
        results = read_json(results_path, Results)
        report = write_report(gather_report(spec, plan, store, results), store.root / "report" / "index.html")
    return Finished(root=store.root, results_path=results_path, report=report, results=results)


def _execute(spec: StudySpec, folder: Path, plan: Plan, store: Store, listener: Listener | None) -> None:
    resources = choose_resources(spec.resources, base_bytes=_largest_base_bytes(spec, folder))
    executor = open_executor(spec.resources, resources)
    log = store.root / "teacher-server.log"
    with Teacher(spec.teacher, spec.budget, folder=folder, log=log, threads=resources.threads) as teacher:
        schedule = Schedule(
            plan.jobs,
            store,
            executor,
            threads=resources.threads,
            teacher=teacher,
            # A teacher on this machine computes on the same cores as the jobs.
            teacher_slots=1 if teacher.is_local else None,
            listener=listener,
        )
        try:
            schedule.run()
        finally:
            executor.close()


def open_executor(spec: ResourcesSpec, resources: Resources) -> Executor:
    """The place where jobs run."""
    if spec.ray is not None:
        gpus = 1 if resources.gpus else 0
        return RayCluster(spec.ray, slots=resources.jobs, threads=resources.threads, gpus=gpus)
    return LocalPool(resources.jobs, threads=resources.threads, gpus=resources.gpus)


def choose_resources(spec: ResourcesSpec, *, base_bytes: int) -> Resources:
    """One job a GPU; on a CPU one thread a job for small bases, else one job with all cores.

    Two busy processes with several threads each run many times slower on few cores than with one thread each.
    """
    gpus = _visible_gpus()
    cores = psutil.cpu_count(logical=False) or os.cpu_count() or 1
    if spec.jobs is not None:
        jobs = spec.jobs
    elif gpus:
        jobs = len(gpus)
    else:
        jobs = cores if base_bytes < _SMALL_BASE_BYTES else 1
    return Resources(jobs=jobs, threads=spec.threads or max(1, cores // jobs), gpus=gpus)


def _visible_gpus() -> tuple[int, ...]:
    """CUDA devices, without importing torch into the parent process."""
    stated = os.environ.get("CUDA_VISIBLE_DEVICES")
    if stated is not None:
        return tuple(int(part) for part in stated.split(",") if part.strip().isdigit())
    devices = sorted(Path("/dev").glob("nvidia[0-9]*"))
    return tuple(int(device.name.removeprefix("nvidia")) for device in devices)


def _largest_base_bytes(spec: StudySpec, folder: Path) -> int:
    sizes = [0]
    for base in spec.bases:
        local = folder / base.hf
        if not local.is_dir():
            return _SMALL_BASE_BYTES  # a hub id: no embedded world's base comes from there
        sizes.append(sum(file.stat().st_size for file in local.rglob("*") if file.is_file()))
    return max(sizes)


def _keep_study_file(path: Path, copy: Path) -> None:
    """A copy of what was run, beside its results."""
    if path.resolve() != copy.resolve():
        with atomic_write(copy) as file, open(path, "rb") as source:
            shutil.copyfileobj(source, file)
