"""lm-eval's own `local-completions` client works against a served model and measures what the model measures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from epigone.models import LocalSpec, ServerProcess
from epigone.models.local import load_local
from epigone.records import Request, ScoreRequest

PAIRS = [
    ("Question: Where was Ada Novak born?\nAnswer:", " Lisbon"),
    ("Question: Where was Ada Novak born?\nAnswer:", " Kiel, in winter"),
    ("The quick brown fox", " jumps over the lazy dog."),
]


@pytest.mark.slow
def test_log_likelihoods_and_texts_of_local_completions_are_the_models_own(
    make_model: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    from lm_eval.api.instance import Instance
    from lm_eval.models.openai_completions import LocalCompletionsAPI

    folder = make_model("llama")
    local = load_local(LocalSpec(hf=str(folder), dtype="float64"))
    with ServerProcess(str(folder), dtype="float64", log=tmp_path / "log") as server:
        client = LocalCompletionsAPI(
            base_url=f"{server.base_url}/completions", model=server.model_name, tokenizer=str(folder), num_concurrent=2,
            max_length=256,
        )  # fmt: skip
        scored = client.loglikelihood([Instance("loglikelihood", {}, pair, 0) for pair in PAIRS], disable_tqdm=True)
        until = {"until": ["\n"], "max_gen_toks": 12, "temperature": 0}
        texts = client.generate_until(
            [Instance("generate_until", {}, (prompt, until), 0) for prompt, _ in PAIRS], disable_tqdm=True
        )
    own = local.score([ScoreRequest(prompt=prompt, continuation=continuation) for prompt, continuation in PAIRS])
    assert [value for value, _ in scored] == pytest.approx([reply.logprob for reply in own], abs=1e-5)
    assert [greedy for _, greedy in scored] == [reply.greedy for reply in own]
    written = local.generate([Request(prompt=prompt, max_tokens=12, stop=("\n",)) for prompt, _ in PAIRS])
    assert texts == [reply.text for reply in written]
