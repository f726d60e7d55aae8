"""Writes the files that `studies/small-real.yaml` names, from the folder of real data beside the checkout.

    python studies/prepare_small_real.py ../shared/data

Koala's 180 prompts are split: 120 are asked of the teacher for imitation, 60 are held out for style and preference.
Ten NQ questions from EfficientQA's development set (none of which is in the scored set) seed the local data.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

HERE = Path(__file__).parent / "data" / "small-real"
HELD_OUT_EVERY = 3
SEEDS = 10


def read_lines(path: Path) -> list[dict[str, object]]:
    """The records of a JSON-lines file."""
    with open(path, encoding="utf-8") as file:  # not str.splitlines, which also cuts at U+2028 inside a string
        return [json.loads(line) for line in file if line.strip()]


def write_lines(path: Path, records: list[dict[str, object]]) -> None:
    """Records as JSON lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records), encoding="utf-8")
    print(f"{path}: {len(records)} records")


def main() -> None:
    """Read the shared data, write the study's files."""
    parser = argparse.ArgumentParser(description="Write the files that studies/small-real.yaml names.")
    parser.add_argument("shared", type=Path, help="folder of real data: koala/, nq_open/, mmlu/")
    shared = parser.parse_args().shared
    koala = [
        {"id": f"koala-{number}", "prompt": record["prompt"]}
        for number, record in enumerate(read_lines(shared / "koala" / "koala_test_set.jsonl"))
    ]
    write_lines(HERE / "imitate.jsonl", [p for n, p in enumerate(koala) if n % HELD_OUT_EVERY])
    write_lines(HERE / "held-out.jsonl", [p for n, p in enumerate(koala) if not n % HELD_OUT_EVERY])
    efficient = read_lines(shared / "nq_open" / "NQ-open.efficientqa.dev.1.1.jsonl")
    seeds: list[dict[str, object]] = []
    for record in efficient[::97][:SEEDS]:
        answers = record["answer"]
        assert isinstance(answers, list)
        seeds.append({"question": record["question"], "answer": answers[0]})
    write_lines(HERE / "seeds.jsonl", seeds)
    shown = {seed["question"] for seed in seeds}
    write_lines(HERE / "nq" / "train.jsonl", [record for record in efficient if record["question"] not in shown])
    write_lines(HERE / "nq" / "validation.jsonl", read_lines(shared / "nq_open" / "NQ-open.dev.jsonl"))
    write_lines(HERE / "mmlu" / "test.jsonl", read_lines(shared / "mmlu" / "test.jsonl"))
    write_lines(HERE / "mmlu" / "dev.jsonl", read_lines(shared / "mmlu" / "dev.jsonl"))


if __name__ == "__main__":
    main()
