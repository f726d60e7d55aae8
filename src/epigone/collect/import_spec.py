"""Which dump to read, and how."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import Field, model_validator

from epigone.specs import Spec

__all__ = ["DumpFormat", "ImportSpec"]

DumpFormat = Literal["sharegpt", "hc3", "pairs", "alpaca", "messages"]


class ImportSpec(Spec):
    """One dump of dialogues. In YAML also short: ``{sharegpt: dumps/sharegpt.json}``, ``{hub: org/data}``."""

    format: DumpFormat
    """``sharegpt``: ``{id, conversations: [{from, value}]}``. ``hc3``: ``{question, chatgpt_answers: […]}``. ``pairs``:
    ``{prompt, response}``, also ``input``/``output`` or ``question``/``answer``. ``alpaca``: ``{instruction, input,
    output}``. ``messages``: ``{messages: [{role, content}]}``, as TRL and the OpenAI API write it."""
    path: Path | None = None
    """The file: a JSON array or JSON lines of any size (also ``.gz``), or Parquet."""
    hub: str | None = None
    """Instead of a file: id of a data set on the Hugging Face hub (needs the ``datasets`` package)."""
    split: str = "train"
    """Which split of a hub data set."""
    source: str | None = None
    """Name of the collection in each conversation. ``None``: the format's name."""
    teacher: str = ""
    """The model that wrote the answers, where it is known."""
    terms: str = ""
    """Licence or terms of the dump; shown in the data card."""
    refuse_cut: bool = False
    """A file that ends in the middle of a record: refuse it. If not, its complete records are read and the cut is
    among the drops."""
    limit: int | None = Field(default=None, ge=1)
    """Read so many records at most. ``None``: all."""

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, data: Any) -> Any:
        if isinstance(data, dict) and "format" not in data:
            if "hub" in data:
                return {"format": "messages", **data}
            named = [key for key in data if key in get_args(DumpFormat)]
            if len(named) == 1:
                rest = {key: value for key, value in data.items() if key != named[0]}
                return {"format": named[0], "path": data[named[0]], **rest}
        return data

    @model_validator(mode="after")
    def _one_place(self) -> ImportSpec:
        if (self.path is None) == (self.hub is None):
            raise ValueError("give exactly one of 'path' and 'hub'")
        return self

    @property
    def source_name(self) -> str:
        """``source``, or the format's name."""
        return self.source or self.format
