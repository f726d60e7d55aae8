"""The written page: what it shows is what results.json holds, and what models wrote stays text."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType

import msgspec

from epigone.records import Claim, Results
from epigone.report import DataCard, write_report
from epigone.report.marked_text import pieces
from epigone.report.numbers import interval_text, number_text, share_text, tokens_text


class Tags(HTMLParser):
    """All start tags with their attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def tags(page: Path) -> list[tuple[str, dict[str, str | None]]]:
    parser = Tags()
    parser.feed(page.read_text(encoding="utf-8"))
    return parser.found


def test_every_cell_shows_the_estimate_of_its_model_and_axis(page: Path, planted_results: Results) -> None:
    cells = [attributes for _, attributes in tags(page) if "data-axis" in attributes]
    assert len(cells) > 400
    for cell in cells:
        estimate = planted_results.estimates[cell["data-model"] or ""].get(cell["data-axis"] or "")
        value = None if estimate is None else estimate.value
        assert cell["data-value"] == ("" if value is None else str(value))


def test_headline_and_findings_show_their_estimates(page: Path, planted_results: Results) -> None:
    found = tags(page)
    headline = {a["data-headline"]: a["data-value"] for _, a in found if "data-headline" in a}
    assert headline == {key: str(planted_results.headline[key].value) for key in ("style_closed", "capability_closed")}
    shown = [(a["data-finding"], a["data-estimate"], a["data-value"]) for _, a in found if "data-finding" in a]
    expected = [
        (finding.key, name, "" if estimate.value is None else str(estimate.value))
        for finding in planted_results.findings
        for name, estimate in finding.estimates.items()
    ]
    assert shown == expected


def test_nothing_can_run_or_load(page: Path) -> None:
    found = tags(page)
    assert "script" not in {tag for tag, _ in found}
    assert not [name for _, attributes in found for name in attributes if name.startswith("on")]
    sources = [a.get(key) for _, a in found for key in ("src", "href", "xlink:href", "action") if a.get(key)]
    assert all(source.startswith("#") or source == "results.json" for source in sources)
    policy = next(a["content"] for tag, a in found if tag == "meta" and a.get("http-equiv"))
    assert policy is not None and policy.startswith("default-src 'none'")


def test_hostile_answers_are_shown_as_they_are(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert "&lt;script&gt;document.title=&#34;owned&#34;&lt;/script&gt;" in text
    assert "{{ 7 * 7 }}" in text
    assert "&amp;lt;b&amp;gt;" in text


def test_a_hostile_card_loses_what_could_run(
    page_fixture: ModuleType, planted_results: Results, tmp_path: Path
) -> None:
    card = DataCard(
        title="<b>x</b>", html='<p onclick="a()">kept</p><iframe src="http://e"></iframe><style>*{}</style>'
    )
    content = msgspec.structs.replace(page_fixture.page_content(planted_results), cards=(card,))
    text = write_report(content, tmp_path / "page.html").read_text()
    assert "<p>kept</p>" in text
    assert "onclick" not in text and "<iframe" not in text
    assert "&lt;b&gt;x&lt;/b&gt;" in text


def test_a_page_of_an_almost_empty_study_is_written(tmp_path: Path, page_fixture: ModuleType) -> None:
    planted = page_fixture.planted()
    measured = planted.measurements(items=30, prompts=12, only="s")
    few = msgspec.structs.replace(measured, models=measured.models[:3], votes=(), items=())
    results = page_fixture.compare(few, page_fixture.CompareSpec(resamples=100), seed=0)
    content = page_fixture.ReportContent(results=results, title="nothing measured")
    text = write_report(content, tmp_path / "page.html").read_text()
    assert "nothing measured" in text and len(re.findall("undecided", text)) >= 6


def claim(start: int, end: int, verdict: str) -> Claim:
    return Claim(item="i", model="m", start=start, end=end, verdict=verdict)  # type: ignore[arg-type]


def test_marked_text_keeps_every_character_once() -> None:
    cut = pieces("abcdefgh", [claim(2, 4, "right"), claim(3, 6, "wrong"), claim(6, 99, "unclear")])
    assert [(piece.text, piece.verdict) for piece in cut] == [
        ("ab", None),
        ("cd", "right"),
        ("ef", None),
        ("gh", "unclear"),
    ]


def test_numbers_read_as_people_write_them(planted_results: Results) -> None:
    assert number_text(0.1234, "share") == "12.3 %"
    assert number_text(-0.5, "r") == "−0.50"
    assert number_text(None, "share") == "–"
    assert share_text(-0.142) == "−14 %"
    assert tokens_text(640_000) == "640k"
    assert tokens_text(2_000_000) == "2M"
    estimate = next(iter(planted_results.estimates["s"].values()))
    assert re.fullmatch(r"\d+\.\d to \d+\.\d", interval_text(estimate, "share"))
