"""Tries to climb each wall from inside, as a hostile program would, and says which ones held."""

import os
import socket
from collections.abc import Callable
from functools import partial


def probe(outer_pid: int, home: str, memory_bytes: int) -> dict[str, bool]:
    """Wall -> whether it held."""
    return {
        "network": not _works(_connect),
        "files": not any(_works(partial(os.listdir, path)) for path in ("/etc", "/var", "/sys", home)),
        "writing": not any(_works(partial(_write, path)) for path in ("/", "/inside", "/python", "/dev", home)),
        "environment": set(os.environ) <= {"LC_CTYPE", "PWD", "LD_LIBRARY_PATH"},
        "processes": not _works(_fork),
        "memory": not _works(lambda: bytearray(2 * memory_bytes)),
        "signals": not _works(lambda: os.kill(outer_pid, 0)),
        "identity": os.getuid() != 0,
    }


def _works(attempt: Callable[[], object]) -> bool:
    try:
        attempt()
    except (OSError, MemoryError):
        return False
    return True


def _connect() -> None:
    # A local datagram socket needs no answer: it only asks whether there is a way out at all.
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as way:
        way.connect(("192.0.2.1", 9))
        way.send(b"?")


def _write(folder: str) -> None:
    path = os.path.join(folder, f".probe-{os.getpid()}")
    with open(path, "w") as file:
        file.write("x")
    os.unlink(path)


def _fork() -> None:
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
