"""Keys and values of many sequences, preallocated, so that a decoding step copies nothing."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from msgspec import Struct
from transformers.cache_utils import Cache, DynamicLayer

__all__ = ["Slab", "Source"]


class Slab(Cache):  # type: ignore[misc]
    """A transformers cache over buffers ``(rows, heads, columns, size)``, one pair a layer.

    All rows are written at the same column ``end``. A row may begin anywhere (what lies before it is masked), the first
    of them at ``begin``; the first ``live`` rows are in use. A forward pass over ``q`` tokens writes columns
    ``end : end + q``; the caller then calls :meth:`advance`.

    Args:
        rows: how many sequences may be held.
        columns: how many tokens each may have.
        like: a slab that tells each layer's shape, number format and device; ``None``: the first forward pass does.
    """

    def __init__(self, rows: int, columns: int, like: Slab | None = None) -> None:
        super().__init__(layers=[])
        self.rows, self.columns, self.begin, self.end = rows, columns, 0, 0
        self.live = rows
        self.keys: list[torch.Tensor] = []
        self.values: list[torch.Tensor] = []
        if like is not None:
            for key, value in zip(like.keys, like.values, strict=True):
                self._add_layer(key, value)

    def _add_layer(self, key: torch.Tensor, value: torch.Tensor) -> None:
        """Make room for one more layer shaped like ``key`` and ``value``, (any rows, heads, any columns, size)."""
        self.layers.append(DynamicLayer())
        self.keys.append(key.new_empty(self.rows, key.shape[1], self.columns, key.shape[3]))
        self.values.append(value.new_empty(self.rows, value.shape[1], self.columns, value.shape[3]))

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, layer_idx: int, *_: object, **__: object
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Store (live, heads, q, size) behind what is there; give back columns from ``begin`` on, the new ones too."""
        if layer_idx == len(self.keys):
            self._add_layer(key_states, value_states)
        after = self.end + key_states.shape[2]
        keys, values = self.keys[layer_idx], self.values[layer_idx]
        keys[: self.live, :, self.end : after] = key_states
        values[: self.live, :, self.end : after] = value_states
        return keys[: self.live, :, self.begin : after], values[: self.live, :, self.begin : after]

    @property
    def position_bytes(self) -> int:
        """Of one row's keys and values in one column, all layers together."""
        held: int = sum(buffer.nbytes for buffer in (*self.keys, *self.values))
        return held // (self.rows * self.columns)

    def advance(self, tokens: int) -> None:
        """Keep the ``tokens`` columns that a forward pass has just written."""
        self.end += tokens

    def get_seq_length(self, layer_idx: int = 0) -> int:  # noqa: ARG002 - transformers' signature
        """Columns in use, as transformers calls it."""
        return self.end

    def share(self, prefix: Slab) -> None:
        """Begin every row with the single row of ``prefix``."""
        for mine, its in zip([*self.keys, *self.values], [*prefix.keys, *prefix.values], strict=True):
            mine[:, :, : prefix.end] = its[:1, :, : prefix.end]
        self.end = prefix.end

    def move_row(self, source: int, target: int) -> None:
        """Copy row ``source`` over row ``target``."""
        for buffer in (*self.keys, *self.values):
            buffer[target, :, : self.end] = buffer[source, :, : self.end]

    @classmethod
    def gather(cls, sources: Sequence[Source], columns: int) -> Slab:
        """Move rows of several slabs into a new one, aligned at the right; the old slabs are used up, layer by layer.

        Args:
            sources: where each of the new rows lies now.
            columns: how many to make room for beyond those of the longest row.
        """
        end = max(source.length for source in sources)
        slab = cls(len(sources), end + columns)
        slab.end = end
        slabs = {id(source.slab): source.slab for source in sources}.values()
        first = sources[0].slab
        for layer in range(len(first.keys)):
            slab._add_layer(first.keys[layer], first.values[layer])
            for name in ("keys", "values"):
                mine = getattr(slab, name)[layer]
                for row, source in enumerate(sources):
                    its, at = getattr(source.slab, name)[layer], end - source.length
                    mine[row, :, :at] = 0.0  # masked, but what lay in memory there may be no number
                    # Row by row is quicker than one indexed copy: indexing makes a copy of its own in between.
                    for span in source.spans:
                        mine[row, :, at : at + len(span)] = its[source.row, :, span.start : span.stop]
                        at += len(span)
            for old in slabs:
                old.keys[layer] = old.keys[layer].new_empty(0)
                old.values[layer] = old.values[layer].new_empty(0)
        return slab


class Source(Struct, frozen=True):
    """Where a sequence's keys and values lie: a row of a slab, and the columns there, first to last."""

    slab: Slab
    row: int
    spans: tuple[range, ...]

    @property
    def length(self) -> int:
        """In columns."""
        return sum(map(len, self.spans))
