"""Imitation data: prompts go to a teacher and come back as conversations, or a dump of dialogues is read."""

from epigone.collect.answer import AnswerSpec, answer, answer_requests
from epigone.collect.collected import Collected, write_collected, write_records
from epigone.collect.importing.import_dump import import_dump
from epigone.collect.importing.import_spec import ImportSpec
from epigone.collect.pairs import PairFormat, QuestionAnswer, normalise_question, parse_pairs, read_seeds
from epigone.collect.prompts import read_prompts
from epigone.collect.recipe import PAIRS_PER_REPLY, Forecast, RecipeSpec, forecast, read_recipe, run_recipe
from epigone.collect.summaries import (
    PassageSummary,
    SummariesSpec,
    read_examples,
    read_passages,
    summary_requests,
    write_summaries,
)
from epigone.collect.synthesize import SynthesizeSpec, synthesize, synthesize_requests

__all__ = [
    "PAIRS_PER_REPLY",
    "AnswerSpec",
    "Collected",
    "Forecast",
    "ImportSpec",
    "PairFormat",
    "PassageSummary",
    "QuestionAnswer",
    "RecipeSpec",
    "SummariesSpec",
    "SynthesizeSpec",
    "answer",
    "answer_requests",
    "forecast",
    "import_dump",
    "normalise_question",
    "parse_pairs",
    "read_examples",
    "read_passages",
    "read_prompts",
    "read_recipe",
    "read_seeds",
    "run_recipe",
    "summary_requests",
    "synthesize",
    "synthesize_requests",
    "write_collected",
    "write_records",
    "write_summaries",
]
