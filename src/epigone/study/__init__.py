"""A study: from a YAML file through a plan of jobs to results and a report.

A worker process needs only the job that it runs, so names are loaded when they are first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from epigone.study.check import Checked, check_study
    from epigone.study.execute import execute_job
    from epigone.study.executors import Executor, LocalPool, RayCluster
    from epigone.study.externals import Digests
    from epigone.study.job import External, Job, JobContext, TeacherAccess, make_job
    from epigone.study.plan import Plan, make_plan
    from epigone.study.run import Finished, run_study
    from epigone.study.schedule import Event, Listener, Schedule
    from epigone.study.spec import StudySpec, read_study
    from epigone.study.store import Manifest, Store
    from epigone.study.student_tokens import StudentTokens

__all__ = [
    "Checked",
    "Digests",
    "Event",
    "Executor",
    "External",
    "Finished",
    "Job",
    "JobContext",
    "Listener",
    "LocalPool",
    "Manifest",
    "Plan",
    "RayCluster",
    "Schedule",
    "Store",
    "StudentTokens",
    "StudySpec",
    "TeacherAccess",
    "check_study",
    "execute_job",
    "make_job",
    "make_plan",
    "read_study",
    "run_study",
]

_HOMES = {
    "check": ("Checked", "check_study"),
    "execute": ("execute_job",),
    "executors": ("Executor", "LocalPool", "RayCluster"),
    "externals": ("Digests",),
    "job": ("External", "Job", "JobContext", "TeacherAccess", "make_job"),
    "plan": ("Plan", "make_plan"),
    "run": ("Finished", "run_study"),
    "schedule": ("Event", "Listener", "Schedule"),
    "spec": ("StudySpec", "read_study"),
    "store": ("Manifest", "Store"),
    "student_tokens": ("StudentTokens",),
}


def __getattr__(name: str) -> Any:
    for module, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
