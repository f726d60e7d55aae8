"""A server for one model as a child process: started, waited for until healthy, stopped by its id."""

from __future__ import annotations

import os
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import IO

import httpx
import msgspec

from epigone.disk import read_json
from epigone.errors import DataError, EndpointError, MissingDependency, SpecError
from epigone.models.local_spec import LocalSpec, model_name

__all__ = ["ServerProcess"]

_PATIENCE_S = 1800.0
_END_S = 15.0


class _Announcement(msgspec.Struct):
    host: str
    port: int
    pid: int


class ServerProcess:
    """A context manager: inside it the model answers at ``base_url`` under the name ``model_name``.

    The child ends with this process, however this process ends.

    Args:
        hf: folder or hub id.
        engine: ``epigone`` (the local engine, ``python -m epigone.models.serving``), ``vllm`` (``vllm serve``), or any
            other command with ``{model}``, ``{name}`` and ``{port}`` in it.
        dtype: number format of the weights; see :class:`~epigone.models.LocalSpec`.
        threads: CPU threads of the child.
        batch_rows: sequences decoded side by side (``epigone`` only).
        arguments: further arguments of the server, such as ``("--max-model-len", "2048")``.
        log: file for the child's output; appended to.
    """

    def __init__(
        self,
        hf: str,
        *,
        engine: str = "epigone",
        dtype: str = "auto",
        threads: int | None = 1,
        batch_rows: int = 64,
        arguments: Sequence[str] = (),
        log: Path,
    ) -> None:
        self.model_name = model_name(LocalSpec(hf=hf))
        self.base_url = ""
        self.log = Path(log)
        self._hf, self._engine, self._dtype = hf, engine, dtype
        self._threads, self._batch_rows, self._arguments = threads, batch_rows, tuple(arguments)
        self._child: subprocess.Popen[bytes] | None = None
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    @property
    def pid(self) -> int | None:
        """The child's process id while it runs."""
        return self._child.pid if self._child is not None else None

    def __enter__(self) -> ServerProcess:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start the child and wait until it is healthy.

        Raises:
            MissingDependency: the engine's program is not installed.
            EndpointError: it ended, or did not become healthy within half an hour.
        """
        self._folder = tempfile.TemporaryDirectory(prefix="epigone-serve-")
        announce = Path(self._folder.name) / "announce.json"
        port = 0 if self._engine == "epigone" else _free_port()
        environment = dict(os.environ)
        if self._threads is not None:
            environment |= {"OMP_NUM_THREADS": str(self._threads), "TOKENIZERS_PARALLELISM": "false"}
        self.log.parent.mkdir(parents=True, exist_ok=True)
        try:
            with open(self.log, "ab") as output:
                self._child = self._start(self._command(announce, port), environment, output)
            self._wait(announce, port)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End the child: asked first, made to after 15 seconds."""
        if self._child is not None:
            self._child.terminate()
            try:
                self._child.wait(_END_S)
            except subprocess.TimeoutExpired:
                self._child.kill()
                self._child.wait()
            self._child = None
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None

    def _command(self, announce: Path, port: int) -> list[str]:
        """The child's command line."""
        if self._engine == "epigone":
            options = ["--announce", str(announce), "--parent", str(os.getpid()), "--name", self.model_name]
            options += ["--dtype", self._dtype, "--batch-rows", str(self._batch_rows)]
            if self._threads is not None:
                options += ["--threads", str(self._threads)]
            return [sys.executable, "-m", "epigone.models.serving", self._hf, *options, *self._arguments]
        if self._engine == "vllm":
            command = ["vllm", "serve", self._hf, "--host", "127.0.0.1", "--port", str(port)]
            command += ["--served-model-name", self.model_name, "--dtype", self._dtype]
        elif "{port}" in self._engine:
            filled = {"{model}": self._hf, "{name}": self.model_name, "{port}": str(port)}
            command = []
            for part in shlex.split(self._engine):
                for mark, value in filled.items():
                    part = part.replace(mark, value)
                command.append(part)
        else:
            fix = "use epigone, vllm, or a command that contains {model} and {port}"
            raise SpecError(f"no such serving engine: '{self._engine}'", where=self._hf, fix=fix)
        if shutil.which(command[0]) is None:
            fix = "pip install vllm" if self._engine == "vllm" else "install it, or correct the command"
            raise MissingDependency(f"the program '{command[0]}' is not installed", where=self._hf, fix=fix)
        return [sys.executable, "-m", "epigone.models.leash", str(os.getpid()), *command, *self._arguments]

    def _start(self, command: list[str], environment: dict[str, str], output: IO[bytes]) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
        )

    def _wait(self, announce: Path, port: int) -> None:
        """Return once the server lists its models.

        Raises:
            EndpointError: it ended, or did not become healthy within half an hour.
        """
        assert self._child is not None
        until = time.monotonic() + _PATIENCE_S
        while time.monotonic() < until:
            if self._child.poll() is not None:
                what = f"the server for {self._hf} ended with code {self._child.returncode}: {self._last_words()}"
                raise EndpointError(what, where=str(self.log), fix="read its output in that file")
            if self._engine == "epigone" and announce.exists():
                try:
                    port = read_json(announce, _Announcement).port
                except DataError:
                    port = 0
            if port and _is_healthy(f"http://127.0.0.1:{port}/v1"):
                self.base_url = f"http://127.0.0.1:{port}/v1"
                return
            time.sleep(0.05)
        fix = "read its output in that file"
        raise EndpointError(f"the server for {self._hf} did not become healthy", where=str(self.log), fix=fix)

    def _last_words(self) -> str:
        lines = [line.strip() for line in self.log.read_text("utf-8", "replace").splitlines() if line.strip()]
        errors = [line for line in lines[-20:] if line.startswith("error:")]
        return (errors or lines or ["no output"])[-1][:500]


def _is_healthy(base_url: str) -> bool:
    try:
        return httpx.get(f"{base_url}/models", timeout=5).status_code == httpx.codes.OK
    except httpx.HTTPError:
        return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
