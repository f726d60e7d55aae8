"""How likely given tokens are, with shared beginnings computed once."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from msgspec import Struct

from epigone.models.local.batches import Limits
from epigone.models.local.forward import Forward
from epigone.models.local.prefixes import group_by_prefix
from epigone.models.local.sampling import LOGPROB_DECIMALS

__all__ = ["Given", "TokenLikelihood", "likelihoods"]

_LOGITS = 2**26
"""Logits that one batch may hold: a quarter of a gigabyte in float32."""


class Given(Struct, frozen=True):
    """Token ids, and from which one on (at least the second) log-probabilities are wanted."""

    ids: tuple[int, ...]
    begin: int
    alternatives: int = 0


class TokenLikelihood(Struct, frozen=True):
    """One token: log-probability (nats), whether it is the most likely one, and the most likely ones, best first."""

    logprob: float
    greedy: bool
    top: tuple[tuple[int, float], ...] = ()


def likelihoods(
    forward: Forward,
    given: Sequence[Given],
    *,
    batch_rows: int,
    batch_tokens: int,
    done: Callable[[int], None] | None = None,
) -> list[list[TokenLikelihood]]:
    """Log-probabilities of each row's tokens from ``begin`` on; rows in the order given.

    Rows that are the same up to their last token (the answers A, B, C, D to one question) are read once: the last token
    is only looked up in the logits before it. What longer stretches of rows share (few-shot examples) is read once too.

    Args:
        done: called with how many rows are finished.
    """
    readings: dict[tuple[tuple[int, ...], int], list[int]] = {}
    for index, asked in enumerate(given):
        readings.setdefault((asked.ids[:-1], asked.begin), []).append(index)
    keys = list(readings)
    sequences = [ids for ids, _ in keys]
    results: list[list[TokenLikelihood]] = [[] for _ in given]
    finished = 0
    wanted = [len(ids) - begin + 1 for ids, begin in keys]
    limits = Limits(batch_rows, batch_tokens, _LOGITS // forward.vocabulary)
    with torch.inference_mode():
        for group in group_by_prefix(sequences, [begin - 1 for _, begin in keys]):
            lengths = [len(sequences[member]) - group.length for member in group.members]
            kept = [wanted[member] for member in group.members]
            for batch in forward.batches(lengths, kept, limits, packed=group.length > 0):
                members = group.members[batch.start : batch.stop]
                rows = [sequences[member] for member in members]
                read = forward.read(rows, group.length, [wanted[member] for member in members])
                for member, logits in zip(members, read.logits, strict=True):
                    logprobs = torch.log_softmax(logits.double(), -1)
                    for index in readings[keys[member]]:
                        results[index] = _look_up(logprobs, given[index])
                        finished += 1
                if done is not None:
                    done(finished)
    forward.forget()
    return results


def _look_up(logprobs: torch.Tensor, given: Given) -> list[TokenLikelihood]:
    """Read the tokens' own values from (wanted, vocabulary) log-probabilities."""
    tokens = torch.tensor(given.ids[given.begin :], device=logprobs.device)
    own = logprobs.gather(-1, tokens[:, None]).squeeze(-1).tolist()
    greedy = (logprobs.argmax(-1) == tokens).tolist()
    values, best = logprobs.topk(min(given.alternatives, logprobs.shape[-1]), -1)
    tops = [
        tuple((token, round(value, LOGPROB_DECIMALS)) for token, value in zip(*pair, strict=True))
        for pair in zip(best.tolist(), values.tolist(), strict=True)
    ]
    rows = zip(own, greedy, tops, strict=True)
    return [TokenLikelihood(round(value, LOGPROB_DECIMALS), first, top) for value, first, top in rows]
