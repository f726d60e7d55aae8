"""`epigone check`, and what every run looks at before it spends anything."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from difflib import get_close_matches
from pathlib import Path

import httpx
from msgspec import Struct

from epigone import train
from epigone.collect import normalise_question, read_prompts, read_seeds
from epigone.errors import EndpointError, EpigoneError, ModelError, SpecError
from epigone.evaluate import benchmarks
from epigone.models import ApiSpec
from epigone.models.asking import api_key
from epigone.study.arms import expand_arms
from epigone.study.costs import Asking, asked_at_most
from epigone.study.externals import resolve, with_absolute_paths
from epigone.study.hub import hub_architectures
from epigone.study.job import Job
from epigone.study.plan import Plan
from epigone.study.spec import StudySpec

__all__ = ["Checked", "check_amounts", "check_before_run", "check_endpoints", "check_study"]

_ANSWERS_WITHIN_S = 10.0
_JUDGES = {"judge": "evaluate.preference.judge", "style": "evaluate.style.tone"}
_LONGEST_TOKEN_BYTES = 16  # of ordinary text; a student's tokenizer may need one token a byte


class Checked(Struct, frozen=True, kw_only=True):
    """What a study will do. ``training_tokens`` leaves out arms of everything there is where that is not known yet;
    ``asked``: what is asked of the teacher and of judges behind an API, at most, a row for each purpose;
    ``refusal``: why a run would not begin now, though the file is in order: no answer from an endpoint, or no key."""

    jobs: dict[str, int]
    arms: int
    training_tokens: int
    asked: tuple[Asking, ...]
    warnings: tuple[str, ...]
    refusal: EndpointError | None


def check_before_run(spec: StudySpec, folder: Path) -> tuple[str, ...]:
    """Refuse what cannot work before anything is spent. Returns a line for each model that nobody could look at.

    Raises:
        ModelError: a base is no causal language model, or the hub does not have it.
        SpecError: a seed question stands in a test set, or a local task is none of the benchmarks.
        DataError: a file of prompts or seeds cannot be read.
    """
    models = {f"bases.{base.name}": base.hf for base in spec.bases}
    if spec.teacher.serve is not None:
        models["teacher.serve"] = spec.teacher.serve.hf
    unseen = tuple(
        f"{where}: {name} is not on this machine, and the hub cannot be asked whether it has it"
        for where, name in models.items()
        if not _check_causal(folder, name, where=where)
    )
    scored = [
        with_absolute_paths(benchmark, folder, where="evaluate.benchmarks") for benchmark in spec.evaluate.benchmarks
    ]
    _check_local_tasks(spec, scored)
    _check_seeds(spec, folder, scored)
    for name, prompts in (("style", spec.evaluate.style), ("preference", spec.evaluate.preference)):
        if prompts is not None:
            read_prompts(resolve(folder, prompts.prompts, where=f"evaluate.{name}.prompts"))
    return unseen


def check_endpoints(spec: StudySpec, jobs: Iterable[Job]) -> None:
    """Refuse to begin if ``jobs`` would later ask somebody who does not answer, or without a key. Costs nothing.

    Raises:
        EndpointError: an address does not answer, a key is refused, or its variable is not set.
    """
    asked = {where for job in jobs for where in _asked_by(job)}
    for where, api in spec.endpoints.items():
        if where in asked:
            _check_answers(where, api)


def check_study(spec: StudySpec, folder: Path, plan: Plan) -> Checked:
    """Count what a study will do and say what looks wrong. Errors as for :func:`check_before_run`."""
    unseen = check_before_run(spec, folder)
    arms = expand_arms(spec)
    asked = asked_at_most(spec, plan)
    stages: dict[str, int] = {}
    for job in plan.jobs:
        stages[job.stage] = stages.get(job.stage, 0) + 1
    return Checked(
        jobs=stages,
        arms=len(arms),
        training_tokens=sum(arm.amount for arm in arms if isinstance(arm.amount, int)),
        asked=tuple(asked),
        warnings=(*unseen, *check_amounts(spec, asked), *_unbounded(spec), *_warnings(spec, folder)),
        refusal=_refusal(spec, plan),
    )


def _refusal(spec: StudySpec, plan: Plan) -> EndpointError | None:
    try:
        check_endpoints(spec, plan.jobs)
    except EndpointError as error:
        return error
    return None


def check_amounts(spec: StudySpec, asked: Iterable[Asking]) -> tuple[str, ...]:
    """Warnings about arms that ask for more training tokens than their data is likely to hold.

    Args:
        asked: at least what is asked for data. Dumps, syntheses and mixtures are passed over.

    Raises:
        SpecError: an amount cannot be reached, however the student's tokenizer splits the text.
    """
    at_most = {row.what: row for row in asked if not row.unknown}
    warnings: dict[str, None] = {}
    for arm in expand_arms(spec):
        data, row = spec.data[arm.data], at_most.get(f"data {arm.data}")
        unknowable = data.imports or data.synthesize or any(step.name == "mix" for step in data.curate.steps)
        if unknowable or row is None or not isinstance(arm.amount, int):
            continue
        if arm.amount > row.prompt_tokens + _LONGEST_TOKEN_BYTES * row.reply_tokens:
            raise SpecError(
                f"{arm.amount:,} tokens cannot be reached: the data holds {row.reply_tokens:,} reply tokens at most",
                where=f"arms: {arm.group}",
                fix=f"lower the amount, or give data.{arm.data} more prompts or longer answers",
            )
        if arm.amount > row.prompt_tokens // 4 + row.reply_tokens:
            warnings[
                f"{arm.group} asks for {arm.amount:,} training tokens, and data.{arm.data} is not likely to hold them:"
                f" {row.reply_tokens:,} reply tokens at most"
            ] = None
    return tuple(warnings)


def _unbounded(spec: StudySpec) -> Iterator[str]:
    for name, data in spec.data.items():
        if data.synthesize is not None and data.synthesize.max_requests is None:
            yield (
                f"data.{name}.synthesize has no max_requests: a teacher that repeats itself is asked very often before"
                " the synthesis stalls, which is why 'at most' is so much; set it, or a budget"
            )


def _warnings(spec: StudySpec, folder: Path) -> Iterator[str]:
    if not spec.teacher.terms:
        yield "teacher.terms is empty: say under which licence or terms the teacher's outputs are used"
    bases = {base.name: base.hf for base in spec.bases}
    for arm in {arm.group: arm for arm in expand_arms(spec)}.values():  # seeds do not differ in these
        if not isinstance(arm.amount, int):
            continue
        local = (folder / bases[arm.base]).resolve()
        if not local.is_dir():
            continue
        try:
            planned = train.plan_training(spec.train, base=local, tokens=arm.amount)
        except EpigoneError as error:
            yield f"{arm.group}: {error.what}"
            continue
        for warning in planned.warnings:
            yield f"{arm.group}: {warning}"
    if all(len(grid.seeds) == 1 for grid in spec.arms):
        yield "one training seed an arm: intervals will not include the variance between seeds (set arms.seeds)"
    style = spec.evaluate.style
    if style is not None and style.teacher_temperature == 0:
        yield "evaluate.style.teacher_temperature is 0: the second sample equals the first, the ceiling is trivial"
    for name, data in spec.data.items():
        if data.data_kind == "local" and data.local_task is None:
            yield f"data.{name}.local_task is missing: whether local imitation raises its own task cannot be judged"
    if style is None:
        yield "evaluate.style is missing: there will be no style ceiling and no 'style closed'"
    if not spec.evaluate.benchmarks:
        yield "evaluate.benchmarks is empty: there will be no 'capability closed'"


def _check_causal(folder: Path, name: str, *, where: str) -> bool:
    """Refuse a model that is no causal language model, by its configuration's own word; ``False``: nobody could say."""
    local = (folder / Path(name).expanduser()).resolve()
    config = local / "config.json"
    if config.is_file():
        try:
            architectures = json.loads(config.read_text(encoding="utf-8")).get("architectures") or []
        except (ValueError, AttributeError) as error:
            raise ModelError(f"config.json is not valid: {error}", where=f"{where}: {name}") from None
    elif local.is_dir():
        return True
    elif (found := hub_architectures(name, where=where)) is not None:
        architectures = found
    else:
        return False
    if architectures and not any(kind.endswith(("ForCausalLM", "LMHeadModel")) for kind in architectures):
        raise ModelError(
            f"is no causal language model, but {', '.join(architectures)}",
            where=f"{where}: {name}",
            fix="name a decoder-only model that continues text (an architecture ending in ForCausalLM)",
        )
    return True


def _check_local_tasks(spec: StudySpec, scored: Sequence[benchmarks.BenchmarkSpec]) -> None:
    """A mistyped task would be found missing after all is paid: its finding would stay undecided."""
    wanted = {name: data.local_task for name, data in spec.data.items() if data.local_task is not None}
    if not wanted:
        return
    axes = [axis.name for benchmark in scored for axis in benchmarks.benchmark_axes(benchmark)]
    known = dict.fromkeys([*axes, *(axis.rpartition(".")[0] for axis in axes)])
    for name, task in wanted.items():
        if task not in known:
            near = get_close_matches(task, known, n=1)
            raise SpecError(
                f"'{task}' is no axis of evaluate.benchmarks" + (f"; did you mean '{near[0]}'?" if near else ""),
                where=f"data.{name}.local_task",
                fix=f"name one of {', '.join(axes)}" if axes else "add the task's benchmark",
            )


def _check_seeds(spec: StudySpec, folder: Path, scored: Sequence[benchmarks.BenchmarkSpec]) -> None:
    """Seed questions shown to the teacher must not be scored: the paper drew its seeds from the set that it scored."""
    seeds = {
        normalise_question(pair.question): (name, pair.question)
        for name, data in spec.data.items()
        if data.synthesize is not None and data.synthesize.seeds is not None
        for pair in read_seeds(resolve(folder, data.synthesize.seeds, where=f"data.{name}.synthesize.seeds"))
    }
    if not seeds:
        return
    for text in benchmarks.evaluation_texts(scored, spec.seed):
        found = seeds.get(normalise_question(text.prompt))
        if found is not None:
            raise SpecError(
                f"the seed question {found[1]!r} is item {text.item} of the benchmark {text.benchmark}",
                where=f"data.{found[0]}.synthesize.seeds",
                fix="replace that seed, or name the seeds file under the benchmark's 'exclude'",
            )


def _asked_by(job: Job) -> Iterator[str]:
    """Whom a job asks, as :attr:`StudySpec.endpoints` names them."""
    if job.asks_teacher:
        yield "teacher"
    if job.stage == "curate":
        yield f"data.{job.subject}.curate"
    elif job.stage in _JUDGES:
        yield _JUDGES[job.stage]


def _check_answers(where: str, api: ApiSpec) -> None:
    """The list of models is free, and shows whether the address answers and the key is known.

    What comes back may be an error: not every endpoint has a list, and a key may be forbidden to read it (403).
    """
    headers = {"Authorization": f"Bearer {api_key(api)}"}
    try:
        status = httpx.get(f"{api.base_url}/models", headers=headers, timeout=_ANSWERS_WITHIN_S).status_code
    except httpx.HTTPError as error:
        raise EndpointError(
            f"{where} cannot be reached: {error or type(error).__name__}",
            where=api.base_url,
            fix=f"check {where}'s base_url and the network; nothing was spent",
        ) from None
    if status == httpx.codes.UNAUTHORIZED:
        raise EndpointError(
            f"{where} refuses the key (401)",
            where=api.base_url,
            fix=f"check the key in {api.key_env}; nothing was spent" if api.key_env else "name the key's key_env",
        )
