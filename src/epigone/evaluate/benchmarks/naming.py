"""What a benchmark is called and which axes it measures, read from its task file without loading lm-eval's task.

A task file says under ``metadata`` what its readers should see; all of it may be left out::

    metadata:
      title: Questions about people      # else the task's name
      headline: contains                 # else the first metric, the strict one
      labels: {contains: names the city} # else the metric's usual label
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib import import_module
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from epigone.errors import SpecError
from epigone.evaluate.benchmarks.harness import harness_tasks
from epigone.evaluate.benchmarks.process import Scoring
from epigone.evaluate.benchmarks.spec import BenchmarkSpec
from epigone.records import Axis

__all__ = ["BUILT_IN", "benchmark_axes", "benchmark_name", "task_path"]

TASK_FOLDER = Path(str(files("epigone.evaluate.benchmarks") / "tasks"))
BUILT_IN = tuple(sorted(path.stem for path in TASK_FOLDER.glob("*.yaml")))

_LABELS = {"acc": "accuracy", "acc_norm": "accuracy, length-normalised", "exact_match": "exact match", "f1": "F1"}
_DEFAULT_METRICS = {"multiple_choice": ["acc", "acc_norm"], "loglikelihood": ["perplexity", "acc"]}


def task_path(spec: BenchmarkSpec) -> Path | None:
    """The task file of a built-in task or of a path; ``None`` for a name of lm-eval's."""
    if spec.task in BUILT_IN:
        return TASK_FOLDER / f"{spec.task}.yaml"
    path = Path(spec.task)
    return path if path.suffix in (".yaml", ".yml") else None


def benchmark_name(spec: BenchmarkSpec) -> str:
    """The first part of the task's axis names."""
    if spec.name is not None:
        return spec.name
    path = task_path(spec)
    return spec.task if path is None else str(_read_task_file(path).get("task", path.stem))


def benchmark_axes(spec: BenchmarkSpec) -> tuple[Axis, ...]:
    """One axis a metric; of each task, one is the headline. A group of lm-eval gives the axes of all its tasks.

    Raises:
        SpecError: the task file cannot be read, or its ``metadata: {headline: …}`` names no metric of it.
    """
    path = task_path(spec)
    if path is not None:
        return _axes(benchmark_name(spec), _read_task_file(path), str(path))
    index = harness_tasks().task_index
    return tuple(axis for name in _leaves(spec.task, index) for axis in _axes(name, index[name].cfg or {}, spec.task))


def _axes(name: str, config: Mapping[str, Any], where: str) -> tuple[Axis, ...]:
    metrics = _metrics(config)
    described = config.get("metadata")
    metadata: Mapping[str, Any] = described if isinstance(described, Mapping) else {}
    headline = str(metadata.get("headline") or next(iter(metrics)))
    if headline not in metrics:
        fix = f"its metrics are: {', '.join(metrics)}"
        raise SpecError(f"metadata: 'headline: {headline}' is no metric of the task", where=where, fix=fix)
    title, labels = str(metadata.get("title") or name), metadata.get("labels") or {}
    return tuple(
        Axis(
            name=f"{name}.{metric}",
            label=f"{title}: {labels.get(metric, label)}",
            kind="capability",
            unit="share",
            headline=metric == headline,
        )
        for metric, label in metrics.items()
    )


def _metrics(config: Mapping[str, Any]) -> dict[str, str]:
    """Metric -> label, the strict one first: of our scoring function, else what lm-eval's task names."""
    scoring = _scoring(str(config.get("process_results") or ""))
    if scoring is not None:
        return dict(scoring.metrics)
    listed = [str(entry["metric"]).rpartition(".")[2] for entry in config.get("metric_list") or ()]
    names = listed or _DEFAULT_METRICS.get(str(config.get("output_type")), ["exact_match"])
    filters = [str(entry["name"]) for entry in config.get("filter_list") or ()]
    if len(filters) > 1:  # lm-eval reports each metric for each filter
        names = [f"{metric},{one}" for metric in names for one in filters]
    return {name: _LABELS.get(name, name.replace("_", " ")) for name in names}


def _scoring(reference: str) -> Scoring | None:
    module, _, name = reference.rpartition(".")
    if not module.startswith("epigone.evaluate.benchmarks."):
        return None
    found = getattr(import_module(module), name, None)
    return found if isinstance(found, Scoring) else None


def _leaves(name: str, index: Mapping[str, Any]) -> list[str]:
    """The tasks below a task, group or tag of lm-eval."""
    entry = index.get(name)
    if entry is None:
        return []
    kind = entry.kind.name
    members = sorted(entry.tags) if kind == "TAG" else (entry.cfg or {}).get("task") if kind == "GROUP" else None
    if not isinstance(members, list):
        return [name]
    names = [member if isinstance(member, str) else member.get("task") or member.get("group") for member in members]
    return [leaf for member in names if member for leaf in _leaves(str(member), index)]


class _TaskFileLoader(yaml.SafeLoader):
    """Reads a task file as data: a ``!function`` is its name, and nothing is imported."""


_TaskFileLoader.add_constructor("!function", lambda _, node: str(node.value))


def _read_task_file(path: Path) -> dict[str, Any]:
    """The task file's settings, with the files that it includes."""
    try:
        config = yaml.load(path.read_text(encoding="utf-8"), Loader=_TaskFileLoader)  # noqa: S506 - a SafeLoader
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(f"cannot be read: {error}", where=str(path), fix="check the path") from error
    except yaml.YAMLError as error:
        problem = re.sub(r"\s+", " ", str(error))
        raise SpecError(f"not a valid task file: {problem}", where=str(path)) from error
    if not isinstance(config, dict):
        raise SpecError("not a valid task file: expected a mapping", where=str(path))
    included = config.pop("include", None) or []
    merged: dict[str, Any] = {}
    for file in included if isinstance(included, list) else [included]:
        merged |= _read_task_file(path.parent / str(file))
    return merged | config
