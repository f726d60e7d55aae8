"""Every score and vote of the study, put together under the models' names and turned into ``results.json``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from epigone.compare import CompareSpec, Measurements, compare, preference_axes, style_axes
from epigone.disk import read_json, read_jsonl, write_json
from epigone.evaluate.benchmarks import BenchmarkSpec, benchmark_axes
from epigone.evaluate.factuality import claim_axes
from epigone.evaluate.toxicity import ToxicitySpec, toxicity_axes
from epigone.records import Axis, ItemScore, ItemSupport, ModelInfo, Vote
from epigone.specs import parse_spec
from epigone.study.externals import attach, attach_list
from epigone.study.job import JobContext
from epigone.study.jobs.measuring import ModelFacts
from epigone.study.jobs.training import ArmFacts
from epigone.study.measured import STUDENT, Measured
from epigone.train import TrainRecord

__all__ = ["compare_models"]


class _DataFacts(Struct, frozen=True):
    kind: str
    local_task: str | None = None


class _CompareParams(Struct, frozen=True):
    study: str
    seed: int
    models: list[Measured]
    compare: dict[str, Any]
    data: dict[str, _DataFacts]
    benchmarks: dict[str, dict[str, Any]]
    toxicity: dict[str, Any] | None


def compare_models(context: JobContext) -> None:
    """Write ``results.json``."""
    params = context.params(_CompareParams)
    items = list(_items(context))
    votes = tuple(_votes(context))
    measured = Measurements(
        study=params.study,
        models=tuple(_describe(context, params, model) for model in params.models),
        axes=_axes(context, params, votes, {item.task for item in items}),
        items=tuple(items),
        votes=votes,
        support=tuple(_support(context)),
    )
    spec = parse_spec(CompareSpec, params.compare, where="compare")
    write_json(context.folder / "results.json", compare(measured, spec, seed=params.seed))


def _items(context: JobContext) -> Iterator[ItemScore]:
    """All rows with their model's name; items that curation took out of the evaluation are left out."""
    left_out = {
        (benchmark, item)
        for key, folder in context.inputs.items()
        if key.startswith("data|")
        for benchmark, item in read_json(folder / "excluded_items.json", list[tuple[str, str]])
    }
    for key, folder in sorted(context.inputs.items()):
        kind, _, name = key.partition("|")
        path = folder / "items.jsonl"
        if kind.split(".")[0] not in ("benchmark", "toxicity", "style", "claims") or not path.is_file():
            continue
        for row in read_jsonl(path, ItemScore):
            if (row.task, row.item) not in left_out:
                yield replace(row, model=name)


def _votes(context: JobContext) -> Iterator[Vote]:
    for key, folder in sorted(context.inputs.items()):
        kind, _, name = key.partition("|")
        if kind == "judge":
            for vote in read_jsonl(folder / "votes.jsonl", Vote):
                yield replace(vote, student=name, teacher="teacher")


def _support(context: JobContext) -> Iterator[ItemSupport]:
    """How much each data set supports each item, under the data set's name."""
    for key, folder in sorted(context.inputs.items()):
        kind, _, name = key.partition("|")
        if kind == "data" and (folder / "support.jsonl").is_file():
            for record in read_jsonl(folder / "support.jsonl", ItemSupport):
                yield replace(record, data=name)


def _describe(context: JobContext, params: _CompareParams, model: Measured) -> ModelInfo:
    parameters = _parameters(context, model.name)
    if model.kind != STUDENT or model.arm is None:
        return ModelInfo(name=model.name, role=model.kind, parameters=parameters, base=model.base)
    folder = context.inputs[f"train|{model.name}"]
    record = read_json(folder / "student" / "train.json", TrainRecord)
    facts = read_json(folder / "arm.json", ArmFacts)
    data = params.data[model.arm.data]
    return ModelInfo(
        name=model.name,
        role="student",
        parameters=record.parameters,
        base=model.arm.base,
        data=model.arm.data,
        data_kind="local" if data.kind == "local" else "broad",
        amount_tokens=model.arm.amount if isinstance(model.arm.amount, int) else facts.imitation_tokens,
        replay=model.arm.replay,
        seed=model.arm.seed,
        trained_tokens=record.tokens,
        supervised_tokens=record.supervised_tokens,
        local_task=data.local_task,
    )


def _parameters(context: JobContext, name: str) -> int | None:
    for key, folder in sorted(context.inputs.items()):
        facts = folder / "model.json"
        if key.endswith(f"|{name}") and facts.is_file():
            return read_json(facts, ModelFacts).parameters
    return None


def _axes(context: JobContext, params: _CompareParams, votes: tuple[Vote, ...], tasks: set[str]) -> tuple[Axis, ...]:
    axes: list[Axis] = []
    for spec in attach_list(BenchmarkSpec, params.benchmarks, context).values():
        axes += benchmark_axes(spec)
    if params.toxicity is not None:
        axes += toxicity_axes(attach(ToxicitySpec, params.toxicity, context))
    if any(Path(folder, "claims.jsonl").is_file() for folder in context.inputs.values()):
        axes += claim_axes()
    if "style" in tasks:
        axes += style_axes(tone="tone" in tasks)
    return (*axes, *preference_axes(votes))
