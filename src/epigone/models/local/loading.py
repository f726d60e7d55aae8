"""Open a model folder, hub id or GGUF file, and say clearly why it cannot be opened."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging as transformers_logging

from epigone.errors import ModelError
from epigone.models.local_spec import LocalSpec

__all__ = ["load_weights", "pick_device"]


def pick_device(wanted: str) -> torch.device:
    """``auto`` is the first GPU where there is one.

    Raises:
        ModelError: no such device here.
    """
    if wanted == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(wanted)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ModelError(f"device '{wanted}' is not here: {reason}", fix="use device: cpu or auto") from error
    return device


def _pick_dtype(wanted: str, device: torch.device) -> torch.dtype:
    if wanted != "auto":
        dtype: torch.dtype = getattr(torch, wanted)
        return dtype
    return torch.bfloat16 if device.type == "cuda" and torch.cuda.is_bf16_supported() else torch.float32


def load_weights(spec: LocalSpec) -> tuple[Any, Any]:
    """(model in evaluation mode on its device, tokenizer).

    Raises:
        ModelError: the folder does not exist, lacks weights or tokenizer, or does not fit its own configuration.
    """
    device = pick_device(spec.device)
    folder = Path(spec.hf)
    if spec.hf.startswith((".", "/", "~")) and not folder.expanduser().is_dir():
        raise ModelError(
            "no such folder", where=spec.hf, fix="check the path; a hub id has the form organisation/model"
        )
    source = str(folder.expanduser()) if folder.expanduser().is_dir() else spec.hf
    options: dict[str, Any] = {"gguf_file": spec.gguf_file} if spec.gguf_file else {}
    bar_was_shown = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        tokenizer = AutoTokenizer.from_pretrained(source, **options)
        model, report = AutoModelForCausalLM.from_pretrained(
            source, dtype=_pick_dtype(spec.dtype, device), output_loading_info=True, **options
        )
    except Exception as error:  # the libraries raise every kind for a damaged folder
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        fix = "give a Hugging Face causal language model with its tokenizer: config.json, safetensors, tokenizer.json"
        raise ModelError(f"cannot be loaded as a causal language model: {reason}", where=spec.hf, fix=fix) from error
    finally:
        if bar_was_shown:
            transformers_logging.enable_progress_bar()
    missing = sorted(report["missing_keys"])
    if missing:
        fix = "copy the folder again: it is incomplete, or belongs to another architecture than config.json says"
        raise ModelError(f"{len(missing)} weights are missing, the first is {missing[0]}", where=spec.hf, fix=fix)
    rows = model.get_input_embeddings().weight.shape[0]
    if len(tokenizer) > rows:
        fix = "resize the embeddings when tokens are added, or use the tokenizer that belongs to the model"
        raise ModelError(f"the tokenizer has {len(tokenizer)} tokens, the model {rows}", where=spec.hf, fix=fix)
    return model.to(device).eval(), tokenizer
