"""The loss of one batch under one model."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from epigone.train import document_attention
from epigone.train.batches import IGNORED, Batch
from epigone.train.head import chunked_loss

__all__ = ["Objective"]

_HEAD_TOLERANCE = 1e-3


class Objective(nn.Module):  # type: ignore[misc]
    """The model with its loss: hidden states, then the head on supervised positions only.

    A model whose logits are more than ``head(hidden)`` with Gemma's soft cap (a scale, say) is found out by comparing
    on a few tokens; its logits are then computed by its own code, whole.
    """

    def __init__(self, model: Any, *, z_loss: float) -> None:
        super().__init__()
        self.model = model
        self._z = z_loss
        self._softcap = getattr(model.config.get_text_config(), "final_logit_softcapping", None)
        self.chunked = self._head_is_plain()
        self._own_attention = False

    def use_document_attention(self) -> None:
        """Compute attention document by document (CPU, bfloat16), where that is the function the model defines."""
        if document_attention.serves(self.model.config):
            document_attention.register()
            self.model.set_attn_implementation(document_attention.NAME)
            self._own_attention = True

    def forward(self, batch: Batch) -> Tensor:
        """Sum of weight × cross entropy over the batch's targets (a scalar, float32)."""
        chosen = torch.nonzero((batch.targets != IGNORED).view(-1)).squeeze(1)
        targets = batch.targets.view(-1)[chosen]
        weights = batch.weights.view(-1)[chosen]
        given = {"input_ids": batch.input_ids, "position_ids": batch.position_ids, "use_cache": False}
        if self._own_attention:
            dtype = self.model.get_input_embeddings().weight.dtype
            given["documents"] = document_attention.find_documents(batch.position_ids, dtype)
        if not self.chunked:
            logits = self.model(**given).logits
            flat = logits.view(-1, logits.shape[-1])[chosen].float()
            loss = functional.cross_entropy(flat, targets, reduction="none")
            if self._z:
                loss = loss + self._z * torch.logsumexp(flat, dim=-1).square()
            return (weights * loss).sum()
        hidden = self.model.base_model(**given).last_hidden_state
        head = self.model.get_output_embeddings()
        bias = getattr(head, "bias", None)
        return chunked_loss(
            hidden.view(-1, hidden.shape[-1])[chosen],
            head.weight,
            bias,
            targets,
            weights,
            softcap=self._softcap,
            z=self._z,
        )

    def _head_is_plain(self) -> bool:
        head = self.model.get_output_embeddings()
        if not isinstance(head, nn.Linear):
            return False
        was_training = self.model.training
        self.model.eval()
        ids = torch.arange(8, device=head.weight.device)[None] % head.weight.shape[0]
        with torch.no_grad():
            logits = self.model(input_ids=ids, use_cache=False).logits
            hidden = self.model.base_model(input_ids=ids, use_cache=False).last_hidden_state
            own = head(hidden) if hidden.shape[-1] == head.weight.shape[1] else None
        self.model.train(was_training)
        if own is None:
            return False
        if self._softcap:
            own = self._softcap * torch.tanh(own / self._softcap)
        return bool(torch.allclose(own, logits, rtol=_HEAD_TOLERANCE, atol=_HEAD_TOLERANCE))
