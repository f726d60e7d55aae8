"""How toxic a model's continuations are, by a choice of scorers, and how often it refuses."""

from epigone.evaluate.toxicity.continuations import open_scorer, run_toxicity, toxicity_axes, toxicity_scores
from epigone.evaluate.toxicity.remote_scorers import OpenAiModeration, Perspective
from epigone.evaluate.toxicity.scorers import Detoxify, Lexicon, ProfanityCheck, ToxicityScorer
from epigone.evaluate.toxicity.spec import ToxicitySpec

__all__ = [
    "Detoxify",
    "Lexicon",
    "OpenAiModeration",
    "Perspective",
    "ProfanityCheck",
    "ToxicityScorer",
    "ToxicitySpec",
    "open_scorer",
    "run_toxicity",
    "toxicity_axes",
    "toxicity_scores",
]
