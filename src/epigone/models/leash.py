"""A process that ends when another does, also by kill -9: this one, or any command.

``python -m epigone.models.leash PARENT COMMAND…`` runs a command that ends when PARENT does.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time

__all__ = ["end_with_parent"]


def end_with_parent(parent: int, *, at_once: bool = False) -> None:
    """End this process as soon as ``parent`` is gone. A thread watches who the parent is.

    Args:
        at_once: on Linux, let the kernel do it, even in the middle of a long call. It means the parent's *thread* that
            started this process: only for one that stays as long as its process does.
    """
    if at_once and sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.25)
        os._exit(1)

    threading.Thread(target=watch, name="epigone-parent-watch", daemon=True).start()


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
