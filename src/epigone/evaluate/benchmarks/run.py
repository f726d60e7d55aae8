"""Benchmarks: lm-eval's tasks asked of any of our models, one :class:`ItemScore` for each item."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from itertools import islice
from numbers import Real
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from epigone.disk import digest_json
from epigone.evaluate.benchmarks.ledger import Ledger
from epigone.evaluate.benchmarks.process import accepted_answers
from epigone.evaluate.benchmarks.programs import PassesTests
from epigone.evaluate.benchmarks.requests import (
    StopRule,
    answer_of,
    generation_request,
    likelihood_of,
    score_request,
    stop_rule,
)
from epigone.evaluate.benchmarks.spec import BenchmarkSpec
from epigone.evaluate.benchmarks.task_files import LoadedTask, TaskItem, load_tasks, refuse_same_names
from epigone.models.protocol import Progress, TextModel
from epigone.records import ItemScore, ItemStatus

__all__ = ["EvaluationText", "evaluation_texts", "run_benchmarks"]

UNLISTED = float("-inf")


class EvaluationText(NamedTuple):
    """A scored item's own words, for decontamination."""

    benchmark: str
    item: str
    prompt: str
    answers: tuple[str, ...]


def evaluation_texts(specs: Sequence[BenchmarkSpec], seed: int) -> list[EvaluationText]:
    """The scored items of all benchmarks: question without examples, and accepted answers."""
    return [
        EvaluationText(task.name, item.id, item.question, _answers(item))
        for task in load_tasks(specs, seed=seed)
        for item in task.items
    ]


def run_benchmarks(
    model: TextModel,
    specs: Sequence[BenchmarkSpec | LoadedTask],
    *,
    chat: bool,
    seed: int,
    out: Path | None = None,
    progress: Progress | None = None,
) -> list[ItemScore]:
    """Score a model: tasks in order, items in the order of their file.

    Args:
        specs: benchmarks, or tasks already loaded by :func:`load_tasks` with the same seed (to score several models).
        chat: whether the prompt travels as one user message, with the model's turn tokens around it (teachers and
            students) or as plain text (bases).
        seed: draws the few-shot examples and items, and seeds sampling.
        out: a folder for ``items.parquet`` and ``evaluation.json``; scored items in it are not asked again.

    Raises:
        SpecError, DataError: from loading the tasks; ``out`` holds results of another model, seed or setting.
        SandboxError: a task runs programs that cannot be confined here; nothing has been asked then.
        EndpointError, BudgetExceeded: from the model; everything scored so far is in ``out``.
    """
    tasks = _load_what_is_not(specs, seed)
    asker = {"model": model.name, "chat": chat, "seed": seed}
    ledger = Ledger(out, asker, {task.name: _record(task) for task in tasks})
    total = sum(len(task.items) for task in tasks)
    results: list[ItemScore] = []
    for task in tasks:
        asked = _Asked(model, task, chat, seed)

        def report(done: int, _: int | None, before: int = len(results)) -> None:
            if progress:
                progress(before + done, total)

        results += ledger.complete(task.name, asked.digests, asked.score, problems=asked.problems, progress=report)
    return results


class _Asked:
    """One task put to one model: instances out, item scores back."""

    def __init__(self, model: TextModel, task: LoadedTask, chat: bool, seed: int) -> None:
        self.model, self.task, self.chat, self.seed = model, task, chat, seed
        self.kind = task.harness.OUTPUT_TYPE
        self.repeats = int(task.harness.config.repeats or 1)
        self.problems: Counter[str] = Counter()
        self._items = {item.id: item for item in task.items}
        self.digests = {item.id: self._digest(item) for item in task.items}

    def _digest(self, item: TaskItem) -> str:
        """What was asked, the same for every model: prompt, choices, stop rule."""
        arguments = [list(instance.args) for instance in self._instances(item, chat=False)]
        return digest_json([self.kind, arguments, self.repeats])

    def score(self, names: Sequence[str], progress: Progress) -> list[ItemScore]:
        """Ask for these items at once; lm-eval's filters and metrics score those that were answered."""
        items = [self._items[name] for name in names]
        instances = [self._instances(item, chat=self.chat) for item in items]
        flat = [instance for group in instances for instance in group]
        statuses = self._ask_text(flat, progress) if self.kind == "generate_until" else self._ask_score(flat, progress)
        answered = [instance for instance, status in zip(flat, statuses, strict=True) if status == "ok"]
        self.task.harness._instances = answered  # where lm-eval's filters look for them
        if answered:
            self.task.harness.apply_filters()
        following = iter(statuses)
        return [
            self._item_score(item, group, list(islice(following, len(group))))
            for item, group in zip(items, instances, strict=True)
        ]

    def _instances(self, item: TaskItem, *, chat: bool) -> list[Any]:
        made = self.task.harness.construct_requests(
            doc=item.doc,
            ctx=item.context,
            metadata=(self.task.name, item.id, self.repeats),
            apply_chat_template=chat,
        )
        return made if isinstance(made, list) else [made]

    def _ask_text(self, flat: Sequence[Any], progress: Progress) -> list[ItemStatus]:
        """Generate ``repeats`` answers for each instance; the status of an instance is that of its worst answer."""
        rules: list[StopRule] = [stop_rule(instance.args[1]) for instance in flat]
        requests = [
            generation_request(instance.args[0], rule, chat=self.chat, seed=self.seed, sample=sample)
            for instance, rule in zip(flat, rules, strict=True)
            for sample in range(self.repeats)
        ]
        replies = iter(self.model.generate(requests, progress))
        statuses: list[ItemStatus] = []
        for instance, rule in zip(flat, rules, strict=True):
            drawn = list(islice(replies, self.repeats))
            answers = [answer_of(reply, rule) for reply in drawn]
            instance.resps = [text for text, _ in answers]
            instance.cut_share = sum(reply.status == "length" for reply in drawn) / self.repeats
            statuses.append(next((status for _, status in answers if status != "ok"), "ok"))
            self.problems.update(str(reply.error) for reply in drawn if reply.error)
        return statuses

    def _ask_score(self, flat: Sequence[Any], progress: Progress) -> list[ItemStatus]:
        """Log-probabilities of the continuations; a rolling request scores its text from the beginning."""
        rolling = self.kind == "loglikelihood_rolling"
        pairs = [("", instance.args[0]) if rolling else instance.args[:2] for instance in flat]
        replies = self.model.score([score_request(*pair, chat=self.chat and not rolling) for pair in pairs], progress)
        statuses: list[ItemStatus] = []
        listed = {instance.doc_id for instance, reply in zip(flat, replies, strict=True) if reply.status == "ok"}
        for instance, reply in zip(flat, replies, strict=True):
            found = likelihood_of(reply)
            if found is None and self.chat and instance.doc_id in listed and len(instance.args[1].strip()) == 1:
                # An endpoint lists only the likeliest first tokens. A letter that is not listed, where another one of
                # the same item is, is less likely than that one: how much less is unknown, which is chosen is not.
                found = (UNLISTED, False)
            instance.resps = [found[0] if rolling and found else found]
            statuses.append("failed" if found is None else "ok")
            self.problems.update([str(reply.error)] if reply.error and found is None else [])
        return statuses

    def _item_score(self, item: TaskItem, group: Sequence[Any], statuses: Sequence[ItemStatus]) -> ItemScore:
        status: ItemStatus = next((one for one in statuses if one != "ok"), "ok")
        scores: dict[str, float] = {}
        if status == "ok":
            names = list(group[0].filtered_resps)
            for name in names:
                found = self.task.harness.process_results(item.doc, [one.filtered_resps[name] for one in group])
                suffix = f",{name}" if len(names) > 1 else ""  # lm-eval's own way to name a metric of several filters
                scores |= {f"{key}{suffix}": float(value) for key, value in found.items() if _is_number(value)}
            if self.kind == "generate_until":
                scores["cut"] = group[0].cut_share
        raw, extracted = self._shown(group, status)
        return ItemScore(
            model=self.model.name,
            task=self.task.name,
            item=item.id,
            scores=scores,
            status=status,
            cluster=item.cluster,
            prompt_digest=self.digests[item.id],
            raw=raw,
            extracted=extracted,
            reference=item.reference,
        )

    def _shown(self, group: Sequence[Any], status: ItemStatus) -> tuple[str | None, str | None]:
        """(raw answer, extracted answer), for people: the text, or each choice with its log-probability."""
        if self.kind == "generate_until":
            texts = [text for text in group[0].resps if text is not None]
            if not texts:
                return None, None
            raw = texts[0] if self.repeats == 1 else json.dumps(texts, ensure_ascii=False)
            scoring = self.task.scoring
            if status != "ok" or scoring is not None:
                return raw, scoring.extract(texts[0]) if scoring else None
            return raw, str(next(iter(group[0].filtered_resps.values())))
        if status != "ok" or self.kind != "multiple_choice":
            return None, None
        choices = {instance.args[1].strip(): instance.resps[0][0] for instance in group}
        shown = {choice: None if value == UNLISTED else round(value, 4) for choice, value in choices.items()}
        return json.dumps(shown, ensure_ascii=False), max(choices, key=choices.__getitem__)


def _load_what_is_not(specs: Sequence[BenchmarkSpec | LoadedTask], seed: int) -> list[LoadedTask]:
    tasks: list[LoadedTask] = []
    for spec in specs:
        tasks += [spec] if isinstance(spec, LoadedTask) else load_tasks([spec], seed=seed)
    refuse_same_names(tasks)
    return tasks


def _record(task: LoadedTask) -> dict[str, Any]:
    """What was done, for the reader of the results: stop rules, lengths and extraction are equal for all models."""
    config = task.harness.config
    record = {
        "task": task.spec.task,
        "kind": task.harness.OUTPUT_TYPE,
        "shots": int(config.num_fewshot or 0),
        "items": len(task.items),
        "generation": dict(getattr(config, "generation_kwargs", None) or {}),
        "samples": int(config.repeats or 1),
        "scoring": type(task.scoring).__name__ if task.scoring else "lm-eval",
        "prompts": digest_json([item.context for item in task.items]),
    }
    return record | ({"sandbox": task.scoring.confine().describe()} if isinstance(task.scoring, PassesTests) else {})


def _answers(item: TaskItem) -> tuple[str, ...]:
    if isinstance(item.doc.get("choices"), list) or ("answer" not in item.doc and "answers" not in item.doc):
        return (item.reference,)
    return tuple(accepted_answers(item.doc))


def _is_number(value: object) -> bool:
    """Whether a metric's value stands for one item; some of lm-eval's (F1, Brier) are pairs for a later step."""
    return isinstance(value, Real | np.bool_)
