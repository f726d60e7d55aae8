"""compare() on a study whose truth is known."""

from __future__ import annotations

import random
from types import ModuleType

import msgspec
import pytest

from epigone.compare import CompareSpec, Measurements, compare
from epigone.errors import DataError
from epigone.records import Estimate, ItemScore, ModelInfo, Results


def covers(estimate: Estimate, truth: float) -> bool:
    assert estimate.low is not None and estimate.high is not None
    return estimate.low <= truth <= estimate.high


def test_the_headline_finds_the_planted_style_and_capability(results: Results) -> None:
    assert results.headline_models == ("l/broad-640k", "m/broad-640k", "s/broad-640k")
    assert covers(results.headline["style_closed"], 0.95)
    assert covers(results.headline["capability_closed"], 0.0)
    gap = results.headline["style_minus_capability"]
    assert gap.value == pytest.approx(
        results.headline["style_closed"].value - results.headline["capability_closed"].value, abs=1e-9
    )
    assert gap.low is not None and gap.low > 0.5


def test_the_planted_findings_are_found(results: Results) -> None:
    verdicts = {finding.key: finding.verdict for finding in results.findings}
    assert list(verdicts) == [
        "preference_saturates",
        "broad_leaves_capability_flat",
        "local_raises_its_task",
        "base_beats_data",
        "style_approaches_ceiling",
        "safety_is_inherited",
    ]
    for key in ("local_raises_its_task", "base_beats_data", "style_approaches_ceiling", "safety_is_inherited"):
        assert verdicts[key] == "supported"
    assert "not_supported" not in verdicts.values()


def test_seeds_are_pooled_beside_the_single_models(results: Results, planted: ModuleType) -> None:
    pooled = {model.name: model for model in results.models if model.pooled}
    assert pooled["l/broad-640k"].pooled == ("l/broad-640k/s0", "l/broad-640k/s1", "l/broad-640k/s2")
    assert len(pooled) == 15
    values = [results.estimates[f"l/broad-640k/s{seed}"]["qa.exact_match"].value for seed in planted.SEEDS]
    assert results.estimates["l/broad-640k"]["qa.exact_match"].value == pytest.approx(sum(values) / 3)
    assert "sd between 3 seeds" in results.estimates["l/broad-640k"]["qa.exact_match"].method


def test_row_order_is_of_no_consequence(planted: ModuleType) -> None:
    measured = planted.measurements(items=60, prompts=30, only="m")
    shuffled_items, shuffled_votes = list(measured.items), list(measured.votes)
    random.Random(3).shuffle(shuffled_items)
    random.Random(4).shuffle(shuffled_votes)
    other = msgspec.structs.replace(measured, items=tuple(shuffled_items), votes=tuple(shuffled_votes))
    spec = CompareSpec(resamples=200)
    encode = msgspec.json.Encoder(order="deterministic").encode
    assert encode(compare(measured, spec, seed=5)) == encode(compare(other, spec, seed=5))


def test_more_models_change_nothing_for_the_others(planted: ModuleType) -> None:
    whole = planted.measurements(items=60, prompts=30, only="l")
    kept = tuple(model for model in whole.models if not model.name.startswith("l/qa"))
    part = msgspec.structs.replace(
        whole,
        models=kept,
        items=tuple(row for row in whole.items if not row.model.startswith("l/qa")),
        votes=tuple(vote for vote in whole.votes if not vote.student.startswith("l/qa")),
    )
    spec = CompareSpec(resamples=200)
    assert compare(whole, spec, seed=1).headline == compare(part, spec, seed=1).headline


def score(model: str, item: str, value: float, **more: object) -> ItemScore:
    return ItemScore(model=model, task="qa", item=item, scores={"exact_match": value}, **more)  # type: ignore[arg-type]


def small(planted: ModuleType, rows: list[ItemScore]) -> Measurements:
    trio = (
        ModelInfo(name="t", role="teacher"),
        ModelInfo(name="b", role="base"),
        ModelInfo(name="s", role="student", base="b", data_kind="broad"),
    )
    return Measurements(study="small", models=trio, axes=planted.CAPABILITY[:1], items=tuple(rows))


def test_a_missing_score_is_missing_and_counted(planted: ModuleType) -> None:
    rows = [score(model, f"i{i}", float(i % 2)) for model in "tbs" for i in range(10)]
    rows += [ItemScore(model="s", task="qa", item=f"j{i}", scores={}, status="failed") for i in range(5)]
    estimate = compare(small(planted, rows), seed=0).estimates["s"]["qa.exact_match"]
    assert (estimate.value, estimate.n_scored, estimate.n_total) == (0.5, 10, 15)


def test_no_ratio_where_teacher_and_base_are_not_apart(planted: ModuleType) -> None:
    rows = [score(model, f"i{i}", float((i + (model == "t")) % 2)) for model in "tbs" for i in range(50)]
    found = compare(small(planted, rows), seed=0)
    gap = found.gap_closed["s"]["qa.exact_match"]
    assert gap.value is None and gap.low is None
    assert "may be 0" in gap.method
    assert found.headline["capability_closed"].value is None


def test_an_interval_of_a_share_stays_between_0_and_1(planted: ModuleType) -> None:
    """Two items at 0.1 and 0.9: the t interval of their mean would be −4.6 to 5.6."""
    rows = [score(model, f"i{i}", value) for model in "tbs" for i, value in enumerate((0.1, 0.9))]
    estimate = compare(small(planted, rows), seed=0).estimates["s"]["qa.exact_match"]
    assert (estimate.value, estimate.low, estimate.high) == (0.5, 0.0, 1.0)


def test_the_headline_names_the_axes_that_it_is_the_mean_of(results: Results, planted: ModuleType) -> None:
    first = results.headline_models[0]
    over = results.headline_over["capability_closed"]
    gaps = [results.gap_closed[first][axis].value for axis in over]
    assert results.headline["capability_closed"].value == pytest.approx(sum(gaps) / len(gaps))
    assert set(results.headline_over) == {key for key in results.headline if "_minus_" not in key}
    same = [score(model, f"i{i}", float((i + (model == "t")) % 2)) for model in "tbs" for i in range(50)]
    assert compare(small(planted, same), seed=0).headline_over["capability_closed"] == ()


def test_one_cluster_gives_no_interval(planted: ModuleType) -> None:
    rows = [score(model, f"i{i}", float(i % 2), cluster="one") for model in "tbs" for i in range(50)]
    estimate = compare(small(planted, rows), seed=0).estimates["s"]["qa.exact_match"]
    assert (estimate.value, estimate.low, estimate.high) == (0.5, None, None)
    assert "no interval" in estimate.method


def test_bad_rows_are_named(planted: ModuleType) -> None:
    good = [score(model, "i", 1.0) for model in "tbs"]
    with pytest.raises(DataError, match="model 'x'"):
        compare(small(planted, [*good, score("x", "i", 1.0)]), seed=0)
    with pytest.raises(DataError, match="scored twice"):
        compare(small(planted, [*good, score("s", "i", 1.0)]), seed=0)
    with pytest.raises(DataError, match="'exact_match' is nan"):
        compare(small(planted, [*good, score("s", "j", float("nan"))]), seed=0)
    with pytest.raises(DataError, match="two clusters"):
        clusters = [score("s", "j", 1.0, cluster="a"), score("b", "j", 1.0, cluster="b")]
        compare(small(planted, good + clusters), seed=0)
