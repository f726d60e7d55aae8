"""Answers to given prompts: dialogues continued turn by turn, samples, drops, and reading prompt files."""

from __future__ import annotations

from pathlib import Path

import pytest

from epigone.collect import AnswerSpec, answer, answer_requests, read_prompts
from epigone.errors import DataError, SpecError
from epigone.records import Conversation, Message, Reply, Request


def prompt(name: str, *turns: str, system: str | None = None) -> Conversation:
    head = [Message("system", system)] if system else []
    return Conversation(id=name, messages=(*head, *(Message("user", turn) for turn in turns)), source="file")


def echo(request: Request, number: int) -> str:
    return f"reply to: {request.messages[-1].content}"


def texts(conversation: Conversation) -> list[str]:
    return [f"{message.role}: {message.content}" for message in conversation.messages]


def test_a_dialogue_is_continued_turn_by_turn_with_the_teachers_own_answers(scripted) -> None:
    teacher = scripted(echo)
    result = answer(AnswerSpec(), [prompt("a", "one", "two"), prompt("b", "three")], teacher, seed=0, source="s")
    assert [texts(c) for c in result.conversations] == [
        ["user: one", "assistant: reply to: one", "user: two", "assistant: reply to: two"],
        ["user: three", "assistant: reply to: three"],
    ]
    assert teacher.calls == [2, 1]
    assert [message.content for message in teacher.requests[2].messages] == ["one", "reply to: one", "two"]
    assert result.conversations[0].requests == ("d1", "d3")
    assert result.stats["requests"] == 3


def test_samples_are_independent_requests_and_named_apart(scripted) -> None:
    teacher = scripted(lambda request, number: f"answer {request.sample}")
    result = answer(AnswerSpec(samples=2), [prompt("a", "one")], teacher, seed=0, source="s")
    assert [(c.id, c.messages[1].content) for c in result.conversations] == [("a#0", "answer 0"), ("a#1", "answer 1")]
    assert len({(request.sample, request.seed) for request in teacher.requests}) == 2


def test_a_request_does_not_depend_on_where_its_prompt_stands(scripted) -> None:
    few = answer_requests(AnswerSpec(), [prompt("x", "one")], seed=0)
    many = answer_requests(AnswerSpec(), [prompt("a", "zero"), prompt("b", "one")], seed=0)
    assert few[0] == many[1]
    teacher = scripted(echo)
    answer(AnswerSpec(), [prompt("x", "one")], teacher, seed=0, source="s")
    assert teacher.requests == few


def test_the_same_prompt_twice_is_asked_once(scripted) -> None:
    teacher = scripted(echo)
    result = answer(AnswerSpec(), [prompt("a", "one"), prompt("b", "one")], teacher, seed=0, source="s")
    assert len(teacher.requests) == 1
    assert [c.id for c in result.conversations] == ["a", "b"]
    assert result.stats["requests"] == 1


def test_a_turn_without_an_answer_ends_the_dialogue_with_a_reason(scripted) -> None:
    def write(request: Request, number: int) -> Reply | str:
        last = request.messages[-1].content
        if last == "cut":
            return Reply(status="length", text="half an ans", completion_tokens=7)
        return Reply(status="refused", text=None, error="policy") if last == "bad" else echo(request, number)

    prompts = [prompt("a", "one", "bad", "never"), prompt("b", "bad"), prompt("c", "cut")]
    result = answer(AnswerSpec(), prompts, scripted(write), seed=0, source="s")
    assert [texts(c) for c in result.conversations] == [["user: one", "assistant: reply to: one"]]
    assert [(drop.id, drop.reason, drop.detail) for drop in result.drops] == [
        ("b", "refused", "turn 1 of 1: policy"),
        ("c", "length", "turn 1 of 1: cut off after 7 tokens"),
        ("a/turn-2", "refused", "turn 2 of 3: policy"),
    ]
    whole = answer(AnswerSpec(keep_partial=False, keep_cut=True), prompts, scripted(write), seed=0, source="s")
    assert [c.id for c in whole.conversations] == ["c"]
    assert [drop.id for drop in whole.drops] == ["b", "a"]


def test_system_messages_and_turn_limits(scripted) -> None:
    teacher = scripted(echo)
    spec = AnswerSpec(system="be brief", max_turns=1)
    result = answer(spec, [prompt("a", "one", "two"), prompt("b", "one", system="own")], teacher, seed=0, source="s")
    assert [texts(c)[0] for c in result.conversations] == ["system: be brief", "system: own"]
    assert [len(c.messages) for c in result.conversations] == [3, 3]


def test_progress_counts_user_turns(scripted) -> None:
    seen: list[tuple[int, int | None]] = []
    prompts = [prompt("a", "one", "two"), prompt("b", "three")]
    answer(AnswerSpec(), prompts, scripted(echo), seed=0, source="s", progress=lambda *step: seen.append(step))
    assert seen[-1] == (3, 3)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


def test_plain_form_sends_the_text_itself_and_refuses_dialogues(scripted) -> None:
    teacher = scripted(lambda request, number: " there")
    result = answer(AnswerSpec(form="plain"), [prompt("a", "hello")], teacher, seed=0, source="s")
    assert (teacher.requests[0].prompt, teacher.requests[0].messages) == ("hello", None)
    assert texts(result.conversations[0]) == ["user: hello", "assistant: there"]
    with pytest.raises(SpecError, match="several messages"):
        answer(AnswerSpec(form="plain"), [prompt("a", "one", "two")], scripted(lambda *_: "x"), seed=0, source="s")


def test_a_prompt_without_user_turn_is_dropped(scripted) -> None:
    result = answer(AnswerSpec(), [prompt("a")], scripted(echo), seed=0, source="s")
    assert [(drop.id, drop.reason) for drop in result.drops] == [("a", "no_user_turn")]


def test_prompt_files_of_the_usual_shapes(tmp_path: Path) -> None:
    path = tmp_path / "prompts.jsonl"
    path.write_text(
        '{"id": "k1", "prompt": "p"}\n'
        '{"question_id": 81, "category": "writing", "turns": ["one", "two"]}\n'
        '{"instruction": "do", "input": "this"}\n'
        '{"instruction": "do", "input": ""}\n'
        '{"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "u"},'
        ' {"role": "assistant", "content": "gone"}, {"role": "user", "content": "v"}]}\n'
    )
    prompts = read_prompts(path)
    assert [(p.id, [m.content for m in p.messages]) for p in prompts] == [
        ("k1", ["p"]),
        ("81", ["one", "two"]),
        ("prompts-000003", ["do\n\nthis"]),
        ("prompts-000004", ["do"]),
        ("prompts-000005", ["s", "u", "v"]),
    ]
    plain = tmp_path / "plain.txt"
    plain.write_text("first\n\nsecond\n")
    assert [p.messages[0].content for p in read_prompts(plain)] == ["first", "second"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"id": 1, "prompt": "a"}\n{"id": 1, "prompt": "b"}', "given twice"),
        ('{"id": 1}', "no user turn"),
        ("", "no prompt"),
        ("[1, 2]", "not a valid record"),
    ],
)
def test_wrong_prompt_files_are_refused_with_file_and_record(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "prompts.jsonl"
    path.write_text(text)
    with pytest.raises(DataError, match=message) as caught:
        read_prompts(path)
    assert "prompts.jsonl" in str(caught.value)


def test_the_papers_prompts_and_mt_bench_are_read(shared_data: Path) -> None:
    assert len(read_prompts(shared_data / "koala" / "koala_test_set.jsonl")) == 180
    mt_bench = read_prompts(shared_data / "mt_bench" / "mt_bench_question.jsonl")
    assert {len(p.messages) for p in mt_bench} == {2}
    assert len(read_prompts(shared_data / "seed_tasks" / "self_instruct_seed_tasks.jsonl")) == 175
