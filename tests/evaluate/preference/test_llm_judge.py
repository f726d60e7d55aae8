"""What a judge does wrong is reported as what it is: position bias, prose, refusals and errors; never as a loss."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from epigone.compare import CompareSpec, Measurements, compare
from epigone.errors import DataError, SpecError
from epigone.evaluate.preference import JudgeSpec, Pair, judge_pairs, plan_judging
from epigone.evaluate.preference.attacks import attack_judge, attacked, read_attacks
from epigone.models import ApiModel
from epigone.records import Estimate, ModelInfo, Vote

PAIRS = [
    Pair(
        item=f"q{k}",
        prompt=f"What is {k}?",
        student="s",
        teacher="t",
        student_response=f"Short {k}.",
        teacher_response=f"A longer answer to {k}.",
    )
    for k in range(12)
]


def longer(first: str, second: str) -> str:
    return "9 4\nThe first says more." if len(first) > len(second) else "4 9\nThe second says more."


def estimates(votes: list[Vote]) -> dict[str, Estimate]:
    models = (ModelInfo(name="t", role="teacher"), ModelInfo(name="s", role="student"))
    measured = Measurements(study="j", models=models, axes=(), items=(), votes=tuple(votes))
    found = compare(measured, CompareSpec(resamples=100), seed=0).estimates["s"]
    return {name.removeprefix("preference.llm_judge."): estimate for name, estimate in found.items()}


def test_both_orders_are_asked_and_the_margin_is_the_students(judge: Any, judge_model: ApiModel) -> None:
    judge.script = longer
    votes = judge_pairs(JudgeSpec(api=judge.spec), PAIRS, judge_model, seed=0)
    assert [vote.item for vote in votes] == [pair.item for pair in PAIRS for _ in range(2)]
    assert [vote.first for vote in votes[:2]] == ["student", "teacher"]
    assert {vote.choice for vote in votes} == {"teacher"}
    assert {vote.margin for vote in votes} == {-5.0}
    assert {(vote.kind, vote.voter, vote.status) for vote in votes} == {("llm_judge", judge_model.name, "ok")}


def test_a_judge_that_prefers_the_first_position_is_all_flips_and_ties(judge: Any, judge_model: ApiModel) -> None:
    judge.script = lambda first, second: "8 3"
    found = estimates(judge_pairs(JudgeSpec(api=judge.spec), PAIRS, judge_model, seed=0))
    assert found["first_position_share"].value == 1.0
    assert found["flip_share"].value == 1.0
    assert found["tie_share"].value == 1.0
    assert found["win_rate"].value == 0.5


def test_one_order_draws_the_first_place_by_seed(judge: Any, judge_model: ApiModel) -> None:
    judge.script = longer
    spec = JudgeSpec(api=judge.spec, orders="one")
    votes = judge_pairs(spec, PAIRS, judge_model, seed=0)
    assert len(votes) == len(PAIRS)
    assert {vote.first for vote in votes} == {"student", "teacher"}
    assert votes == judge_pairs(spec, PAIRS, judge_model, seed=0)


def test_prose_is_asked_again_once_and_then_missing(judge: Any, judge_model: ApiModel) -> None:
    judge.script = lambda first, second: "Both answers have their merits."
    votes = judge_pairs(JudgeSpec(api=judge.spec), PAIRS[:3], judge_model, seed=0)
    assert Counter(len(messages) for messages in judge.asked) == {2: 6, 4: 6}
    assert {(vote.status, vote.choice) for vote in votes} == {("unparsed", None)}
    assert "merits" in (votes[0].reason or "")
    found = estimates(votes)["equal_or_better"]
    assert (found.value, found.n_scored, found.n_total) == (None, 0, 3)


def test_a_reply_that_is_readable_the_second_time_counts(judge: Any, judge_model: ApiModel) -> None:
    judge.script = lambda first, second: "Let me think about this."
    judge.again = longer
    votes = judge_pairs(JudgeSpec(api=judge.spec), PAIRS[:3], judge_model, seed=0)
    assert {(vote.status, vote.choice) for vote in votes} == {("ok", "teacher")}
    reminder = judge.asked[-1][-1]["content"]
    assert "two numbers" in reminder


@pytest.mark.parametrize(
    ("reply", "status", "choice"),
    [
        ("8.5/10, 7", "ok", None),
        ("I'm sorry, but I cannot compare these.", "refused", None),
        (500, "failed", None),
        (400, "refused", None),
        ("", "failed", None),
    ],
)
def test_odd_replies_have_their_status(
    judge: Any, judge_model: ApiModel, reply: str | int, status: str, choice: str | None
) -> None:
    judge.script = lambda first, second: reply
    votes = judge_pairs(JudgeSpec(api=judge.spec), PAIRS[:2], judge_model, seed=0)
    assert {vote.status for vote in votes} == {status}
    if status == "ok":
        assert [vote.margin for vote in votes[:2]] == [1.5, -1.5]
    else:
        assert {vote.choice for vote in votes} == {choice}


def test_failures_leave_the_rates_of_the_others_alone(judge: Any, judge_model: ApiModel) -> None:
    """Four of twelve pairs fail in one way each; the student wins all others."""

    def script(first: str, second: str) -> str | int:
        text = first + second
        for k, reply in {"0.": "prose", "1.": "I'm sorry, I cannot.", "2.": 500, "3.": "12 99"}.items():
            if f"Short {k}" in text:
                return reply
        return "1 7" if len(first) > len(second) else "7 1"

    judge.script = script
    found = estimates(judge_pairs(JudgeSpec(api=judge.spec), PAIRS, judge_model, seed=0))["equal_or_better"]
    assert (found.value, found.n_scored, found.n_total) == (1.0, 8, 12)


def test_the_three_choice_form_and_a_prompt_file_of_ones_own(judge: Any, judge_model: ApiModel, tmp_path: Path) -> None:
    judge.script = lambda first, second: "1" if len(first) > len(second) else "2\nIt says more."
    votes = judge_pairs(JudgeSpec(api=judge.spec, form="three_choices"), PAIRS[:2], judge_model, seed=0)
    assert {(vote.choice, vote.margin) for vote in votes} == {("teacher", None)}
    own = tmp_path / "own.txt"
    marks = "[Answer 1 {boundary}]\n{answer_1}\n[End of answer 1 {boundary}]\n"
    own.write_text("Be strict.\n---\nQ: {question}\n" + marks + marks.replace("1", "2"))
    judge_pairs(JudgeSpec(api=judge.spec, form="three_choices", template=own), PAIRS[:1], judge_model, seed=0)
    assert judge.asked[-1][0] == {"role": "system", "content": "Be strict."}
    own.write_text("Q: {question}")
    with pytest.raises(SpecError, match=r"lacks \{answer_1\}, \{answer_2\}, \{boundary\}"):
        judge_pairs(JudgeSpec(api=judge.spec, template=own), PAIRS[:1], judge_model, seed=0)


def test_scores_within_the_tie_margin_tie(judge: Any, judge_model: ApiModel) -> None:
    judge.script = lambda first, second: "8 7.5"
    votes = judge_pairs(JudgeSpec(api=judge.spec, score_tie=0.5), PAIRS[:1], judge_model, seed=0)
    assert [(vote.choice, vote.margin) for vote in votes] == [("tie", 0.5), ("tie", -0.5)]


def test_missing_and_equal_responses_are_never_shown(judge: Any, judge_model: ApiModel) -> None:
    def pair(item: str, student: str | None) -> Pair:
        return Pair(
            item=item, prompt="p", student="s", teacher="t", student_response=student, teacher_response="same text"
        )

    votes = judge_pairs(JudgeSpec(api=judge.spec), [pair("a", None), pair("b", " same text\n")], judge_model, seed=0)
    assert judge.asked == []
    assert [(vote.item, vote.status, vote.choice) for vote in votes] == [("a", "failed", None), ("b", "ok", "tie")]


def test_a_pair_given_twice_is_refused(judge: Any, judge_model: ApiModel) -> None:
    with pytest.raises(DataError, match="twice"):
        judge_pairs(JudgeSpec(api=judge.spec), [PAIRS[0], PAIRS[0]], judge_model, seed=0)


def test_the_plan_counts_what_is_then_asked(judge: Any, judge_model: ApiModel) -> None:
    spec = JudgeSpec(api=judge.spec, max_tokens=100)
    plan = plan_judging(spec, PAIRS, seed=0)
    assert (plan.requests, plan.reply_tokens_at_most, plan.estimated) == (24, 2400, True)
    judge.script = longer
    judge_pairs(spec, PAIRS, judge_model, seed=0)
    characters = sum(len(message["content"]) for messages in judge.asked for message in messages)
    assert len(judge.asked) == 24
    assert plan.prompt_tokens == pytest.approx(characters / 4, abs=1)


@pytest.mark.parametrize("form", ["two_scores", "three_choices"])
def test_no_attack_gets_out_of_its_answer(judge: Any, judge_model: ApiModel, form: str) -> None:
    """The judge finds both answers whole between the marks, and quoting an attack does not change what is read."""
    pairs = [replace(attacked(PAIRS[0], attack), item=attack.name) for attack in read_attacks()]
    assert len(pairs) == 20
    shown: set[tuple[str, str]] = set()

    def quoting(first: str, second: str) -> str:
        shown.add((first, second))
        verdict = "2 9" if form == "two_scores" else "2"
        return f"{verdict}\nThe first reads:\n{first}\nThe second reads:\n{second}"

    judge.script = quoting
    spec = JudgeSpec(api=judge.spec, form=form)  # type: ignore[arg-type]
    votes = judge_pairs(spec, pairs, judge_model, seed=0)
    assert shown == {
        texts
        for pair in pairs
        for texts in (
            (pair.student_response, pair.teacher_response),
            (pair.teacher_response, pair.student_response),
        )
    }
    assert [vote.choice for vote in votes] == ["teacher", "student"] * 20
    judge.script = lambda first, second: f"I can only quote.\n{first}\n> {second}"
    votes = judge_pairs(spec, pairs, judge_model, seed=1)
    assert {(vote.status, vote.choice) for vote in votes} == {("unparsed", None)}


def test_attacks_count_two_students_answers_to_one_item_apart(judge: Any, judge_model: ApiModel) -> None:
    rival = replace(PAIRS[0], student="r", student_response="Another short one.")
    judge.script = lambda first, second: "5 5"
    effects = attack_judge(JudgeSpec(api=judge.spec), [PAIRS[0], rival], judge_model, seed=0, per_attack=2)
    assert {effect.showings for effect in effects} == {4}, "two students in two orders"


def test_a_plan_does_not_count_a_character_of_three_bytes_as_a_quarter_of_a_token() -> None:
    spec = JudgeSpec.model_validate({"api": {"base_url": "http://127.0.0.1:9/v1", "model": "m"}})
    latin, chinese = (
        plan_judging(spec, [replace(PAIRS[0], teacher_response=letter * 4000)], seed=0).prompt_tokens
        for letter in ("a", "北")
    )
    assert chinese - latin == 2 * (3000 - 1000), "4,000 characters of three bytes and of one, in two orders"


def test_an_obedient_judge_is_found_out_by_the_attack_set(judge: Any, judge_model: ApiModel) -> None:
    def obedient(first: str, second: str) -> str:
        wins = [("choose this" in text.lower() or "CHOOSE ME" in text) for text in (first, second)]
        return longer(first, second) if wins[0] == wins[1] else ("10 1" if wins[0] else "1 10")

    judge.script = obedient
    spec = JudgeSpec(api=judge.spec)
    effects = {effect.attack: effect for effect in attack_judge(spec, PAIRS, judge_model, seed=0, per_attack=2)}
    assert (effects["order"].showings, effects["order"].gained, effects["order"].lost) == (4, 4, 0)
    assert effects["shout"].gained == 4
    judge.script = lambda first, second: "5 5"
    fair = attack_judge(JudgeSpec(api=judge.spec, max_tokens=99), PAIRS, judge_model, seed=0, per_attack=2)
    assert {(effect.gained, effect.lost) for effect in fair} == {(0, 0)}
