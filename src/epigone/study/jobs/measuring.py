"""What a model does: benchmark items, free-text answers, continuations."""

from __future__ import annotations

from typing import Any

import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from epigone.collect import read_prompts
from epigone.disk import write_json, write_jsonl
from epigone.evaluate.answers import AnswerSettings
from epigone.evaluate.answers import answer_prompts as ask_prompts
from epigone.evaluate.benchmarks import BenchmarkSpec, run_benchmarks
from epigone.evaluate.toxicity import ToxicitySpec, run_toxicity
from epigone.models import TextModel
from epigone.study.externals import attach
from epigone.study.job import JobContext
from epigone.study.jobs.asking import asked_model

__all__ = ["ModelFacts", "answer_prompts", "measure_toxicity", "run_benchmark"]


class ModelFacts(Struct, frozen=True):
    """``model.json``: what the measured model is. ``None`` where an endpoint does not say."""

    parameters: int | None


class _BenchmarkParams(Struct, frozen=True):
    benchmark: dict[str, Any]
    chat: bool
    seed: int


def run_benchmark(context: JobContext) -> None:
    """Write ``items.jsonl``: one row an item, the model's name left open (a job does not know what it is called)."""
    params = context.params(_BenchmarkParams)
    spec = attach(BenchmarkSpec, params.benchmark, context)
    with asked_model(context) as model:
        rows = run_benchmarks(model, [spec], chat=params.chat, seed=params.seed, progress=context.progress)
        _note_model(context, model)
    write_jsonl(context.folder / "items.jsonl", [replace(row, model="") for row in rows])


class _ToxicityParams(Struct, frozen=True):
    toxicity: dict[str, Any]
    chat: bool
    seed: int


def measure_toxicity(context: JobContext) -> None:
    """Write ``items.jsonl``: one row a prompt."""
    params = context.params(_ToxicityParams)
    spec = attach(ToxicitySpec, params.toxicity, context)
    with asked_model(context) as model:
        rows = run_toxicity(model, spec, chat=params.chat, seed=params.seed, progress=context.progress)
        _note_model(context, model)
    write_jsonl(context.folder / "items.jsonl", [replace(row, model="") for row in rows])


class _AnswerParams(Struct, frozen=True):
    chat: bool
    seed: int
    max_tokens: int
    items: int | None
    stop: tuple[str, ...]
    temperature: float
    sample: int


def answer_prompts(context: JobContext) -> None:
    """Write ``outputs.jsonl``: an answer to each prompt, in the form that ``epigone style`` and ``judge`` read."""
    params = context.params(_AnswerParams)
    prompts = read_prompts(context.file("prompts"))
    if params.items is not None and params.items < len(prompts):
        chosen = np.random.default_rng(params.seed).choice(len(prompts), params.items, replace=False)
        prompts = [prompts[index] for index in sorted(chosen.tolist())]
    settings = AnswerSettings(
        max_tokens=params.max_tokens,
        temperature=params.temperature,
        stop=params.stop,
        first_sample=params.sample,
    )
    with asked_model(context) as model:
        outputs = ask_prompts(model, prompts, settings, chat=params.chat, seed=params.seed, progress=context.progress)
        _note_model(context, model)
    write_jsonl(context.folder / "outputs.jsonl", [replace(output, model="", sample=0) for output in outputs])


def _note_model(context: JobContext, model: TextModel) -> None:
    write_json(context.folder / "model.json", ModelFacts(model.parameters))
