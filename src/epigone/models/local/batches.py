"""Which rows to read together: padding costs computing, and so does every pass."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

__all__ = ["Limits", "cut_into_batches", "fill_batches"]

_PASS_TOKENS = 128
"""What one more pass costs, in tokens computed; about right for a model of a million parameters on a CPU."""


class Limits(Struct, frozen=True):
    """Of one batch: rows, padded tokens, and tokens whose logits are kept. A row beyond them goes alone."""

    rows: int
    tokens: int
    kept: int

    def with_tokens(self, most: int) -> Limits:
        """The same, but no more tokens than ``most``."""
        return Limits(self.rows, min(self.tokens, most), self.kept)


def cut_into_batches(
    lengths: Sequence[int], kept: Sequence[int], limits: Limits, pass_tokens: int = _PASS_TOKENS
) -> list[range]:
    """Cut rows sorted by length into batches so that padded tokens and passes together cost least.

    Dynamic programming over the last cut: ``cost[i] = min over j of cost[j] + (i - j) · lengths[i - 1] + pass``.

    Args:
        lengths: tokens to compute of each row, shortest first.
        kept: of how many of them the logits are kept.
        limits: of one batch.
        pass_tokens: what one more batch costs, in tokens.
    """
    cost, cut = [0], [0]
    for end in range(1, len(lengths) + 1):
        width, most_kept = lengths[end - 1], 0
        best, best_begin = -1, end - 1
        for begin in range(end - 1, max(0, end - limits.rows) - 1, -1):
            rows = end - begin
            most_kept = max(most_kept, kept[begin])
            if rows > 1 and (rows * width > limits.tokens or rows * most_kept > limits.kept):
                break
            total = cost[begin] + rows * width + pass_tokens
            if best < 0 or total < best:
                best, best_begin = total, begin
        cost.append(best)
        cut.append(best_begin)
    batches: list[range] = []
    end = len(lengths)
    while end > 0:
        batches.append(range(cut[end], end))
        end = cut[end]
    return batches[::-1]


def fill_batches(lengths: Sequence[int], kept: Sequence[int], limits: Limits) -> list[range]:
    """Fill each batch, in order, up to the limits of tokens and kept logits: for rows that are packed, not padded."""
    batches: list[range] = []
    begin = tokens = logits = 0
    for row, (length, own) in enumerate(zip(lengths, kept, strict=True)):
        if row > begin and (tokens + length > limits.tokens or logits + own > limits.kept):
            batches.append(range(begin, row))
            begin, tokens, logits = row, 0, 0
        tokens, logits = tokens + length, logits + own
    return [*batches, range(begin, len(lengths))] if lengths else []
