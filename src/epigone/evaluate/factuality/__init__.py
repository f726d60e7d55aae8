"""Claims in free text, judged right, wrong or unclear against a file of facts."""

from epigone.evaluate.factuality.claims import check_claims, claim_axes, claim_scores, sentences
from epigone.evaluate.factuality.knowledge import ClaimsSpec, Fact, Knowledge, read_knowledge

__all__ = [
    "ClaimsSpec",
    "Fact",
    "Knowledge",
    "check_claims",
    "claim_axes",
    "claim_scores",
    "read_knowledge",
    "sentences",
]
