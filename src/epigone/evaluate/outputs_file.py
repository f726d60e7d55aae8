"""Files of model outputs: JSON lines of ``{id, prompt, response}`` or AlpacaEval's JSON, read and matched.

A sample row of each form that is read::

    {"id": "q7", "prompt": "Name three colours.", "response": "Red, green and blue.", "model": "m", "sample": 0}
    [{"instruction": "Name three colours.", "output": "Red, green and blue.", "generator": "m"}, …]

An item that appears again is a further sample of it. A row without an id gets one made of its prompt.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import msgspec
from msgspec import Struct

from epigone.disk import digest_bytes
from epigone.errors import DataError
from epigone.records import Output, ReplyStatus

__all__ = ["Matched", "Unmatched", "match_outputs", "read_outputs"]


class _Row(Struct, kw_only=True):
    """One row of either form; unknown keys (``dataset``, ``datasplit``) are passed over."""

    id: str | int | None = None
    prompt: str | None = None
    response: str | None = None
    model: str = ""
    sample: int | None = None
    status: ReplyStatus | None = None
    instruction: str | None = None
    output: str | None = None
    generator: str = ""


class Unmatched(Struct, frozen=True, kw_only=True):
    """An item that only one of two files has, or that cannot be told to be the same. ``file`` says whose it is."""

    id: str
    file: str
    reason: str


class Matched(Struct, frozen=True, kw_only=True):
    """Two files' outputs on the same items: ``teacher`` and ``other`` share ids; what did not match is listed."""

    teacher: tuple[Output, ...]
    other: tuple[Output, ...]
    unmatched: tuple[Unmatched, ...]


def read_outputs(path: Path | str) -> list[Output]:
    """All outputs in a file, in its order.

    Raises:
        DataError: the file cannot be read, a row has neither id nor prompt, no response key, or repeats a sample.
    """
    path = Path(path)
    try:
        content = path.read_bytes().removeprefix(b"\xef\xbb\xbf")
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror}", where=str(path), fix="check the path") from error
    if not content.strip():
        raise DataError("holds no outputs", where=str(path), fix="give a file with at least one row")
    outputs: list[Output] = []
    taken: dict[str, set[int]] = {}
    for where, raw in _rows(content, path):
        output = _as_output(raw, where, taken)
        taken.setdefault(output.id, set()).add(output.sample)
        outputs.append(output)
    return outputs


def _rows(content: bytes, path: Path) -> list[tuple[str, bytes]]:
    """(place for error messages, one JSON object) for each row of either form."""
    if content.lstrip()[:1] == b"[":
        try:
            rows = msgspec.json.decode(content, type=list[msgspec.Raw])
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise DataError(f"not a valid JSON list: {error}", where=str(path)) from error
        return [(f"{path}[{index}]", bytes(row)) for index, row in enumerate(rows)]
    return [(f"{path}:{number}", line) for number, line in enumerate(content.split(b"\n"), 1) if line.strip()]


def _as_output(raw: bytes, where: str, taken: dict[str, set[int]]) -> Output:
    try:
        row = msgspec.json.decode(raw, type=_Row)
        keys = msgspec.json.decode(raw, type=dict[str, msgspec.Raw]).keys()
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise DataError(
            f"not an output: {error}", where=where, fix="write rows as {id, prompt, response} or {instruction, output}"
        ) from error
    if not {"response", "output"} & keys:
        raise DataError("has no 'response' (or 'output')", where=where, fix="give null where the model has no answer")
    prompt = row.prompt if row.prompt is not None else row.instruction
    if row.id is None and prompt is None:
        raise DataError("has neither 'id' nor 'prompt' (or 'instruction')", where=where, fix="give one of them")
    identity = str(row.id) if row.id is not None else "prompt-" + digest_bytes(_same(prompt or "").encode())[:12]
    samples = taken.get(identity, set())
    sample = row.sample if row.sample is not None else max(samples, default=-1) + 1
    if sample in samples:
        raise DataError(f"sample {sample} of '{identity}' is there twice", where=where, fix="number the samples apart")
    response = row.response if row.response is not None else row.output
    status: ReplyStatus = row.status or ("ok" if response is not None else "failed")
    return Output(
        id=identity,
        prompt=prompt or "",
        response=response if status in ("ok", "length") else None,
        model=row.model or row.generator,
        sample=sample,
        status=status,
    )


def match_outputs(teacher: Sequence[Output], other: Sequence[Output], *, other_name: str = "other") -> Matched:
    """Bring two files' items together: by id where the prompts agree, else by prompt (white space aside).

    Two files that both number their rows from 0 share ids without sharing prompts: an equal id with two different
    prompts is no match. In the result ``other`` carries the teacher's ids.
    """
    by_id = {output.id: _same(output.prompt) for output in teacher}
    prompts = Counter(by_id.values())
    by_prompt = {prompt: identity for identity, prompt in by_id.items() if prompt and prompts[prompt] == 1}
    matched: list[Output] = []
    unmatched: list[Unmatched] = []
    found: dict[str, str] = {}
    for output in other:
        identity, reason = _partner(output, by_id, by_prompt)
        earlier = output.id if identity is None else found.setdefault(identity, output.id)
        if earlier != output.id:
            identity, reason = None, f"its prompt is also that of '{earlier}'"
        if identity is None:
            unmatched.append(Unmatched(id=output.id, file=other_name, reason=reason))
        else:
            matched.append(msgspec.structs.replace(output, id=identity))
    unmatched += [
        Unmatched(id=identity, file="teacher", reason=f"no such item in {other_name}")
        for identity in by_id
        if identity not in found
    ]
    kept = tuple(output for output in teacher if output.id in found)
    return Matched(teacher=kept, other=tuple(matched), unmatched=tuple(dict.fromkeys(unmatched)))


def _partner(output: Output, by_id: dict[str, str], by_prompt: dict[str, str]) -> tuple[str | None, str]:
    """The teacher's id of the item that ``output`` answers, or None and why not."""
    prompt = _same(output.prompt)
    known = by_id.get(output.id)
    if known is not None and (not known or not prompt or known == prompt):
        return output.id, ""
    if prompt in by_prompt:
        return by_prompt[prompt], ""
    if known is not None:
        return None, "the same id stands for another prompt in the teacher's file"
    return None, "no such item in teacher"


def _same(prompt: str) -> str:
    """What makes two prompts the same: their words, whatever white space stands between them."""
    return " ".join(prompt.split())
