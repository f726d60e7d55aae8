"""Open a base, or make one from a configuration; refuse what cannot be trained, with the fix."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors import SafetensorError
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer
from transformers.utils import cached_file, extract_commit_hash

from epigone.errors import ModelError, SpecError

__all__ = [
    "context_tokens",
    "new_config",
    "new_model",
    "open_base",
    "open_config",
    "open_tokenizer",
    "recompute_activations",
    "resize_embeddings",
    "revision_of",
    "token_of",
]


def open_tokenizer(path: Path | str) -> Any:
    """The tokenizer of a folder or hub id.

    Raises:
        ModelError: there is none.
    """
    _check_path(path)
    try:
        return AutoTokenizer.from_pretrained(str(path))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(
            f"no tokenizer can be read here: {_first_line(error)}",
            where=str(path),
            fix=_fix(path, "tokenizer.json and tokenizer_config.json"),
        ) from error


def open_config(path: Path | str) -> Any:
    """The configuration of a folder or hub id; raises :class:`ModelError` where there is none of a causal model."""
    _check_path(path)
    try:
        config = AutoConfig.from_pretrained(str(path))
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(
            f"no model configuration can be read here: {_first_line(error)}",
            where=str(path),
            fix=_fix(path, "config.json and weights"),
        ) from error
    _check_causal(config, str(path))
    return config


def revision_of(path: Path | str) -> str | None:
    """The commit of a model that was opened from the hub; ``None`` for a folder."""
    if Path(path).is_dir():
        return None
    found: str | None = extract_commit_hash(cached_file(str(path), "config.json"), None)
    return found


def open_base(path: Path | str) -> Any:
    """The base's model, weights in float32, ready to train.

    Raises:
        ModelError: a wrong path, no causal language model, weights that cannot be read.
    """
    config = open_config(path)
    try:
        model = AutoModelForCausalLM.from_pretrained(str(path), config=config, dtype=torch.float32)
    except (OSError, ValueError, KeyError, RuntimeError, ImportError, SafetensorError) as error:
        raise ModelError(
            f"the weights cannot be read: {_first_line(error)}",
            where=str(path),
            fix="check that the download is complete and that transformers knows this architecture",
        ) from error
    return model


def new_config(config: Mapping[str, object], vocabulary: int) -> Any:
    """A transformers configuration (``model_type: llama``, …) with a row for each token of the tokenizer.

    Raises:
        ModelError: an unknown model type, a key that the type does not have, a vocabulary smaller than the tokenizer's.
    """
    given = dict(config)
    kind = given.pop("model_type", None)
    if not isinstance(kind, str):
        raise ModelError("the configuration names no model_type", fix="add, for example, model_type: llama")
    given.setdefault("vocab_size", vocabulary)
    try:
        made = AutoConfig.for_model(kind, **given)
    except (ValueError, KeyError, TypeError) as error:
        raise ModelError(f"not a configuration: {_first_line(error)}", where=f"model_type {kind}") from error
    _check_causal(made, f"model_type {kind}")
    if made.vocab_size < vocabulary:
        raise ModelError(
            f"vocab_size is {made.vocab_size}, the tokenizer has {vocabulary} tokens",
            where=f"model_type {kind}",
            fix="leave vocab_size out: it is taken from the tokenizer",
        )
    return made


def new_model(config: Any, *, seed: int) -> Any:
    """A model with random weights, drawn from the seed."""
    torch.manual_seed(seed)
    return AutoModelForCausalLM.from_config(config, dtype=torch.float32)


def token_of(tokenizer: Any, text: str) -> int:
    """The last token of ``text``.

    Raises:
        SpecError: the tokenizer has no token for it.
    """
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    if not ids or ids[-1] == tokenizer.unk_token_id:
        raise SpecError(
            f"the base's tokenizer has no token for {text!r}",
            where="train.new_tokens_like",
            fix="name a text that it knows, or leave the key out",
        )
    return int(ids[-1])


def resize_embeddings(model: Any, vocabulary: int, new_rows: int, *, like: int | None = None) -> None:
    """Give the tables a row for each of ``vocabulary`` tokens.

    The last ``new_rows`` start as copies of token ``like``'s row, or as the mean of the others.
    """
    tables = {
        id(module.weight): module.weight for module in (model.get_input_embeddings(), model.get_output_embeddings())
    }
    if next(iter(tables.values())).shape[0] < vocabulary:
        model.resize_token_embeddings(vocabulary, mean_resizing=False)
        tables = {
            id(module.weight): module.weight for module in (model.get_input_embeddings(), model.get_output_embeddings())
        }
    if not new_rows:
        return
    with torch.no_grad():
        for table in tables.values():
            old = table[: vocabulary - new_rows]
            table[vocabulary - new_rows : vocabulary] = old.mean(0) if like is None else old[like]


def recompute_activations(model: Any) -> None:
    """Let each layer's activations be computed again on the way back instead of being kept.

    Raises:
        ModelError: the architecture cannot.
    """
    enable = (
        getattr(model, "activation_checkpointing_enable", None) or model.gradient_checkpointing_enable
    )  # its former name
    try:
        enable({"use_reentrant": False})
    except ValueError as error:
        raise ModelError(
            f"{model.config.model_type} cannot recompute its activations",
            where="gradient_checkpointing",
            fix="leave it out; micro_batch_blocks: 1 takes less memory too",
        ) from error


def context_tokens(config: Any) -> int | None:
    """The longest text that the model's positions reach, where it has such a bound."""
    bound = getattr(config.get_text_config(), "max_position_embeddings", None)
    return int(bound) if bound else None


def _check_path(path: Path | str) -> None:
    """A path that does not exist is refused here: transformers would take it for a hub id and try the network."""
    text = str(path)
    looks_local = isinstance(path, Path) or text.startswith(("/", ".", "~")) or text.count("/") > 1
    if looks_local and not Path(text).expanduser().is_dir():
        raise ModelError("there is no such folder", where=text, fix="check the path, or give a hub id such as org/name")


def _fix(path: Path | str, files: str) -> str:
    here = "" if Path(path).expanduser().is_dir() else "there is no such folder, so it was taken for a hub id: "
    return f"{here}give a Hugging Face folder with {files}, or a hub id"


def _check_causal(config: Any, where: str) -> None:
    known = transformers.models.auto.modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
    named = config.architectures or []
    other = named and not any("CausalLM" in name or "LMHead" in name for name in named)
    if config.model_type not in known or other or getattr(config, "is_encoder_decoder", False):
        shown = f"{config.model_type} ({', '.join(named)})" if named else config.model_type
        raise ModelError(
            f"{shown} is no causal language model", where=where, fix="give a decoder such as llama, qwen, gemma or gpt2"
        )


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
