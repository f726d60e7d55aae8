"""Replies to imitation data: clean, deduplicate, decontaminate, measure, mix, and tell it all in a data card."""

from epigone.curate.amounts import mix_sources, nested_amounts, take_replay
from epigone.curate.curated import Curated, Diversity, EvaluationText, FunnelRow, Match, Nested
from epigone.curate.data_card import DataCard, card_html, card_markdown, data_card
from epigone.curate.decontaminate import DecontaminateSpec, find_matches
from epigone.curate.diversity import DiversitySpec, measure_diversity
from epigone.curate.folder import curate_to_folder, write_curated
from epigone.curate.pipeline import curate
from epigone.curate.recipe import CurateSpec

__all__ = [
    "CurateSpec",
    "Curated",
    "DataCard",
    "DecontaminateSpec",
    "Diversity",
    "DiversitySpec",
    "EvaluationText",
    "FunnelRow",
    "Match",
    "Nested",
    "card_html",
    "card_markdown",
    "curate",
    "curate_to_folder",
    "data_card",
    "find_matches",
    "measure_diversity",
    "mix_sources",
    "nested_amounts",
    "take_replay",
    "write_curated",
]
