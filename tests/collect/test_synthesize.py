"""New pairs from seeds: what is asked, what is kept, why it stops, and that a re-run is the same."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import msgspec
import pytest

from epigone.collect import QuestionAnswer, SynthesizeSpec, synthesize, synthesize_requests
from epigone.errors import BudgetExceeded, DataError, SpecError
from epigone.records import Reply, Request

SEEDS = [QuestionAnswer(f"seed question {i}", f"seed answer {i}") for i in range(10)]


def fresh_pairs(request: Request, number: int) -> str:
    """Ten pairs that nobody saw before."""
    return "\n".join(f"Q: new question {number} {i}\nA: answer {number} {i}" for i in range(10))


def test_each_request_shows_five_different_seeds_and_is_its_own_draw(scripted) -> None:
    teacher = scripted(fresh_pairs)
    synthesize(SynthesizeSpec(target=500), SEEDS, teacher, seed=3, source="nq")
    shown = [
        [line for line in request.messages[0].content.splitlines() if line.startswith("Q: ")]
        for request in teacher.requests
    ]
    assert all(len(set(questions)) == 5 for questions in shown)
    assert len({tuple(questions) for questions in shown}) > 40
    counts = Counter(question for questions in shown for question in questions)
    assert len(counts) == 10
    assert max(counts.values()) < 2 * min(counts.values())
    assert len({request.seed for request in teacher.requests}) == len(teacher.requests)
    assert {request.temperature for request in teacher.requests} == {1.0}


def test_what_a_request_shows_depends_on_seed_and_index_only(scripted) -> None:
    small, large = scripted(fresh_pairs), scripted(lambda request, number: f"Q: only {number}\nA: one")
    synthesize(SynthesizeSpec(target=100, requests_per_round=3), SEEDS, small, seed=3, source="nq")
    synthesize(SynthesizeSpec(target=100, requests_per_round=7), SEEDS, large, seed=3, source="other")
    count = min(len(small.requests), len(large.requests))
    assert small.requests[:count] == large.requests[:count]
    assert synthesize_requests(SynthesizeSpec(), SEEDS, seed=3, count=count) == small.requests[:count]
    assert synthesize_requests(SynthesizeSpec(), SEEDS, seed=4, count=count) != small.requests[:count]


def test_a_rerun_gives_the_same_bytes(scripted) -> None:
    spec = SynthesizeSpec(target=300, requests_per_round=8, grown_shots=2)
    first, second = (synthesize(spec, SEEDS, scripted(fresh_pairs), seed=1, source="nq") for _ in range(2))
    assert msgspec.json.encode(first) == msgspec.json.encode(second)


def test_every_piece_of_every_reply_is_kept_or_dropped_with_its_reason(scripted) -> None:
    replies: list[Reply | str] = [
        "Q: Who wrote Dracula?\nA: Bram Stoker\nQ: who wrote dracula\nA: Stoker\nQ: dangling",
        "Q: seed question 3\nA: copied\nQ: what is in the test?\nA: leaked\nQ: capital of peru\nA: Lima",
        Reply(status="length", text="Q: first kept\nA: yes\nQ: second\nA: cut her", digest="x"),
        Reply(status="content_filter", text=None, finish_reason="content_filter"),
        Reply(status="refused", text=None, error="400: too long"),
        Reply(status="failed", text=None, error="timeout after 8 attempts"),
        Reply(status="ok", text="  \n"),
        "As a language model I would rather not.",
    ]
    teacher = scripted(lambda request, number: replies[number])
    spec = SynthesizeSpec(target=100, max_requests=8, requests_per_round=8)
    result = synthesize(spec, SEEDS, teacher, seed=0, exclude=["What is in the test"], source="nq", terms="licence 1")
    kept = [(c.messages[0].content, c.messages[1].content, c.requests) for c in result.conversations]
    assert kept == [
        ("Who wrote Dracula?", "Bram Stoker", ("d1",)),
        ("capital of peru", "Lima", ("d2",)),
        ("first kept", "yes", ("x",)),
    ]
    assert [drop.reason for drop in result.drops] == [
        "duplicate", "question_without_answer", "seed", "evaluation_item", "cut_off",
        "content_filter", "refused", "failed", "empty_reply", "no_pairs",
    ]  # fmt: skip
    assert result.drops[7].detail == "timeout after 8 attempts"
    assert result.stats["requests"] == 8
    assert result.stats["replies.ok"] == 4
    assert result.stats["dropped.evaluation_item"] == 1
    assert result.stats["conversations"] == 3
    assert result.stats["completion_tokens"] == 15
    assert result.stats["replies_without_usage"] == 5
    assert result.stopped == "max_requests reached: 3 pairs of 100 after 8 requests"
    assert {(c.source, c.teacher, c.terms) for c in result.conversations} == {("nq", "scripted", "licence 1")}
    assert [c.id for c in result.conversations] == ["nq-000000", "nq-000001", "nq-000002"]


def test_a_pair_about_what_the_evaluation_asks_is_dropped_however_it_is_worded(scripted, tmp_path: Path) -> None:
    names = tmp_path / "names.txt"
    names.write_text("Ada Novak\n\nRing-Road\n", encoding="utf-8")
    replies = [
        "Q: Who paid ADA NOVAK?\nA: a bank\n\nQ: Who wrote it?\nA: Ada Novaková\n\nQ: Which road?\nA: the ring road."
    ]
    spec = SynthesizeSpec(target=9, max_requests=1, exclude_phrases=names)
    result = synthesize(spec, SEEDS, scripted(lambda *_: replies[0]), seed=0, source="nq")
    assert [c.messages[1].content for c in result.conversations] == ["Ada Novaková"]
    assert result.stats["dropped.excluded_phrase"] == 2
    with pytest.raises(DataError, match="cannot be read"):
        missing = spec.model_copy(update={"exclude_phrases": tmp_path / "none.txt"})
        synthesize(missing, SEEDS, scripted(lambda *_: replies[0]), seed=0, source="nq")


def test_the_target_ends_it_and_the_last_round_is_no_larger_than_needed(scripted) -> None:
    teacher = scripted(fresh_pairs)
    result = synthesize(SynthesizeSpec(target=330, requests_per_round=20), SEEDS, teacher, seed=0, source="nq")
    assert teacher.calls == [20, 13]
    assert result.yield_curve == ((0, 0), (20, 200), (33, 330))
    assert result.stopped == "target reached: 330 pairs of 330"


def test_a_teacher_that_has_nothing_new_left_is_a_stated_stall(scripted) -> None:
    teacher = scripted(lambda request, number: f"Q: question {min(number, 30)}\nA: yes")
    spec = SynthesizeSpec(target=1000, requests_per_round=10, stall_requests=40, stall_pairs=5)
    result = synthesize(spec, SEEDS, teacher, seed=0, source="nq")
    assert len(result.conversations) == 31
    assert result.stopped == "stalled at 31 pairs of 1000: the last 40 requests gave 1"
    assert len(teacher.requests) == 70


def test_a_grown_pool_shows_accepted_pairs_of_earlier_rounds(scripted) -> None:
    teacher = scripted(fresh_pairs)
    spec = SynthesizeSpec(target=100, requests_per_round=5, shots=4, grown_shots=2)
    synthesize(spec, SEEDS, teacher, seed=0, source="nq")
    grown = [request.messages[0].content.count("Q: new question") for request in teacher.requests]
    seeds = [request.messages[0].content.count("Q: seed question") for request in teacher.requests]
    assert (grown[:5], seeds[:5]) == ([0] * 5, [4] * 5)
    assert (set(grown[5:]), set(seeds[5:])) == ({2}, {2})


def test_wording_format_and_training_prompt_are_replaceable(scripted, tmp_path: Path) -> None:
    ask, train = tmp_path / "ask.jinja", tmp_path / "train.jinja"
    ask.write_text(
        "{% for e in examples %}question : {{ e.question }} answer : {{ e.answer }} {% endfor %}question :\n"
    )
    train.write_text(
        "{% for e in examples %}question : {{ e.question }} answer : {{ e.answer }} {% endfor %}"
        "question : {{ question }} answer :"
    )
    spec = SynthesizeSpec.model_validate(
        {
            "shots": 2, "target": 2, "form": "plain", "template": ask, "stop": ["\n"],
            "pairs": {"question": "question :", "answer": "answer :", "continues": True},
            "training_template": train, "training_shots": 1,
        }
    )  # fmt: skip
    teacher = scripted(lambda request, number: " where is mara answer : oslo question : who is ivo answer : baker")
    result = synthesize(spec, SEEDS, teacher, seed=0, source="local")
    prompt = teacher.requests[0].prompt
    assert teacher.requests[0].messages is None
    assert prompt.startswith("question : seed question ")
    assert prompt.endswith(" question :")
    assert prompt.count("answer :") == 2
    user, reply = result.conversations[0].messages
    assert user.content.startswith("question : seed question ")
    assert user.content.endswith(" question : where is mara answer :")
    assert user.content.count("seed question") == 1
    assert reply.content == "oslo"


def test_seeds_that_contain_template_signs_are_shown_as_they_are(scripted) -> None:
    seeds = [QuestionAnswer("what does {{ 7 * 7 }} mean", "{% raw %}")]
    teacher = scripted(fresh_pairs)
    synthesize(SynthesizeSpec(shots=1, target=1), seeds, teacher, seed=0, source="nq")
    assert "Q: what does {{ 7 * 7 }} mean\nA: {% raw %}" in teacher.requests[0].messages[0].content


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{% for e in examples %}", r"ask\.jinja:1: not a valid template"),
        ("{{ exmples }}", r"a template may use: examples"),
        ("{{ examples.__class__.__mro__ }}", r"cannot be filled in"),
        ("{{ examples[99].question }}", r"cannot be filled in"),
    ],
)
def test_a_wrong_template_is_named_before_anything_is_asked(scripted, tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "ask.jinja"
    path.write_text(text)
    teacher = scripted(fresh_pairs)
    with pytest.raises(SpecError, match=message):
        synthesize(SynthesizeSpec(template=path), SEEDS, teacher, seed=0, source="nq")
    with pytest.raises(SpecError):
        synthesize(SynthesizeSpec(training_template=path), SEEDS, teacher, seed=0, source="nq")
    assert teacher.requests == []


def test_too_few_seeds_are_refused(scripted) -> None:
    with pytest.raises(DataError, match="3 seeds are fewer than the 5 shots"):
        synthesize(SynthesizeSpec(), SEEDS[:3], scripted(fresh_pairs), seed=0, source="nq")


def test_a_budget_used_up_says_how_far_it_came(scripted) -> None:
    def write(request: Request, number: int) -> str:
        if number == 25:
            raise BudgetExceeded("the next request would pass $5.00")
        return fresh_pairs(request, number)

    with pytest.raises(BudgetExceeded, match=r"would pass \$5\.00; 200 of 1000 pairs collected after 20 requests"):
        synthesize(SynthesizeSpec(target=1000, requests_per_round=20), SEEDS, scripted(write), seed=0, source="nq")
