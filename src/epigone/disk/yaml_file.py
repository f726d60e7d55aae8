"""YAML files, read safely, with the line in every error."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from epigone.disk.atomic_write import write_text
from epigone.errors import SpecError

__all__ = ["read_yaml", "write_yaml"]


class _Loader(yaml.SafeLoader):
    """Safe loading that also refuses a key given twice and reads ``1.0e-3`` and ``1e-3`` as numbers."""


def _mapping_without_duplicates(loader: _Loader, node: yaml.MappingNode) -> dict[object, object]:
    seen: set[object] = set()
    for key_node, _ in node.value:
        key = loader.construct_object(key_node, deep=True)
        if key in seen:
            line = key_node.start_mark.line + 1
            problem = f"the key '{key}' is given twice (line {line})"
            raise yaml.constructor.ConstructorError(None, None, problem, key_node.start_mark)
        seen.add(key)
    return loader.construct_mapping(node, deep=True)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?(?:\d+\.?\d*|\.\d+)[eE][-+]?\d+$"), list("-+0123456789.")
)
_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping_without_duplicates)


def read_yaml(path: Path | str) -> object:
    """The document in a YAML file.

    Raises:
        SpecError: the file does not exist, or is not valid YAML (named ``path:line``), or gives a key twice.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise SpecError(f"cannot be read: {error.strerror}", where=str(path), fix="check the path") from error
    except UnicodeDecodeError as error:
        raise SpecError("is not UTF-8 text", where=str(path)) from error
    try:
        return yaml.load(text, Loader=_Loader)  # noqa: S506 - _Loader is a SafeLoader
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}:{mark.line + 1}" if mark is not None else str(path)
        raise SpecError(f"not valid YAML: {getattr(error, 'problem', None) or error}", where=where) from error


class _Dumper(yaml.SafeDumper):
    """Writes a value that stands in two places twice, instead of an anchor and a reference to it."""

    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002 - the signature is yaml's
        return True


def write_yaml(path: Path | str, value: object) -> None:
    """Write plain data as YAML in the order given, atomically."""
    write_text(path, yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120))
