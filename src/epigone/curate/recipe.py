"""The recipe of a curation: a list of steps, each a name with its settings, as written in YAML."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator, Field, model_validator

from epigone.curate.amounts import AmountsSpec
from epigone.curate.categories import CategoriesSpec, LabellerSpec
from epigone.curate.clean import CleanSpec
from epigone.curate.decontaminate import DecontaminateSpec
from epigone.curate.deduplicate import DeduplicateSpec
from epigone.curate.diversity import DiversitySpec
from epigone.curate.language import LanguageSpec
from epigone.curate.mix import MixSpec
from epigone.curate.near_duplicates import NearDuplicatesSpec
from epigone.curate.support import SupportSpec
from epigone.curate.tokens import TokenizerSpec
from epigone.disk import read_yaml
from epigone.specs import Spec, beside, parse_spec

__all__ = ["CurateSpec", "StepSpec", "read_recipe"]

_DROPPING = {"clean", "deduplicate", "near_duplicates", "language", "decontaminate"}
_COUNTING = {"mix": _DROPPING, "amounts": _DROPPING | {"mix"}}
"""Steps that measure the data out in tokens, and what may not come after them: it would take away from that."""


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
    """A language model, or a person, sorts a sample of the queries into categories; drops nothing."""
    support: SupportSpec | None = None
    """Measures how near the data comes to each evaluation item; drops nothing. Runs last where it is not named."""
    mix: MixSpec | None = None
    """Sources get their shares of the tokens."""
    amounts: AmountsSpec | None = None
    """The data is put into one order, in which every amount of tokens is a prefix; replay text goes beside it."""

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
    tokenizer: TokenizerSpec | None = None
    """Whose tokens are counted, for ``mix``, ``amounts`` and the data card. ``None``: none are."""

    @model_validator(mode="after")
    def _counts_can_be_kept(self) -> CurateSpec:
        names = [step.name for step in self.steps]
        for place, name in enumerate(names):
            if name not in _COUNTING:
                continue
            if self.tokenizer is None:
                raise ValueError(f"the step '{name}' counts tokens: name a 'tokenizer', that of the students' base")
            for later in names[place + 1 :]:
                if later in _COUNTING[name] or later == name:
                    raise ValueError(f"the step '{later}' stands after '{name}' and would change what it measured out")
        return self

    @model_validator(mode="after")
    def _one_judge(self) -> CurateSpec:
        if len(self._judges()) > 1:
            raise ValueError("two steps 'categories' name a judge: one is asked at most")
        return self

    @property
    def labeller(self) -> LabellerSpec | None:
        """The model that a ``categories`` step asks; ``None``: there is none."""
        return next(iter(self._judges()), None)

    def _judges(self) -> list[LabellerSpec]:
        asked = [step.categories.judge for step in self.steps if step.categories is not None]
        return [judge for judge in asked if judge is not None]


def read_recipe(path: Path | str) -> CurateSpec:
    """Read a recipe; its relative paths are taken from the folder it lies in.

    Raises:
        SpecError: it cannot be read or is wrong.
    """
    return beside(parse_spec(CurateSpec, read_yaml(path), where=str(path)), Path(path).resolve().parent)
