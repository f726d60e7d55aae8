"""A collection as one file: who is asked, for what, under which terms, and for how much money.

source: nq
teacher: {api: {base_url: https://…/v1, model: gpt-x, key_env: TEACHER_KEY, price: {…}}, terms: research licence 12-3}
budget: {usd: 5}
synthesize: {seeds: seeds.jsonl, target: 6000}       # or summaries, answer, import
exclude: [test_questions.jsonl]
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from msgspec import Struct
from pydantic import Field, model_validator

from epigone.collect.answer import AnswerSpec, answer, answer_requests
from epigone.collect.collected import Collected
from epigone.collect.importing.import_spec import ImportSpec
from epigone.collect.pairs import read_seeds
from epigone.collect.prompts import read_prompts
from epigone.collect.summaries import SummariesSpec, read_examples, read_passages, summary_requests, write_summaries
from epigone.collect.synthesize import SynthesizeSpec, synthesize, synthesize_requests
from epigone.disk import read_yaml
from epigone.errors import DataError, SpecError
from epigone.models import ApiSpec, BudgetSpec, LocalSpec, Price, Progress, ServeSpec, TextModel
from epigone.records import Conversation, Request
from epigone.specs import Spec, beside, parse_spec

__all__ = ["Forecast", "RecipeSpec", "TeacherAccessSpec", "forecast", "read_recipe", "run_recipe"]

CHARACTERS_PER_TOKEN = 4.0  # English with a current tokenizer; the forecast says so
PAIRS_PER_REPLY = 10  # what the default wording asks for
PREVIEW = 20


class TeacherAccessSpec(Spec):
    """Who is asked: exactly one of ``api``, ``local`` and ``serve``."""

    api: ApiSpec | None = None
    """An OpenAI-compatible endpoint."""
    local: LocalSpec | None = None
    """A Hugging Face model run in this process."""
    serve: ServeSpec | None = None
    """A model that a server of any engine serves on this machine while it is asked."""
    terms: str = ""
    """Licence or terms under which the replies are used; written into each conversation."""

    @model_validator(mode="after")
    def _one_way(self) -> TeacherAccessSpec:
        if sum(way is not None for way in (self.api, self.local, self.serve)) != 1:
            raise ValueError("give exactly one of 'api', 'local' and 'serve'")
        return self

    @property
    def model(self) -> ApiSpec | LocalSpec | ServeSpec:
        """Whichever of the three it is."""
        found = self.api or self.local or self.serve
        assert found is not None
        return found


class RecipeSpec(Spec):
    """One collection: exactly one of ``synthesize``, ``summaries``, ``answer`` and ``import``."""

    source: str = Field(default="collected", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    """Name of the collection; it begins each id. Imports are named by their own ``source``."""
    teacher: TeacherAccessSpec | None = None
    """Needed for everything but ``import``."""
    budget: BudgetSpec = BudgetSpec()
    """What may be spent; the default is no limit."""
    synthesize: SynthesizeSpec | None = None
    """New pairs from seeds."""
    summaries: SummariesSpec | None = None
    """Summaries in the manner of examples."""
    answer: AnswerSpec | None = None
    """Answers to given prompts."""
    imports: tuple[ImportSpec, ...] = Field(default=(), alias="import")
    """Dumps to read."""
    exclude: tuple[Path, ...] = ()
    """For ``synthesize``: prompt files (read as ``read_prompts`` does) whose questions must not enter the data."""

    @model_validator(mode="after")
    def _one_way(self) -> RecipeSpec:
        ways = [self.synthesize, self.summaries, self.answer, self.imports or None]
        if sum(way is not None for way in ways) != 1:
            raise ValueError("give exactly one of 'synthesize', 'summaries', 'answer' and 'import'")
        if not self.imports and self.teacher is None:
            raise ValueError("the key 'teacher' is missing")
        api = self.teacher.api if self.teacher is not None else None
        if self.budget.usd is not None and api is not None and api.price is None:
            raise ValueError("budget.usd cannot hold teacher.api: no 'price' is stated there (or limit budget.tokens)")
        if self.exclude and self.synthesize is None:
            raise ValueError("'exclude' goes with 'synthesize'; other data is decontaminated by `epigone curate`")
        return self


class Forecast(Struct, frozen=True, kw_only=True):
    """What a recipe will ask. Token counts are estimates from characters.

    ``most_…`` takes every reply at its limit, and in a synthesis replies of one new pair each. ``usd`` and ``most_usd``
    are ``None`` without a price table.
    """

    first: tuple[Request, ...]
    requests: int
    prompt_tokens: int
    completion_tokens: int
    usd: float | None
    most_requests: int
    most_prompt_tokens: int
    most_completion_tokens: int
    most_usd: float | None


def read_recipe(path: Path | str) -> RecipeSpec:
    """Read a recipe; its relative paths are taken from the folder it lies in.

    Raises:
        SpecError: it cannot be read or is wrong.
    """
    spec = parse_spec(RecipeSpec, read_yaml(path), where=str(path))
    return beside(spec, Path(path).resolve().parent)


def run_recipe(recipe: RecipeSpec, model: TextModel, *, seed: int, progress: Progress | None = None) -> Collected:
    """Ask ``model`` as the recipe says. Imports need no model: see ``import_dump``.

    Raises:
        SpecError: a file that the recipe has to name is not named. DataError: one cannot be read.
        EndpointError, BudgetExceeded: a re-run goes on from the request cache.
    """
    common: dict[str, Any] = {
        "seed": seed,
        "source": recipe.source,
        "terms": recipe.teacher.terms if recipe.teacher is not None else "",
        "progress": progress,
    }
    if recipe.synthesize is not None:
        seeds = read_seeds(_named(recipe.synthesize.seeds, "synthesize.seeds"))
        return synthesize(recipe.synthesize, seeds, model, exclude=_excluded(recipe), **common)
    if recipe.summaries is not None:
        spec = recipe.summaries
        examples = read_examples(_named(spec.examples, "summaries.examples"))
        return write_summaries(
            spec, examples, read_passages(_named(spec.passages, "summaries.passages")), model, **common
        )
    if recipe.answer is not None:
        return answer(recipe.answer, read_prompts(_named(recipe.answer.prompts, "answer.prompts")), model, **common)
    raise SpecError("an import asks no model", where="recipe")


def forecast(recipe: RecipeSpec, *, seed: int, show: int = 2) -> Forecast:
    """The first ``show`` requests as they will be sent, and an estimate of tokens and money. Asks nothing.

    Estimates take four characters for a token and replies half as long as they may be; ``synthesize`` is taken to
    find ten new pairs a reply, which is what the default wording asks for.

    Raises:
        SpecError, DataError: what :func:`run_recipe` would raise about the recipe's files.
    """
    if recipe.synthesize is not None:
        pairs = recipe.synthesize
        _excluded(recipe)
        most = min(pairs.target, pairs.max_requests or pairs.target)
        count = min(most, math.ceil(pairs.target / min(pairs.pairs.max_pairs or PAIRS_PER_REPLY, PAIRS_PER_REPLY)))
        seeds = read_seeds(_named(pairs.seeds, "synthesize.seeds"))
        sample = synthesize_requests(pairs, seeds, seed=seed, count=min(max(show, PREVIEW), count))
        return _estimate(recipe, sample, count=count, most=most, show=show)
    if recipe.summaries is not None:
        spec = recipe.summaries
        examples = read_examples(_named(spec.examples, "summaries.examples"))
        passages = read_passages(_named(spec.passages, "summaries.passages"))
        sample = summary_requests(spec, examples, passages, seed=seed)
        return _estimate(recipe, sample, count=len(sample), most=len(sample), show=show)
    if recipe.answer is not None:
        prompts = read_prompts(_named(recipe.answer.prompts, "answer.prompts"))
        sample = answer_requests(recipe.answer, prompts, seed=seed)
        turns, history = _later_turns(recipe.answer, prompts)
        count = len(sample) + turns
        return _estimate(recipe, sample, count=count, most=count, show=show, first_turns=len(sample), history=history)
    raise SpecError("an import asks no model, so there is nothing to forecast", where="recipe")


def _later_turns(spec: AnswerSpec, prompts: Sequence[Conversation]) -> tuple[int, int]:
    """(turns after the first, prompt tokens that they carry: the dialogue before them, replies at half their limit)."""
    turns, tokens = 0, 0.0
    for prompt in prompts:
        users = [message.content for message in prompt.messages if message.role == "user"][: spec.max_turns]
        carried = 0.0
        for number, text in enumerate(users):
            carried += len(text) / CHARACTERS_PER_TOKEN
            if number:
                turns, tokens = turns + 1, tokens + carried
            carried += spec.max_tokens / 2
    return turns * spec.samples, round(tokens * spec.samples)


def _estimate(
    recipe: RecipeSpec,
    sample: Sequence[Request],
    *,
    count: int,
    most: int,
    show: int,
    first_turns: int | None = None,
    history: int = 0,
) -> Forecast:
    """Scale the sampled requests up to ``count`` and ``most``.

    Args:
        first_turns: how many of ``count`` are prompts like the sampled ones; ``None``: all.
        history: prompt tokens of the others.
    """
    characters = [sum(len(m.content) for m in request.messages or ()) + len(request.prompt or "") for request in sample]
    longest = max((request.max_tokens for request in sample), default=0)
    each = sum(characters) / len(characters) / CHARACTERS_PER_TOKEN if characters else 0.0
    prompt_tokens = round(each * (count if first_turns is None else first_turns)) + history
    most_prompt_tokens = prompt_tokens + round(each * (most - count))
    api = recipe.teacher.api if recipe.teacher is not None else None
    price: Price | None = api.price if api is not None else None
    batch = api.batch_endpoint if api is not None else False
    half, full = count * longest // 2, most * longest
    return Forecast(
        first=tuple(sample[:show]),
        requests=count,
        prompt_tokens=prompt_tokens,
        completion_tokens=half,
        usd=price.usd(prompt_tokens, half, batch=batch) if price else None,
        most_requests=most,
        most_prompt_tokens=most_prompt_tokens,
        most_completion_tokens=full,
        most_usd=price.usd(most_prompt_tokens, full, batch=batch) if price else None,
    )


def _excluded(recipe: RecipeSpec) -> set[str]:
    prompts = [prompt for path in recipe.exclude for prompt in read_prompts(path)]
    return {message.content for prompt in prompts for message in prompt.messages if message.role == "user"}


def _named(path: Path | None, key: str) -> Path:
    if path is None:
        raise SpecError(f"the key '{key}' is missing", where="recipe", fix="name the file in the recipe")
    if not path.is_file():
        raise DataError("no such file", where=f"{key}: {path}", fix="paths are relative to the recipe's folder")
    return path
