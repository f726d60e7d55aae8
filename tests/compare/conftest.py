"""The planted study: drawn once, compared once."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

from epigone.compare import CompareSpec, Measurements, compare
from epigone.records import Results


def load_planted() -> ModuleType:
    spec = importlib.util.spec_from_file_location("planted", Path(__file__).parent / "planted.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["planted"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def planted() -> ModuleType:
    return load_planted()


@pytest.fixture(scope="session")
def measured(planted: ModuleType) -> Measurements:
    found: Measurements = planted.measurements(items=300, prompts=200)
    return found


@pytest.fixture(scope="session")
def results(measured: Measurements) -> Results:
    return compare(measured, CompareSpec(resamples=1000), seed=0)
