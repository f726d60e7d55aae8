"""One process, two with FSDP2, two with tensor parallelism, a 2×2 mesh: the same training (gloo on the CPU)."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast

from epigone.disk import read_json, write_jsonl
from epigone.errors import ModelError
from epigone.records import Conversation, Message
from epigone.train import Timing, TrainRecord, TrainSpec, train_student
from epigone.train.parallel import _tensor_plan

WORDS = [f"w{number}" for number in range(60)]
SPEC = TrainSpec(
    block_tokens=64,
    batch_blocks=8,
    micro_batch_blocks=2,
    max_steps=5,
    peak_lr=1e-3,
    precision="float32",
    threads=1,
    log_every=1,
    checkpoint_every_steps=2,
    optimizer="parameter_scaled_adamw",
    weight_decay=0.1,
    clip_norm=0.5,
    heldout_share=0.1,
)
PROGRAM = """
import sys
from pathlib import Path
from epigone.disk import read_jsonl
from epigone.records import Conversation
from epigone.train import TrainSpec, train_student
base, data, out, work, spec, stop = sys.argv[1:]
def progress(done, total):
    if done == int(stop):
        sys.exit(3)
train_student(TrainSpec.model_validate_json(spec), base=Path(base), conversations=read_jsonl(data, Conversation),
              out=Path(out), work=Path(work), seed=0, progress=progress)
"""


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("base")
    words = Tokenizer(models.WordLevel({w: i for i, w in enumerate(["<unk>", "</s>", *WORDS])}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=words, eos_token="</s>", unk_token="<unk>").save_pretrained(folder)
    config = AutoConfig.for_model(
        "llama",
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        vocab_size=62,
        max_position_embeddings=64,
        initializer_range=0.2,
    )
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def data() -> list[Conversation]:
    draw = random.Random(0)

    def turn() -> str:
        return " ".join(draw.choices(WORDS, k=draw.randint(2, 20)))

    return [
        Conversation(id=f"c{number}", messages=(Message("user", turn()), Message("assistant", turn())))
        for number in range(60)
    ]


def launch(processes: int, arguments: list[str], folder: Path) -> int:
    program = folder / "program.py"
    program.write_text(PROGRAM)
    command = [sys.executable, "-m", "torch.distributed.run", f"--nproc-per-node={processes}", "--standalone"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([*command, str(program), *arguments], env=environment, capture_output=True, timeout=300)
    if done.returncode not in (0, 1, 3):
        raise AssertionError(done.stderr.decode()[-3000:])
    return done.returncode


@pytest.mark.slow
@pytest.mark.parametrize(
    ("processes", "tensor"), [(2, 1), (2, 2), (4, 2)], ids=["fsdp2", "tensor_parallel", "mesh_2x2"]
)
def test_a_training_over_processes_is_the_training_of_one(
    processes: int, tensor: int, base: Path, data: list[Conversation], tmp_path: Path
) -> None:
    """Losses and gradient norms of five steps, held-out losses, final weights; one case is stopped and resumed."""
    one = train_student(SPEC, base=base, conversations=data, out=tmp_path / "one", seed=0)
    write_jsonl(tmp_path / "data.jsonl", data)
    spec = SPEC.model_copy(update={"tensor_parallel": tensor})
    common = [str(base), str(tmp_path / "data.jsonl"), str(tmp_path / "out"), str(tmp_path / "work")]
    if tensor == 1:
        assert launch(processes, [*common, spec.model_dump_json(), "3"], tmp_path) != 0
        assert not (tmp_path / "out").exists()
    assert launch(processes, [*common, spec.model_dump_json(), "0"], tmp_path) == 0
    several = read_json(tmp_path / "out" / "train.json", TrainRecord)
    assert read_json(tmp_path / "out" / "timing.json", Timing).resumed == (1 if tensor == 1 else 0)
    assert several.processes == processes
    assert several.tokens == one.tokens
    for mine, theirs in zip(several.losses, one.losses, strict=True):
        assert mine.loss == pytest.approx(theirs.loss, rel=1e-5)
        assert mine.gradient_norm == pytest.approx(theirs.gradient_norm, rel=1e-5)
    for mine, theirs in zip(several.heldout, one.heldout, strict=True):
        assert mine.loss == pytest.approx(theirs.loss, rel=1e-5)
    weights, expected = (load_file(folder / "model.safetensors") for folder in (tmp_path / "out", tmp_path / "one"))
    assert weights.keys() == expected.keys()
    for name, weight in expected.items():
        assert (weights[name] - weight).norm() <= 1e-4 * weight.norm(), name


def test_what_cannot_be_split_is_refused() -> None:
    with pytest.raises(ModelError, match="gpt2 cannot be split over tensors"):
        _tensor_plan(AutoConfig.for_model("gpt2"), 2)
    with pytest.raises(ModelError, match="9 heads with 3 key-value heads cannot be split over 2 devices"):
        _tensor_plan(AutoConfig.for_model("llama", num_attention_heads=9, num_key_value_heads=3, hidden_size=576), 2)
