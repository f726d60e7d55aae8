"""Draws that depend on a seed and a few keys only, so that a re-run asks the very same requests."""

from __future__ import annotations

import numpy as np

from epigone.disk import digest_json

__all__ = ["generator", "request_seed"]


def generator(seed: int, *keys: int | str) -> np.random.Generator:
    """A generator for the item named by ``keys``: independent of every other item and of the order of asking."""
    return np.random.default_rng(int(digest_json([seed, *keys])[:32], 16))


def request_seed(seed: int, *keys: int | str) -> int:
    """A seed to send along with a request: 0 … 2³¹−1, which every provider accepts."""
    return int(digest_json([seed, *keys])[:16], 16) % 2**31
