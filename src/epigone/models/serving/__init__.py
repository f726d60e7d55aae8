"""Serve a local model over an OpenAI-compatible API, with dynamic batching."""

from epigone.models.serving.app import make_app
from epigone.models.serving.run import serve

__all__ = ["make_app", "serve"]
