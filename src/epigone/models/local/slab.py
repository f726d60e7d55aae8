"""Keys and values of many sequences, preallocated, so that a decoding step copies nothing."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from transformers.cache_utils import Cache, DynamicLayer

__all__ = ["Slab"]


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
    def gather(cls, parts: Sequence[tuple[Slab, list[int], torch.Tensor]], end: int, columns: int) -> Slab:
        """Move rows of several slabs into a new one, layer by layer; the sources are used up.

        Args:
            parts: (source, rows, table): the new rows' column j is column ``table[i, j]`` of the source's ``rows[i]``,
                table (rows, end); entries that will be masked may be any valid column.
            end: columns filled.
            columns: columns to make room for.
        """
        slab = cls(sum(len(rows) for _, rows, _ in parts), columns)
        slab.end = end
        for layer in range(len(parts[0][0].keys)):
            slab._add_layer(parts[0][0].keys[layer], parts[0][0].values[layer])
            for mine, name in ((slab.keys[layer], "keys"), (slab.values[layer], "values")):
                at = 0
                for source, rows, table in parts:
                    buffers = getattr(source, name)
                    picked = torch.as_tensor(rows, device=table.device)[:, None]
                    mine[at : at + len(rows), :, :end] = buffers[layer][picked, :, table].transpose(1, 2)
                    at += len(rows)
                    buffers[layer] = buffers[layer].new_empty(0)
        return slab
