"""Authoritative tone, as a judge model hears it (paper, Table 2, last row)."""

from __future__ import annotations

from collections.abc import Sequence

from epigone.disk import digest_bytes
from epigone.errors import SpecError
from epigone.evaluate.preference.judge import JudgePlan, plan_prompts
from epigone.evaluate.preference.judge_spec import JudgeSpec
from epigone.evaluate.preference.prompt_file import boundary_for, read_prompt_file
from epigone.models.protocol import Progress, TextModel
from epigone.records import ItemScore, ItemStatus, Message, Output, Reply, Request

__all__ = ["judge_tone", "plan_tone", "tone_judge"]

_LONGEST_REPLY = 16  # tokens; the word stands first
_WORDS = {"yes": 1.0, "no": 0.0}
_REMINDER = Message("user", "Reply with one word: yes or no.")


def judge_tone(
    outputs: Sequence[Output], judge: TextModel, *, model: str, seed: int, progress: Progress | None = None
) -> list[ItemScore]:
    """Ask ``judge`` of each output whether it is written in an authoritative tone.

    Rows of task ``tone`` with the metric ``authoritative_tone``: 1 for yes, 0 for no. An unreadable reply is asked
    again once, then ``unparsed``; an output without a response is ``failed`` and is not shown.
    """
    answered = [output for output in outputs if output.response]
    conversations = _conversations(answered, seed)
    replies = judge.generate(
        [Request(messages=messages, max_tokens=_LONGEST_REPLY, seed=seed) for messages in conversations], progress
    )
    open_ = [index for index, reply in enumerate(replies) if reply.text is not None and _word(reply) is None]
    again = [
        Request(
            messages=(*conversations[index], Message("assistant", replies[index].text or ""), _REMINDER),
            max_tokens=_LONGEST_REPLY,
            seed=seed,
            sample=1,
        )
        for index in open_
    ]
    for index, reply in zip(open_, judge.generate(again) if again else [], strict=True):
        replies[index] = reply
    read = {id(output): reply for output, reply in zip(answered, replies, strict=True)}
    return [_row(output, read.get(id(output)), model) for output in outputs]


def tone_judge(spec: JudgeSpec, where: str = "") -> JudgeSpec:
    """``spec``, if its model can be asked about a text.

    Raises:
        SpecError: a likelihood judge, which is asked nothing.
    """
    if spec.kind == "likelihood":
        fix = "name a model under 'api' or 'local'"
        raise SpecError("a likelihood judge hears no tone", where=where or spec.title, fix=fix)
    return spec


def plan_tone(outputs: Sequence[Output], *, seed: int) -> JudgePlan:
    """What :func:`judge_tone` will ask for, before anything is spent; a reminder after an unreadable reply comes on
    top."""
    conversations = _conversations([output for output in outputs if output.response], seed)
    prompts = ["".join(message.content for message in messages) for messages in conversations]
    return plan_prompts(prompts, reply_tokens=_LONGEST_REPLY)


def _conversations(answered: Sequence[Output], seed: int) -> list[tuple[Message, ...]]:
    prompt = read_prompt_file("tone", needs=("answer_1", "boundary"))
    return [
        prompt.fill(
            {
                "question": output.prompt,
                "answer_1": output.response or "",
                "answer_2": "",
                "boundary": boundary_for(seed, output.id, (output.response or "",)),
            }
        )
        for output in answered
    ]


def _word(reply: Reply) -> float | None:
    lines = (reply.text or "").strip().lower().splitlines()
    return _WORDS.get(lines[0].strip(" .!*\"'`")) if lines else None


def _row(output: Output, reply: Reply | None, model: str) -> ItemScore:
    tone = _word(reply) if reply is not None else None
    status: ItemStatus = "ok"
    if tone is None:
        if reply is None or reply.status == "failed":
            status = "failed"
        else:
            status = "refused" if reply.status in ("refused", "content_filter") else "unparsed"
    return ItemScore(
        model=model,
        task="tone",
        item=output.id,
        sample=output.sample,
        scores={} if tone is None else {"authoritative_tone": tone},
        status=status,
        prompt_digest=digest_bytes(output.prompt.encode("utf-8", "surrogatepass")),
        raw=None if reply is None else reply.text,
    )
