"""The scales: every training that they name is one that train/ takes; the room's public surface."""

from __future__ import annotations

import pytest

import epigone.microworld
from epigone.microworld import SCALES
from epigone.train import TrainSpec


def test_the_public_surface_is_this() -> None:
    assert epigone.microworld.__all__ == [
        "SCALES",
        "Encyclopaedia",
        "Entity",
        "Fact",
        "Scale",
        "WorldModel",
        "make_encyclopaedia",
        "prepare_demo",
        "study_document",
        "write_world",
    ]


@pytest.mark.parametrize("name", list(SCALES))
def test_every_training_of_a_scale_is_a_valid_train_spec(name: str) -> None:
    scale = SCALES[name]
    settings = [scale.training, *(model.pretraining for model in scale.models), scale.teacher.instruction]
    assert all(TrainSpec.model_validate(one).peak_lr > 0 for one in settings)


@pytest.mark.parametrize("name", list(SCALES))
def test_the_teacher_is_the_widest_and_reads_furthest_and_bases_grow(name: str) -> None:
    scale = SCALES[name]
    widths = [model.config["hidden_size"] for model in (*scale.bases, scale.teacher)]
    assert widths == sorted(set(widths), key=int)
    assert scale.teacher.corpus_tokens == scale.corpus_tokens
    assert list(scale.broad_amounts) == sorted(set(scale.broad_amounts))
