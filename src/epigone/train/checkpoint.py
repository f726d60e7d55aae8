"""Checkpoints of a training that is under way: whole or absent, newest sound one first."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import torch
from msgspec import Struct

from epigone.disk import atomic_folder, digest_file, read_json, write_json
from epigone.errors import DataError, SpecError

__all__ = ["Checkpoints"]

_STATE = "state.pt"


class _Seal(Struct, frozen=True):
    training: str
    step: int
    digest: str


class Checkpoints:
    """The checkpoints of one training in one folder.

    Args:
        folder: where they live (``work``).
        training: digest of everything that the training was given; a checkpoint of another one is refused.
        keep: how many of the newest stay.
    """

    def __init__(self, folder: Path, training: str, *, keep: int) -> None:
        self._folder, self._training, self._keep = folder, training, keep

    def save(self, step: int, state: dict[str, Any]) -> None:
        """Write the state after ``step`` steps; the folder appears when all of it is on the disk."""
        with atomic_folder(self._folder / f"step-{step:08d}") as folder:
            torch.save(state, folder / _STATE)
            write_json(folder / "seal.json", _Seal(self._training, step, digest_file(folder / _STATE)))
        for old in self._all()[: -self._keep]:
            shutil.rmtree(old)

    def load(self) -> tuple[int, dict[str, Any]] | None:
        """Step and state of the newest checkpoint whose bytes are what was written; ``None``: start anew.

        Raises:
            SpecError: the folder holds checkpoints of another training.
        """
        for folder in reversed(self._all()):
            try:
                seal = read_json(folder / "seal.json", _Seal)
                sound = digest_file(folder / _STATE) == seal.digest
            except (DataError, OSError):
                continue
            if not sound:
                continue
            if seal.training != self._training:
                raise SpecError(
                    "holds checkpoints of another training (other data, base, seed or settings)",
                    where=str(self._folder),
                    fix="choose another work folder, or delete this one",
                )
            return seal.step, torch.load(folder / _STATE, weights_only=True, map_location="cpu")
        return None

    def clear(self) -> None:
        """Remove them all: the training is over."""
        for folder in self._all():
            shutil.rmtree(folder)

    def _all(self) -> list[Path]:
        return sorted(self._folder.glob("step-*")) if self._folder.is_dir() else []
