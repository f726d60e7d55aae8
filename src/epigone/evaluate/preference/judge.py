"""Judging pairs of answers by a model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from msgspec import Struct

from epigone.errors import DataError
from epigone.evaluate.preference.judge_spec import JudgeSpec
from epigone.evaluate.preference.likelihood_judge import judge_by_likelihood
from epigone.evaluate.preference.llm_judge import judge_by_reading, showings
from epigone.evaluate.preference.pairs import Pair
from epigone.models.protocol import Progress, TextModel
from epigone.records import ScoreReply, Vote

__all__ = ["JudgePlan", "judge_pairs", "plan_judging", "plan_prompts"]

_BYTES_PER_TOKEN = 4.0  # English: characters; scripts of two or three bytes a character take more tokens each


class JudgePlan(Struct, frozen=True, kw_only=True):
    """What judging will ask for, before anything is spent. Reminders after unreadable replies come on top.

    ``prompt_tokens`` is counted by the model's tokenizer or, where ``estimated``, taken as UTF-8 bytes ÷ 4.
    ``reply_tokens_at_most`` assumes that every reply is as long as it may be; a likelihood judge writes none.
    """

    requests: int
    prompt_tokens: int
    reply_tokens_at_most: int
    estimated: bool


def judge_pairs(
    spec: JudgeSpec,
    pairs: Sequence[Pair],
    model: TextModel,
    *,
    seed: int,
    teacher_scores: Mapping[str, ScoreReply] | None = None,
    progress: Progress | None = None,
) -> list[Vote]:
    """Let ``model`` vote on every pair.

    An LLM judge gives a vote a showing: two a pair where ``orders`` is ``both`` (``first`` says which), so position
    flips can be counted and disagreement taken as a tie. A likelihood judge gives one a pair. Two equal texts are a
    tie without asking. What cannot be read is asked again, then ``unparsed``; a judge that declines is ``refused``;
    no answer is ``failed``: none of these is a choice. ``teacher_scores``: for a likelihood judge, what
    :func:`score_answers` gave before; without them it scores the teacher's answers itself.

    Raises:
        DataError: two pairs have the same item and student.
        SpecError: the prompt file is missing or lacks a field.
        EndpointError, BudgetExceeded: as :meth:`TextModel.generate`.
    """
    _refuse_repeats(pairs)
    if spec.kind == "likelihood":
        return judge_by_likelihood(spec, pairs, model, teacher_scores=teacher_scores, progress=progress)
    return judge_by_reading(spec, pairs, model, seed=seed, progress=progress)


def plan_judging(
    spec: JudgeSpec, pairs: Sequence[Pair], *, seed: int, count_tokens: Callable[[str], int | None] | None = None
) -> JudgePlan:
    """Count what :func:`judge_pairs` will ask for, without opening the model; ``count_tokens``: its own, if it is."""
    if spec.kind == "likelihood":
        asked = [pair for pair in pairs if pair.student_response and pair.teacher_response]
        texts = {
            (pair.prompt, response)
            for pair in asked
            for response in (pair.student_response, pair.teacher_response)
            if response
        }
        prompts = [prompt + response for prompt, response in sorted(texts)]
    else:
        prompts = [
            "".join(message.content for message in showing.messages) for showing in showings(spec, pairs, seed=seed)
        ]
    return plan_prompts(prompts, reply_tokens=0 if spec.kind == "likelihood" else spec.max_tokens, count=count_tokens)


def plan_prompts(
    prompts: Sequence[str], *, reply_tokens: int, count: Callable[[str], int | None] | None = None
) -> JudgePlan:
    """The plan of sending ``prompts``, each answered by ``reply_tokens`` at most; ``count``: the model's tokenizer."""
    counts = [count(prompt) if count else None for prompt in prompts]
    known = [count for count in counts if count is not None]
    estimated = len(known) < len(counts)
    tokens = (
        sum(len(prompt.encode("utf-8", "surrogatepass")) for prompt in prompts) / _BYTES_PER_TOKEN
        if estimated
        else sum(known)
    )
    return JudgePlan(
        requests=len(prompts),
        prompt_tokens=round(tokens),
        reply_tokens_at_most=len(prompts) * reply_tokens,
        estimated=estimated,
    )


def _refuse_repeats(pairs: Sequence[Pair]) -> None:
    counts = Counter((pair.item, pair.student) for pair in pairs)
    repeated = [f"{item} ({student})" for (item, student), count in counts.items() if count > 1]
    if repeated:
        raise DataError(
            f"{len(repeated)} pairs are there twice, first {repeated[0]}", fix="give every item of a student once"
        )
