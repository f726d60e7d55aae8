"""Stands between a client and a teacher's server and notes every request whose answer was delivered in full."""

from __future__ import annotations

import hashlib
import http.client
import json
import threading
import time
from collections import defaultdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit


class CountingProxy:
    """A context manager; ``delivered`` maps a request body's digest to when each was asked and its answer delivered.

    An answer that is on its way when the client is killed counts as delivered: the system takes it for a dead reader.

    ``keys``: every Authorization header that came. ``refuse_keys``: answer 401 and quote the key, as providers do.
    """

    def __init__(self, upstream: str) -> None:
        self.upstream = urlsplit(upstream)
        self.delivered: defaultdict[str, list[tuple[float, float]]] = defaultdict(list)
        self.keys: set[str] = set()
        self.refuse_keys = False
        self._lock = threading.Lock()
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                self._forward(b"")

            def do_POST(self) -> None:
                self._forward(self.rfile.read(int(self.headers.get("Content-Length", 0))))

            def _forward(self, body: bytes) -> None:
                key = self.headers.get("Authorization", "")
                proxy.keys.add(key)
                if proxy.refuse_keys:
                    self._answer(401, json.dumps({"error": {"message": f"Incorrect API key: {key}"}}).encode())
                    return
                asked = time.time()
                connection = http.client.HTTPConnection(proxy.upstream.hostname or "", proxy.upstream.port, timeout=120)
                headers = {"Content-Type": self.headers.get("Content-Type", "application/json")}
                connection.request(self.command, self.path, body or None, headers)
                answer = connection.getresponse()
                content = answer.read()
                connection.close()
                try:
                    self._answer(answer.status, content)
                except OSError:
                    return  # the client is gone: not delivered
                if body and answer.status == 200:
                    with proxy._lock:
                        proxy.delivered[hashlib.sha256(body).hexdigest()].append((asked, time.time()))

            def _answer(self, status: int, content: bytes) -> None:
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)
                self.wfile.flush()

            def log_message(self, *_: object) -> None:
                return

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True

    @property
    def base_url(self) -> str:
        """What a client is given."""
        return f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    def __enter__(self) -> CountingProxy:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
