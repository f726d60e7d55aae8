"""Trainings in processes of their own: torch is imported once by a server and forked for each of them.

A new interpreter (or torchrun) would import it for every process, which takes most of the time of such small trainings.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from datetime import timedelta
from pathlib import Path
from typing import Any

from epigone.errors import EpigoneError
from epigone.records import Conversation
from epigone.train import TrainSpec

STOPPED = 3
"""Exit code of a training that stopped itself."""


class Trainings:
    """The server, as tests use it: a context manager."""

    def __init__(self) -> None:
        self._log = tempfile.TemporaryFile("w+")
        self._process = subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )

    def __enter__(self) -> Trainings:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()
        self._log.close()

    def run(
        self,
        spec: TrainSpec,
        *,
        base: Path,
        data: Path,
        out: Path,
        works: list[Path],
        stop: tuple[int, int] | None = None,
    ) -> list[int]:
        """Train ``base`` on ``data`` with seed 0; gives the exit codes.

        Args:
            works: the work folder of each process: there are as many processes.
            stop: (step, signal): once the step is reported, the first process is sent the signal; 0: it ends itself.
        """
        step, number = stop or (0, 0)
        case = {"spec": spec.model_dump(mode="json"), "base": str(base), "data": str(data), "out": str(out)}
        case |= {"works": [str(work) for work in works], "stop_after": step, "signal": number}
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(case) + "\n")
        self._process.stdin.flush()
        return list(json.loads(self._process.stdout.readline()))

    def told(self) -> str:
        """What the trainings wrote to standard error."""
        self._log.seek(0)
        return self._log.read()


def serve() -> None:
    """Run each case of standard input; print the list of its processes' exit codes."""
    import torch.distributed  # noqa: F401
    import transformers  # noqa: F401

    import epigone.train.training  # noqa: F401

    for line in sys.stdin:
        case = json.loads(line)
        with tempfile.TemporaryDirectory() as store:
            print(json.dumps(_run_all(case, Path(store) / "store")), flush=True)


def _run_all(case: dict[str, Any], store: Path) -> list[int]:
    reading, writing = os.pipe()
    running = {}
    for rank in range(len(case["works"])):
        child = os.fork()
        if child == 0:
            os.close(reading)
            os._exit(_train(rank, case, store, writing))
        running[child] = rank
    os.close(writing)
    first = next(iter(running))
    with os.fdopen(reading) as steps:
        for step in steps:
            if case["signal"] and int(step) >= case["stop_after"]:
                os.kill(first, case["signal"])
                break
        codes = [0] * len(running)
        while running:
            child, status = os.wait()
            codes[running.pop(child)] = os.waitstatus_to_exitcode(status)
            if status:  # the others would wait for it: torchrun ends them as well
                for other in running:
                    os.kill(other, signal.SIGKILL)
    return codes


def _train(rank: int, case: dict[str, Any], store: Path, steps: int) -> int:
    """Train as process ``rank``; the exit code."""
    import torch
    import torch.distributed as dist

    from epigone.disk import read_jsonl
    from epigone.train import train_student

    def progress(done: int, _: int | None) -> None:
        os.write(steps, f"{done}\n".encode())
        if done == case["stop_after"] and not case["signal"]:
            os._exit(STOPPED)
        if case["signal"] and done > case["stop_after"] + 3:
            time.sleep(0.5)  # on a busy machine the signal may be late

    try:
        torch.set_num_threads(1)
        if len(case["works"]) > 1:
            address, size = f"file://{store}", len(case["works"])
            waiting = timedelta(seconds=180)
            dist.init_process_group("gloo", init_method=address, rank=rank, world_size=size, timeout=waiting)
        train_student(
            TrainSpec.model_validate(case["spec"]),
            base=Path(case["base"]),
            conversations=read_jsonl(Path(case["data"]), Conversation),
            out=Path(case["out"]),
            work=Path(case["works"][rank]),
            seed=0,
            progress=progress,
        )
    except SystemExit as stopped:
        return int(stopped.code or 0)
    except (EpigoneError, RuntimeError):
        traceback.print_exc()
        return 1
    return 0


if __name__ == "__main__":
    serve()
