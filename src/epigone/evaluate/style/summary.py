"""Does a response end with a summary paragraph?

A summary paragraph is the last paragraph of text, after at least one other block, that draws the answer together:
it opens with a summarizing phrase (*in summary*, *overall*) or points back at the whole (*by following these steps*).
"""

from __future__ import annotations

import re

from epigone.evaluate.style.structure import Structure

__all__ = ["has_summary"]

_OPENS = re.compile(
    r"^\W*(?:in summary|to summari[sz]e|summing up|to sum up|in sum|summary\b|overall|in conclusion|to conclude|"
    r"conclusion\b|in short|in brief|in a nutshell|all in all|altogether|ultimately|in essence|in the end|"
    r"taken together|"
    r"in general|as a whole|on the whole|by following (?:these|this|the)|"
    r"(?:these|those|the above) are (?:just|only|some|a few|but)|all (?:of )?(?:these|this)|"
    r"remember,|so,? (?:in|to|overall)\b)",
    re.IGNORECASE,
)
_POINTS_BACK = re.compile(
    r"\b(?:by (?:following|using|implementing|taking|incorporating|combining|doing|practi[cs]ing) (?:all )?(?:of )?"
    r"(?:these|this)|with these \w+|these (?:are|were) (?:just|only|some|but)|in (?:conclusion|summary)|"
    r"overall,)",
    re.IGNORECASE,
)


def has_summary(structure: Structure) -> bool:
    """Whether the last block of a response is a summary paragraph."""
    blocks = [block for block in structure.blocks if block.text.strip()]
    if len(blocks) < 2:
        return False
    last = blocks[-1]
    if last.kind != "text":
        return False
    return bool(_OPENS.match(last.text) or _POINTS_BACK.search(_first_sentence(last.text)))


def _first_sentence(text: str) -> str:
    return re.split(r"(?<=[.!?])\s", text.strip(), maxsplit=1)[0]
