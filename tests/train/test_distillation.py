"""Distillation from logits: loss and gradient as written out in float64, though in chunks; teachers refused."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import AutoModelForCausalLM, AutoTokenizer

from epigone.disk import read_json
from epigone.errors import ModelError, SpecError
from epigone.records import Conversation, Message
from epigone.train import DistilSpec, TrainRecord, TrainSpec, head, train_student
from epigone.train.head import Distillation, chunked_loss

VOCABULARY, PADDED = 150, 160
MakeBase = Callable[..., Path]


def reference(
    logits: Tensor, teacher: Tensor, targets: Tensor, weights: Tensor, *, share: float, heat: float, reverse: bool
) -> Tensor:
    """The formula in float64, all logits at once: (N, V) each."""
    student, teacher = logits[:, :VOCABULARY] / heat, teacher[:, :VOCABULARY] / heat
    q, p = torch.softmax(student, -1), torch.softmax(teacher, -1)
    apart = (q * (q / p).log()).sum(-1) if reverse else (p * (p / q).log()).sum(-1)
    of_text = -torch.log_softmax(logits, -1).gather(1, targets[:, None]).squeeze(1)
    return (weights * ((1 - share) * of_text + share * heat**2 * apart)).sum()


@pytest.mark.parametrize("softcap", [None, 3.0])
@pytest.mark.parametrize(("share", "heat"), [(0.5, 1.0), (1.0, 2.0), (0.3, 0.7)])
@pytest.mark.parametrize("reverse", [False, True], ids=["forward_kl", "reverse_kl"])
def test_loss_and_gradient_are_those_of_the_formula(
    reverse: bool, share: float, heat: float, softcap: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The student's table is padded by ten rows, the teacher's is wider in its hidden states: only tokens compare."""
    torch.manual_seed(0)
    hidden, weight = torch.randn(50, 16, requires_grad=True), torch.randn(PADDED, 16, requires_grad=True)
    of_teacher, table, bias = torch.randn(50, 24), torch.randn(VOCABULARY, 24), torch.randn(VOCABULARY)
    targets, weights = torch.randint(VOCABULARY, (50,)), torch.rand(50)
    exact_hidden, exact_weight = (tensor.detach().double().requires_grad_() for tensor in (hidden, weight))
    logits = exact_hidden @ exact_weight.T
    logits = softcap * torch.tanh(logits / softcap) if softcap else logits
    teacher = of_teacher.double() @ table.double().T + bias.double()
    expected = reference(logits, teacher, targets, weights.double(), share=share, heat=heat, reverse=reverse)
    slopes = torch.autograd.grad(expected, (exact_hidden, exact_weight))
    part = Distillation(of_teacher, table, bias, None, VOCABULARY, share, heat, reverse)
    for elements in (7 * PADDED, 1 << 22):  # eight chunks, one chunk
        monkeypatch.setattr(head, "CHUNK_ELEMENTS", elements)
        loss = chunked_loss(hidden, weight, None, targets, weights, softcap=softcap, z=0.0, distil=part)
        assert float(loss.detach()) == pytest.approx(float(expected.detach()), rel=1e-5)
        for mine, exact in zip(torch.autograd.grad(loss, (hidden, weight)), slopes, strict=True):
            assert (mine - exact).norm() <= 1e-5 * exact.norm()


@pytest.mark.parametrize(
    ("reverse", "by_hand"),
    [
        (False, 0.75 * math.log(0.75 / 0.5) + 0.25 * math.log(0.25 / 0.5)),
        (True, 0.5 * math.log(0.5 / 0.75) + 0.5 * math.log(0.5 / 0.25)),
    ],
)
def test_two_tokens_by_hand(reverse: bool, by_hand: float) -> None:
    """The teacher says 3 : 1, the student 1 : 1."""
    one = torch.ones(1, 1)
    part = Distillation(one, torch.tensor([[math.log(3.0)], [0.0]]), None, None, 2, 1.0, 1.0, reverse)
    loss = chunked_loss(
        one, torch.zeros(2, 1), None, torch.tensor([0]), torch.ones(1), softcap=None, z=0.0, distil=part
    )
    assert float(loss) == pytest.approx(by_hand, rel=1e-6)


class Largest(TorchDispatchMode):  # type: ignore[misc]
    """Remembers the size of the largest tensor that anything made."""

    def __init__(self) -> None:
        super().__init__()
        self.elements = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = function(*args, **(kwargs or {}))
        for tensor in made if isinstance(made, tuple | list) else (made,):
            if isinstance(tensor, Tensor):
                self.elements = max(self.elements, tensor.numel())
        return made


def test_logits_of_neither_model_exist_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    rows, vocabulary, width = 400, 1000, 8
    monkeypatch.setattr(head, "CHUNK_ELEMENTS", 20 * vocabulary)
    hidden, weight = torch.randn(rows, width, requires_grad=True), torch.randn(vocabulary, width, requires_grad=True)
    part = Distillation(
        torch.randn(rows, width), torch.randn(vocabulary, width), None, None, vocabulary, 0.5, 1.0, True
    )
    with Largest() as largest:
        chunked_loss(
            hidden,
            weight,
            None,
            torch.zeros(rows, dtype=torch.long),
            torch.ones(rows),
            softcap=None,
            z=0.0,
            distil=part,
        ).backward()
    assert largest.elements == 20 * vocabulary


QUICK = TrainSpec(
    block_tokens=128, batch_blocks=4, micro_batch_blocks=2, peak_lr=5e-3, precision="float32", threads=1, log_every=1
)


@pytest.fixture(scope="module")
def teacher(make_base: MakeBase, conversations: list[Conversation], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base that has been taught the conversations, with turn tokens."""
    folder = tmp_path_factory.mktemp("teacher") / "model"
    train_student(
        QUICK.model_copy(update={"epochs": 10.0}), base=make_base(), conversations=conversations, out=folder, seed=1
    )
    return folder


def divergence_from(teacher: Path, student: Path, conversations: list[Conversation]) -> float:
    """Mean KL(teacher ‖ student) over all tokens of some conversations, computed with plain transformers."""
    models = [AutoModelForCausalLM.from_pretrained(folder) for folder in (teacher, student)]
    tokenizer = AutoTokenizer.from_pretrained(teacher)
    found: list[Tensor] = []
    for conversation in conversations:
        turns = [{"role": message.role, "content": message.content} for message in conversation.messages]
        given = tokenizer.apply_chat_template(turns, return_tensors="pt", return_dict=True)
        with torch.no_grad():
            p, q = (torch.log_softmax(model(**given).logits[0], -1) for model in models)
        found.append((p.exp() * (p - q)).sum(-1))
    return float(torch.cat(found).mean())


@pytest.mark.parametrize("divergence", ["forward_kl", "reverse_kl"])
def test_a_student_comes_nearer_to_its_teacher_than_by_text_alone(
    divergence: str, teacher: Path, make_base: MakeBase, conversations: list[Conversation], tmp_path: Path
) -> None:
    """On conversations that it did not see; the data it learnt from is a fifth of the teacher's."""
    seen, unseen = conversations[:8], conversations[20:]
    spec = QUICK.model_copy(update={"epochs": 30.0})
    wholly = DistilSpec(hf=str(teacher), divergence=divergence, weight=1.0)  # type: ignore[arg-type]
    by_logits = spec.model_copy(update={"distil": wholly})
    train_student(spec, base=make_base(), conversations=seen, out=tmp_path / "text", seed=0)
    record = train_student(by_logits, base=make_base(), conversations=seen, out=tmp_path / "logits", seed=0)
    by_text = divergence_from(teacher, tmp_path / "text", unseen)
    assert divergence_from(teacher, tmp_path / "logits", unseen) < 0.7 * by_text
    assert record.final_loss < 0.3 * record.losses[0].loss
    assert record == read_json(tmp_path / "logits" / "train.json", TrainRecord)
    assert record.teacher_digest is not None


def test_heldout_loss_is_the_cross_entropy_of_the_data(
    teacher: Path, make_base: MakeBase, conversations: list[Conversation], tmp_path: Path
) -> None:
    spec = QUICK.model_copy(update={"heldout_share": 0.3, "max_steps": 1})
    plain = train_student(spec, base=make_base(), conversations=conversations, out=tmp_path / "a", seed=0)
    distilled = spec.model_copy(update={"distil": DistilSpec(hf=str(teacher))})
    other = train_student(distilled, base=make_base(), conversations=conversations, out=tmp_path / "b", seed=0)
    assert [entry.loss for entry in other.heldout[:2]] == [entry.loss for entry in plain.heldout[:2]]
    assert other.losses[0].loss != plain.losses[0].loss


def test_in_bfloat16_the_loss_is_nearly_that_of_float32(
    teacher: Path, make_base: MakeBase, conversations: list[Conversation], tmp_path: Path
) -> None:
    spec = QUICK.model_copy(update={"distil": DistilSpec(hf=str(teacher)), "max_steps": 3})
    losses = [
        train_student(
            spec.model_copy(update={"precision": precision}),
            base=make_base(),
            conversations=conversations,
            out=tmp_path / precision,
            seed=0,
        ).final_loss
        for precision in ("float32", "bfloat16")
    ]
    assert losses[1] == pytest.approx(losses[0], rel=0.01)


ONE = [Conversation(id="c", messages=(Message("user", "a"), Message("assistant", "b")))]


def test_teachers_of_other_tokens_are_refused(make_base: MakeBase, teacher: Path, tmp_path: Path) -> None:
    def train(base: Path, **settings: object) -> None:
        train_student(QUICK.model_copy(update=settings), base=base, conversations=ONE, out=tmp_path / "s", seed=0)

    untaught = DistilSpec(hf=str(make_base()))
    with pytest.raises(ModelError, match=r"equal tokenizers: the teacher's lacks <\|system\|>, <\|user\|>") as refused:
        train(make_base(), distil=untaught)
    assert refused.value.fix is not None and "chat_format: tokenizer_template or koala" in refused.value.fix
    train(make_base(), distil=untaught, chat_format="koala")
    with pytest.raises(ModelError, match=r"is token \d+ of the student's and token \d+ of the teacher's"):
        train(make_base(tokenizer="llama2"), distil=untaught, chat_format="koala")
    with pytest.raises(ModelError, match="there is no such folder"):
        train(make_base(), distil=DistilSpec(hf=str(tmp_path / "nowhere")))
    long = make_base("gpt2", "gpt2", 512)
    with pytest.raises(SpecError, match="a block of 400 tokens is longer than the teacher's context of 256"):
        train(long, distil=DistilSpec(hf=str(teacher)), block_tokens=400)
