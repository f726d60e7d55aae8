"""Summaries in a style: two examples, one where two do not fit, and every passage accounted for."""

from __future__ import annotations

from pathlib import Path

import pytest

from epigone.collect import (
    PassageSummary,
    SummariesSpec,
    read_examples,
    read_passages,
    summary_requests,
    write_summaries,
)
from epigone.errors import DataError
from epigone.records import Reply, Request

EXAMPLES = [PassageSummary(f"passage number {i}", f"summary {i}") for i in range(6)]
LONG = "word " * 400


def summarize(request: Request, number: int) -> str:
    return f" summary of request {number} \n"


def test_two_random_examples_are_shown_then_the_new_passage(scripted) -> None:
    teacher = scripted(summarize)
    passages = [f"new passage {i}" for i in range(50)]
    result = write_summaries(SummariesSpec(), EXAMPLES, passages, teacher, seed=0, source="tldr")
    prompts = [request.messages[0].content for request in teacher.requests]
    assert {text.count("Summary: summary") for text in prompts} == {2}
    assert prompts[7].endswith("Document: new passage 7\nSummary:")
    assert len({text[: text.index("new passage")] for text in prompts}) > 15
    first = result.conversations[0]
    assert [message.content for message in first.messages] == ["new passage 0\n\nTL;DR:", "summary of request 0"]
    assert (first.id, first.requests, first.teacher) == ("tldr-000000", ("d1",), "scripted")


def test_examples_depend_on_seed_and_passage_alone() -> None:
    one = summary_requests(SummariesSpec(), EXAMPLES, ["b"], seed=5)
    two = summary_requests(SummariesSpec(), EXAMPLES, ["a", "b"], seed=5)
    assert one[0] == two[1]
    assert summary_requests(SummariesSpec(), EXAMPLES, ["b"], seed=6)[0] != one[0]


def test_one_example_where_two_do_not_fit_and_none_where_one_does_not(scripted) -> None:
    examples = [PassageSummary(LONG + str(i), "s") for i in range(2)]
    teacher = scripted(summarize)
    spec = SummariesSpec(context_tokens=900, max_tokens=100)  # an example has 403 words in the scripted count
    result = write_summaries(spec, examples, ["short", "word " * 300, "word " * 600], teacher, seed=0, source="tldr")
    shown = [request.messages[0].content.count("Summary: s") for request in teacher.requests]
    assert shown == [1, 1]
    assert [(drop.id, drop.reason) for drop in result.drops] == [("tldr-000002", "too_long")]
    assert result.stats["fewer_examples"] == 2
    roomy = SummariesSpec(context_tokens=1100, max_tokens=100)
    assert (
        summary_requests(roomy, examples, ["short"], seed=0, count_tokens=teacher.count_tokens)[0]
        .messages[0]
        .content.count("Summary: s")
        == 2
    )


def test_a_model_that_cannot_count_is_judged_by_characters() -> None:
    spec = SummariesSpec(context_tokens=400, max_tokens=100)
    assert summary_requests(spec, EXAMPLES, ["x" * 800], seed=0) == []
    assert len(summary_requests(spec, EXAMPLES, ["x" * 300], seed=0)) == 1


def test_every_passage_ends_as_a_conversation_or_a_named_drop(scripted) -> None:
    replies = {
        "cut": Reply(status="length", text="half", completion_tokens=256),
        "bad": Reply(status="content_filter", text=None, finish_reason="content_filter"),
    }

    def write(request: Request, number: int) -> Reply | str:
        passage = request.messages[0].content.rsplit("Document: ", 1)[1].removesuffix("\nSummary:")
        return replies.get(passage, "fine")

    passages = ["good", "cut", "bad", " ", "Good!"]
    spec = SummariesSpec()
    result = write_summaries(spec, EXAMPLES, passages, scripted(write), seed=0, source="t")
    assert [c.id for c in result.conversations] == ["t-000000"]
    assert sorted((drop.id, drop.reason) for drop in result.drops) == [
        ("t-000001", "length"),
        ("t-000002", "content_filter"),
        ("t-000003", "empty_passage"),
        ("t-000004", "duplicate"),
    ]
    kept = write_summaries(SummariesSpec(keep_cut=True), EXAMPLES, passages, scripted(write), seed=0, source="t")
    assert [c.id for c in kept.conversations] == ["t-000000", "t-000001"]


def test_examples_and_passages_are_read_and_empty_ones_refused(tmp_path: Path) -> None:
    path = tmp_path / "examples.jsonl"
    path.write_text('{"passage": "p", "summary": "s", "other": 1}\n')
    assert read_examples(path) == [PassageSummary("p", "s")]
    assert read_passages(path) == ["p"]
    path.write_text('{"passage": "p", "summary": ""}\n')
    with pytest.raises(DataError, match="record 1"):
        read_examples(path)
