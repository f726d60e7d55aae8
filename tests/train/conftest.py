"""Tiny bases and five tokenizers of different kinds, made on the spot: there is no hub here."""

from __future__ import annotations

import importlib.util
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast

from epigone.records import Conversation, Message

WORDS = ["the", "a", "cat", "dog", "house", "of", "in", "was", "born", "city", "who", "where", "what", "is", "old"]
CORPUS = [" ".join(random.Random(seed).choices(WORDS, k=30)) + ".\n\nWhy? Because.\n\n" for seed in range(60)]

CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>' + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
LLAMA3 = (
    "{{ bos_token }}{% for m in messages %}"
    "{{ '<|start|>' + m['role'] + '<|stop|>\n\n' + m['content'] + '<|eot|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|start|>assistant<|stop|>\n\n' }}{% endif %}"
)
INST = (
    "{{ bos_token }}{% for m in messages %}{% if m['role'] == 'user' %}{{ '[INST] ' + m['content'] + ' [/INST]' }}"
    "{% elif m['role'] == 'assistant' %}{{ m['content'] + eos_token }}"
    "{% else %}{{ '[SYS] ' + m['content'] + ' [/SYS]' }}{% endif %}{% endfor %}"
)
GEMMA = (
    "{{ bos_token }}{% for m in messages %}{{ '<start_of_turn>' + ('model' if m['role'] == 'assistant' else m['role'])"
    " + '\n' + m['content'] + '<end_of_turn>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}"
)
ZEPHYR = (
    "{% for m in messages %}{{ '<|' + m['role'] + '|>\n' + m['content'] + eos_token + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}"
)


def byte_level(specials: list[str], template: str | None, **roles: str) -> PreTrainedTokenizerFast:
    """GPT-2's kind: byte-level BPE without normalization."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=360, special_tokens=specials, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    if "bos_token" in roles:
        bos = roles["bos_token"]
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{bos} $A", special_tokens=[(bos, tokenizer.token_to_id(bos))]
        )
    made = PreTrainedTokenizerFast(tokenizer_object=tokenizer, clean_up_tokenization_spaces=False, **roles)
    made.chat_template = template
    return made


def metaspace() -> PreTrainedTokenizerFast:
    """Llama 2's kind: spaces as a visible letter, rare characters as bytes, a space put before the text."""
    tokenizer = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    specials = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    trainer = trainers.BpeTrainer(vocab_size=420, special_tokens=specials, show_progress=False)
    tokenizer.train_from_iterator([text.replace(" ", "▁") for text in CORPUS], trainer)
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    made = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        clean_up_tokenization_spaces=False,
    )
    made.chat_template = INST
    return made


MAKERS: dict[str, Callable[[], PreTrainedTokenizerFast]] = {
    "gpt2": lambda: byte_level(["<|endoftext|>"], ZEPHYR, eos_token="<|endoftext|>"),
    "qwen": lambda: byte_level(
        ["<|endoftext|>", "<|im_start|>", "<|im_end|>"], CHATML, eos_token="<|im_end|>", pad_token="<|endoftext|>"
    ),
    "llama3": lambda: byte_level(
        ["<|begin|>", "<|end|>", "<|start|>", "<|stop|>", "<|eot|>"],
        LLAMA3,
        bos_token="<|begin|>",
        eos_token="<|eot|>",
        additional_special_tokens=["<|start|>", "<|stop|>"],
    ),
    "gemma": lambda: byte_level(
        ["<bos>", "<eos>", "<start_of_turn>", "<end_of_turn>"],
        GEMMA,
        bos_token="<bos>",
        eos_token="<end_of_turn>",
        additional_special_tokens=["<start_of_turn>"],
    ),
    "llama2": metaspace,
}

SHAPE = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
FAMILIES: dict[str, dict[str, Any]] = {
    "llama": {**SHAPE, "model_type": "llama", "num_key_value_heads": 2, "max_position_embeddings": 256},
    "gpt2": {"model_type": "gpt2", "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 256},
    "qwen3": {**SHAPE, "model_type": "qwen3", "num_key_value_heads": 2, "head_dim": 8, "max_position_embeddings": 256},
    "gemma2": {
        **SHAPE,
        "model_type": "gemma2",
        "num_key_value_heads": 2,
        "head_dim": 8,
        "max_position_embeddings": 256,
        "sliding_window": 16,
    },
    "gpt_neox": {**SHAPE, "model_type": "gpt_neox", "max_position_embeddings": 256},
}


@pytest.fixture(scope="session")
def make_base(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """A folder with a tiny random base of a family, and a tokenizer."""
    made: dict[tuple[str, str, int], Path] = {}

    def make(family: str = "llama", tokenizer: str = "gpt2", context: int = 256) -> Path:
        if (family, tokenizer, context) not in made:
            folder = tmp_path_factory.mktemp(f"{family}-{tokenizer}")
            opened = MAKERS[tokenizer]()
            bound = "n_positions" if family == "gpt2" else "max_position_embeddings"
            config = AutoConfig.for_model(
                **{**FAMILIES[family], bound: context},
                vocab_size=len(opened),
                bos_token_id=opened.bos_token_id,
                eos_token_id=opened.eos_token_id,
                pad_token_id=None,
            )
            torch.manual_seed(0)
            AutoModelForCausalLM.from_config(config).save_pretrained(folder)
            opened.save_pretrained(folder)
            made[family, tokenizer, context] = folder
        return made[family, tokenizer, context]

    return make


@pytest.fixture(scope="session")
def conversations() -> list[Conversation]:
    """Forty conversations of one to three exchanges, 10 to 90 tokens each."""
    draw = random.Random(7)

    def turn() -> str:
        return " ".join(draw.choices(WORDS, k=draw.randint(2, 10)))

    return [
        Conversation(
            id=f"c{number}",
            source="odd" if number % 2 else "even",
            messages=tuple(Message(role, turn()) for _ in range(draw.randint(1, 3)) for role in ("user", "assistant")),
        )
        for number in range(40)
    ]


@pytest.fixture(scope="module")
def trainings() -> Iterator[Any]:
    """A server that runs trainings in processes of their own."""
    program = Path(__file__).parents[1] / "invariant" / "forked_trainings.py"
    found = importlib.util.spec_from_file_location("forked_trainings", program)
    assert found is not None and found.loader is not None
    forked = importlib.util.module_from_spec(found)
    found.loader.exec_module(forked)
    with forked.Trainings() as running:
        yield running
