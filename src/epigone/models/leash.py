"""``python -m epigone.models.leash PARENT COMMAND…``: runs a command that ends when PARENT does, also by kill -9."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time


def main(parent: int, command: list[str]) -> int:
    """Run ``command`` in a process group of its own until it ends or ``parent`` is gone; gives its exit code."""
    child = subprocess.Popen(command, start_new_session=True)
    signal.signal(signal.SIGTERM, lambda *_: _end(child))
    while child.poll() is None and os.getppid() == parent:
        time.sleep(0.25)
    _end(child)
    return child.wait()


def _end(child: subprocess.Popen[bytes]) -> None:
    """Ask the child's group to end, then make it."""
    for number, patience_s in ((signal.SIGTERM, 10.0), (signal.SIGKILL, 1.0)):
        if child.poll() is not None:
            return
        try:
            os.killpg(child.pid, number)
        except ProcessLookupError:
            return
        until = time.monotonic() + patience_s
        while child.poll() is None and time.monotonic() < until:
            time.sleep(0.05)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), sys.argv[2:]))
