"""A PostgreSQL server for tests and measurements: its own folder, its own socket, gone afterwards.

Debian's package does not put the server's programs on the path; the server refuses to run as root, so root lends it
the rights of `nobody`.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

_NUMBERS = itertools.count(1)


def find_programs() -> Path | None:
    """The folder of initdb and postgres, of the newest version; None where they are not installed."""
    found = shutil.which("initdb")
    if found:
        return Path(found).resolve().parent
    versions = [path for path in Path("/usr/lib/postgresql").glob("*/bin") if (path / "initdb").is_file()]
    return max(versions, key=lambda path: float(path.parent.name), default=None)


class Postgres:
    """A running server. ``fresh()`` gives the URL of a new, empty database."""

    def __init__(self, folder: Path, programs: Path) -> None:
        self.folder, self.programs = folder, programs
        self._user = "nobody" if os.getuid() == 0 else None
        self._run("initdb", "-D", str(folder / "data"), "-U", "rater", "-A", "trust", "--no-sync")
        command = [programs / "postgres", "-D", folder / "data", "-k", folder, "-c", "listen_addresses="]
        with (folder / "log").open("wb") as log:
            self.server = subprocess.Popen(command, user=self._user, cwd=folder, stdout=log, stderr=log)
        try:
            self._wait()
        except BaseException:
            self.stop()
            raise

    def fresh(self) -> str:
        name = f"campaign{next(_NUMBERS)}"
        self._run("createdb", "-h", str(self.folder), "-U", "rater", name)
        return f"postgresql://rater@/{name}?host={self.folder}"

    def stop(self) -> None:
        self.server.terminate()  # SIGTERM would wait for clients; by now they are gone
        try:
            self.server.wait(10)
        except subprocess.TimeoutExpired:
            self.server.send_signal(3)  # SIGQUIT: at once
            self.server.wait(10)

    def _wait(self) -> None:
        deadline = time.monotonic() + 30
        while self._run("pg_isready", "-h", str(self.folder), "-q", check=False):
            if self.server.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"postgres did not start: {(self.folder / 'log').read_text()[-500:]}")
            time.sleep(0.05)

    def _run(self, program: str, *arguments: str, check: bool = True) -> int:
        command = [str(self.programs / program), *arguments]
        done = subprocess.run(command, user=self._user, cwd=self.folder, capture_output=True, check=check)
        return done.returncode


@contextlib.contextmanager
def throwaway_postgres() -> Iterator[Postgres | None]:
    """A server while the block runs; None where PostgreSQL is not installed."""
    programs = find_programs()
    if programs is None:
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="epigone-pg-", dir="/tmp") as name:  # a socket's path must be short
        folder = Path(name)
        if os.getuid() == 0:
            shutil.chown(folder, "nobody")
        server = Postgres(folder, programs)
        try:
            yield server
        finally:
            server.stop()
