"""Files of outputs are read in both forms, and two files' items are brought together without guessing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from epigone.errors import DataError
from epigone.evaluate.outputs_file import match_outputs, read_outputs
from epigone.records import Output


def write(path: Path, rows: list[object]) -> Path:
    path.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows))
    return path


def test_json_lines_keep_id_prompt_response_model_and_number_further_samples(tmp_path: Path) -> None:
    rows = [
        {"id": "a", "prompt": "P", "response": "one", "model": "m"},
        {"id": "a", "prompt": "P", "response": "two", "model": "m"},
        {"id": 7, "prompt": "Q", "response": None},
    ]
    outputs = read_outputs(write(tmp_path / "o.jsonl", rows))
    assert [(o.id, o.response, o.sample, o.status, o.model) for o in outputs] == [
        ("a", "one", 0, "ok", "m"),
        ("a", "two", 1, "ok", "m"),
        ("7", None, 0, "failed", ""),
    ]


def test_alpaca_eval_json_is_read_and_ids_come_from_prompts(tmp_path: Path) -> None:
    rows = [{"instruction": "Say hi.", "output": "Hi.", "generator": "m", "dataset": "d"}]
    path = tmp_path / "o.json"
    path.write_text(json.dumps(rows))
    (output,) = read_outputs(path)
    assert (output.prompt, output.response, output.model) == ("Say hi.", "Hi.", "m")
    again = read_outputs(write(tmp_path / "o.jsonl", [{"prompt": "Say  hi.\n", "response": "Hello."}]))
    assert again[0].id == output.id, "the same words make the same id"


def test_a_byte_order_mark_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "o.json"
    path.write_bytes(b'\xef\xbb\xbf[{"instruction": "a", "output": "b"}]')
    assert read_outputs(path)[0].response == "b"


def test_real_alpaca_eval_files_match_on_every_item(shared_data: Path) -> None:
    folder = shared_data / "alpaca_eval_outputs"
    teacher = read_outputs(folder / "gpt-3.5-turbo-0301.json")
    matched = match_outputs(teacher, read_outputs(folder / "vicuna-13b.json"))
    assert (len(matched.teacher), len(matched.other), matched.unmatched) == (805, 805, ())
    assert [o.id for o in matched.teacher] == [o.id for o in matched.other]


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ([{"id": "a", "prompt": "P"}], "o.jsonl:1: has no 'response'"),
        ([{"response": "x"}], "neither 'id' nor 'prompt'"),
        (['{"id": "a", "response"'], "o.jsonl:1: not an output"),
        ([{"id": "a", "response": 3}], "not an output"),
        ([{"id": "a", "response": "x", "sample": 0}, {"id": "a", "response": "y", "sample": 0}], "o.jsonl:2"),
        ([""], "holds no outputs"),
    ],
)
def test_bad_rows_are_named_with_file_and_line(tmp_path: Path, rows: list[object], says: str) -> None:
    with pytest.raises(DataError, match=says):
        read_outputs(write(tmp_path / "o.jsonl", rows))


def test_a_missing_file_and_broken_json_are_data_errors(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        read_outputs(tmp_path / "none.jsonl")
    (tmp_path / "o.json").write_text('[{"instruction": "a"')
    with pytest.raises(DataError, match="not a valid JSON list"):
        read_outputs(tmp_path / "o.json")


def output(identity: str, prompt: str, sample: int = 0) -> Output:
    return Output(id=identity, prompt=prompt, response="r", sample=sample)


def test_equal_ids_with_other_prompts_are_matched_by_prompt_or_not_at_all() -> None:
    teacher = [output("0", "red"), output("1", "green"), output("2", "blue")]
    student = [output("0", "green"), output("1", "red"), output("2", "pink")]
    matched = match_outputs(teacher, student, other_name="student")
    assert [(o.id, o.prompt) for o in matched.other] == [("1", "green"), ("0", "red")]
    assert [(u.id, u.file) for u in matched.unmatched] == [("2", "student"), ("2", "teacher")]
    assert "another prompt" in matched.unmatched[0].reason


def test_ids_suffice_where_a_file_has_no_prompts_and_all_samples_are_kept() -> None:
    matched = match_outputs([output("a", "red")], [output("a", ""), output("a", "", sample=1)])
    assert [(o.id, o.sample) for o in matched.other] == [("a", 0), ("a", 1)]
    assert matched.unmatched == ()


def test_one_prompt_under_two_ids_matches_once_and_the_other_is_listed() -> None:
    matched = match_outputs([output("a", "red")], [output("x", "red"), output("y", " red ")])
    assert [o.id for o in matched.other] == ["a"]
    assert [(u.id, u.reason) for u in matched.unmatched] == [("y", "its prompt is also that of 'x'")]
