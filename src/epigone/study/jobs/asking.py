"""Opens the model that a job asks: the teacher's endpoint, a base, or a student that the study trained."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager

from epigone.curate import LabellerSpec
from epigone.errors import EndpointError
from epigone.evaluate.preference import JudgeSpec
from epigone.models import (
    ApiModel,
    ApiSpec,
    Budget,
    BudgetSpec,
    LocalSpec,
    RequestCache,
    ServedModel,
    ServeSpec,
    TextModel,
    open_model,
)
from epigone.study.job import MACHINE_KEY, JobContext

__all__ = ["asked_model", "judge_model", "open_local", "teacher_model"]


@contextmanager
def asked_model(context: JobContext) -> Iterator[TextModel]:
    """The model that this job measures, by the names of its inputs."""
    if "student" in context.inputs:
        opened = _open_measured(context, str(context.inputs["student"] / "student"))
    elif "model" in context.job.files:
        opened = _open_measured(context, context.file("model"))
    else:
        opened = teacher_model(context)
    with opened as model:
        yield model


@contextmanager
def _open_measured(context: JobContext, hf: str) -> Iterator[TextModel]:
    """A student or a base: in this process, or behind a server of the engine that the study names."""
    engine = context.job.params.get("serve")
    if not isinstance(engine, dict):
        with open_local(context, hf) as model:
            yield model
        return
    served = ServedModel(
        ServeSpec(hf=hf, **engine),
        cache=RequestCache(context.work / "requests.sqlite"),
        log=context.work / "server.log",
        threads=context.threads,
    )
    with closing(served):
        yield served


@contextmanager
def open_local(context: JobContext, hf: str) -> Iterator[TextModel]:
    """A model run in this process, on the job's threads."""
    with closing(open_model(LocalSpec(hf=hf, threads=context.threads))) as model:
        yield model


@contextmanager
def judge_model(context: JobContext, spec: JudgeSpec | LabellerSpec) -> Iterator[TextModel]:
    """The model that judges: behind an API, within the study's budget, or run in this process."""
    if isinstance(spec.model, ApiSpec):
        stated = context.job.params.get("budget", {MACHINE_KEY: {}})
        budget = BudgetSpec.model_validate(stated[MACHINE_KEY] if isinstance(stated, dict) else {})
        model = open_model(spec.model, cache=RequestCache(context.cache), budget=_open_budget(context, budget))
    else:
        model = open_model(spec.model.model_copy(update={"threads": context.threads}))
    with closing(model):
        yield model


@contextmanager
def teacher_model(context: JobContext) -> Iterator[TextModel]:
    """The teacher through its endpoint, every answer kept in the run's request cache.

    Raises:
        EndpointError: the job was started without a teacher.
    """
    access = context.teacher
    if access is None:
        raise EndpointError("this job asks the teacher, and none was started", where=context.job.title)
    model = ApiModel(access.api, cache=RequestCache(context.cache), budget=_open_budget(context, access.budget))
    with closing(model):
        yield model


def _open_budget(context: JobContext, spec: BudgetSpec) -> Budget:
    """The study's budget: one ledger for everybody who asks for money."""
    return Budget(spec.usd, spec.tokens, ledger=context.cache.with_name("spending.sqlite"))
