"""Does a response end with a summary paragraph?

A summary paragraph is the last paragraph of text, after at least one other block, that draws the answer together:
it opens with a summarizing phrase (*in summary*, *overall*) or points back at the whole (*by following these steps*).
"""

from __future__ import annotations

import re

from epigone.evaluate.style.structure import Block, Structure

__all__ = ["has_summary"]

_OPENS = re.compile(
    r"^\W*(?:in summary|to summari[sz]e|summing up|to sum up|in sum\b|overall|in conclusion|to conclude|conclusion\b|"
    r"in short|in brief|in a nutshell|all in all|altogether|ultimately|in essence|in the end|taken together|"
    r"in general,|as a whole|on the whole|"
    r"by (?:following|using|combining|taking|doing|practi[cs]ing) (?:all )?(?:of )?th(?:ese|is)|"
    r"(?:therefore|hence|thus|so in|so overall)\b|all (?:of )?(?:these|this)\b|with (?:all )?(?:of )?these\b)",
    re.IGNORECASE,
)
_LABEL = re.compile(r"^\W*summary\b", re.IGNORECASE)
_POINTS_BACK = re.compile(r"^\W*(?:these|those|the above|such)\s+\w+", re.IGNORECASE)
_SIGN_OFF = re.compile(
    r"^\W*(?:thank you|thanks|i hope|hope (?:this|that)|enjoy|good luck|let me know|feel free|please let|have a |"
    r"(?:best|kind|warm)? ?regards|sincerely|yours)\b",
    re.IGNORECASE,
)
_SIGN_OFF_WORDS = 16
_LABEL_BLOCKS = 3


def has_summary(structure: Structure) -> bool:
    """Whether a response ends with a summary paragraph.

    The last paragraph counts if another block stands before it and it opens with a summarizing phrase or a conclusion
    (*in summary*, *overall*, *therefore*), or points back at a list that stands before it (*these steps …*). A sign-off
    of at most 16 words after it (*Thank you for listening.*) is passed over.
    """
    blocks = [block for block in structure.blocks if block.text.strip()]
    while len(blocks) > 1 and _is_sign_off(blocks[-1]):
        blocks.pop()
    if len(blocks) < 2 or blocks[-1].kind != "text":
        return False
    last = blocks[-1].text
    if _OPENS.match(last):
        return True
    if _LABEL.match(last):  # a lone "Summary:" after a title is what was asked for, not a closing
        return len(blocks) >= _LABEL_BLOCKS
    return bool(_POINTS_BACK.match(last)) and any(block.kind == "list" for block in blocks[:-1])


def _is_sign_off(block: Block) -> bool:
    return block.kind == "text" and bool(_SIGN_OFF.match(block.text)) and len(block.text.split()) <= _SIGN_OFF_WORDS
