"""From a spec to a model that can be asked."""

from __future__ import annotations

from epigone.errors import MissingDependency, SpecError
from epigone.models.api_model import ApiModel
from epigone.models.api_spec import ApiSpec
from epigone.models.budget import Budget
from epigone.models.local_spec import LocalSpec
from epigone.models.protocol import TextModel
from epigone.models.request_cache import RequestCache
from epigone.models.serve_spec import ServeSpec
from epigone.models.served_model import ServedModel

__all__ = ["open_model"]


def open_model(
    spec: ApiSpec | LocalSpec | ServeSpec, *, cache: RequestCache | None = None, budget: Budget | None = None
) -> TextModel:
    """The model that ``spec`` describes.

    Args:
        cache: needed for an API, whose answers are paid, and for a served model, whose log lies beside it; a local
            model is asked again instead.
        budget: what an API may cost; ``None``: no limit.

    Raises:
        SpecError: an API or a served model without a cache.
        ModelError: the local model cannot be loaded.
        EndpointError: the environment variable with the API's key is not set, or a server does not start.
        MissingDependency: a local model, and torch is not installed; a served one without its engine.
    """
    if isinstance(spec, ApiSpec | ServeSpec):
        if cache is None:
            name = spec.model if isinstance(spec, ApiSpec) else spec.hf
            raise SpecError("an API model needs a request cache, so that no answer is paid twice", where=name)
        if isinstance(spec, ServeSpec):
            return ServedModel(spec, cache=cache, log=cache.path.with_name("server.log"))
        return ApiModel(spec, cache=cache, budget=budget)
    try:
        from epigone.models.local import load_local
    except ImportError as error:
        fix = "install the local engine: pip install 'epigone[local]'"
        raise MissingDependency(f"a local model needs {error.name}", where=spec.hf, fix=fix) from error
    return load_local(spec)
