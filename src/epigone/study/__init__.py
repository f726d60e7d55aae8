"""A study: from a YAML file through a plan of jobs to results and a report."""

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
    "StudySpec",
    "TeacherAccess",
    "check_study",
    "execute_job",
    "make_job",
    "make_plan",
    "read_study",
    "run_study",
]
