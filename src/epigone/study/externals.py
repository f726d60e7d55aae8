"""What a job depends on from outside: files and models named in a spec, told apart from how it was written down.

A job's identity must not change when a folder moves or when only the number of threads differs. :func:`detach` takes
the paths out of a spec, replaces each by its content's digest, and marks what concerns the machine only;
:func:`attach` puts the paths back when the job runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from msgspec import Struct

from epigone.disk import digest_file, digest_json, read_json, write_json
from epigone.errors import DataError, ModelError, SpecError
from epigone.specs import Spec, parse_spec
from epigone.study.job import MACHINE_KEY, External, Job, JobContext
from epigone.study.task_files import files_of_task

__all__ = [
    "MACHINE_FIELDS",
    "Digests",
    "attach",
    "attach_list",
    "attached",
    "detach",
    "detach_list",
    "resolve",
    "with_absolute_paths",
]

_MACHINE_FIELDS = """
    threads device batch_tokens batch_rows log_every checkpoint_every_steps checkpoint_every_minutes keep price key_env
    base_url max_concurrency requests_per_minute tokens_per_minute timeout_s max_attempts batch_endpoint batch_poll_s
"""
MACHINE_FIELDS = frozenset(_MACHINE_FIELDS.split())
"""Fields that decide where and how fast a job runs, never what comes out."""

SpecT = TypeVar("SpecT", bound=Spec)


class _Seen(Struct, frozen=True):
    """A file as it was when it was digested; ``name`` is relative to the digested folder."""

    name: str
    size: int
    modified_ns: int


class _Known(Struct, frozen=True):
    files: tuple[_Seen, ...]
    digest: str


class Digests:
    """Digests of outside files, remembered by each file's name, size and time of change: a 26 GB base is read once."""

    def __init__(self, memory: Path | None = None) -> None:
        self._memory = memory
        self._known: dict[str, _Known] = {}
        if memory is not None and memory.is_file():
            with suppress(DataError):  # only a memory: a damaged one is made anew
                self._known = read_json(memory, dict[str, _Known])

    def of(self, path: Path) -> str:
        """SHA-256 of a file's content, of a folder's names and contents."""
        files = [path] if path.is_file() else _files_below(path)
        seen = tuple(_see(file, path) for file in files)
        known = self._known.get(str(path))
        if known is None or known.files != seen:
            digest = digest_file(path) if path.is_file() else _digest_files(path, files)
            self._known[str(path)] = known = _Known(seen, digest)
        return known.digest

    def remember(self) -> None:
        """Write what was digested, for the next start."""
        if self._memory is not None:
            write_json(self._memory, self._known)


def _files_below(folder: Path) -> list[Path]:
    """All files but ``timing.json``: how long a training took says nothing about the model that it made."""
    return sorted(file for file in folder.rglob("*") if file.is_file() and file.name != "timing.json")


def _see(file: Path, root: Path) -> _Seen:
    state = file.stat()
    return _Seen(file.relative_to(root).as_posix(), state.st_size, state.st_mtime_ns)


def _digest_files(folder: Path, files: list[Path]) -> str:
    return digest_json([(file.relative_to(folder).as_posix(), digest_file(file)) for file in files])


def resolve(folder: Path, path: Path | str, *, where: str) -> Path:
    """``path`` against the study file's folder.

    Raises:
        SpecError: there is no such file or folder.
    """
    found = (folder / Path(path).expanduser()).resolve()
    if not found.exists():
        raise SpecError(f"no such file or folder: {path}", where=where, fix=f"paths are relative to {folder}")
    return found


def model_external(folder: Path, name: str, digests: Digests, *, where: str) -> External:
    """A model as an outside input: a local folder by its content, anything else by its hub id.

    Raises:
        ModelError: it looks like a path and is not there, or is a folder without a model.
    """
    local = (folder / Path(name).expanduser()).resolve()
    if local.is_dir():
        if not (local / "config.json").is_file() and not any(local.glob("*.gguf")):
            raise ModelError(
                "the folder has no config.json", where=f"{where}: {name}", fix="name a Hugging Face folder"
            )
        return External(str(local), digests.of(local))
    if name.startswith((".", "/", "~")) or name.count("/") != 1:
        raise ModelError(
            "no such model folder", where=f"{where}: {name}", fix="check the path, or give a hub id org/name"
        )
    return External(name, f"hub:{name}")


def detach(spec: Spec, folder: Path, digests: Digests, *, where: str) -> tuple[dict[str, Any], dict[str, External]]:
    """(plain parameters without paths, machine fields marked; outside inputs by their key in the spec)."""
    files: dict[str, External] = {}
    plain = _detach_value(spec, "", folder, digests, where, files)
    assert isinstance(plain, dict)
    return plain, files


def detach_list(
    specs: Mapping[str, Spec], folder: Path, digests: Digests, *, where: str
) -> tuple[dict[str, Any], dict[str, External]]:
    """:func:`detach` for several named specs at once; input names are prefixed by the spec's name."""
    plain: dict[str, Any] = {}
    files: dict[str, External] = {}
    for name, spec in specs.items():
        plain[name] = _detach_value(spec, name, folder, digests, f"{where}.{name}", files)
    return plain, files


def attach(kind: type[SpecT], params: Mapping[str, Any], context: JobContext) -> SpecT:
    """The spec as it was, with the paths of this machine."""
    return attached(kind, params, context.job)


def attached(kind: type[SpecT], params: Mapping[str, Any], job: Job) -> SpecT:
    """:func:`attach` for a job that does not run."""
    return parse_spec(kind, _attach_value(dict(params), job.files), where=job.title)


def with_absolute_paths(spec: SpecT, folder: Path, *, where: str) -> SpecT:
    """``spec`` with every path made absolute, for a room's function that is called outside a job."""
    plain, files = detach(spec, folder, Digests(), where=where)
    return parse_spec(type(spec), _attach_value(plain, files), where=where)


def attach_list(kind: type[SpecT], params: Mapping[str, Mapping[str, Any]], context: JobContext) -> dict[str, SpecT]:
    """:func:`attach` for what :func:`detach_list` took apart."""
    return {name: attach(kind, plain, context) for name, plain in params.items()}


def _detach_value(value: Any, key: str, folder: Path, digests: Digests, where: str, files: dict[str, External]) -> Any:
    if isinstance(value, Spec):
        plain: dict[str, Any] = {}
        for name in type(value).model_fields:
            inner = getattr(value, name)
            if name in MACHINE_FIELDS:
                plain[name] = {MACHINE_KEY: inner.model_dump(mode="json") if isinstance(inner, Spec) else inner}
                continue
            path = f"{key}.{name}" if key else name
            if name == "hf" and isinstance(inner, str):
                files[path] = model_external(folder, inner, digests, where=where)
                plain[name] = {"$file": path}
            elif isinstance(inner, str) and inner.endswith((".yaml", ".yml")):
                plain[name] = _detach_task(inner, path, folder, digests, where, files)
            else:
                plain[name] = _detach_value(inner, path, folder, digests, where, files)
        return plain
    if isinstance(value, Path):
        found = resolve(folder, value, where=where)
        files[key] = External(str(found), digests.of(found))
        return {"$file": key}
    if isinstance(value, Mapping):
        return {str(k): _detach_value(v, f"{key}.{k}", folder, digests, where, files) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_detach_value(v, f"{key}.{i}", folder, digests, where, files) for i, v in enumerate(value)]
    return value


def _detach_task(
    name: str, key: str, folder: Path, digests: Digests, where: str, files: dict[str, External]
) -> dict[str, str]:
    """A task file counts with everything that it is made of: data, included files, functions."""
    path = resolve(folder, name, where=where)
    files[key] = External(str(path), digest_json([digests.of(file) for file in files_of_task(path)]))
    return {"$file": key}


def _attach_value(value: Any, files: Mapping[str, External]) -> Any:
    if isinstance(value, dict):
        if set(value) == {"$file"}:
            return files[value["$file"]].path
        if set(value) == {MACHINE_KEY}:
            return value[MACHINE_KEY]
        return {k: _attach_value(v, files) for k, v in value.items()}
    if isinstance(value, list):
        return [_attach_value(v, files) for v in value]
    return value
