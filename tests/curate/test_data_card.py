"""The card shows what the curation did, and hostile records stay text in it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from markdown_it import MarkdownIt
from typer.testing import CliRunner

from epigone.cli import app
from epigone.curate import CurateSpec, EvaluationText, card_html, card_markdown, curate, data_card
from epigone.disk import write_json, write_jsonl
from epigone.errors import DataError
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


class WordCounter:
    """Counts words; its name tries to be markup."""

    name = "<b>words"

    def conversations(self, conversations: Sequence[Conversation]) -> list[int]:
        return [sum(len(turn.content.split()) for turn in one.messages) for one in conversations]

    def texts(self, texts: Sequence[str]) -> list[int]:
        return [len(text.split()) for text in texts]


def make_card() -> tuple[str, str]:
    recipe = CurateSpec.model_validate({"steps": ["clean", "deduplicate", "decontaminate", "diversity"]})
    items = [EvaluationText(benchmark="<bench>", item="1", prompt="a b c d e f g h i j k l m n")]
    curated = curate(recipe, [Drop(id="d", step="read", reason="<not json>"), *DATA], seed=0, evaluation=items)
    card = data_card(curated, title="<title>", tokens=WordCounter())
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
    markdown = card_markdown(data_card(curated, title="Sea", tokens=WordCounter()))
    assert "| sea | gpt | not declared | 3 | 6 | 99 | 24 |" in markdown  # 3 x (5 + 3) words
    assert "24 tokens in all, counted by the tokenizer of <b>words" not in markdown
    assert "24 tokens in all, counted by the tokenizer of &#60;b&#62;words" in markdown
    assert "| tokens a conversation | 8 | 8 | 8 | 8 |" in markdown
    assert "| clean | 3 | 3 | none |" in markdown
    assert "no evaluation texts were given" in markdown


def test_the_card_shows_where_two_detectors_disagree() -> None:
    query = "Please explain how to bake a cake that does not fall in the middle"
    data = [Conversation(id=str(n), messages=(Message(role="user", content=query),)) for n in range(3)]
    recipe = CurateSpec.model_validate({"steps": [{"language": {"detectors": ["eldc", "py3langid"]}}]})
    card = data_card(curate(recipe, data, seed=0), title="t")
    assert card.confusion == {"en en": 3.0}
    assert card.statistics == {}
    assert card.agreement == 1.0
    assert "| en en | 3 |" in card_markdown(card)
    assert "agree on 100.0 % of the dialogues" in card_markdown(card)
    assert '<td>en en</td><td class="number">3</td>' in card_html(card)


def test_the_card_says_what_was_looked_for_in_every_benchmark_and_how_near_the_data_comes() -> None:
    query = "Which river flows through the old town of Ljubljana and under its three famous bridges?"
    data = [Conversation(id="a", messages=(Message(role="user", content=query),
                                           Message(role="assistant", content="The Ljubljanica.")))]  # fmt: skip
    items = [
        EvaluationText(benchmark="rivers", item="1", prompt=query, answers=("Ljubljanica",)),
        EvaluationText(benchmark="rivers", item="2", prompt="What is the longest river that ends in no sea at all?"),
        EvaluationText(benchmark="songs", item="1", prompt="Hum!"),
    ]
    recipe = CurateSpec.model_validate({"steps": [{"decontaminate": {"drop": "neither"}}]})
    card = data_card(curate(recipe, data, seed=0, evaluation=items), title="t")
    # benchmark, items, texts looked for, too short, rule, matches, items, conversations, dropped
    assert "| rivers | 2 | 2 | 1 | 13 words in a row | 1 | 1 | 1 | neither |" in card_markdown(card)
    assert "| songs | 1 | 0 | 1 | 13 words in a row | 0 | 0 | 0 |  |" in card_markdown(card)
    assert [(row.benchmark, row.items) for row in card.support] == [("rivers", 2), ("songs", 1)]
    assert card.support[0].p75 > 0.5  # item 1 is a copy
    assert "Support of the evaluation" in card_html(card)


def test_the_card_shows_how_the_data_was_collected_with_its_yield_curve(tmp_path: Path) -> None:
    curve = [[64 * step, 60 * step - step**2] for step in range(31)]
    collected = {"stats": {"requests": 1920.0}, "yield_curve": curve, "stopped": "target reached: 900 pairs of 900"}
    write_json(tmp_path / "in" / "collected.json", collected)
    write_jsonl(tmp_path / "in" / "conversations.jsonl", DATA)
    (tmp_path / "recipe.yaml").write_text("steps: [clean]\n")
    result = CliRunner().invoke(
        app, ["curate", str(tmp_path / "recipe.yaml"), str(tmp_path / "in"), "--out", str(tmp_path / "out")]
    )
    assert result.exit_code == 0, result.exception
    card = (tmp_path / "out" / "card.md").read_text()
    assert "Ended: target reached: 900 pairs of 900." in card and "| requests | 1,920 |" in card
    points = card.split("| requests answered | conversations kept |")[1].split("\n\n")[0].splitlines()[2:]
    assert len(points) == 12
    assert (points[0], points[-1]) == ("| 0 | 0 |", "| 1,920 | 900 |")
    assert "<h3>Collection</h3>" in (tmp_path / "out" / "card.html").read_text()


def test_the_command_line_writes_a_folder_and_shows_the_funnel(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "in.jsonl", DATA)
    (tmp_path / "recipe.yaml").write_text("steps: [clean, deduplicate]\n")
    arguments = ["curate", str(tmp_path / "recipe.yaml"), str(tmp_path / "in.jsonl"), "--out", str(tmp_path / "out")]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert "deduplicate" in result.output
    written = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"conversations.jsonl", "drops.jsonl", "audit.jsonl", "curated.json", "card.md", "card.html"} <= written


def test_nothing_of_an_earlier_recipe_stays_in_the_folder_but_what_a_person_wrote(tmp_path: Path) -> None:
    data, recipe, items, out = (tmp_path / name for name in ("in.jsonl", "recipe.yaml", "items.jsonl", "out"))
    write_jsonl(data, DATA)
    write_jsonl(items, [EvaluationText(benchmark="b", item="1", prompt="number 1")])
    recipe.write_text("steps: [clean]")
    command = ["curate", str(recipe), str(data), "--out", str(out)]
    assert CliRunner().invoke(app, [*command, "--evaluation", str(items)]).exit_code == 0
    assert (out / "support.jsonl").exists()
    (out / "replay.jsonl").write_text('{"text": "of another recipe"}\n')
    (out / "labels.jsonl").write_text("")
    assert CliRunner().invoke(app, command).exit_code == 0
    assert [name for name in ("support", "replay", "labels") if (out / f"{name}.jsonl").exists()] == ["labels"]


def test_what_is_read_is_not_written_over(tmp_path: Path) -> None:
    raw, recipe = tmp_path / "raw", tmp_path / "recipe.yaml"
    write_jsonl(raw / "conversations.jsonl", DATA)
    write_jsonl(raw / "labels.jsonl", [])
    before = (raw / "conversations.jsonl").read_bytes()
    recipe.write_text("steps: [clean]")
    for given in (raw, raw / "conversations.jsonl"):
        result = CliRunner().invoke(
            app, ["curate", str(recipe), str(given), "--out", str(tmp_path / "x" / ".." / "raw")]
        )
        assert isinstance(result.exception, DataError) and "written over" in str(result.exception)
    recipe.write_text("steps: [{categories: {labels: raw/labels.jsonl}}]")
    write_jsonl(tmp_path / "in.jsonl", DATA)
    result = CliRunner().invoke(app, ["curate", str(recipe), str(tmp_path / "in.jsonl"), "--out", str(raw)])
    assert isinstance(result.exception, DataError) and "labels.jsonl" in str(result.exception)
    assert (raw / "conversations.jsonl").read_bytes() == before


def test_each_of_two_decontaminations_says_what_it_found_itself(tmp_path: Path) -> None:
    data, recipe, items = (tmp_path / name for name in ("in.jsonl", "recipe.yaml", "items.jsonl"))
    asked = "how do I bake a good loaf of rye bread at home"
    turns = (Message(role="user", content=f"Please, {asked} today?"), Message(role="assistant", content="Slowly."))
    write_jsonl(data, [Conversation(id="a", messages=turns)])
    write_jsonl(items, [EvaluationText(benchmark="b", item="1", prompt=asked)])
    recipe.write_text(
        "steps: [decontaminate: {measure: bleu, drop: evaluation}, decontaminate: {shortest_words: 13}]\n"
    )
    command = ["curate", str(recipe), str(data), "--out", str(tmp_path / "out"), "--evaluation", str(items)]
    result = CliRunner().invoke(app, command)
    assert "b: 1 matches (BLEU > 20; 1 of 1 texts looked for)" in result.output
    assert "b: 0 matches (13 words in a row; 0 of 1 texts looked for)" in result.output


def test_a_curation_that_leaves_nothing_says_so(tmp_path: Path) -> None:
    data, recipe = tmp_path / "dump.json", tmp_path / "recipe.yaml"
    recipe.write_text("steps: [clean]")
    data.write_text('[\n{"conversations": []}\n]\n')
    command = ["curate", str(recipe), str(data), "--out", str(tmp_path / "out")]
    assert "note: no conversation is left" in CliRunner().invoke(app, command).output
    write_jsonl(data, DATA)
    assert "is left" not in CliRunner().invoke(app, command).output
