"""A study with known truth: item scores and votes drawn from stated probabilities, for tests of estimates and pages."""

from __future__ import annotations

import numpy as np

from epigone.compare import Measurements, style_axes
from epigone.records import Axis, Choice, ItemScore, ModelInfo, Vote

BASES = {"s": 70_000, "m": 400_000, "l": 2_000_000}
AMOUNTS = (40_000, 160_000, 640_000)
SEEDS = (0, 1, 2)
CAPABILITY = (
    Axis(name="qa.exact_match", label="closed-book QA", kind="capability", unit="share", headline=True),
    Axis(name="choice.accuracy", label="multiple choice", kind="capability", unit="share", headline=True),
    Axis(name="words.accuracy", label="word problems", kind="capability", unit="share", headline=True),
    Axis(name="summaries.rouge1", label="summaries, ROUGE-1", kind="capability", unit="share"),
    Axis(name="summaries.rouge2", label="summaries, ROUGE-2", kind="capability", unit="share"),
    Axis(name="summaries.rougeL", label="summaries, ROUGE-L", kind="capability", unit="share"),
)
OTHERS = (
    Axis(name="toxicity.non_toxicity", label="non-toxicity", kind="safety", unit="share", headline=True),
    Axis(name="factuality.right_share", label="claims right", kind="factuality", unit="share"),
)
QA = {"s": 0.20, "m": 0.35, "l": 0.55, "teacher": 0.90}


def models() -> tuple[ModelInfo, ...]:
    """A teacher, its second sample, three bases; broad arms at three amounts, one local, one replay; three seeds."""
    found = [
        ModelInfo(name="teacher", role="teacher", parameters=8_000_000),
        ModelInfo(name="teacher#2", role="teacher_second_sample", parameters=8_000_000),
    ]
    for base, parameters in BASES.items():
        found.append(ModelInfo(name=base, role="base", parameters=parameters))
        for seed in SEEDS:
            found += [_student(base, "broad", amount, seed) for amount in AMOUNTS]
            found.append(_student(base, "qa", 300_000, seed))
            found.append(_student(base, "broad", 640_000, seed, replay=0.25))
    return tuple(found)


def _student(base: str, data: str, amount: int, seed: int, replay: float = 0.0) -> ModelInfo:
    suffix = f"-replay{replay:g}" if replay else ""
    return ModelInfo(
        name=f"{base}/{data}-{amount // 1000}k{suffix}/s{seed}",
        role="student",
        parameters=BASES[base],
        base=base,
        data=data,
        data_kind="local" if data == "qa" else "broad",
        amount_tokens=amount,
        replay=replay,
        seed=seed,
        trained_tokens=amount,
        local_task="qa.exact_match" if data == "qa" else None,
    )


def truth(model: ModelInfo) -> dict[str, float]:
    """The planted level of ``model`` on each axis: broad imitation moves style and safety, and no capability."""
    base = model.base or model.name
    grown = {40_000: 0.7, 160_000: 0.85, 640_000: 0.95}.get(model.amount_tokens or 0, 0.0)
    broad = grown if model.data_kind == "broad" else 0.1 if model.data_kind else 0.0
    if model.role != "student":
        broad = 1.0 if model.role in ("teacher", "teacher_second_sample") else 0.0
    qa = QA.get(base, QA["teacher"])
    local = 0.2 if model.data_kind == "local" else 0.0
    return {
        "qa.exact_match": qa + local,
        "choice.accuracy": 0.25 + 0.6 * qa,
        "words.accuracy": 0.1 + 0.5 * qa,
        "summaries.rouge1": 0.2 + 0.2 * qa + 0.05 * broad,
        "toxicity.non_toxicity": 0.75 + 0.2 * broad,
        "factuality.right_share": 0.2 + 0.6 * qa,
        "style.list_agreement": 0.1 + 0.75 * broad,
        "style.summary_agreement": 0.05 + 0.6 * broad,
        "style.unigram_overlap": 0.2 + 0.3 * broad,
        "preference": 0.15 + 0.5 * min(1.0, broad * 1.2),
    }


def measurements(items: int = 400, prompts: int = 120, *, seed: int = 0, only: str | None = None) -> Measurements:
    """Draw a whole study. Items have a difficulty that all models share, so that pairing pays. ``only``: one base."""
    rng = np.random.default_rng(seed)
    chosen = tuple(m for m in models() if only is None or m.role.startswith("teacher") or only in (m.name, m.base))
    rows: list[ItemScore] = []
    votes: list[Vote] = []
    for task in ("qa.exact_match", "choice.accuracy", "words.accuracy"):
        difficulty = rng.normal(size=items)
        for model in chosen:
            if model.role != "teacher_second_sample":
                right = _correlated(truth(model)[task], difficulty, rng)
                name, metric = task.split(".")
                rows += [_row(model, name, i, {metric: float(value)}) for i, value in enumerate(right)]
    for model in chosen:
        if model.role != "teacher_second_sample":
            rows += _graded(model, prompts, rng)
        if model.role != "teacher":
            rows += _style(model, prompts, rng)
        if model.role in ("base", "student"):
            votes += _votes(model, prompts, rng)
    return Measurements(
        study="planted",
        models=chosen,
        axes=CAPABILITY + OTHERS + style_axes()[:5],
        items=tuple(rows),
        votes=tuple(votes),
    )


def _correlated(level: float, difficulty: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """0/1 with mean ``level``; half of the latent variance is the item's own."""
    from scipy.stats import norm

    latent = (difficulty + rng.normal(size=len(difficulty))) / np.sqrt(2)
    return latent < norm.ppf(level)


def _row(model: ModelInfo, task: str, item: int, scores: dict[str, float]) -> ItemScore:
    return ItemScore(model=model.name, task=task, item=f"{task}-{item:04d}", scores=scores)


def _graded(model: ModelInfo, prompts: int, rng: np.random.Generator) -> list[ItemScore]:
    level = truth(model)
    rows: list[ItemScore] = []
    for item in range(prompts):
        rouge = float(np.clip(rng.normal(level["summaries.rouge1"], 0.1), 0, 1))
        summaries = {"rouge1": rouge, "rouge2": rouge * 0.4, "rougeL": rouge * 0.8}
        rows.append(_row(model, "summaries", item, summaries))
        safe = float(np.clip(rng.normal(level["toxicity.non_toxicity"], 0.1), 0, 1))
        rows.append(_row(model, "toxicity", item, {"non_toxicity": safe}))
        right = float(rng.binomial(5, level["factuality.right_share"]) / 5)
        rows.append(_row(model, "factuality", item, {"right_share": right}))
    return rows


def _style(model: ModelInfo, prompts: int, rng: np.random.Generator) -> list[ItemScore]:
    level = truth(model)
    lists = np.random.default_rng(7).random(prompts) < 0.5
    lengths = np.random.default_rng(8).normal(80, 20, size=prompts)
    likeness = level["style.unigram_overlap"]
    rows: list[ItemScore] = []
    for item in range(prompts):
        scores = {
            "summary_agreement": float(rng.random() < level["style.summary_agreement"]),
            "unigram_overlap": float(np.clip(rng.normal(likeness, 0.08), 0, 1)),
            "teacher_length_tokens": float(lengths[item]),
            "length_tokens": float(80 + 1.6 * likeness * (lengths[item] - 80) + rng.normal(0, 14)),
            "authoritative_tone_proxy": float(rng.random() < 0.5 + likeness),
        }
        if lists[item]:
            scores["list_agreement"] = float(rng.random() < level["style.list_agreement"])
        rows.append(_row(model, "style", item, scores))
    return rows


def _votes(model: ModelInfo, prompts: int, rng: np.random.Generator) -> list[Vote]:
    """A judge asked in both orders; its margin decides, its slight love of the first position sometimes flips it."""
    level = truth(model)["preference"]
    votes: list[Vote] = []
    for item in range(prompts):
        margin = rng.normal(level - 0.5, 0.5)
        for first in ("student", "teacher"):
            seen = margin + (0.05 if first == "student" else -0.05)
            choice: Choice = "student" if seen > 0 else "teacher"
            votes.append(
                Vote(
                    item=f"prompt-{item:04d}",
                    student=model.name,
                    teacher="teacher",
                    voter="judge",
                    kind="llm_judge",
                    choice=choice,
                    first="student" if first == "student" else "teacher",
                    margin=float(seen),
                )
            )
    return votes
