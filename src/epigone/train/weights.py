"""Float32 weights behind a model that computes in another number format."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from epigone.train.parallel import gather

__all__ = ["Weights", "choose_precision", "round_weights"]

_WIDTH_FOR_BFLOAT16 = 128
"""On a CPU with matrix units bfloat16 pays from this hidden size on (measured: dev/log/train.md)."""


def choose_precision(asked: str, device: torch.device, hidden_size: int) -> torch.dtype:
    """The arithmetic of the forward and backward pass. A fixed rule, no timing: equal runs must choose alike."""
    if asked == "float32":
        return torch.float32
    if asked == "bfloat16":
        return torch.bfloat16
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float32
    if device.type == "cpu" and torch.cpu._is_amx_tile_supported() and hidden_size >= _WIDTH_FOR_BFLOAT16:
        return torch.bfloat16
    return torch.float32


def round_weights(model: nn.Module, dtype: torch.dtype) -> dict[str, Tensor]:
    """Turn a model's weights into ``dtype``, in place (buffers, such as rotary frequencies, stay as they are).

    Gives, on the CPU, the frozen ones that lost digits by it: a base that was saved in bfloat16 loses none.
    """
    lost: dict[str, Tensor] = {}
    for name, weight in model.named_parameters():
        exact = weight.data
        weight.data = exact.to(dtype)
        if not weight.requires_grad and not torch.equal(weight.data.to(exact.dtype), exact):
            lost[name] = exact.cpu()
    return lost


class Weights:
    """The trained weights in float32, and the copies of them that the model computes with.

    In float32 the two are the same tensors. In bfloat16 the model's parameters are rounded copies: gradients are added
    up in float32 on the way back, and :meth:`publish` rounds again after each update.
    """

    def __init__(self, model: nn.Module, dtype: torch.dtype) -> None:
        self._working = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
        self._rounded = dtype != torch.float32
        if not self._rounded:  # also when sharded: FSDP2 keeps float32 shards and rounds what it gathers
            self.named: dict[str, Tensor] = dict(self._working)
            return
        self.named = {name: weight.detach().clone() for name, weight in self._working.items()}
        self._frozen = {name: weight for name, weight in model.named_parameters() if not weight.requires_grad}
        self._exact = round_weights(model, dtype)

    def collect_gradients(self) -> None:
        """Add the gradients of one backward pass to the float32 ones."""
        if not self._rounded:
            return
        for name, weight in self._working.items():
            if weight.grad is None:
                continue
            master = self.named[name]
            if master.grad is None:
                master.grad = weight.grad.float()
            else:
                master.grad += weight.grad
            weight.grad = None

    def clip(self, bound: float | None) -> Tensor:
        """Scale the gradients down to a global norm of ``bound``; gives the norm before."""
        gradients = [weight.grad for weight in self.named.values() if weight.grad is not None]
        norms = [gather(norm) for norm in torch._foreach_norm(gradients)]
        norm = torch.linalg.vector_norm(torch.stack(norms))
        if bound is not None and norm > bound:
            for gradient in gradients:
                gradient.mul_(bound / float(norm))
        return norm

    def publish(self) -> None:
        """Forget the gradients and give the model the new weights."""
        for weight in self.named.values():
            weight.grad = None
        if self._rounded:
            with torch.no_grad():
                torch._foreach_copy_(list(self._working.values()), [self.named[name] for name in self._working])

    def restore(self) -> None:
        """Put the float32 weights into the model, trained and frozen: it computes in float32 afterwards."""
        if self._rounded:
            for name, weight in self._working.items():
                weight.data = self.named[name].detach()
            for name, weight in self._frozen.items():
                weight.data = self._exact[name].to(weight.device) if name in self._exact else weight.data.float()

    def state(self) -> dict[str, Tensor]:
        """The float32 weights, by name."""
        return {name: weight.detach() for name, weight in self.named.items()}

    def load_state(self, state: dict[str, Any]) -> None:
        """Take weights that :meth:`state` gave."""
        with torch.no_grad():
            for name, weight in self.named.items():
                weight.copy_(state[name])
        self.publish()
