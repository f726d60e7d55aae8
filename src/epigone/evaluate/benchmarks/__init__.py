"""Benchmarks through lm-eval: task files, few-shot prompts, strict and lenient scores, one row an item.

Importing this loads neither lm-eval nor torch: a study file can be read and checked without them.
"""

from epigone.evaluate.benchmarks.items_file import read_items, write_items
from epigone.evaluate.benchmarks.naming import BUILT_IN, benchmark_axes, benchmark_name
from epigone.evaluate.benchmarks.run import EvaluationText, evaluation_texts, run_benchmarks
from epigone.evaluate.benchmarks.spec import BenchmarkSpec
from epigone.evaluate.benchmarks.task_files import LoadedTask, load_tasks

__all__ = [
    "BUILT_IN",
    "BenchmarkSpec",
    "EvaluationText",
    "LoadedTask",
    "benchmark_axes",
    "benchmark_name",
    "evaluation_texts",
    "load_tasks",
    "read_items",
    "run_benchmarks",
    "write_items",
]
