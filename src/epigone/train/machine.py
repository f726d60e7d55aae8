"""The device that a training runs on: which it is, what memory it has and takes, how fast it could be."""

from __future__ import annotations

import os
import platform
import resource
import sys
from pathlib import Path

import psutil
import torch

from epigone.errors import SpecError

__all__ = [
    "choose_device",
    "free_memory_bytes",
    "machine_name",
    "peak_flops",
    "peak_memory_bytes",
    "random_state",
    "set_random_state",
]

_PEAK_FLOPS = {"H100": 989e12, "H200": 989e12, "A100": 312e12, "L40S": 362e12, "B200": 2250e12}
"""Dense bfloat16 FLOPs a second, from the makers' data sheets."""

_CGROUPS = Path("/sys/fs/cgroup")


def choose_device(asked: str) -> torch.device:
    """The device that ``asked`` names; under torchrun each process of a machine takes its own GPU.

    Raises:
        SpecError: no such device here.
    """
    if asked == "auto":
        asked = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(asked)
        if device.type == "cuda" and device.index is None:
            device = torch.device("cuda", int(torch.distributed.get_node_local_rank(0)))
        torch.empty(0, device=device)
        if device.type == "cuda":
            torch.cuda.set_device(device)
    except (RuntimeError, AssertionError) as error:
        raise SpecError(f"the device '{asked}' cannot be used here", where="device", fix="use auto or cpu") from error
    return device


def machine_name(device: torch.device) -> str:
    """The GPU's name, or the processor's kind and number of cores."""
    if device.type == "cuda":
        return str(torch.cuda.get_device_name(device))
    return f"{platform.machine()}, {os.cpu_count()} cores"


def random_state(device: torch.device) -> bytes:
    """State of the generator that dropout on this device draws from."""
    state = torch.cuda.get_rng_state(device) if device.type == "cuda" else torch.get_rng_state()
    return bytes(state.numpy())


def set_random_state(state: bytes, device: torch.device) -> None:
    """Go on drawing where :func:`random_state` was taken."""
    taken = torch.frombuffer(bytearray(state), dtype=torch.uint8)
    if device.type == "cuda":
        torch.cuda.set_rng_state(taken, device)
    else:
        torch.set_rng_state(taken)


def peak_flops(device: torch.device) -> float | None:
    """Dense bfloat16 FLOPs a second that the device's maker states; ``None`` where no figure is known."""
    if device.type != "cuda":
        return None
    return next((flops for name, flops in _PEAK_FLOPS.items() if name in machine_name(device)), None)


def peak_memory_bytes(device: torch.device) -> int:
    """The most memory held so far: by torch on the device, or by the process on a CPU."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def free_memory_bytes(device: torch.device) -> int:
    """Memory that a training may still take: of the GPU, or of the machine within the limits set to this process."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    free = [int(psutil.virtual_memory().available)]
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit != resource.RLIM_INFINITY:
        free.append(limit - psutil.Process().memory_info().vms)
    group = _free_in_cgroup()
    if group is not None:
        free.append(group)
    return max(0, min(free))


def _free_in_cgroup() -> int | None:
    """What is left of a container's limit (cgroup v2); files that it has cached count as free. ``None``: no limit."""
    try:
        own = next(line for line in Path("/proc/self/cgroup").read_text().splitlines() if line.startswith("0::"))
        folder = _CGROUPS / own.removeprefix("0::").strip("/")
        limit = (folder / "memory.max").read_text().strip()
        used = int((folder / "memory.current").read_text())
        told = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
    except (OSError, StopIteration):
        return None
    return None if limit == "max" else int(limit) - used + int(told["inactive_file"])
