"""HTTP beneath the official client: whole requests and whole replies over aiohttp.

The official client accepts any httpx client. A general one merges URLs, headers and cookies, follows redirects, runs
authentication flows and streams bodies for every request; an endpoint that is asked the same way thousands of times
needs none of that. Without it a request costs half the CPU time (bench/collect.py).
"""

from __future__ import annotations

import ssl
from functools import lru_cache
from typing import Any
from urllib.request import getproxies, proxy_bypass

import aiohttp
import httpx2

__all__ = ["AioHttpClient"]


class AioHttpClient(httpx2.AsyncClient):
    """Sends what the official client has built as it is. Replies are read whole: there is no streaming.

    Proxies come from the environment (``HTTPS_PROXY``, ``NO_PROXY`` …), certificates from where httpx takes them.
    Has to be made inside the event loop that uses it.

    Args:
        base_url: decides on the proxy.
        connections: open at once, at most.
        timeout_s: longest silence of the endpoint.
        connect_s: until a connection stands.
    """

    def __init__(self, base_url: str, *, connections: int, timeout_s: float, connect_s: float) -> None:
        super().__init__(transport=httpx2.AsyncBaseTransport(), trust_env=False)
        address = httpx2.URL(base_url)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=connections, ssl=_certificates() if address.scheme == "https" else True
            ),
            timeout=aiohttp.ClientTimeout(connect=connect_s, sock_connect=connect_s, sock_read=timeout_s),
            headers={"Accept-Encoding": "gzip, deflate"},
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,  # httpx decodes by the headers that it is given
            proxy=_proxy(address),
        )

    def build_request(
        self, method: str, url: httpx2.URL | str, *, content: Any = None, headers: Any = None, **_: Any
    ) -> httpx2.Request:
        """The request with the official client's headers; nothing of this client's own is merged in."""
        return httpx2.Request(method, _url(str(url)), headers=headers, stream=httpx2.ByteStream(content or b""))

    async def send(self, request: httpx2.Request, **_: Any) -> httpx2.Response:
        """The whole reply.

        Raises:
            httpx2.ConnectError: no connection, so nothing was sent. httpx2.ReadTimeout: no answer in time.
            httpx2.ReadError: the connection was lost on the way.
        """
        try:
            async with self._session.request(
                request.method, str(request.url), data=await request.aread(), headers=request.headers.multi_items()
            ) as reply:
                content = await reply.read()
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise httpx2.ConnectError(_why(error), request=request) from error
        except TimeoutError as error:
            raise httpx2.ReadTimeout(str(error), request=request) from error
        except aiohttp.ClientError as error:
            raise httpx2.ReadError(type(error).__name__, request=request) from error
        return httpx2.Response(reply.status, headers=reply.raw_headers, content=content, request=request)

    async def aclose(self) -> None:
        """Close every connection."""
        await self._session.close()
        await super().aclose()


def _why(error: aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError) -> str:
    """Why there is no connection: a certificate, the name, a closed port, or silence."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return str(error.certificate_error)
    if isinstance(error, aiohttp.ClientConnectorError):
        return error.strerror or str(error.os_error)
    return "no connection in time"


@lru_cache(maxsize=1)
def _certificates() -> ssl.SSLContext:
    """Read once: it takes longer than a request."""
    return httpx2.create_ssl_context()


@lru_cache(maxsize=64)
def _url(text: str) -> httpx2.URL:
    return httpx2.URL(text)


def _proxy(url: httpx2.URL) -> str | None:
    """The proxy that the environment names for this address."""
    proxies = getproxies()
    return None if proxy_bypass(url.host) else proxies.get(url.scheme) or proxies.get("all")
