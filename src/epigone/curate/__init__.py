"""Replies to imitation data: clean, deduplicate, decontaminate, measure, mix, and tell it all in a data card."""

from epigone.curate.amounts import Amount, nested_amounts, take_replay
from epigone.curate.categories import (
    CategoriesSpec,
    CategoryDefinitions,
    LabellerSpec,
    category_shares,
    draw_queries,
    label_queries,
    latest_labels,
    read_definitions,
)
from epigone.curate.curated import (
    AmountRow,
    CategoryShare,
    Checked,
    Collection,
    Curated,
    Diversity,
    EvaluationText,
    FunnelRow,
    Match,
    MixRow,
    Nested,
    QueryLabel,
    SimilarPair,
)
from epigone.curate.data_card import DataCard, card_html, card_markdown, data_card
from epigone.curate.decontaminate import DecontaminateSpec, find_matches
from epigone.curate.diversity import DiversitySpec, measure_diversity
from epigone.curate.folder import curate_to_folder, write_curated
from epigone.curate.mix import mix_sources
from epigone.curate.pipeline import Curation, curate, run_step
from epigone.curate.read import read_collections, read_conversations
from epigone.curate.recipe import CurateSpec, read_recipe
from epigone.curate.support import support
from epigone.curate.tokens import TokenCounter, TokenizerSpec
from epigone.curate.workers import open_workers

__all__ = [
    "Amount",
    "AmountRow",
    "CategoriesSpec",
    "CategoryDefinitions",
    "CategoryShare",
    "Checked",
    "Collection",
    "CurateSpec",
    "Curated",
    "Curation",
    "DataCard",
    "DecontaminateSpec",
    "Diversity",
    "DiversitySpec",
    "EvaluationText",
    "FunnelRow",
    "LabellerSpec",
    "Match",
    "MixRow",
    "Nested",
    "QueryLabel",
    "SimilarPair",
    "TokenCounter",
    "TokenizerSpec",
    "card_html",
    "card_markdown",
    "category_shares",
    "curate",
    "curate_to_folder",
    "data_card",
    "draw_queries",
    "find_matches",
    "label_queries",
    "latest_labels",
    "measure_diversity",
    "mix_sources",
    "nested_amounts",
    "open_workers",
    "read_collections",
    "read_conversations",
    "read_definitions",
    "read_recipe",
    "run_step",
    "support",
    "take_replay",
    "write_curated",
]
