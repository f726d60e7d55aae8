"""The teacher while a study runs: a provider's endpoint, or a model served here from first need to last."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from epigone.models import ApiSpec, BudgetSpec, Price, ServerProcess, ServeSpec
from epigone.study.job import TeacherAccess
from epigone.study.spec import TeacherSpec

__all__ = ["SERVED_HERE", "Teacher"]

SERVED_HERE = Price(input_usd_per_million=0.0, output_usd_per_million=0.0)
"""What a teacher costs that this machine serves."""


class Teacher:
    """Gives the teacher's endpoint when it is first needed; a context manager that stops what it started.

    Args:
        folder: where the study file lies; a served model's path is relative to it.
        log: file for the server's own output.
        threads: threads of a served model.
    """

    def __init__(self, spec: TeacherSpec, budget: BudgetSpec, *, folder: Path, log: Path, threads: int = 1) -> None:
        self.spec, self.budget, self.folder, self.log, self.threads = spec, budget, folder, log, threads
        self._stack = ExitStack()
        self._access: TeacherAccess | None = None

    def __enter__(self) -> Teacher:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def is_local(self) -> bool:
        """Whether it computes on this machine."""
        return self.spec.serve is not None

    def access(self) -> TeacherAccess:
        """Where to ask; starts the server at the first call.

        Raises:
            EndpointError: the server does not become healthy.
        """
        if self._access is None:
            api = self.spec.api if self.spec.api is not None else self._serve(self.spec.serve)
            self._access = TeacherAccess(api=api, budget=self.budget)
        return self._access

    def stop(self) -> None:
        """End the server, if one runs."""
        self._stack.close()
        self._access = None

    def _serve(self, serve: ServeSpec | None) -> ApiSpec:
        assert serve is not None
        local = (self.folder / Path(serve.hf).expanduser()).resolve()
        server = self._stack.enter_context(
            ServerProcess(
                str(local) if local.is_dir() else serve.hf,
                engine=serve.engine,
                dtype=serve.dtype,
                threads=self.threads,
                batch_rows=serve.batch_rows,
                arguments=serve.arguments,
                log=self.log,
            )
        )
        return ApiSpec(
            base_url=server.base_url, model=server.model_name, chat_scores=serve.chat_scores, price=SERVED_HERE
        )
