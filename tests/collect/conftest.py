"""Two teachers: one scripted in the process, one behind real HTTP on the loopback."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from epigone.models import Progress
from epigone.records import Reply, Request, ScoreReply, ScoreRequest


class ScriptedTeacher:
    """Answers request number i (in the order of asking) by ``write(request, i)``; keeps every request."""

    name = "scripted"
    parameters = None

    def __init__(self, write: Callable[[Request, int], Reply | str]) -> None:
        self.write = write
        self.requests: list[Request] = []
        self.calls: list[int] = []

    def generate(self, requests: Sequence[Request], progress: Progress | None = None) -> list[Reply]:
        self.calls.append(len(requests))
        replies = []
        for done, request in enumerate(requests, 1):
            reply = self.write(request, len(self.requests))
            self.requests.append(request)
            if isinstance(reply, str):
                reply = Reply(
                    status="ok", text=reply, digest=f"d{len(self.requests)}", prompt_tokens=10, completion_tokens=5
                )
            replies.append(reply)
            if progress is not None:
                progress(done, len(requests))
        return replies

    def score(self, requests: Sequence[ScoreRequest], progress: Progress | None = None) -> list[ScoreReply]:
        raise AssertionError("a teacher is not asked for scores here")

    def count_tokens(self, text: str) -> int | None:
        return len(text.split())

    def close(self) -> None:
        pass


@pytest.fixture
def scripted() -> type[ScriptedTeacher]:
    return ScriptedTeacher


@pytest.fixture(scope="session")
def loopback() -> Any:
    """The class in ``loopback_teacher.py``: a teacher that is asked over real HTTP."""
    path = Path(__file__).with_name("loopback_teacher.py")
    spec = importlib.util.spec_from_file_location("epigone_tests_loopback_teacher", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.LoopbackTeacher
