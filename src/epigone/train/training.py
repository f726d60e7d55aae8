"""The room's entrances: train a student on conversations, or a base from nothing on text."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers.utils import logging as hf_logging

from epigone.disk import digest_folder, digest_json
from epigone.errors import DataError, ModelError, SpecError
from epigone.records import Conversation
from epigone.train.adapters import add_adapters
from epigone.train.batches import Order
from epigone.train.capacity import check_disk, check_memory, memory_needs, micro_batch_blocks
from epigone.train.chat import open_chat
from epigone.train.checkpoint import Checkpoints
from epigone.train.course import Course
from epigone.train.distil import Teacher, open_teacher
from epigone.train.examples import (
    Example,
    Examples,
    count_tokens,
    encode_conversations,
    encode_data,
    encode_texts,
    hold_out,
)
from epigone.train.loop import Progress, run_course
from epigone.train.machine import choose_device
from epigone.train.normalization import normalize_in_parts
from epigone.train.objective import Objective
from epigone.train.optimizers import build_optimizer
from epigone.train.packing import pack
from epigone.train.parallel import Team, join_team, shard
from epigone.train.record import TrainRecord
from epigone.train.spec import TrainSpec
from epigone.train.student_folder import FORMAT, MACHINE_FIELDS, Material, make_record, save_student
from epigone.train.student_model import (
    context_tokens,
    new_config,
    new_model,
    open_base,
    open_config,
    open_tokenizer,
    recompute_activations,
    resize_embeddings,
    revision_of,
    token_of,
)
from epigone.train.trackers import open_trackers
from epigone.train.weights import Weights, choose_precision, round_weights

__all__ = ["count_conversation_tokens", "count_text_tokens", "pretrain", "show_tokens", "train_student"]


def train_student(
    spec: TrainSpec,
    *,
    base: Path | str,
    conversations: Sequence[Conversation],
    out: Path,
    seed: int,
    replay: Sequence[str] = (),
    heldout: Sequence[Conversation] = (),
    work: Path | None = None,
    progress: Progress | None = None,
) -> TrainRecord:
    """Train ``base`` on ``conversations``, with ``replay`` text mixed in under a plain language-model loss.

    Args:
        base: a Hugging Face folder or hub id; it is not changed.
        out: becomes a Hugging Face folder with chat template, ``train.json`` and ``timing.json``; appears whole.
        seed: of the order of the data, of new weights and of dropout.
        heldout: conversations whose loss is measured, not learnt, besides those that ``spec.heldout_share`` keeps out.
        work: folder of the checkpoints; a call with the same arguments and ``work`` goes on where the last one stopped.

    Raises:
        DataError: no conversations, or one that cannot be learnt from.
        ModelError: the base, its tokenizer or the teacher of a distillation cannot be used.
        DiskError: too little space for the student and the checkpoints.
        TrainingError: too little memory; the loss is lost.
    """
    kept, measured = hold_out(conversations, spec.heldout_share, seed)
    measured = [*heldout, *measured]
    run = _Run(out, work, seed, progress)
    with _torch_settings(spec, seed), _joined(spec) as (device, team):
        tokenizer = open_tokenizer(base)
        before = len(tokenizer)
        chat = open_chat(tokenizer, spec.chat_format)
        _check_room(spec, open_config(base), device, team, run)
        teacher = open_teacher(spec, tokenizer)
        model = open_base(base)
        like = None if spec.new_tokens_like is None else token_of(tokenizer, spec.new_tokens_like)
        resize_embeddings(model, len(tokenizer), len(tokenizer) - before, like=like)
        material = Material(
            kind="student",
            base=Path(base).name if Path(base).is_dir() else str(base),
            base_revision=revision_of(base),
            base_digest=_digest_model(base),
            teacher_digest=None if spec.distil is None else _digest_model(spec.distil.hf),
            new_tokens=chat.new_tokens,
            encoded=encode_data(tokenizer, chat, kept, replay, spec),
            conversations=len(kept),
            texts=len(replay),
            heldout=encode_conversations(tokenizer, chat, measured, spec).examples if measured else (),
        )
        course = _prepare(spec, model, material, run, device, team, teacher)
        return _train(course, tokenizer, material, run)


def pretrain(
    spec: TrainSpec,
    *,
    config: Mapping[str, object],
    tokenizer: Path,
    texts: Sequence[str],
    out: Path,
    seed: int,
    work: Path | None = None,
    progress: Progress | None = None,
) -> TrainRecord:
    """Train a model from random weights on plain text: every token is learnt.

    Args:
        config: of transformers: ``model_type`` and its keys; ``vocab_size`` is taken from the tokenizer.
        tokenizer: folder of a fast tokenizer with an end token.
        texts: a document each; an end token closes it.

    Raises, and the other arguments: as :func:`train_student`.
    """
    if not texts:
        raise DataError("there are no texts to train on", fix="give at least one document")
    run = _Run(out, work, seed, progress)
    with _torch_settings(spec, seed), _joined(spec) as (device, team):
        opened = open_tokenizer(tokenizer)
        open_chat(opened, "koala")  # refuses a tokenizer without offsets or end token
        opened = open_tokenizer(tokenizer)
        given = {"bos_token_id": opened.bos_token_id, "eos_token_id": opened.eos_token_id, **config}
        given.setdefault("pad_token_id", opened.pad_token_id)
        made = new_config(given, len(opened))
        _check_room(spec, made, device, team, run)
        teacher = open_teacher(spec, opened)
        model = new_model(made, seed=seed)
        material = Material(
            kind="pretrained",
            base=str(config["model_type"]),
            base_revision=None,
            base_digest=digest_json(dict(config)),
            teacher_digest=None if spec.distil is None else _digest_model(spec.distil.hf),
            new_tokens=(),
            encoded=Examples(tuple(encode_texts(opened, texts, spec, name="text")), {}),
            conversations=0,
            texts=len(texts),
            heldout=(),
        )
        course = _prepare(spec, model, material, run, device, team, teacher)
        return _train(course, opened, material, run)


def count_conversation_tokens(
    tokenizer: Path | str, conversations: Sequence[Conversation], spec: TrainSpec
) -> list[int]:
    """Tokens of each conversation as a student would see it, its markers and end tokens included."""
    opened = open_tokenizer(tokenizer)
    return count_tokens(opened, open_chat(opened, spec.chat_format), conversations)


def count_text_tokens(tokenizer: Path | str, texts: Sequence[str]) -> list[int]:
    """Tokens of each plain text as a student would see it, the end token included."""
    opened = open_tokenizer(tokenizer)
    whole = TrainSpec(packing="cut")
    return [len(example.ids) for example in encode_texts(opened, texts, whole, name="text")]


def show_tokens(tokenizer: Path | str, conversation: Conversation, spec: TrainSpec) -> list[tuple[str, bool]]:
    """A conversation (its first block) as a student would see it: each token's text, and whether it is learnt.

    Where a character is made of several tokens, the last of them has it.

    Raises:
        DataError: as :func:`train_student`; the conversation would be left out.
    """
    opened = open_tokenizer(tokenizer)
    (example, *_) = encode_data(opened, open_chat(opened, spec.chat_format), [conversation], (), spec).examples
    shown: list[tuple[str, bool]] = []
    before = ""
    for index, learnt in enumerate(example.learnt.tolist(), 1):
        until = opened.decode(example.ids[:index])
        unfinished = until.endswith("\ufffd") and index < len(example.ids)
        shown.append(("" if unfinished else until[len(before) :], learnt))
        before = before if unfinished else until
    return shown


@dataclass(frozen=True)
class _Run:
    """Where a training writes, and its seed."""

    out: Path
    work: Path | None
    seed: int
    progress: Progress | None


@contextmanager
def _joined(spec: TrainSpec) -> Iterator[tuple[torch.device, Team]]:
    """The device of this process, and the team that it belongs to."""
    device = choose_device(spec.device)
    with join_team(spec, device) as team:
        yield device, team


def _check_room(spec: TrainSpec, config: Any, device: torch.device, team: Team, run: _Run) -> None:
    """Refuse what this model or machine has no room for, before a weight is read."""
    bound = context_tokens(config)
    if bound is not None and spec.block_tokens > bound:
        raise SpecError(
            f"a block of {spec.block_tokens} tokens is longer than the model's context of {bound}",
            where="block_tokens",
            fix=f"set block_tokens to {bound} or less",
        )
    need = memory_needs(spec, config, [team.size])[team.size]
    check_memory(need, device, team)
    check_disk(spec, need, config, run.out, run.work)


def _train(course: Course, tokenizer: Any, material: Material, run: _Run) -> TrainRecord:
    spec, team = course.spec, course.team
    data_digest = _digest_examples(material.encoded.examples)
    checkpoints = None
    if run.work is not None:
        recipe = spec.model_dump(mode="json", exclude=MACHINE_FIELDS)
        held = _digest_examples(material.heldout)
        bases = [material.base_digest, material.teacher_digest]
        given = [FORMAT, recipe, bases, data_digest, held, run.seed, spec.log_every]
        checkpoints = Checkpoints(run.work / "checkpoints", digest_json(given), keep=spec.keep, team=team)
        found = checkpoints.load()
        if found is not None:
            course.load_state(*found)
    watching = spec if team.leads else spec.model_copy(update={"trackers": ()})
    with open_trackers(watching, run.work, run.out.name, done=course.facts.done) as trackers:
        progress = run.progress if team.leads else None
        run_course(course, checkpoints=checkpoints, trackers=trackers, progress=progress)
    record = make_record(course, tokenizer, material, data_digest, run.seed)
    save_student(course, tokenizer, record, run.out, ends=material.encoded.ends)
    if checkpoints is not None:
        checkpoints.clear()
    return record


def _prepare(
    spec: TrainSpec,
    model: Any,
    material: Material,
    run: _Run,
    device: torch.device,
    team: Team,
    teacher: Teacher | None = None,
) -> Course:
    examples = material.encoded.examples
    blocks = pack([len(example.ids) for example in examples], spec.packing, spec.block_tokens)
    visits = spec.max_steps * spec.batch_blocks if spec.max_steps else max(1, round(spec.epochs * len(blocks)))
    dtype = choose_precision(spec.precision, device, model.config.get_text_config().hidden_size)
    saved_dtype = model.config.dtype or torch.float32
    if spec.lora is not None:
        add_adapters(model, spec.lora, new_tokens=bool(material.new_tokens))
    if spec.gradient_checkpointing:
        recompute_activations(model)
    model.to(device)
    model.train()
    if teacher is not None:
        teacher.to(device)
    objective = Objective(model, z_loss=spec.z_loss, teacher=teacher)
    if teacher is not None and not objective.chunked:
        raise ModelError(
            "its logits are more than its output table applied to hidden states: logits cannot be learnt in chunks",
            where=material.base,
            fix="leave distil out, or choose a base of another architecture",
        )
    if team.size > 1:
        shard(objective, team, dtype)
    elif teacher is not None:
        round_weights(teacher, dtype)
    weights = Weights(model, torch.float32 if team.size > 1 else dtype)
    if team.size == 1 and device.type == "cpu" and dtype == torch.bfloat16:
        objective.use_document_attention()
        normalize_in_parts(model)
    heldout = {
        source: (pack([len(example.ids) for example in members], spec.packing, spec.block_tokens), members)
        for source, members in _by_source(material.heldout)
    }
    return Course(
        spec=spec,
        objective=objective,
        weights=weights,
        optimizer=build_optimizer(spec, weights.named.items()),
        order=Order(len(blocks), spec.batch_blocks, visits=visits, seed=run.seed),
        blocks=blocks,
        examples=examples,
        heldout=heldout,
        device=device,
        dtype=dtype,
        saved_dtype=saved_dtype,
        micro_batch_blocks=min(micro_batch_blocks(spec), max(1, spec.batch_blocks // team.data_size)),
        team=team,
    )


def _by_source(examples: Sequence[Example]) -> list[tuple[str, list[Example]]]:
    sources = sorted({example.source for example in examples})
    return [(source or "all", [example for example in examples if example.source == source]) for source in sources]


def _digest_model(name: Path | str) -> str:
    """Of a folder's files; of a hub id its name and commit."""
    return digest_folder(name) if Path(name).is_dir() else digest_json([str(name), revision_of(name)])


def _digest_examples(examples: Sequence[Example]) -> str:
    digest = hashlib.sha256()
    for example in examples:
        digest.update(f"{len(example.ids)} {int(example.replay)} ".encode())
        digest.update(example.ids.tobytes())
        digest.update(example.learnt.tobytes())
    return digest.hexdigest()


@contextmanager
def _torch_settings(spec: TrainSpec, seed: int) -> Iterator[None]:
    """Seed and threads for the time of one training; the caller's own come back afterwards."""
    threads = torch.get_num_threads()
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        if spec.threads is not None:
            torch.set_num_threads(spec.threads)
        bars = hf_logging.is_progress_bar_enabled()
        hf_logging.disable_progress_bar()
        try:
            yield
        finally:
            torch.set_num_threads(threads)
            if bars:
                hf_logging.enable_progress_bar()
