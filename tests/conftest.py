"""What every test may ask for: the shared real data, when it is there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

# One thread a test process: two busy processes with two threads each run many times slower on two cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

SHARED_DATA = Path(os.environ.get("EPIGONE_SHARED_DATA", Path(__file__).parents[2] / "shared" / "data"))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data that lies beside the checkout; the project contains none of it."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"real data not found at {SHARED_DATA}: set EPIGONE_SHARED_DATA to run this test")
    return SHARED_DATA
