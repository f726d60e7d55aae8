"""Attention of a decoding step in bands of rows of similar length, so that the padding before short rows is not read.

A step reads every cached key and value once and does little with them: on a CPU that is most of its time where the
model is small, and with rows aligned at the right half of what it reads may be padding.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from msgspec import Struct
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

from epigone.models.local.batches import Limits, cut_into_batches

__all__ = ["Band", "Bands", "use_bands"]

_NAME = "epigone_bands"
_CALL_POSITIONS = 512
"""What one more call of the attention costs on a CPU, in cached positions read (measured: 0.3 to 1 thousand)."""


class Band(Struct, frozen=True):
    """Rows ``start`` to ``stop``, which have nothing before column ``begin``."""

    start: int
    stop: int
    begin: int


class Bands:
    """Cuts rows sorted by length, shortest first, into bands, and keeps them together as rows leave.

    Args:
        lengths: of the rows, shortest first.
        single: all rows in one band: on a GPU another call costs more than padding.
    """

    def __init__(self, lengths: Sequence[int], *, single: bool) -> None:
        if single:
            self._stops = [len(lengths)]
            return
        limits = Limits(rows=1 + len(lengths), tokens=1 + sum(lengths) * len(lengths), kept=0)
        cuts = cut_into_batches(lengths, [0] * len(lengths), limits, _CALL_POSITIONS)
        self._stops = [cut.stop for cut in cuts]

    def of(self, begins: Sequence[int]) -> list[Band]:
        """The bands as they are now; ``begins``: each row's first column."""
        starts = [0, *self._stops[:-1]]
        return [
            Band(start, stop, min(begins[start:stop]))
            for start, stop in zip(starts, self._stops, strict=True)
            if start < stop
        ]

    def take_out(self, row: int) -> list[tuple[int, int]]:
        """Moves (from, to) that close the hole of ``row``, in order: each band's last row goes where one is missing."""
        moves = []
        hole = row
        for band, stop in enumerate(self._stops):
            if stop > hole:
                if stop - 1 > hole:
                    moves.append((stop - 1, hole))
                hole = stop - 1
                self._stops[band] -= 1
        return moves


def use_bands(model: Any) -> bool:
    """Let a model's forward pass take ``bands``; whether it can: where torch's scaled dot product is its attention."""
    if model.config._attn_implementation != "sdpa":
        return False
    AttentionInterface.register(_NAME, _attention_in_bands)
    AttentionMaskInterface.register(_NAME, sdpa_mask)
    model.set_attn_implementation(_NAME)
    return True


def _attention_in_bands(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    bands: Sequence[Band] = (),
    **options: Any,
) -> tuple[torch.Tensor, None]:
    """Transformers' own attention, band by band: (rows, q, heads, size).

    Args:
        module: the attention layer.
        query: (rows, heads, q, size).
        key: (rows, key heads, columns, size).
        value: like ``key``.
        attention_mask: (rows, 1, q, columns), added to the scores.
        bands: of the rows; ``begin`` counts from the first column of ``key``.
        options: what else the architecture hands to its attention.
    """
    if len(bands) < 2 or attention_mask is None:
        whole: tuple[torch.Tensor, None] = sdpa_attention_forward(module, query, key, value, attention_mask, **options)
        return whole
    parts = []
    for band in bands:
        rows, columns = slice(band.start, band.stop), slice(band.begin, None)
        mask = attention_mask[rows, :, :, columns]
        seen = sdpa_attention_forward(
            module, query[rows], key[rows, :, columns], value[rows, :, columns], mask, **options
        )
        parts.append(seen[0])
    return torch.cat(parts), None
