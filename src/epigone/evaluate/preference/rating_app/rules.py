"""The rules of a campaign, fixed when it is made: how many ratings, how long, which checks, and what gets a flag."""

from __future__ import annotations

from pydantic import Field, field_validator

from epigone.specs import Spec

__all__ = ["CRITERIA", "RatingRules"]

CRITERIA = ("grammar", "clarity", "relevance", "completeness", "overall")
"""The paper's five criteria (Figure 7), in the page's order; expert raters may mark each of them."""


class RatingRules(Spec):
    """Everything that decides what a rater gets and what their votes are worth. Flags mark, they never remove."""

    title: str = "Which answer is better?"
    """What the campaign is called on its pages. It must not name a system."""

    ratings: int = Field(default=3, ge=1)
    """Ratings wanted of each pair, by as many different raters."""

    timeout_s: float = Field(default=1800.0, gt=0)
    """Seconds for which a pair that was handed out is kept for its rater; then somebody else may get it."""

    minimum_s: float = Field(default=0.0, ge=0)
    """Seconds that must pass before a vote is accepted; 0 accepts at once."""

    pairs_per_rater: int | None = Field(default=None, ge=1)
    """After so many pairs a rater is done. ``None``: as many as there are."""

    repeat_prompts: bool = False
    """Whether a rater may see a prompt again with another student's answer. Not by default: the answer that comes
    twice would give the teacher away."""

    break_every: int = Field(default=20, ge=1)
    """Votes after which the page suggests a break."""

    expert: bool = False
    """Whether the page asks for marks on each criterion and for *I checked the facts*."""

    gold_every: int = Field(default=10, ge=2)
    """One gold item in so many tasks, at a place drawn for each rater."""

    gold_flag_below: float = Field(default=0.7, ge=0, le=1)
    """A rater whose share of right gold answers is below this gets the flag ``gold``."""

    attention_every: int = Field(default=15, ge=2)
    """One attention check in so many tasks, at a place drawn for each rater."""

    attention_flag_from: int = Field(default=1, ge=1)
    """A rater who fails so many attention checks gets the flag ``attention``."""

    qualification_share: float = Field(default=0.75, ge=0, le=1)
    """Share of the qualification items that must be right; a rater below it is thanked and gets no pair."""

    fast_flag_below_s: float = Field(default=5.0, ge=0)
    """A rater whose median time on a pair is below this gets the flag ``fast``."""

    side_flag_above: float = Field(default=0.9, ge=0.5, le=1)
    """A rater who prefers the same side in more than this share of ten or more votes gets the flag ``one_side``."""

    require_external: bool = False
    """Whether only raters whom a crowd platform sends, with its id in the link, may join."""

    completion_code: str | None = Field(default=None, max_length=64)
    """Shown to those who are done. ``None``: no code."""

    return_url: str | None = None
    """Where the crowd platform wants raters sent back to, ``https://…``. ``None``: nowhere."""

    consent: str | None = None
    """Markdown text that raters agree to before they begin. ``None``: the text that comes with epigone."""

    instructions: str | None = None
    """Markdown text that explains the task. ``None``: the page's own."""

    @field_validator("return_url")
    @classmethod
    def _a_web_address(cls, url: str | None) -> str | None:
        if url is not None and not url.startswith(("https://", "http://")):
            raise ValueError("must begin with https://")
        return url
