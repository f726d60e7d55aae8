"""A whole page from the planted study: hostile answers, claims, cards, jobs, training curves."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

from epigone.compare import CompareSpec, compare
from epigone.records import Claim, Results
from epigone.report import Answer, DataCard, JobRow, ReportContent, Sample, TrainingCurve

HOSTILE = (
    '</p></article><script>document.title="owned"</script><img src="http://evil.example/x.png" onerror="alert(1)">'
    '<svg onload="fetch(`http://evil.example`)"></svg>{{ 7 * 7 }} &lt;b&gt; ‮txt.exe‬ ' + "Ω" * 40 + "x" * 300
)
ADA = "Ada Nim was born in 1912.\n1. She lived in Torvik.\n2. She built bridges.\nIn short, a builder from Torvik."


def planted() -> ModuleType:
    path = Path(__file__).parents[1] / "compare" / "planted.py"
    spec = importlib.util.spec_from_file_location("planted_for_pages", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def planted_results(resamples: int = 400) -> Results:
    measured = planted().measurements(items=200, prompts=100)
    return compare(measured, CompareSpec(resamples=resamples), seed=0)


def claim(text: str, verdict: str, expected: str = "") -> Claim:
    start = ADA.index(text)
    return Claim(
        item="p", model="m", start=start, end=start + len(text), verdict=verdict, relation="fact", value=text,
        expected=expected,
    )  # fmt: skip


def page_content(results: Results) -> ReportContent:
    shown = ("l", "l/broad-40k/s0", "l/broad-640k/s0", "l/qa-300k/s0")
    claims = (
        claim("born in 1912", "right"),
        claim("lived in Torvik", "wrong", "Malmo"),
        claim("built bridges", "unclear"),
    )
    samples = [
        Sample(
            item="p0",
            group="people",
            prompt="Tell me about Ada Nim.",
            answers=(
                Answer(model="teacher", text=ADA, claims=claims[:1]),
                *(Answer(model=name, text=ADA, claims=claims) for name in shown[1:3]),
                Answer(model=shown[0], text="Ada Nim Ada Nim Ada Nim " * 60, note="length"),
                Answer(model=shown[3], text=None, note="refused"),
            ),
        ),
        Sample(
            item="p1",
            group="hostile",
            prompt="<script>alert('prompt')</script> " + "long prompt " * 40,
            answers=(Answer(model="teacher", text=HOSTILE), *(Answer(model=name, text=HOSTILE) for name in shown)),
        ),
        *(
            Sample(
                item=f"q{i}",
                prompt=f"Who was person {i}?",
                answers=tuple(Answer(model=name, text=f"Person {i} was a person.") for name in ("teacher", *shown)),
            )
            for i in range(12)
        ),
    ]
    card = "<h3>broad</h3><table><tr><th>source</th><td>planted</td></tr></table><script>alert(2)</script>"
    students = [model.name for model in results.models if model.role == "student" and not model.pooled]
    return ReportContent(
        results=results,
        title="planted study",
        summary="Drawn from known probabilities, so that every number can be checked.",
        samples=tuple(samples),
        cards=(DataCard(title="broad", html=card),),
        training=tuple(
            TrainingCurve(model=name, tokens=tuple(range(0, 40_000, 4_000)), loss=tuple(6 / (1 + i) for i in range(10)))
            for name in students
        ),
        jobs=tuple(JobRow(stage="train", name=name, status="done", seconds=12.5) for name in students),
        environment=(("epigone", "0.1.0"), ("Python", "3.11")),
        links=(("results.json", "results.json"),),
    )
