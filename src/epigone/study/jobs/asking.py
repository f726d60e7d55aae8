"""Opens the model that a job asks: the teacher's endpoint, a base, or a student that the study trained."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from epigone.errors import EndpointError
from epigone.evaluate.preference import JudgeSpec
from epigone.models import ApiModel, ApiSpec, Budget, LocalSpec, RequestCache, TextModel, open_model
from epigone.study.job import JobContext

__all__ = ["asked_model", "judge_model", "open_local", "teacher_model"]


@contextmanager
def asked_model(context: JobContext) -> Iterator[TextModel]:
    """The model that this job measures, by the names of its inputs."""
    if "student" in context.inputs:
        with open_local(context, str(context.inputs["student"] / "student")) as model:
            yield model
    elif "model" in context.job.files:
        with open_local(context, context.file("model")) as model:
            yield model
    else:
        with teacher_model(context) as model:
            yield model


@contextmanager
def open_local(context: JobContext, hf: str) -> Iterator[TextModel]:
    """A model run in this process, on the job's threads."""
    model = open_model(LocalSpec(hf=hf, threads=context.threads))
    try:
        yield model
    finally:
        model.close()


@contextmanager
def judge_model(context: JobContext, spec: JudgeSpec) -> Iterator[TextModel]:
    """The model that judges: behind an API, or run in this process."""
    if isinstance(spec.model, ApiSpec):
        model = open_model(spec.model, cache=RequestCache(context.cache))
    else:
        model = open_model(spec.model.model_copy(update={"threads": context.threads}))
    try:
        yield model
    finally:
        model.close()


@contextmanager
def teacher_model(context: JobContext) -> Iterator[TextModel]:
    """The teacher through its endpoint, every answer kept in the run's request cache.

    Raises:
        EndpointError: the job was started without a teacher.
    """
    access = context.teacher
    if access is None:
        raise EndpointError("this job asks the teacher, and none was started", where=context.job.title)
    cache = RequestCache(context.cache)
    budget = Budget(access.budget.usd, access.budget.tokens, ledger=context.cache.with_name("spending.sqlite"))
    model = ApiModel(access.api, cache=cache, budget=budget)
    try:
        yield model
    finally:
        model.close()
