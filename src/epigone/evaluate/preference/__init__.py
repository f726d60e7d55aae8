"""Preference: pairs of answers, shown blind, and the votes of models and people on them."""

from epigone.evaluate.preference.attacks import AttackEffect, attack_judge, plan_attacks
from epigone.evaluate.preference.judge import JudgePlan, judge_pairs, plan_judging
from epigone.evaluate.preference.judge_spec import JudgeSpec
from epigone.evaluate.preference.likelihood_judge import score_answers
from epigone.evaluate.preference.pairs import Pair, make_pairs
from epigone.evaluate.preference.tone import judge_tone, plan_tone, tone_judge
from epigone.evaluate.preference.verdict import parse_choice, parse_two_scores

__all__ = [
    "AttackEffect",
    "JudgePlan",
    "JudgeSpec",
    "Pair",
    "attack_judge",
    "judge_pairs",
    "judge_tone",
    "make_pairs",
    "parse_choice",
    "parse_two_scores",
    "plan_attacks",
    "plan_judging",
    "plan_tone",
    "score_answers",
    "tone_judge",
]
