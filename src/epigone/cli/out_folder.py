"""Where a command writes."""

from __future__ import annotations

from pathlib import Path

from epigone.disk.atomic_write import disk_errors
from epigone.errors import SpecError

__all__ = ["make_folder"]


def make_folder(path: Path, *, option: str = "--out") -> Path:
    """The folder for a command's results, made where it is not there yet.

    Raises:
        SpecError: there is a file of that name.
        DiskError: it cannot be made.
    """
    if path.exists() and not path.is_dir():
        raise SpecError("is a file, and a folder is needed", where=f"{option} {path}", fix="name another folder")
    with disk_errors(path):
        path.mkdir(parents=True, exist_ok=True)
    return path
