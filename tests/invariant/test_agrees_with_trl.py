"""Fifty steps against TRL's SFTTrainer: the same order, mask and optimizer give the same loss curve."""

from __future__ import annotations

import random
import warnings
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerFast

from epigone.records import Conversation, Message
from epigone.train import TrainSpec, train_student
from epigone.train.batches import Order
from epigone.train.chat import open_chat
from epigone.train.examples import encode_conversations

STEPS, ROWS = 50, 4
WORDS = [f"w{number}" for number in range(60)]
SPEC = TrainSpec(
    chat_format="koala",
    block_tokens=64,
    batch_blocks=ROWS,
    micro_batch_blocks=ROWS,
    packing="none",
    max_steps=STEPS,
    peak_lr=1e-3,
    schedule="constant",
    warmup_steps=0,
    precision="float32",
    threads=1,
    log_every=1,
)


@pytest.fixture
def base(tmp_path: Path) -> Path:
    words = Tokenizer(models.WordLevel({w: i for i, w in enumerate(["<unk>", "</s>", *WORDS])}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, eos_token="</s>", unk_token="<unk>", pad_token="</s>")
    tokenizer.save_pretrained(tmp_path / "base")
    config = AutoConfig.for_model(
        "llama",
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        vocab_size=62,
        max_position_embeddings=64,
    )
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path / "base")
    return tmp_path / "base"


@pytest.mark.slow
def test_fifty_steps_follow_trl(base: Path, tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import datasets
        import trl
    draw = random.Random(0)

    def turn() -> str:
        return " ".join(draw.choices(WORDS, k=draw.randint(2, 20)))

    conversations = [
        Conversation(id=str(number), messages=(Message("user", turn()), Message("assistant", turn())))
        for number in range(90)
    ]
    ours = train_student(SPEC, base=base, conversations=conversations, out=tmp_path / "ours", seed=0)

    tokenizer = AutoTokenizer.from_pretrained(base)
    examples = encode_conversations(tokenizer, open_chat(tokenizer, "koala"), conversations, SPEC).examples
    order = Order(len(examples), ROWS, visits=STEPS * ROWS, seed=0)
    seen = [examples[index] for step in range(STEPS) for index in order.step(step)]
    rows = [
        {
            "input_ids": example.ids.tolist(),
            "labels": [int(i) if k else -100 for i, k in zip(example.ids, example.learnt, strict=True)],
        }
        for example in seen
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        settings = trl.SFTConfig(
            output_dir=str(tmp_path / "trl"),
            per_device_train_batch_size=ROWS,
            max_steps=STEPS,
            learning_rate=SPEC.peak_lr,
            lr_scheduler_type="constant",
            adam_beta2=0.95,
            weight_decay=0.0,
            max_grad_norm=1.0,
            optim="adamw_torch_fused",
            bf16=False,
            use_cpu=True,
            gradient_checkpointing=False,
            train_sampling_strategy="sequential",
            logging_steps=1,
            save_strategy="no",
            report_to=[],
            disable_tqdm=True,
        )
        trainer = trl.SFTTrainer(
            AutoModelForCausalLM.from_pretrained(base),
            args=settings,
            train_dataset=datasets.Dataset.from_list(rows),
            processing_class=AutoTokenizer.from_pretrained(base),
        )
        trainer.train()
    theirs = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    assert len(theirs) == STEPS
    assert [entry.loss for entry in ours.losses] == pytest.approx(theirs, abs=1e-3)
    assert theirs[-1] < theirs[0] - 0.1
