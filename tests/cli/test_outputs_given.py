"""Outputs files as commands are given them: names, samples, ids that cannot be right."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from epigone.cli.outputs_given import read_given
from epigone.errors import DataError


def write(path: Path, said: str, *, n: int = 30, extra: tuple[dict[str, object], ...] = ()) -> str:
    rows: list[dict[str, object]] = [{"id": str(k), "prompt": f"What is {k}?", "response": said} for k in range(n)]
    path.parent.mkdir(exist_ok=True)
    path.write_text("\n".join(json.dumps(row) for row in [*rows, *extra]))
    return str(path)


def again(*numbers: int) -> tuple[dict[str, object], ...]:
    return tuple({"id": str(k), "prompt": f"What is {k}?", "response": "once more"} for k in numbers)


def test_second_samples_in_the_teachers_own_file_are_its_ceiling(tmp_path: Path) -> None:
    student = write(tmp_path / "s.jsonl", "student")
    given = read_given(write(tmp_path / "t.jsonl", "teacher", extra=again(*range(12))), [student])
    (ceiling,) = given.of_role("teacher_second_sample")
    assert (ceiling.info.name, len(ceiling.outputs), len(given.teacher)) == ("t#2", 12, 30)
    few = read_given(write(tmp_path / "u.jsonl", "teacher", n=2, extra=again(0, 1)), [student])
    assert few.of_role("teacher_second_sample"), "two of two items"


def test_a_prompt_that_happens_to_stand_twice_is_no_ceiling_but_is_listed(tmp_path: Path) -> None:
    teacher = write(tmp_path / "t.jsonl", "teacher", extra=again(7))
    given = read_given(teacher, [write(tmp_path / "s.jsonl", "student")])
    assert given.of_role("teacher_second_sample") == ()
    assert [(row.id, row.file, row.reason) for row in given.unmatched] == [
        ("7", "t", "answered twice, as are too few items to be a ceiling (1 of 30)")
    ]


def test_an_id_that_stands_for_two_prompts_is_refused(tmp_path: Path) -> None:
    right = write(tmp_path / "right.jsonl", "x")
    wrong = write(tmp_path / "wrong.jsonl", "x", extra=({"id": "7", "prompt": "Quite another?", "response": "Yes."},))
    for teacher, student in ((wrong, right), (right, wrong)):
        with pytest.raises(DataError, match=r"wrong.jsonl: id '7' stands for two prompts"):
            read_given(teacher, [student])


def test_a_path_after_the_name_may_hold_an_equals_sign(tmp_path: Path) -> None:
    student = write(tmp_path / "lr=3" / "s.jsonl", "student")
    teacher = write(tmp_path / "t.jsonl", "teacher")
    assert [model.info.name for model in read_given(teacher, [f"mine={student}"]).others] == ["mine"]
    assert [model.info.name for model in read_given(teacher, [student]).others] == ["s"]
