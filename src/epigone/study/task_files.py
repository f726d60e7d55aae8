"""What an lm-eval task file is made of: itself, what it includes, its data, the local functions that it calls."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from epigone.errors import DataError

__all__ = ["files_of_task"]


class _Function(str):
    """What stands behind ``!function``: ``module.name``."""


class _Loader(yaml.SafeLoader):
    """Reads a task file as data and imports nothing."""


_Loader.add_constructor("!function", lambda _, node: _Function(node.value))


def files_of_task(path: Path) -> list[Path]:
    """The task file, then every local file and folder that decides what its items and scores are, each once.

    Included task files are followed. A name that is no file here is passed over: it is the hub's, or an installed
    module's, or the benchmark says itself that it is missing.

    Raises:
        DataError: the task file, or one that it includes, cannot be read.
    """
    found: dict[Path, None] = {}
    waiting = [path]
    while waiting:
        task = waiting.pop(0)
        if task in found:
            continue
        found[task] = None
        config = _read(task)
        included = config.get("include") or []
        waiting += [(task.parent / str(name)).resolve() for name in _leaves(included)]
        # Data named in an included file is looked for beside the file that includes it.
        named = [folder / name for name in _data_names(config) for folder in (task.parent, path.parent)]
        named += [
            task.parent / f"{value.rpartition('.')[0].replace('.', '/')}.py"
            for value in _leaves(config)
            if isinstance(value, _Function)
        ]
        found |= dict.fromkeys(file.resolve() for file in named if file.exists())
    return list(found)


def _read(path: Path) -> dict[str, Any]:
    try:
        config = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)  # noqa: S506 - a SafeLoader
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        problem = " ".join(str(error).split())
        raise DataError(f"cannot be read as a task file: {problem}", where=str(path)) from error
    if not isinstance(config, dict):
        raise DataError("cannot be read as a task file: expected a mapping", where=str(path))
    return config


def _data_names(config: dict[str, Any]) -> list[str]:
    options = config.get("dataset_kwargs")
    options = options if isinstance(options, dict) else {}
    places = [config.get("dataset_path"), options.get("data_files"), options.get("data_dir")]
    return [str(name) for name in _leaves(places) if name]


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for inner in value:
            yield from _leaves(inner)
    else:
        yield value
