"""What the trackers were shown is what the record says: read back from TensorBoard, W&B and trackio themselves."""

from __future__ import annotations

import json
import sqlite3
import struct
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from epigone.errors import MissingDependency
from epigone.records import Conversation
from epigone.train import TrainRecord, TrainSpec, train_student

MakeBase = Callable[..., Path]
Curves = dict[str, list[tuple[int, float]]]
WATCHED = TrainSpec(
    block_tokens=128,
    batch_blocks=4,
    micro_batch_blocks=2,
    precision="float32",
    threads=1,
    max_steps=6,
    log_every=2,
    heldout_share=0.2,
    heldout_every_steps=3,
    checkpoint_every_steps=3,
)


def assert_shown(curves: Curves, record: TrainRecord) -> None:
    """Steps 1, 2, 4 and 6 of the curve; held-out loss by source at steps 0, 3 and 6."""
    assert [step for step, _ in curves["loss"]] == [1, 2, 4, 6]
    for name in ("loss", "learning_rate", "gradient_norm", "tokens"):
        assert [value for _, value in curves[name]] == pytest.approx([getattr(row, name) for row in record.losses])
    for source in ("even", "odd"):
        expected = [(row.step, row.loss) for row in record.heldout if row.source == source]
        assert [step for step, _ in curves[f"heldout/{source}"]] == [step for step, _ in expected] == [0, 3, 6]
        assert [value for _, value in curves[f"heldout/{source}"]] == pytest.approx([loss for _, loss in expected])
    assert all(value > 0 for name in ("tokens_per_second", "memory_gib") for _, value in curves[name])


def tensorboard_curves(folder: Path) -> Curves:
    events = EventAccumulator(str(folder))
    events.Reload()
    return {name: [(event.step, event.value) for event in events.Scalars(name)] for name in events.Tags()["scalars"]}


def test_the_curves_reach_tensorboard(make_base: MakeBase, conversations: list[Conversation], tmp_path: Path) -> None:
    spec = WATCHED.model_copy(update={"trackers": ("tensorboard",)})
    given = {"base": make_base(), "conversations": conversations, "seed": 0, "work": tmp_path / "w"}
    record = train_student(spec, **given, out=tmp_path / "s")
    assert_shown(tensorboard_curves(tmp_path / "w/tensorboard"), record)


def test_a_resumed_training_shows_each_step_once(
    make_base: MakeBase, conversations: list[Conversation], tmp_path: Path
) -> None:
    """Stopped at step 5, it goes on from the checkpoint of step 3: step 4 is shown a second time, and counts once."""

    def stop(done: int, _: int | None) -> None:
        if done == 5:
            raise KeyboardInterrupt

    spec = WATCHED.model_copy(update={"trackers": ("tensorboard",)})
    given = {"base": make_base(), "conversations": conversations, "seed": 0, "work": tmp_path / "w"}
    with pytest.raises(KeyboardInterrupt):
        train_student(spec, **given, out=tmp_path / "s", progress=stop)
    assert [step for step, _ in tensorboard_curves(tmp_path / "w/tensorboard")["loss"]] == [1, 2, 4]
    record = train_student(spec, **given, out=tmp_path / "s")
    assert_shown(tensorboard_curves(tmp_path / "w/tensorboard"), record)


def leveldb_entries(log: bytes) -> Iterator[bytes]:
    """The entries of a LevelDB log, which W&B writes when offline: CRC, length and kind of a part before each part."""
    at, entry = 0, b""
    while at + 7 <= len(log):
        length, kind = struct.unpack_from("<HB", log, at + 4)
        entry += log[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # whole, or the last part
            yield entry
            entry = b""


@pytest.mark.slow
def test_the_curves_reach_trackio(
    make_base: MakeBase, conversations: list[Conversation], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))
    pytest.importorskip("trackio", reason="pip install trackio")
    spec = WATCHED.model_copy(update={"trackers": ("trackio",)})
    record = train_student(spec, base=make_base(), conversations=conversations, out=tmp_path / "s", seed=0)
    curves: Curves = {}
    with sqlite3.connect(tmp_path / "trackio" / "epigone.db") as database:
        for step, metrics in database.execute("SELECT step, metrics FROM metrics ORDER BY step, id"):
            for name, value in json.loads(metrics).items():
                curves.setdefault(name, []).append((step, value))
    assert_shown(curves, record)


@pytest.mark.slow
def test_the_curves_reach_wandb(
    make_base: MakeBase, conversations: list[Conversation], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    for variable in ("WANDB_DIR", "WANDB_CACHE_DIR", "WANDB_CONFIG_DIR", "WANDB_DATA_DIR"):
        monkeypatch.setenv(variable, str(tmp_path))
    pytest.importorskip("wandb", reason="pip install wandb")
    from wandb.proto.wandb_internal_pb2 import Record

    spec = WATCHED.model_copy(update={"trackers": ("wandb",)})
    record = train_student(spec, base=make_base(), conversations=conversations, out=tmp_path / "s", seed=0)
    (written,) = tmp_path.glob("wandb/offline-run-*/run-*.wandb")
    curves: Curves = {}
    for entry in leveldb_entries(written.read_bytes()[7:]):
        found = Record()
        found.ParseFromString(entry)
        row = {".".join(item.nested_key) or item.key: json.loads(item.value_json) for item in found.history.item}
        for name, value in row.items():
            curves.setdefault(name, []).append((row["_step"], value))
    assert_shown(curves, record)


def test_a_tracker_that_is_not_installed_is_named(
    make_base: MakeBase, conversations: list[Conversation], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    spec = WATCHED.model_copy(update={"trackers": ("wandb",)})
    with pytest.raises(MissingDependency, match="the tracker wandb is not installed"):
        train_student(spec, base=make_base(), conversations=conversations, out=tmp_path / "s", seed=0)
