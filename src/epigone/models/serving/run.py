"""Bind, announce, and serve until told to stop."""

from __future__ import annotations

import os
import socket
import threading
import time
from pathlib import Path

import uvicorn

from epigone.disk import write_json
from epigone.errors import EndpointError
from epigone.models.local.local_model import LocalModel
from epigone.models.serving.app import make_app

__all__ = ["die_with", "serve"]


def serve(model: LocalModel, host: str = "127.0.0.1", port: int = 8000, *, announce: Path | None = None) -> None:
    """Serve ``model`` until the process is told to stop.

    Args:
        host: the address to bind; other machines can reach anything but ``127.0.0.1``.
        port: 0 picks a free one.
        announce: a JSON file ``{host, port, pid}`` that appears once the port is bound.

    Raises:
        EndpointError: the address is taken or not this machine's.
    """
    listening = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except OSError as error:
        fix = "choose another --port (0 picks a free one) or --host"
        raise EndpointError(f"cannot listen: {error.strerror}", where=f"{host}:{port}", fix=fix) from error
    bound = int(listening.getsockname()[1])
    if announce is not None:
        write_json(announce, {"host": host, "port": bound, "pid": os.getpid()})
    config = uvicorn.Config(make_app(model), log_level="warning", access_log=False, timeout_graceful_shutdown=2)
    uvicorn.Server(config).run(sockets=[listening])


def die_with(parent: int) -> None:
    """End this process as soon as ``parent`` is gone, also by kill -9.

    A thread watches who the parent is. (Linux can signal a parent's death, but it means the parent's *thread*: a
    server started in a worker thread would die with that.)
    """

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.25)
        os._exit(0)

    threading.Thread(target=watch, name="epigone-parent-watch", daemon=True).start()
