"""One unit of a study's work: what it computes, from what, and the digest that names it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import msgspec
from msgspec import Struct

from epigone.disk import digest_json

if TYPE_CHECKING:
    from epigone.models import ApiSpec, BudgetSpec

__all__ = ["MACHINE_KEY", "External", "Job", "JobContext", "Progress", "TeacherAccess", "make_job", "unheard"]

Progress = Callable[[int, int | None], None]
"""Called with (done, total); total is ``None`` where it is not known."""


MACHINE_KEY = "$machine"
"""Marks a parameter that says where or how fast a job runs, ``{"$machine": value}``: kept, but no part of identity."""


def unheard(done: int, total: int | None) -> None:
    """Progress that nobody watches."""


class External(Struct, frozen=True):
    """A file, folder or hub id from outside the run. Only its ``digest`` counts for identity, not where it lies."""

    path: str
    digest: str


class Job(Struct, frozen=True, kw_only=True):
    """A node of the plan. ``id`` is ``<stage>-<digest>``; titles, costs and paths do not enter the digest.

    ``function`` is ``package.module:name``, called with a :class:`JobContext`. ``inputs`` maps a name to the id of the
    job whose folder is read. ``asks_teacher``: needs the teacher's endpoint. ``cost`` is a rough relative duration,
    used only to start long chains first. ``subject`` names the model or data set, for displays. ``alone``: it waits
    until nothing else runs or can start, and gets the threads of every slot.
    """

    id: str
    stage: str
    version: int
    function: str
    params: dict[str, object]
    inputs: dict[str, str]
    files: dict[str, External]
    title: str
    subject: str = ""
    asks_teacher: bool = False
    cost: float = 1.0
    alone: bool = False


def make_job(
    stage: str,
    function: str,
    *,
    title: str,
    version: int = 1,
    params: Mapping[str, object] | None = None,
    inputs: Mapping[str, Job] | None = None,
    files: Mapping[str, External] | None = None,
    **display: object,
) -> Job:
    """Build a job and its content address: own spec, inputs' digests, external digests, stage version."""
    plain: dict[str, object] = msgspec.to_builtins(dict(params or {}))
    identity = {
        "stage": stage,
        "version": version,
        "params": _without_machine(plain),
        "inputs": {name: job.id for name, job in (inputs or {}).items()},
        "files": {name: file.digest for name, file in (files or {}).items()},
    }
    return msgspec.convert(
        {
            **identity,
            **display,
            "params": plain,
            "id": f"{stage}-{digest_json(identity)[:16]}",
            "function": function,
            "title": title,
            "files": {name: msgspec.to_builtins(file) for name, file in (files or {}).items()},
        },
        Job,
    )


def _without_machine(value: object) -> object:
    if isinstance(value, dict):
        return {
            key: _without_machine(inner)
            for key, inner in value.items()
            if not (isinstance(inner, dict) and set(inner) == {MACHINE_KEY})
        }
    if isinstance(value, list):
        return [_without_machine(inner) for inner in value]
    return value


@dataclass(frozen=True)
class TeacherAccess:
    """Where and how the teacher is asked now. Not part of any digest: a served teacher gets a new port each time."""

    api: ApiSpec
    budget: BudgetSpec


ParamsT = TypeVar("ParamsT")


@dataclass(frozen=True)
class JobContext:
    """What a job function gets. It writes its outputs below ``folder``; ``work`` survives a kill, for resuming."""

    job: Job
    folder: Path
    work: Path
    inputs: Mapping[str, Path]
    cache: Path
    threads: int = 1
    teacher: TeacherAccess | None = None
    progress: Progress = unheard

    def params(self, kind: type[ParamsT]) -> ParamsT:
        """The job's parameters as a typed record."""
        return msgspec.convert(self.job.params, kind)

    def file(self, name: str) -> str:
        """The path (or hub id) of an external input."""
        return self.job.files[name].path
