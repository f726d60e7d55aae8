"""The likelihood judge compares log-probabilities per token, says so in its votes, and has no numbers for failures."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from epigone.errors import SpecError
from epigone.evaluate.preference import JudgeSpec, Pair, judge_pairs, make_pairs, score_answers
from epigone.models import LocalSpec, Progress
from epigone.records import Output, Reply, Request, ScoreReply, ScoreRequest
from epigone.specs import parse_spec

SPEC = JudgeSpec(likelihood=LocalSpec(hf="unused"), margin=0.1)


class LetterModel:
    """A real, if simple, language model: each letter has its own probability, one token a letter; 'z' cannot be."""

    name = "letters"
    parameters = 2
    LOGPROB = {"a": -1.0, "b": -2.0}

    def generate(self, requests: Sequence[Request], progress: Progress | None = None) -> list[Reply]:
        raise NotImplementedError

    def score(self, requests: Sequence[ScoreRequest], progress: Progress | None = None) -> list[ScoreReply]:
        self.seen = list(requests)
        return [self._one(request.continuation) for request in requests]

    def _one(self, text: str) -> ScoreReply:
        if "z" in text:
            return ScoreReply(status="failed", error="too long for the model")
        return ScoreReply(status="ok", logprob=sum(self.LOGPROB[letter] for letter in text), tokens=len(text))

    def count_tokens(self, text: str) -> int | None:
        return len(text)

    def close(self) -> None:
        pass


def pair(student: str | None, teacher: str | None, item: str = "q") -> Pair:
    return Pair(item=item, prompt="p", student="s", teacher="t", student_response=student, teacher_response=teacher)


@pytest.mark.parametrize(
    ("student", "teacher", "choice", "margin"),
    [
        ("a", "b", "student", 1.0),
        ("b", "aaa", "teacher", -1.0),
        ("aaaa", "aa", "tie", 0.0),  # length by itself does not matter
        ("a" * 19 + "b", "a", "tie", -0.05),
        ("a" * 4 + "b", "a", "teacher", -0.2),
    ],
)
def test_the_likelier_answer_per_token_wins_outside_the_margin(
    student: str, teacher: str, choice: str, margin: float
) -> None:
    (vote,) = judge_pairs(SPEC, [pair(student, teacher)], LetterModel(), seed=0)
    assert (vote.choice, vote.status, vote.first, vote.kind) == (choice, "ok", None, "likelihood_judge")
    assert vote.margin == pytest.approx(margin)
    assert vote.voter == "letters (likelihood)"


def test_what_cannot_be_scored_is_failed_and_nothing_is_scored_twice() -> None:
    model = LetterModel()
    pairs = [pair("z", "a", "x"), pair("", "a", "y"), pair(None, "a", "m"), pair("b", "a", "n"), pair("a", "a", "o")]
    votes = judge_pairs(SPEC, pairs, model, seed=0)
    assert [(vote.item, vote.status, vote.choice) for vote in votes] == [
        ("x", "failed", None),
        ("y", "failed", None),
        ("m", "failed", None),
        ("n", "ok", "teacher"),
        ("o", "ok", "tie"),
    ]
    assert [request.continuation for request in model.seen] == ["z", "a", "b"]
    assert {request.messages[0].content for request in model.seen if request.messages} == {"p"}


def test_answers_of_the_teacher_that_were_scored_before_are_not_scored_again() -> None:
    model = LetterModel()
    teacher = [
        Output(id="n", prompt="p", response="a"),
        Output(id="n", prompt="p", response="bb", sample=1),
        Output(id="f", prompt="p", response="z"),
        Output(id="e", prompt="p", response=""),
        Output(id="w", prompt="", response="a"),
    ]
    scores = score_answers(teacher, model)
    assert {item: score.logprob for item, score in scores.items()} == {"n": -1.0, "f": None}
    pairs = [pair("b", "a", "n"), pair("b", "z", "f"), pair("aa", "b", "new")]
    votes = judge_pairs(SPEC, pairs, model, seed=0, teacher_scores=scores)
    assert [request.continuation for request in model.seen] == ["b", "aa"]
    assert votes[:2] == judge_pairs(SPEC, pairs[:2], LetterModel(), seed=0)
    assert (votes[2].choice, votes[2].margin) == ("student", 1.0)


def test_pairs_are_made_by_id_from_first_samples_and_missing_ones_are_kept() -> None:
    teacher = [Output(id="a", prompt="P", response="t1", sample=1), Output(id="a", prompt="P", response="t0")]
    teacher.append(Output(id="b", prompt="Q", response="t"))
    student = [Output(id="a", prompt="P", response="s0"), Output(id="c", prompt="R", response="s")]
    pairs = make_pairs(teacher, student, student_name="s")
    assert [(p.item, p.student_response, p.teacher_response) for p in pairs] == [("a", "s0", "t0"), ("b", None, "t")]


def test_a_judge_is_exactly_one_model() -> None:
    with pytest.raises(SpecError, match="exactly one of"):
        parse_spec(JudgeSpec, {}, where="judge")
    with pytest.raises(SpecError, match="exactly one of"):
        parse_spec(JudgeSpec, {"local": {"hf": "x"}, "likelihood": {"hf": "x"}}, where="judge")
    spec = parse_spec(JudgeSpec, {"likelihood": {"hf": "x"}}, where="judge")
    assert (spec.kind, spec.model) == ("likelihood", LocalSpec(hf="x"))
