"""Which dump to read, and how."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import Field, model_validator

from epigone.records import Role
from epigone.specs import Spec

__all__ = ["DumpFormat", "ImportSpec"]

DumpFormat = Literal["sharegpt", "hc3", "pairs", "alpaca", "messages"]


class ImportSpec(Spec):
    """One dump of dialogues. In YAML also short: ``{sharegpt: dumps/x.json}`` for ``{format: sharegpt, path:
    dumps/x.json}``, and ``{hub: org/name}`` for ``{format: messages, hub: org/name}``; further keys stand beside it."""

    format: DumpFormat
    """How the records are written. ``sharegpt``: ``conversations`` of ``from`` and ``value``. ``hc3``: ``question`` and
    ``chatgpt_answers``. ``pairs``: keys as ``prompt_key`` and ``response_key`` say. ``alpaca``: ``instruction``,
    ``input``, ``output``. ``messages``: ``messages`` of ``role`` and ``content``, as TRL and the OpenAI API have it."""
    path: Path | None = None
    """The file: a JSON array or JSON lines of any size (either also gzipped: ``.gz``), or ``.parquet``."""
    hub: str | None = None
    """Instead of a file: id of a data set on the Hugging Face hub, or a folder that ``datasets`` can load."""
    config: str | None = None
    """Configuration of the hub data set. ``None``: its default."""
    split: str = "train"
    """Split of the hub data set."""
    source: str | None = None
    """Name of the collection; it begins each id. ``None``: the format's name."""
    teacher: str = ""
    """Who wrote the assistant turns, as far as is known; shown in the data card."""
    terms: str = ""
    """Licence or terms of use of the dump; shown in the data card."""
    html: Literal["text", "keep"] = "text"
    """``text``: a turn that is a rendered page fragment (ShareGPT's early scrapes) becomes plain text with its code
    blocks kept; HTML that is *talked about* or stands in code is left alone. ``keep``: no turn is touched."""
    roles: dict[str, Role] = {}
    """Further speaker names, or other readings of known ones: ``{bing: assistant}``. Known: human, user, gpt, chatgpt,
    assistant, system, and prompter. A dialogue with any other speaker is dropped as ``unknown_role``: the answers of
    another assistant are not this teacher's."""
    prompt_key: str | None = None
    """For ``pairs``: key of the user's text. ``None``: ``prompt``, ``input`` or ``question``."""
    response_key: str | None = None
    """For ``pairs``: key of the answer. ``None``: ``response``, ``output``, ``completion`` or ``answer``."""
    refuse_cut: bool = False
    """Whether a file that ends in the middle of a record is an error. If not, its complete records are read, and a last
    drop ``file_cut`` says where it was cut."""
    limit: int | None = Field(default=None, ge=1)
    """Records read at most. ``None``: all."""

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, data: Any) -> Any:
        if not isinstance(data, dict) or "format" in data:
            return data
        named = [key for key in get_args(DumpFormat) if key in data]
        if not named and "hub" in data:
            return {"format": "messages"} | data
        if len(named) != 1:
            return data
        return {"format": named[0], "path": data[named[0]]} | {k: v for k, v in data.items() if k != named[0]}

    @model_validator(mode="after")
    def _one_place(self) -> ImportSpec:
        if (self.path is None) == (self.hub is None):
            raise ValueError("give exactly one of 'path' and 'hub'")
        return self

    @property
    def source_name(self) -> str:
        """``source``, or the format's name."""
        return self.source or self.format
