"""The local engine: batched generation and log-likelihoods on top of transformers. The only part that needs torch."""

from epigone.models.local.local_model import LocalModel, load_local

__all__ = ["LocalModel", "load_local"]
