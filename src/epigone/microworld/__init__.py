"""The embedded world: its encyclopaedia, texts, tasks and models, made on the spot from one seed."""

from epigone.microworld.demo import prepare_demo
from epigone.microworld.encyclopaedia import Encyclopaedia, Entity, Fact
from epigone.microworld.scales import SCALES, Scale, WorldModel
from epigone.microworld.study_file import study_document
from epigone.microworld.world import make_encyclopaedia, write_world

__all__ = [
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
