"""A real endpoint that refuses a tenth of the items: they are missing, counted, and asked again."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest

from epigone.cli import main
from epigone.cli.evaluate_settings import read_settings
from epigone.disk import read_json
from epigone.errors import SpecError
from epigone.evaluate.benchmarks import BenchmarkSpec, run_benchmarks
from epigone.models import ApiSpec, RequestCache, TextModel, open_model


class Endpoint(BaseHTTPRequestHandler):
    """Answers every question with Oslo, except those about people whose number ends in ``refuses``."""

    protocol_version = "HTTP/1.1"
    refuses: ClassVar[str] = ""
    calls: ClassVar[list[str]] = []

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        question = body["messages"][-1]["content"].rsplit("Q: ", 1)[-1]
        self.calls.append(question)
        if self.refuses and f"{self.refuses} born" in question:
            return self._send(400, {"error": {"message": "not this one", "type": "invalid_request_error"}})
        message = {"role": "assistant", "content": "Oslo"}
        choice = {"index": 0, "finish_reason": "stop", "message": message}
        usage = {"prompt_tokens": 10, "completion_tokens": 1, "total_tokens": 11}
        return self._send(
            200,
            {"id": "1", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice], "usage": usage},
        )

    def _send(self, status: int, body: object) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def address() -> Iterator[str]:
    Endpoint.calls, Endpoint.refuses = [], "7"
    with ThreadingHTTPServer(("127.0.0.1", 0), Endpoint) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/v1"
        server.shutdown()
        thread.join()


@pytest.fixture
def teacher(address: str, tmp_path: Path) -> TextModel:
    spec = ApiSpec(base_url=address, model="m", max_concurrency=2)
    return open_model(spec, cache=RequestCache(tmp_path / "requests.sqlite"))


def test_refused_items_are_missing_and_the_next_run_completes_them_alone(
    teacher: TextModel, world: Path, tmp_path: Path
) -> None:
    spec = BenchmarkSpec(task=str(world / "people_qa.yaml"))
    rows = run_benchmarks(teacher, [spec], chat=True, seed=0, out=tmp_path / "out")
    assert [row.item for row in rows if row.status == "refused"] == ["00001", "00011"]
    scored = [row for row in rows if "exact_match" in row.scores]
    assert (len(scored), len(rows)) == (10, 12)
    assert all(row.scores == {} for row in rows if row.status != "ok")

    record = read_json(tmp_path / "out" / "evaluation.json", dict[str, Any])
    ((reason, count),) = record["tasks"]["people_qa"]["problems"].items()
    assert "not this one" in reason
    assert count == 2

    asked_before = len(Endpoint.calls)
    Endpoint.refuses = ""
    rows = run_benchmarks(teacher, [spec], chat=True, seed=0, out=tmp_path / "out")
    assert len(Endpoint.calls) - asked_before == 2
    assert all(row.status == "ok" for row in rows)
    assert sum(row.scores["exact_match"] for row in rows) == 3
    assert "problems" not in read_json(tmp_path / "out" / "evaluation.json", dict[str, Any])["tasks"]["people_qa"]


def test_a_run_killed_between_chunks_goes_on_from_disk(
    world: Path, tmp_path: Path, scripted: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("epigone.evaluate.benchmarks.ledger.FIRST_PART", 5)

    class Dies(scripted):  # type: ignore[misc]
        def generate(self, requests: Any, progress: Any = None) -> Any:
            if self.asked:
                raise KeyboardInterrupt
            return super().generate(requests, progress)

    spec = BenchmarkSpec(task=str(world / "people_qa.yaml"))
    with pytest.raises(KeyboardInterrupt):
        run_benchmarks(Dies(lambda _: "Oslo"), [spec], chat=False, seed=0, out=tmp_path / "out")
    rest = scripted(lambda _: "Oslo")
    rows = run_benchmarks(rest, [spec], chat=False, seed=0, out=tmp_path / "out")
    assert len(rest.asked) == 7
    assert rows == run_benchmarks(scripted(lambda _: "Oslo"), [spec], chat=False, seed=0)


def test_the_command_takes_endpoint_and_budget_from_its_settings_and_goes_on_with_more(
    address: str, world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, out = world / "measure.yaml", tmp_path / "out"
    command = ["epigone", "evaluate", "--settings", str(settings), "--out", str(out), "--chat"]

    def run(tokens: int, *more: str) -> tuple[object, str, str]:
        settings.write_text(
            f"api: {{base_url: '{address}', model: m, max_concurrency: 1}}\n"
            f"budget: {{tokens: {tokens}}}\nbenchmarks: [people_qa.yaml]\n"
        )
        monkeypatch.setattr("sys.argv", [*command, *more])
        with pytest.raises(SystemExit) as ended:
            main()
        return (ended.value.code, *capsys.readouterr())

    code, _, said = run(300)
    assert code != 0
    assert "budget" in said
    paid = len(Endpoint.calls)
    assert 0 < paid < 12
    code, table, said = run(100_000)
    assert code == 0
    assert ["people_qa", "exact_match", "0.300", "10/12"] in [line.split() for line in table.splitlines()]
    assert "people_qa: 2 requests without an answer" in said
    assert "of 100,000 tokens" in said
    assert len(Endpoint.calls) <= 12 + 2  # at most those that were refused are asked a second time
    code, _, said = run(100_000, "another-model")
    assert code == 2
    assert "two models are named" in said


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("api: {base_url: 'http://a/v1', model: m}\nlocal: {hf: b}", "give one of 'api', 'local' and 'serve'"),
        ("benchmark: [nq]", "unknown key 'benchmark'; did you mean 'benchmarks'"),
        ("benchmarks: [{task: nq, item: 3}]", "did you mean 'items'"),
        ("- nq", "expected a mapping"),
        ("toxicity: {scorer: lexicon}", "toxicity"),
    ],
)
def test_faulty_settings_are_refused(tmp_path: Path, written: str, message: str) -> None:
    (tmp_path / "measure.yaml").write_text(written)
    with pytest.raises(SpecError, match=message):
        read_settings(tmp_path / "measure.yaml")


def test_paths_in_settings_start_at_their_folder(tmp_path: Path) -> None:
    (tmp_path / "student").mkdir()
    (tmp_path / "measure.yaml").write_text(
        "local: {hf: student}\nbenchmarks: [mmlu, {task: qa.yaml, data: {test: a.jsonl}}]\n"
        "toxicity: {prompts: rtp.jsonl}\n"
    )
    settings = read_settings(tmp_path / "measure.yaml")
    assert settings.local is not None
    assert settings.local.hf == str(tmp_path / "student")
    assert settings.benchmarks[0].task == "mmlu"
    assert settings.benchmarks[1].task == str(tmp_path / "qa.yaml")
    assert settings.benchmarks[1].data == {"test": tmp_path / "a.jsonl"}
    assert settings.toxicity is not None
    assert settings.toxicity.prompts == tmp_path / "rtp.jsonl"
