"""A recipe end to end on small data: funnel, drops, audit, the same on any number of workers."""

from __future__ import annotations

from pathlib import Path

import pytest

import epigone.curate
from epigone.curate import Collection, CurateSpec, EvaluationText, curate, run_step, write_curated
from epigone.disk import read_jsonl
from epigone.errors import SpecError
from epigone.records import Conversation, Drop, Message
from epigone.specs import parse_spec


def test_the_public_surface_is_this() -> None:
    assert epigone.curate.__all__ == [
        "Amount",
        "AmountRow",
        "CategoriesSpec",
        "CategoryDefinitions",
        "CategoryShare",
        "Checked",
        "Collection",
        "CurateSpec",
        "Curated",
        "Curation",
        "DataCard",
        "DecontaminateSpec",
        "Diversity",
        "DiversitySpec",
        "EvaluationText",
        "FunnelRow",
        "LabellerSpec",
        "Match",
        "MixRow",
        "Nested",
        "QueryLabel",
        "SimilarPair",
        "TokenCounter",
        "TokenizerSpec",
        "card_html",
        "card_markdown",
        "category_shares",
        "curate",
        "curate_to_folder",
        "data_card",
        "draw_queries",
        "find_matches",
        "label_queries",
        "latest_labels",
        "measure_diversity",
        "mix_sources",
        "nested_amounts",
        "open_workers",
        "read_collections",
        "read_conversations",
        "read_definitions",
        "read_recipe",
        "run_step",
        "support",
        "take_replay",
        "write_curated",
    ]


def dialogue(name: str, *turns: str, source: str = "toy") -> Conversation:
    roles = ("user", "assistant")
    messages = tuple(Message(role=roles[place % 2], content=text) for place, text in enumerate(turns))  # type: ignore[arg-type]
    return Conversation(id=name, messages=messages, source=source, teacher="t", terms="test terms")


LONG = "Which river flows through the old town of Ljubljana and under its three famous bridges?"
DATA = [
    dialogue("a", "How tall is the tower?", "300 metres."),
    dialogue("b", "how tall is  the TOWER", "A copy of a's query."),
    dialogue("c", "continue", "More text."),
    dialogue("d", "Continue.", "Other text."),
    dialogue("e", "", "An answer to nothing."),
    dialogue("f", f"Tell me: {LONG}", "The Ljubljanica."),
    dialogue("g", "What is a fjord?", "A narrow inlet."),
]
ITEMS = [
    EvaluationText(benchmark="quiz", item="1", prompt=LONG, answers=("Ljubljanica",)),
    EvaluationText(benchmark="quiz", item="2", prompt="Who painted the ceiling of that chapel in Rome?"),
]


def test_the_default_recipe_cleans_deduplicates_and_decontaminates_with_a_reason_for_each_drop() -> None:
    curated = curate(CurateSpec(), DATA, seed=0, evaluation=ITEMS)
    assert [conversation.id for conversation in curated.conversations] == ["a", "c", "d", "g"]
    assert [(drop.id, drop.step, drop.reason) for drop in curated.drops] == [
        ("b", "deduplicate", "duplicate_query"),
        ("e", "clean", "no_exchange"),
        ("f", "decontaminate", "matches_prompt"),
    ]
    assert [(row.step, row.received, row.kept, row.reasons) for row in curated.funnel] == [
        ("clean", 7, 6, {"no_exchange": 1}),
        ("deduplicate", 6, 5, {"duplicate_query": 1}),
        ("decontaminate", 5, 4, {"matches_prompt": 1}),
        ("support", 4, 4, {}),
    ]
    (match,) = curated.audit
    assert (match.benchmark, match.item, match.part, match.conversation, match.turn) == ("quiz", "1", "prompt", "f", 0)
    assert (match.evaluation_text, match.training_text) == (LONG, f"Tell me: {LONG}")
    assert curated.excluded_items == ()


def test_dropping_the_evaluation_side_keeps_the_data_and_names_the_items() -> None:
    recipe = parse_spec(
        CurateSpec, {"steps": [{"decontaminate": {"measure": "bleu", "drop": "evaluation"}}]}, where="r"
    )
    curated = curate(recipe, DATA, seed=0, evaluation=ITEMS)
    assert len(curated.conversations) == len(DATA)
    assert curated.excluded_items == (("quiz", "1"),)
    assert all(match.value > 20 for match in curated.audit)


def test_a_recipe_without_decontaminate_is_audited_all_the_same() -> None:
    recipe = CurateSpec.model_validate({"steps": ["clean"]})
    curated = curate(recipe, DATA, seed=0, evaluation=ITEMS)
    assert "f" in {conversation.id for conversation in curated.conversations}
    assert [(match.conversation, match.dropped) for match in curated.audit] == [("f", "neither")]
    assert any("no decontaminate step" in notice for notice in curated.notices)


def test_drops_of_the_importer_pass_through_and_are_counted_first() -> None:
    early = Drop(id="x", step="import", reason="no_messages")
    curated = curate(CurateSpec(), [early, *DATA], seed=0)
    assert curated.drops[0] == early
    assert curated.funnel[0].step == "import"
    assert curated.funnel[0].reasons == {"no_messages": 1}


def test_a_dumped_recipe_reads_back_as_itself() -> None:
    recipe = CurateSpec.model_validate({"steps": ["clean", {"language": {"keep": ["en", "de"]}}, {"diversity": None}]})
    assert [step.name for step in recipe.steps] == ["clean", "language", "diversity"]
    assert CurateSpec.model_validate(recipe.model_dump(mode="json")) == recipe


@pytest.mark.parametrize(
    ("steps", "hint"),
    [
        ([{"dedupe": {}}], "did you mean"),
        ([{"clean": {"htlm": "page"}}], "did you mean 'html'"),
        ([{"clean": {}, "language": {}}], "exactly one name"),
        ([{}], "exactly one name"),
    ],
)
def test_a_wrong_recipe_is_refused_with_a_hint(steps: list[object], hint: str) -> None:
    with pytest.raises(SpecError, match=hint):
        parse_spec(CurateSpec, {"steps": steps}, where="recipe.yaml")


def test_a_step_alone_is_a_function_on_iterables() -> None:
    assert [type(one).__name__ for one in run_step("deduplicate", iter(DATA[:3]))] == [
        "Conversation",
        "Drop",
        "Conversation",
    ]
    french = dialogue(
        "fr", "Pourquoi le ciel est-il bleu pendant toute la journée ?", "La lumière est diffusée par l'air."
    )
    (only,) = run_step("language", [french], keep=["fr"])
    assert isinstance(only, Conversation) and only.tags == {"language": "fr"}
    with pytest.raises(SpecError, match="did you mean 'keep'"):
        run_step("language", [], kep=["fr"])


def test_text_that_no_file_can_hold_is_dropped_at_the_door() -> None:
    data = [dialogue("s", "bad \ud800 half", "x"), dialogue("n", "nul \x00", "x"), DATA[0]]
    curated = curate(CurateSpec(), data, seed=0)
    assert [(drop.id, drop.reason) for drop in curated.drops] == [("s", "lone_surrogate"), ("n", "nul_character")]


def test_two_processes_give_the_same_as_one() -> None:
    many = [
        dialogue(f"{copy}-{one.id}", *(message.content + f" {copy % 500}" for message in one.messages))
        for copy in range(700)
        for one in DATA
    ]
    recipe = CurateSpec.model_validate({"steps": ["clean", "deduplicate", "language", "decontaminate", "diversity"]})
    alone = curate(recipe, many, seed=0, evaluation=ITEMS)
    assert curate(recipe, many, seed=0, evaluation=ITEMS, workers=2) == alone
    assert 0 < len(alone.conversations) < len(many)


def test_the_folder_holds_everything(tmp_path: Path) -> None:
    curated = curate(CurateSpec(), DATA, seed=0, evaluation=ITEMS)
    write_curated(curated, tmp_path, title="toy", collections=[Collection(stats={"requests": 7})])
    assert tuple(read_jsonl(tmp_path / "conversations.jsonl", Conversation)) == curated.conversations
    assert tuple(read_jsonl(tmp_path / "drops.jsonl", Drop)) == curated.drops
    assert "test terms" in (tmp_path / "card.md").read_text()
    assert (tmp_path / "card.html").read_text().startswith("<section")
    assert "| requests | 7 |" in (tmp_path / "card.md").read_text()
