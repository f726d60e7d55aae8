"""A sandbox for programs that models write: HumanEval's tests, run where nothing can be harmed or faked."""

from epigone.evaluate.benchmarks.sandbox.confinement import WALLS, Confinement, Limits, find_confinement
from epigone.evaluate.benchmarks.sandbox.judge import TestRun, run_test

__all__ = ["WALLS", "Confinement", "Limits", "TestRun", "find_confinement", "run_test"]
