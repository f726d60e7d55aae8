"""One spelling of token counts."""

from __future__ import annotations

import pytest

from epigone.token_text import tokens_text


@pytest.mark.parametrize(
    ("tokens", "name", "page"),
    [
        (999, "999", "999"),
        (1_000, "1k", "1k"),
        (300_000, "300k", "300k"),
        (134_515_008, "134.515M", "135M"),
        (2_500_000_000, "2.5B", "2.5B"),
    ],
)
def test_counts_are_spelled_for_names_and_for_pages(tokens: int, name: str, page: str) -> None:
    assert tokens_text(tokens) == name
    assert tokens_text(tokens, digits=3) == page
