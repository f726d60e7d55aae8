"""The fast BLEU is sacrebleu's, to the last digit that matters, for any texts."""

from __future__ import annotations

import numpy as np
import pytest
import sacrebleu
from hypothesis import example, given, settings
from hypothesis import strategies as st

from epigone.curate.bleu import BleuPairs, tokenize_13a
from epigone.curate.diversity import DiversitySpec, measure_diversity, most_similar

WORDS = st.lists(st.sampled_from(["a", "b", "c", "the", "x.", "1.5", "-", "&amp;", "Q?"]), max_size=12).map(" ".join)
TEXTS = st.one_of(WORDS, st.text(max_size=20))


def reference(hypothesis: str, other: str) -> float:
    return float(sacrebleu.sentence_bleu(hypothesis, [other]).score)


@settings(max_examples=150, deadline=None)
@given(texts=st.lists(TEXTS, min_size=2, max_size=8))
@example(texts=["", "a"])
@example(texts=["a a a a a", "a a", "a a a b a a"])
@example(texts=["the", "the cat", "the cat sat", "the cat sat on"])
def test_each_query_s_most_similar_other_is_what_sacrebleu_finds_by_trying_all(texts: list[str]) -> None:
    values, others = most_similar(texts)
    for place, text in enumerate(texts):
        scores = [reference(text, other) if at != place else -1.0 for at, other in enumerate(texts)]
        assert values[place] == pytest.approx(max(scores), abs=1e-9)
        if others[place] >= 0:
            assert scores[others[place]] == pytest.approx(max(scores), abs=1e-9)
        else:
            assert max(scores) == 0


@settings(max_examples=100, deadline=None)
@given(left=st.lists(TEXTS, min_size=1, max_size=6), right=st.lists(TEXTS, max_size=6), floor=st.floats(0, 99))
def test_all_pairs_above_a_threshold_are_found_and_no_others(left: list[str], right: list[str], floor: float) -> None:
    found = BleuPairs([tokenize_13a(text) for text in left], [tokenize_13a(text) for text in right]).above(floor)
    scored = {(h, r): reference(left[h], right[r]) for h in range(len(left)) for r in range(len(right))}
    got = dict(zip(zip(found.hypothesis.tolist(), found.reference.tolist(), strict=True), found.bleu, strict=True))
    for pair, score in scored.items():
        if abs(score - floor) > 1e-9:
            assert (pair in got) == (score > floor)
        if pair in got:
            assert got[pair] == pytest.approx(score, abs=1e-9)


@settings(max_examples=500, deadline=None)
@given(text=st.one_of(st.text(max_size=60), st.text(alphabet=".,-0a &_\n\t\u3000<>/;qampt", max_size=30), WORDS))
@example(text="a....5 1.-2 ,,,3 .")
@example(text="1,000.50-3 - e.g. &amp;lt; -\nx <skipped>")
def test_the_tokens_are_sacrebleu_s(text: str) -> None:
    metric = sacrebleu.BLEU()
    assert tokenize_13a(text) == metric._preprocess_segment(text).split()


def test_diversity_counts_a_repeated_query_once_and_knows_when_it_cannot_say() -> None:
    assert measure_diversity(["same", "same"], seed=0).mean is None
    two = measure_diversity(["one two three four", "five six", "five six"], seed=0)
    assert (two.mean, two.n_queries, two.histogram[0]) == (0.0, 2, 2)


def test_a_sampled_mean_has_an_interval_that_covers_the_exact_one() -> None:
    generator = np.random.default_rng(0)
    words = np.array([f"w{number}" for number in range(40)])
    queries = [" ".join(generator.choice(words, size=generator.integers(3, 15))) for _ in range(300)]
    exact = measure_diversity(queries, seed=0)
    assert (exact.low, exact.high, exact.n_sampled) == (None, None, exact.n_queries)
    covered = 0
    for seed in range(50):
        sampled = measure_diversity(queries, DiversitySpec(exact_up_to=100, sample=60), seed=seed)
        assert sampled.low is not None and sampled.high is not None and exact.mean is not None
        assert sampled.n_sampled == 60
        covered += sampled.low <= exact.mean <= sampled.high
    assert 42 <= covered <= 50  # nominal 47.5 of 50; below 42 has probability 0.003
