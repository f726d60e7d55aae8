"""One process, two with FSDP2, two with tensor parallelism, a 2×2 mesh: the same training (gloo on the CPU)."""

from __future__ import annotations

import random
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer, models, pre_tokenizers
from torch.distributed.checkpoint.format_utils import dcp_to_torch_save
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast

from epigone.disk import read_json, write_jsonl, write_yaml
from epigone.errors import ModelError, SpecError
from epigone.records import Conversation, Message
from epigone.train import DistilSpec, LoraSpec, Timing, TrainRecord, TrainSpec, train_student
from epigone.train.optimizers import build_optimizer
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
    heldout_every_steps=3,
)
LORA = LoraSpec(rank=4)


@pytest.fixture(scope="module")
def make_base(tmp_path_factory: pytest.TempPathFactory) -> Callable[[bool], Path]:
    """A tiny llama, with the head tied to the embeddings or not."""
    made: dict[bool, Path] = {}

    def make(tied: bool) -> Path:
        if tied in made:
            return made[tied]
        folder = made[tied] = tmp_path_factory.mktemp("base")
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
            tie_word_embeddings=tied,
        )
        torch.manual_seed(0)
        AutoModelForCausalLM.from_config(config).save_pretrained(folder)
        return folder

    return make


@pytest.fixture(scope="module")
def data() -> list[Conversation]:
    draw = random.Random(0)

    def turn() -> str:
        return " ".join(draw.choices(WORDS, k=draw.randint(2, 20)))

    return [
        Conversation(id=f"c{number}", messages=(Message("user", turn()), Message("assistant", turn())))
        for number in range(60)
    ]


@pytest.fixture(scope="module")
def data_file(data: list[Conversation], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "data.jsonl"
    write_jsonl(path, data)
    return path


def assert_same_training(one: Path, several: Path) -> None:
    """Losses and gradient norms of every step, held-out losses on the way, final weights."""
    expected, found = (read_json(folder / "train.json", TrainRecord) for folder in (one, several))
    assert found.tokens == expected.tokens
    for mine, theirs in zip(found.losses, expected.losses, strict=True):
        assert mine.loss == pytest.approx(theirs.loss, rel=1e-5)
        assert mine.gradient_norm == pytest.approx(theirs.gradient_norm, rel=1e-5)
    assert [entry.step for entry in found.heldout] == [0, 3, 5]
    for mine, theirs in zip(found.heldout, expected.heldout, strict=True):
        assert mine.loss == pytest.approx(theirs.loss, rel=1e-5)
    weights, whole = (load_file(folder / "model.safetensors") for folder in (several, one))
    assert weights.keys() == whole.keys()
    for name, weight in whole.items():
        assert (weights[name] - weight).norm() <= 1e-4 * weight.norm(), name


CASES: dict[str, tuple[int, dict[str, object]]] = {
    "fsdp2": (2, {}),
    "tensor_parallel": (2, {"tensor_parallel": 2}),
    "mesh_2x2": (4, {"tensor_parallel": 2}),
    "adapters": (2, {"lora": LORA}),
    "adapters_mesh_2x2": (4, {"lora": LORA, "tensor_parallel": 2}),
    "tied": (2, {}),
    "distilled": (2, {}),
}


@pytest.mark.parametrize("case", CASES)
def test_a_training_over_processes_is_the_training_of_one(
    case: str,
    trainings: Any,
    make_base: Callable[[bool], Path],
    data: list[Conversation],
    data_file: Path,
    tmp_path: Path,
) -> None:
    """Without tensor parallelism the case is also stopped after three steps and goes on from its checkpoint."""
    processes, settings = CASES[case]
    base = make_base(case == "tied")
    spec = SPEC.model_copy(update=settings)
    if case == "distilled":
        taught = {"max_steps": 1, "peak_lr": 0.5}
        train_student(SPEC.model_copy(update=taught), base=base, conversations=data, out=tmp_path / "teacher", seed=5)
        spec = spec.model_copy(update={"distil": DistilSpec(hf=str(tmp_path / "teacher"), temperature=2.0)})
    alone = spec.model_copy(update={"tensor_parallel": 1})
    train_student(alone, base=base, conversations=data, out=tmp_path / "one", seed=0)
    given = {"base": base, "data": data_file, "out": tmp_path / "several", "works": [tmp_path / "work"] * processes}
    stopped = spec.tensor_parallel == 1
    if stopped:
        assert trainings.run(spec, **given, stop=(3, 0))[0] == 3
        assert not (tmp_path / "several").exists()
    assert trainings.run(spec, **given) == [0] * processes, trainings.told()
    assert_same_training(tmp_path / "one", tmp_path / "several")
    assert read_json(tmp_path / "several" / "timing.json", Timing).resumed == int(stopped)
    assert read_json(tmp_path / "several" / "train.json", TrainRecord).processes == processes
    reloaded = AutoModelForCausalLM.from_pretrained(tmp_path / "several")
    assert reloaded.config.tie_word_embeddings == (case == "tied")


def first_moments(checkpoint: Path, spec: TrainSpec) -> dict[str, torch.Tensor]:
    """Adam's first moments by name: after one step they are (1 - 0.9) times the clipped gradients."""
    if (checkpoint / "state.pt").exists():
        saved = torch.load(checkpoint / "state.pt", weights_only=True)
        names = {id(weight): name for name, weight in saved["weights"].items()}
        groups = build_optimizer(spec, saved["weights"].items()).param_groups
        order = [names[id(weight)] for group in groups for weight in group["params"]]
        return {order[number]: state["exp_avg"] for number, state in saved["optimizer"]["state"].items()}
    whole = checkpoint.with_suffix(".whole")
    dcp_to_torch_save(checkpoint, whole)
    states = torch.load(whole, weights_only=True)["optimizer"]["state"]
    return {name.removeprefix("model."): state["exp_avg"] for name, state in states.items()}


@pytest.mark.parametrize("case", ["fsdp2", "tensor_parallel", "mesh_2x2"])
def test_every_gradient_over_processes_is_that_of_one(
    case: str,
    trainings: Any,
    make_base: Callable[[bool], Path],
    data: list[Conversation],
    data_file: Path,
    tmp_path: Path,
) -> None:
    """Weight by weight, within 1e-5 of its norm, read from the checkpoints of the first step."""
    processes, settings = CASES[case]
    spec = SPEC.model_copy(update={**settings, "checkpoint_every_steps": 1, "heldout_share": 0.0})
    works = [tmp_path / "several"] * processes
    given = {"base": make_base(False), "data": data_file, "out": tmp_path / "out"}
    assert trainings.run(spec, **given, works=works, stop=(2, 0))[0] == 3

    def stop(done: int, _: int | None) -> None:
        if done == 2:
            raise KeyboardInterrupt

    alone = {"base": make_base(False), "conversations": data, "out": tmp_path / "out", "seed": 0}
    with pytest.raises(KeyboardInterrupt):
        train_student(spec.model_copy(update={"tensor_parallel": 1}), **alone, work=tmp_path / "one", progress=stop)
    first = "checkpoints/step-00000001/state"
    expected, found = (first_moments(tmp_path / name / first, spec) for name in ("one", "several"))
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        assert gradient.norm() > 0
        assert (found[name] - gradient).norm() <= 1e-5 * gradient.norm(), name


def test_a_checkpoint_of_two_processes_is_read_by_three_and_refused_by_one(
    trainings: Any, make_base: Callable[[bool], Path], data: list[Conversation], data_file: Path, tmp_path: Path
) -> None:
    base, work = make_base(False), tmp_path / "work"
    given = {"base": base, "data": data_file, "out": tmp_path / "several"}
    assert trainings.run(SPEC, **given, works=[work] * 2, stop=(3, 0))[0] == 3
    alone = {"base": base, "conversations": data, "seed": 0}
    with pytest.raises(SpecError, match="was written by several processes, there is one now"):
        train_student(SPEC, **alone, out=tmp_path / "one", work=work)
    assert trainings.run(SPEC, **given, works=[work] * 3) == [0] * 3, trainings.told()
    train_student(SPEC, **alone, out=tmp_path / "one")
    assert_same_training(tmp_path / "one", tmp_path / "several")
    assert read_json(tmp_path / "several" / "timing.json", Timing).resumed == 1


def test_a_work_folder_that_only_some_processes_see_is_refused(
    trainings: Any, make_base: Callable[[bool], Path], data_file: Path, tmp_path: Path
) -> None:
    """As on two machines without a common file system: both stop before the first step."""
    elsewhere = [tmp_path / "here", tmp_path / "there"]
    given = {"base": make_base(False), "data": data_file, "out": tmp_path / "out", "works": elsewhere}
    assert 1 in trainings.run(SPEC, **given)
    assert "1 of 2 processes do not see this folder" in trainings.told()
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_two_machines_by_torchrun(
    make_base: Callable[[bool], Path], data: list[Conversation], data_file: Path, tmp_path: Path
) -> None:
    """The documented command, once for each machine (here the same one twice, a process each)."""
    base = make_base(False)
    write_yaml(tmp_path / "settings.yaml", SPEC.model_dump(mode="json"))
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    torchrun = ["--nnodes=2", "--nproc-per-node=1", "--rdzv-backend=c10d", f"--rdzv-endpoint=localhost:{port}"]
    training = ["train", str(base), str(data_file), "--out", str(tmp_path / "out")]
    command = [sys.executable, "-m", "torch.distributed.run", *torchrun, "-m", "epigone", *training]
    command += ["--settings", str(tmp_path / "settings.yaml")]
    machines = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path)
        for _ in range(2)
    ]
    told = [machine.communicate(timeout=240) for machine in machines]
    assert [machine.returncode for machine in machines] == [0, 0], told[0][1][-3000:] + told[1][1][-3000:]
    wrapped = [" ".join(out.split()) for out, _ in told]  # the terminal breaks lines where the path is long
    assert sum("5 steps" in out for out in wrapped) == 1, wrapped
    train_student(SPEC, base=base, conversations=data, out=tmp_path / "one", seed=0)
    assert_same_training(tmp_path / "one", tmp_path / "out")


def test_what_cannot_be_split_is_refused() -> None:
    gpt2 = AutoConfig.for_model("gpt2", n_embd=8, n_layer=1, n_head=1, vocab_size=8)
    odd = AutoConfig.for_model("llama", num_attention_heads=9, num_key_value_heads=3, hidden_size=576, vocab_size=8)
    with torch.device("meta"):
        with pytest.raises(ModelError, match="gpt2 cannot be split over tensors"):
            _tensor_plan(AutoModelForCausalLM.from_config(gpt2), 2)
        with pytest.raises(ModelError, match="9 heads with 3 key-value heads cannot be split over 2 devices"):
            _tensor_plan(AutoModelForCausalLM.from_config(odd), 2)
