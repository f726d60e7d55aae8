"""Which model to run on this machine, and how. Light: the engine itself is imported only when it is opened."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from epigone.disk import digest_file, digest_json
from epigone.specs import Spec

__all__ = ["LocalSpec", "model_name"]

_WEIGHT_SUFFIXES = {".safetensors", ".gguf", ".bin", ".json", ".jinja", ".model", ".txt"}
_NOT_THE_MODEL = {"train.json", "trainer_state.json", "README.md"}


class LocalSpec(Spec):
    """A Hugging Face causal language model, run by the engine in ``models/local``."""

    hf: str
    """A folder (safetensors or GGUF, with tokenizer) or a hub id."""

    dtype: Literal["auto", "float64", "float32", "bfloat16", "float16"] = "auto"
    """Number format of the weights. ``auto``: float32 on a CPU, bfloat16 on a GPU that has it. ``float64`` makes
    results independent of batch composition to about 1e-12, for tiny models on a CPU."""

    device: str = "auto"
    """``auto`` (a GPU where there is one), ``cpu``, ``cuda`` or ``cuda:N``."""

    threads: Annotated[int, Field(ge=1)] | None = None
    """CPU threads that torch may use, set for the whole process. ``None``: torch's own choice."""

    batch_tokens: Annotated[int, Field(ge=1)] | None = None
    """How many cached positions (rows × context) one batch may hold. More is faster and takes more memory. ``None``: on
    a CPU what 320 MiB hold, or half as much memory as the weights take where that is more; 65,536 on a GPU."""

    batch_rows: Annotated[int, Field(ge=1)] | None = None
    """How many sequences are decoded side by side at most. ``None``: 64 on a CPU, where more of them only leave the
    processor's cache, 256 on a GPU."""

    max_context: Annotated[int, Field(ge=1)] | None = None
    """Longest prompt + reply, in tokens. ``None``: what the model's configuration says."""

    gguf_file: str | None = None
    """Name of the GGUF file inside ``hf``; it is dequantized on loading. ``None``: safetensors."""

    name: str | None = None
    """The model's name, part of cache keys. ``None``: the folder's last part and the digest of its files."""


def model_name(spec: LocalSpec) -> str:
    """The spec's own name, or the folder's last part with a digest of weights, configuration and tokenizer.

    A model trained again under the same path has another name, so no cache gives it the old one's replies. Number
    format and device are not part of it.
    """
    if spec.name is not None:
        return spec.name
    folder = Path(spec.hf).expanduser()
    if not folder.is_dir():
        return spec.hf
    if spec.gguf_file is not None:
        files = [folder / spec.gguf_file] if (folder / spec.gguf_file).is_file() else []
    else:
        files = [file for file in sorted(folder.iterdir()) if file.suffix in _WEIGHT_SUFFIXES and file.is_file()]
    parts = [(file.name, digest_file(file)) for file in files if file.name not in _NOT_THE_MODEL]
    return f"{folder.resolve().name}@{digest_json(parts)[:12]}"
