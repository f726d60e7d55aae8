"""The recipe of a curation: a list of steps, each a name with its settings, as written in YAML."""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator, Field, model_validator

from epigone.curate.categories import CategoriesSpec
from epigone.curate.clean import CleanSpec
from epigone.curate.decontaminate import DecontaminateSpec
from epigone.curate.deduplicate import DeduplicateSpec
from epigone.curate.diversity import DiversitySpec
from epigone.curate.language import LanguageSpec
from epigone.curate.near_duplicates import NearDuplicatesSpec
from epigone.specs import Spec

__all__ = ["CurateSpec", "StepSpec"]


def _named(step: object) -> object:
    """``- clean`` and ``- clean:`` mean ``- clean: {}``; a key of ``null`` beside others does not count."""
    if isinstance(step, str):
        return {step: {}}
    if isinstance(step, dict) and len(step) == 1:
        return {name: {} if settings is None else settings for name, settings in step.items()}
    if isinstance(step, dict):
        return {name: settings for name, settings in step.items() if settings is not None}
    return step


class StepSpec(Spec):
    """One step: exactly one of these keys."""

    clean: CleanSpec | None = None
    """Page residue, HTML, empty turns, role order."""
    deduplicate: DeduplicateSpec | None = None
    """Of dialogues with the same query, one stays."""
    near_duplicates: NearDuplicatesSpec | None = None
    """Of dialogues with nearly the same first query, the first stays."""
    language: LanguageSpec | None = None
    """Only dialogues in given languages stay."""
    decontaminate: DecontaminateSpec | None = None
    """Evaluation items and training data part ways."""
    diversity: DiversitySpec | None = None
    """Measures how alike the queries are; drops nothing."""
    categories: CategoriesSpec | None = None
    """A language model sorts a sample of the queries into categories; drops nothing."""

    @model_validator(mode="after")
    def _exactly_one(self) -> StepSpec:
        if len(self.model_fields_set) != 1:
            given = ", ".join(sorted(self.model_fields_set)) or "none"
            raise ValueError(f"a step has exactly one name: {', '.join(type(self).model_fields)} (given: {given})")
        return self

    @property
    def name(self) -> str:
        """The step's key."""
        return next(iter(self.model_fields_set))

    @property
    def settings(self) -> Spec:
        """The step's settings."""
        settings: Spec = getattr(self, self.name)
        return settings


def _default_steps() -> tuple[StepSpec, ...]:
    return tuple(StepSpec.model_validate({name: {}}) for name in ("clean", "deduplicate", "decontaminate"))


class CurateSpec(Spec):
    """A recipe: from dialogues to imitation data."""

    steps: tuple[Annotated[StepSpec, BeforeValidator(_named)], ...] = Field(default_factory=_default_steps)
    """The steps, in the order in which they run. Default: clean, deduplicate, decontaminate."""
