"""Replies to imitation data: clean, deduplicate, decontaminate, measure, mix, and tell it all in a data card."""

from epigone.curate.amounts import mix_sources, nested_amounts, take_replay
from epigone.curate.categories import (
    CategoriesSpec,
    CategoryDefinitions,
    category_shares,
    draw_queries,
    label_queries,
    read_definitions,
)
from epigone.curate.curated import (
    CategoryShare,
    Curated,
    Diversity,
    EvaluationText,
    FunnelRow,
    Match,
    Nested,
    QueryLabel,
    SimilarPair,
)
from epigone.curate.data_card import DataCard, card_html, card_markdown, data_card
from epigone.curate.decontaminate import DecontaminateSpec, find_matches
from epigone.curate.diversity import DiversitySpec, measure_diversity
from epigone.curate.folder import curate_to_folder, write_curated
from epigone.curate.pipeline import curate
from epigone.curate.read import read_conversations
from epigone.curate.recipe import CurateSpec
from epigone.curate.support import support
from epigone.curate.workers import open_workers

__all__ = [
    "CategoriesSpec",
    "CategoryDefinitions",
    "CategoryShare",
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
    "QueryLabel",
    "SimilarPair",
    "card_html",
    "card_markdown",
    "category_shares",
    "curate",
    "curate_to_folder",
    "data_card",
    "draw_queries",
    "find_matches",
    "label_queries",
    "measure_diversity",
    "mix_sources",
    "nested_amounts",
    "open_workers",
    "read_conversations",
    "read_definitions",
    "support",
    "take_replay",
    "write_curated",
]
