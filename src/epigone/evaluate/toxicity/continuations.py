"""How toxic a model's continuations are, as in RealToxicityPrompts (Gehman et al. 2020, sections 3 and 4)."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

from msgspec import Struct

from epigone.disk import digest_file, digest_json, iter_jsonl
from epigone.errors import DataError
from epigone.evaluate.benchmarks.ledger import Ledger
from epigone.evaluate.style.phrases import is_refusal
from epigone.evaluate.toxicity.remote_scorers import OpenAiModeration, Perspective
from epigone.evaluate.toxicity.scorers import Detoxify, Lexicon, ProfanityCheck, ToxicityScorer
from epigone.evaluate.toxicity.spec import ToxicitySpec
from epigone.models.protocol import Progress, TextModel
from epigone.records import Axis, ItemScore, ItemStatus, Message, Reply, Request

__all__ = ["open_scorer", "run_toxicity", "toxicity_axes", "toxicity_scores"]


class _PromptText(Struct, frozen=True):
    text: str


class _PromptRow(Struct, frozen=True):
    """A line of the prompts file; what else it holds (Perspective's scores of the prompt) is passed over."""

    prompt: str | _PromptText
    id: str | int | None = None


class _Prompt(NamedTuple):
    id: str
    text: str


def run_toxicity(
    model: TextModel,
    spec: ToxicitySpec,
    *,
    chat: bool,
    seed: int,
    out: Path | None = None,
    progress: Progress | None = None,
    scorer: ToxicityScorer | None = None,
) -> list[ItemScore]:
    """Let the model continue each prompt ``samples`` times and score what it wrote, without the prompt.

    ``non_toxicity``: 1 − mean toxicity over the samples (the imitation paper's measure, Figure 5).
    ``max_toxicity``: the largest of the samples; its mean over items is *expected maximum toxicity*.
    ``toxic``: 1 if a sample reaches the threshold; its mean is the *toxicity probability*.
    ``refusal``: share of the samples that decline to go on.
    All in [0, 1]. A sample without a score makes ``max_toxicity`` and ``toxic`` missing; none scored, all.

    Args:
        chat: whether a prompt travels as one user message; otherwise the model continues its text.
        out: a folder for ``items.parquet`` and ``evaluation.json``; scored prompts in it are not asked again.
        scorer: one that is already open, instead of ``spec.scorer``.

    Raises:
        DataError: the prompts or the lexicon cannot be read.
        MissingDependency, SpecError, EndpointError: the scorer cannot be opened, or its key is refused.
        SpecError: ``out`` holds results of another model, seed or setting.
    """
    scorer = scorer or open_scorer(spec)
    prompts = {prompt.id: prompt for prompt in _read_prompts(spec, seed)}
    problems: Counter[str] = Counter()

    def score(names: Sequence[str], report: Progress) -> list[ItemScore]:
        mine = [prompts[name] for name in names]
        requests = [
            _request(prompt, spec, chat=chat, seed=seed, sample=sample)
            for prompt in mine
            for sample in range(spec.samples)
        ]
        replies = model.generate(requests, report)
        problems.update(str(reply.error) for reply in replies if reply.error)
        texts = [reply.text if reply.status in ("ok", "length") else None for reply in replies]
        written = iter(scorer.score([text for text in texts if text is not None]))
        toxicities = [None if text is None else next(written) for text in texts]
        rows = []
        for start, prompt in zip(range(0, len(texts), spec.samples), mine, strict=True):
            drawn = slice(start, start + spec.samples)
            scores = toxicity_scores(texts[drawn], toxicities[drawn], spec.threshold)
            rows.append(_row(model.name, spec, prompt, scores, replies[drawn]))
        return rows

    ledger = Ledger(out, {"model": model.name, "chat": chat, "seed": seed}, {spec.name: _record(spec, len(prompts))})
    digests = {name: _digest(spec, prompt) for name, prompt in prompts.items()}
    return ledger.complete(spec.name, digests, score, problems=problems, progress=progress)


def toxicity_scores(
    texts: Sequence[str | None], toxicities: Sequence[float | None], threshold: float
) -> dict[str, float]:
    """The metrics of one prompt from its samples' texts and toxicities; see :func:`run_toxicity`."""
    scored = [toxicity for toxicity in toxicities if toxicity is not None]
    given = [text for text in texts if text is not None]
    scores: dict[str, float] = {}
    if given:
        scores["refusal"] = fmean(is_refusal(text) for text in given)
    if scored:
        scores["non_toxicity"] = 1.0 - fmean(scored)
    if scored and len(scored) == len(toxicities):
        scores["max_toxicity"] = max(scored)
        scores["toxic"] = float(max(scored) >= threshold)
    return scores


def toxicity_axes(spec: ToxicitySpec) -> tuple[Axis, ...]:
    """What :func:`run_toxicity` measures; non-toxicity stands for the others in headlines."""
    axes = (
        ("non_toxicity", "Non-toxicity", True, True),
        ("max_toxicity", "Largest toxicity of a prompt's samples", False, False),
        ("toxic", f"Prompts with a sample of toxicity ≥ {spec.threshold:g}", False, False),
        ("refusal", "Refusals", True, False),
    )
    return tuple(
        Axis(
            name=f"{spec.name}.{metric}",
            label=label,
            kind="safety",
            unit="share",
            higher_is_better=higher,
            headline=headline,
        )
        for metric, label, higher, headline in axes
    )


def open_scorer(spec: ToxicitySpec) -> ToxicityScorer:
    """The scorer that the spec names.

    Raises:
        MissingDependency: its package is not installed. SpecError: its key is not set. DataError: a faulty lexicon.
    """
    if spec.scorer == "lexicon":
        assert spec.lexicon is not None  # the spec's validator saw to it
        return Lexicon(spec.lexicon)
    if spec.scorer == "openai_moderation":
        return OpenAiModeration(key_env=spec.key_env, base_url=spec.base_url)
    if spec.scorer == "perspective":
        return Perspective(key_env=spec.key_env, base_url=spec.base_url)
    return Detoxify() if spec.scorer == "detoxify" else ProfanityCheck()


def _read_prompts(spec: ToxicitySpec, seed: int) -> list[_Prompt]:
    rows = list(iter_jsonl(spec.prompts, _PromptRow))
    if not rows:
        raise DataError("holds no prompts", where=str(spec.prompts))
    named = all(row.id is not None for row in rows) and len({row.id for row in rows}) == len(rows)
    prompts = [
        _Prompt(
            str(row.id) if named else f"{position:05d}", row.prompt if isinstance(row.prompt, str) else row.prompt.text
        )
        for position, row in enumerate(rows)
    ]
    if spec.items is not None and spec.items < len(prompts):
        chosen = sorted(random.Random(seed).sample(range(len(prompts)), spec.items))
        prompts = [prompts[position] for position in chosen]
    return prompts


def _request(prompt: _Prompt, spec: ToxicitySpec, *, chat: bool, seed: int, sample: int) -> Request:
    return Request(
        messages=(Message("user", prompt.text),) if chat else None,
        prompt=None if chat else prompt.text,
        max_tokens=spec.max_tokens,
        temperature=spec.temperature,
        top_p=spec.top_p,
        stop=spec.stop,
        seed=seed,
        sample=sample,
    )


def _digest(spec: ToxicitySpec, prompt: _Prompt) -> str:
    """What was asked, the same for every model."""
    return digest_json([prompt.text, spec.samples, spec.max_tokens, spec.temperature, spec.top_p, spec.stop])


def _record(spec: ToxicitySpec, items: int) -> dict[str, Any]:
    """What was done, for the reader of the results. ``scoring``: rows scored otherwise are scored again."""
    words = "" if spec.lexicon is None else f" {digest_file(spec.lexicon)[:12]}"
    asked = spec.model_dump(mode="json", include={"samples", "max_tokens", "temperature", "top_p", "stop"})
    return {
        "kind": "toxicity",
        "items": items,
        "scoring": f"{spec.scorer}{words}, toxic from {spec.threshold:g}",
    } | asked


def _row(
    model: str, spec: ToxicitySpec, prompt: _Prompt, scores: dict[str, float], replies: Sequence[Reply]
) -> ItemScore:
    texts = [reply.text for reply in replies if reply.text is not None]
    status: ItemStatus = "ok"
    if "non_toxicity" not in scores:
        withheld = all(reply.status in ("refused", "content_filter") for reply in replies)
        status = "refused" if withheld else "failed"
    return ItemScore(
        model=model,
        task=spec.name,
        item=prompt.id,
        scores=scores,
        status=status,
        prompt_digest=_digest(spec, prompt),
        raw=(texts[0] if len(replies) == 1 else json.dumps(texts, ensure_ascii=False)) if texts else None,
    )
