"""Low-rank adapters (peft): put in before training, merged into the weights after it."""

from __future__ import annotations

from typing import Any

from peft import LoraConfig, inject_adapter_in_model
from peft.tuners.lora import LoraLayer
from torch import nn

from epigone.errors import SpecError
from epigone.train.spec import LoraSpec

__all__ = ["add_adapters", "merge_adapters"]


def add_adapters(model: Any, spec: LoraSpec, *, new_tokens: bool) -> None:
    """Freeze ``model`` and give its linear layers adapters, in place.

    With ``new_tokens`` the embedding tables are trained as well: a turn token's row cannot stay at its starting value.

    Raises:
        SpecError: no layer has one of the names in ``targets``.
    """
    head = model.get_output_embeddings()
    linear = {
        name.rsplit(".", 1)[-1]
        for name, module in model.named_modules()
        if module is not head and (isinstance(module, nn.Linear) or type(module).__name__ == "Conv1D")
    }
    targets = sorted(linear) if spec.targets is None else list(spec.targets)
    if not linear.intersection(targets):
        raise SpecError(
            f"no linear layer is called {', '.join(targets)}",
            where="lora.targets",
            fix=f"choose among {', '.join(sorted(linear))}, or leave targets out",
        )
    config = LoraConfig(
        r=spec.rank,
        lora_alpha=spec.alpha,
        lora_dropout=spec.dropout,
        target_modules=targets,
        fan_in_fan_out=not any(isinstance(module, nn.Linear) and module is not head for module in model.modules()),
    )
    inject_adapter_in_model(config, model)
    for name, weight in model.named_parameters():
        weight.requires_grad_("lora_" in name)
    if new_tokens:
        for table in (model.get_input_embeddings(), head):
            table.weight.requires_grad_(True)


def merge_adapters(model: nn.Module) -> None:
    """Add each adapter's update to its layer and take the adapter out: an ordinary model again."""
    for name, module in list(model.named_modules()):
        if not isinstance(module, LoraLayer):
            continue
        module.merge(safe_merge=True)
        parent, _, child = name.rpartition(".")
        setattr(model.get_submodule(parent), child, module.get_base_layer())
    for weight in model.parameters():
        weight.requires_grad_(True)
