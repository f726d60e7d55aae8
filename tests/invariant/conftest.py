"""Trainings over several processes."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

_spec = importlib.util.spec_from_file_location("forked_trainings", Path(__file__).with_name("forked_trainings.py"))
assert _spec is not None and _spec.loader is not None
forked = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(forked)


@pytest.fixture(scope="module")
def trainings() -> Iterator[Any]:
    """A server that runs trainings in processes of their own."""
    with forked.Trainings() as running:
        yield running
