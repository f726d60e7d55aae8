"""Low-rank adapters (peft): put in before training, merged into the weights after it."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from epigone.errors import SpecError
from epigone.train.spec import LoraSpec

__all__ = ["adapted_layers", "add_adapters", "merge_adapters"]

_ADAPTER = "default"
"""peft's own name for the one adapter of a layer."""


def add_adapters(model: Any, spec: LoraSpec, *, new_tokens: bool) -> None:
    """Freeze ``model`` and give its linear layers adapters, in place.

    With ``new_tokens`` the embedding tables are trained as well: a turn token's row cannot stay at its starting value.

    Raises:
        SpecError: no layer has one of the names in ``targets``.
    """
    from peft import LoraConfig, inject_adapter_in_model  # 80 MB and 2 s that only adapters are worth

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
    inject_adapter_in_model(config, model, adapter_name=_ADAPTER)
    for name, weight in model.named_parameters():
        weight.requires_grad_("lora_" in name)
    if new_tokens:
        for table in (model.get_input_embeddings(), head):
            table.weight.requires_grad_(True)


def adapted_layers(model: nn.Module) -> dict[str, Any]:
    """The layers that have an adapter, by name: peft's layers, without loading peft where nothing is adapted."""
    return {name: module for name, module in model.named_modules() if hasattr(module, "lora_A")}


def merge_adapters(model: nn.Module, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Take the adapters out of ``model``, which is an ordinary one again, and add their updates to ``state``.

    Args:
        state: the model's whole state in float32, as ``state_dict`` names it; its weights may be shards meanwhile.

    Returns:
        The state of the ordinary model: W + (alpha / rank) · B A where a layer had an adapter.
    """
    merged = dict(state)
    for name, module in adapted_layers(model).items():
        first = merged.pop(f"{name}.lora_A.{_ADAPTER}.weight")
        second = merged.pop(f"{name}.lora_B.{_ADAPTER}.weight")
        update = (second @ first) * module.scaling[_ADAPTER]
        for part in ("weight", "bias"):
            if f"{name}.base_layer.{part}" in merged:
                merged[f"{name}.{part}"] = merged.pop(f"{name}.base_layer.{part}")
        merged[f"{name}.weight"] = merged[f"{name}.weight"] + (update.t() if module.fan_in_fan_out else update)
        parent, _, child = name.rpartition(".")
        setattr(model.get_submodule(parent), child, module.get_base_layer())
    for weight in model.parameters():
        weight.requires_grad_(True)
    return merged
