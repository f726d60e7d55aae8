"""Language: keep the dialogues of given languages, with a rule for texts too short to tell and for code."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from itertools import islice
from typing import Annotated, Literal

import eldc
import msgspec
from pydantic import Field, model_validator

from epigone.curate.curated import Notes
from epigone.records import Conversation, Drop
from epigone.specs import Spec

__all__ = ["Detector", "Language", "LanguageSpec", "detect_language", "prose"]

Detector = Literal["eldc", "py3langid"]

_FENCED = re.compile(r"```.*?(?:```|\Z)|`[^`\n]*`", re.S)
# Addresses, markup, and ASCII words with code's characters in them; a Chinese sentence has no spaces to be split at.
_NOT_PROSE = re.compile(r"https?://[!-~]+|[!-~]+@[!-~]+|<[^<>]{1,200}>|[!-~]*[{}_\\=|/#$][!-~]*")
_LETTER = re.compile(r"[^\W\d_]")
_DENSE = re.compile("[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")
_TURN_CHARS = 1_000  # of each turn: a long paste must not outvote the rest
_PROSE_CHARS = 4_000  # of a dialogue: more makes no detector surer
_LOCK = threading.Lock()


class LanguageSpec(Spec):
    """Which languages stay, and what happens where no language can be told."""

    keep: tuple[Annotated[str, Field(pattern="^[a-z]{2}$")], ...] = Field(default=("en",), min_length=1)
    """ISO 639-1 codes of the languages that stay, such as ``en``; ``eldc`` must know them where it is asked."""
    detectors: tuple[Detector, ...] = Field(default=("eldc",), min_length=1)
    """Which detectors must find a language of ``keep``; two of them must both do so."""
    short_letters: int = Field(default=20, ge=0)
    """A dialogue with fewer letters of prose than this is too short to tell; a Chinese, Japanese or Korean character
    counts as three."""
    short: Literal["keep", "drop"] = "keep"
    """What happens to dialogues too short to tell."""
    code: Literal["keep", "drop"] = "keep"
    """What happens to dialogues that hold code and too little prose to tell."""

    @model_validator(mode="after")
    def _can_be_found(self) -> LanguageSpec:
        unknown = sorted(set(self.keep) - set(eldc.LANGUAGES)) if "eldc" in self.detectors else []
        if unknown:
            raise ValueError(f"eldc never finds {', '.join(unknown)}; it knows {', '.join(eldc.LANGUAGES)}")
        if len(set(self.detectors)) < len(self.detectors):
            raise ValueError("a detector is named twice: it would always agree with itself")
        return self


def prose(text: str) -> str:
    """``text`` without code blocks, addresses, markup and words that look like code."""
    return " ".join(_NOT_PROSE.sub(" ", _FENCED.sub(" ", text)).split())


def detect_language(text: str, detector: Detector = "eldc") -> str | None:
    """The ISO 639-1 code of ``text``'s language; ``None`` where the detector cannot tell."""
    if not text:
        return None
    return _detectors()[detector](text)


class Language:
    """The step: one conversation at a time; the language becomes its tag ``language``."""

    def __init__(self, spec: LanguageSpec) -> None:
        self.spec = spec

    def run(self, chunk: Sequence[Conversation], notes: Notes) -> Iterator[Conversation | Drop]:
        for conversation in chunk:
            yield self._judge(conversation, notes)

    def _judge(self, conversation: Conversation, notes: Notes) -> Conversation | Drop:
        text = _beginning(conversation)
        if not _has_letters(text, self.spec.short_letters):
            has_code = any("```" in message.content for message in conversation.messages)
            rule, reason = (self.spec.code, "code_only") if has_code else (self.spec.short, "too_short_to_tell")
            notes.counts[f"language.{reason}"] += 1
            return conversation if rule == "keep" else Drop(id=conversation.id, step="language", reason=reason)
        found = [detect_language(text, detector) for detector in self.spec.detectors]
        if len(found) > 1:
            notes.counts["language.confusion " + " ".join(language or "unknown" for language in found)] += 1
        for detector, language in zip(self.spec.detectors, found, strict=True):
            if language not in self.spec.keep:
                name = language or "unknown"
                detail = f"{name} by {detector}"
                reason = "other_language" if len(set(found)) == 1 else "detectors_disagree"
                return Drop(id=conversation.id, step="language", reason=reason, detail=detail)
        tags = {**conversation.tags, "language": found[0] or "unknown"}
        return msgspec.structs.replace(conversation, tags=tags)


def _beginning(conversation: Conversation) -> str:
    """The dialogue's prose, each turn up to a limit, all turns up to another."""
    pieces: list[str] = []
    size = 0
    for message in conversation.messages:
        pieces.append(prose(message.content[:_TURN_CHARS]))
        size += len(pieces[-1])
        if size >= _PROSE_CHARS:
            break
    return "\n".join(pieces)


def _has_letters(text: str, count: int) -> bool:
    """Whether there are ``count`` letters; a Chinese, Japanese or Korean character says about as much as three."""
    letters = [found.group() for found in islice(_LETTER.finditer(text), count)]
    return sum(3 if _DENSE.match(letter) else 1 for letter in letters) >= count


@cache
def _detectors() -> dict[Detector, Callable[[str], str | None]]:
    """The detectors, loaded when first used: eldc's table takes 0.1 s and 50 MB, py3langid's model about the same."""
    with _LOCK:
        eldc.init()

    def by_eldc(text: str) -> str | None:
        with _LOCK:  # eldc.detect is for one thread at a time
            language = str(eldc.detect(_encodable(text)))
        return None if language == "und" else language

    def by_py3langid(text: str) -> str | None:
        from py3langid import classify  # unpacks its model when imported: only where a recipe asks for it

        return str(classify(_encodable(text))[0])

    return {"eldc": by_eldc, "py3langid": by_py3langid}


def _encodable(text: str) -> str:
    return text.encode("utf-8", "replace").decode("utf-8")
