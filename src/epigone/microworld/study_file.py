"""The study file of the demo: an ordinary one, that names the world's files and models."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath

from epigone.microworld.scales import Scale
from epigone.microworld.tasks import TASKS

__all__ = ["study_document"]

TERMS = "made by the demo itself; no licence is needed"
ANSWER_TOKENS = 130


def study_name(scale: Scale) -> str:
    """What the study of a scale is called."""
    return f"microworld-{scale.name}"


def study_document(
    world: str, models: Mapping[str, str], scale: Scale, *, seed: int = 0, training_seeds: int = 1
) -> dict[str, object]:
    """What ``epigone run`` takes, as plain data.

    Args:
        world: the world's folder, relative to the study file.
        models: folder of each of the scale's models by name, relative to the study file.
        training_seeds: seeds of every arm.
    """
    files = PurePosixPath(world)
    teacher = models[scale.teacher.name]
    seeds = list(range(training_seeds))
    counted = {"tokenizer": {"hf": models[scale.bases[0].name], "name": "the world's tokenizer"}}
    steps = ["clean", "deduplicate", "decontaminate", {"categories": {"labels": str(files / "broad-labels.jsonl")}}]
    prompts = {"prompts": str(files / "held-out.jsonl"), "max_tokens": ANSWER_TOKENS}
    return {
        "name": study_name(scale),
        "seed": seed,
        "teacher": {
            "name": "the embedded world's teacher",
            "serve": {"hf": teacher, "dtype": "float64"},
            "terms": TERMS,
        },
        "bases": [{"name": base.name.removeprefix("base-").upper(), "hf": models[base.name]} for base in scale.bases],
        "data": {
            "broad": {
                "answer": {"prompts": str(files / "broad.jsonl"), "max_tokens": ANSWER_TOKENS},
                "curate": counted | {"steps": steps},
            },
            "qa": {"local_task": "qa.exact_match", "synthesize": _synthesize(files, scale), "curate": counted},
        },
        "arms": [
            {"data": ["broad"], "amounts": list(scale.broad_amounts), "seeds": seeds},
            {"data": ["broad"], "amounts": [scale.replay_amount], "replay": [scale.replay_share], "seeds": seeds},
            {"data": ["qa"], "amounts": ["all"], "seeds": seeds},
        ],
        "replay_text": str(files / "replay.jsonl"),
        "train": dict(scale.training),
        "evaluate": {
            "benchmarks": [{"task": str(files / "tasks" / f"{task}.yaml")} for task in TASKS],
            "style": prompts,
            "preference": prompts | {"judge": {"likelihood": {"hf": teacher, "dtype": "float32"}}},
            "toxicity": {
                "prompts": str(files / "toxicity.jsonl"),
                "scorer": "lexicon",
                "lexicon": str(files / "insults.txt"),
            },
            "factuality": {"facts": str(files / "facts.jsonl"), "patterns": str(files / "patterns.yaml")},
        },
    }


def _synthesize(files: PurePosixPath, scale: Scale) -> dict[str, object]:
    return {
        "seeds": str(files / "seeds.jsonl"),
        "shots": 5,
        "temperature": 1.0,
        "target": scale.local_pairs,
        "requests_per_round": scale.requests_per_round,
        "max_tokens": ANSWER_TOKENS,
        "exclude_phrases": str(files / "held-out-names.txt"),
        "template": str(files / "write.jinja"),
        "training_template": str(files / "question.jinja"),
        "training_shots": 3,
    }
