"""Trainings that run out of memory or disk, each in a process of its own; prints as JSON what each was told.

python short_of_room.py BASE DATA SMALL    # SMALL: a folder on a file system of 4 MiB; "-": only what needs no disk
"""

from __future__ import annotations

import json
import os
import resource
import sys
from contextlib import suppress
from pathlib import Path

import psutil
import torch

import epigone.train.training  # noqa: F401  (the limits below count from here)
from epigone.disk import read_jsonl
from epigone.errors import EpigoneError
from epigone.records import Conversation
from epigone.train import TrainSpec, train_student

SPEC = TrainSpec(block_tokens=64, batch_blocks=8, precision="float32", threads=1, max_steps=3)
CASES = {
    "memory": SPEC.model_copy(update={"block_tokens": 128, "batch_blocks": 4096, "micro_batch_blocks": 4096}),
    "small disk": SPEC.model_copy(update={"keep": 20}),
    "full at a checkpoint": SPEC.model_copy(update={"checkpoint_every_steps": 2}),
    "full at the end": SPEC.model_copy(update={"checkpoint_every_minutes": None}),
}


def main(base: Path, data: Path, small: Path | None) -> dict[str, str]:
    told = {}
    for name in CASES if small is not None else ["memory"]:
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            os.write(writing, run(name, base, data, small or data.parent).encode())
            os._exit(0)
        os.close(writing)
        with os.fdopen(reading) as answer:
            told[name] = answer.read()
        os.waitpid(child, 0)
        for path in small.rglob("*") if small is not None else []:
            if path.is_file():
                path.unlink()
    return told


def run(name: str, base: Path, data: Path, folder: Path) -> str:
    torch.set_num_threads(1)
    if name == "memory":
        limit = psutil.Process().memory_info().vms + 400 * 2**20
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))

    def progress(_: int, __: int | None) -> None:
        if name.startswith("full"):  # somebody else takes the space that was free when the training began
            with suppress(OSError):
                (folder / "theirs").write_bytes(bytes(10**7))

    try:
        train_student(
            CASES[name],
            base=base,
            conversations=read_jsonl(data, Conversation),
            out=folder / "student",
            work=folder / "work",
            seed=0,
            progress=progress,
        )
    except EpigoneError as error:
        return f"{type(error).__name__}: {error}"
    return "nothing"


if __name__ == "__main__":
    given = sys.argv[3]
    print(json.dumps(main(Path(sys.argv[1]), Path(sys.argv[2]), None if given == "-" else Path(given))))
