"""The content-addressed store of a run: a folder a job, complete when its manifest is there.

runs/<name>/
  jobs/<stage>-<digest>/   spec.json, outputs, manifest.json (written last, atomically), work/ (gone when finished)
  cache/requests.sqlite
  events.jsonl
"""

from __future__ import annotations

import fcntl
import os
import platform
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from msgspec import Struct

from epigone import __version__
from epigone.disk import digest_file, read_json, write_json
from epigone.disk.atomic_write import disk_errors
from epigone.errors import DataError, DiskError, SpecError
from epigone.study.job import Job

__all__ = ["Manifest", "OutputFile", "Store"]

_NOTED_PACKAGES = ("torch", "transformers", "lm-eval", "numpy", "scipy", "openai", "sacrebleu", "rouge-score")


class OutputFile(Struct, frozen=True):
    """One file that a job left: its SHA-256 and size in bytes."""

    sha256: str
    size: int


class Manifest(Struct, frozen=True, kw_only=True):
    """Says that a job is finished, with what, in how long, by which versions. ``peak_memory_mib`` is the worker's."""

    id: str
    stage: str
    title: str
    outputs: dict[str, OutputFile]
    seconds: float
    peak_memory_mib: float
    threads: int
    versions: dict[str, str]
    machine: str


class Store:
    """The jobs of one run on the disk."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.jobs = root / "jobs"
        self.cache = root / "cache" / "requests.sqlite"

    def folder(self, job_id: str) -> Path:
        """Where a job's outputs are."""
        return self.jobs / job_id

    def is_done(self, job_id: str) -> bool:
        """Whether the manifest is there and every output it names has the recorded size."""
        folder = self.folder(job_id)
        if not (folder / "manifest.json").is_file():
            return False
        try:
            manifest = read_json(folder / "manifest.json", Manifest)
        except DataError:
            return False
        return all(
            (folder / name).is_file() and (folder / name).stat().st_size == output.size
            for name, output in manifest.outputs.items()
        )

    def manifest(self, job_id: str) -> Manifest:
        """The manifest of a finished job."""
        return read_json(self.folder(job_id) / "manifest.json", Manifest)

    def begin(self, job: Job) -> tuple[Path, Path]:
        """Make the job's folder ready: leftovers of a killed attempt go, its ``work`` folder stays."""
        folder = self.folder(job.id)
        with disk_errors(folder):
            work = folder / "work"
            work.mkdir(parents=True, exist_ok=True)
            for leftover in folder.iterdir():
                if leftover.name == "work":
                    continue
                if leftover.is_dir():
                    shutil.rmtree(leftover)
                else:
                    leftover.unlink()
        write_json(folder / "spec.json", job)
        return folder, work

    def finish(self, job: Job, *, seconds: float, peak_memory_mib: float, threads: int) -> None:
        """Remove the scratch folder and write the manifest: from now on the job is done."""
        folder = self.folder(job.id)
        with disk_errors(folder):
            shutil.rmtree(folder / "work", ignore_errors=True)
            outputs = {
                file.relative_to(folder).as_posix(): OutputFile(digest_file(file), file.stat().st_size)
                for file in sorted(folder.rglob("*"))
                if file.is_file()
            }
        manifest = Manifest(
            id=job.id,
            stage=job.stage,
            title=job.title,
            outputs=outputs,
            seconds=round(seconds, 3),
            peak_memory_mib=round(peak_memory_mib, 1),
            threads=threads,
            versions=installed_versions(),
            machine=f"{platform.machine()}, {os.cpu_count()} cores, {platform.system()}",
        )
        write_json(folder / "manifest.json", manifest)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the run for this process; the operating system lets go when the process ends, however it ends.

        Raises:
            SpecError: another process is running this study now.
            DiskError: the run folder cannot be made.
        """
        with disk_errors(self.root):
            self.jobs.mkdir(parents=True, exist_ok=True)
            self.cache.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self.root / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise SpecError(
                    "another process is running this study now",
                    where=str(self.root),
                    fix="wait for it, or give another run folder with --out",
                ) from None
            except OSError as error:
                raise DiskError(f"cannot lock the run folder: {error.strerror}", where=str(self.root)) from error
            yield
        finally:
            os.close(descriptor)


def installed_versions() -> dict[str, str]:
    """Versions of epigone, Python and the packages that a result can depend on."""
    found = {"epigone": __version__, "python": platform.python_version()}
    for package in _NOTED_PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
