"""The same batch gives the same loss and gradients, however it is laid out and computed (float32, 1e-5 relative)."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
import torch
from msgspec.structs import replace
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM

from epigone.errors import ModelError
from epigone.train import document_attention, head
from epigone.train.adapters import add_adapters, merge_adapters
from epigone.train.batches import Batch, assemble, in_one_row
from epigone.train.examples import Example
from epigone.train.head import chunked_loss
from epigone.train.normalization import normalize_in_parts
from epigone.train.objective import Objective
from epigone.train.packing import Block, Piece, pack
from epigone.train.spec import LoraSpec
from epigone.train.student_model import recompute_activations

VOCABULARY = 150
FAMILIES = {
    "llama": {"model_type": "llama", "num_key_value_heads": 2, "tie_word_embeddings": True},
    "gpt2": {"model_type": "gpt2", "resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0},
    "qwen3": {"model_type": "qwen3", "num_key_value_heads": 2, "head_dim": 8},
    "gemma2": {"model_type": "gemma2", "num_key_value_heads": 2, "head_dim": 8, "sliding_window": 16},
    "gpt_neox": {"model_type": "gpt_neox"},
}


def tiny(family: str) -> Any:
    torch.manual_seed(1)
    shape = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    positions = {"max_position_embeddings": 1024, "vocab_size": VOCABULARY, "initializer_range": 0.2}
    special = {"pad_token_id": None, "bos_token_id": 0, "eos_token_id": 1}
    return AutoModelForCausalLM.from_config(AutoConfig.for_model(**shape, **positions, **special, **FAMILIES[family]))


def some_examples(count: int, longest: int) -> list[Example]:
    draw = np.random.default_rng(2)
    made = []
    for number in range(count):
        length = int(draw.integers(5, longest))
        ids = draw.integers(2, VOCABULARY, length).astype(np.int32)
        made.append(Example(f"e{number}", "", ids, draw.random(length) < 0.6))
    return made


def alone(examples: list[Example]) -> Batch:
    """One conversation a row."""
    return assemble([Block((Piece(index, 0, len(example.ids)),)) for index, example in enumerate(examples)], examples)


def packed(examples: list[Example], block_tokens: int) -> Batch:
    return assemble(pack([len(example.ids) for example in examples], "best_fit", block_tokens), examples)


def loss_and_gradients(objective: Objective, *batches: Batch) -> tuple[float, dict[str, Tensor]]:
    objective.zero_grad(set_to_none=True)
    total = 0.0
    for batch in batches:
        loss = objective(batch)
        loss.backward()
        total += float(loss.detach())
    found = {name: weight.grad.clone() for name, weight in objective.named_parameters() if weight.grad is not None}
    return total, found


def assert_same(one: tuple[float, dict[str, Tensor]], other: tuple[float, dict[str, Tensor]]) -> None:
    assert one[0] == pytest.approx(other[0], rel=1e-5)
    assert one[1].keys() == other[1].keys()
    for name, gradient in one[1].items():
        difference = (gradient - other[1][name]).norm() / gradient.norm().clamp_min(1e-12)
        assert difference <= 1e-5, f"{name}: {difference:.2e}"


@pytest.mark.parametrize("family", FAMILIES)
def test_packed_equals_one_conversation_a_row(family: str) -> None:
    objective = Objective(tiny(family), z_loss=0.0)
    examples = some_examples(7, 40)
    batch = packed(examples, 64)
    assert batch.input_ids.shape[0] < len(examples)
    assert_same(loss_and_gradients(objective, batch), loss_and_gradients(objective, alone(examples)))


@pytest.mark.parametrize("family", FAMILIES)
def test_the_loss_is_transformers_own(family: str) -> None:
    """Per-token losses agree with the model's own logits, one text at a time."""
    model = tiny(family)
    objective = Objective(model, z_loss=0.0)
    assert objective.chunked
    for example in some_examples(3, 30):
        batch = alone([example])
        logits = model(input_ids=torch.from_numpy(example.ids.astype(np.int64))[None]).logits[0]
        logprobs = torch.log_softmax(logits, -1)
        for position in range(1, len(example.ids)):
            one = example.learnt & (np.arange(len(example.ids)) == position)
            if one.any():
                single = alone([Example("x", "", example.ids, one)])
                expected = -logprobs[position - 1, int(example.ids[position])]
                torch.testing.assert_close(objective(single), expected, rtol=1e-5, atol=1e-6)
        assert batch.supervised_tokens == int(example.learnt[1:].sum())


@pytest.mark.parametrize("softcap", [None, 3.0])
@pytest.mark.parametrize("z", [0.0, 0.1])
@pytest.mark.parametrize("with_bias", [False, True])
def test_the_chunked_head_equals_the_whole_one(
    softcap: float | None, z: float, with_bias: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    hidden, weight = torch.randn(50, 16, requires_grad=True), torch.randn(VOCABULARY, 16, requires_grad=True)
    bias = torch.randn(VOCABULARY, requires_grad=True) if with_bias else None
    targets, weights = torch.randint(VOCABULARY, (50,)), torch.rand(50)
    wanted = [tensor for tensor in (hidden, weight, bias) if tensor is not None]
    logits = torch.nn.functional.linear(hidden, weight, bias)
    logits = softcap * torch.tanh(logits / softcap) if softcap else logits
    each = torch.nn.functional.cross_entropy(logits, targets, reduction="none") + z * logits.logsumexp(-1).square()
    whole = (weights * each).sum()
    expected = torch.autograd.grad(2 * whole, wanted)
    for elements in (7 * VOCABULARY, 1 << 22):  # eight chunks, one chunk
        monkeypatch.setattr(head, "CHUNK_ELEMENTS", elements)
        loss = chunked_loss(hidden, weight, bias, targets, weights, softcap=softcap, z=z)
        torch.testing.assert_close(loss, whole, rtol=1e-5, atol=0)
        for mine, theirs in zip(torch.autograd.grad(2 * loss, wanted), expected, strict=True):
            assert (mine - theirs).norm() <= 1e-5 * theirs.norm()


def test_accumulating_one_by_one_equals_all_at_once() -> None:
    objective = Objective(tiny("llama"), z_loss=0.0)
    examples = some_examples(8, 40)
    blocks = [Block((Piece(index, 0, len(example.ids)),)) for index, example in enumerate(examples)]
    together = assemble(blocks, examples)
    one_by_one = [assemble([block], examples) for block in blocks]
    assert_same(loss_and_gradients(objective, together), loss_and_gradients(objective, *one_by_one))


@pytest.mark.parametrize("family", FAMILIES)
def test_gradient_checkpointing_changes_nothing(family: str) -> None:
    model = tiny(family)
    objective = Objective(model, z_loss=0.0)
    objective.train()
    batch = packed(some_examples(7, 40), 64)
    plain = loss_and_gradients(objective, batch)
    recompute_activations(model)
    assert model.is_gradient_checkpointing
    assert_same(loss_and_gradients(objective, batch), plain)


def test_an_architecture_that_cannot_recompute_is_refused() -> None:
    model = tiny("llama")
    model.supports_gradient_checkpointing = False
    with pytest.raises(ModelError, match="llama cannot recompute its activations"):
        recompute_activations(model)


@pytest.mark.parametrize("family", ["llama", "gpt2", "qwen3", "gpt_neox"])
@pytest.mark.parametrize("longest", [40, 700], ids=["dense", "tiled"])
def test_attention_by_document_equals_transformers_masked_attention(family: str, longest: int) -> None:
    """The CPU's bfloat16 kernel, run in float32 here; 700 tokens are more than one tile."""
    batch = packed(some_examples(5, longest), max(64, longest))
    objective = Objective(tiny(family), z_loss=0.0)
    masked = loss_and_gradients(objective, batch)
    objective.use_document_attention()
    assert objective.model.config._attn_implementation == document_attention.NAME
    assert_same(loss_and_gradients(objective, batch), masked)


def test_rows_behind_one_another_without_padding_give_the_same_sum() -> None:
    """Three rows of 300 to 700 tokens, weighted differently; the last one ends in padding of its own."""
    examples = some_examples(4, 700)
    lengths = [len(example.ids) for example in examples]
    objective = Objective(tiny("llama"), z_loss=0.0)
    blocks = [Block((Piece(0, 0, lengths[0]), Piece(1, 0, lengths[1])))]
    blocks += [Block((Piece(index, 0, lengths[index]),)) for index in (2, 3)]
    batch = assemble(blocks, examples)
    batch = replace(batch, weights=batch.weights * torch.tensor([[0.1], [0.2], [0.7]]))
    assert not objective.takes_one_row(batch)
    masked = loss_and_gradients(objective, batch)
    objective.use_document_attention()
    assert objective.takes_one_row(batch)
    row = in_one_row(batch, [block.tokens for block in blocks])
    assert row.input_ids.shape == (1, -(-sum(lengths) // 16) * 16)
    assert_same(loss_and_gradients(objective, row), masked)


def test_windowed_attention_is_left_to_transformers() -> None:
    objective = Objective(tiny("gemma2"), z_loss=0.0)
    objective.use_document_attention()
    assert objective.model.config._attn_implementation != document_attention.NAME


@pytest.mark.parametrize(("family", "layers"), [("llama", 5), ("qwen3", 9), ("gemma2", 0), ("gpt_neox", 0)])
def test_normalization_in_parts_is_taken_only_where_it_is_the_same_function(family: str, layers: int) -> None:
    """Forward bit for bit; back as near to float64 as transformers' own way. Gemma adds 1 to its weights."""
    model = tiny(family).to(torch.bfloat16)
    norms = [module for name, module in model.named_modules() if type(module).__name__.endswith("RMSNorm")]
    plain = [type(module).forward for module in norms]
    assert normalize_in_parts(model) == layers
    for module, forward in zip(norms[:layers], plain, strict=False):
        width = module.weight.shape[0]
        torch.manual_seed(4)
        given = torch.randn(3, 200, width).to(torch.bfloat16)  # more rows than one part
        slope = torch.randn(3, 200, width).to(torch.bfloat16)
        module.weight.data.normal_(1, 0.3)
        exact = given.double().requires_grad_()
        normed = exact * (exact.square().mean(-1, keepdim=True) + module.variance_epsilon).rsqrt()
        expected = torch.autograd.grad(normed * module.weight.double(), exact, slope.double())[0]
        errors = []
        for function in (module.forward, lambda x, m=module, f=forward: f(m, x)):
            hidden = given.clone().requires_grad_()
            output = function(hidden)
            assert torch.equal(output, forward(module, given))
            found = torch.autograd.grad(output, (hidden, module.weight), slope)
            errors.append(float((found[0].double() - expected).norm() / expected.norm()))
            of_weight = (slope.double() * normed.detach()).sum((0, 1))
            assert (found[1].double() - of_weight).norm() <= 5e-3 * of_weight.norm()
        assert errors[0] <= 1.05 * errors[1] <= 1e-2


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_merged_adapters_compute_what_unmerged_ones_did(family: str) -> None:
    model = tiny(family)
    plain = set(model.state_dict())
    add_adapters(model, LoraSpec(rank=4), new_tokens=False)
    torch.manual_seed(3)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_" in name:
                weight.normal_(std=0.2)
    ids = torch.tensor([random.Random(0).choices(range(VOCABULARY), k=20)])
    model.eval()
    before = model(input_ids=ids).logits
    state = merge_adapters(model, model.state_dict())
    assert set(state) == set(model.state_dict()) == plain
    model.load_state_dict(state)
    torch.testing.assert_close(model(input_ids=ids).logits, before, rtol=1e-4, atol=1e-4)
