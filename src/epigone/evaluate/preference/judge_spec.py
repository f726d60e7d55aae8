"""How a model judges pairs of answers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from epigone.models.api_spec import ApiSpec
from epigone.models.local_spec import LocalSpec
from epigone.specs import Spec

__all__ = ["JudgeSpec"]


class JudgeSpec(Spec):
    """A judge: an LLM that reads both answers, or the likelihood that a model gives to each.

    Exactly one of ``api``, ``local`` and ``likelihood`` says which model judges, and how.
    """

    api: ApiSpec | None = None
    """A model behind an endpoint is asked which answer is better."""

    local: LocalSpec | None = None
    """A model run here is asked which answer is better."""

    likelihood: LocalSpec | ApiSpec | None = None
    """The model is not asked anything; the answer to which it gives the higher log-probability per token wins, and its
    votes say ``likelihood_judge``. That is no opinion on quality: it says which answer the judging model would sooner
    have written itself."""

    name: str | None = None
    """The voter's name in votes and pages. ``None``: the model's own name; a likelihood judge adds that it is one."""

    form: Literal["two_scores", "three_choices"] = "two_scores"
    """``two_scores``: each answer gets 1 to 10 (Vicuna's form). ``three_choices``: 1, 2 or same. LLM judges only."""

    template: Path | None = None
    """A prompt file in place of the form's own: the system message, a line ``---``, the user message, with the fields
    ``{question}``, ``{answer_1}``, ``{answer_2}`` and ``{boundary}``. ``None``: the file that ships."""

    orders: Literal["both", "one"] = "both"
    """``both``: each pair is shown twice, each answer first once. ``one``: once, the first place drawn by the seed;
    half the price, and position bias is not removed, only averaged."""

    score_tie: Annotated[float, Field(ge=0)] = 0.0
    """Two scores that differ by no more than this are a tie, in points. ``two_scores`` only."""

    margin: Annotated[float, Field(ge=0)] = 0.05
    """Log-probabilities per token that differ by no more than this are a tie, in nats. ``likelihood`` only."""

    temperature: Annotated[float, Field(ge=0)] = 0.0
    """Sampling temperature of the judge's reply."""

    max_tokens: Annotated[int, Field(ge=1)] = 512
    """The longest reply, in tokens; the verdict stands in its first line."""

    ask_again: Annotated[int, Field(ge=0, le=3)] = 1
    """How often a reply without a readable verdict is answered with a reminder before the vote is missing."""

    @model_validator(mode="after")
    def _one_model(self) -> JudgeSpec:
        if sum(model is not None for model in (self.api, self.local, self.likelihood)) != 1:
            raise ValueError("a judge needs exactly one of 'api', 'local' and 'likelihood'")
        return self

    @property
    def kind(self) -> Literal["llm", "likelihood"]:
        """How the judge comes to its votes."""
        return "llm" if self.likelihood is None else "likelihood"

    @property
    def model(self) -> ApiSpec | LocalSpec:
        """The judging model, to be opened with ``open_model``."""
        model = self.api or self.local or self.likelihood
        assert model is not None, "the validator asks for one"
        return model

    @property
    def title(self) -> str:
        """What to call the judge before its model is opened."""
        model = self.model
        plain = model.model if isinstance(model, ApiSpec) else (model.name or model.hf)
        return self.name or (plain if self.kind == "llm" else f"{plain} (likelihood)")
