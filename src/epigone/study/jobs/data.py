"""Imitation data: what will be scored, what the teacher says, what is left after curation."""

from __future__ import annotations

from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from msgspec import Struct

from epigone.collect import (
    AnswerSpec,
    Collected,
    ImportSpec,
    SummariesSpec,
    SynthesizeSpec,
    answer,
    import_dump,
    read_examples,
    read_passages,
    read_prompts,
    read_seeds,
    synthesize,
    write_collected,
    write_summaries,
)
from epigone.curate import CurateSpec, Curation, EvaluationText, curate_to_folder, read_collections, read_conversations
from epigone.disk import read_jsonl, write_json, write_jsonl
from epigone.errors import DataError, SpecError
from epigone.evaluate.benchmarks import BenchmarkSpec, evaluation_texts
from epigone.models import TextModel
from epigone.records import Conversation, Drop
from epigone.study.externals import attach, attach_list
from epigone.study.job import JobContext
from epigone.study.jobs.asking import judge_model, teacher_model
from epigone.study.student_tokens import StudentTokens
from epigone.train import ChatFormat

__all__ = ["collect_data", "curate_data", "list_evaluation_items"]


class _ItemsParams(Struct, frozen=True):
    benchmarks: dict[str, dict[str, Any]]
    prompts: list[str]
    seed: int


def list_evaluation_items(context: JobContext) -> None:
    """Write ``items.jsonl``: every prompt that will be scored, with its gold answers."""
    params = context.params(_ItemsParams)
    specs = list(attach_list(BenchmarkSpec, params.benchmarks, context).values())
    texts = [
        EvaluationText(benchmark=text.benchmark, item=text.item, prompt=text.prompt, answers=text.answers)
        for text in evaluation_texts(specs, params.seed)
    ]
    for name in params.prompts:
        for prompt in read_prompts(context.file(f"prompts.{name}")):
            turns = [message.content for message in prompt.messages if message.role == "user"]
            texts.append(EvaluationText(benchmark=name, item=prompt.id, prompt="\n".join(turns)))
    write_jsonl(context.folder / "items.jsonl", texts)


class _CollectParams(Struct, frozen=True):
    source: str
    terms: str
    asked: dict[str, dict[str, Any]]
    imports: dict[str, dict[str, Any]]
    seed: int


def collect_data(context: JobContext) -> None:
    """Write ``conversations.jsonl``, ``drops.jsonl`` and ``collected.json`` from every way that the data set names."""
    params = context.params(_CollectParams)
    parts = [_read_dump(context, plain) for plain in params.imports.values()]
    if params.asked:
        with teacher_model(context) as model:
            parts += [_ask(context, params, way, plain, model) for way, plain in params.asked.items()]
    write_collected(_joined(parts), context.folder)


def _joined(parts: list[Collected]) -> Collected:
    """Several ways of one data set as one; counts add up, the longest yield curve stays."""
    stats: Counter[str] = Counter()
    for part in parts:
        stats.update(part.stats)
    return Collected(
        conversations=tuple(conversation for part in parts for conversation in part.conversations),
        drops=tuple(drop for part in parts for drop in part.drops),
        stats={name: float(count) for name, count in stats.items()},
        yield_curve=max((part.yield_curve for part in parts), key=len, default=()),
        stopped="; ".join(part.stopped for part in parts if part.stopped),
    )


def _read_dump(context: JobContext, plain: dict[str, Any]) -> Collected:
    spec = attach(ImportSpec, plain, context)
    conversations: list[Conversation] = []
    drops: list[Drop] = []
    for record in import_dump(spec):
        if isinstance(record, Conversation):
            conversations.append(record)
        else:
            drops.append(record)
        context.progress(len(conversations), None)
    stats = {"conversations": float(len(conversations)), "drops": float(len(drops))}
    return Collected(conversations=tuple(conversations), drops=tuple(drops), stats=stats, stopped="end of the file")


def _ask(context: JobContext, params: _CollectParams, way: str, plain: dict[str, Any], model: TextModel) -> Collected:
    common: dict[str, Any] = {
        "seed": params.seed,
        "source": params.source,
        "terms": params.terms,
        "progress": context.progress,
    }
    if way == "answer":
        answers = attach(AnswerSpec, plain, context)
        return answer(answers, read_prompts(_given(answers.prompts, "answer.prompts")), model, **common)
    if way == "synthesize":
        pairs = attach(SynthesizeSpec, plain, context)
        items = read_jsonl(context.inputs["items"] / "items.jsonl", EvaluationText)
        exclude = {item.prompt for item in items}
        return synthesize(pairs, read_seeds(_given(pairs.seeds, "synthesize.seeds")), model, exclude=exclude, **common)
    spec = attach(SummariesSpec, plain, context)
    examples = read_examples(_given(spec.examples, "summaries.examples"))
    passages = read_passages(_given(spec.passages, "summaries.passages"))
    return write_summaries(spec, examples, passages, model, **common)


def _given(path: Path | None, key: str) -> Path:
    """A file that a study must name although the room's own function can do without.

    Raises:
        SpecError: it is not named.
    """
    if path is None:
        raise SpecError(f"'{key}' names no file", where="data", fix="name the file in the study")
    return path


class _CurateParams(Struct, frozen=True):
    source: str
    recipe: dict[str, Any]
    seed: int
    chat_format: ChatFormat = "turn_tokens"


def curate_data(context: JobContext) -> None:
    """Write the curated folder: conversations, drops, audit, support of every item, funnel and data card."""
    params = context.params(_CurateParams)
    spec = attach(CurateSpec, params.recipe, context)
    items = read_jsonl(context.inputs["items"] / "items.jsonl", EvaluationText)
    tokens = None
    if spec.tokenizer is not None:
        tokens = StudentTokens(spec.tokenizer, chat_format=params.chat_format)
    with ExitStack() as opened:
        judge = opened.enter_context(judge_model(context, spec.labeller)) if spec.labeller is not None else None
        curation = Curation(spec, seed=params.seed, evaluation=items, judge=judge, tokens=tokens)
        collected = [context.inputs["collected"]]
        records, collections = read_conversations(collected), read_collections(collected)
        curated = curate_to_folder(curation, records, context.folder, title=params.source, collections=collections)
    if not (context.folder / "conversations.jsonl").stat().st_size:
        raise DataError(
            "no conversation is left after curation",
            where=context.job.title,
            fix=f"see drops.jsonl in {context.folder} for the reasons",
        )
    write_json(context.folder / "excluded_items.json", curated.excluded_items)
