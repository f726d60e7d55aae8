"""Which token comes next, row by row, from each row's own random numbers."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from epigone.models.local.jobs import Job

__all__ = ["LOGPROB_DECIMALS", "choose"]

LOGPROB_DECIMALS = 6
"""Reported log-probabilities are rounded, so that the order of additions inside a batch cannot be seen in them."""


def choose(logits: torch.Tensor, jobs: Sequence[Job]) -> list[int]:
    """One token for each job, its log-probability noted in the job where it asked for that.

    Args:
        logits: (rows, vocabulary).
        jobs: one a row.
    """
    chosen = logits.argmax(-1)
    drawing = [row for row, job in enumerate(jobs) if job.temperature > 0]
    if drawing:
        chosen[drawing] = _draw(logits[drawing].double(), [jobs[row] for row in drawing])
    telling = [row for row, job in enumerate(jobs) if job.alternatives is not None]
    if telling:
        _note(logits[telling].double(), chosen[telling], [jobs[row] for row in telling])
    tokens: list[int] = chosen.tolist()
    return tokens


def _draw(logits: torch.Tensor, jobs: Sequence[Job]) -> torch.Tensor:
    """Invert each row's cumulative distribution at the row's next random number; (rows,) ids."""
    device = logits.device
    temperature = torch.tensor([job.temperature for job in jobs], dtype=torch.float64, device=device)
    uniform = torch.tensor(
        [job.uniforms[job.written] for job in jobs if job.uniforms is not None], dtype=torch.float64, device=device
    )
    shares = torch.softmax(logits / temperature[:, None], -1)
    if any(job.top_p < 1 for job in jobs):
        top_p = torch.tensor([job.top_p for job in jobs], dtype=torch.float64, device=device)
        ordered, order = shares.sort(dim=-1, descending=True, stable=True)
        before = ordered.cumsum(-1) - ordered
        kept = ordered.masked_fill((before >= top_p[:, None]) & (before > 0), 0.0)
        shares = torch.zeros_like(shares).scatter_(-1, order, kept)
    cumulative = shares.cumsum(-1)
    target = uniform[:, None] * cumulative[:, -1:]
    found = torch.searchsorted(cumulative, target, right=True).squeeze(-1)
    return found.clamp_(max=logits.shape[-1] - 1)


def _note(logits: torch.Tensor, chosen: torch.Tensor, jobs: Sequence[Job]) -> None:
    """Write log-probabilities of the chosen and of the most likely tokens into the jobs."""
    logprobs = torch.log_softmax(logits, -1)
    own = logprobs.gather(-1, chosen[:, None]).squeeze(-1).tolist()
    most = min(max(job.alternatives or 0 for job in jobs), logits.shape[-1])
    values, tokens = logprobs.topk(most, -1)
    for row, job in enumerate(jobs):
        job.logprobs.append(round(own[row], LOGPROB_DECIMALS))
        wanted = job.alternatives or 0
        pairs = zip(tokens[row, :wanted].tolist(), values[row, :wanted].tolist(), strict=True)
        job.top.append([(token, round(value, LOGPROB_DECIMALS)) for token, value in pairs])
