"""The paper's figures as SVG: drawn here, so that the page needs neither network nor script.

Text and axes are drawn in ``currentColor``, so that a figure follows the page's light or dark colours; series are told
apart by colour *and* by mark. Error bars are the estimates' intervals.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

import altair as alt
import vl_convert
from msgspec import Struct

from epigone.records import Axis, ModelInfo
from epigone.report.arms import Arms

__all__ = ["Figure", "draw_figures"]

_INK = "#010203"
_COLOURS = ["#3b7dd8", "#d9822b", "#2f9e6e", "#b04ac0", "#c9483e", "#7a7f87"]
_SHAPES = ["circle", "square", "triangle-up", "diamond", "cross", "triangle-down"]
_PANEL = {"width": 270, "height": 200}
_DODGE = 1.07  # series at the same amount stand this factor apart, so that their error bars can be told from each other


class Figure(Struct, frozen=True, kw_only=True):
    """A figure of the page: ``panels`` are SVG documents, each with its own description for screen readers."""

    key: str
    title: str
    caption: str
    panels: tuple[str, ...]


def draw_figures(arms: Arms) -> list[Figure]:
    """Every figure for which there are measurements."""
    found = [_gap_closed(arms), _figure_1(arms), _figure_3(arms), _figure_4(arms), _figure_5(arms)]
    return [figure for figure in found if figure is not None and figure.panels]


def _gap_closed(arms: Arms) -> Figure | None:
    if not arms.results.headline_models:
        return None
    name = arms.results.headline_models[0]
    rows = []
    for kind, label in (("style", "style"), ("capability", "capability"), ("factuality", "capability")):
        for axis in arms.headline_axes(kind):
            estimate = arms.results.gap_closed.get(name, {}).get(axis.name)
            if estimate is not None and estimate.value is not None:
                ends = [_clamped(end) for end in (estimate.value, estimate.low, estimate.high)]
                row = {"axis": axis.label, "kind": label} | dict(zip(("value", "low", "high"), ends, strict=True))
                rows.append(row | _beyond((estimate.value, estimate.low, estimate.high)))
    if not rows:
        return None
    order = [row["axis"] for row in rows]
    base = alt.Chart(alt.Data(values=rows))
    y = alt.Y("axis:N", sort=order, title=None, axis=None)
    names = base.mark_text(align="left", baseline="middle", dy=-13).encode(y=y, x=alt.value(0), text="axis:N")
    colour = alt.Color("kind:N", scale=_scale(["style", "capability"]), title=None)
    shape = alt.Shape("kind:N", scale=alt.Scale(domain=["style", "capability"], range=_SHAPES[:2]), title=None)
    scale = alt.Axis(format="%", tickCount=6, grid=False, labelFlush=False)
    x = alt.X("value:Q", title="share of the gap to the teacher closed", axis=scale)
    bars = base.mark_rule(strokeWidth=2).encode(y=y, x=alt.X("low:Q"), x2="high:Q", color=colour)
    inside = base.transform_filter("!datum.off")
    points = inside.mark_point(filled=True, size=70, opacity=1).encode(y=y, x=x, color=colour, shape=shape)
    arrows = _arrows(base, y, colour)
    marks = (
        alt.Chart(alt.Data(values=[{"x": 0.0}, {"x": 1.0}])).mark_rule(strokeDash=[3, 3], opacity=0.5).encode(x="x:Q")
    )
    ends = base.mark_text(dy=-7, baseline="bottom").encode(x="x:Q", y=alt.value(0), text="label:N")
    ends.data = alt.Data(values=[{"x": 0.0, "label": "base"}, {"x": 1.0, "label": "teacher"}])
    # Names stand above their rows, so that a phone need not scale the figure down.
    chart = (marks + ends + names + bars + points + arrows).properties(width=330, height=38 * len(rows))
    return Figure(
        key="gap",
        title="Gap closed, axis by axis",
        caption=f"{name}: 0 % is its base, 100 % the teacher (for style, the teacher's own second sample). Axes whose "
        "gap may be zero have no ratio and are not drawn; the headline names those that it is the mean of. An arrow at "
        "an edge says that a value or interval goes on beyond −100 % or 200 %.",
        panels=(_svg(chart, f"Share of the gap closed on each axis by {name}"),),
    )


def _figure_1(arms: Arms) -> Figure | None:
    preference = next(iter(arms.headline_axes("preference")), None)
    task = arms.local_axis
    panels = []
    if preference is not None:
        panels.append(_against_amount(arms, preference))
    if task is not None:
        panels.append(_against_amount(arms, task))
    if preference is not None:
        panels.append(_against_size(arms, preference))
    return Figure(
        key="figure1",
        title="Figure 1: raters, knowledge, base size",
        caption="First the share of answers rated equal to or better than the teacher's, against the amount of broad "
        "imitation data; then the task of the local data, at the same amounts; last preference against base size.",
        panels=tuple(panel for panel in panels if panel),
    )


def _figure_3(arms: Arms) -> Figure | None:
    axis = next(
        (axis for axis in arms.results.axes if axis.kind == "preference" and axis.name.endswith("win_rate")), None
    )
    if axis is None:
        return None
    return Figure(
        key="figure3",
        title="Figure 3: the judge",
        caption="Win rate over the teacher, ties counted half, against amount and against base size. 50 % is parity.",
        panels=tuple(panel for panel in (_against_amount(arms, axis), _against_size(arms, axis)) if panel),
    )


def _figure_4(arms: Arms) -> Figure | None:
    axes = arms.headline_axes("capability", "factuality")
    panels = [_against_amount(arms, axis) for axis in axes] + [_against_size(arms, axis) for axis in axes]
    return Figure(
        key="figure4",
        title="Figure 4: capability",
        caption="First against the amount of broad imitation data, then against base size (students at the largest "
        "amount). Dashed: the bases before imitation. Dotted: the teacher.",
        panels=tuple(panel for panel in panels if panel),
    )


def _figure_5(arms: Arms) -> Figure | None:
    axes = arms.headline_axes("safety")
    return Figure(
        key="figure5",
        title="Figure 5: non-toxicity",
        caption="One minus the mean toxicity of continuations, against the amount of broad imitation data.",
        panels=tuple(panel for axis in axes if (panel := _against_amount(arms, axis))),
    )


def _against_amount(arms: Arms, axis: Axis) -> str:
    """Lines of the broad arms by base; the bases as dashed, the teacher as dotted levels."""
    rows, levels = [], []
    for base in arms.bases:
        for model in arms.broad(base.name):
            rows += _point(arms, model, axis, series=base.name, x=model.amount_tokens)
        estimate = arms.estimate(base, axis.name)
        if estimate is not None and estimate.value is not None:
            levels.append({"series": base.name, "value": estimate.value})
    if not rows:
        return ""
    names = [base.name for base in arms.bases]
    chart = _lines(rows, names, _log_x(rows, "imitation tokens"), axis) + _levels(levels, names)
    chart += _dotted_teacher(arms, axis)
    return _svg(chart.properties(title=axis.label, **_PANEL), f"{axis.label} against the amount of imitation data")


def _against_size(arms: Arms, axis: Axis) -> str:
    """Bases and their largest broad (and local) arms against the number of parameters."""
    rows = []
    for base in arms.bases:
        if base.parameters is None:
            continue
        shown = [("base", base)] + [("broad", model) for model in arms.broad(base.name)[-1:]]
        shown += [("local", model) for model in arms.local(base.name)[:1]]
        for series, model in shown:
            rows += _point(arms, model, axis, series=series, x=base.parameters)
    if len({row["x"] for row in rows}) < 2:
        return ""
    names = [name for name in ("base", "broad", "local") if any(row["series"] == name for row in rows)]
    chart = _lines(rows, names, _log_x(rows, "parameters of the base"), axis) + _dotted_teacher(arms, axis)
    return _svg(chart.properties(title=axis.label, **_PANEL), f"{axis.label} against the size of the base")


def _point(arms: Arms, model: ModelInfo, axis: Axis, *, series: str, x: int | None) -> list[dict[str, Any]]:
    estimate = arms.estimate(model, axis.name)
    if estimate is None or estimate.value is None or not x:
        return []
    low = estimate.value if estimate.low is None else estimate.low
    high = estimate.value if estimate.high is None else estimate.high
    return [{"series": series, "x": x, "value": estimate.value, "low": low, "high": high}]


def _lines(rows: list[dict[str, Any]], names: Sequence[str], x: alt.X, axis: Axis) -> alt.LayerChart:
    middle = (len(names) - 1) / 2
    apart = [{**row, "x": row["x"] * _DODGE ** (names.index(row["series"]) - middle)} for row in rows]
    base = alt.Chart(alt.Data(values=apart))
    form = "%" if axis.unit == "share" else ".2f"
    y = alt.Y("value:Q", title=None, scale=alt.Scale(zero=False), axis=alt.Axis(format=form, tickCount=5))
    colour = alt.Color("series:N", scale=_scale(names), title=None)
    shape = alt.Shape("series:N", scale=alt.Scale(domain=list(names), range=_SHAPES[: len(names)]), title=None)
    lines = base.mark_line(strokeWidth=2).encode(x=x, y=y, color=colour)
    bars = base.mark_rule(strokeWidth=1.5).encode(x=x, y=alt.Y("low:Q"), y2="high:Q", color=colour)
    points = base.mark_point(filled=True, size=55, opacity=1).encode(x=x, y=y, color=colour, shape=shape)
    return alt.layer(points, bars, lines, points)  # points lead, so that the legend is theirs, and stand on top


def _log_x(rows: list[dict[str, Any]], title: str) -> alt.X:
    """A logarithmic axis with a tick at each amount that was measured, and no other."""
    ticks = sorted({row["x"] for row in rows})
    scale = alt.Scale(type="log", domain=[ticks[0] / 1.5, ticks[-1] * 1.5], nice=False)
    return alt.X("x:Q", scale=scale, title=title, axis=alt.Axis(format=".3~s", values=ticks, grid=False))


def _levels(levels: list[dict[str, Any]], names: Sequence[str]) -> alt.Chart:
    colour = alt.Color("series:N", scale=_scale(names), title=None)
    return (
        alt.Chart(alt.Data(values=levels)).mark_rule(strokeDash=[6, 4], opacity=0.8).encode(y="value:Q", color=colour)
    )


def _dotted_teacher(arms: Arms, axis: Axis) -> alt.LayerChart:
    """The teacher's level; for style and preference the second sample's, where there is one."""
    model = arms.ceiling if axis.kind in ("style", "preference") else arms.teacher
    estimate = arms.estimate(model, axis.name)
    values: list[dict[str, Any]] = []
    if model is not None and estimate is not None and estimate.value is not None:
        values.append({"value": estimate.value, "label": _TEACHER[model.role]})
    base = alt.Chart(alt.Data(values=values))
    rule = base.mark_rule(strokeDash=[1, 3], strokeWidth=2).encode(y="value:Q")
    text = base.mark_text(align="right", baseline="bottom", dy=-3, fontSize=11)
    return rule + text.encode(y="value:Q", x=alt.value("width"), text="label:N")


_TEACHER = {"teacher": "teacher", "teacher_second_sample": "teacher, second sample"}


def _scale(names: Iterable[str]) -> alt.Scale:
    domain = list(names)
    return alt.Scale(domain=domain, range=[_COLOURS[i % len(_COLOURS)] for i in range(len(domain))])


_SHOWN = (-1.0, 2.0)  # shares of a gap that the figure shows; beyond them an arrow stands at the edge


def _clamped(value: float | None) -> float | None:
    return None if value is None else min(_SHOWN[1], max(_SHOWN[0], value))


def _beyond(values: Iterable[float | None]) -> dict[str, bool]:
    """Of a row's value and interval: whether any goes on beyond the left or right edge, and whether the value does."""
    numbers = tuple(values)
    known = [number for number in numbers if number is not None]
    return {
        "left": any(number < _SHOWN[0] for number in known),
        "right": any(number > _SHOWN[1] for number in known),
        "off": numbers[0] != _clamped(numbers[0]),
    }


def _arrows(base: alt.Chart, y: alt.Y, colour: alt.Color) -> alt.LayerChart:
    """Arrows at the edges, for rows that go on beyond them."""
    layers = []
    for side, edge, sign, shift in (("left", _SHOWN[0], "◂", 5), ("right", _SHOWN[1], "▸", -5)):
        beyond = base.transform_filter(f"datum.{side}").transform_calculate(edge=str(edge), sign=f"'{sign}'")
        text = beyond.mark_text(fontSize=16, dx=shift)
        layers.append(text.encode(x="edge:Q", y=y, text="sign:N", color=colour))
    return alt.layer(*layers)


def _svg(chart: alt.TopLevelMixin, description: str) -> str:
    text = {"labelColor": _INK, "titleColor": _INK, "labelFontSize": 11, "titleFontSize": 11}
    themed = (
        chart.configure(background="transparent", font="system-ui, sans-serif", rule={"color": _INK})
        .configure_view(stroke=None)
        .configure_axis(domainColor=_INK, tickColor=_INK, gridColor="#80808040", titleFontWeight="normal", **text)
        .configure_legend(orient="bottom", symbolSize=70, **text)
        .configure_text(color=_INK, fontSize=11)
        .configure_title(color=_INK, fontSize=12, anchor="start", fontWeight=600)
    )
    svg = str(vl_convert.vegalite_to_svg(themed.to_dict(), vl_version="6.4"))
    svg = svg.replace(_INK, "currentColor").replace("rgb(1, 2, 3)", "currentColor")
    # A figure scales down on a phone; its own description stands for it where it is not seen.
    svg = re.sub(r"<svg ", f'<svg role="img" aria-label="{_plain(description)}" ', svg, count=1)
    return svg


def _plain(text: str) -> str:
    return re.sub(r"[^\w\s.,:#@+%()/-]", "", text)
