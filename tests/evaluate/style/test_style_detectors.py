"""List and summary detectors against 200 real responses that were labelled by reading them.

``labels.jsonl`` holds ids and labels only. It was written before the detectors were tuned; only the half ``tuning`` was
looked at while tuning, so the figures of ``held_back`` are the honest ones.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from epigone.evaluate.outputs_file import read_outputs
from epigone.evaluate.style import StyleFeatures, style_features

LABELS = Path(__file__).parent / "labels.jsonl"
FLOORS = {"list": 0.95, "summary": 0.85}


@pytest.fixture(scope="module")
def measured(shared_data: Path) -> list[tuple[dict[str, str], StyleFeatures]]:
    labels = [json.loads(line) for line in LABELS.read_text().splitlines()]
    texts = {
        (model, output.id): output.response
        for model in {row["model"] for row in labels}
        for output in read_outputs(shared_data / "alpaca_eval_outputs" / f"{model}.json")
    }
    return [(row, style_features(texts[row["model"], row["id"]] or "")) for row in labels]


@pytest.mark.parametrize("half", ["tuning", "held_back"])
@pytest.mark.parametrize("what", ["list", "summary"])
def test_a_detector_agrees_with_reading(
    measured: list[tuple[dict[str, str], StyleFeatures]], what: str, half: str
) -> None:
    pairs = [(bool(row[what]), bool(getattr(found, f"has_{what}"))) for row, found in measured if row["half"] == half]
    assert len(pairs) == 100
    right = sum(label and found for label, found in pairs)
    wrong = sum(label != found for label, found in pairs)
    assert 2 * right / (2 * right + wrong) >= FLOORS[what]
