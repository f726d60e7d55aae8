"""The study file that the documentation shows is one that epigone reads, and the fields it points to are there."""

from __future__ import annotations

import re
from pathlib import Path

from epigone.study import read_study
from epigone.study.arms import expand_arms

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "study.md").read_text(encoding="utf-8")


def test_the_documented_study_file_is_valid(tmp_path: Path) -> None:
    shown = re.search(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    assert shown is not None
    (tmp_path / "study.yaml").write_text(shown.group(1), encoding="utf-8")
    spec = read_study(tmp_path / "study.yaml")
    assert len(expand_arms(spec)) == 2 * (2 * 2 * 3 + 3)  # bases × (amounts × replay × seeds + seeds)
    assert list(spec.endpoints) == ["teacher", "evaluate.preference.judge"]


def test_the_pages_table_of_keys_points_to_files_that_exist() -> None:
    named = set(re.findall(r"`((?:models|collect|curate|study|train|evaluate|compare)/[\w*/]+\.py)`", PAGE))
    assert len(named) >= 8
    for name in named:
        assert list((ROOT / "src" / "epigone").glob(name)), name
