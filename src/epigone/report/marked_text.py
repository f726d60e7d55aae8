"""A model's answer cut into pieces, so that a template can escape each and mark those that are claims."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct

from epigone.records import Claim

__all__ = ["Piece", "pieces"]


class Piece(Struct, frozen=True, kw_only=True):
    """A stretch of text; ``verdict`` is ``None`` between claims. ``said``: what the claim says, what the facts say."""

    text: str
    verdict: str | None = None
    said: str = ""


def pieces(text: str, claims: Iterable[Claim]) -> list[Piece]:
    """``text`` in order, every character once. Of claims that overlap, the first stands."""
    found: list[Piece] = []
    at = 0
    for claim in sorted(claims, key=lambda claim: (claim.start, claim.end)):
        start, end = max(claim.start, 0), min(claim.end, len(text))
        if start < at or end <= start:
            continue
        if start > at:
            found.append(Piece(text=text[at:start]))
        said = f"{claim.relation}: {claim.value}" if claim.relation else ""
        if claim.verdict == "wrong" and claim.expected:
            said += f"; the facts say {claim.expected}"
        found.append(Piece(text=text[start:end], verdict=claim.verdict, said=said))
        at = end
    if at < len(text):
        found.append(Piece(text=text[at:]))
    return found
