"""A curated data folder: the conversations, every drop with its reason, the audit, the numbers and the data card.

conversations.jsonl   what stays, in the ``messages`` form
drops.jsonl           what went: id, step, reason, detail
audit.jsonl           matches with evaluation items, with both texts
support.jsonl         how near the data comes to each evaluation item
labels.jsonl          categories of sampled queries, where the recipe asks for them
replay.jsonl          pre-training texts, where the recipe asks for them
curated.json          funnel, statistics, notices, what decontamination looked for, mixture, amounts, diversity
card.md, card.html    the data card; the HTML is a fragment for a report, ``card_page.html`` stands alone
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import msgspec

from epigone.curate.categories import category_shares
from epigone.curate.curated import Collection, Curated
from epigone.curate.data_card import Census, DataCard, card_html, card_markdown
from epigone.curate.pipeline import Curation
from epigone.curate.tokens import TokenCounter, with_tokens
from epigone.disk import atomic_write, write_json, write_jsonl, write_text
from epigone.records import Conversation, Drop

__all__ = ["curate_to_folder", "write_curated"]


def curate_to_folder(
    curation: Curation,
    records: Iterable[Conversation | Drop],
    folder: Path,
    *,
    title: str,
    description: str = "",
    collections: Sequence[Collection] = (),
) -> Curated:
    """Run a recipe from a stream into a folder, with memory that does not grow with the data.

    The result is that of :func:`epigone.curate.curate`, except that its conversations and drops are on disk only.
    ``collections`` is for the card: how the data was collected.
    """
    census = _write_records(curation.stream(records), folder, curation.seed, curation.tokens)
    curated = curation.result((), ())
    card = census.card(curated, title=title, description=description, collections=collections)
    _write_findings(curated, card, folder)
    return curated


def write_curated(
    curated: Curated,
    folder: Path,
    *,
    title: str,
    description: str = "",
    collections: Sequence[Collection] = (),
    tokens: TokenCounter | None = None,
    seed: int = 0,
) -> DataCard:
    """Write a curation that is in memory.

    Args:
        collections: how the data was collected, for the card.
        tokens: counts for the card; ``None``: it says that tokens were not counted.
        seed: draws the examples.
    """
    records: list[Conversation | Drop] = [*curated.conversations, *curated.drops]
    census = _write_records(records, folder, seed, tokens)
    card = census.card(curated, title=title, description=description, collections=collections)
    _write_findings(curated, card, folder)
    return card


def _write_records(
    records: Iterable[Conversation | Drop], folder: Path, seed: int, tokens: TokenCounter | None
) -> Census:
    census = Census(seed=seed, tokenizer=tokens.name if tokens is not None else None)
    encoder = msgspec.json.Encoder(order="deterministic")
    with atomic_write(folder / "conversations.jsonl") as kept, atomic_write(folder / "drops.jsonl") as dropped:

        def written() -> Iterator[Conversation]:
            for record in records:
                is_kept = isinstance(record, Conversation)
                (kept if is_kept else dropped).write(encoder.encode(record) + b"\n")
                if isinstance(record, Conversation):
                    yield record

        if tokens is None:
            for conversation in written():
                census.add(conversation)
        else:
            for conversation, count in with_tokens(written(), tokens):
                census.add(conversation, count)
    return census


def _write_findings(curated: Curated, card: DataCard, folder: Path) -> None:
    write_jsonl(folder / "audit.jsonl", curated.audit)
    if curated.labels:  # else a labels file may be there that a person is writing
        write_jsonl(folder / "labels.jsonl", curated.labels)
    replay = [{"text": text} for text in curated.replay]
    for name, records in (("support", curated.support), ("replay", replay)):
        if records:
            write_jsonl(folder / f"{name}.jsonl", records)
        else:  # what an earlier recipe left here would pass for this one's
            (folder / f"{name}.jsonl").unlink(missing_ok=True)
    write_json(
        folder / "curated.json",
        {
            "funnel": curated.funnel,
            "statistics": curated.statistics,
            "notices": curated.notices,
            "decontamination": card.decontamination,
            "excluded_items": curated.excluded_items,
            "tokenizer": card.tokenizer,
            "tokens": card.tokens,
            "mix": curated.mix,
            "amounts": curated.amounts,
            "diversity": curated.diversity,
            "categories": category_shares(curated.labels),
        },
    )
    write_text(folder / "card.md", card_markdown(card))
    write_text(folder / "card.html", card_html(card))
    write_text(folder / "card_page.html", card_html(card, page=True))
