"""The loss of one batch under one model."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from epigone.train import document_attention
from epigone.train.batches import IGNORED, Batch
from epigone.train.distil import Teacher
from epigone.train.head import Distillation, chunked_loss, head_is_plain, softcap_of

__all__ = ["Objective"]


class Objective(nn.Module):  # type: ignore[misc]
    """The model with its loss: hidden states, then the head on supervised positions only.

    A model whose logits are more than ``head(hidden)`` with Gemma's soft cap (a scale, say) is found out by comparing
    on a few tokens; its logits are then computed by its own code, whole. A ``teacher`` is asked in training only:
    in ``eval`` mode the loss is the cross entropy of the data, comparable between trainings.
    """

    def __init__(self, model: Any, *, z_loss: float, teacher: Teacher | None = None) -> None:
        super().__init__()
        self.model = model
        self.teacher = teacher
        self._z = z_loss
        self.chunked = head_is_plain(model)
        self._by_document: set[int] = set()

    def train(self, mode: bool = True) -> Objective:
        """As of every module; a teacher never drops out anything."""
        super().train(mode)
        if self.teacher is not None:
            self.teacher.eval()
        return self

    def use_document_attention(self) -> None:
        """Compute attention document by document (CPU, bfloat16), where that is the function the model defines."""
        for model in (self.model, None if self.teacher is None else self.teacher.model):
            if model is not None and document_attention.serves(model.config):
                document_attention.register()
                model.set_attn_implementation(document_attention.NAME)
                self._by_document.add(id(model))

    def takes_one_row(self, batch: Batch) -> bool:
        """Whether a batch's rows may stand behind one another: nothing but attention looks at more than a token."""
        models = 1 if self.teacher is None else 2
        return len(self._by_document) == models and document_attention.in_tiles(batch.position_ids)

    def forward(self, batch: Batch) -> Tensor:
        """Sum of weight × loss over the batch's targets (a scalar, float32)."""
        chosen = torch.nonzero((batch.targets != IGNORED).view(-1)).squeeze(1)
        targets = batch.targets.view(-1)[chosen]
        weights = batch.weights.view(-1)[chosen]
        if not self.chunked:
            logits = self.model(**self._inputs(self.model, batch)).logits
            flat = logits.view(-1, logits.shape[-1])[chosen].float()
            loss = functional.cross_entropy(flat, targets, reduction="none")
            if self._z:
                loss = loss + self._z * torch.logsumexp(flat, dim=-1).square()
            return (weights * loss).sum()
        head = self.model.get_output_embeddings()
        return chunked_loss(
            self._states(self.model, batch, chosen),
            head.weight,
            getattr(head, "bias", None),
            targets,
            weights,
            softcap=softcap_of(self.model),
            z=self._z,
            distil=self._distillation(batch, chosen),
        )

    def _distillation(self, batch: Batch, chosen: Tensor) -> Distillation | None:
        if self.teacher is None or not self.training:
            return None
        with torch.no_grad():
            return self.teacher.part(self._states(self.teacher.model, batch, chosen))

    def _states(self, model: Any, batch: Batch, chosen: Tensor) -> Tensor:
        """The last hidden states at the chosen positions: (N, D)."""
        hidden = model.base_model(**self._inputs(model, batch)).last_hidden_state
        return cast(Tensor, hidden.view(-1, hidden.shape[-1])[chosen])

    def _inputs(self, model: Any, batch: Batch) -> dict[str, Any]:
        given = {"input_ids": batch.input_ids, "position_ids": batch.position_ids, "use_cache": False}
        if id(model) in self._by_document:
            dtype = model.get_input_embeddings().weight.dtype
            given["documents"] = document_attention.find_documents(batch.position_ids, dtype)
        return given
