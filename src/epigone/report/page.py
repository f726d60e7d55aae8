"""The page of results: one file that opens from disk, asks no network and runs no script."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import nh3
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from msgspec import Struct

from epigone.disk import write_text
from epigone.records import Estimate, Finding
from epigone.report.arms import Arms
from epigone.report.content import ReportContent
from epigone.report.figures import draw_figures
from epigone.report.marked_text import pieces
from epigone.report.numbers import interval_text, number_text, share_text, with_minus_signs
from epigone.report.tables import draw_tables, everything, measured

__all__ = ["write_report"]

_CARD_TAGS = """
    h1 h2 h3 h4 h5 p ul ol li dl dt dd table thead tbody tr th td caption pre code blockquote details summary strong em
    b i span div section br hr figure figcaption small sup sub
"""


_UNSAFE = {"script", "style"}

_STATUSES = {
    "length": "cut at its length limit",
    "content_filter": "stopped by a content filter",
    "refused": "refused",
    "failed": "failed",
}
"""What a reader is told of an answer's status."""


class _Ruler(Struct, frozen=True, kw_only=True):
    """Where a share stands between base and teacher: positions in per cent of the ruler's width."""

    base: float
    teacher: float
    value: float
    low: float
    high: float
    off: dict[str, Literal["below", "above"]]
    """Which of value, low and high lie beyond the ruler's ends: they are drawn as arrows at the edge."""

    note: str


class _Share(Struct, frozen=True, kw_only=True):
    """One half of the headline. ``over``: the axes that it is the mean of."""

    key: str
    label: str
    value: str
    interval: str
    over: str
    method: str
    raw: float | None
    ruler: _Ruler | None


def write_report(content: ReportContent, out: Path) -> Path:
    """Write the page to ``out`` and return its path.

    Everything that a model wrote is escaped; data cards are cleaned of anything that could run or load.

    Raises:
        DiskError: it cannot be written.
    """
    environment = Environment(
        loader=PackageLoader("epigone.report"), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    environment.globals.update(pieces=pieces, clean_card=_clean_card, svg=Markup, statuses=_STATUSES)
    arms = Arms(content.results)
    page = environment.get_template("report.html.jinja").render(
        content=content,
        results=content.results,
        confidence=share_text(content.results.confidence),
        headline=_headline(arms),
        findings=[_finding(finding) for finding in content.results.findings],
        figures=draw_figures(arms),
        numbered=draw_tables(arms),
        measured=measured(arms),
        has_claims=any(answer.claims for sample in content.samples for answer in sample.answers),
        everything=everything(arms),
        curves=_curves(content),
        stages=_stages(content),
    )
    write_text(out, page)
    return out


def _headline(arms: Arms) -> list[_Share]:
    found, results = [], arms.results
    for key, label in (("style_closed", "style closed"), ("capability_closed", "capability closed")):
        estimate = results.headline.get(key)
        if estimate is None:
            continue
        interval = ""
        if estimate.value is not None and estimate.low is not None and estimate.high is not None:
            interval = (
                f"{share_text(results.confidence)} interval {share_text(estimate.low)} to {share_text(estimate.high)}"
            )
        used, of = arms.mean_over(key)
        found.append(
            _Share(
                key=key,
                label=label,
                value=share_text(estimate.value),
                interval=interval,
                over=f"over {len(used)} of {of} axes: {', '.join(axis.label for axis in used)}" if used else "",
                method=with_minus_signs(estimate.method),
                raw=estimate.value,
                ruler=_ruler(estimate),
            )
        )
    return found


_RULER = (-0.5, 1.5)  # what the ruler shows; beyond it an arrow stands at the edge


def _ruler(estimate: Estimate) -> _Ruler | None:
    if estimate.value is None or estimate.low is None or estimate.high is None:
        return None

    def place(share: float) -> float:
        low, high = _RULER
        return round(100 * (min(max(share, low), high) - low) / (high - low), 2)

    off: dict[str, Literal["below", "above"]] = {}
    for name, share in (("value", estimate.value), ("low", estimate.low), ("high", estimate.high)):
        if not _RULER[0] <= share <= _RULER[1]:
            off[name] = "below" if share < _RULER[0] else "above"
    return _Ruler(
        base=place(0.0),
        teacher=place(1.0),
        value=place(estimate.value),
        low=place(estimate.low),
        high=place(estimate.high),
        off=off,
        note=f"the ruler ends at {share_text(_RULER[0])} and {share_text(_RULER[1])}" if off else "",
    )


_SYMBOLS = {"supported": "✓", "not_supported": "✗", "undecided": "?"}


def _finding(finding: Finding) -> dict[str, Any]:
    return {
        "finding": finding,
        "measured": any(estimate.value is not None for estimate in finding.estimates.values()),
        "symbol": _SYMBOLS[finding.verdict],
        "verdict": finding.verdict.replace("_", " "),
        "rule": with_minus_signs(finding.rule),
        "evidence": [with_minus_signs(line) for line in finding.evidence],
        "estimates": [
            (
                name,
                number_text(estimate.value, ""),
                interval_text(estimate, ""),
                with_minus_signs(estimate.method),
                estimate.value,
            )
            for name, estimate in finding.estimates.items()
        ],
    }


def _curves(content: ReportContent) -> list[dict[str, Any]]:
    """Loss curves as points of a polyline, 240 × 60, a small picture each."""
    found = []
    for curve in content.training:
        if len(curve.loss) < 2:
            continue
        low, high = min(curve.loss), max(curve.loss)
        span, last = max(high - low, 1e-9), max(curve.tokens[-1], 1)
        points = " ".join(
            f"{240 * tokens / last:.1f},{4 + 52 * (high - loss) / span:.1f}"
            for tokens, loss in zip(curve.tokens, curve.loss, strict=True)
        )
        found.append({"model": curve.model, "points": points, "first": curve.loss[0], "last": curve.loss[-1]})
    return found


def _stages(content: ReportContent) -> list[tuple[str, int, float]]:
    """(stage, jobs, seconds), in the order of the plan."""
    totals: dict[str, tuple[int, float]] = {}
    for job in content.jobs:
        count, seconds = totals.get(job.stage, (0, 0.0))
        totals[job.stage] = (count + 1, seconds + (job.seconds or 0.0))
    return [(stage, count, seconds) for stage, (count, seconds) in totals.items()]


def _clean_card(html: str) -> Markup:
    attributes = {"*": {"class", "title", "scope", "colspan", "open"}}
    cleaned = nh3.clean(html, tags=set(_CARD_TAGS.split()), attributes=attributes, clean_content_tags=_UNSAFE)
    return Markup(cleaned)  # noqa: S704 - cleaned in the line above
