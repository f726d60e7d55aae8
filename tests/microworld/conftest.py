"""A small world, written once for all tests of the room."""

from __future__ import annotations

from pathlib import Path

import pytest

from epigone.microworld import SCALES, Encyclopaedia, Scale, make_encyclopaedia, write_world


@pytest.fixture(scope="session")
def scale() -> Scale:
    return SCALES["smoke"]


@pytest.fixture(scope="session")
def world(scale: Scale) -> Encyclopaedia:
    return make_encyclopaedia(scale, seed=0)


@pytest.fixture(scope="session")
def world_folder(scale: Scale, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("microworld") / "files"
    write_world(folder, scale=scale, seed=0)
    return folder
