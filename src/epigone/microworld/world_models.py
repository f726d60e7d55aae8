"""The world's models: bases and teacher, trained on its text by the same code that trains users' students."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from msgspec import Struct
from transformers import AutoTokenizer

from epigone.disk import iter_jsonl, read_jsonl
from epigone.microworld.corpus import count_words
from epigone.microworld.scales import WorldModel
from epigone.records import Conversation
from epigone.specs import parse_spec
from epigone.train import TrainSpec, pretrain, train_student

__all__ = ["pretrain_model", "read_corpus", "tune_model"]

Progress = Callable[[int, int | None], None]


class _Text(Struct, frozen=True):
    text: str


def read_corpus(world: Path, tokens: int) -> Iterator[str]:
    """The corpus from its beginning, up to the document with which ``tokens`` tokens are reached."""
    read = 0
    for document in iter_jsonl(world / "corpus.jsonl", _Text):
        if read >= tokens:
            return
        read += count_words(document.text) + 1
        yield document.text


def pretrain_model(
    world: Path,
    model: WorldModel,
    out: Path,
    *,
    seed: int,
    threads: int = 1,
    work: Path | None = None,
    progress: Progress | None = None,
) -> None:
    """Train a base, or what the teacher is tuned from, from nothing.

    Args:
        world: folder that ``write_world`` made.
        out: becomes a Hugging Face folder; appears whole.
        work: checkpoints while it runs; the same call resumes from them.
        progress: called with optimizer steps done and in all.

    Raises:
        TrainingError: the loss exploded.
        DataError: ``world`` is not such a folder.
    """
    tokenizer = AutoTokenizer.from_pretrained(world / "tokenizer")
    config = model.config | {
        "vocab_size": len(tokenizer),
        "bos_token_id": None,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    pretrain(
        _spec(model, model.pretraining, threads),
        config=config,
        tokenizer=world / "tokenizer",
        texts=list(read_corpus(world, model.corpus_tokens)),
        out=out,
        seed=seed,
        work=work,
        progress=progress,
    )


def tune_model(
    world: Path,
    model: WorldModel,
    pretrained: Path,
    out: Path,
    *,
    seed: int,
    threads: int = 1,
    work: Path | None = None,
    progress: Progress | None = None,
) -> None:
    """Tune the teacher on the instruction data; ``pretrained``: what :func:`pretrain_model` made of it.

    The other arguments and errors are those of :func:`pretrain_model`.
    """
    assert model.instruction is not None
    train_student(
        _spec(model, model.instruction, threads),
        base=pretrained,
        conversations=read_jsonl(world / "instructions.jsonl", Conversation),
        out=out,
        seed=seed,
        replay=list(read_corpus(world, model.replay_tokens)),
        work=work,
        progress=progress,
    )


def _spec(model: WorldModel, settings: dict[str, object], threads: int) -> TrainSpec:
    return parse_spec(TrainSpec, settings | {"threads": threads}, where=f"microworld model {model.name}")
