"""Imports go one way, rooms in one brace never meet, and torch stays where it belongs."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src" / "epigone"
LEVELS: dict[str, int] = {
    "errors": 0,
    "records": 0,
    "specs": 1,
    "page_text": 1,
    "token_text": 1,
    "disk": 2,
    "models": 3,
}
LEVELS |= dict.fromkeys(("collect", "curate", "train", "evaluate", "compare", "report"), 4)
LEVELS |= {"__main__": 8, "study": 5, "microworld": 6, "cli": 7}
TORCH = ("torch", "transformers", "safetensors", "tokenizers", "peft", "accelerate")
TORCH_ROOMS = ("train/", "models/local", "microworld/")


def modules() -> list[Path]:
    return sorted(SOURCE.rglob("*.py"))


def room_of(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def imports_of(path: Path) -> Iterator[tuple[str, int, bool]]:
    """(imported module, line, whether the import stands inside a function)."""
    tree = ast.parse(path.read_text())
    inside = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node.lineno, id(node) in inside
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            yield node.module, node.lineno, id(node) in inside


@pytest.mark.parametrize("path", modules(), ids=lambda path: path.relative_to(SOURCE).as_posix())
def test_imports_point_down_the_house(path: Path) -> None:
    room = room_of(path)
    if room == "__init__":
        return
    assert room in LEVELS, f"{path}: a room that the house does not know"
    for module, line, _ in imports_of(path):
        if not module.startswith("epigone.") and module != "epigone":
            continue
        other = module.split(".")[1] if "." in module else "__init__"
        if other in (room, "__init__"):
            continue
        assert LEVELS[other] < LEVELS[room], f"{path}:{line}: {room} may not import {other}"


@pytest.mark.parametrize("path", modules(), ids=lambda path: path.relative_to(SOURCE).as_posix())
def test_torch_is_imported_only_where_it_belongs(path: Path) -> None:
    where = path.relative_to(SOURCE).as_posix()
    if where.startswith(TORCH_ROOMS):
        return
    for module, line, inside in imports_of(path):
        assert module.split(".")[0] not in TORCH or inside, (
            f"{path}:{line}: {module} outside train, models/local, microworld"
        )


def test_own_modules_are_not_imported_inside_functions_to_dodge_a_cycle() -> None:
    """Only where a heavy optional dependency begins: the lists below name each such place."""
    allowed = {
        "cli": "a command imports its room when it runs, so that `epigone --help` stays quick",
        "models/open_model.py": "the local engine needs torch",
        "models/serving": "the local engine needs torch",
        "study/jobs": "a job imports its room when it runs, so that a worker holds only what it needs",
        "microworld/world_jobs.py": "the same: writing the world's texts waits for no torch",
    }
    offenders = [
        f"{path.relative_to(SOURCE)}:{line}: {module}"
        for path in modules()
        if not path.relative_to(SOURCE).as_posix().startswith(tuple(allowed))
        for module, line, inside in imports_of(path)
        if inside and module.startswith("epigone")
    ]
    assert offenders == []
