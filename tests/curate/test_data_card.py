"""The card shows what the curation did, and hostile records stay text in it."""

from __future__ import annotations

from pathlib import Path

from markdown_it import MarkdownIt
from typer.testing import CliRunner

from epigone.cli import app
from epigone.curate import CurateSpec, EvaluationText, card_html, card_markdown, curate, data_card
from epigone.disk import write_jsonl
from epigone.records import Conversation, Drop, Message

EVIL = '</pre><script>alert(1)</script> | ```\n# heading\n```` <img src=x onerror="y"> [l](javascript:z)'
DATA = [
    Conversation(
        id=f"<b>{n}</b>|{n}",
        messages=(Message(role="user", content=f"{EVIL} number {n}"), Message(role="assistant", content=EVIL)),
        source="<i>src</i>|x",
        teacher="T<u>",
        terms="**free** <s>",
    )
    for n in range(4)
]


def make_card() -> tuple[str, str]:
    recipe = CurateSpec.model_validate({"steps": ["clean", "deduplicate", "decontaminate", "diversity"]})
    items = [EvaluationText(benchmark="<bench>", item="1", prompt="a b c d e f g h i j k l m n")]
    curated = curate(recipe, [Drop(id="d", step="read", reason="<not json>"), *DATA], seed=0, evaluation=items)
    card = data_card(curated, title="<title>", token_counts=[10] * len(curated.conversations))
    return card_markdown(card), card_html(card, page=True)


def test_nothing_in_the_html_card_is_markup_of_the_records() -> None:
    _, html = make_card()
    for tag in ("<script", "<img", "<b>", "<i>", "<u>", "<s>", "<bench>", "<title><", "<not"):
        assert tag not in html
    assert "&lt;script&gt;" in html


def test_the_markdown_card_renders_without_markup_of_the_records() -> None:
    markdown, _ = make_card()
    html = MarkdownIt("commonmark", {"html": True}).enable("table").render(markdown)
    for tag in ("<script", "<img", "<b>", "<i>", "<u>", "<s>", 'javascript:z">', "<h1>heading"):
        assert tag not in html
    assert html.count("<table>") >= 4


def test_the_card_says_sources_terms_tokens_and_funnel() -> None:
    clean = [
        Conversation(id=str(n), messages=(Message(role="user", content=f"Question {n} on the sea?"),
                     Message(role="assistant", content="It is deep.")), source="sea", teacher="gpt", terms="")
        for n in range(3)
    ]  # fmt: skip
    curated = curate(CurateSpec(), clean, seed=0)
    markdown = card_markdown(data_card(curated, title="Sea", token_counts=[5, 6, 7]))
    assert "| sea | gpt | not declared | 3 | 6 |" in markdown
    assert "| 18 |" in markdown
    assert "| clean | 3 | 3 | none |" in markdown
    assert "no evaluation texts were given" in markdown


def test_the_card_shows_where_two_detectors_disagree() -> None:
    query = "Please explain how to bake a cake that does not fall in the middle"
    data = [Conversation(id=str(n), messages=(Message(role="user", content=query),)) for n in range(3)]
    recipe = CurateSpec.model_validate({"steps": [{"language": {"detectors": ["eldc", "py3langid"]}}]})
    card = data_card(curate(recipe, data, seed=0), title="t")
    assert card.confusion == {"en en": 3.0}
    assert card.statistics == {}
    assert "| en en | 3 |" in card_markdown(card)
    assert '<td>en en</td><td class="number">3</td>' in card_html(card)


def test_the_command_line_writes_a_folder_and_shows_the_funnel(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "in.jsonl", DATA)
    (tmp_path / "recipe.yaml").write_text("steps: [clean, deduplicate]\n")
    arguments = ["curate", str(tmp_path / "recipe.yaml"), str(tmp_path / "in.jsonl"), "--out", str(tmp_path / "out")]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert "deduplicate" in result.output
    written = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"conversations.jsonl", "drops.jsonl", "audit.jsonl", "curated.json", "card.md", "card.html"} <= written
