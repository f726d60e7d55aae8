"""What MMLU costs on one model with epigone's engine: seconds by items and shots, and the whole test's projection.

    python bench/mmlu_cost.py MODEL --data SHARED_DATA/mmlu --items 1000 --part 1/4

Float32, one thread; rates are processor time, which other processes hardly change. `--part i/n` measures the i-th
n-th of the items, for machines that are not one's own for long; items stand in the order of the file, by subject, so
parts share no few-shot prefix and their seconds add up.
"""

from __future__ import annotations

import argparse
import logging
import resource
import time
from dataclasses import replace
from pathlib import Path

from epigone.evaluate.benchmarks import BenchmarkSpec, load_tasks, run_benchmarks
from epigone.models import LocalSpec
from epigone.models.local import LocalModel, load_local
from epigone.models.local.prefixes import group_by_prefix

WHOLE_TEST = 14_042


def main() -> None:
    """Measure one part and say what follows from it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--items", type=int, default=1000)
    parser.add_argument("--shots", type=int, default=5)
    parser.add_argument("--part", default="1/1")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--count-only", action="store_true", help="count the tokens and stop")
    arguments = parser.parse_args()
    logging.getLogger("transformers").setLevel(logging.ERROR)
    before = time.perf_counter()
    spec = BenchmarkSpec(task="mmlu", data=arguments.data, items=arguments.items, shots=arguments.shots)
    (task,) = load_tasks([spec], seed=0)
    building = time.perf_counter() - before
    part, parts = map(int, arguments.part.split("/"))
    size = -(-len(task.items) // parts)
    task = replace(task, items=task.items[(part - 1) * size : part * size])
    opened = LocalSpec(hf=arguments.model, dtype="float32", device="cpu", threads=arguments.threads, name="model")
    model = load_local(opened)
    read, written = tokens_read(model, [str(item.context) for item in task.items])
    counted = f"{read:,} tokens read of {written:,} in the prompts"
    if arguments.count_only:
        print(f"{arguments.shots} shots, {len(task.items)} items: {counted}; prompts built in {building:.1f} s")
        return
    before = time.perf_counter(), time.process_time()
    rows = run_benchmarks(model, [task], chat=False, seed=0)
    wall, seconds = time.perf_counter() - before[0], time.process_time() - before[1]
    scored = [row.scores["acc"] for row in rows if row.scores]
    subjects = len({row.cluster for row in rows})
    print(
        f"{arguments.shots} shots, part {arguments.part}: {len(rows)} items of {subjects} subjects,"
        f" {len(scored)} scored, accuracy {sum(scored) / max(len(scored), 1):.3f}; {counted}; {seconds:.1f} s of"
        f" processor ({wall:.1f} s by the clock), {seconds / len(rows):.3f} s an item;"
        f" prompts built in {building:.1f} s;"
        f" peak {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB;"
        f" {WHOLE_TEST:,} items at this rate: {WHOLE_TEST * seconds / len(rows) / 3600:.2f} h"
    )


def tokens_read(model: LocalModel, prompts: list[str]) -> tuple[int, int]:
    """Tokens that the engine computes, shared beginnings once, and tokens in the prompts."""
    ids = [model.text.encode(prompt) for prompt in prompts]
    groups = group_by_prefix(ids, [len(one) for one in ids])
    read = sum(group.length + sum(len(ids[member]) - group.length for member in group.members) for group in groups)
    return read, sum(map(len, ids))


if __name__ == "__main__":
    main()
