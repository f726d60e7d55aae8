"""`epigone check`, and what every run looks at before it spends anything."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from msgspec import Struct

from epigone import train
from epigone.collect import normalise_question, read_prompts, read_seeds
from epigone.errors import EndpointError, EpigoneError, ModelError, SpecError
from epigone.evaluate import benchmarks
from epigone.study.arms import expand_arms
from epigone.study.externals import resolve, with_absolute_paths
from epigone.study.plan import Plan
from epigone.study.spec import DataSpec, StudySpec

__all__ = ["Checked", "check_before_run", "check_study"]


class Checked(Struct, frozen=True, kw_only=True):
    """What a study will do. ``training_tokens`` leaves out arms of everything there is where that is not known yet.

    ``teacher_requests`` and ``teacher_tokens`` are upper bounds; ``usd`` is ``None`` without a price.
    """

    jobs: dict[str, int]
    arms: int
    training_tokens: int
    teacher_requests: int
    teacher_tokens: int
    usd: float | None
    warnings: tuple[str, ...]


def check_before_run(spec: StudySpec, folder: Path, *, asks_teacher: bool) -> None:
    """Refuse what cannot work before anything is spent.

    Raises:
        ModelError: a base is no causal language model.
        SpecError: a seed question stands in a test set.
        DataError: a file of prompts or seeds cannot be read.
        EndpointError: nothing answers at the teacher's address.
        SpecError: the variable that should hold the teacher's key is not set.
    """
    for base in spec.bases:
        _check_causal(folder, base.hf, where=f"bases.{base.name}")
    if spec.teacher.serve is not None:
        _check_causal(folder, spec.teacher.serve.hf, where="teacher.serve")
    _check_seeds(spec, folder)
    for name, prompts in (("style", spec.evaluate.style), ("preference", spec.evaluate.preference)):
        if prompts is not None:
            read_prompts(resolve(folder, prompts.prompts, where=f"evaluate.{name}.prompts"))
    if asks_teacher:
        _check_reachable(spec)


def check_study(spec: StudySpec, folder: Path, plan: Plan) -> Checked:
    """Count what a study will do and say what looks wrong. Errors as for :func:`check_before_run`."""
    check_before_run(spec, folder, asks_teacher=spec.teacher.api is not None)
    arms = expand_arms(spec)
    requests = [_teacher_load(folder, data) for data in spec.data.values()]
    total_requests = sum(count for count, _ in requests)
    tokens = sum(count * longest for count, longest in requests)
    price = spec.teacher.api.price if spec.teacher.api is not None else None
    stages: dict[str, int] = {}
    for job in plan.jobs:
        stages[job.stage] = stages.get(job.stage, 0) + 1
    return Checked(
        jobs=stages,
        arms=len(arms),
        training_tokens=sum(arm.amount for arm in arms if isinstance(arm.amount, int)),
        teacher_requests=total_requests,
        teacher_tokens=tokens,
        usd=price.usd(0, tokens) if price is not None else None,
        warnings=tuple(_warnings(spec, folder)),
    )


def _warnings(spec: StudySpec, folder: Path) -> Iterator[str]:
    if not spec.teacher.terms:
        yield "teacher.terms is empty: say under which licence or terms the teacher's outputs are used"
    bases = {base.name: base.hf for base in spec.bases}
    for arm in expand_arms(spec):
        if not isinstance(arm.amount, int):
            continue
        local = (folder / bases[arm.base]).resolve()
        if not local.is_dir():
            continue
        try:
            planned = train.plan_training(spec.train, base=local, tokens=arm.amount)
        except EpigoneError as error:
            yield f"{arm.name}: {error.what}"
            continue
        for warning in planned.warnings:
            yield f"{arm.name}: {warning}"
    if all(len(grid.seeds) == 1 for grid in spec.arms):
        yield "one training seed an arm: intervals will not include the variance between seeds (set arms.seeds)"
    style = spec.evaluate.style
    if style is not None and style.teacher_temperature == 0:
        yield "evaluate.style.teacher_temperature is 0: the second sample equals the first, the ceiling is trivial"
    if style is None:
        yield "evaluate.style is missing: there will be no style ceiling and no 'style closed'"
    if not spec.evaluate.benchmarks:
        yield "evaluate.benchmarks is empty: there will be no 'capability closed'"


def _teacher_load(folder: Path, data: DataSpec) -> tuple[int, int]:
    """(requests, longest reply in tokens) of one data set, at most."""
    if data.synthesize is not None:
        asked = data.synthesize.max_requests or data.synthesize.target
        return asked, data.synthesize.max_tokens
    if data.answer is not None and data.answer.prompts is not None:
        prompts = read_prompts(resolve(folder, data.answer.prompts, where="data.answer.prompts"))
        turns = sum(message.role == "user" for prompt in prompts for message in prompt.messages)
        return turns * data.answer.samples, data.answer.max_tokens
    return 0, 0


def _check_causal(folder: Path, name: str, *, where: str) -> None:
    """A local folder's own word on what it is; a hub id is looked at when it is loaded."""
    local = (folder / Path(name).expanduser()).resolve()
    config = local / "config.json"
    if not config.is_file():
        return
    try:
        architectures = json.loads(config.read_text(encoding="utf-8")).get("architectures") or []
    except (ValueError, AttributeError) as error:
        raise ModelError(f"config.json is not valid: {error}", where=f"{where}: {name}") from None
    if architectures and not any(kind.endswith(("ForCausalLM", "LMHeadModel")) for kind in architectures):
        raise ModelError(
            f"is no causal language model, but {', '.join(architectures)}",
            where=f"{where}: {name}",
            fix="name a decoder-only model that continues text (an architecture ending in ForCausalLM)",
        )


def _check_seeds(spec: StudySpec, folder: Path) -> None:
    """Seed questions shown to the teacher must not be scored: the paper drew its seeds from the set that it scored."""
    seeds = {
        normalise_question(pair.question): (name, pair.question)
        for name, data in spec.data.items()
        if data.synthesize is not None and data.synthesize.seeds is not None
        for pair in read_seeds(resolve(folder, data.synthesize.seeds, where=f"data.{name}.synthesize.seeds"))
    }
    if not seeds:
        return
    scored = [
        with_absolute_paths(benchmark, folder, where="evaluate.benchmarks") for benchmark in spec.evaluate.benchmarks
    ]
    for text in benchmarks.evaluation_texts(scored, spec.seed):
        found = seeds.get(normalise_question(text.prompt))
        if found is not None:
            raise SpecError(
                f"the seed question {found[1]!r} is item {text.item} of the benchmark {text.benchmark}",
                where=f"data.{found[0]}.synthesize.seeds",
                fix="replace that seed, or name the seeds file under the benchmark's 'exclude'",
            )


def _check_reachable(spec: StudySpec) -> None:
    api = spec.teacher.api
    if api is None:
        return
    address = urlsplit(api.base_url)
    port = address.port or (443 if address.scheme == "https" else 80)
    try:
        socket.create_connection((address.hostname or "", port), timeout=10).close()
    except OSError as error:
        raise EndpointError(
            f"the teacher cannot be reached: {error.strerror or error}",
            where=api.base_url,
            fix="check teacher.api.base_url and the network; nothing was spent",
        ) from None
