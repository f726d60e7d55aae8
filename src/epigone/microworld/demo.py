"""The embedded study's own part: the world's files and models as jobs of a store, then an ordinary study file."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
from msgspec.structs import replace

from epigone.disk import write_yaml
from epigone.errors import SpecError
from epigone.microworld.scales import SCALES, Scale, WorldModel
from epigone.microworld.study_file import study_document, study_name
from epigone.study import Job, Listener, LocalPool, Schedule, Store, make_job
from epigone.study.run import refuse_another_study

__all__ = ["prepare_demo"]

_JOBS = "epigone.microworld.world_jobs"
_BEFORE_TUNING = "the teacher before it is tuned"


def prepare_demo(
    root: Path, *, scale: str, seed: int = 0, training_seeds: int = 1, listener: Listener | None = None
) -> Path:
    """Make the world and train its bases and teacher, two at a time; write the study file.

    A training has one thread; the teacher's tuning, which nothing can run beside, has both.
    Killed and called again, it goes on where it was. Returns the path of ``study.yaml``.

    Raises:
        SpecError: no scale of that name, the folder's study runs now, or the folder holds another one.
    """
    if scale not in SCALES:
        raise SpecError(f"no scale named '{scale}'", where="scale", fix=f"choose one of {', '.join(SCALES)}")
    refuse_another_study(Store(root.resolve()), study_name(SCALES[scale]))  # before minutes go into a world
    jobs = _plan(scale, seed)
    world, models = jobs[0], {job.subject: job for job in jobs[1:]}
    store = Store((root / "world").resolve())
    with store.lock():
        if not all(store.is_done(job.id) for job in jobs):
            pool = LocalPool(min(2, os.cpu_count() or 1), threads=1, preload=True)
            try:
                Schedule(jobs, store, pool, listener=listener).run()
            finally:
                pool.close()
    document = study_document(
        _relative(store, root, world, "files"),
        {name: _relative(store, root, job, "model") for name, job in models.items()},
        SCALES[scale],
        seed=seed,
        training_seeds=training_seeds,
    )
    with Store(root.resolve()).lock():  # a run that is under way reads this file
        write_yaml(root / "study.yaml", document)
    return root / "study.yaml"


def _plan(scale: str, seed: int) -> list[Job]:
    """The world's files, a training from nothing for each model, and the teacher's tuning; the subject is the model."""
    world = make_job(
        "world",
        f"{_JOBS}:write_world_files",
        title="write the world's texts and tasks",
        version=2,
        params={"scale": scale, "seed": seed, "contents": _contents(SCALES[scale])},
    )
    teacher = SCALES[scale].teacher
    pretrained = {
        model.name: make_job(
            "model",
            f"{_JOBS}:pretrain_world_model",
            title=f"train {model.name}",
            params=_model_params(scale, seed, _before_tuning(model)),
            inputs={"world": world},
            subject=_BEFORE_TUNING if model is teacher else model.name,
            cost=model.cost,
        )
        for model in SCALES[scale].models
    }
    tuned = make_job(
        "model",
        f"{_JOBS}:tune_world_model",
        title=f"tune {teacher.name}",
        params=_model_params(scale, seed, teacher),
        inputs={"world": world, "pretrained": pretrained[teacher.name]},
        subject=teacher.name,
        cost=teacher.tuning_cost,
        alone=True,
    )
    return [world, *pretrained.values(), tuned]


def _before_tuning(model: WorldModel) -> WorldModel:
    """What the pre-training depends on: another tuning leaves it as it is."""
    return replace(model, instruction=None, replay_tokens=0, tuning_cost=0.0)


def _model_params(scale: str, seed: int, model: WorldModel) -> dict[str, object]:
    return {"scale": scale, "seed": seed, "model": model.name, "recipe": model}


def _contents(scale: Scale) -> dict[str, object]:
    """What the world's files depend on: not the models that will read them, only the longest text that one needs."""
    study_only = {
        "models",
        "training",
        "broad_amounts",
        "local_pairs",
        "requests_per_round",
        "replay_amount",
        "replay_share",
    }
    plain: dict[str, object] = msgspec.to_builtins(scale)
    return {key: value for key, value in plain.items() if key not in study_only} | {"tokens": scale.corpus_tokens}


def _relative(store: Store, root: Path, job: Job, name: str) -> str:
    """A path in the study file, so that the run folder can be moved as a whole."""
    return os.path.relpath(store.folder(job.id) / name, root.resolve())
