"""Gathers what the report's page shows beside the estimates: samples, claims, data cards, loss curves, what ran."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from msgspec import Struct

from epigone.disk import read_json, read_jsonl
from epigone.records import Claim, Output, Results
from epigone.report import Answer, DataCard, JobRow, ReportContent, Sample, TrainingCurve
from epigone.study.job import Job
from epigone.study.measured import BASE, STUDENT, TEACHER, Measured
from epigone.study.plan import Plan
from epigone.study.spec import StudySpec
from epigone.study.store import Store
from epigone.train import TrainRecord

__all__ = ["gather_report"]


class _Found(Struct, frozen=True):
    benchmark: str
    items: int
    matched_items: int
    dropped: Literal["training", "evaluation", "neither"]


_GAVE_WAY = {
    "training": "the conversations were dropped",
    "evaluation": "the items are not scored",
    "neither": "both were kept",
}


class _Curated(Struct, frozen=True):
    """Of ``curated.json``: what decontamination found, a row for each benchmark."""

    decontamination: tuple[_Found, ...]


SAMPLES = 40
"""Prompts in the sample browser."""


def gather_report(spec: StudySpec, plan: Plan, store: Store, results: Results) -> ReportContent:
    """Everything on the page of a finished study."""
    manifests = {job.id: store.manifest(job.id) for job in plan.jobs}
    versions = manifests[plan.compare.id].versions
    total = sum(manifest.seconds for manifest in manifests.values())
    environment = [
        ("machine", manifests[plan.compare.id].machine),
        ("jobs", f"{len(plan.jobs)}, together {total:,.0f} s of work"),
        ("highest memory of a worker", f"{max(m.peak_memory_mib for m in manifests.values()):,.0f} MiB"),
        ("seed", str(spec.seed)),
        *versions.items(),
    ]
    return ReportContent(
        results=results,
        title=spec.name,
        summary=_summary(spec, results),
        samples=tuple(_samples(plan, store)),
        cards=tuple(_cards(plan, store)),
        training=tuple(_curves(plan, store)),
        jobs=tuple(
            JobRow(stage=job.stage, name=job.title, status="done", seconds=manifests[job.id].seconds)
            for job in plan.jobs
        ),
        environment=tuple(environment),
        links=(
            ("results.json", "../results.json"),
            ("study-as-run.yaml", "../study-as-run.yaml"),
            ("plan.json", "../plan.json"),
        ),
    )


def _summary(spec: StudySpec, results: Results) -> str:
    students = sum(model.role == "student" and not model.pooled for model in results.models)
    served = Path(spec.teacher.serve.hf).name if spec.teacher.serve is not None else ""
    teacher = spec.teacher.name or (spec.teacher.api.model if spec.teacher.api is not None else served)
    kinds = ", ".join(f"{name} ({data.data_kind})" for name, data in spec.data.items())
    return f"{students} students of {len(spec.bases)} bases imitate {teacher}. Imitation data: {kinds}."


def _samples(plan: Plan, store: Store) -> Iterator[Sample]:
    """Answers side by side: the teacher, each base, and each base's largest arms of every kind of data (first seed)."""
    shown = [model for model in plan.models if model.kind in (TEACHER, BASE)] + _largest_arms(plan)
    compare = plan.compare
    answers: dict[str, dict[str, Output]] = {}
    claims: dict[str, dict[str, list[Claim]]] = {}
    for model in shown:
        source = compare.inputs.get(f"answers.style|{model.name}") or compare.inputs.get(
            f"answers.preference|{model.name}"
        )
        if source is None:
            return
        outputs = read_jsonl(store.folder(source) / "outputs.jsonl", Output)
        answers[model.name] = {output.id: output for output in outputs}
        found: dict[str, list[Claim]] = {}
        checked = compare.inputs.get(f"claims|{model.name}")
        if checked is not None:
            for claim in read_jsonl(store.folder(checked) / "claims.jsonl", Claim):
                found.setdefault(claim.item, []).append(claim)
        claims[model.name] = found
    first = answers[shown[0].name]
    with_claims = sorted(first, key=lambda item: -len(claims[shown[0].name].get(item, ())))
    for item in sorted(with_claims[:SAMPLES]):
        yield Sample(
            item=item,
            prompt=first[item].prompt,
            answers=tuple(
                Answer(
                    model=name,
                    text=rows[item].response,
                    claims=tuple(claims[name].get(item, ())),
                    note="" if rows[item].status == "ok" else rows[item].status,
                )
                for name, rows in answers.items()
                if item in rows
            ),
        )


def _largest_arms(plan: Plan) -> list[Measured]:
    """For each base, data set and replay share the arm with most tokens, with its first seed."""
    best: dict[tuple[str, str, float], Measured] = {}
    for model in plan.models:
        if model.kind != STUDENT or model.arm is None:
            continue
        key = (model.arm.base, model.arm.data, model.arm.replay)
        held = best.get(key)
        if held is None or _size(model) > _size(held):
            best[key] = model
    return list(best.values())


def _size(model: Measured) -> float:
    assert model.arm is not None
    return float("inf") if model.arm.amount == "all" else float(model.arm.amount)


def _cards(plan: Plan, store: Store) -> Iterator[DataCard]:
    for job in plan.of_stage("curate"):
        folder = store.folder(job.id)
        found = read_json(folder / "curated.json", _Curated).decontamination
        said = ", ".join(f"{row.benchmark} {row.matched_items:,} of {row.items:,}" for row in found)
        gave_way = " or ".join(dict.fromkeys(_GAVE_WAY[row.dropped] for row in found))
        title = f"{job.subject}; evaluation items met in it: {said}; where met, {gave_way}" if said else job.subject
        yield DataCard(title=title, html=(folder / "card.html").read_text(encoding="utf-8"))


def _curves(plan: Plan, store: Store) -> Iterator[TrainingCurve]:
    for job in plan.of_stage("train"):
        record = read_json(_train_record(store, job), TrainRecord)
        tokens_at = {loss.step: loss.tokens for loss in record.losses}
        heldout = [entry for entry in record.heldout if entry.step in tokens_at]
        yield TrainingCurve(
            model=job.subject,
            tokens=tuple(loss.tokens for loss in record.losses),
            loss=tuple(loss.loss for loss in record.losses),
            heldout_tokens=tuple(tokens_at[entry.step] for entry in heldout),
            heldout_loss=tuple(entry.loss for entry in heldout),
        )


def _train_record(store: Store, job: Job) -> Path:
    return store.folder(job.id) / "student" / "train.json"
