"""A scripted judge behind a real HTTP endpoint on the loopback, asked through the real client."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from epigone.models import ApiModel, ApiSpec, RequestCache

ANSWERS = re.compile(
    r"^\[Answer (?:of assistant )?(?P<which>[12]) (?P<mark>[0-9a-f]{12})\]\n(?P<text>.*?)\n"
    r"^\[End of answer (?:of assistant )?(?P=which) (?P=mark)\]$",
    re.MULTILINE | re.DOTALL,
)
Script = Callable[[str, str], str | int]
"""(first answer, second answer) → the reply's text, or an HTTP status to fail with."""


def answers_in(prompt: str) -> tuple[str, str]:
    """What a reader of the prompt finds between the marks."""
    found = {match["which"]: match["text"] for match in ANSWERS.finditer(prompt)}
    return found["1"], found["2"]


class ScriptedJudge:
    """Replies from ``script``, and from ``again`` to a reminder; ``asked`` keeps every request's messages."""

    def __init__(self, serve_chat: Callable[[Callable[[list[dict[str, str]]], str | int]], str]) -> None:
        self.spec = ApiSpec(base_url=serve_chat(self.reply), model="scripted", max_attempts=1, timeout_s=10)
        self.script: Script = lambda first, second: "5 5"
        self.again: Script | None = None
        self.asked: list[list[dict[str, str]]] = []

    def reply(self, messages: list[dict[str, str]]) -> str | int:
        self.asked.append(messages)
        reminded = len(messages) > 2
        script = self.again if reminded and self.again else self.script
        return script(*answers_in(messages[1]["content"]))


@pytest.fixture
def judge(serve_chat: Callable[[Callable[[list[dict[str, str]]], str | int]], str]) -> ScriptedJudge:
    return ScriptedJudge(serve_chat)


@pytest.fixture
def judge_model(judge: ScriptedJudge, tmp_path: Path) -> Iterator[ApiModel]:
    model = ApiModel(judge.spec, cache=RequestCache(tmp_path / "requests.sqlite"))
    yield model
    model.close()


@pytest.fixture(scope="session")
def postgres() -> Iterator[Any]:
    """Debian's own PostgreSQL, started for these tests and thrown away; skips loudly where it is not installed."""
    path = Path(__file__).parents[3] / "dev" / "throwaway_postgres.py"
    spec = importlib.util.spec_from_file_location("throwaway_postgres", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    with module.throwaway_postgres() as server:
        if server is None:
            pytest.skip("PostgreSQL is not installed (Debian: apt-get install postgresql)")
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def campaign_place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where a campaign can be made: a new SQLite file; an empty PostgreSQL database."""
    if request.param == "sqlite":
        return str(tmp_path / "campaign.sqlite")
    return str(request.getfixturevalue("postgres").fresh())
