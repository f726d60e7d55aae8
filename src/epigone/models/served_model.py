"""A model on this machine, asked through a server that runs as long as somebody asks it."""

from __future__ import annotations

import json
from pathlib import Path

from epigone.models.api_model import ApiModel
from epigone.models.api_spec import ApiSpec
from epigone.models.budget import Budget
from epigone.models.request_cache import RequestCache
from epigone.models.serve_spec import ServeSpec
from epigone.models.server_process import ServerProcess

__all__ = ["ServedModel"]


class ServedModel(ApiModel):
    """Starts the server when it is made and stops it when it is closed. Costs nothing, so there is no budget.

    Args:
        spec: which model, which server.
        cache: where answers are kept; engine and number format are part of their keys.
        log: file for the server's output.
        threads: CPU threads of the server; ``None``: its own choice.

    Raises:
        EndpointError: the server ended or did not become healthy.
        MissingDependency: the engine's program is not installed.
    """

    def __init__(self, spec: ServeSpec, *, cache: RequestCache, log: Path, threads: int | None = None) -> None:
        self._server = ServerProcess(
            spec.hf,
            engine=spec.engine,
            dtype=spec.dtype,
            threads=threads,
            batch_rows=spec.batch_rows,
            arguments=spec.arguments,
            log=log,
        )
        self._server.start()
        served = self._server.model_name
        api = ApiSpec(base_url=self._server.base_url, model=served, chat_scores=spec.chat_scores)
        super().__init__(api, cache=cache, budget=Budget())
        self.parameters = _count_parameters(Path(spec.hf).expanduser())
        self._cache_name = f"{served}+{spec.engine}+{spec.dtype}"

    @property
    def pid(self) -> int | None:
        """The server's process id while it runs."""
        return self._server.pid

    def close(self) -> None:
        """Stop the server."""
        self._server.stop()


def _count_parameters(folder: Path) -> int | None:
    """Numbers in a folder's safetensors files, by their headers; ``None`` where there are none."""
    count = 0
    for file in folder.glob("*.safetensors"):
        with open(file, "rb") as weights:
            header = json.loads(weights.read(int.from_bytes(weights.read(8), "little")))
        for name, tensor in header.items():
            if name != "__metadata__":
                size = 1
                for length in tensor["shape"]:
                    size *= length
                count += size
    return count or None
