"""Distillation from logits: the whole distribution of a local teacher is learnt, if its tokens are the student's."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from epigone.errors import ModelError, SpecError
from epigone.train.chat import TURN_TOKENS
from epigone.train.head import Distillation, head_is_plain, softcap_of
from epigone.train.spec import DistilSpec, TrainSpec
from epigone.train.student_model import context_tokens, open_base, open_tokenizer

__all__ = ["Teacher", "open_teacher"]


class Teacher(nn.Module):  # type: ignore[misc]
    """A frozen model, and how much of the loss is its.

    Args:
        tokens: ids below this are the tokenizer's; table rows behind them are padding and not compared.
    """

    def __init__(self, model: Any, spec: DistilSpec, tokens: int) -> None:
        super().__init__()
        self.model = model.requires_grad_(False).eval()
        self._spec, self._tokens = spec, tokens

    def part(self, hidden: Tensor) -> Distillation:
        """The teacher's part in a loss, from its last hidden states (N, E) at the supervised positions."""
        head = self.model.get_output_embeddings()
        return Distillation(
            hidden=hidden,
            weight=head.weight,
            bias=getattr(head, "bias", None),
            softcap=softcap_of(self.model),
            tokens=self._tokens,
            share=self._spec.weight,
            temperature=self._spec.temperature,
            reverse=self._spec.divergence == "reverse_kl",
        )


def open_teacher(spec: TrainSpec, tokenizer: Any) -> Teacher | None:
    """The teacher that ``spec`` names, weights in float32; ``None`` when it names none.

    Args:
        tokenizer: the student's, its turn tokens added.

    Raises:
        SpecError: a block is longer than the teacher's context.
        ModelError: the teacher cannot be read; its tokens are not the student's; its logits cannot be had in chunks.
    """
    if spec.distil is None:
        return None
    where = f"distil.hf {spec.distil.hf}"
    _check_tokens(open_tokenizer(spec.distil.hf), tokenizer, where)
    model = open_base(spec.distil.hf)
    bound = context_tokens(model.config)
    if bound is not None and spec.block_tokens > bound:
        raise SpecError(
            f"a block of {spec.block_tokens} tokens is longer than the teacher's context of {bound}",
            where=where,
            fix=f"set block_tokens to {bound} or less",
        )
    rows = model.get_output_embeddings().weight.shape[0]
    if rows < len(tokenizer):
        raise ModelError(
            f"the teacher's head has {rows} rows for the tokenizer's {len(tokenizer)} tokens",
            where=where,
            fix="give a teacher whose weights belong to its tokenizer",
        )
    if not head_is_plain(model):
        raise ModelError(
            "the teacher's logits are more than its output table applied to hidden states, so none come in chunks",
            where=where,
            fix="choose a teacher of another architecture, or train on its text alone (leave distil out)",
        )
    return Teacher(model, spec.distil, len(tokenizer))


def _check_tokens(teacher: Any, student: Any, where: str) -> None:
    """Refuse a teacher for which an id means another token, or none; tokens that only it has are no harm."""
    theirs, ours = teacher.get_vocab(), student.get_vocab()
    lacking = sorted(ours.keys() - theirs.keys(), key=lambda token: ours[token])
    moved = [token for token in ours if token in theirs and ours[token] != theirs[token]]
    if not lacking and not moved:
        return
    fix = "choose a teacher with the student's tokenizer, or train on its text alone (leave distil out)"
    if moved:
        first = min(moved, key=lambda token: ours[token])
        what = f"{first!r} is token {ours[first]} of the student's and token {theirs[first]} of the teacher's"
    else:
        what = f"the teacher's lacks {', '.join(lacking[:3])}"
        what += f" and {len(lacking) - 3} more" if len(lacking) > 3 else ""
        if set(lacking) <= set(TURN_TOKENS.values()):
            fix = "use chat_format: tokenizer_template or koala, which add no tokens, or a teacher with turn tokens"
    raise ModelError(f"logits can only be compared between equal tokenizers: {what}", where=where, fix=fix)
