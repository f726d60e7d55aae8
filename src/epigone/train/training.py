"""The room's entrances: train a student on conversations, or a base from nothing on text."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers.utils import logging as hf_logging

from epigone.disk import digest_folder, digest_json
from epigone.errors import DataError, SpecError
from epigone.records import Conversation
from epigone.train.adapters import add_adapters
from epigone.train.batches import Order
from epigone.train.chat import open_chat
from epigone.train.checkpoint import Checkpoints
from epigone.train.examples import Example, Examples, count_tokens, encode_conversations, encode_texts
from epigone.train.loop import Course, Progress, run_course
from epigone.train.objective import Objective
from epigone.train.optimizers import build_optimizer
from epigone.train.packing import pack
from epigone.train.parallel import Team, join_team, shard
from epigone.train.record import TrainRecord
from epigone.train.spec import TrainSpec
from epigone.train.student_folder import FORMAT, MACHINE_FIELDS, Material, make_record, save_student
from epigone.train.student_model import (
    context_tokens,
    new_model,
    open_base,
    open_tokenizer,
    resize_embeddings,
    token_of,
)
from epigone.train.trackers import open_trackers
from epigone.train.weights import Weights, choose_precision

__all__ = ["count_conversation_tokens", "count_text_tokens", "pretrain", "show_tokens", "train_student"]

_MICRO_BATCH_TOKENS = 4096


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
        ModelError: the base or its tokenizer cannot be used.
        TrainingError: the loss is lost.
    """
    if not conversations:
        raise DataError("there are no conversations to train on", fix="look at what curation dropped, and why")
    with _torch_settings(spec, seed):
        tokenizer = open_tokenizer(base)
        before = len(tokenizer)
        chat = open_chat(tokenizer, spec.chat_format)
        model = open_base(base)
        like = None if spec.new_tokens_like is None else token_of(tokenizer, spec.new_tokens_like)
        resize_embeddings(model, len(tokenizer), len(tokenizer) - before, like=like)
        _check_context(spec, model.config)
        kept, measured = _hold_out(conversations, heldout, spec, seed)
        encoded = encode_conversations(tokenizer, chat, kept, spec)
        texts = encode_texts(tokenizer, replay, spec, name="replay", replay=True)
        if not encoded.examples:
            raise DataError(
                f"no conversation is left to train on: {', '.join(encoded.left_out) or 'nothing in them is learnt'}",
                fix="raise block_tokens, or set long_turns to cut",
            )
        material = Material(
            kind="student",
            base=Path(str(base)).name,
            base_digest=digest_folder(base) if Path(base).is_dir() else digest_json(str(base)),
            new_tokens=chat.new_tokens,
            encoded=Examples((*encoded.examples, *texts), encoded.left_out),
            conversations=len(kept),
            texts=len(replay),
            heldout=encode_conversations(tokenizer, chat, measured, spec).examples if measured else (),
        )
        return _train(spec, model, tokenizer, material, _Run(out, work, seed, progress))


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
    with _torch_settings(spec, seed):
        opened = open_tokenizer(tokenizer)
        open_chat(opened, "koala")  # refuses a tokenizer without offsets or end token
        opened = open_tokenizer(tokenizer)
        given = {"bos_token_id": opened.bos_token_id, "eos_token_id": opened.eos_token_id, **config}
        given.setdefault("pad_token_id", opened.pad_token_id)
        model = new_model(given, len(opened), seed=seed)
        _check_context(spec, model.config)
        material = Material(
            kind="pretrained",
            base=str(config["model_type"]),
            base_digest=digest_json(dict(config)),
            new_tokens=(),
            encoded=Examples(tuple(encode_texts(opened, texts, spec, name="text")), {}),
            conversations=0,
            texts=len(texts),
            heldout=(),
        )
        return _train(spec, model, opened, material, _Run(out, work, seed, progress))


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
    """A conversation (its first block) as a student would see it: each token's text, and whether it is learnt."""
    opened = open_tokenizer(tokenizer)
    example = encode_conversations(opened, open_chat(opened, spec.chat_format), [conversation], spec).examples[0]
    shown: list[tuple[str, bool]] = []
    for index in range(len(example.ids)):
        before, until = opened.decode(example.ids[:index]), opened.decode(example.ids[: index + 1])
        shown.append((until[len(before) :], bool(example.learnt[index])))
    return shown


@dataclass(frozen=True)
class _Run:
    """Where a training writes, and its seed."""

    out: Path
    work: Path | None
    seed: int
    progress: Progress | None


def _train(spec: TrainSpec, model: Any, tokenizer: Any, material: Material, run: _Run) -> TrainRecord:
    device = choose_device(spec.device)
    with join_team(spec, device) as team:
        course = _prepare(spec, model, material, run.seed, device, team)
        data_digest = _digest_examples(material.encoded.examples)
        checkpoints = None
        if run.work is not None:
            recipe = spec.model_dump(mode="json", exclude=MACHINE_FIELDS)
            held = _digest_examples(material.heldout)
            given = [FORMAT, recipe, material.base_digest, data_digest, held, run.seed, spec.log_every]
            checkpoints = Checkpoints(run.work / "checkpoints", digest_json(given), keep=spec.keep, team=team)
            found = checkpoints.load()
            if found is not None:
                course.load_state(*found)
        watching = spec if team.leads else spec.model_copy(update={"trackers": ()})
        with open_trackers(watching, run.work, run.out.name) as trackers:
            progress = run.progress if team.leads else None
            run_course(course, checkpoints=checkpoints, trackers=trackers, progress=progress)
        record = make_record(course, tokenizer, material, data_digest, run.seed)
        save_student(course, tokenizer, record, run.out)
        if checkpoints is not None:
            checkpoints.clear()
    return record


def _prepare(spec: TrainSpec, model: Any, material: Material, seed: int, device: torch.device, team: Team) -> Course:
    examples = material.encoded.examples
    blocks = pack([len(example.ids) for example in examples], spec.packing, spec.block_tokens)
    visits = spec.max_steps * spec.batch_blocks if spec.max_steps else max(1, round(spec.epochs * len(blocks)))
    dtype = choose_precision(spec.precision, device, model.config.get_text_config().hidden_size)
    saved_dtype = model.config.dtype or torch.float32
    if spec.lora is not None:
        add_adapters(model, spec.lora, new_tokens=bool(material.new_tokens))
    if spec.gradient_checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    model.to(device)
    model.train()
    objective = Objective(model, z_loss=spec.z_loss)
    if team.size > 1:
        shard(objective, team, dtype)
    elif device.type == "cpu" and dtype == torch.bfloat16:
        objective.use_document_attention()
    weights = Weights(model, torch.float32 if team.size > 1 else dtype)
    heldout = {
        source: (pack([len(example.ids) for example in members], spec.packing, spec.block_tokens), members)
        for source, members in _by_source(material.heldout)
    }
    return Course(
        spec=spec,
        objective=objective,
        weights=weights,
        optimizer=build_optimizer(spec, weights.named.items()),
        order=Order(len(blocks), spec.batch_blocks, visits=visits, seed=seed),
        blocks=blocks,
        examples=examples,
        heldout=heldout,
        device=device,
        dtype=dtype,
        saved_dtype=saved_dtype,
        micro_batch_blocks=min(micro_batch_blocks(spec), max(1, spec.batch_blocks // team.data_size)),
        team=team,
    )


def micro_batch_blocks(spec: TrainSpec) -> int:
    """Blocks in one forward pass: as asked, or the largest part of a batch with at most 4,096 tokens."""
    if spec.micro_batch_blocks is not None:
        return spec.micro_batch_blocks
    fits = [
        rows
        for rows in range(1, spec.batch_blocks + 1)
        if spec.batch_blocks % rows == 0 and rows * spec.block_tokens <= _MICRO_BATCH_TOKENS
    ]
    return max(fits, default=1)


def choose_device(asked: str) -> torch.device:
    """The device that ``asked`` names; under torchrun each process of a machine takes its own GPU.

    Raises:
        SpecError: no such device here.
    """
    if asked == "auto":
        if not torch.cuda.is_available():
            return torch.device("cpu")
        device = torch.device("cuda", int(torch.distributed.get_node_local_rank(0)))
        torch.cuda.set_device(device)
        return device
    try:
        device = torch.device(asked)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise SpecError(f"the device '{asked}' cannot be used here", where="device", fix="use auto or cpu") from error
    return device


def _by_source(examples: Sequence[Example]) -> list[tuple[str, list[Example]]]:
    sources = sorted({example.source for example in examples})
    return [(source or "all", [example for example in examples if example.source == source]) for source in sources]


def _hold_out(
    conversations: Sequence[Conversation], heldout: Sequence[Conversation], spec: TrainSpec, seed: int
) -> tuple[list[Conversation], list[Conversation]]:
    """Split off ``heldout_share`` of the conversations, the same for the same seed."""
    count = round(spec.heldout_share * len(conversations))
    chosen = set(np.random.default_rng([seed, 1]).permutation(len(conversations))[:count].tolist())
    kept = [conversation for index, conversation in enumerate(conversations) if index not in chosen]
    return kept, [*heldout, *(conversations[index] for index in sorted(chosen))]


def _check_context(spec: TrainSpec, config: Any) -> None:
    bound = context_tokens(config)
    if bound is not None and spec.block_tokens > bound:
        raise SpecError(
            f"a block of {spec.block_tokens} tokens is longer than the model's context of {bound}",
            where="block_tokens",
            fix=f"set block_tokens to {bound} or less",
        )


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
