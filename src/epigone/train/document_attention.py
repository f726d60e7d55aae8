"""Attention over packed conversations on a CPU in bfloat16: each document alone, causal, without a mask of the block.

torch's own CPU kernel computes this format's gradients several times slower than plain matrix products on the CPU's
matrix units do (measured: dev/log/train.md). It enters through transformers' attention registry, so that it serves
every architecture that uses the registry; :func:`serves` says for which settings it is the same function.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any, cast

import torch
from msgspec import Struct
from torch import Tensor
from torch.nn import functional
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

__all__ = ["NAME", "Documents", "find_documents", "in_tiles", "register", "serves"]

NAME = "epigone_documents"

_DENSE_TOKENS = 256
"""Rows up to this long are computed whole and the probabilities kept; longer ones in tiles, recomputed going back."""
_TILE = 128


class Documents(Struct, frozen=True):
    """Where the documents of a batch lie.

    ``bias``: (B, 1, T, T), 0 where a query may see a key and −inf where not; ``None`` for rows too long for it.
    ``spans``: (row, first, after the last) of each document, padding left out.
    """

    bias: Tensor | None
    spans: tuple[tuple[int, int, int], ...]


def serves(config: Any) -> bool:
    """Whether a model of this configuration computes plain causal attention: no dropout, window or bound on scores."""
    text = config.get_text_config()
    dropout = any(getattr(text, name, 0.0) for name in ("attention_dropout", "attn_pdrop"))
    window = getattr(text, "sliding_window", None) and getattr(text, "use_sliding_window", True)
    return not (dropout or window or getattr(text, "attn_logit_softcapping", None))


def register() -> None:
    """Make the name known to transformers."""
    ALL_ATTENTION_FUNCTIONS.register(NAME, _attend)


def in_tiles(position_ids: Tensor) -> bool:
    """Whether rows of these positions (B, T) are too long to be computed whole."""
    return int(position_ids.shape[1]) > _DENSE_TOKENS


def find_documents(position_ids: Tensor, dtype: torch.dtype) -> Documents:
    """The documents of a batch from its positions (B, T), which restart at 0 where one begins."""
    rows, columns = position_ids.shape
    begins = position_ids == 0
    if not in_tiles(position_ids):
        number = begins.cumsum(1)
        seen = (number[:, :, None] == number[:, None, :]) & torch.ones(columns, columns, dtype=torch.bool).tril()
        bias = torch.zeros(seen.shape, dtype=dtype).masked_fill_(~seen, float("-inf"))
        return Documents(bias[:, None], ())
    spans: list[tuple[int, int, int]] = []
    for row in range(rows):
        bounds = [*torch.nonzero(begins[row]).view(-1).tolist(), columns]
        spans += [(row, first, last) for first, last in pairwise(bounds)]
    return Documents(None, tuple(spans))


def _attend(
    _module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    *,
    documents: Documents,
    **_: Any,
) -> tuple[Tensor, None]:
    """transformers' attention interface: query (B, H, T, D), key and value (B, K, T, D) -> (B, T, H, D)."""
    assert attention_mask is None and dropout == 0.0
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    if documents.bias is None:
        return cast(Tensor, _Tiled.apply(query, key, value, documents, scale)).transpose(1, 2), None
    groups = query.shape[1] // key.shape[1]
    if groups > 1:
        key, value = key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1)
    return cast(Tensor, _Dense.apply(query, key, value, documents, scale)).transpose(1, 2), None


class _Dense(torch.autograd.Function):  # type: ignore[misc]
    """softmax(scale · Q Kᵀ + bias) V over whole rows."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, documents: Documents, scale: float) -> Tensor:
        shape = query.shape
        rows, heads, tokens, width = shape
        assert documents.bias is not None
        bias = documents.bias.expand(rows, heads, tokens, tokens).reshape(-1, tokens, tokens)
        queries, keys, values = (part.reshape(-1, tokens, width) for part in (query, key, value))
        scores = torch.baddbmm(bias, queries, keys.transpose(1, 2), alpha=scale)
        shares = torch.softmax(scores, -1)
        ctx.save_for_backward(queries, keys, values, shares)
        ctx.scale, ctx.shape = scale, shape
        return torch.bmm(shares, values).view(shape)

    @staticmethod
    def backward(ctx: Any, *outputs: Tensor) -> tuple[Tensor | None, ...]:
        queries, keys, values, shares = ctx.saved_tensors
        slope = outputs[0].reshape(queries.shape)
        of_values = torch.bmm(shares.transpose(1, 2), slope)
        of_shares = torch.bmm(slope, values.transpose(1, 2))
        of_scores = torch._softmax_backward_data(of_shares, shares, -1, shares.dtype)
        of_queries = torch.bmm(of_scores, keys).mul_(ctx.scale)
        of_keys = torch.bmm(of_scores.transpose(1, 2), queries).mul_(ctx.scale)
        return of_queries.view(ctx.shape), of_keys.view(ctx.shape), of_values.view(ctx.shape), None, None


class _Tiled(torch.autograd.Function):  # type: ignore[misc]
    """The same, document by document: torch's flash kernel forward; going back ``_TILE`` queries at a time, their
    shares computed anew, which takes less time than that kernel's own way back (dev/log/train.md).

    Queries that share a key (grouped heads) are rows of one product: H query heads, K key heads, G = H / K.
    """

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, documents: Documents, scale: float) -> Tensor:
        groups = query.shape[1] // key.shape[1]
        output = torch.empty_like(query)
        for row, first, last in documents.spans:
            keys, values = (part[row : row + 1, :, first:last] for part in (key, value))
            for group in range(groups):
                heads = (slice(row, row + 1), slice(group, None, groups), slice(first, last))
                output[heads] = functional.scaled_dot_product_attention(
                    query[heads], keys, values, is_causal=True, scale=scale
                )
        ctx.save_for_backward(query, key, value)
        ctx.documents, ctx.scale = documents, scale
        return output

    @staticmethod
    def backward(ctx: Any, *outputs: Tensor) -> tuple[Tensor | None, ...]:
        query, key, value = ctx.saved_tensors
        slope, scale = outputs[0], ctx.scale
        of_query = torch.empty_like(query)
        of_key, of_value = (torch.zeros(part.shape, dtype=torch.float32, device=part.device) for part in (key, value))
        for row, first, start, end in _tiles(ctx.documents):
            seen = (row, slice(None), slice(first, end))
            keys, values = key[seen], value[seen]  # (K, m, D)
            queries, outer = (_by_key(part[row, :, start:end], len(keys)) for part in (query, slope))  # (K, G·n, D)
            shares = _shares(queries, keys, end - start, scale)
            of_value[seen] += torch.bmm(shares.transpose(1, 2), outer)
            of_shares = torch.bmm(outer, values.transpose(1, 2))
            of_scores = torch._softmax_backward_data(of_shares, shares, -1, shares.dtype)
            of_queries = torch.bmm(of_scores, keys).mul_(scale)
            of_query[row, :, start:end] = of_queries.view(query.shape[1], end - start, -1)
            of_key[seen] += torch.bmm(of_scores.transpose(1, 2), queries)
        return of_query, of_key.mul_(scale).to(key.dtype), of_value.to(value.dtype), None, None


def _tiles(documents: Documents) -> list[tuple[int, int, int, int]]:
    """(row, first key, first query, after the last query) of each tile."""
    return [
        (row, first, start, min(last, start + _TILE))
        for row, first, last in documents.spans
        for start in range(first, last, _TILE)
    ]


def _by_key(queries: Tensor, keys: int) -> Tensor:
    """Query heads that share a key head as its rows: (K·G, n, D) -> (K, G·n, D)."""
    return queries.reshape(keys, -1, queries.shape[-1])


def _shares(queries: Tensor, keys: Tensor, count: int, scale: float) -> Tensor:
    """What a document's last ``count`` queries take of each of its keys: (K, G·n, D), (K, m, D) -> (K, G·n, m)."""
    scores = torch.baddbmm(queries.new_empty(1, 1, 1), queries, keys.transpose(1, 2), beta=0, alpha=scale)
    future = torch.ones(count, count, dtype=torch.bool).triu_(1)
    length = scores.shape[-1]
    scores.view(len(keys), -1, count, length)[..., length - count :].masked_fill_(future, float("-inf"))
    return torch.softmax(scores, -1)
