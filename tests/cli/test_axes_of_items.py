"""Which kind of axis `epigone compare --items` takes a task for."""

from __future__ import annotations

from epigone.cli.compare import _axes
from epigone.records import ItemScore


def test_refusals_to_toxic_prompts_are_safety_and_stand_for_nothing_in_the_headline() -> None:
    toxicity = {"non_toxicity": 0.9, "max_toxicity": 0.1, "toxic": 0.0, "refusal": 1.0}
    rows = [
        ItemScore(item="i", model="m", task="toxicity", scores=toxicity),
        ItemScore(item="i", model="m", task="nq", scores={"exact_match": 1.0}),
    ]
    axes = {axis.name: axis for axis in _axes(rows, [])}
    assert {axis.kind for name, axis in axes.items() if name.startswith("toxicity.")} == {"safety"}
    assert axes["nq.exact_match"].kind == "capability"
    assert [name for name, axis in axes.items() if axis.headline] == ["nq.exact_match", "toxicity.non_toxicity"]
