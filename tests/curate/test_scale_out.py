"""The same recipe gives the same bytes in one process, in two, and on two Ray workers; memory does not grow."""

from __future__ import annotations

import random
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest

from epigone.curate import CurateSpec, Curation, EvaluationText, curate_to_folder, open_workers
from epigone.disk import digest_folder
from epigone.errors import EpigoneError
from epigone.records import Conversation, Message

RECIPE = CurateSpec.model_validate(
    {"steps": ["clean", {"deduplicate": {"keep": "drawn"}}, "language", {"decontaminate": {"measure": "bleu"}}]}
)
WORDS = tuple("the river under an old bridge carries boats past a quiet market where people sell tea".split())  # noqa: SIM905


def dialogues(count: int) -> Iterator[Conversation]:
    draw = random.Random(0)
    for number in range(count):
        query = "Tell me about " + " ".join(draw.choices(WORDS, k=draw.randint(2, 12)))
        answer = "It is said that " + " ".join(draw.choices(WORDS, k=40))
        messages = (Message(role="user", content=query), Message(role="assistant", content=answer))
        yield Conversation(id=f"d{number}", messages=messages, source="toy")


ITEMS = [EvaluationText(benchmark="b", item="1", prompt="Tell me about the old bridge under the quiet market")]


@pytest.mark.slow
def test_ray_and_processes_give_the_same_bytes_as_one_process(tmp_path: Path) -> None:
    digests = {}
    for name, workers in (("one", open_workers(1)), ("two", open_workers(2)), ("ray", open_workers(2, "local"))):
        curation = Curation(RECIPE, seed=0, evaluation=ITEMS, workers=workers)
        curated = curate_to_folder(curation, dialogues(2_000), tmp_path / name, title="toy")
        assert 0 < curated.funnel[-1].kept < 2_000
        assert curated.audit
        digests[name] = digest_folder(tmp_path / name)
    assert digests["one"] == digests["two"] == digests["ray"]


def test_memory_stays_flat_when_the_data_is_ten_times_as_much() -> None:
    def peak(copies: int) -> int:
        tracemalloc.start()
        flow = (record for _ in range(copies) for record in dialogues(600))
        assert sum(1 for _ in Curation(RECIPE, seed=0, evaluation=ITEMS).stream(flow)) == copies * 600
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    peak(1)  # what is loaded once: detectors, tables
    assert peak(10) < 1.25 * peak(1)


def _leave(_: int) -> int:
    import os

    os._exit(3)


def test_a_worker_that_dies_is_an_error_with_advice() -> None:
    with pytest.raises(EpigoneError, match="a worker process ended without an answer"):
        list(open_workers(2).map(_leave, range(3)))
