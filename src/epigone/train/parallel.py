"""Several processes under torchrun: sharded data parallelism (FSDP2) and tensor parallelism on one device mesh."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from msgspec import Struct
from torch import Tensor, nn
from torch.distributed.checkpoint import load as load_sharded
from torch.distributed.checkpoint import save as save_sharded
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_state_dict, set_state_dict
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor
from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module

from epigone.errors import ModelError, SpecError
from epigone.train.adapters import adapted_layers
from epigone.train.spec import TrainSpec

__all__ = ["Team", "gather", "join_team", "load_shards", "save_shards", "shard", "total"]

_STYLES = {"colwise": ColwiseParallel, "rowwise": RowwiseParallel}


class Team(Struct, frozen=True):
    """The processes of one training. ``data_rank`` of ``data_size`` says which blocks are this one's.

    ``local_size``: how many of them run on this machine.
    """

    rank: int = 0
    size: int = 1
    data_rank: int = 0
    data_size: int = 1
    local_size: int = 1
    mesh: DeviceMesh | None = None

    @property
    def leads(self) -> bool:
        """Whether this process writes files and shows progress."""
        return self.rank == 0


@contextmanager
def join_team(spec: TrainSpec, device: torch.device) -> Iterator[Team]:
    """The team that torchrun started, or a team of one.

    Raises:
        SpecError: ``tensor_parallel`` does not divide the number of processes.
    """
    if not (dist.is_initialized() or dist.is_torchelastic_launched()):
        if spec.tensor_parallel > 1:
            raise SpecError(
                f"tensor_parallel is {spec.tensor_parallel}, but there is one process",
                where="tensor_parallel",
                fix=f"start it with torchrun --nproc-per-node {spec.tensor_parallel} (or a multiple)",
            )
        yield Team()
        return
    ours = not dist.is_initialized()
    if ours:
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        size = dist.get_world_size()
        if size % spec.tensor_parallel:
            raise SpecError(
                f"{size} processes cannot be split into groups of {spec.tensor_parallel}",
                where="tensor_parallel",
                fix="make the number of processes a multiple of tensor_parallel",
            )
        shape = (size // spec.tensor_parallel, spec.tensor_parallel)
        mesh = init_device_mesh(device.type, shape, mesh_dim_names=("data", "tensor"))
        machines: list[str] = [""] * size
        dist.all_gather_object(machines, socket.gethostname())
        local_size = machines.count(socket.gethostname())
        yield Team(dist.get_rank(), size, mesh["data"].get_local_rank(), shape[0], local_size, mesh)
    finally:
        if ours:
            dist.destroy_process_group()


def shard(objective: Any, team: Team, dtype: torch.dtype) -> None:
    """Split each layer's matrices over the mesh's ``tensor`` side and all weights over its ``data`` side, in place.

    Weights and optimizer state stay float32; ``dtype`` is what layers compute in.

    Raises:
        ModelError: the architecture has no plan for tensor parallelism, or its heads do not divide.
    """
    assert team.mesh is not None
    model, tensor = objective.model, team.mesh["tensor"]
    layers = _layers(model)
    if tensor.size() > 1:
        parallelize_module(model.base_model, tensor, _tensor_plan(model, tensor.size()))
    if objective.teacher is not None:
        layers += _layers(objective.teacher)
    policy = MixedPrecisionPolicy(param_dtype=dtype, reduce_dtype=torch.float32)
    for layer in layers:
        fully_shard(layer, mesh=team.mesh["data"], mp_policy=policy)
    fully_shard(objective, mesh=team.mesh["data"], mp_policy=policy)


def total(value: Tensor, team: Team) -> Tensor:
    """The sum of a number over the processes that see different blocks."""
    if team.mesh is not None:
        dist.all_reduce(value, group=team.mesh["data"].get_group())
    return value


def gather(weight: Tensor) -> Tensor:
    """The whole of a weight, on every process."""
    return weight.full_tensor() if isinstance(weight, DTensor) else weight


def save_shards(folder: Path, objective: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Write what is trained and the optimizer's state with torch's distributed checkpointing, each process its part."""
    weights, moments = get_state_dict(objective, optimizer, options=_trained_only(objective))
    save_sharded({"weights": weights, "optimizer": moments}, checkpoint_id=folder)


def load_shards(folder: Path, objective: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Read what :func:`save_shards` wrote, however many processes there are now."""
    options = _trained_only(objective)
    weights, moments = get_state_dict(objective, optimizer, options=options)
    state = {"weights": weights, "optimizer": moments}
    load_sharded(state, checkpoint_id=folder)
    set_state_dict(
        objective,
        optimizer,
        model_state_dict=state["weights"],
        optim_state_dict=state["optimizer"],
        options=options,
    )


def _trained_only(objective: nn.Module) -> StateDictOptions:
    """Frozen weights (under adapters, or a teacher's) are not saved: they are read from their own folder again."""
    frozen = any(not weight.requires_grad for weight in objective.parameters())
    return StateDictOptions(ignore_frozen_params=frozen, strict=not frozen)


def _layers(model: Any) -> list[nn.Module]:
    """The decoder's repeated layers: the longest list of modules in it."""
    lists = [list(module) for module in model.modules() if isinstance(module, nn.ModuleList)]
    return max(lists, key=lambda layers: len(layers), default=[])


def _tensor_plan(model: Any, size: int) -> dict[str, Any]:
    """How each linear layer below the base model is split, by its name's pattern.

    A layer with adapters (W + BA) is split in its parts: by columns W and B, by rows W and A; the other part is whole.
    """
    text = model.config.get_text_config()
    given: dict[str, str] | None = getattr(text, "base_model_tp_plan", None)
    unknown = sorted(set((given or {}).values()) - set(_STYLES))
    if not given or unknown:
        why = f"its plan has {', '.join(unknown)}" if unknown else "transformers has no plan for it"
        raise ModelError(
            f"{model.config.model_type} cannot be split over tensors: {why}",
            where="tensor_parallel",
            fix="set tensor_parallel to 1: FSDP2 alone shards its weights",
        )
    heads = [text.num_attention_heads, getattr(text, "num_key_value_heads", None) or text.num_attention_heads]
    if any(count % size for count in heads):
        raise ModelError(
            f"{heads[0]} heads with {heads[1]} key-value heads cannot be split over {size} devices",
            where="tensor_parallel",
            fix="choose a tensor_parallel that divides both",
        )
    adapted = {name.rsplit(".", 1)[-1] for name in adapted_layers(model)}
    plan: dict[str, Any] = {}
    for name, style in given.items():
        if name.rsplit(".", 1)[-1] not in adapted:
            plan[name] = _STYLES[style]()
            continue
        for part in ("base_layer", "lora_B.*" if style == "colwise" else "lora_A.*"):
            plan[f"{name}.{part}"] = _STYLES[style]()
    return plan
