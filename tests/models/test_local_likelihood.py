"""Log-likelihoods with shared beginnings read once are those of plain forward passes, token for token."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from epigone.models import LocalSpec
from epigone.models.local import LocalModel, load_local
from epigone.models.local.batches import Limits, cut_into_batches, fill_batches
from epigone.models.local.prefixes import group_by_prefix
from epigone.records import Message, ScoreRequest

FAMILIES = ("llama", "llama_gqa", "gpt2", "gpt_neox", "qwen2_sliding", "gemma2", "gemma3")
SHOTS = "".join(f"Question: Where is boat {number}?\nAnswer: Kiel\n\n" for number in range(4))


def few_shot_requests(count: int) -> list[ScoreRequest]:
    """Questions of several lengths after the same examples, four answers each; every fifth without examples."""
    draw = random.Random(0)
    requests = []
    for number in range(count):
        question = " ".join(draw.choices(["where", "fox", "of", "born", "Lisbon", "names"], k=draw.randint(1, 12)))
        shots = "" if number % 5 == 0 else SHOTS
        prompt = f"{shots}Question: {question}?\nAnswer:"
        requests += [ScoreRequest(prompt=prompt, continuation=word) for word in (" A", " Kiel", " in Lisbon", "\n")]
    return requests


def plain_logprob(model: LocalModel, ids: list[int], begin: int) -> tuple[float, bool]:
    import torch

    engine: Any = model._forward.model
    logprobs = torch.log_softmax(engine(torch.tensor([ids])).logits[0].double(), -1)
    own = [logprobs[at - 1, ids[at]].item() for at in range(begin, len(ids))]
    greedy = all(logprobs[at - 1].argmax().item() == ids[at] for at in range(begin, len(ids)))
    return sum(own), greedy


@pytest.mark.parametrize("family", FAMILIES)
def test_scores_are_those_of_plain_forward_passes_in_every_family(make_model: Callable[..., Path], family: str) -> None:
    model = load_local(LocalSpec(hf=str(make_model(family)), dtype="float32", batch_rows=6))
    requests = few_shot_requests(10)
    for request, reply in zip(requests, model.score(requests), strict=True):
        ids, begin = model._split(request)
        logprob, greedy = plain_logprob(model, ids, begin)
        assert reply.status == "ok"
        assert reply.logprob == pytest.approx(logprob, abs=1e-4)
        assert (reply.greedy, reply.tokens) == (greedy, len(ids) - begin)


def test_scores_do_not_depend_on_batch_or_order(make_model: Callable[..., Path]) -> None:
    model = load_local(LocalSpec(hf=str(make_model("llama")), dtype="float64"))
    requests = few_shot_requests(12)
    together = model.score(requests)
    assert [model.score([request])[0] for request in requests] == together
    assert model.score(requests[::-1])[::-1] == together


def test_a_greedy_continuation_is_called_greedy(make_model: Callable[..., Path]) -> None:
    from epigone.records import Request

    model = load_local(LocalSpec(hf=str(make_model("llama")), dtype="float64"))
    asked = [(Message(role="user", content=f"Where is {number}?"),) for number in range(40)]
    replies = model.generate([Request(messages=messages, max_tokens=2) for messages in asked])
    # Random weights write broken characters; only a text that gives its own tokens back can be scored as text.
    messages, written = next(
        (messages, reply.text)
        for messages, reply in zip(asked, replies, strict=True)
        if reply.text and reply.status == "length" and len(model.text.encode_bare(reply.text)) == 2
        and "\ufffd" not in reply.text
    )  # fmt: skip
    greedy, other = model.score(
        [ScoreRequest(messages=messages, continuation=written), ScoreRequest(messages=messages, continuation="Zebra")]
    )
    assert (greedy.greedy, other.greedy) == (True, False)
    assert (greedy.logprob or 0) > (other.logprob or 0)


def test_spaces_at_the_prompts_end_belong_to_the_continuation(make_model: Callable[..., Path]) -> None:
    model = load_local(LocalSpec(hf=str(make_model("llama")), dtype="float64"))
    one, other = model.score(
        [ScoreRequest(prompt="Answer: ", continuation="Kiel"), ScoreRequest(prompt="Answer:", continuation=" Kiel")]
    )
    assert one == other


def test_what_does_not_fit_or_is_empty_is_failed(make_model: Callable[..., Path]) -> None:
    model = load_local(LocalSpec(hf=str(make_model("llama")), dtype="float64"))
    long, empty, fine = model.score(
        [
            ScoreRequest(prompt="Boat " * 300, continuation=" Kiel"),
            ScoreRequest(prompt="Boat", continuation=""),
            ScoreRequest(prompt="", continuation="Boat"),
        ]
    )
    assert (long.status, long.logprob) == ("failed", None)
    assert "the context 256" in (long.error or "")
    assert (empty.status, empty.logprob) == ("failed", None)
    assert fine.status == "ok"


def test_sequences_with_long_shared_beginnings_are_grouped() -> None:
    first, second = list(range(100)), list(range(500, 560))
    sequences = (
        [[*first, 1, number] for number in range(5)] + [[*second, number] for number in range(4)] + [[7], [7, 8]]
    )
    groups = group_by_prefix(sequences, [len(sequence) - 1 for sequence in sequences])
    found = {frozenset(group.members): group.length for group in groups}
    assert found == {frozenset(range(5)): 101, frozenset(range(5, 9)): 60, frozenset({9, 10}): 1} or found == {
        frozenset(range(5)): 101,
        frozenset(range(5, 9)): 60,
        frozenset({9, 10}): 0,
    }


def test_groups_that_share_a_few_tokens_among_each_other_are_still_told_apart() -> None:
    """MMLU's subjects: "… about high school biology" and "… about high school physics" begin alike, and differ soon."""
    common, school = list(range(7)), [70, 71]
    subjects = [[*common, *begin, *range(at, at + 400)] for begin, at in ((school, 100), (school, 600), ([], 1100))]
    sequences = [[*subject, number] for subject in subjects for number in range(3)]
    groups = group_by_prefix(sequences, [len(sequence) - 1 for sequence in sequences])
    assert {group.members: group.length for group in groups} == {(0, 1, 2): 409, (3, 4, 5): 409, (6, 7, 8): 407}


def test_a_passage_that_two_questions_share_is_not_worth_reading_all_the_examples_again() -> None:
    examples, passage = list(range(2000)), list(range(3000, 3300))
    sequences = [[*examples, *passage, 1], [*examples, *passage, 2], [*examples, 3], [*examples, 4]]
    (group,) = group_by_prefix(sequences, [len(sequence) - 1 for sequence in sequences])
    assert group.length == 2000
    short = [sequence[1900:] for sequence in sequences]  # after examples of 100 tokens it is
    assert sorted(group.length for group in group_by_prefix(short, [len(one) - 1 for one in short])) == [100, 400]


def test_every_group_shares_what_it_says_and_every_sequence_is_in_one() -> None:
    draw = random.Random(3)
    stems = [[draw.randrange(9) for _ in range(draw.randint(0, 80))] for _ in range(8)]
    sequences = [draw.choice(stems) + [draw.randrange(9) for _ in range(draw.randint(1, 40))] for _ in range(200)]
    groups = group_by_prefix(sequences, [len(sequence) - 1 for sequence in sequences])
    assert sorted(member for group in groups for member in group.members) == list(range(200))
    for group in groups:
        assert len({tuple(sequences[member][: group.length]) for member in group.members}) == 1
        assert all(len(sequences[member]) > group.length for member in group.members)
        assert [len(sequences[m]) for m in group.members] == sorted(len(sequences[m]) for m in group.members)


def test_packed_passes_hold_every_text_once_and_stay_short() -> None:
    lengths, wanted = [3, 30, 40, 200, 300, 700], [1, 60, 50, 1, 1, 1]
    limits = Limits(rows=2, tokens=10_000, kept=100).with_tokens(512)
    # 3 + 30 tokens; 40 would fit, but not the 111 logits kept; 40 + 200 and then 300 pass 512 together; 700 goes alone.
    assert fill_batches(lengths, wanted, limits) == [range(2), range(2, 4), range(4, 5), range(5, 6)]
    assert fill_batches([], [], limits) == []


def test_batches_cost_least_of_all_possible_cuts() -> None:
    lengths = [3, 4, 90, 95, 400, 410, 900]
    limits = Limits(rows=3, tokens=10_000, kept=100)

    def cost(batches: list[range]) -> int:
        return sum(len(batch) * lengths[batch[-1]] + 128 for batch in batches)

    best = min(
        cost([range(a, b) for a, b in itertools.pairwise([0, *cuts, len(lengths)])])
        for size in range(len(lengths))
        for cuts in itertools.combinations(range(1, len(lengths)), size)
        if all(b - a <= 3 for a, b in itertools.pairwise([0, *cuts, len(lengths)]))
    )
    assert cost(cut_into_batches(lengths, [1] * 7, limits)) == best
    assert all(len(batch) * lengths[batch[-1]] <= 500 or len(batch) == 1
               for batch in cut_into_batches(lengths, [1] * 7, Limits(rows=3, tokens=500, kept=100)))  # fmt: skip
