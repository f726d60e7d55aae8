"""A model's forward pass over right-aligned rows that may share a prefix."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from epigone.errors import ModelError
from epigone.models.local.slab import Slab

__all__ = ["Forward", "Prefilled"]

_FAR = 2**31 - 1
_TOLERANCE = 2.0
"""Times the square root of the number format's precision: 7e-4 of the largest logit in float32, 0.18 in bfloat16."""


class Prefilled:
    """Rows after their prompts: ``[shared prefix][padding][the row's own tokens]`` in ``slab``.

    Attributes:
        logits: (rows, kept, vocabulary), for the last ``kept`` tokens of each row.
        slab: the keys and values.
        prefix: columns of the shared prefix.
        padding: padding columns of each row.
    """

    def __init__(self, logits: torch.Tensor, slab: Slab, prefix: int, padding: list[int]) -> None:
        self.logits, self.slab, self.prefix, self.padding = logits, slab, prefix, padding

    def columns(self, row: int) -> list[int]:
        """Where the row's tokens lie, first to last."""
        return [*range(self.prefix), *range(self.prefix + self.padding[row], self.slab.end)]


class Forward:
    """Calls a transformers model with explicit positions and masks, so that padding changes nothing.

    A padding column is given a position beyond every query, so one comparison of positions makes the mask: causal,
    padding and sliding window at once.
    """

    def __init__(self, model: Any) -> None:
        self.model = model
        self.device: torch.device = model.device
        self.dtype: torch.dtype = model.dtype
        config = model.config.get_text_config()
        self.vocabulary: int = config.vocab_size
        self.window: int | None = getattr(config, "sliding_window", None)
        layer_types = set(getattr(config, "layer_types", None) or ())
        self.masks_by_layer_type = "sliding_attention" in layer_types
        self.slides_everywhere = not layer_types and self.window is not None
        self._prefix: tuple[tuple[int, ...], Slab] | None = None

    def step(self, tokens: torch.Tensor, positions: torch.Tensor, mask: Any, slab: Slab, kept: int) -> torch.Tensor:
        """One forward pass.

        Args:
            tokens: (rows, q) ids.
            positions: (rows, q).
            mask: what :meth:`mask` gave.
            slab: holds what came before; advanced by q.
            kept: for how many last tokens logits are wanted.

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
        )
        slab.advance(tokens.shape[1])
        logits: torch.Tensor = output.logits
        return logits

    def mask(self, queries: torch.Tensor, keys: torch.Tensor) -> Any:
        """What each query may see.

        Args:
            queries: (rows, q) positions.
            keys: (rows, columns) positions, padding at a position beyond all.

        Returns:
            (rows, 1, q, columns), or one such mask a layer type, as the architecture asks for it.
        """
        seen = keys[:, None, None, :] <= queries[:, None, :, None]
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

    def prefill(self, rows: Sequence[Sequence[int]], prefix: int, kept: int) -> Prefilled:
        """Read prompts that share their first ``prefix`` tokens; the prefix is computed once.

        Args:
            rows: token ids; each longer than ``prefix``.
            kept: for how many last tokens of each row logits are wanted; no more than its own tokens.
        """
        own = [len(row) - prefix for row in rows]
        width = max(own)
        padding = [width - size for size in own]
        shared = self._prefix_slab(tuple(rows[0][:prefix])) if prefix else None
        slab = Slab(len(rows), prefix + width, like=shared)
        if shared is not None:
            slab.share(shared)
        tokens = torch.tensor([[0] * pad + list(row[prefix:]) for pad, row in zip(padding, rows, strict=True)])
        columns = torch.arange(width)[None] - torch.tensor(padding)[:, None]  # (rows, width); padding is negative
        queries = (columns.clamp(min=0) + prefix).to(self.device)
        own_keys = torch.where(columns < 0, _FAR, columns + prefix)
        keys = torch.cat([torch.arange(prefix)[None].expand(len(rows), -1), own_keys], 1).to(self.device)
        # A padding query may see the first real key, so that no row of the attention is empty.
        logits = self.step(tokens.to(self.device), queries, self.mask(queries, keys), slab, kept)
        return Prefilled(logits, slab, prefix, padding)

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
        """Compare a padded batch with a shared prefix with plain forward passes, on a few tokens.

        Architectures differ in how they take positions and masks; one that takes them otherwise than this engine gives
        them is found out here, not in the results.

        Raises:
            ModelError: this engine does not fit the architecture.
        """
        fix = "serve it with another engine (vllm) and ask it as an API model"
        kind = type(self.model).__name__
        rows = [[token % self.vocabulary for token in row] for row in ([5, 6, 7, 8, 9], [5, 6, 10], [5, 6, 11, 12])]
        try:
            with torch.inference_mode():
                padded = self.prefill(rows, 2, 1).logits[:, -1].double()
                plain = torch.stack(
                    [self.model(input_ids=torch.tensor([row], device=self.device)).logits[0, -1] for row in rows]
                ).double()
        except Exception as error:  # what an architecture makes of unfamiliar arguments may be anything
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise ModelError(
                f"{kind} cannot be run in batches by this engine: {reason}", where=where, fix=fix
            ) from error
        finally:
            self.forget()
        allowed = _TOLERANCE * max(1.0, plain.abs().max().item()) * torch.finfo(self.dtype).eps ** 0.5
        if not (padded - plain).abs().max().item() <= allowed:
            what = f"{kind} gives other results in a padded batch than alone, so this engine does not fit it"
            raise ModelError(what, where=where, fix=fix)

    def forget(self) -> None:
        """Free the remembered prefix."""
        self._prefix = None
