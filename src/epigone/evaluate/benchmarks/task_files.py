"""From a :class:`BenchmarkSpec` to prompts: lm-eval's task, its data, its few-shot examples, the items to score.

The task object is lm-eval's own: it renders the prompts, filters the answers and computes the metrics. What this file
adds is where the data come from, which items are scored, and that all of it is the same for every model.
"""

from __future__ import annotations

import difflib
import json
import logging
import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from epigone.errors import DataError, EpigoneError, SpecError
from epigone.evaluate.benchmarks.data_source import find_splits, read_rows
from epigone.evaluate.benchmarks.harness import harness_library, harness_tasks
from epigone.evaluate.benchmarks.naming import BUILT_IN, task_path
from epigone.evaluate.benchmarks.process import Scoring
from epigone.evaluate.benchmarks.programs import PassesTests
from epigone.evaluate.benchmarks.spec import BenchmarkSpec
from epigone.evaluate.benchmarks.text_match import normalize_answer

__all__ = ["LoadedTask", "TaskItem", "load_tasks", "refuse_same_names"]

ID_COLUMNS = ("id", "item", "task_id", "question_id")


@dataclass(frozen=True)
class TaskItem:
    """One item to score.

    ``position``: where it stands in the scored split. ``context``: lm-eval's prompt with its examples (several for
    multiple-input tasks). ``question``: its own words, without instruction and examples.
    """

    id: str
    position: int
    doc: Mapping[str, Any]
    context: str | list[str]
    question: str
    reference: str
    cluster: str | None


@dataclass(frozen=True)
class LoadedTask:
    """A task with its items, ready for any number of models. ``harness``: lm-eval's task object."""

    name: str
    spec: BenchmarkSpec
    harness: Any
    items: tuple[TaskItem, ...]

    @property
    def scoring(self) -> Scoring | None:
        """Our scoring function, if the task file names one."""
        function = getattr(self.harness.config, "process_results", None)
        return function if isinstance(function, Scoring) else None


def load_tasks(specs: Sequence[BenchmarkSpec], *, seed: int) -> list[LoadedTask]:
    """Read the task files and their data, draw the few-shot examples and the items, render the prompts.

    The same specs and seed give the same prompts for every model. A group of lm-eval gives several tasks.

    Raises:
        SpecError: an unknown task, a faulty task file, two tasks of one name, more shots than examples.
        DataError: the data cannot be read, or an item lacks a column that the task's templates need.
    """
    loaded: list[LoadedTask] = []
    for spec in specs:
        with _quiet_harness():
            for harness, held_out in _build(spec, seed):
                loaded.append(_with_items(spec, harness, held_out, seed))
    refuse_same_names(loaded)
    return loaded


def refuse_same_names(tasks: Sequence[LoadedTask]) -> None:
    """Rows of two tasks of one name could not be told apart.

    Raises:
        SpecError: there are such tasks.
    """
    names = [task.name for task in tasks]
    for name in names:
        if names.count(name) > 1:
            raise SpecError("two benchmarks have this name", where=name, fix="give one of them another 'name'")


# ---------------------------------------------------------------------------------------------- lm-eval's task object


def _build(spec: BenchmarkSpec, seed: int) -> list[tuple[Any, frozenset[int]]]:
    """lm-eval task objects with the rows (positions in the scored split) that serve as few-shot examples."""
    path = task_path(spec)
    if path is None:
        return [(_prepare(harness, seed), frozenset()) for harness in _harness_tasks(spec)]
    if not path.is_file():
        raise SpecError(
            "no such task file", where=spec.task, fix=f"give a path that exists, or one of {', '.join(BUILT_IN)}"
        )
    try:
        config = harness_library().load_yaml(path)
    except Exception as error:  # a task file imports Python: anything can go wrong, and all of it is the file's fault
        raise SpecError(f"not a valid task file: {type(error).__name__}: {error}", where=str(path)) from error
    if "task" not in config:
        raise SpecError("the task file has no 'task' (its name)", where=str(path))
    config = _override(config, spec)
    held_out = _place_data(config, spec, path, seed)
    return [(_prepare(_instantiate(config, path), seed), held_out)]


def _instantiate(config: dict[str, Any], path: Path) -> Any:
    try:
        return next(iter(harness_library().TaskManager(include_defaults=False).load([config])["tasks"].values()))
    except EpigoneError:
        raise
    except (ConnectionError, FileNotFoundError) as error:  # the data sets library raises both when it is offline
        fix = "give local files with 'data', or check the connection"
        raise DataError(f"the data cannot be reached: {error}", where=str(path), fix=fix) from error
    except Exception as error:  # lm-eval renders the first item here: the file's templates meet the data's columns
        problem = f"lm-eval cannot build the task: {type(error).__name__}: {error}"
        fix = "look whether the data has the columns that the task file's templates read ('fields' renames columns)"
        raise SpecError(problem, where=str(path), fix=fix) from error


def _harness_tasks(spec: BenchmarkSpec) -> list[Any]:
    manager = harness_tasks()
    if spec.task not in manager.all_tasks:
        near = difflib.get_close_matches(spec.task, sorted({*BUILT_IN, *manager.all_tasks}), n=3)
        fix = f"did you mean {' or '.join(near)}? " if near else ""
        raise SpecError(
            "no such benchmark", where=spec.task, fix=f"{fix}built in: {', '.join(BUILT_IN)}; or any task of lm-eval"
        )
    if spec.data is not None or spec.fields:
        fix = "copy its task file, give 'dataset_path: json' and the path of the copy"
        raise SpecError("'data' and 'fields' work with task files, not with lm-eval's names", where=spec.task, fix=fix)
    try:
        tasks = list(manager.load([spec.task])["tasks"].values())
    except Exception as error:
        raise DataError(
            f"lm-eval cannot load the task: {type(error).__name__}: {error}",
            where=spec.task,
            fix="check the connection to the hub, or use a task file with local data",
        ) from error
    for task in tasks:
        for key, value in _override({"generation_kwargs": task.config.generation_kwargs}, spec).items():
            if value is not None:
                task.set_config(key, value)
    return tasks


def _override(config: dict[str, Any], spec: BenchmarkSpec) -> dict[str, Any]:
    """The task file's settings with the spec's in their place."""
    config = dict(config)
    if spec.shots is not None:
        config["num_fewshot"] = spec.shots
    if spec.allow_unconfined and isinstance(config.get("process_results"), PassesTests):
        config["process_results"] = PassesTests(allow_unconfined=True)
    if spec.samples is not None:
        config["repeats"] = spec.samples
    generation = dict(config.get("generation_kwargs") or {})
    if spec.max_tokens is not None:
        generation["max_gen_toks"] = spec.max_tokens
    if spec.temperature is not None:
        generation |= {"temperature": spec.temperature, "do_sample": spec.temperature > 0}
    if generation:
        config["generation_kwargs"] = generation
    return config


def _prepare(harness: Any, seed: int) -> Any:
    if harness.config.num_fewshot is None:
        harness.set_config("num_fewshot", 0)
    harness.set_fewshot_seed(seed)
    return harness


# ---------------------------------------------------------------------------------------------- data


def _place_data(config: dict[str, Any], spec: BenchmarkSpec, path: Path, seed: int) -> frozenset[int]:
    """Give the task its rows from local files, if there are any; the positions taken as few-shot examples."""
    shots = int(config.get("num_fewshot") or 0)
    scored = config.get("test_split") or config.get("validation_split")
    if scored is None:
        raise SpecError("the task file names neither 'test_split' nor 'validation_split'", where=str(path))
    pool = _pool_split(config) or scored
    local = spec.data if spec.data is not None else _own_files(config, path)
    if local is None:
        return frozenset()
    splits = [scored, *([pool] if shots and pool != scored else [])]
    known = [scored, pool, *(config[key] for key in ("training_split", "validation_split") if config.get(key))]
    found = find_splits(local, list(dict.fromkeys(known)))
    rows = {split: read_rows(file, spec.fields) for split, file in found.items() if split in splits}
    held_out: frozenset[int] = frozenset()
    if shots and (pool == scored or pool not in rows) and "samples" not in (config.get("fewshot_config") or {}):
        # One file for both: the examples are drawn from it by seed, and leave the scored set.
        drawn = random.Random(seed).sample(range(len(rows[scored])), min(shots, len(rows[scored])))
        held_out = frozenset(drawn)
        pool = pool if pool != scored else "epigone_shots"
        config["fewshot_split"] = pool
        rows[pool] = [rows[scored][position] for position in drawn]
    for key in ("training_split", "validation_split", "fewshot_split"):
        if config.get(key) not in rows:
            config.pop(key, None)
    tables = {split: _table(content, found.get(split, path)) for split, content in rows.items()}
    config["custom_dataset"] = lambda **_: tables
    config.pop("dataset_kwargs", None)
    return held_out


def _pool_split(config: Mapping[str, Any]) -> str | None:
    """The split that few-shot examples come from, by lm-eval's own order of preference."""
    named = config.get("fewshot_split") or (config.get("fewshot_config") or {}).get("split")
    return named or config.get("training_split") or config.get("validation_split")


def _own_files(config: Mapping[str, Any], path: Path) -> dict[str, Path] | None:
    """The local files that a task file names itself (``dataset_path: json``), relative to its own folder."""
    if config.get("dataset_path") not in ("json", "csv", "parquet"):
        return None
    named = (config.get("dataset_kwargs") or {}).get("data_files")
    if not isinstance(named, Mapping):
        fix = "write dataset_kwargs: {data_files: {train: train.jsonl, test: test.jsonl}}"
        raise SpecError("'data_files' must map each split to one file", where=str(path), fix=fix)
    single = {split: files[0] if isinstance(files, list) else files for split, files in named.items()}
    return {split: path.parent / str(file) for split, file in single.items()}


def _table(rows: list[dict[str, Any]], where: Path) -> Any:
    try:
        return harness_library().Dataset.from_list(rows)
    except Exception as error:  # pyarrow's own errors share no base
        raise DataError(f"a column holds values of different kinds: {error}", where=str(where)) from error


# ---------------------------------------------------------------------------------------------- items


def _with_items(spec: BenchmarkSpec, harness: Any, held_out: frozenset[int], seed: int) -> LoadedTask:
    name = spec.name or str(harness.config.task)
    shots = int(harness.config.num_fewshot or 0)
    pool = list(harness.sampler.df) if shots else []
    if shots > len(pool):
        raise SpecError(f"{shots} shots asked for, and there are {len(pool)} examples to draw from", where=name)
    if getattr(harness.sampler, "same_for_all_items", False):
        pool = list(harness.sampler.sample(shots))
    if harness.fewshot_cfg.split == harness.config.test_split:
        pool = []  # lm-eval keeps each item out of its own examples
    try:
        shown = {_text(harness, example) for example in pool}
        excluded = _excluded_questions(spec.exclude)
        docs = list(harness.eval_docs)
        ids = _item_ids(docs)
        kept = [
            position
            for position, doc in enumerate(docs)
            if position not in held_out
            and not (shown and _text(harness, doc) in shown)
            and not (excluded and normalize_answer(_question(harness, doc)) in excluded)
        ]
        if spec.items is not None and spec.items < len(kept):
            kept = sorted(random.Random(seed).sample(kept, spec.items))
        items = tuple(_item(harness, docs[position], ids[position], position) for position in kept)
    except EpigoneError:
        raise
    except Exception as error:  # templates and process functions are the task file's own code
        raise DataError(f"an item does not fit the task file: {type(error).__name__}: {error}", where=name) from error
    if not items:
        raise DataError("no items left to score", where=name, fix="check 'exclude' and the data")
    return LoadedTask(name=name, spec=spec, harness=harness, items=items)


def _item(harness: Any, doc: Mapping[str, Any], identity: str, position: int) -> TaskItem:
    context = harness.fewshot_context(
        doc, num_fewshot=harness.config.num_fewshot or 0, gen_prefix=harness.doc_to_prefix(doc)
    )
    scoring = harness.config.process_results
    reference = scoring.reference(doc) if isinstance(scoring, Scoring) else _readable_target(harness, doc)
    field = (harness.config.metadata or {}).get("cluster")
    return TaskItem(
        id=identity,
        position=position,
        doc=doc,
        context=context,
        question=_question(harness, doc),
        reference=reference,
        cluster=None if field is None else str(doc[field]),
    )


def _readable_target(harness: Any, doc: Mapping[str, Any]) -> str:
    target = harness.doc_to_target(doc)
    if isinstance(target, int) and harness.config.doc_to_choice is not None:
        return str(harness.doc_to_choice(doc)[target])
    return " | ".join(map(str, target)) if isinstance(target, list) else str(target)


def _question(harness: Any, doc: Mapping[str, Any]) -> str:
    """An item's own text, without instruction and examples."""
    return str(doc["question"]) if "question" in doc else _text(harness, doc)


def _text(harness: Any, doc: Mapping[str, Any]) -> str:
    """An item as it stands in a prompt: two items with one question and other choices are two items."""
    text = harness.doc_to_text(doc)
    if not isinstance(text, str):  # lm-eval's multiple-input tasks give the index of a choice here
        text = json.dumps(doc, default=str, sort_keys=True)
    return " ".join(text.split())


def _excluded_questions(excluded: Sequence[Path]) -> set[str]:
    rows = (row for file in excluded for row in read_rows(file, {"question": "question"}))
    return {normalize_answer(str(row["question"])) for row in rows}


def _item_ids(docs: Sequence[Mapping[str, Any]]) -> list[str]:
    """The items' own ids where a column holds distinct ones, else their positions in the file."""
    for column in ID_COLUMNS:
        values = [doc.get(column) for doc in docs]
        if all(isinstance(value, str | int) for value in values) and len(set(values)) == len(values):
            return [str(value) for value in values]
    return [f"{position:05d}" for position in range(len(docs))]


@contextmanager
def _quiet_harness() -> Iterator[None]:
    """Keep lm-eval's advice out of the user's terminal: what matters of it is checked here and raised as an error."""
    logger = logging.getLogger("lm_eval")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)
