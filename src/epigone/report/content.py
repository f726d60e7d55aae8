"""What a page of results is made of: the estimates, and what stands beside them."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from epigone.records import Claim, Results

__all__ = ["Answer", "DataCard", "JobRow", "ReportContent", "Sample", "TrainingCurve"]


class Answer(Struct, frozen=True, kw_only=True):
    """One model's text in the sample browser; ``claims`` are marked in it by their verdicts.

    ``text``: ``None`` where the model gave no answer; ``note`` then says why (a reply status).
    """

    model: str
    text: str | None
    claims: tuple[Claim, ...] = ()
    note: str = ""


class Sample(Struct, frozen=True, kw_only=True):
    """A prompt and what each model answered. The first answer is the teacher's. ``group``: a prompt set or task."""

    item: str
    prompt: str
    answers: tuple[Answer, ...]
    group: str = ""


class TrainingCurve(Struct, frozen=True, kw_only=True):
    """Loss of one training against tokens seen; ``heldout`` may be measured at fewer points, or none."""

    model: str
    tokens: tuple[int, ...]
    loss: tuple[float, ...]
    heldout_tokens: tuple[int, ...] = ()
    heldout_loss: tuple[float, ...] = ()


class DataCard(Struct, frozen=True, kw_only=True):
    """The card of one collection of imitation data. ``html`` is cleaned before it is shown: no script survives."""

    title: str
    html: str


class JobRow(Struct, frozen=True, kw_only=True):
    """A job of the study: what ran and for how long. ``seconds``: wall time of the run that made its outputs."""

    stage: str
    name: str
    status: Literal["done", "reused", "failed", "skipped"]
    seconds: float | None = None
    note: str = ""


class ReportContent(Struct, frozen=True, kw_only=True):
    """Everything on the page.

    ``results`` is what ``results.json`` holds; every number shown comes from it. ``environment``: (what, version or
    size) pairs: packages, machine, seeds. ``summary``: a sentence or two under the title, plain text.
    ``links``: (label, relative path) of files that lie beside the page, such as ``results.json``.
    """

    results: Results
    title: str
    summary: str = ""
    samples: tuple[Sample, ...] = ()
    cards: tuple[DataCard, ...] = ()
    training: tuple[TrainingCurve, ...] = ()
    jobs: tuple[JobRow, ...] = ()
    environment: tuple[tuple[str, str], ...] = ()
    links: tuple[tuple[str, str], ...] = ()
