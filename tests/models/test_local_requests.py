"""What the local engine does with stop strings, limits, chat templates, seeds and bad models."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from epigone.errors import ModelError
from epigone.models import LocalSpec
from epigone.models.local import LocalModel, load_local
from epigone.models.local_spec import model_name
from epigone.records import Message, Request


@pytest.fixture(scope="module")
def model(make_model: Callable[..., Path]) -> LocalModel:
    return load_local(LocalSpec(hf=str(make_model("llama")), dtype="float64"))


def test_text_ends_before_the_first_stop_string(model: LocalModel) -> None:
    free = model.generate([Request(prompt="Boat", max_tokens=60)])[0].text or ""
    late, early = free[30:33], free[12:15]
    reply = model.generate([Request(prompt="Boat", max_tokens=60, stop=(late, early))])[0]
    assert (reply.status, reply.text) == ("ok", free[: min(free.find(late), free.find(early))])
    assert reply.completion_tokens is not None
    assert reply.completion_tokens < 60


def test_a_prompt_without_room_for_a_reply_is_failed_and_says_so(model: LocalModel) -> None:
    long, short = model.generate([Request(prompt="Boat " * 300), Request(prompt="Boat", max_tokens=3)])
    assert (long.status, long.text) == ("failed", None)
    assert "the context is 256 tokens" in (long.error or "")
    assert short.status in ("ok", "length")


def test_a_reply_ends_where_the_context_does(model: LocalModel) -> None:
    reply = model.generate([Request(prompt="Boat", max_tokens=10_000, temperature=1.0)])[0]
    assert reply.prompt_tokens is not None
    assert reply.completion_tokens is not None
    assert reply.prompt_tokens + reply.completion_tokens <= 256
    assert (reply.status == "length") == (reply.prompt_tokens + reply.completion_tokens == 256)


def test_a_conversation_goes_through_the_chat_template(model: LocalModel) -> None:
    messages = (Message(role="system", content="Be brief."), Message(role="user", content="Where?"))
    by_hand = "<|system|>Be brief.<|close|><|user|>Where?<|close|><|assistant|>"
    chat, plain = model.generate([Request(messages=messages, max_tokens=9), Request(prompt=by_hand, max_tokens=9)])
    assert (chat.text, chat.prompt_tokens) == (plain.text, plain.prompt_tokens)


def test_special_tokens_in_a_prompt_are_single_tokens_and_the_turns_end_ends_a_reply(model: LocalModel) -> None:
    close = model.text.tokenizer.convert_tokens_to_ids("<|close|>")
    assert model.text.encode("<|user|>a<|close|>")[-1] == close
    assert close in model.text.ends
    assert 0 in model.text.ends


def test_without_a_chat_template_messages_are_refused(make_model: Callable[..., Path], tmp_path: Path) -> None:
    folder = tmp_path / "plain"
    shutil.copytree(make_model("llama"), folder)
    (folder / "chat_template.jinja").unlink()
    model = load_local(LocalSpec(hf=str(folder)))
    with pytest.raises(ModelError, match="has no chat template"):
        model.generate([Request(messages=(Message(role="user", content="x"),))])


def test_a_leading_space_of_the_reply_is_kept(model: LocalModel) -> None:
    whole = model.text.encode("Ada Novak of Lisbon")
    head = model.text.encode("Ada Novak")
    assert model.text.after(head, whole[len(head) :]) == " of Lisbon"


def test_draws_follow_the_models_probabilities(model: LocalModel) -> None:
    ask = Request(prompt="Where was", max_tokens=1, temperature=1.0, top_logprobs=20)
    top = model.generate([ask])[0].top_logprobs[0]
    replies = model.generate(
        [Request(prompt="Where was", max_tokens=1, temperature=1.0, seed=seed) for seed in range(2000)]
    )
    counts = Counter(reply.text for reply in replies)
    for text, logprob in top.items():
        if not text or "\ufffd" in text or text.startswith("<|"):
            continue  # several tokens look like this
        expected = 2000 * np.exp(logprob)
        assert abs(counts[text] - expected) < 5 * np.sqrt(expected) + 3


def test_a_small_nucleus_leaves_only_the_most_likely(model: LocalModel) -> None:
    greedy = model.generate([Request(prompt="Where was", max_tokens=8)])[0]
    drawn = model.generate(
        [Request(prompt="Where was", max_tokens=8, temperature=1.0, top_p=1e-6, seed=seed) for seed in range(20)]
    )
    assert {reply.text for reply in drawn} == {greedy.text}


def test_seed_and_sample_change_a_draw_and_the_same_request_does_not(model: LocalModel) -> None:
    def ask(seed: int | None, sample: int) -> Request:
        return Request(prompt="Where was", max_tokens=20, temperature=1.0, seed=seed, sample=sample)

    texts = [
        reply.text for reply in model.generate([ask(0, 0), ask(0, 1), ask(1, 0), ask(1, 1), ask(0, 0), ask(None, 0)])
    ]
    assert len(set(texts[:4])) == 4
    assert texts[4] == texts[5] == texts[0]


def test_progress_reaches_the_number_of_requests(model: LocalModel) -> None:
    seen: list[tuple[int, int | None]] = []
    model.generate(
        [Request(prompt=f"Boat {number}", max_tokens=number + 1) for number in range(10)]
        + [Request(prompt="x " * 400)],
        lambda done, total: seen.append((done, total)),
    )
    assert seen[-1] == (11, 11)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


def test_the_name_follows_the_weights_and_not_the_path(make_model: Callable[..., Path], tmp_path: Path) -> None:
    folder = make_model("llama")
    moved = tmp_path / folder.name
    shutil.copytree(folder, moved)
    assert model_name(LocalSpec(hf=str(moved))) == model_name(LocalSpec(hf=str(folder)))
    (moved / "train.json").write_text("{}")
    assert model_name(LocalSpec(hf=str(moved))) == model_name(LocalSpec(hf=str(folder)))
    config = json.loads((moved / "config.json").read_text())
    (moved / "config.json").write_text(json.dumps(config | {"rope_theta": 5.0}))
    assert model_name(LocalSpec(hf=str(moved))) != model_name(LocalSpec(hf=str(folder)))
    assert model_name(LocalSpec(hf=str(moved), name="mine")) == "mine"


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        ("nothing there", "no such folder"),
        ("no weights", "cannot be loaded"),
        ("a layer more in the configuration", "weights are missing"),
        ("weights cut off", "cannot be loaded"),
        ("no tokenizer", "cannot be loaded"),
    ],
)
def test_a_damaged_model_is_refused_in_words(
    make_model: Callable[..., Path], tmp_path: Path, damage: str, says: str
) -> None:
    folder = tmp_path / "model"
    if damage != "nothing there":
        shutil.copytree(make_model("llama"), folder)
    weights = folder / "model.safetensors"
    if damage == "no weights":
        weights.unlink()
    elif damage == "weights cut off":
        weights.write_bytes(weights.read_bytes()[:5000])
    elif damage == "no tokenizer":
        for file in folder.glob("tokenizer*"):
            file.unlink()
    elif damage == "a layer more in the configuration":
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(config | {"num_hidden_layers": 3}))
    with pytest.raises(ModelError, match=says):
        load_local(LocalSpec(hf=str(folder)))


@pytest.mark.parametrize("kind", ["BloomConfig", "MambaConfig"])
def test_an_architecture_that_the_engine_does_not_fit_is_refused(
    make_model: Callable[..., Path], tmp_path: Path, kind: str
) -> None:
    import transformers

    config = getattr(transformers, kind)(
        vocab_size=404, hidden_size=32, n_head=4, n_layer=2, num_hidden_layers=2, state_size=4
    )
    transformers.AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path)
    for file in make_model("llama").glob("tokenizer*"):
        shutil.copy(file, tmp_path)
    with pytest.raises(ModelError, match="engine"):
        load_local(LocalSpec(hf=str(tmp_path), max_context=128))


def test_a_device_that_is_not_here_is_refused(make_model: Callable[..., Path]) -> None:
    with pytest.raises(ModelError, match="cuda:99"):
        load_local(LocalSpec(hf=str(make_model("llama")), device="cuda:99"))
