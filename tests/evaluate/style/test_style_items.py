"""Style rows: hand-worked scores, statuses for what is missing, ceilings from further samples."""

from __future__ import annotations

import math

import numpy as np
import pytest
from rouge_score.rouge_scorer import RougeScorer
from scipy.stats import spearmanr

from epigone.evaluate.style import shuffled_teacher, style_items, unigram_jaccard, unigram_overlap
from epigone.records import Output, ReplyStatus

LIST = "Two things:\n1. red\n2. green\n\nIn summary, red and green."


def output(identity: str, response: str | None, *, sample: int = 0, status: ReplyStatus = "ok") -> Output:
    return Output(id=identity, prompt=f"prompt {identity}", response=response, sample=sample, status=status)


def test_unigram_overlap_is_the_dice_coefficient_of_word_multisets() -> None:
    # {the:2, cat:1} and {the:1, dog:1, cat:1}: the once, cat once in common -> 2·2/(3+3)
    assert unigram_overlap("the cat the", "The dog, cat!") == pytest.approx(2 / 3)
    assert unigram_jaccard("the cat the", "The dog, cat!") == pytest.approx(2 / 3)
    assert unigram_overlap("", "") == 1.0
    assert unigram_overlap("a", "") == 0.0


def test_unigram_overlap_equals_rouge_1_without_stemming() -> None:
    first = "There are many famous actors who started on Broadway, and here are a few of the many."
    second = "Many famous actors started their careers on Broadway. Here is a list of a few."
    expected = RougeScorer(["rouge1"], use_stemmer=False).score(first, second)["rouge1"].fmeasure
    assert unigram_overlap(first, second) == pytest.approx(expected)


def test_agreement_is_scored_only_where_the_teacher_does_it() -> None:
    teacher = [output("a", LIST), output("b", "Plain prose.")]
    student = [output("a", "No list here."), output("b", LIST)]
    listed, plain = style_items(teacher, student, model="s")
    assert listed.scores["list_agreement"] == 0.0
    assert listed.scores["summary_agreement"] == 0.0
    assert "list_agreement" not in plain.scores
    assert "summary_agreement" not in plain.scores
    assert (plain.model, plain.task, plain.item, plain.status) == ("s", "style", "b", "ok")


def test_lengths_differences_and_agreements_by_hand() -> None:
    teacher = [output("a", "# Title\n\nI say two words. Sure?")]
    student = [output("a", "Two **bold** words.")]
    (row,) = style_items(teacher, student, model="s")
    scores = row.scores
    assert (scores["teacher_length_tokens"], scores["length_tokens"]) == (9.0, 8.0)  # words and single marks
    assert scores["length_difference"] == pytest.approx(math.log(10 / 9))
    assert (scores["headers_agreement"], scores["bold_agreement"], scores["code_agreement"]) == (0.0, 0.0, 1.0)
    assert (scores["first_person_agreement"], scores["opening_agreement"]) == (0.0, 1.0)
    assert (scores["bold"], scores["teacher_bold"], scores["teacher_headers"]) == (1.0, 0.0, 1.0)
    assert (scores["characters"], scores["teacher_characters"]) == (19.0, 31.0)


def test_the_teacher_against_itself_is_alike_in_everything() -> None:
    (row,) = style_items([output("a", LIST)], [output("a", LIST)], model="t")
    for key, value in row.scores.items():
        if key.endswith("_agreement") or key in ("unigram_overlap", "unigram_jaccard"):
            assert value == 1.0, key
        if key.endswith("_difference"):
            assert value == 0.0, key


def test_a_given_tokenizer_counts_the_lengths() -> None:
    (row,) = style_items([output("a", "abc")], [output("a", "abcdef")], model="s", count_tokens=len)
    assert (row.scores["teacher_length_tokens"], row.scores["length_tokens"]) == (3.0, 6.0)


def test_what_is_missing_is_a_status_and_never_a_number() -> None:
    teacher = [output("a", "x"), output("b", "x"), output("c", "x"), output("d", None, status="failed")]
    student = [output("a", None, status="failed"), output("b", None, status="refused"), output("d", "x")]
    rows = style_items(teacher, student, model="s")
    assert [(row.item, row.status, row.scores) for row in rows] == [
        ("a", "failed", {}),
        ("b", "refused", {}),
        ("c", "failed", {}),
        ("d", "not_applicable", {}),
    ]


def test_each_sample_is_a_row_of_its_own_in_one_cluster_against_the_teachers_first() -> None:
    teacher = [output("a", "the second", sample=1), output("a", "the first", sample=0)]
    student = [output("a", "the first"), output("a", "other words", sample=1)]
    rows = style_items(teacher, student, model="s")
    assert [(row.sample, row.cluster, row.scores["unigram_overlap"]) for row in rows] == [(0, "a", 1.0), (1, "a", 0.0)]


def test_the_shuffled_teacher_gives_every_prompt_another_prompts_answer() -> None:
    teacher = [output(str(k), f"answer {k}") for k in range(50)]
    dealt = shuffled_teacher(teacher, seed=3)
    assert sorted(o.response or "" for o in dealt) == sorted(o.response or "" for o in teacher)
    assert all(before.response != after.response for before, after in zip(teacher, dealt, strict=True))
    assert dealt == shuffled_teacher(teacher, seed=3)
    assert dealt != shuffled_teacher(teacher, seed=4)


def test_a_single_answer_cannot_be_shuffled() -> None:
    unanswered = Output(id="b", prompt="?", response=None, status="failed")
    assert shuffled_teacher([output("a", "answer"), unanswered], seed=0) == []


def test_of_several_samples_the_first_answered_one_gives_the_length() -> None:
    """Averaged, five samples' lengths would go with the teacher's more closely than any one sample's."""
    teacher = [output("a", "x x"), output("b", "x x x x")]
    texts = {"a": [None, "x", "x x x"], "b": ["x x", "x x x x x x"]}
    student = [
        Output(id=k, prompt="", response=text, sample=n, status="ok" if text else "failed")
        for k in texts
        for n, text in enumerate(texts[k])
    ]
    rows = style_items(teacher, student[::-1], model="s")
    found = {(row.item, row.sample): row.scores["length_tokens"] for row in rows if "length_tokens" in row.scores}
    assert found == {("a", 1): 1.0, ("b", 0): 2.0}
    ranks = {row.item: row.scores["length_rank"] for row in rows if "length_rank" in row.scores}
    assert ranks == {"a": 1.0, "b": 2.0}
    assert sum("length_difference" in row.scores for row in rows) == 4, "what is averaged stays in every row"


def test_length_ranks_make_spearmans_r() -> None:
    rng = np.random.default_rng(5)
    teacher = [output(str(k), "x " * int(rng.integers(1, 12))) for k in range(40)]
    student = [output(str(k), "x " * int(rng.integers(1, 12))) for k in range(39)]
    rows = [row.scores for row in style_items(teacher, student, model="s") if row.scores]
    ours = [row["length_tokens"] for row in rows]
    theirs = [row["teacher_length_tokens"] for row in rows]
    ranks = np.corrcoef([row["length_rank"] for row in rows], [row["teacher_length_rank"] for row in rows])[0, 1]
    assert ranks == pytest.approx(spearmanr(ours, theirs).statistic)
    assert len(rows) == 39
