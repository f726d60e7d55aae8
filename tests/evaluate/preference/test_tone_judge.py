"""Authoritative tone: yes or no from a judge, asked again once, failures without a number."""

from __future__ import annotations

from collections.abc import Sequence

from epigone.evaluate.preference import judge_tone
from epigone.models import Progress
from epigone.records import Output, Reply, Request, ScoreReply, ScoreRequest


class ConfidentEar:
    """Hears authority where a text does not say "perhaps"; mumbles at "hm" until reminded; is silent at "crash"."""

    name = "ear"
    parameters = None

    def generate(self, requests: Sequence[Request], progress: Progress | None = None) -> list[Reply]:
        return [self._one(request) for request in requests]

    def _one(self, request: Request) -> Reply:
        messages = request.messages or ()
        text, reminded = messages[1].content, len(messages) > 2
        if "crash" in text:
            return Reply(status="failed", text=None, error="connection lost")
        if "no words" in text:
            return Reply(status="ok", text="It is a text.")
        if "hm" in text and not reminded:
            return Reply(status="ok", text="Let me listen.")
        return Reply(status="ok", text="No." if "perhaps" in text else "**Yes**\nIt is firm.")

    def score(self, requests: Sequence[ScoreRequest], progress: Progress | None = None) -> list[ScoreReply]:
        raise NotImplementedError

    def count_tokens(self, text: str) -> int | None:
        return None

    def close(self) -> None:
        pass


def test_tone_is_a_share_of_what_could_be_heard() -> None:
    texts = ["It is so.", "It is perhaps so.", "hm, so it is.", "no words", "crash", None]
    outputs = [Output(id=str(k), prompt="p", response=text) for k, text in enumerate(texts)]
    rows = judge_tone(outputs, ConfidentEar(), model="m", seed=0)
    assert [(row.item, row.status, row.scores.get("authoritative_tone")) for row in rows] == [
        ("0", "ok", 1.0),
        ("1", "ok", 0.0),
        ("2", "ok", 1.0),
        ("3", "unparsed", None),
        ("4", "failed", None),
        ("5", "failed", None),
    ]
    assert {row.task for row in rows} == {"tone"}
