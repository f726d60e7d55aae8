"""The page in a real browser: quiet, self-contained, readable on a phone and in the dark, usable by keyboard."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from epigone.records import Results
from epigone.report import write_report

pytestmark = [pytest.mark.browser, pytest.mark.slow]


def _page_fixture() -> ModuleType:
    path = Path(__file__).parents[1] / "report" / "page_fixture.py"
    spec = importlib.util.spec_from_file_location("page_fixture_for_browser", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def results() -> Results:
    found: Results = _page_fixture().planted_results()
    return found


@pytest.fixture(scope="module")
def page_file(results: Results, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report(_page_fixture().page_content(results), tmp_path_factory.mktemp("report") / "index.html")


class Opened:
    """A page with everything that it said and asked for."""

    def __init__(self, browser: Any, file: Path, width: int, scheme: str) -> None:
        self.messages: list[str] = []
        self.requests: list[str] = []
        self.page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
        self.page.on("console", lambda message: self.messages.append(f"{message.type}: {message.text}"))
        self.page.on("pageerror", lambda error: self.messages.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(file.as_uri())


@pytest.mark.parametrize("width", [400, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_quiet_self_contained_and_never_wider_than_the_window(
    browser: Any, page_file: Path, width: int, scheme: str
) -> None:
    opened = Opened(browser, page_file, width, scheme)
    opened.page.evaluate(
        "document.querySelectorAll('details').forEach(d => { d.removeAttribute('name'); d.open = true })"
    )
    assert opened.messages == []
    assert opened.requests == [page_file.as_uri()]
    assert opened.page.title() == "planted study – epigone"
    assert opened.page.evaluate("document.documentElement.scrollWidth") <= width
    opened.page.close()


def test_numbers_that_a_reader_sees_equal_results(browser: Any, page_file: Path, results: Results) -> None:
    opened = Opened(browser, page_file, 1280, "light")
    cells = opened.page.evaluate(
        "[...document.querySelectorAll('td[data-axis]')].map(c => [c.dataset.model, c.dataset.axis, c.firstChild.data])"
    )
    units = {axis.name: axis.unit for axis in results.axes}
    checked = 0
    for model, axis, shown in cells:
        estimate = results.estimates[model].get(axis)
        if estimate is None or estimate.value is None:
            assert shown == "–"
            continue
        number = float(shown.removesuffix(" %").replace("−", "-"))
        scale, half_step = (100, 0.0501) if units[axis] == "share" else (1, 0.00501)
        assert abs(number - scale * estimate.value) < half_step, (model, axis)
        checked += 1
    assert checked > 400
    opened.page.close()


_CONTRAST = """
() => {
  const channel = v => { v /= 255; return v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4 };
  const light = c => 0.2126 * channel(c[0]) + 0.7152 * channel(c[1]) + 0.0722 * channel(c[2]);
  const parse = c => c.match(/[\\d.]+/g).map(Number);
  const paper = e => { for (; e; e = e.parentElement) {
    const c = parse(getComputedStyle(e).backgroundColor); if (c.length < 4 || c[3] > 0) return c }
    return [255, 255, 255] };
  const readable = 'p, li, th, td, small, a, summary, h1, h2, h3, h4, span, figcaption, sup';
  const worst = {};
  for (const e of document.querySelectorAll(readable)) {
    if (e.closest('svg') || !e.textContent.trim() || !e.getClientRects().length) continue;
    const [a, b] = [light(parse(getComputedStyle(e).color)), light(paper(e))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    const key = e.tagName + '.' + e.className;
    worst[key] = Math.min(worst[key] ?? 99, ratio);
  }
  return worst;
}
"""


def test_a_phone_shows_figures_unscaled_and_a_number_beside_each_model(browser: Any, page_file: Path) -> None:
    page = Opened(browser, page_file, 400, "light").page
    scales = page.eval_on_selector_all(
        ".panel > svg", "all => all.map(svg => svg.getBoundingClientRect().width / svg.viewBox.baseVal.width)"
    )
    assert len(scales) >= 10 and min(scales) > 0.9  # their text is 11 px high
    ends = page.eval_on_selector_all(
        "#tables tbody tr > td:nth-child(2)", "all => all.map(cell => cell.getBoundingClientRect().right)"
    )
    assert len(ends) >= 20 and max(ends) <= 400


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_contrast_is_at_least_aa(browser: Any, page_file: Path, scheme: str) -> None:
    opened = Opened(browser, page_file, 1280, scheme)
    worst = opened.page.evaluate(_CONTRAST)
    assert len(worst) > 15
    assert {key: ratio for key, ratio in worst.items() if ratio < 4.5} == {}
    opened.page.close()


def test_claims_are_told_apart_without_colour(browser: Any, page_file: Path) -> None:
    opened = Opened(browser, page_file, 1280, "light")
    marks = opened.page.evaluate(
        "[...document.querySelectorAll('.answers .claim')].map(c => [c.className, c.querySelector('sup').textContent,"
        " getComputedStyle(c).textDecorationStyle])"
    )
    found = {tuple(mark) for mark in marks}
    assert found == {
        ("claim right", "✓", "solid"),
        ("claim wrong", "✗", "wavy"),
        ("claim unclear", "?", "dotted"),
    }
    opened.page.close()


def test_the_sample_browser_works_by_keyboard(browser: Any, page_file: Path) -> None:
    opened = Opened(browser, page_file, 1280, "light")
    second = opened.page.locator("details.sample > summary").nth(1)
    second.focus()
    opened.page.keyboard.press("Enter")
    states = opened.page.evaluate("[...document.querySelectorAll('details.sample')].slice(0, 3).map(d => d.open)")
    assert states == [False, True, False]  # one at a time: opening one closes the other
    assert "<script>document.title" in opened.page.locator("details.sample").nth(1).inner_text()
    opened.page.close()
