"""Which prompts people see: those of a file, and by choice the paper's filters (English, no coding, decontaminated)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from epigone.records import Conversation, Drop, Message, Output

__all__ = ["asks_for_code", "choose_prompts"]

_CODE = re.compile(r"```|#include\b|\bdef \w+\(|</\w+>|\b(?:var|let|const) \w+ =|;\s*\n|\bSELECT\b.+\bFROM\b")
_LANGUAGES = re.compile(
    r"\b(?:python|java(?:script)?|typescript|c\+\+|c#|golang|rust lang|php|perl|matlab|sql|html|css|regex(?:es)?|"
    r"regular expressions?|bash|powershell|leetcode|numpy|pandas|pytorch|node\.?js|react(?:js)?|django|latex)(?!\w)",
    re.IGNORECASE,
)
_MAKING = re.compile(
    r"\b(?:writ|implement|debug|fix|refactor|optimi[sz]|compil|creat|generat|explain|run|port|convert)\w*\b"
    r"[^.?!\n]{0,60}\b(?:code|function|program|script|algorithm|api|unit tests?|class|query|snippet|bug|compiler)\b",
    re.IGNORECASE,
)
_BLEU_ABOVE = 20.0  # percent: the paper's footnote 2


def asks_for_code(prompt: str) -> bool:
    """Whether a prompt holds code, names a programming language, or asks for a program. A rule of thumb: what it drops
    is listed, and a file of prompts overrules it."""
    return any(rule.search(prompt) is not None for rule in (_CODE, _LANGUAGES, _MAKING))


def choose_prompts(
    outputs: Sequence[Output],
    *,
    prompts: Path | None = None,
    english: bool = False,
    no_coding: bool = False,
    training: Sequence[Path] = (),
) -> tuple[set[str], list[Drop]]:
    """Ids of the outputs whose prompts stay, and every other one with its reason.

    Args:
        prompts: keep only what is in this file, by id or by text, white space aside.
        training: ``messages`` files; a prompt with BLEU > 20 % to any of their queries goes.
    """
    texts = {output.id: output.prompt for output in outputs}
    drops: list[Drop] = []
    if prompts is not None:
        drops += _not_in(prompts, texts)
    if no_coding:
        drops += [_drop(item, "coding") for item, text in texts.items() if asks_for_code(text)]
    if english:
        drops += _not_english(texts)
    if training:
        drops += _contaminated(texts, training)
    first = {drop.id: drop for drop in reversed(drops)}
    return set(texts) - set(first), [first[item] for item in texts if item in first]


def _not_in(prompts: Path, texts: dict[str, str]) -> Iterator[Drop]:
    from epigone.collect import read_prompts

    asked = {prompt.id: " ".join(prompt.messages[-1].content.split()) for prompt in read_prompts(prompts)}
    wanted = set(asked.values())
    for item, text in texts.items():
        same = " ".join(text.split())
        if same not in wanted and not (item in asked and not same):
            yield _drop(item, "not_listed", f"not in {prompts.name}")


def _not_english(texts: dict[str, str]) -> list[Drop]:
    from epigone.curate import CurateSpec, curate
    from epigone.specs import parse_spec

    spec = parse_spec(CurateSpec, {"steps": [{"language": {"keep": ["en"]}}]}, where="--english")
    asked = [Conversation(id=item, messages=(Message("user", text),)) for item, text in texts.items()]
    return [_drop(drop.id, "not_english", drop.detail) for drop in curate(spec, asked, seed=0).drops]


def _contaminated(texts: dict[str, str], training: Sequence[Path]) -> Iterator[Drop]:
    from epigone.curate import DecontaminateSpec, EvaluationText, find_matches, read_conversations

    known = [row for row in read_conversations(training) if isinstance(row, Conversation)]
    asked = [EvaluationText(benchmark="prompts", item=item, prompt=text) for item, text in texts.items()]
    spec = DecontaminateSpec(measure="bleu", bleu_above=_BLEU_ABOVE, answers=False)
    for match in find_matches(asked, known, spec):
        yield _drop(match.item, "in_training", f"BLEU {match.value:.0f} % to {match.conversation}")


def _drop(item: str, reason: str, detail: str = "") -> Drop:
    return Drop(id=item, step="choose_prompts", reason=reason, detail=detail)
