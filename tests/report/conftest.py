"""The planted study's page, written once."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

from epigone.records import Results
from epigone.report import write_report


def _fixture() -> ModuleType:
    spec = importlib.util.spec_from_file_location("page_fixture", Path(__file__).parent / "page_fixture.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["page_fixture"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def page_fixture() -> ModuleType:
    return _fixture()


@pytest.fixture(scope="session")
def planted_results(page_fixture: ModuleType) -> Results:
    found: Results = page_fixture.planted_results()
    return found


@pytest.fixture(scope="session")
def page(page_fixture: ModuleType, planted_results: Results, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report(page_fixture.page_content(planted_results), tmp_path_factory.mktemp("page") / "index.html")
