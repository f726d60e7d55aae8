"""The written page: what it shows is what results.json holds, and what models wrote stays text."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType

import msgspec

from epigone.records import Claim, Estimate, Results
from epigone.report import DataCard, write_report
from epigone.report.marked_text import pieces
from epigone.report.numbers import interval_text, number_text, share_text, tokens_text, with_minus_signs


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


def test_intervals_are_called_by_the_confidence_that_the_results_state(
    page_fixture: ModuleType, planted_results: Results, tmp_path: Path
) -> None:
    results = msgspec.structs.replace(planted_results, confidence=0.9)
    content = page_fixture.ReportContent(results=results, title="at 90 %")
    text = write_report(content, tmp_path / "index.html").read_text(encoding="utf-8")
    assert "90 % interval" in text and "90 % intervals" in text
    assert "95 % interval" not in text


def test_who_gains_stands_in_a_table_of_its_own(
    page_fixture: ModuleType, planted_results: Results, tmp_path: Path
) -> None:
    arm, axis = planted_results.headline_models[0], "qa.exact_match"
    r = Estimate(value=0.31, low=-0.02, high=0.6, n_scored=90, n_total=100, method="Spearman's r")
    results = msgspec.structs.replace(planted_results, gain_by_support={arm: {axis: r}})
    content = page_fixture.ReportContent(results=results, title="who gains")
    page = write_report(content, tmp_path / "index.html")
    cells = [a for _, a in tags(page) if "data-gain-axis" in a]
    assert [(a["data-model"], a["data-gain-axis"], a["data-value"]) for a in cells] == [(arm, axis, "0.31")]
    assert "−0.02 to 0.60</small><small>90 of 100</small>" in page.read_text(encoding="utf-8")


def test_what_was_measured_stands_first_where_files_were_compared(
    page_fixture: ModuleType, planted_results: Results, tmp_path: Path
) -> None:
    """No student has an amount: there are no figures to number, and no finding can be looked at."""
    replace = msgspec.structs.replace
    results = replace(
        planted_results,
        models=tuple(replace(model, amount_tokens=None) for model in planted_results.models),
        findings=tuple(replace(finding, estimates={}) for finding in planted_results.findings),
        headline={},
        headline_models=(),
    )
    page = write_report(page_fixture.ReportContent(results=results, title="files"), tmp_path / "index.html")
    text = page.read_text(encoding="utf-8")
    assert re.findall(r"<h2[^>]*>([^<]*)</h2>", text) == ["What was measured", "Figures", "Every estimate"]
    first = text[: text.index("Findings for which nothing was measured: 6 of six")]
    student = next(model.name for model in results.models if model.pooled)
    for axis in ("qa.exact_match", "style.list_agreement"):
        assert f'data-model="{student}" data-axis="{axis}"' in first


def test_headline_and_findings_show_their_estimates(page: Path, planted_results: Results) -> None:
    found = tags(page)
    headline = {a["data-headline"]: a["data-value"] for _, a in found if "data-headline" in a}
    assert headline == {key: str(planted_results.headline[key].value) for key in ("style_closed", "capability_closed")}
    over = planted_results.headline_over["capability_closed"]
    labels = [axis.label for name in over for axis in planted_results.axes if axis.name == name]
    total = sum(axis.headline and axis.kind in ("capability", "factuality") for axis in planted_results.axes)
    assert f"over {len(over)} of {total} axes: {labels[0]}" in page.read_text(encoding="utf-8")
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


def test_an_answers_status_is_said_in_words(page: Path) -> None:
    said = re.findall(r'<p class="status">([^<]*)</p>', page.read_text(encoding="utf-8"))
    assert sorted(set(said)) == ["cut at its length limit", "refused"]


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
    assert (number_text(-0.001, "r"), number_text(-0.0001, "share"), share_text(-0.001)) == ("0.00", "0.0 %", "0 %")
    assert number_text(None, "share") == "–"
    assert share_text(-0.142) == "−14 %"
    assert tokens_text(640_000) == "640k"
    assert tokens_text(2_000_000) == "2M"
    estimate = next(iter(planted_results.estimates["s"].values()))
    assert re.fullmatch(r"\d+\.\d to \d+\.\d", interval_text(estimate, "share"))


def test_what_lies_beyond_the_scale_is_an_arrow(
    page_fixture: ModuleType, planted_results: Results, tmp_path: Path
) -> None:
    """Capability closed of −94 %: no mark at the ruler's left end, an arrow, and where the ruler ends."""
    name = planted_results.headline_models[0]
    far = msgspec.structs.replace(planted_results.headline["capability_closed"], value=-0.94, low=-3.0, high=-0.3)
    axes = [axis.name for axis in planted_results.axes if axis.headline and axis.kind == "capability"]
    closed = planted_results.gap_closed | {name: planted_results.gap_closed[name] | {axes[0]: far}}
    results = msgspec.structs.replace(
        planted_results, headline=planted_results.headline | {"capability_closed": far}, gap_closed=closed
    )
    content = page_fixture.ReportContent(results=results, title="far off")
    text = write_report(content, tmp_path / "index.html").read_text(encoding="utf-8")
    style, capability = re.findall(r'<div class="ruler".*?</div>', text, re.DOTALL)
    assert "beyond" not in style
    assert capability.count("M0 5 L2.5 0 V10 Z") == 2  # the value and the low end
    assert "M100 5" not in capability
    assert 'rect class="point"' not in capability
    assert "the ruler ends at −50 % and 150 %" in capability
    assert "◂" in text
    assert "▸" not in text


def test_the_page_has_one_minus_sign() -> None:
    said = with_minus_signs("gain: wanted < 0.03; -0.112 [-0.132, -0.091], p = 1e-05; broad-150k of 2026-11-21")
    assert said == "gain: wanted < 0.03; −0.112 [−0.132, −0.091], p = 1e-05; broad-150k of 2026-11-21"
    assert number_text(-0.25, "share") == "−25.0 %"
