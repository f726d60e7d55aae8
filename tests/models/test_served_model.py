"""A student behind a server of another engine: started by its own command line, asked like any endpoint, stopped."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from epigone.errors import EndpointError, MissingDependency, SpecError
from epigone.models import LocalSpec, RequestCache, ServedModel, ServerSpec, ServeSpec, open_model
from epigone.models.local import load_local
from epigone.records import Message, Request, ScoreRequest
from epigone.specs import parse_spec

# Takes the arguments that vLLM's own program takes (vllm serve MODEL --host … --port … --served-model-name … --dtype …)
# and answers with this machine's engine; an argument that it does not know ends it, as it would end vLLM.
VLLM = """#!{python}
import argparse, os, sys
parser = argparse.ArgumentParser()
parser.add_argument("verb", choices=["serve"])
parser.add_argument("model")
for option in ("host", "port", "served-model-name", "dtype", "max-model-len"):
    parser.add_argument("--" + option, required=option != "max-model-len")
given = parser.parse_args()
print("started with", given.max_model_len, flush=True)
command = [sys.executable, "-m", "epigone.models.serving", given.model, "--host", given.host, "--port", given.port]
os.execv(sys.executable, [*command, "--name", given.served_model_name, "--dtype", given.dtype])
"""


@pytest.fixture
def vllm_on_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "bin" / "vllm"
    program.parent.mkdir()
    program.write_text(VLLM.format(python=sys.executable))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=":")


@pytest.mark.slow
def test_a_student_behind_vllms_command_line_is_asked_and_scored_like_the_model_itself(
    make_model: Callable[..., Path], tmp_path: Path, vllm_on_path: None
) -> None:
    folder = make_model("llama")
    local = load_local(LocalSpec(hf=str(folder), dtype="float64"))
    spec = ServeSpec(hf=str(folder), engine="vllm", dtype="float64", arguments=("--max-model-len", "128"))
    asked = (Message("user", "Where is boat seven?"),)
    requests = [Request(messages=asked, max_tokens=9, seed=1), Request(prompt="Boat", max_tokens=9, seed=1)]
    scores = [ScoreRequest(messages=asked, continuation=" in Kiel"), ScoreRequest(prompt="Boat", continuation=" seven")]
    cache = RequestCache(tmp_path / "requests.sqlite")
    served = open_model(spec, cache=cache)
    assert isinstance(served, ServedModel)
    try:
        pid = served.pid
        assert [reply.text for reply in served.generate(requests)] == [reply.text for reply in local.generate(requests)]
        for there, here in zip(served.score(scores), local.score(scores), strict=True):
            assert (there.status, there.tokens) == ("ok", here.tokens)
            assert there.logprob == pytest.approx(here.logprob, abs=1e-5)
        assert served.parameters == local.parameters
    finally:
        served.close()
    assert pid is not None
    assert not any(child.pid == pid for child in psutil.Process().children(recursive=True))
    assert "started with 128" in (tmp_path / "server.log").read_text()
    kept = cache.usage().replies
    other = open_model(ServeSpec(hf=str(folder), dtype="float32"), cache=cache)
    try:
        other.generate(requests[:1])
    finally:
        other.close()
    assert cache.usage().replies == kept + 1, "an answer of one engine was taken for another's"


def test_an_engine_that_is_not_installed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / "student").mkdir()
    with pytest.raises(MissingDependency, match=r"'vllm' is not installed\n  fix: pip install vllm"):
        open_model(
            ServeSpec(hf=str(tmp_path / "student"), engine="vllm"), cache=RequestCache(tmp_path / "requests.sqlite")
        )


@pytest.mark.slow
def test_an_engine_that_ends_at_once_is_quoted_and_leaves_no_process(
    tmp_path: Path, make_model: Callable[..., Path], vllm_on_path: None
) -> None:
    spec = ServeSpec(hf=str(make_model("llama")), engine="vllm", arguments=("--no-such-option",))
    begun = time.monotonic()
    with pytest.raises(EndpointError, match="unrecognized arguments: --no-such-option"):
        open_model(spec, cache=RequestCache(tmp_path / "requests.sqlite"))
    assert time.monotonic() - begun < 60
    assert not [child for child in psutil.Process().children() if "leash" in " ".join(child.cmdline())]


def test_an_engine_is_named_in_one_word_or_by_its_command() -> None:
    assert ServerSpec.model_validate("vllm") == ServerSpec(engine="vllm")
    other = "llama-server --model {model} --alias {name} --port {port}"
    assert ServerSpec.model_validate(other).chat_scores == "first_token"
    with pytest.raises(SpecError, match=r"must be epigone, vllm, or a command that contains \{model\} and \{port\}"):
        parse_spec(ServeSpec, {"hf": "student", "engine": "vlm"}, where="study.yaml")
