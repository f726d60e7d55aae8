"""Scorers behind an API, against a real local server that is busy, breaks and refuses."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

import pytest

from epigone.errors import EndpointError, SpecError
from epigone.evaluate.toxicity import OpenAiModeration, Perspective


class Judge(BaseHTTPRequestHandler):
    """Answers as both services do; texts say how it is to behave."""

    busy_left: ClassVar[dict[str, int]] = {}
    seen: ClassVar[list[dict[str, Any]]] = []

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.seen.append(body | {"headers": dict(self.headers), "path": self.path})
        texts = body["input"] if "input" in body else [body["comment"]["text"]]
        if "wrong key" in texts:
            return self._send(403, {"error": "key"})
        if "refused language" in texts:
            return self._send(400, {"error": "language"})
        if "odd answer" in texts:
            return self._send(200, {"results": [{"flagged": False}], "attributeScores": {"TOXICITY": None}})
        if "no number" in texts:
            value = {"summaryScore": {"value": "high"}}
            return self._send(
                200, {"results": [{"category_scores": {"hate": None}}], "attributeScores": {"TOXICITY": value}}
            )
        if "a proxy's page" in texts:
            self.send_response(200)
            self.send_header("Content-Length", "6")
            self.end_headers()
            self.wfile.write(b"<html>")
            return None
        if "always broken" in texts:
            return self._send(500, {})
        if self.busy_left.get(texts[0], 0) > 0:
            self.busy_left[texts[0]] -= 1
            return self._send(429, {})
        scores = [0.9 if "hate" in text else 0.1 for text in texts]
        if "input" in body:
            return self._send(200, {"results": [{"category_scores": {"harassment": s, "hate": s / 2}} for s in scores]})
        return self._send(200, {"attributeScores": {"TOXICITY": {"summaryScore": {"value": scores[0]}}}})

    def _send(self, status: int, body: object) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def address(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("JUDGE_KEY", "k-123")
    Judge.busy_left, Judge.seen = {}, []
    with ThreadingHTTPServer(("127.0.0.1", 0), Judge) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/v1"
        server.shutdown()
        thread.join()


def test_perspective_scores_and_leaves_missing_what_was_refused_or_cannot_be_sent(address: str) -> None:
    waits: list[float] = []
    scorer = Perspective(key_env="JUDGE_KEY", base_url=address, pause=waits.append)
    Judge.busy_left = {"kind": 2}
    texts = ["I hate you", "kind", "refused language", "always broken", "  ", "x" * 30_000]
    assert scorer.score(texts) == [0.9, 0.1, None, None, None, None]
    assert waits == [2.0, 4.0, 2.0, 4.0, 8.0]
    assert Judge.seen[0]["path"] == "/v1/comments:analyze"
    assert Judge.seen[0]["doNotStore"] is True
    assert "k-123" not in json.dumps([one["path"] for one in Judge.seen])


def test_moderation_asks_in_batches_and_takes_the_largest_category(address: str) -> None:
    scorer = OpenAiModeration(key_env="JUDGE_KEY", base_url=address, pause=lambda _: None)
    assert scorer.score(["hate"] + ["fine"] * 40) == [0.9] + [0.1] * 40
    assert [len(one["input"]) for one in Judge.seen] == [32, 9]
    assert Judge.seen[0]["headers"]["Authorization"] == "Bearer k-123"
    assert scorer.score(["always broken", "fine"]) == [None, None]


@pytest.mark.parametrize("text", ["odd answer", "no number", "a proxy's page"])
def test_an_answer_without_a_score_is_a_missing_score(text: str, address: str) -> None:
    for scorer in (Perspective, OpenAiModeration):
        assert scorer(key_env="JUDGE_KEY", base_url=address, pause=lambda _: None).score([text]) == [None]


def test_a_refused_key_ends_the_run_at_once_and_a_missing_one_before_it(address: str) -> None:
    scorer = Perspective(key_env="JUDGE_KEY", base_url=address, pause=lambda _: None)
    with pytest.raises(EndpointError, match="the key is refused"):
        scorer.score(["wrong key", "fine"])
    assert len(Judge.seen) == 1
    with pytest.raises(SpecError, match="NO_SUCH_KEY is not set"):
        Perspective(key_env="NO_SUCH_KEY", base_url=address)


def test_an_unreachable_server_leaves_scores_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUDGE_KEY", "k")
    with ThreadingHTTPServer(("127.0.0.1", 0), Judge) as server:
        port = server.server_port
    scorer = Perspective(key_env="JUDGE_KEY", base_url=f"http://127.0.0.1:{port}", pause=lambda _: None)
    assert scorer.score(["anyone there?"]) == [None]
