"""The client beneath the official one, against sockets that answer exactly what a test says."""

from __future__ import annotations

import asyncio
import gzip
import socket
from collections.abc import Callable, Coroutine
from typing import Any, NoReturn

import httpx2
import pytest

from epigone.errors import SpecError
from epigone.models import ApiSpec
from epigone.models.aiohttp_client import AioHttpClient
from epigone.specs import parse_spec

Answer = Callable[[bytes], bytes]


def reply(body: bytes, status: str = "200 OK", *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"content-length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


async def served(
    answer: Answer, use: Callable[[str], Coroutine[Any, Any, Any]], seen: list[bytes], *, silent: bool = False
) -> Any:
    """What ``use`` gives with the address of a server whose every reply is ``answer(request)``; nothing: it hangs up.

    A ``silent`` server says nothing until the client has gone.
    """
    handlers: list[asyncio.Task[None]] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        handlers.append(asyncio.current_task())  # type: ignore[arg-type]
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        request = head + await reader.readexactly(length)
        seen.append(request)
        if silent:
            await reader.read()
        else:
            writer.write(answer(request))
            await writer.drain()
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    try:
        return await use(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    finally:
        server.close()
        await asyncio.gather(*handlers)


async def post(base_url: str, **more: Any) -> httpx2.Response:
    fields: dict[str, Any] = {"connections": 2, "timeout_s": 5.0, "connect_s": 5.0} | more
    client = AioHttpClient(base_url, **fields)
    try:
        headers = [("Authorization", "Bearer key"), ("Content-Type", "application/json")]
        request = client.build_request("POST", f"{base_url}/v1/completions", content=b'{"a": 1}', headers=headers)
        return await client.send(request)
    finally:
        await client.aclose()


def test_a_request_is_sent_as_it_was_built_and_a_compressed_reply_is_read() -> None:
    seen: list[bytes] = []
    packed = gzip.compress(b'{"choices": []}')
    response = asyncio.run(served(lambda _: reply(packed, "200 OK", "content-encoding: gzip", "x-id: 7"), post, seen))
    assert (response.status_code, response.content, response.headers["x-id"]) == (200, b'{"choices": []}', "7")
    head, _, body = seen[0].partition(b"\r\n\r\n")
    assert (head.split(b"\r\n")[0], body) == (b"POST /v1/completions HTTP/1.1", b'{"a": 1}')
    assert b"authorization: bearer key" in head.lower()
    assert head.lower().count(b"content-type") == 1


def test_a_redirect_is_followed_with_its_body_and_another_host_is_not_given_the_key() -> None:
    first: list[bytes] = []
    second: list[bytes] = []

    async def chain(there: str) -> httpx2.Response:
        moved = reply(b"", "307 Temporary Redirect", f"location: {there}/v1/elsewhere")
        return await served(lambda _: moved, post, first)

    response = asyncio.run(served(lambda _: reply(b"{}"), chain, second))
    assert response.content == b"{}"
    assert b"Bearer key" in first[0]
    assert second[0].startswith(b"POST /v1/elsewhere")
    assert second[0].endswith(b'{"a": 1}')
    assert b"Bearer key" not in second[0]


def test_a_proxy_of_the_environment_carries_the_request_unless_the_host_is_excepted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    proxied: list[bytes] = []
    direct: list[bytes] = []

    async def both(proxy: str) -> None:
        monkeypatch.setenv("http_proxy", proxy)
        await post("http://teacher.invalid")
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        await served(lambda _: reply(b"{}"), post, direct)

    asyncio.run(served(lambda _: reply(b"{}"), both, proxied))
    assert [request.split(b" ")[1] for request in proxied] == [b"http://teacher.invalid/v1/completions"]
    assert [request.split(b" ")[1] for request in direct] == [b"/v1/completions"]


def unknown_name(*_: object, **__: object) -> NoReturn:
    """What a resolver says at once; a machine's own may think about it for longer than a connection may take."""
    raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")


def test_what_was_never_sent_is_told_from_what_was_lost_on_the_way(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        closed_port = probe.getsockname()[1]
    with pytest.raises(httpx2.ConnectError, match="Connect call failed"):
        asyncio.run(post(f"http://127.0.0.1:{closed_port}"))
    with monkeypatch.context() as patched, pytest.raises(httpx2.ConnectError, match="Name or service not known"):
        patched.setattr(socket, "getaddrinfo", unknown_name)
        asyncio.run(post("http://no-such-host.invalid"))
    with pytest.raises(httpx2.ReadError, match="ServerDisconnectedError"):
        asyncio.run(served(lambda _: b"", post, []))
    with pytest.raises(httpx2.ReadError, match="ClientPayloadError"):
        asyncio.run(served(lambda _: reply(b"{}").replace(b": 2", b": 9"), post, []))
    with pytest.raises(httpx2.ReadTimeout):
        asyncio.run(served(lambda _: b"", lambda url: post(url, timeout_s=0.1), [], silent=True))


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"base_url": "api.example.com/v1"}, "must begin with http:// or https://"),
        ({"base_url": "http://exa mple/v1"}, "names no host"),
        ({"base_url": "https://"}, "names no host"),
        ({"base_url": "http://h:99999/v1"}, "Port out of range"),
        ({"base_url": "https://sk-planted@api.example.com/v1"}, "must not carry a key"),
        ({"base_url": "https://api.example.com/v1?key=sk-planted"}, "must not carry a key"),
        ({"base_url": "https://api.example.com/v1", "key_env": "sk-planted"}, "not the key itself"),
        ({"base_url": "https://api.example.com/v1", "key_env": "gsk_planted"}, "not the key itself"),
    ],
)
def test_an_address_is_checked_and_a_key_in_a_spec_is_refused_without_repeating_it(
    fields: dict[str, str], problem: str
) -> None:
    with pytest.raises(SpecError, match=problem) as raised:
        parse_spec(ApiSpec, {"model": "m"} | fields, where="study.yaml")
    assert "planted" not in str(raised.value)
