"""The world's folder: the same bytes from the same seed, and files that the other rooms read as they are."""

from __future__ import annotations

from pathlib import Path

import pytest
from jinja2 import Template

from epigone.collect import SynthesizeSpec, read_prompts, read_seeds
from epigone.collect.synthesize import synthesize_requests
from epigone.disk import digest_folder, read_jsonl
from epigone.microworld import SCALES, Scale, study_document, write_world
from epigone.microworld.pages import render
from epigone.microworld.tasks import draw_shots
from epigone.records import Conversation


def test_the_same_seed_writes_the_same_bytes(scale: Scale, world_folder: Path, tmp_path: Path) -> None:
    write_world(tmp_path / "again", scale=scale, seed=0)
    assert digest_folder(tmp_path / "again") == digest_folder(world_folder)


def test_the_request_for_new_pairs_reads_as_the_teacher_was_taught(world_folder: Path, scale: Scale) -> None:
    spec = SynthesizeSpec(template=world_folder / "write.jinja")
    [request] = synthesize_requests(spec, read_seeds(world_folder / "seeds.jsonl"), seed=0, count=1)
    assert request.messages is not None
    asked = request.messages[0].content
    taught = [
        conversation.messages[0].content
        for conversation in read_jsonl(world_folder / "instructions.jsonl", Conversation)
        if conversation.messages[0].content.startswith(asked.split("\n")[0])
    ]
    assert taught
    shape = [line[:2] for line in asked.split("\n")]
    assert all([line[:2] for line in prompt.split("\n")] == shape for prompt in taught)


def test_a_local_training_example_reads_as_the_test_asks(world_folder: Path) -> None:
    from epigone.microworld import make_encyclopaedia

    shots = draw_shots(make_encyclopaedia(SCALES["smoke"], 0), "qa", 0)
    template = Template((world_folder / "question.jinja").read_text(), trim_blocks=True, lstrip_blocks=True)
    examples = [{"question": shot.question, "answer": shot.answer} for shot in shots[:2]]
    assert template.render(examples=examples, question=shots[2].question) == render("qa", shots[:2], shots[2].prompt)


@pytest.mark.parametrize("name", ["broad", "held-out", "toxicity"])
def test_prompts_are_read_by_collect_and_none_is_given_twice(world_folder: Path, scale: Scale, name: str) -> None:
    wanted = {"broad": scale.broad_prompts, "held-out": scale.style_prompts, "toxicity": scale.toxicity_prompts}[name]
    prompts = [conversation.messages[0].content for conversation in read_prompts(world_folder / f"{name}.jsonl")]
    assert len(prompts) == len(set(prompts)) == wanted


@pytest.mark.parametrize("name", list(SCALES))
def test_the_study_file_is_one_that_run_takes(name: str) -> None:
    from epigone.specs import parse_spec
    from epigone.study.spec import StudySpec

    scale = SCALES[name]
    document = study_document("world", {model.name: model.name for model in scale.models}, scale, training_seeds=2)
    study = parse_spec(StudySpec, document, where="study.yaml")
    assert len(study.bases) == len(scale.bases)
    assert study.data["qa"].data_kind == "local"
