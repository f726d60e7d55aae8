"""Tiny models of several families with a real byte-level tokenizer, made on the spot."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

FAMILIES = ("llama", "llama_gqa", "gpt2", "gpt_neox", "qwen2", "qwen3", "qwen2_sliding", "gemma", "gemma2", "gemma3")
SPECIAL = ("<|end|>", "<|user|>", "<|assistant|>", "<|close|>")
TEMPLATE = (
    "{% for m in messages %}{{ '<|' + m['role'] + '|>' + m['content'] + '<|close|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)
SENTENCES = [
    "The quick brown fox jumps over the lazy dog.",
    "Question: Where was Ada Novak born?\nAnswer: Lisbon\n\n",
    "In 1912 the harbour of Kiel was closed for the winter, and nobody knew why.",
    "Numbers such as 17, 42 and 1984 occur often; names do, too.",
]


def make_tokenizer() -> Any:
    """A byte-level BPE tokenizer of 400 tokens, trained on a few sentences."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=list(SPECIAL), initial_alphabet=alphabet, show_progress=False
    )
    core.train_from_iterator(SENTENCES * 4, trainer)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, eos_token="<|end|>", pad_token="<|end|>")
    tokenizer.add_special_tokens({"additional_special_tokens": list(SPECIAL[1:])})
    tokenizer.chat_template = TEMPLATE
    return tokenizer


def make_config(family: str, vocabulary: int, context: int) -> Any:
    """A configuration of that family: two layers, 32 wide."""
    import transformers

    sizes: dict[str, Any] = {
        "vocab_size": vocabulary,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 4,
        "max_position_embeddings": context,
        "initializer_range": 0.3,
        "bos_token_id": None,
        "eos_token_id": 0,
        "pad_token_id": 0,
    }
    name = family.split("_")[0] if family not in ("gpt_neox",) else family
    if family == "llama_gqa":
        sizes["num_key_value_heads"] = 2
    if family == "qwen2_sliding":
        sizes |= {
            "sliding_window": 8,
            "use_sliding_window": True,
            "layer_types": ["full_attention", "sliding_attention"],
        }
    if name.startswith(("gemma", "qwen3")):
        sizes["head_dim"] = 8
    if name in ("gemma2", "gemma3"):
        sizes |= {"sliding_window": 8, "layer_types": ["sliding_attention", "full_attention"]}
    if family == "gpt2":
        kind = transformers.GPT2Config
        return kind(
            vocab_size=vocabulary, n_embd=32, n_layer=2, n_head=4, n_positions=context,
            bos_token_id=None, eos_token_id=0, initializer_range=0.3,
        )  # fmt: skip
    if family == "gpt_neox":
        sizes.pop("num_key_value_heads")
    kinds = {
        "llama": "LlamaConfig", "gpt_neox": "GPTNeoXConfig", "qwen2": "Qwen2Config", "qwen3": "Qwen3Config",
        "gemma": "GemmaConfig", "gemma2": "Gemma2Config", "gemma3": "Gemma3TextConfig",
    }  # fmt: skip
    return getattr(transformers, kinds[name])(**sizes)


@pytest.fixture(scope="session")
def make_model(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Write a randomly initialised model folder of a family; made once a session for the same arguments."""
    made: dict[tuple[str, int, int], Path] = {}

    def make(family: str = "llama", *, context: int = 256, seed: int = 0) -> Path:
        import torch
        from transformers import AutoModelForCausalLM

        key = (family, context, seed)
        if key not in made:
            torch.manual_seed(seed)
            folder = tmp_path_factory.mktemp(family) / "model"
            tokenizer = make_tokenizer()
            model = AutoModelForCausalLM.from_config(make_config(family, len(tokenizer) + 8, context))
            model.save_pretrained(folder)
            tokenizer.save_pretrained(folder)
            made[key] = folder
        return made[key]

    return make
