"""Model -> scores: benchmarks, style, toxicity, factuality and preference.

Each subfolder is used through its own name (``epigone.evaluate.benchmarks``), so that measuring style does not load the
benchmark harness. This file holds only what they share: making the files of answers that most of them read.
"""

from epigone.evaluate.answers import AnswerSettings, answer_prompts

__all__ = ["AnswerSettings", "answer_prompts"]
