"""Too little disk or memory is named, with the fix: before a weight is read, or later where it shows only then."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from epigone.disk import write_jsonl
from epigone.errors import DiskError, TrainingError
from epigone.records import Conversation
from epigone.train import LoraSpec, TrainSpec, plan_training, train_student
from epigone.train.capacity import MemoryNeed, check_disk, check_memory, memory_needs
from epigone.train.machine import free_memory_bytes
from epigone.train.parallel import Team
from epigone.train.student_model import open_config

MakeBase = Callable[..., Path]
SPEC = TrainSpec(block_tokens=64, batch_blocks=2, micro_batch_blocks=1, precision="float32", threads=1)


def test_state_is_counted_by_hand(make_base: MakeBase) -> None:
    """float32: weight, gradient, two moments; in bfloat16 the copies besides; adapters only for themselves."""
    config = open_config(make_base())
    parameters = sum(weight.numel() for weight in AutoModelForCausalLM.from_pretrained(make_base()).parameters())

    def state(devices: int = 1, **settings: object) -> int:
        return memory_needs(SPEC.model_copy(update=settings), config, [devices])[devices].state

    assert state() == 16 * parameters
    assert state(4) == 4 * parameters
    assert state(precision="bfloat16") == 18 * parameters
    adapted = 2 * 4 * (2 * (32 + 32) + 2 * (32 + 16) + 3 * (32 + 64))  # 2 layers, rank 4: q, o; k, v; gate, up, down
    lora = LoraSpec(rank=4)
    assert state(lora=lora, chat_format="koala") == 16 * adapted + 4 * parameters
    assert state(lora=lora, chat_format="koala", precision="bfloat16") == 18 * adapted + 2 * parameters
    tables = 2 * config.vocab_size * 32
    assert state(lora=lora) == 16 * (adapted + tables) + 4 * (parameters - tables)


def test_a_model_larger_than_the_memory_is_refused_before_its_weights_are_read(
    make_base: MakeBase, conversations: list[Conversation], tmp_path: Path
) -> None:
    """3.4 TB of state; the folder holds a configuration and a tokenizer, and no weights to read."""
    huge = tmp_path / "huge"
    shutil.copytree(make_base(), huge)
    (huge / "model.safetensors").unlink()
    config = json.loads((huge / "config.json").read_text())
    config |= {"hidden_size": 65536, "intermediate_size": 262144, "head_dim": 8192, "num_hidden_layers": 3}
    (huge / "config.json").write_text(json.dumps(config))
    with pytest.raises(TrainingError, match=r"cpu: weights, gradients and optimizer state of .* parameters need") as no:
        train_student(SPEC, base=huge, conversations=conversations, out=tmp_path / "s", seed=0)
    assert no.value.fix is not None and "lora" in no.value.fix
    warnings = plan_training(SPEC, base=huge, tokens=1000).warnings
    assert any("one device takes about" in warning for warning in warnings)


def test_a_student_larger_than_the_disk_is_refused(make_base: MakeBase, tmp_path: Path) -> None:
    config = open_config(make_base())
    free = shutil.disk_usage(tmp_path).free

    def check(parameters: int, **settings: object) -> None:
        need = MemoryNeed(parameters, parameters, 0, 0, 0)
        spec = SPEC.model_copy(update=settings)
        check_disk(spec, need, config, tmp_path / "new" / "student", tmp_path / "work")

    check(free // 100)  # 4 bytes a number in the student, 12 in each of three checkpoints
    with pytest.raises(DiskError, match=r"new/student: the student and its checkpoints need .* of disk, .* are free"):
        check(free // 38)
    check(free // 38, keep=1)
    with pytest.raises(DiskError, match="keep: 1"):
        check(free // 10, checkpoint_every_minutes=None)


@pytest.fixture(scope="module")
def told(
    make_base: MakeBase, conversations: list[Conversation], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, str]:
    """What trainings that run out of room are told; the disk is a file system of 4 MiB that ends with the process."""
    folder = tmp_path_factory.mktemp("room")
    small = folder / "small"
    small.mkdir()
    write_jsonl(folder / "data.jsonl", conversations)
    program = [sys.executable, str(Path(__file__).with_name("short_of_room.py"))]
    command = [*program, str(make_base()), str(folder / "data.jsonl")]
    mount = f'mount -t tmpfs -o size=4m tmpfs "{small}"'
    alone = ["unshare", "--mount", "sh", "-c"]
    mounts = (
        shutil.which("unshare") and not subprocess.run([*alone, mount], check=False, capture_output=True).returncode
    )
    whole = [*alone, f"{mount} && exec {shlex.join([*command, str(small)])}"] if mounts else [*command, "-"]
    done = subprocess.run(whole, capture_output=True, text=True, timeout=180, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, str] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_memory_that_ends_in_a_step_is_named(told: dict[str, str]) -> None:
    assert told["memory"].startswith(
        "TrainingError: step 1 on cpu: out of memory with 4096 blocks of 128 tokens at once\n"
        "  fix: set micro_batch_blocks below 4096, "
    )


@pytest.mark.parametrize("case", ["small disk", "full at a checkpoint", "full at the end"])
def test_a_small_or_full_disk_is_named(case: str, told: dict[str, str]) -> None:
    """Before training where it shows then; torch and safetensors have words of their own for it later."""
    if case not in told:
        pytest.skip("cannot mount a small file system here (needs root, unshare and tmpfs)")
    what = "the student and its checkpoints need" if case == "small disk" else "cannot write"
    assert told[case].startswith("DiskError: ") and what in told[case]
    assert "fix: free some space" in told[case]


def test_a_team_of_one_machine_shares_its_memory() -> None:
    """What is asked of a machine grows with the processes on it."""
    cpu = torch.device("cpu")
    free = free_memory_bytes(cpu)
    need = MemoryNeed(1, 1, free // 3, 0, 0)
    check_memory(need, cpu, Team(local_size=2))
    with pytest.raises(TrainingError, match="of memory"):
        check_memory(need, cpu, Team(local_size=4))


def test_looking_at_the_configuration_leaves_the_random_state_alone(make_base: MakeBase) -> None:
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    memory_needs(SPEC, AutoConfig.from_pretrained(make_base()), [1])
    assert torch.equal(torch.rand(2), expected)
