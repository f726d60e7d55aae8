"""Which models stand for an arm: the pooled entry where there are several training seeds, else the student itself."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from epigone.records import Axis, Estimate, ModelInfo, Results

__all__ = ["Arms"]


@dataclass(frozen=True)
class Arms:
    """A results document as the page looks at it."""

    results: Results

    @cached_property
    def teacher(self) -> ModelInfo | None:
        """The teacher, if it was measured."""
        return next((model for model in self.results.models if model.role == "teacher"), None)

    @cached_property
    def ceiling(self) -> ModelInfo | None:
        """The teacher's second sample."""
        return next((model for model in self.results.models if model.role == "teacher_second_sample"), None)

    @cached_property
    def bases(self) -> list[ModelInfo]:
        """From small to large where sizes are known, else in the study's order."""
        bases = [model for model in self.results.models if model.role == "base"]
        return sorted(bases, key=lambda model: model.parameters or 0)

    @cached_property
    def students(self) -> list[ModelInfo]:
        """One entry an arm."""
        inside = {name for model in self.results.models for name in model.pooled}
        return [model for model in self.results.models if model.role == "student" and model.name not in inside]

    def broad(self, base: str, *, replay: bool = False) -> list[ModelInfo]:
        """The broad arms of a base by amount."""
        found = [
            model
            for model in self.students
            if model.base == base and model.data_kind == "broad" and (model.replay > 0) == replay
        ]
        return sorted(found, key=lambda model: model.amount_tokens or 0)

    def local(self, base: str) -> list[ModelInfo]:
        """The local arms of a base."""
        return [model for model in self.students if model.base == base and model.data_kind == "local"]

    @cached_property
    def axes(self) -> dict[str, Axis]:
        """By name."""
        return {axis.name: axis for axis in self.results.axes}

    def headline_axes(self, *kinds: str) -> list[Axis]:
        """The headline axes of some kinds."""
        return [axis for axis in self.results.axes if axis.headline and axis.kind in kinds]

    def mean_over(self, key: str) -> tuple[list[Axis], int]:
        """Which axes ``style_closed`` or ``capability_closed`` is the mean of, and of how many it could have been."""
        kinds = ("style",) if key.startswith("style") else ("capability", "factuality")
        used = self.results.headline_over.get(key, ())
        return [self.axes[name] for name in used], len(self.headline_axes(*kinds))

    def estimate(self, model: ModelInfo | None, axis: str) -> Estimate | None:
        """What was measured, or ``None``."""
        if model is None:
            return None
        return self.results.estimates.get(model.name, {}).get(axis)

    @cached_property
    def local_axis(self) -> Axis | None:
        """The axis of the local data's own task; without local data the first capability axis."""
        for model in self.students:
            if model.local_task is not None:
                for axis in self.results.axes:
                    if axis.name == model.local_task or (
                        axis.headline and axis.name.startswith(f"{model.local_task}.")
                    ):
                        return axis
        return next(iter(self.headline_axes("capability")), None)
