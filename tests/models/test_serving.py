"""A served model answers the official client as the model itself answers, and dies with its parent."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import openai
import pytest

from epigone.errors import EndpointError
from epigone.models import ApiModel, ApiSpec, LocalSpec, RequestCache, ServerProcess
from epigone.models.local import LocalModel, load_local
from epigone.records import Message, Request, ScoreRequest


@pytest.fixture(scope="module")
def folder(make_model: Callable[..., Path]) -> Path:
    return make_model("llama")


@pytest.fixture(scope="module")
def server(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with ServerProcess(str(folder), dtype="float64", log=tmp_path_factory.mktemp("serve") / "serve.log") as running:
        yield running


@pytest.fixture(scope="module")
def local(folder: Path) -> LocalModel:
    return load_local(LocalSpec(hf=str(folder), dtype="float64"))


@pytest.fixture
def client(server: ServerProcess) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=server.base_url, api_key="none", max_retries=0) as opened:
        yield opened


@pytest.fixture
def api(server: ServerProcess, tmp_path: Path) -> ApiModel:
    spec = ApiSpec(base_url=server.base_url, model=server.model_name)
    return ApiModel(spec, cache=RequestCache(tmp_path / "requests.sqlite"))


def user(text: str) -> tuple[Message, ...]:
    return (Message(role="user", content=text),)


def test_the_served_name_carries_the_folders_digest(server: ServerProcess, folder: Path, client: openai.OpenAI) -> None:
    assert server.model_name.startswith(folder.name + "@")
    assert [model.id for model in client.models.list()] == [server.model_name]


def test_an_endpoint_gives_what_the_model_itself_gives(api: ApiModel, local: LocalModel) -> None:
    requests = [
        Request(messages=user(f"Where is boat {number}?"), max_tokens=12, temperature=1.0, seed=3, sample=number % 2)
        for number in range(30)
    ]
    requests += [Request(prompt=f"Boat {number}", max_tokens=9, top_logprobs=2, seed=0) for number in range(10)]
    served = api.generate(requests)
    here = local.generate(requests)
    assert [(reply.status, reply.text) for reply in served] == [(reply.status, reply.text) for reply in here]
    assert [reply.top_logprobs for reply in served] == [reply.top_logprobs for reply in here]


def test_scores_over_the_endpoint_are_those_of_the_model(api: ApiModel, local: LocalModel) -> None:
    requests = [
        ScoreRequest(prompt="Question: Where was Ada Novak born?\nAnswer:", continuation=word)
        for word in (" Lisbon", " Kiel", " in the harbour 😀 of Kiel", "\n\n")
    ]
    for served, here in zip(api.score(requests), local.score(requests), strict=True):
        assert served.status == "ok"
        assert served.logprob == pytest.approx(here.logprob, abs=1e-5)
        assert (served.tokens, served.greedy) == (here.tokens, here.greedy)


def test_a_chat_score_is_that_of_the_first_token_if_it_is_among_the_alternatives(
    api: ApiModel, local: LocalModel
) -> None:
    likely = local.generate([Request(messages=user("A or B?"), max_tokens=1, top_logprobs=3)])[0].top_logprobs[0]
    word = min(likely, key=lambda token: likely[token])
    request = ScoreRequest(messages=user("A or B?"), continuation=word)
    assert api.score([request])[0].logprob == pytest.approx(likely[word], abs=1e-5)
    missing = api.score([ScoreRequest(messages=user("A or B?"), continuation=" not one token")])[0]
    assert missing.status == "failed"
    assert missing.logprob is None
    assert "longer than one token" in (missing.error or "")


def test_the_official_client_streams_what_it_gets_whole(client: openai.OpenAI, server: ServerProcess) -> None:
    messages = [{"role": "user", "content": "Tell me of the harbour."}]
    asked = {"model": server.model_name, "messages": messages, "max_tokens": 40, "temperature": 0}
    whole = client.chat.completions.create(**asked)
    chunks = list(client.chat.completions.create(**asked, stream=True, stream_options={"include_usage": True}))
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == whole.choices[0].message.content
    assert chunks[-1].usage == whole.usage
    assert whole.usage is not None
    assert whole.usage.total_tokens == whole.usage.prompt_tokens + whole.usage.completion_tokens


def test_a_stream_never_shows_a_stop_string_or_its_beginning(
    client: openai.OpenAI, local: LocalModel, server: ServerProcess
) -> None:
    free = local.generate([Request(prompt="Boat", max_tokens=60)])[0].text or ""
    stop = free[20:24]
    asked = {"model": server.model_name, "prompt": "Boat", "max_tokens": 60, "temperature": 0, "stop": [stop]}
    streamed = "".join(chunk.choices[0].text for chunk in client.completions.create(**asked, stream=True))
    assert streamed == free[: free.find(stop)]
    assert streamed == client.completions.create(**asked).choices[0].text


def test_echo_returns_the_prompt_with_the_log_probabilities_of_its_tokens(
    client: openai.OpenAI, local: LocalModel, server: ServerProcess
) -> None:
    prompt = "The quick brown fox – née 😀 – jumps"
    asked = {"model": server.model_name, "prompt": prompt, "echo": True, "logprobs": 3}
    choice = client.completions.create(**asked, max_tokens=0).choices[0]
    assert choice.text == prompt
    logprobs = choice.logprobs
    assert logprobs is not None
    assert logprobs.token_logprobs is not None
    assert logprobs.tokens is not None
    assert logprobs.text_offset is not None
    assert "".join(logprobs.tokens) == prompt
    assert logprobs.token_logprobs[0] is None
    known = [value for value in logprobs.token_logprobs if value is not None]
    first = logprobs.tokens[0]
    expected = local.score([ScoreRequest(prompt=first, continuation=prompt[len(first) :])])[0]
    assert sum(known) == pytest.approx(expected.logprob, abs=1e-4)
    longer = client.completions.create(**asked, max_tokens=2).choices[0]
    assert longer.text.startswith(prompt)
    assert longer.logprobs is not None
    assert len(longer.logprobs.tokens or ()) == len(logprobs.tokens) + 2


def test_several_prompts_choices_and_token_ids_in_one_request(
    client: openai.OpenAI, local: LocalModel, server: ServerProcess
) -> None:
    ids = local.text.encode("Boat seven")
    by_ids = client.completions.create(model=server.model_name, prompt=ids, max_tokens=8, temperature=0)
    by_text = client.completions.create(
        model=server.model_name, prompt=["Boat seven", "Kiel"], max_tokens=8, temperature=0
    )
    assert by_ids.choices[0].text == by_text.choices[0].text
    assert [choice.index for choice in by_text.choices] == [0, 1]
    drawn = client.completions.create(model=server.model_name, prompt="Kiel", max_tokens=8, n=3, seed=1)
    assert len({choice.text for choice in drawn.choices}) == 3


def test_sixty_four_clients_at_once_get_the_answers_of_one(server: ServerProcess, local: LocalModel) -> None:
    prompts = [f"Question {number}: where is it?" for number in range(64)]

    async def ask_all() -> list[str]:
        async with openai.AsyncOpenAI(base_url=server.base_url, api_key="none", max_retries=0, timeout=60) as own:
            options = {"model": server.model_name, "max_tokens": 16, "temperature": 1.0, "seed": 5}
            replies = await asyncio.gather(*(own.completions.create(prompt=prompt, **options) for prompt in prompts))
        return [reply.choices[0].text for reply in replies]

    alone = local.generate([Request(prompt=prompt, max_tokens=16, temperature=1.0, seed=5) for prompt in prompts])
    assert asyncio.run(ask_all()) == [reply.text for reply in alone]


def test_a_whole_continuation_of_messages_is_scored_as_the_model_itself_scores_it(
    server: ServerProcess, local: LocalModel, tmp_path: Path
) -> None:
    spec = ApiSpec(base_url=server.base_url, model=server.model_name, chat_scores="prompt_logprobs")
    api = ApiModel(spec, cache=RequestCache(tmp_path / "requests.sqlite"))
    asked = user("Where was Ada Novak born?")
    words = (" Lisbon", "Lisbon", "  in the harbour of Kiel", " 1,234 née 😀", "\n\nKiel ")
    requests = [ScoreRequest(messages=asked, continuation=word) for word in words]
    others = [user(f"Where is boat {number}?") for number in range(40)]
    firsts = local.generate([Request(messages=other, max_tokens=1) for other in others])
    likely = [(other, reply.text or "") for other, reply in zip(others, firsts, strict=True)]
    requests += [
        ScoreRequest(messages=other, continuation=text) for other, text in likely if text.strip() and text.isascii()
    ][:2]
    assert len(requests) == len(words) + 2
    for request, served, here in zip(requests, api.score(requests), local.score(requests), strict=True):
        assert served.status == "ok", request.continuation
        assert served.logprob == pytest.approx(here.logprob, abs=1e-5)
        assert (served.tokens, served.greedy) == (here.tokens, here.greedy)


def test_a_final_message_left_open_is_continued(client: openai.OpenAI, server: ServerProcess) -> None:
    turns = [{"role": "user", "content": "Where is boat seven?"}]
    asked = {"model": server.model_name, "temperature": 0}
    whole = client.chat.completions.create(**asked, messages=turns, max_tokens=8).choices[0].message.content or ""
    begun = client.chat.completions.create(**asked, messages=turns, max_tokens=3).choices[0].message.content or ""
    opened = {"continue_final_message": True, "add_generation_prompt": False}
    rest = client.chat.completions.create(
        **asked, messages=[*turns, {"role": "assistant", "content": begun}], max_tokens=5, extra_body=opened
    )
    assert begun + (rest.choices[0].message.content or "") == whole


@pytest.mark.parametrize(
    ("change", "status", "says"),
    [
        ({"continue_final_message": True, "add_generation_prompt": False}, 400, "assistant's"),
        ({"continue_final_message": True}, 400, "exactly one"),
        ({"prompt_logprobs": 21}, 400, "prompt_logprobs"),
        ({"model": "gpt-9"}, 404, "gpt-9"),
        ({"messages": []}, 400, "messages"),
        ({"messages": [{"role": "robot", "content": "x"}]}, 400, "role"),
        ({"temperature": -1}, 400, "temperature"),
        ({"max_tokens": "many"}, 400, "max_tokens"),
        ({"tools": [{"type": "function"}]}, 400, "tools"),
        ({"unknown_option": 1}, 400, "unknown_option"),
        ({"messages": [{"role": "user", "content": "boat " * 400}]}, 400, "context"),
        ({"n": 2, "stream": True}, 400, "stream"),
    ],
)
def test_a_malformed_request_gets_an_error_as_openai_shapes_it(
    server: ServerProcess, change: dict[str, object], status: int, says: str
) -> None:
    body = {"model": server.model_name, "messages": [{"role": "user", "content": "x"}], "max_tokens": 3} | change
    answer = httpx.post(f"{server.base_url}/chat/completions", json=body)
    assert answer.status_code == status
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert says in error["message"]


def test_bytes_that_are_no_json_and_addresses_that_are_not_there(server: ServerProcess) -> None:
    broken = httpx.post(f"{server.base_url}/completions", content=b'{"model": ')
    assert (broken.status_code, set(broken.json()["error"])) == (400, {"message", "type", "param", "code"})
    lost = httpx.get(f"{server.base_url}/embeddings")
    assert (lost.status_code, lost.json()["error"]["type"]) == (404, "invalid_request_error")


def test_statistics_and_page_count_what_was_answered(server: ServerProcess) -> None:
    root = server.base_url.removesuffix("/v1")
    before = httpx.get(f"{root}/stats").json()
    body = {"model": server.model_name, "prompt": "Boat", "max_tokens": 2}
    httpx.post(f"{server.base_url}/completions", json=body).raise_for_status()
    after = httpx.get(f"{root}/stats").json()
    assert after["requests_answered"] == before["requests_answered"] + 1
    assert after["completion_tokens"] - before["completion_tokens"] in (1, 2)
    page = httpx.get(root).text
    assert server.model_name in page
    assert "float64" in page


def test_it_listens_on_loopback_only(server: ServerProcess) -> None:
    import psutil

    assert server.pid is not None
    listening = [own for own in psutil.Process(server.pid).net_connections("tcp") if own.status == "LISTEN"]
    assert {own.laddr.ip for own in listening} == {"127.0.0.1"}


@pytest.mark.slow
def test_a_server_dies_with_its_parent_even_by_kill_9(folder: Path, tmp_path: Path) -> None:
    script = (
        "import sys, time\nfrom pathlib import Path\nfrom epigone.models import ServerProcess\n"
        f"with ServerProcess({str(folder)!r}, log=Path({str(tmp_path / 'log')!r})) as server:\n"
        "    print(server.pid, flush=True)\n    time.sleep(600)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    assert ends_within(pid, 5.0)


def ends_within(pid: int, seconds: float) -> bool:
    import psutil

    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return True
        time.sleep(0.05)
    return False


@pytest.mark.slow
def test_the_command_says_where_it_listens_once_it_does(folder: Path) -> None:
    """Port 0 is none that anybody could ask, and of a port that is taken nothing is promised."""
    command = [sys.executable, "-m", "epigone", "serve", str(folder), "--port"]
    with subprocess.Popen([*command, "0"], stderr=subprocess.PIPE, text=True) as first:
        assert first.stderr is not None
        try:
            address = next(line for line in first.stderr if line.startswith("base_url: ")).split()[1]
            assert httpx.get(f"{address}/models").json()["data"][0]["id"].startswith(folder.name + "@")
            port = address.removesuffix("/v1").rpartition(":")[2]
            second = subprocess.run([*command, port], capture_output=True, text=True, timeout=120, check=False)
        finally:
            first.terminate()
    assert second.returncode == EndpointError.exit_code
    assert second.stderr.startswith(f"error: 127.0.0.1:{port}: cannot listen") and "base_url" not in second.stderr


def test_a_server_that_cannot_start_says_why(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(EndpointError, match="cannot be loaded as a causal language model"):
        ServerProcess(str(tmp_path / "empty"), log=tmp_path / "log").__enter__()


@pytest.mark.slow
def test_any_other_server_command_is_started_waited_for_and_stopped(folder: Path, tmp_path: Path) -> None:
    engine = f"{sys.executable} -m epigone.models.serving {{model}} --port {{port}} --name {{name}}"
    with ServerProcess(str(folder), engine=engine, log=tmp_path / "log") as server:
        listed = httpx.get(f"{server.base_url}/models").json()["data"]
        assert listed[0]["id"] == server.model_name
        pid = server.pid
    assert pid is not None
    assert ends_within(pid, 1.0)
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{server.base_url}/models")
