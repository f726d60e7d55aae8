"""Benchmarks through lm-eval: task files, few-shot prompts, strict and lenient scores, one row an item.

Importing this loads neither lm-eval nor torch: a study file can be checked without them. What needs lm-eval is loaded
when it is first named.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from epigone.evaluate.benchmarks.items_file import read_items, write_items
from epigone.evaluate.benchmarks.spec import BenchmarkSpec

if TYPE_CHECKING:
    from epigone.evaluate.benchmarks.run import EvaluationText, evaluation_texts, run_benchmarks
    from epigone.evaluate.benchmarks.task_files import LoadedTask, load_tasks

__all__ = [
    "BenchmarkSpec",
    "EvaluationText",
    "LoadedTask",
    "evaluation_texts",
    "load_tasks",
    "read_items",
    "run_benchmarks",
    "write_items",
]

_NEEDS_HARNESS = {
    "EvaluationText": "run",
    "evaluation_texts": "run",
    "run_benchmarks": "run",
    "LoadedTask": "task_files",
    "load_tasks": "task_files",
}


def __getattr__(name: str) -> Any:
    if name not in _NEEDS_HARNESS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_NEEDS_HARNESS[name]}"), name)
