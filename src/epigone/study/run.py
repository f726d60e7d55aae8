"""`epigone run`: plan, execute what is not finished, write ``results.json`` and the report."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import psutil
from msgspec import Struct

from epigone.disk import atomic_write, read_json, write_json, write_text
from epigone.errors import DataError, ModelError, SpecError
from epigone.records import Results
from epigone.report import write_report
from epigone.study.check import check_amounts, check_before_run, check_endpoints
from epigone.study.costs import asked_at_most
from epigone.study.executors import Executor, LocalPool, RayCluster
from epigone.study.externals import Digests
from epigone.study.plan import Plan, make_plan
from epigone.study.reporting import gather_report
from epigone.study.schedule import Listener, Schedule
from epigone.study.spec import ResourcesSpec, StudySpec, read_study
from epigone.study.store import Store
from epigone.study.teacher import Teacher

__all__ = [
    "RECORD_NAME",
    "Finished",
    "Resources",
    "choose_resources",
    "open_executor",
    "refuse_another_study",
    "run_study",
]

RECORD_NAME = "study-as-run.yaml"
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
        SpecError, DataError, ModelError: something in the study cannot work, or the folder holds another study;
            nothing was spent.
        EpigoneError: the first job that failed; what finished is kept.
    """
    path = Path(path)
    spec = read_study(path)
    root = out if out is not None else Path("runs") / spec.name
    store = Store(root.resolve())
    with store.lock():
        refuse_another_study(store, spec.name)
        digests = Digests(store.root / "cache" / "digests.json")
        plan = make_plan(spec, path.parent.resolve(), digests)
        digests.remember()
        waiting = [job for job in plan.jobs if not store.is_done(job.id)]
        if waiting:
            unseen = check_before_run(spec, path.parent.resolve())
            if unseen:
                raise ModelError(unseen[0], fix="go online, download it, or name a local folder; nothing was spent")
            check_amounts(spec, asked_at_most(spec, plan, stages=("collect",)))
            check_endpoints(spec, waiting)
        if waiting:
            _execute(spec, path.parent.resolve(), plan, store, listener)
        # Together and at the end: study, plan, results and report in a folder always belong to one another.
        _keep_study_file(path, store.root / RECORD_NAME)
        write_json(store.root / "plan.json", plan)
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
    return LocalPool(resources.jobs, threads=resources.threads, gpus=resources.gpus, preload=True)


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
        local = folder / Path(base.hf).expanduser()
        if not local.is_dir():
            return _SMALL_BASE_BYTES  # a hub id: no embedded world's base comes from there
        sizes.append(sum(file.stat().st_size for file in local.rglob("*") if file.is_file()))
    return max(sizes)


def _keep_study_file(path: Path, record: Path) -> None:
    """What was run, word for word, beside its results."""
    head = f"# A record of what was run. The study itself, to which its relative paths belong:\n# {path.resolve()}\n\n"
    write_text(record, head + path.read_text(encoding="utf-8"))


class _PlanHead(Struct, frozen=True):
    study: str


def refuse_another_study(store: Store, name: str) -> None:
    """One folder, one study: results of one beside the files of another would mislead.

    Raises:
        SpecError: the folder holds another study's results.
    """
    try:
        held = read_json(store.root / "plan.json", _PlanHead).study
    except DataError:  # no plan, or a damaged one
        return
    if held != name:
        raise SpecError(
            f"the folder holds the study '{held}', not '{name}'",
            where=str(store.root),
            fix="give another folder with --out",
        )
