"""Checkpoints of a training that is under way: whole or absent, newest sound one first."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch.distributed as dist
from msgspec import Struct

from epigone.disk import atomic_folder, digest_folder, read_json, write_json
from epigone.errors import DataError, DiskError, SpecError
from epigone.train.capacity import full_disk_named
from epigone.train.parallel import Team
from epigone.train.record import CourseFacts

__all__ = ["Checkpoints"]

_SEAL = "seal.json"
_FACTS = "facts.json"
_CONTENT = "state"


class _Seal(Struct, frozen=True):
    training: str
    digest: str


class Checkpoints:
    """The checkpoints of one training in one folder.

    Args:
        folder: where they live.
        training: digest of everything that the training was given; a checkpoint of another one is refused.
        keep: how many of the newest stay.
        team: the processes that save together.
    """

    def __init__(self, folder: Path, training: str, *, keep: int, team: Team) -> None:
        self._folder, self._training, self._keep, self._team = folder, training, keep, team
        if team.size > 1:
            self._check_shared()

    def save(self, facts: CourseFacts, write: Callable[[Path], None]) -> None:
        """Let ``write`` fill the state's folder; the checkpoint appears, sealed, when all of it is on the disk."""
        with self._whole(self._folder / f"step-{facts.done:08d}") as folder:
            with full_disk_named(self._folder):
                write(folder / _CONTENT)
            if self._team.size > 1:
                dist.barrier()
            if self._team.leads:
                write_json(folder / _CONTENT / _FACTS, facts)
                write_json(folder / _SEAL, _Seal(self._training, digest_folder(folder / _CONTENT)))
        if self._team.leads:
            for old in self._all()[: -self._keep]:
                shutil.rmtree(old)

    def load(self) -> tuple[CourseFacts, Path] | None:
        """Facts and state's folder of the newest checkpoint whose bytes are what was written; ``None``: start anew.

        What a process that was killed while saving left half-written is removed.

        Raises:
            SpecError: the folder holds checkpoints of another training.
        """
        if self._team.leads:
            for partial in self._folder.glob(".step-*.part"):
                shutil.rmtree(partial)
        for folder in reversed(self._all()):
            seal = _sound_seal(folder)
            if seal is None:
                continue
            if seal.training != self._training:
                raise SpecError(
                    "holds checkpoints of another training (other data, base, seed or settings)",
                    where=str(self._folder),
                    fix="choose another work folder, or delete this one",
                )
            return read_json(folder / _CONTENT / _FACTS, CourseFacts), folder / _CONTENT
        return None

    def clear(self) -> None:
        """Remove them all: the training is over."""
        if self._team.leads:
            for folder in self._all():
                shutil.rmtree(folder)

    def _all(self) -> list[Path]:
        return sorted(self._folder.glob("step-*")) if self._folder.is_dir() else []

    def _check_shared(self) -> None:
        """Refuse a folder that is not the same for the whole team: each process writes its own part of a checkpoint."""
        sign = self._folder / ".seen-by-all"
        if self._team.leads:
            self._folder.mkdir(parents=True, exist_ok=True)
            sign.touch()
        dist.barrier()
        seen = [False] * self._team.size
        dist.all_gather_object(seen, sign.exists())
        dist.barrier()
        if self._team.leads:
            sign.unlink()
        if not all(seen):
            raise DiskError(
                f"{seen.count(False)} of {len(seen)} processes do not see this folder as the first one does",
                where=str(self._folder),
                fix="put --out, and with it the work folder, on a file system that every machine mounts",
            )

    @contextmanager
    def _whole(self, path: Path) -> Iterator[Path]:
        """A folder that appears at ``path`` at the end; a team's processes write into the same one."""
        if self._team.size == 1:
            with atomic_folder(path) as folder:
                (folder / _CONTENT).mkdir()
                yield folder
            return
        partial = path.with_name(f".{path.name}.part")
        if self._team.leads:
            shutil.rmtree(partial, ignore_errors=True)
            (partial / _CONTENT).mkdir(parents=True)
        dist.barrier()
        yield partial
        dist.barrier()
        if self._team.leads:
            shutil.rmtree(path, ignore_errors=True)
            partial.rename(path)
        dist.barrier()


def _sound_seal(folder: Path) -> _Seal | None:
    """The seal of a checkpoint whose files are those that were sealed."""
    try:
        seal = read_json(folder / _SEAL, _Seal)
    except DataError:
        return None
    return seal if digest_folder(folder / _CONTENT) == seal.digest else None
