"""What benchmarks, toxicity, factuality and evaluate offer: a change here is a change for users."""

from __future__ import annotations

from importlib import import_module

import pytest

SURFACE = {
    "epigone.evaluate": {"AnswerSettings", "answer_prompts"},
    "epigone.evaluate.benchmarks": {
        "BUILT_IN",
        "BenchmarkSpec",
        "EvaluationText",
        "LoadedTask",
        "benchmark_axes",
        "benchmark_name",
        "evaluation_texts",
        "load_tasks",
        "read_items",
        "run_benchmarks",
        "write_items",
    },
    "epigone.evaluate.benchmarks.sandbox": {
        "WALLS",
        "Confinement",
        "Limits",
        "TestRun",
        "find_confinement",
        "run_test",
    },
    "epigone.evaluate.factuality": {
        "ClaimsSpec",
        "Fact",
        "Knowledge",
        "check_claims",
        "claim_axes",
        "claim_scores",
        "read_knowledge",
        "sentences",
    },
    "epigone.evaluate.toxicity": {
        "Detoxify",
        "Lexicon",
        "OpenAiModeration",
        "Perspective",
        "ProfanityCheck",
        "ToxicityScorer",
        "ToxicitySpec",
        "open_scorer",
        "run_toxicity",
        "toxicity_axes",
        "toxicity_scores",
    },
}


@pytest.mark.parametrize("room", SURFACE)
def test_a_room_offers_exactly_this(room: str) -> None:
    module = import_module(room)
    assert set(module.__all__) == SURFACE[room]
    assert all(hasattr(module, name) for name in module.__all__)
