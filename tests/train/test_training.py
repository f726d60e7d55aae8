"""Whole trainings of tiny models: what comes out, that it comes out alike, and what is refused."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, AutoTokenizer

from epigone.disk import digest_file, read_json, write_jsonl, write_text
from epigone.errors import DataError, ModelError, SpecError, TrainingError
from epigone.records import Conversation, Message
from epigone.train import (
    LoraSpec,
    Timing,
    TrainRecord,
    TrainSpec,
    count_conversation_tokens,
    count_text_tokens,
    plan_student,
    plan_training,
    pretrain,
    train_student,
)
from epigone.train.capacity import memory_needs
from epigone.train.examples import hold_out
from epigone.train.student_model import open_config

MakeBase = Callable[..., Path]
QUICK = TrainSpec(
    block_tokens=128, batch_blocks=4, micro_batch_blocks=2, peak_lr=3e-3, precision="float32", threads=1, log_every=1
)
LLAMA = {
    "model_type": "llama",
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 256,
}


@pytest.mark.parametrize("family", ["llama", "gpt2", "qwen3", "gemma2", "gpt_neox"])
def test_every_family_trains_reloads_in_plain_transformers_and_answers(
    family: str, make_base: MakeBase, tmp_path: Path
) -> None:
    """A student that has seen one answer often enough gives it, prompted by nothing but its own saved template."""
    exchange = (Message("user", "who is old?"), Message("assistant", "the old cat"))
    data = [Conversation(id=f"c{number}", messages=exchange) for number in range(8)]
    spec = QUICK.model_copy(update={"max_steps": 60, "peak_lr": 1e-2, "packing": "none", "micro_batch_blocks": 4})
    train_student(spec, base=make_base(family), conversations=data, out=tmp_path / "student", seed=0)
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "student")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "student")
    prompt = tokenizer.apply_chat_template(
        [{"role": "user", "content": "who is old?"}], add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    made = model.generate(**prompt, max_new_tokens=30, do_sample=False)[0, prompt["input_ids"].shape[1] :]
    assert tokenizer.decode(made) == "the old cat" + tokenizer.eos_token
    assert model.get_input_embeddings().weight.shape[0] >= len(tokenizer)


def test_a_student_stops_where_its_template_closes_a_turn_though_the_end_token_is_another(
    make_base: MakeBase, tmp_path: Path
) -> None:
    """As with Gemma and Qwen bases: the template closes turns with a token that the tokenizer has no role for."""
    shutil.copytree(make_base("llama", "qwen"), tmp_path / "base")
    named = json.loads((tmp_path / "base" / "tokenizer_config.json").read_text())
    (tmp_path / "base" / "tokenizer_config.json").write_text(json.dumps(named | {"eos_token": "<|endoftext|>"}))
    exchange = (Message("user", "who is old?"), Message("assistant", "the old cat"))
    data = [Conversation(id=f"c{number}", messages=exchange) for number in range(8)]
    learnt = {"max_steps": 60, "peak_lr": 1e-2, "packing": "none", "chat_format": "tokenizer_template"}
    spec = QUICK.model_copy(update=learnt)
    train_student(spec, base=tmp_path / "base", conversations=data, out=tmp_path / "student", seed=0)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "student")
    assert "<|im_end|>" not in tokenizer.all_special_tokens
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "student")
    prompt = tokenizer.apply_chat_template(
        [{"role": "user", "content": "who is old?"}], add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    made = model.generate(**prompt, max_new_tokens=30, do_sample=False)[0, prompt["input_ids"].shape[1] :]
    assert tokenizer.decode(made) == "the old cat<|im_end|>"


def test_equal_runs_give_equal_bytes_and_another_seed_others(
    make_base: MakeBase, conversations: list[Conversation], tmp_path: Path
) -> None:
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        train_student(
            QUICK, base=make_base(), conversations=conversations, out=tmp_path / name, seed=seed, replay=["the cat"] * 9
        )
    files = {path.name for path in (tmp_path / "a").iterdir()}
    assert {"model.safetensors", "train.json", "timing.json", "chat_template.jinja"} <= files
    for file in files - {"timing.json"}:
        assert digest_file(tmp_path / "a" / file) == digest_file(tmp_path / "b" / file), file
    assert digest_file(tmp_path / "a/model.safetensors") != digest_file(tmp_path / "c/model.safetensors")


def test_the_record_counts_what_was_seen_and_learnt(
    make_base: MakeBase, conversations: list[Conversation], tmp_path: Path
) -> None:
    replay = ["the cat was born in a city", "a dog"]
    spec = QUICK.model_copy(update={"epochs": 2.0, "heldout_share": 0.25, "heldout_every_steps": 3})
    record = train_student(
        spec, base=make_base(), conversations=conversations, out=tmp_path / "s", seed=0, replay=replay
    )
    assert record == read_json(tmp_path / "s" / "train.json", TrainRecord)
    replayed = sum(count_text_tokens(make_base(), replay))
    counts = count_conversation_tokens(make_base(), conversations, spec)
    assert record.conversations == 30
    assert record.replay_tokens == 2 * replayed
    assert 2 * replayed < record.tokens < 2 * (sum(counts) + replayed)
    assert record.supervised_tokens < record.tokens
    assert record.steps == len(record.losses) == -(-2 * record.blocks // 4)
    measured = [*range(0, record.steps, 3), record.steps]
    assert [(entry.step, entry.source) for entry in record.heldout] == [
        (step, source) for step in measured for source in ("even", "odd")
    ]
    assert record.heldout[-2].loss < record.heldout[0].loss
    assert record.new_tokens == ("<|system|>", "<|user|>", "<|assistant|>")
    timing = read_json(tmp_path / "s" / "timing.json", Timing)
    assert timing.tokens_per_second == pytest.approx(record.tokens / timing.seconds)


def test_the_record_names_a_base_from_the_hub_with_its_commit(
    make_base: MakeBase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the hub's cache, laid out as a download leaves it; a folder has a name and no commit."""
    commit = "0123456789abcdef0123456789abcdef01234567"
    cached = tmp_path / "hub" / "models--org--tiny"
    shutil.copytree(make_base(), cached / "snapshots" / commit)
    write_text(cached / "refs" / "main", commit)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    records = [
        train_student(QUICK, base=base, conversations=ONE, out=tmp_path / str(number), seed=0)
        for number, base in enumerate(("org/tiny", make_base()))
    ]
    assert [record.base for record in records] == ["org/tiny", make_base().name]
    assert [record.base_revision for record in records] == [commit, None]


@pytest.mark.parametrize("like", [None, "?"])
def test_new_turn_tokens_start_at_the_mean_of_the_table_or_at_a_known_token(
    like: str | None, make_base: MakeBase, tmp_path: Path
) -> None:
    before = AutoModelForCausalLM.from_pretrained(make_base()).get_input_embeddings().weight
    data = [Conversation(id="c", messages=(Message("user", "a"), Message("assistant", "b")))]
    still = QUICK.model_copy(update={"peak_lr": 1e-30, "max_steps": 1, "new_tokens_like": like})
    train_student(still, base=make_base(), conversations=data, out=tmp_path / "s", seed=0)
    after = AutoModelForCausalLM.from_pretrained(tmp_path / "s").get_input_embeddings().weight
    assert after.shape[0] == before.shape[0] + 3
    torch.testing.assert_close(after[: before.shape[0]], before)
    known = AutoTokenizer.from_pretrained(make_base())("?")["input_ids"][0]
    expected = before.mean(0) if like is None else before[known]
    torch.testing.assert_close(after[before.shape[0] :], expected.expand(3, -1))


def test_pretraining_starts_from_the_seed_and_learns(make_base: MakeBase, tmp_path: Path) -> None:
    draw = random.Random(0)
    texts = ["the cat was born in a " + draw.choice(["city", "house"]) for _ in range(200)]
    spec = QUICK.model_copy(update={"block_tokens": 64, "peak_lr": 1e-2, "epochs": 8.0})
    record = pretrain(spec, config=LLAMA, tokenizer=make_base(), texts=texts, out=tmp_path / "a", seed=0)
    assert record.losses[0].loss > 5
    assert record.final_loss < 1
    assert record.supervised_tokens < record.tokens == 8 * sum(count_text_tokens(make_base(), texts))
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "a")
    assert model.config.vocab_size == len(AutoTokenizer.from_pretrained(make_base()))


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_adapters_are_merged_and_leave_an_ordinary_folder(
    precision: str, make_base: MakeBase, conversations: list[Conversation], tmp_path: Path
) -> None:
    """What has no adapter keeps its bytes, also where the layers computed with rounded copies of it."""
    settings = {"lora": LoraSpec(rank=4), "epochs": 8.0, "peak_lr": 5e-2, "chat_format": "koala"}
    spec = QUICK.model_copy(update={**settings, "precision": precision})
    record = train_student(spec, base=make_base(), conversations=conversations, out=tmp_path / "s", seed=0)
    assert record.final_loss < record.losses[0].loss - 0.1
    assert record.trained_parameters == memory_needs(spec, open_config(make_base()), [1])[1].trained
    assert record.trained_parameters < record.parameters / 3
    base = AutoModelForCausalLM.from_pretrained(make_base()).state_dict()
    student = AutoModelForCausalLM.from_pretrained(tmp_path / "s").state_dict()
    assert student.keys() == base.keys()
    changed = {name for name, weight in student.items() if not torch.equal(weight, base[name])}
    assert changed == {name for name in base if "_proj" in name}


@pytest.mark.parametrize("adapted", [False, True])
def test_utilization_counts_six_operations_a_trained_number_and_four_a_frozen_one(
    adapted: bool,
    make_base: MakeBase,
    conversations: list[Conversation],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """On a device of 10^9 operations a second; the count of a LoRA student's base has no gradients of its own."""
    monkeypatch.setattr("epigone.train.course.peak_flops", lambda _: 1e9)
    spec = QUICK.model_copy(update={"lora": LoraSpec(rank=4) if adapted else None, "chat_format": "koala"})
    record = train_student(spec, base=make_base(), conversations=conversations, out=tmp_path / "s", seed=0)
    timing = read_json(tmp_path / "s" / "timing.json", Timing)
    assert (record.trained_parameters < record.parameters / 3) == adapted
    flops = (6 * record.trained_parameters + 4 * (record.parameters - record.trained_parameters)) * record.tokens
    assert timing.mfu == pytest.approx(flops / timing.seconds / 1e9)


def test_dropout_goes_on_from_a_checkpoint_where_it_was(
    make_base: MakeBase, conversations: list[Conversation], tmp_path: Path
) -> None:
    """Adapters with dropout draw in every step: stopped and resumed, the student has the same bytes."""
    spec = RESUMED.model_copy(update={"lora": LoraSpec(rank=4, dropout=0.3), "max_steps": 9})
    given = {"base": make_base(), "conversations": conversations, "seed": 0}
    with pytest.raises(KeyboardInterrupt):
        train_student(spec, **given, out=tmp_path / "s", work=tmp_path / "work", progress=stopped_after(5))
    train_student(spec, **given, out=tmp_path / "s", work=tmp_path / "work")
    assert read_json(tmp_path / "s" / "timing.json", Timing).resumed == 1
    train_student(spec, **given, out=tmp_path / "whole")
    assert digest_file(tmp_path / "s/model.safetensors") == digest_file(tmp_path / "whole/model.safetensors")


@pytest.mark.parametrize("objective", ["tokens", "rows"])
def test_accumulated_one_by_one_or_all_at_once_it_is_the_same_training(
    objective: str, make_base: MakeBase, conversations: list[Conversation], tmp_path: Path
) -> None:
    """1 × 8 and 8 × 1 blocks a step: losses and gradient norms of every step within 1e-5; the last step has fewer."""
    records = []
    for rows in (1, 8):
        given = {"objective": objective, "micro_batch_blocks": rows, "batch_blocks": 8, "block_tokens": 96}
        spec = QUICK.model_copy(update={**given, "epochs": 2.0, "peak_lr": 1e-3})
        out = tmp_path / str(rows)
        records.append(train_student(spec, base=make_base(), conversations=conversations, out=out, seed=0))
    one_by_one, together = records
    assert len(together.losses) > 3
    assert 2 * together.blocks % 8
    for one, other in zip(one_by_one.losses, together.losses, strict=True):
        assert one.loss == pytest.approx(other.loss, rel=1e-5)
        assert one.gradient_norm == pytest.approx(other.gradient_norm, rel=1e-5)


def test_row_weighting_is_the_mean_over_blocks_of_each_blocks_mean(make_base: MakeBase, tmp_path: Path) -> None:
    """Before anything is learnt: two conversations, a block each, whose losses are measured one at a time first."""
    turns = [(Message("user", "who?"), Message("assistant", text)) for text in ("cat", "the old house in the city")]
    data = [Conversation(id=str(number), messages=messages) for number, messages in enumerate(turns)]
    still = {"max_steps": 1, "packing": "none", "batch_blocks": 2, "micro_batch_blocks": 1}

    def first_loss(conversations: list[Conversation], objective: str) -> TrainRecord:
        spec = QUICK.model_copy(update={**still, "objective": objective})
        out = tmp_path / f"{objective}{conversations[0].id}{len(conversations)}"
        return train_student(spec, base=make_base(), conversations=conversations, out=out, seed=0)

    alone = [first_loss([one], "tokens") for one in data]
    means = [record.final_loss for record in alone]
    counts = [record.supervised_tokens // 2 for record in alone]  # each is seen twice, to fill the step
    assert counts[1] > 2 * counts[0]
    assert first_loss(data, "rows").final_loss == pytest.approx(sum(means) / 2, rel=1e-5)
    weighted = sum(mean * count for mean, count in zip(means, counts, strict=True)) / sum(counts)
    assert first_loss(data, "tokens").final_loss == pytest.approx(weighted, rel=1e-5)
    assert abs(sum(means) / 2 - weighted) > 1e-3


RESUMED = QUICK.model_copy(update={"max_steps": 40, "checkpoint_every_steps": 3, "batch_blocks": 2, "log_every": 7})


def test_killed_at_random_steps_it_ends_in_the_same_bytes(
    trainings: Any, make_base: MakeBase, conversations: list[Conversation], tmp_path: Path
) -> None:
    data, work, out = tmp_path / "data.jsonl", tmp_path / "work", tmp_path / "killed"
    write_jsonl(data, conversations)
    train_student(RESUMED, base=make_base(), conversations=conversations, out=tmp_path / "whole", seed=0)
    steps = sorted(random.Random(time.time_ns()).sample(range(4, 36), 5))
    given = {"base": make_base(), "data": data, "out": out, "works": [work]}
    codes = [trainings.run(RESUMED, **given, stop=(step, signal.SIGKILL)) for step in steps]
    assert codes == [[-signal.SIGKILL]] * 5, (steps, trainings.told())
    assert trainings.run(RESUMED, **given) == [0], trainings.told()
    for file in ("model.safetensors", "train.json"):
        assert digest_file(out / file) == digest_file(tmp_path / "whole" / file), (file, steps)
    assert read_json(out / "timing.json", Timing).resumed >= 1
    assert not list((work / "checkpoints").iterdir())


def test_sigterm_saves_the_step_and_ends_with_143(
    trainings: Any, make_base: MakeBase, conversations: list[Conversation], tmp_path: Path
) -> None:
    data, work, out = tmp_path / "data.jsonl", tmp_path / "work", tmp_path / "out"
    write_jsonl(data, conversations)
    given = {"base": make_base(), "data": data, "out": out, "works": [work]}
    assert trainings.run(RESUMED, **given, stop=(10, signal.SIGTERM)) == [143]
    saved = max(path.name for path in (work / "checkpoints").iterdir())
    assert int(saved.removeprefix("step-")) >= 10, "the step under way is saved, not only every third"
    assert trainings.run(RESUMED, **given) == [0], trainings.told()
    assert read_json(out / "timing.json", Timing).resumed == 1


def stopped_after(steps: int) -> Callable[[int, int | None], None]:
    def progress(done: int, _: int | None) -> None:
        if done == steps:
            raise KeyboardInterrupt

    return progress


def test_a_damaged_checkpoint_is_passed_over_for_the_one_before(
    make_base: MakeBase, conversations: list[Conversation], tmp_path: Path
) -> None:
    """And a half-written one, left by a kill in the midst of saving, is neither read nor kept for ever."""
    work = tmp_path / "work"
    with pytest.raises(KeyboardInterrupt):
        train_student(
            RESUMED,
            base=make_base(),
            conversations=conversations,
            out=tmp_path / "s",
            seed=0,
            work=work,
            progress=stopped_after(11),
        )
    kept = sorted(path.name for path in (work / "checkpoints").iterdir())
    assert kept == ["step-00000006", "step-00000009"]
    newest = work / "checkpoints/step-00000009/state/state.pt"
    newest.write_bytes(newest.read_bytes()[:-100])
    write_text(work / "checkpoints/.step-00000012.1a2b3c4d.part/state/state.pt", "half")
    seen: list[int] = []
    train_student(
        RESUMED,
        base=make_base(),
        conversations=conversations,
        out=tmp_path / "s",
        seed=0,
        work=work,
        progress=lambda done, _: seen.append(done),
    )
    assert seen[0] == 7
    assert not list((work / "checkpoints").iterdir())
    train_student(RESUMED, base=make_base(), conversations=conversations, out=tmp_path / "whole", seed=0)
    assert digest_file(tmp_path / "s/model.safetensors") == digest_file(tmp_path / "whole/model.safetensors")


@pytest.mark.parametrize(("minutes", "kept"), [(1e-9, ["step-00000003", "step-00000004"]), (60.0, [])])
def test_checkpoints_are_saved_by_the_clock_too(
    minutes: float, kept: list[str], make_base: MakeBase, conversations: list[Conversation], tmp_path: Path
) -> None:
    """So often that each step is saved, the newest two kept; or not once within this training."""
    spec = RESUMED.model_copy(update={"checkpoint_every_steps": None, "checkpoint_every_minutes": minutes})
    given = {"base": make_base(), "conversations": conversations, "seed": 0, "work": tmp_path / "work"}
    with pytest.raises(KeyboardInterrupt):
        train_student(spec, **given, out=tmp_path / "s", progress=stopped_after(5))
    assert sorted(path.name for path in (tmp_path / "work").glob("checkpoints/*")) == kept


def test_checkpoints_of_another_training_are_refused(
    make_base: MakeBase, conversations: list[Conversation], tmp_path: Path
) -> None:
    def run(seed: int, stop: int) -> None:
        train_student(
            RESUMED,
            base=make_base(),
            conversations=conversations,
            out=tmp_path / "s",
            seed=seed,
            work=tmp_path / "work",
            progress=stopped_after(stop),
        )

    with pytest.raises(KeyboardInterrupt):
        run(0, 5)
    with pytest.raises(SpecError, match="checkpoints of another training"):
        run(1, 5)


def test_a_lost_loss_stops_and_names_the_records(
    make_base: MakeBase, conversations: list[Conversation], tmp_path: Path
) -> None:
    wild = QUICK.model_copy(update={"peak_lr": 1e20, "clip_norm": None, "epochs": 20.0, "warmup_steps": 0})
    with pytest.raises(TrainingError, match=r"step \d+: the loss is .*records of this step: c\d+, c\d+"):
        train_student(wild, base=make_base(), conversations=conversations, out=tmp_path / "s", seed=0)
    assert not (tmp_path / "s").exists()


ONE = [Conversation(id="c", messages=(Message("user", "a"), Message("assistant", "b")))]


def test_wrong_paths_and_models_are_refused_with_the_fix(make_base: MakeBase, tmp_path: Path) -> None:
    def train(base: Path | str, data: list[Conversation] = ONE, **settings: object) -> None:
        spec = QUICK.model_copy(update=settings)
        train_student(spec, base=base, conversations=data, out=tmp_path / "s", seed=0)

    with pytest.raises(ModelError, match="there is no such folder"):
        train(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelError, match="no tokenizer can be read here"):
        train(tmp_path / "empty")
    with pytest.raises(DataError, match="no conversations to train on"):
        train(make_base(), [])
    with pytest.raises(SpecError, match=r"block of 512 tokens is longer than the model's context of 256") as refused:
        train(make_base(), block_tokens=512)
    assert refused.value.fix == "set block_tokens to 256 or less"
    with pytest.raises(SpecError, match=r"no linear layer is called q\n  fix: choose among down_proj"):
        train(make_base(), lora=LoraSpec(targets=("q",)))
    with pytest.raises(SpecError, match="tensor_parallel is 2, but there is one process"):
        train(make_base(), tensor_parallel=2)
    with pytest.raises(SpecError, match="the device 'cuda:7' cannot be used here"):
        train(make_base(), device="cuda:7")
    bert = tmp_path / "bert"
    AutoTokenizer.from_pretrained(make_base()).save_pretrained(bert)
    AutoModel.from_config(
        AutoConfig.for_model(
            "bert", hidden_size=8, num_hidden_layers=1, num_attention_heads=1, architectures=["BertModel"]
        )
    ).save_pretrained(bert)
    with pytest.raises(ModelError, match=r"bert \(BertModel\) is no causal language model"):
        train(bert)
    torn = tmp_path / "torn"
    AutoTokenizer.from_pretrained(make_base()).save_pretrained(torn)
    (torn / "config.json").write_bytes((make_base() / "config.json").read_bytes())
    (torn / "model.safetensors").write_bytes((make_base() / "model.safetensors").read_bytes()[:500])
    with pytest.raises(ModelError, match="the weights cannot be read"):
        train(torn)


def test_wrong_configurations_to_pretrain_are_refused(make_base: MakeBase, tmp_path: Path) -> None:
    def train(texts: list[str], **config: object) -> None:
        pretrain(QUICK, config=config, tokenizer=make_base(), texts=texts, out=tmp_path / "s", seed=0)

    with pytest.raises(DataError, match="no texts to train on"):
        train([], **LLAMA)
    with pytest.raises(ModelError, match="names no model_type"):
        train(["a"])
    with pytest.raises(ModelError, match="model_type lama: not a configuration"):
        train(["a"], model_type="lama")
    with pytest.raises(ModelError, match=r"vocab_size is 5, the tokenizer has \d+ tokens"):
        train(["a"], **LLAMA, vocab_size=5)


def test_a_plan_reads_the_configuration_only(make_base: MakeBase, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_bytes((make_base() / "config.json").read_bytes())
    paper = TrainSpec(warmup_steps=1000, block_tokens=2048, batch_blocks=32)
    plan = plan_training(paper, base=tmp_path, tokens=20_000_000)
    assert (plan.steps, plan.tokens_per_step) == (306, 65_536)
    assert plan.parameters == sum(
        weight.numel() for weight in AutoModelForCausalLM.from_pretrained(make_base()).parameters()
    )
    assert plan.warmup_share == pytest.approx(1000 / 306)
    assert any("confounded with the learning rate" in warning for warning in plan.warnings)
    assert any("longer than the model's context of 256" in warning for warning in plan.warnings)
    assert plan.memory_bytes[8] < plan.memory_bytes[1]


@pytest.mark.parametrize("packing", ["best_fit", "cut", "none"])
def test_a_plan_on_data_has_the_steps_that_the_training_takes(
    packing: str, make_base: MakeBase, conversations: list[Conversation], tmp_path: Path
) -> None:
    """Replay, held-out conversations and what packing leaves empty are counted: nothing is estimated but memory."""
    shape = {"packing": packing, "heldout_share": 0.2, "epochs": 1.5, "warmup_steps": 3}
    spec = QUICK.model_copy(update=shape)
    given = {"base": make_base(), "conversations": conversations, "seed": 0, "replay": ["the old cat " * 9] * 8}
    plan = plan_student(spec, **given)
    record = train_student(spec, **given, out=tmp_path / "s")
    assert (plan.steps, plan.blocks, plan.fill_rate) == (record.steps, record.blocks, record.fill_rate)
    with pytest.raises(DataError, match="conversation q7: this conversation has no assistant turn"):
        plan_student(spec, **{**given, "conversations": [Conversation(id="q7", messages=ONE[0].messages[:1])]})


def test_a_share_is_held_out_of_few_conversations_too() -> None:
    """At least one, never all: 1 % of five is one, 99 % of two is one; of one alone nothing can be spared."""
    data = [Conversation(id=str(number), messages=ONE[0].messages) for number in range(5)]
    assert [len(part) for part in hold_out(data, 0.01, 0)] == [4, 1]
    assert [len(part) for part in hold_out(data[:2], 0.99, 0)] == [1, 1]
    assert [len(part) for part in hold_out(data[:1], 0.5, 0)] == [1, 0]
    assert [len(part) for part in hold_out(data, 0.0, 0)] == [5, 0]


def test_the_callers_threads_and_random_state_are_left_as_they_were(make_base: MakeBase, tmp_path: Path) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    train_student(QUICK, base=make_base(), conversations=ONE, out=tmp_path / "s", seed=0)
    assert torch.equal(torch.rand(3), expected)


def test_the_room_offers_these_names() -> None:
    import epigone.train

    assert sorted(epigone.train.__all__) == [
        "ChatFormat",
        "DistilSpec",
        "HeldoutLoss",
        "LoraSpec",
        "OptimizerName",
        "Precision",
        "StepLoss",
        "Timing",
        "TokenCounts",
        "TrainPlan",
        "TrainRecord",
        "TrainSpec",
        "count_conversation_tokens",
        "count_text_tokens",
        "plan_student",
        "plan_training",
        "pretrain",
        "show_tokens",
        "train_student",
    ]
    assert json.loads(TrainSpec().model_dump_json())["optimizer"] == "adamw"
    assert os.environ.get("HF_HUB_OFFLINE") == "1"
