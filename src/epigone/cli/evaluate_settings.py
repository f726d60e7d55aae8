"""What ``epigone evaluate`` measures, and of which model: the settings file and the options, as specs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import model_validator

from epigone.disk import read_yaml
from epigone.errors import SpecError
from epigone.evaluate.benchmarks import BenchmarkSpec
from epigone.evaluate.toxicity import ToxicitySpec
from epigone.models import ApiSpec, BudgetSpec, LocalSpec, ServeSpec
from epigone.specs import Spec, beside, parse_spec

__all__ = ["EvaluateSettings", "asked_tasks", "read_settings"]


class EvaluateSettings(Spec):
    """A settings file. The model is the command's MODEL, or one of ``api``, ``local`` and ``serve`` here."""

    api: ApiSpec | None = None
    """An OpenAI-compatible endpoint."""

    local: LocalSpec | None = None
    """A Hugging Face model run in this process."""

    serve: ServeSpec | None = None
    """A model that a server of any engine serves on this machine while it is asked."""

    budget: BudgetSpec = BudgetSpec()
    """What an API may cost; the default is no limit. Dollars need the endpoint's ``price``."""

    benchmarks: tuple[BenchmarkSpec, ...] = ()
    """A name alone stands for ``{task: name}``."""

    toxicity: ToxicitySpec | None = None
    """``None``: toxicity is not measured."""

    @model_validator(mode="after")
    def _one_model(self) -> EvaluateSettings:
        if sum(way is not None for way in (self.api, self.local, self.serve)) > 1:
            raise ValueError("give one of 'api', 'local' and 'serve'")
        return self

    @property
    def model(self) -> ApiSpec | LocalSpec | ServeSpec | None:
        """Whichever of the three it is."""
        return self.api or self.local or self.serve


def read_settings(path: Path) -> EvaluateSettings:
    """The settings in a file; relative paths in it start at its folder.

    Raises:
        SpecError: the file cannot be read, or holds something else.
    """
    document, folder = read_yaml(path), path.parent.resolve()
    if isinstance(document, Mapping):
        named = [{"task": one} if isinstance(one, str) else one for one in document.get("benchmarks") or ()]
        placed: dict[str, Any] = {"benchmarks": [_placed(one, folder) for one in named]}
        placed |= {"toxicity": _placed(document.get("toxicity"), folder)}
        document = {**document, **placed}
    settings = parse_spec(EvaluateSettings, document, where=str(path))
    models = {way: beside(spec, folder) for way in ("local", "serve") if (spec := getattr(settings, way)) is not None}
    return settings.model_copy(update=models)


def asked_tasks(tasks: str, data: Sequence[str], items: int | None) -> tuple[BenchmarkSpec, ...]:
    """The benchmarks of ``--tasks``, with ``--data TASK=PATH`` and ``--items``.

    Raises:
        SpecError: ``data`` names a task that is not asked for.
    """
    local = dict(entry.partition("=")[::2] for entry in data)
    names = [name.strip() for name in tasks.split(",") if name.strip()]
    if unasked := set(local) - set(names):
        raise SpecError("--data names a task that is not asked for", where=min(unasked), fix="add it to --tasks")
    return tuple(
        parse_spec(BenchmarkSpec, {"task": name, "items": items, "data": local.get(name)}, where=name) for name in names
    )


def _placed(given: Any, folder: Path) -> Any:
    """Settings with the paths in them counted from their file's folder."""
    if not isinstance(given, Mapping):
        return given

    def placed(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {key: placed(one) for key, one in value.items()}
        return [placed(one) for one in value] if isinstance(value, list) else str(folder / str(value))

    files = {key for key in ("data", "exclude", "prompts", "lexicon") if given.get(key) is not None}
    files |= {"task"} if str(given.get("task")).endswith((".yaml", ".yml")) else set()
    return {key: placed(value) if key in files else value for key, value in given.items()}
