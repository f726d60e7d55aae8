"""A model's forward pass over right-aligned rows that may share a prefix."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from msgspec import Struct

from epigone.errors import ModelError
from epigone.models.local.bands import Band, use_bands
from epigone.models.local.batches import Limits, cut_into_batches, fill_batches
from epigone.models.local.slab import Slab, Source

__all__ = ["Forward", "Reading"]

_FAR = 2**31 - 1
_TOLERANCE = 2.0
"""Times the square root of the number format's precision: 7e-4 of the largest logit in float32, 0.18 in bfloat16."""


_PACKED_TOKENS = {"cpu": 512}
_PACKED_TOKENS_ELSEWHERE = 4096
"""Tokens of one packed pass: enough to keep the processor busy, few enough that the mask over all of them is cheap."""

_PADDED_TOKENS_CPU = 2048
"""Tokens of one padded pass on a CPU: more of them are no quicker there, and only take memory while they pass."""


class Reading(Struct, frozen=True):
    """Texts after they were read: (kept, vocabulary) logits of each one's last tokens, and where its cache lies."""

    logits: list[torch.Tensor]
    sources: list[Source]


class Forward:
    """Calls a transformers model with explicit positions and masks, so that padding changes nothing.

    A padding column is given a position beyond every query, so one comparison of positions makes the mask: causal,
    padding and sliding window at once.
    """

    def __init__(self, model: Any) -> None:
        self.model = model
        self.takes_bands = use_bands(model)
        self.device: torch.device = model.device
        self.dtype: torch.dtype = model.dtype
        config = model.config.get_text_config()
        self.vocabulary: int = config.vocab_size
        self.window: int | None = getattr(config, "sliding_window", None)
        layer_types = set(getattr(config, "layer_types", None) or ())
        self.masks_by_layer_type = "sliding_attention" in layer_types
        self.slides_everywhere = not layer_types and self.window is not None
        self.position_bytes = 1
        """Of the keys and values of one cached position; known after :meth:`check`."""
        self._prefix: tuple[tuple[int, ...], Slab] | None = None

    def step(
        self,
        tokens: torch.Tensor,
        positions: torch.Tensor,
        mask: Any,
        slab: Slab,
        kept: int | torch.Tensor,
        bands: Sequence[Band] = (),
    ) -> torch.Tensor:
        """One forward pass.

        Args:
            tokens: (rows, q) ids.
            positions: (rows, q).
            mask: what :meth:`mask` gave.
            slab: holds what came before; advanced by q.
            kept: for how many last tokens logits are wanted, or for which, by their places in q.
            bands: of rows that begin at about the same column, counted from the slab's ``begin``.

        Returns:
            (rows, kept, vocabulary) logits.
        """
        output = self.model(
            input_ids=tokens,
            position_ids=positions,
            attention_mask=mask,
            past_key_values=slab,
            use_cache=True,
            logits_to_keep=kept,
            **({"bands": bands} if self.takes_bands and bands else {}),
        )
        slab.advance(tokens.shape[1])
        logits: torch.Tensor = output.logits
        return logits

    def mask(self, queries: torch.Tensor, keys: torch.Tensor, related: torch.Tensor | None = None) -> Any:
        """What each query may see.

        Args:
            queries: (rows, q) positions.
            keys: (rows, columns) positions, padding at a position beyond all.
            related: (q, columns), false where a key belongs to another text than the query; ``None``: nowhere.

        Returns:
            (rows, 1, q, columns), or one such mask a layer type, as the architecture asks for it.
        """
        seen = keys[:, None, None, :] <= queries[:, None, :, None]
        if related is not None:
            seen &= related
        if self.window is None or not (self.masks_by_layer_type or self.slides_everywhere):
            return self._additive(seen)
        near = seen & (queries[:, None, :, None] - keys[:, None, None, :] < self.window)
        if self.slides_everywhere:
            return self._additive(near)
        return {"full_attention": self._additive(seen), "sliding_attention": self._additive(near)}

    def step_mask(self, seen: torch.Tensor) -> Any:
        """The mask of a decoding step whose rows are aligned at the right.

        Args:
            seen: (rows, columns), the last of them the new token's; false where a row has not begun.
        """
        allowed = seen[:, None, None, :]
        if self.window is None or not (self.masks_by_layer_type or self.slides_everywhere):
            return self._additive(allowed)
        near = allowed & (torch.arange(seen.shape[1], 0, -1, device=self.device) <= self.window)
        if self.slides_everywhere:
            return self._additive(near)
        return {"full_attention": self._additive(allowed), "sliding_attention": self._additive(near)}

    def _additive(self, allowed: torch.Tensor) -> torch.Tensor:
        """0 where a query may look, the lowest number where not: what every attention implementation takes as it is."""
        closed = torch.full(allowed.shape, torch.finfo(self.dtype).min, dtype=self.dtype, device=self.device)
        return closed.masked_fill_(allowed, 0.0)

    def batches(self, lengths: Sequence[int], kept: Sequence[int], limits: Limits, *, packed: bool) -> list[range]:
        """Which texts to read in one pass.

        Args:
            lengths: tokens to compute of each, shortest first.
            kept: of how many of them the logits are kept.
            limits: of one pass.
            packed: they share a prefix, so :meth:`read` packs them.
        """
        if packed:
            most = _PACKED_TOKENS.get(self.device.type, _PACKED_TOKENS_ELSEWHERE)
            return fill_batches(lengths, kept, limits.with_tokens(most))
        most = _PADDED_TOKENS_CPU if self.device.type == "cpu" else limits.tokens
        return cut_into_batches(lengths, kept, limits.with_tokens(most))

    def read(self, rows: Sequence[Sequence[int]], prefix: int, kept: Sequence[int]) -> Reading:
        """Read texts whose first ``prefix`` tokens are the same; those are computed once.

        Args:
            rows: token ids; each longer than ``prefix``.
            kept: for how many last tokens of each row logits are wanted; no more than its own tokens.
        """
        return self._read_packed(rows, prefix, kept) if prefix else self._read_padded(rows, kept)

    def _read_padded(self, rows: Sequence[Sequence[int]], kept: Sequence[int]) -> Reading:
        """Side by side, aligned at the right."""
        width = max(map(len, rows))
        padding = [width - len(row) for row in rows]
        slab = Slab(len(rows), width)
        tokens = torch.tensor([[0] * pad + list(row) for pad, row in zip(padding, rows, strict=True)])
        columns = torch.arange(width)[None] - torch.tensor(padding)[:, None]  # (rows, width); padding is negative
        queries = columns.clamp(min=0).to(self.device)
        keys = torch.where(columns < 0, _FAR, columns).to(self.device)
        # A padding query may see the first real key, so that no row of the attention is empty.
        logits = self.step(tokens.to(self.device), queries, self.mask(queries, keys), slab, max(kept))
        return Reading(
            [own[-last:] for own, last in zip(logits, kept, strict=True)],
            [Source(slab, row, (range(pad, width),)) for row, pad in enumerate(padding)],
        )

    def _read_packed(self, rows: Sequence[Sequence[int]], prefix: int, kept: Sequence[int]) -> Reading:
        """As one sequence, one text behind the other; each sees the prefix and itself.

        Nothing is padded, and the prefix's keys and values are held once however many texts there are; the price is a
        mask over all tokens of the pass, so its rows should be short.
        """
        shared = self._prefix_slab(tuple(rows[0][:prefix]))
        own = torch.tensor([len(row) - prefix for row in rows])
        slab = Slab(1, prefix + int(own.sum()), like=shared)
        slab.share(shared)
        tokens = torch.tensor([[token for row in rows for token in row[prefix:]]])
        owner = torch.arange(len(rows)).repeat_interleave(own)
        ends = own.cumsum(0)
        queries = prefix + torch.arange(len(owner)) - (ends - own)[owner]
        keys = torch.cat([torch.arange(prefix), queries])
        related = torch.cat([torch.ones(len(owner), prefix, dtype=torch.bool), owner[:, None] == owner], 1)
        wanted = torch.cat([torch.arange(end - last, end) for end, last in zip(ends.tolist(), kept, strict=True)])
        queries, keys, related = (one.to(self.device) for one in (queries, keys, related))
        mask = self.mask(queries[None], keys[None], related)
        logits = self.step(tokens.to(self.device), queries[None], mask, slab, wanted.to(self.device))
        spans = [
            range(prefix + end - size, prefix + end) for end, size in zip(ends.tolist(), own.tolist(), strict=True)
        ]
        return Reading(list(logits[0].split(list(kept))), [Source(slab, 0, (range(prefix), span)) for span in spans])

    def _prefix_slab(self, prefix: tuple[int, ...]) -> Slab:
        """The prefix as a slab of one row; the last one asked for is remembered."""
        if self._prefix is None or self._prefix[0] != prefix:
            self._prefix = None
            slab = Slab(1, len(prefix))
            positions = torch.arange(len(prefix), device=self.device)[None]
            tokens = torch.tensor([prefix], device=self.device)
            self.step(tokens, positions, self.mask(positions, positions), slab, 1)
            self._prefix = (prefix, slab)
        return self._prefix[1]

    def check(self, where: str) -> None:
        """Compare a padded and a packed batch with a shared prefix with plain forward passes, on a few tokens.

        Architectures differ in how they take positions and masks; one that takes them otherwise than this engine gives
        them is found out here, not in the results.

        Raises:
            ModelError: this engine does not fit the architecture.
        """
        fix = "serve it with another engine (vllm) and ask it as an API model"
        kind = type(self.model).__name__
        rows = [[token % self.vocabulary for token in row] for row in ([5, 6, 10], [5, 6, 11, 12], [5, 6, 7, 8, 9])]
        try:
            with torch.inference_mode():
                read = self.read(rows, 0, [1, 1, 1])
                self.position_bytes = read.sources[0].slab.position_bytes
                padded = torch.cat(read.logits).double()
                packed = torch.cat(self.read(rows, 2, [1, 1, 1]).logits).double()
                plain = self._plain(rows)
        except Exception as error:  # what an architecture makes of unfamiliar arguments may be anything
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise ModelError(
                f"{kind} cannot be run in batches by this engine: {reason}", where=where, fix=fix
            ) from error
        finally:
            self.forget()
        if not (self._agree(padded, plain) and self._agree(packed, plain)):
            what = f"{kind} gives other results in a batch than alone, so this engine does not fit it"
            raise ModelError(what, where=where, fix=fix)
        self.takes_bands = self.takes_bands and self._steps_in_bands(rows)

    def _plain(self, rows: Sequence[Sequence[int]]) -> torch.Tensor:
        """(rows, vocabulary) logits after each row, read alone."""
        alone = [self.model(input_ids=torch.tensor([row], device=self.device)).logits[0, -1] for row in rows]
        return torch.stack(alone).double()

    def _agree(self, logits: torch.Tensor, plain: torch.Tensor) -> bool:
        """Whether two tensors of logits are equal but for rounding."""
        allowed = _TOLERANCE * max(1.0, plain.abs().max().item()) * torch.finfo(self.dtype).eps ** 0.5
        return bool((logits - plain).abs().max().item() <= allowed)  # not-a-number is not

    def _steps_in_bands(self, rows: list[list[int]]) -> bool:
        """Whether a decoding step in two bands gives what plain passes give; ``rows``: shortest first."""
        try:
            with torch.inference_mode():
                slab = Slab.gather(self.read([row[:-1] for row in rows], 1, [1, 1, 1]).sources, 1)
                begins = torch.tensor([slab.end + 1 - len(row) for row in rows], device=self.device)
                seen = torch.arange(slab.columns, device=self.device)[None] >= begins[:, None]
                tokens = torch.tensor([row[-1:] for row in rows], device=self.device)
                bands = [Band(0, 1, slab.end + 1 - len(rows[0])), Band(1, len(rows), 0)]
                positions = slab.end - begins[:, None]
                stepped = self.step(tokens, positions, self.step_mask(seen), slab, 1, bands)[:, -1].double()
                return self._agree(stepped, self._plain(rows))
        except (TypeError, ValueError, RuntimeError):  # bands only save time: what does not take them goes without
            return False
        finally:
            self.forget()

    def forget(self) -> None:
        """Free the remembered prefix."""
        self._prefix = None
