"""The one place where lm-eval is imported: a study can be read and checked without it."""

from __future__ import annotations

from functools import cache, lru_cache
from typing import Any, NamedTuple

from epigone.errors import MissingDependency

__all__ = ["HarnessLibrary", "harness_library", "harness_tasks"]


class HarnessLibrary(NamedTuple):
    """What is used of lm-eval and of the data sets library beneath it. Neither carries types."""

    TaskManager: Any
    load_yaml: Any
    Dataset: Any


@cache
def harness_library() -> HarnessLibrary:
    """lm-eval, loaded when the first task is (about a second).

    Raises:
        MissingDependency: it is not installed.
    """
    try:
        from datasets import Dataset
        from lm_eval import utils
        from lm_eval.tasks import TaskManager
        from lm_eval.tasks._yaml_loader import load_yaml
    except ImportError as error:
        fix = "install it with: pip install 'epigone[local]'"
        raise MissingDependency(f"benchmarks need lm-eval: {error}", fix=fix) from error
    # lm-eval compiles a template anew at each use, which is nine tenths of the time of building a task's prompts.
    utils.env.from_string = lru_cache(maxsize=1024)(utils.env.from_string)
    return HarnessLibrary(TaskManager, load_yaml, Dataset)


@cache
def harness_tasks() -> Any:
    """lm-eval's index of its own tasks: a few thousand files to read, some seconds, once in a process."""
    return harness_library().TaskManager()
