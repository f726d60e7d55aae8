"""The world's jobs, as a worker process runs them. Apart from their plan, and importing late, so that nothing waits for
torch that does not compute with it."""

from __future__ import annotations

from msgspec import Struct

from epigone.disk import atomic_folder
from epigone.microworld.scales import SCALES, WorldModel
from epigone.microworld.world import write_world
from epigone.study import JobContext

__all__ = ["pretrain_world_model", "tune_world_model", "write_world_files"]


class _WorldParams(Struct, frozen=True):
    scale: str
    seed: int


def write_world_files(context: JobContext) -> None:
    """Job: ``files/`` with everything that is not a model."""
    params = context.params(_WorldParams)
    with atomic_folder(context.folder / "files") as folder:
        write_world(folder, scale=SCALES[params.scale], seed=params.seed)


class _ModelParams(Struct, frozen=True):
    scale: str
    seed: int
    model: str

    @property
    def recipe(self) -> WorldModel:
        """What is trained."""
        return next(model for model in SCALES[self.scale].models if model.name == self.model)


def pretrain_world_model(context: JobContext) -> None:
    """Job: ``model/``, a Hugging Face folder, trained from nothing."""
    from epigone.microworld.world_models import pretrain_model

    params = context.params(_ModelParams)
    pretrain_model(
        context.inputs["world"] / "files",
        params.recipe,
        context.folder / "model",
        seed=params.seed,
        threads=context.threads,
        work=context.work,
        progress=context.progress,
    )


def tune_world_model(context: JobContext) -> None:
    """Job: ``model/``, the teacher's Hugging Face folder."""
    from epigone.microworld.world_models import tune_model

    params = context.params(_ModelParams)
    tune_model(
        context.inputs["world"] / "files",
        params.recipe,
        context.inputs["pretrained"] / "model",
        context.folder / "model",
        seed=params.seed,
        threads=context.threads,
        work=context.work,
        progress=context.progress,
    )
