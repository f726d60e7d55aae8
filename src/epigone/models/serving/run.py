"""Bind, announce, and serve until told to stop."""

from __future__ import annotations

import socket
from collections.abc import Callable

import uvicorn

from epigone.errors import EndpointError
from epigone.models.local.local_model import LocalModel
from epigone.models.serving.app import make_app

__all__ = ["serve"]


def serve(
    model: LocalModel, host: str = "127.0.0.1", port: int = 8000, *, announce: Callable[[int], None] | None = None
) -> None:
    """Serve ``model`` until the process is told to stop.

    Args:
        host: the address to bind; other machines can reach anything but ``127.0.0.1``.
        port: 0 picks a free one.
        announce: told the port once connections are taken there.

    Raises:
        EndpointError: the address is taken or not this machine's.
    """
    listening = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
        listening.listen(2048)  # who comes between now and the server's start waits, and is not refused
    except OSError as error:
        fix = "choose another --port (0 picks a free one) or --host"
        raise EndpointError(f"cannot listen: {error.strerror}", where=f"{host}:{port}", fix=fix) from error
    if announce is not None:
        announce(int(listening.getsockname()[1]))
    config = uvicorn.Config(make_app(model), log_level="warning", access_log=False, timeout_graceful_shutdown=2)
    uvicorn.Server(config).run(sockets=[listening])
