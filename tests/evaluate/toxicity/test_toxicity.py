"""Continuations are scored by a scorer of choice; a missing score stays missing."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from epigone.errors import DataError, MissingDependency, SpecError
from epigone.evaluate.benchmarks import BenchmarkSpec, read_items, run_benchmarks
from epigone.evaluate.toxicity import (
    Lexicon,
    ProfanityCheck,
    ToxicitySpec,
    open_scorer,
    run_toxicity,
    toxicity_axes,
    toxicity_scores,
)
from epigone.models.protocol import Progress
from epigone.records import Reply, Request, ScoreReply, ScoreRequest
from epigone.specs import parse_spec


class Talker:
    """Continues the n-th request with the n-th text; ``None`` is a refused request."""

    name = "talker"
    parameters = None

    def __init__(self, *texts: str | None) -> None:
        self.texts = texts
        self.asked: list[Request] = []

    def generate(self, requests: Sequence[Request], progress: Progress | None = None) -> list[Reply]:
        self.asked = list(requests)
        return [Reply(status="refused" if text is None else "ok", text=text) for text in self.texts]

    def score(self, requests: Sequence[ScoreRequest], progress: Progress | None = None) -> list[ScoreReply]:
        raise NotImplementedError

    def count_tokens(self, text: str) -> int:
        return len(text.split())

    def close(self) -> None:
        pass


class Silent:
    """A scorer that has no answer to every second text."""

    name, note = "silent", ""

    def score(self, texts: Sequence[str]) -> list[float | None]:
        return [0.9 if number % 2 == 0 else None for number in range(len(texts))]


def written(folder: Path, rows: Sequence[object], **settings: Any) -> ToxicitySpec:
    (folder / "prompts.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (folder / "insults.txt").write_text("# invented\ngrumblewit\nrotten mudsnork\t0.6\n")
    return ToxicitySpec(prompts=folder / "prompts.jsonl", scorer="lexicon", lexicon=folder / "insults.txt", **settings)


def test_a_word_list_finds_whole_words_and_phrases_in_any_case(tmp_path: Path) -> None:
    written(tmp_path, [])
    scorer = Lexicon(tmp_path / "insults.txt")
    texts = [
        "You GRUMBLEWIT!",
        "grumblewits are many",
        "a rotten  Mudsnork",
        "kind words",
        "rotten mudsnork grumblewit",
    ]
    assert scorer.score(texts) == [1.0, 0.0, 0.6, 0.0, 1.0]


def test_metrics_of_several_samples_follow_the_paper() -> None:
    scores = toxicity_scores(["a", "I'm sorry, but I can't say that.", "c", "d"], [0.1, 0.5, 0.2, 0.0], threshold=0.5)
    assert scores == {"refusal": 0.25, "non_toxicity": pytest.approx(0.8), "max_toxicity": 0.5, "toxic": 1.0}
    assert toxicity_scores(["a"], [0.49], threshold=0.5)["toxic"] == 0.0


def test_prompts_are_continued_as_text_or_answered_as_a_message(tmp_path: Path) -> None:
    spec = written(tmp_path, [{"prompt": {"text": "Go away, you", "toxicity": 0.3}}, {"prompt": "The sky"}], samples=2)
    model = Talker(" grumblewit", " friend", " is blue", " is grey")
    rows = run_toxicity(model, spec, chat=False, seed=3)
    assert [request.prompt for request in model.asked] == ["Go away, you"] * 2 + ["The sky"] * 2
    assert [(request.sample, request.seed, request.max_tokens, request.top_p) for request in model.asked[:2]] == [
        (0, 3, 20, 0.9),
        (1, 3, 20, 0.9),
    ]
    assert rows[0].scores == {"refusal": 0.0, "non_toxicity": 0.5, "max_toxicity": 1.0, "toxic": 1.0}
    assert rows[1].scores == {"refusal": 0.0, "non_toxicity": 1.0, "max_toxicity": 0.0, "toxic": 0.0}
    assert json.loads(rows[0].raw or "") == [" grumblewit", " friend"]
    run_toxicity(model, spec, chat=True, seed=3)
    assert model.asked[0].messages is not None
    assert [(message.role, message.content) for message in model.asked[0].messages] == [("user", "Go away, you")]


def test_a_refused_request_is_missing_and_not_harmless(tmp_path: Path) -> None:
    spec = written(tmp_path, [{"prompt": "a"}, {"prompt": "b"}])
    rows = run_toxicity(Talker(None, "fine"), spec, chat=False, seed=0)
    assert [(row.status, row.scores.get("non_toxicity")) for row in rows] == [("refused", None), ("ok", 1.0)]


def test_a_scorer_without_an_answer_leaves_the_score_missing(tmp_path: Path) -> None:
    spec = written(tmp_path, [{"prompt": "a"}, {"prompt": "b"}])
    rows = run_toxicity(Talker("x", "y"), spec, chat=False, seed=0, scorer=Silent())
    assert [(row.status, sorted(row.scores)) for row in rows] == [
        ("ok", ["max_toxicity", "non_toxicity", "refusal", "toxic"]),
        ("failed", ["refusal"]),
    ]
    both = spec.model_copy(update={"samples": 2})
    row = run_toxicity(Talker("x", "y", "x", "y"), both, chat=False, seed=0, scorer=Silent())[0]
    assert sorted(row.scores) == ["non_toxicity", "refusal"]
    assert row.scores["non_toxicity"] == pytest.approx(0.1)


def test_a_run_goes_on_with_the_prompts_that_have_no_score_yet(tmp_path: Path) -> None:
    spec, out = written(tmp_path, [{"prompt": "a"}, {"prompt": "b"}, {"prompt": "c"}]), tmp_path / "out"
    rows = run_toxicity(Talker("x", None, "grumblewit"), spec, chat=False, seed=0, out=out)
    assert [row.status for row in rows] == ["ok", "refused", "ok"]
    again = Talker("fine")
    rows = run_toxicity(again, spec, chat=False, seed=0, out=out)
    assert [request.prompt for request in again.asked] == ["b"]
    assert [row.scores["non_toxicity"] for row in rows] == [1.0, 1.0, 0.0]
    assert read_items(out / "items.parquet") == rows
    (tmp_path / "insults.txt").write_text("fine\n")  # other words: every text is scored again
    rows = run_toxicity(Talker("x", "fine", "grumblewit"), spec, chat=False, seed=0, out=out)
    assert [row.scores["non_toxicity"] for row in rows] == [1.0, 0.0, 1.0]
    with pytest.raises(SpecError, match="seed = 0, not 1"):
        run_toxicity(Talker("x"), spec, chat=False, seed=1, out=out)
    (tmp_path / "qa.yaml").write_text(PLAIN_TASK)
    with pytest.raises(SpecError, match=r"something else under the name 'toxicity' \(toxicity, not generate_until\)"):
        run_benchmarks(Talker(), [BenchmarkSpec(task=str(tmp_path / "qa.yaml"))], chat=False, seed=0, out=out)


PLAIN_TASK = """
task: toxicity
dataset_path: json
dataset_kwargs: {data_files: {test: prompts.jsonl}}
test_split: test
output_type: generate_until
doc_to_text: "{{prompt}}"
doc_to_target: prompt
metric_list: [{metric: exact_match}]
"""


def test_the_axes_name_what_was_measured_and_one_is_the_headline(tmp_path: Path) -> None:
    spec = written(tmp_path, [{"prompt": "a"}], name="rudeness")
    axes = {axis.name.removeprefix("rudeness."): axis for axis in toxicity_axes(spec)}
    row = run_toxicity(Talker("x"), spec, chat=False, seed=0)[0]
    assert set(row.scores) == set(axes)
    assert [name for name, axis in axes.items() if axis.headline] == ["non_toxicity"]
    assert not axes["toxic"].higher_is_better


def test_the_offline_scorer_tells_abuse_from_kindness_and_admits_that_it_is_weak() -> None:
    scorer = ProfanityCheck()
    abusive, kind = scorer.score(["you are a stupid piece of shit", "thank you for the lovely evening"])
    assert abusive is not None
    assert kind is not None
    assert abusive > 0.9
    assert kind < 0.2
    assert "weak" in scorer.note
    assert scorer.score([]) == []


def test_a_scorer_that_is_not_installed_says_how_to_get_it(tmp_path: Path) -> None:
    spec = ToxicitySpec(prompts=tmp_path / "p.jsonl", scorer="detoxify")
    with pytest.raises(MissingDependency, match="pip install detoxify"):
        open_scorer(spec)


def test_faulty_input_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="go together"):
        parse_spec(ToxicitySpec, {"prompts": "p.jsonl", "scorer": "lexicon"}, where="study.yaml")
    (tmp_path / "words.txt").write_text("bad\t1.5\n")
    with pytest.raises(DataError, match=r"words\.txt:1: the weight '1\.5' is no number in"):
        Lexicon(tmp_path / "words.txt")
    (tmp_path / "words.txt").write_text("# nothing\n")
    with pytest.raises(DataError, match="holds no words"):
        Lexicon(tmp_path / "words.txt")
    (tmp_path / "empty.jsonl").write_text("")
    with pytest.raises(DataError, match="holds no prompts"):
        run_toxicity(Talker(), ToxicitySpec(prompts=tmp_path / "empty.jsonl"), chat=False, seed=0)
