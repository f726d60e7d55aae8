"""Where a request's random numbers come from: the request alone."""

from __future__ import annotations

import hashlib

from epigone.disk import digest_json
from epigone.records import Message

__all__ = ["stream_seed", "wire_seed"]


def wire_seed(seed: int, sample: int) -> int:
    """The seed that one sample is asked with: the request's own for sample 0, else a digest of both (31 bits)."""
    return seed if sample == 0 else int(digest_json([seed, sample])[:8], 16) & 0x7FFF_FFFF


def stream_seed(seed: int, prompt: str | tuple[Message, ...] | tuple[int, ...]) -> int:
    """The seed of one reply's own random numbers: a digest of seed and prompt, so that no two prompts share draws."""
    return int.from_bytes(hashlib.sha256(digest_json([seed, prompt]).encode()).digest()[:8], "big")
