"""Files and folders that appear whole or not at all, also when the machine stops in the middle."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

import msgspec

from epigone.errors import DiskError

__all__ = ["atomic_folder", "atomic_write", "write_bytes", "write_json", "write_text"]


@contextmanager
def atomic_write(path: Path | str) -> Iterator[IO[bytes]]:
    """Open a temporary file beside ``path``; on success flush it to the disk and rename it over ``path``.

    Raises:
        DiskError: no space, no permission, the folder cannot be made. ``path`` is then as it was before.
    """
    path = Path(path)
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
        try:
            with os.fdopen(descriptor, "wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.chmod(temporary, 0o666 & ~_umask())
            os.replace(temporary, path)
            _sync_folder(path.parent)
        except BaseException:
            with suppress(OSError):
                os.unlink(temporary)
            raise


@contextmanager
def atomic_folder(path: Path | str) -> Iterator[Path]:
    """Give a temporary folder beside ``path``; on success rename it to ``path``, replacing what was there.

    A file appears whole or not at all; a folder that replaces another may, after a crash between the two steps, be
    missing: it is never half there, and never a mixture.

    Raises:
        DiskError: as for :func:`atomic_write`.
    """
    path = Path(path)
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent))
        try:
            yield temporary
            os.chmod(temporary, 0o777 & ~_umask())
            if path.exists():
                shutil.rmtree(path)
            os.replace(temporary, path)
            _sync_folder(path.parent)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise


def write_bytes(path: Path | str, content: bytes) -> None:
    """Write ``content`` atomically."""
    with atomic_write(path) as file:
        file.write(content)


def write_text(path: Path | str, text: str) -> None:
    """Write ``text`` as UTF-8, atomically."""
    write_bytes(path, text.encode("utf-8"))


def write_json(path: Path | str, value: object) -> None:
    """Write ``value`` (records or plain data) as indented JSON with sorted mapping keys, atomically."""
    write_bytes(path, msgspec.json.format(msgspec.json.encode(value, order="deterministic"), indent=2) + b"\n")


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn the operating system's refusals to write into a :class:`DiskError` that names ``path``."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        fix = {
            28: "free some space, or choose another folder, and run the same command again: finished work is kept",
            122: "raise the quota or choose another folder, and run the same command again",
            13: "choose a folder that you may write to",
            30: "choose a folder on a file system that is not read-only",
        }.get(error.errno or 0)
        raise DiskError(f"cannot write: {reason}", where=str(error.filename or path), fix=fix) from error


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current


def _sync_folder(folder: Path) -> None:
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
