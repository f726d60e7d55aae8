"""A curated data folder: the conversations, every drop with its reason, the audit, the numbers and the data card.

conversations.jsonl   what stays, in the ``messages`` form
drops.jsonl           what went: id, step, reason, detail
audit.jsonl           matches with evaluation items, with both texts
labels.jsonl          categories of sampled queries, where the recipe asks for them
curated.json          funnel, statistics, notices, excluded evaluation items, diversity
card.md, card.html    the data card; the HTML is a fragment for a report, ``card_page.html`` stands alone
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from epigone.curate.categories import category_shares
from epigone.curate.curated import Curated, EvaluationText
from epigone.curate.data_card import Census, DataCard, card_html, card_markdown
from epigone.curate.pipeline import Curation
from epigone.curate.recipe import CurateSpec
from epigone.curate.workers import Workers
from epigone.disk import atomic_write, write_json, write_jsonl, write_text
from epigone.records import Conversation, Drop

if TYPE_CHECKING:  # the client library takes most of a second to import, and every worker would
    from epigone.models import TextModel

__all__ = ["curate_to_folder", "write_curated"]


def curate_to_folder(
    spec: CurateSpec,
    records: Iterable[Conversation | Drop],
    folder: Path,
    *,
    seed: int,
    title: str,
    evaluation: Sequence[EvaluationText] = (),
    workers: Workers | None = None,
    judge: TextModel | None = None,
) -> Curated:
    """Run a recipe from a stream into a folder, with memory that does not grow with the data.

    The result is that of :func:`epigone.curate.curate`, except that its conversations and drops are on disk only.
    """
    curation = Curation(spec, seed=seed, evaluation=evaluation, workers=workers, judge=judge)
    census = _write_records(curation.stream(records), folder, seed)
    curated = curation.result((), ())
    _write_findings(curated, census.card(curated, title=title, description=""), folder)
    return curated


def write_curated(
    curated: Curated,
    folder: Path,
    *,
    title: str,
    description: str = "",
    collected: Mapping[str, float] | None = None,
    seed: int = 0,
) -> DataCard:
    """Write a curation that is in memory; ``collected`` are numbers of the stage before, shown among the statistics."""
    if collected:
        statistics = {**{f"collected.{name}": value for name, value in collected.items()}, **curated.statistics}
        curated = msgspec.structs.replace(curated, statistics=statistics)
    records: list[Conversation | Drop] = [*curated.conversations, *curated.drops]
    card = _write_records(records, folder, seed).card(curated, title=title, description=description)
    _write_findings(curated, card, folder)
    return card


def _write_records(records: Iterable[Conversation | Drop], folder: Path, seed: int) -> Census:
    census = Census(seed=seed)
    encoder = msgspec.json.Encoder(order="deterministic")
    with atomic_write(folder / "conversations.jsonl") as kept, atomic_write(folder / "drops.jsonl") as dropped:
        for record in records:
            if isinstance(record, Conversation):
                census.add(record)
            (kept if isinstance(record, Conversation) else dropped).write(encoder.encode(record) + b"\n")
    return census


def _write_findings(curated: Curated, card: DataCard, folder: Path) -> None:
    write_jsonl(folder / "audit.jsonl", curated.audit)
    if curated.labels:
        write_jsonl(folder / "labels.jsonl", curated.labels)
    write_json(
        folder / "curated.json",
        {
            "funnel": curated.funnel,
            "statistics": curated.statistics,
            "notices": curated.notices,
            "excluded_items": curated.excluded_items,
            "diversity": curated.diversity,
            "categories": category_shares(curated.labels),
        },
    )
    write_text(folder / "card.md", card_markdown(card))
    write_text(folder / "card.html", card_html(card))
    write_text(folder / "card_page.html", card_html(card, page=True))
