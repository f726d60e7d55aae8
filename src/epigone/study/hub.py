"""Whether a model that a study takes from the Hugging Face hub is there, and what it is: one small request."""

from __future__ import annotations

import json
from pathlib import Path

from epigone.errors import ModelError

__all__ = ["hub_architectures"]

_TIMEOUT_S = 10


def hub_architectures(name: str, *, where: str) -> list[str] | None:
    """The architectures that the model's configuration names; ``None`` if the hub cannot be asked now.

    A model in this machine's cache is not asked for.

    Raises:
        ModelError: the hub has no such model, or this user has no access to it.
    """
    try:
        from huggingface_hub import HfApi, try_to_load_from_cache
        from huggingface_hub.errors import (  # type: ignore[attr-defined]  # HTTPError: of the client that it uses
            GatedRepoError,
            HFValidationError,
            HTTPError,
            RepositoryNotFoundError,
        )
    except ModuleNotFoundError:
        return None
    try:
        cached = try_to_load_from_cache(name, "config.json")
        if isinstance(cached, str):
            config = json.loads(Path(cached).read_text(encoding="utf-8"))
        else:
            config = HfApi().model_info(name, timeout=_TIMEOUT_S).config or {}
    except GatedRepoError:
        raise ModelError(
            "the hub gives no access to this model", where=f"{where}: {name}", fix="accept its terms, and log in"
        ) from None
    except (RepositoryNotFoundError, HFValidationError):
        raise ModelError(
            "the hub has no such model, or keeps it private",
            where=f"{where}: {name}",
            fix="check the id; for a private model log in with `hf auth login`; a local folder begins with ./",
        ) from None
    except (OSError, HTTPError, ValueError):
        return None
    return list(config.get("architectures") or [])
