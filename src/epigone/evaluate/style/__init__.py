"""Style: how alike two models' answers are, whatever they say (paper, section 4.4, Table 2, and beyond)."""

from epigone.evaluate.style.classifier import StyleClassifier, classifier_auc
from epigone.evaluate.style.features import StyleFeatures, count_words_and_marks, style_features
from epigone.evaluate.style.items import shuffled_teacher, split_teacher, style_items, unigram_jaccard, unigram_overlap

__all__ = [
    "StyleClassifier",
    "StyleFeatures",
    "classifier_auc",
    "count_words_and_marks",
    "shuffled_teacher",
    "split_teacher",
    "style_features",
    "style_items",
    "unigram_jaccard",
    "unigram_overlap",
]
