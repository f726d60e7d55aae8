"""The study file's grid, expanded to jobs. Nobody writes a YAML per arm."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from msgspec import Struct

from epigone.disk import digest_json
from epigone.evaluate.preference import JudgeSpec
from epigone.models import ApiSpec
from epigone.study.arms import Arm, expand_arms
from epigone.study.externals import Digests, detach, detach_list, model_external, resolve
from epigone.study.job import MACHINE_KEY, External, Job, make_job
from epigone.study.measured import BASE, STUDENT, TEACHER, TEACHER_AGAIN, Measured
from epigone.study.spec import TEACHER_NAMES, PromptsSpec, StudySpec

__all__ = ["Plan", "make_plan"]

_JOBS = "epigone.study.jobs"
STAGE_VERSIONS = {
    "items": 1,
    "collect": 1,
    "curate": 3,
    "train": 1,
    "benchmark": 2,
    "answers": 1,
    "toxicity": 1,
    "style": 2,
    "likelihood": 1,
    "judge": 1,
    "claims": 1,
    "compare": 5,
}
"""Raised by hand when a stage's code changes what comes out: its jobs, and what depends on them, then run again."""


class Plan(Struct, frozen=True, kw_only=True):
    """All jobs of a study, inputs before those that read them; the last one writes ``results.json``."""

    study: str
    jobs: tuple[Job, ...]
    models: tuple[Measured, ...]

    @property
    def compare(self) -> Job:
        """The job that writes ``results.json``."""
        return self.jobs[-1]

    def of_stage(self, stage: str) -> list[Job]:
        """The jobs of one stage, in plan order."""
        return [job for job in self.jobs if job.stage == stage]


def make_plan(spec: StudySpec, folder: Path, digests: Digests | None = None) -> Plan:
    """Expand a study.

    Args:
        spec: the study.
        folder: where its file lies; relative paths start there.
        digests: remembers what outside files contain.

    Raises:
        SpecError: a file that the study names is not there.
        ModelError: a base or served teacher is not there.
    """
    return _Planner(spec, folder, digests or Digests()).plan()


class _Planner:
    def __init__(self, spec: StudySpec, folder: Path, digests: Digests) -> None:
        self.spec, self.folder, self.digests = spec, folder, digests
        self.jobs: dict[str, Job] = {}
        self.bases = {
            base.name: model_external(folder, base.hf, digests, where=f"bases.{base.name}") for base in spec.bases
        }
        self.teacher_params, self.teacher_files = self._teacher()

    def plan(self) -> Plan:
        items = self._items()
        curated = {name: self._curate(name, self._collect(name, items), items) for name in self.spec.data}
        models = self._models(curated)
        measured: dict[str, Job] = {}
        for model in models:
            measured |= {f"{stage}|{model.name}": job for stage, job in self._measure(model).items()}
        self._relate(models, measured)
        benchmarks, files = detach_list(
            self.spec.evaluate.named_benchmarks, self.folder, self.digests, where="evaluate.benchmarks"
        )
        toxicity: dict[str, object] | None = None
        if self.spec.evaluate.toxicity is not None:
            toxicity, more = detach(self.spec.evaluate.toxicity, self.folder, self.digests, where="evaluate.toxicity")
            files |= more
        described = {f"data|{name}": job for name, job in curated.items()}
        trained = {f"train|{model.name}": self.jobs[model.job] for model in models if model.job is not None}
        self._add(
            make_job(
                "compare",
                f"{_JOBS}.comparing:compare_models",
                title="compare everything",
                version=STAGE_VERSIONS["compare"],
                params={
                    "study": self.spec.name,
                    "seed": self.spec.seed,
                    "models": [model.without_job() for model in models],
                    "compare": self.spec.compare.model_dump(mode="json"),
                    "benchmarks": benchmarks,
                    "toxicity": toxicity,
                    "data": {
                        name: {"kind": data.data_kind, "local_task": data.local_task}
                        for name, data in self.spec.data.items()
                    },
                },
                inputs={**described, **trained, **measured},
                files=files,
                cost=5.0,
            )
        )
        return Plan(study=self.spec.name, jobs=tuple(self.jobs.values()), models=tuple(models))

    def _add(self, job: Job) -> Job:
        return self.jobs.setdefault(job.id, job)

    def _teacher(self) -> tuple[dict[str, object], dict[str, External]]:
        teacher = self.spec.teacher
        if isinstance(teacher.api, ApiSpec):
            return {"teacher": {"model": teacher.api.model, "extra": teacher.api.extra}}, {}
        assert teacher.serve is not None
        external = model_external(self.folder, teacher.serve.hf, self.digests, where="teacher.serve")
        return {"teacher": {"dtype": teacher.serve.dtype, "engine": teacher.serve.engine}}, {"teacher": external}

    def _items(self) -> Job:
        """The texts of everything that will be scored, for keeping them out of the training data."""
        benchmarks, files = detach_list(
            self.spec.evaluate.named_benchmarks, self.folder, self.digests, where="evaluate.benchmarks"
        )
        prompts = {name: self._file(spec.prompts, f"evaluate.{name}.prompts") for name, spec in self._prompts().items()}
        return self._add(
            make_job(
                "items",
                f"{_JOBS}.data:list_evaluation_items",
                title="list what will be scored",
                version=STAGE_VERSIONS["items"],
                params={"benchmarks": benchmarks, "prompts": sorted(prompts), "seed": self.spec.seed},
                files={**files, **{f"prompts.{name}": file for name, file in prompts.items()}},
            )
        )

    def _collect(self, name: str, items: Job) -> Job:
        data = self.spec.data[name]
        where = f"data.{name}"
        ways = {"answer": data.answer, "synthesize": data.synthesize, "summaries": data.summaries}
        asked, files = detach_list(
            {k: v for k, v in ways.items() if v is not None}, self.folder, self.digests, where=where
        )
        dumps, dump_files = detach_list(
            {f"import{i}": dump for i, dump in enumerate(data.imports)}, self.folder, self.digests, where=where
        )
        return self._add(
            make_job(
                "collect",
                f"{_JOBS}.data:collect_data",
                title=f"collect {name}",
                version=STAGE_VERSIONS["collect"],
                params={
                    "source": name,
                    "terms": self.spec.teacher.terms,
                    "asked": asked,
                    "imports": dumps,
                    "seed": self._seed("collect", name),
                    **(self.teacher_params if asked else {}),
                },
                inputs={"items": items} if asked else {},
                files={**files, **dump_files, **(self.teacher_files if asked else {})},
                subject=name,
                asks_teacher=bool(asked),
                cost=30.0,
            )
        )

    def _curate(self, name: str, collected: Job, items: Job) -> Job:
        spec = self.spec.data[name].curate
        recipe, files = detach(spec, self.folder, self.digests, where=f"data.{name}.curate")
        params = {"source": name, "recipe": recipe, "seed": self._seed("curate", name)}
        if spec.tokenizer is not None:
            params["chat_format"] = self.spec.train.chat_format
        if spec.labeller is not None:
            params["budget"] = self._budget()
        return self._add(
            make_job(
                "curate",
                f"{_JOBS}.data:curate_data",
                title=f"curate {name}",
                version=STAGE_VERSIONS["curate"],
                params=params,
                inputs={"collected": collected, "items": items},
                files=files,
                subject=name,
                cost=5.0,
            )
        )

    def _models(self, curated: Mapping[str, Job]) -> list[Measured]:
        first, second = TEACHER_NAMES
        models = [Measured(name=first, kind=TEACHER), Measured(name=second, kind=TEACHER_AGAIN)]
        models += [Measured(name=base.name, kind=BASE, base=base.name) for base in self.spec.bases]
        for arm in expand_arms(self.spec):
            job = self._train(arm, curated[arm.data])
            models.append(Measured(name=arm.name, kind=STUDENT, base=arm.base, arm=arm, job=job.id))
        return models

    def _train(self, arm: Arm, curated: Job) -> Job:
        train, files = detach(self.spec.train, self.folder, self.digests, where="train")
        files = {**files, "base": self.bases[arm.base]}
        if arm.replay:
            assert self.spec.replay_text is not None
            files["replay"] = self._file(self.spec.replay_text, "replay_text")
        return self._add(
            make_job(
                "train",
                f"{_JOBS}.training:train_arm",
                title=f"train {arm.name}",
                version=STAGE_VERSIONS["train"],
                params={
                    "train": train,
                    "amount": arm.amount,
                    "replay": arm.replay,
                    "seed": arm.seed,
                    "order_seed": self._seed("order", arm.data),
                },
                inputs={"data": curated},
                files=files,
                subject=arm.name,
                cost=20.0 * (1.0 if arm.amount == "all" else 0.5),
            )
        )

    def _measure(self, model: Measured) -> dict[str, Job]:
        """Benchmarks, free-text answers and toxicity of one model."""
        evaluate = self.spec.evaluate
        found: dict[str, Job] = {}
        if model.kind != TEACHER_AGAIN:
            for name, benchmark in self.spec.evaluate.named_benchmarks.items():
                params, files = detach(benchmark, self.folder, self.digests, where=f"evaluate.benchmarks.{name}")
                found[f"benchmark.{name}"] = self._ask(
                    "benchmark", "run_benchmark", model, f"{name} of {model.name}", {"benchmark": params}, files
                )
            if evaluate.toxicity is not None:
                params, files = detach(evaluate.toxicity, self.folder, self.digests, where="evaluate.toxicity")
                found["toxicity"] = self._ask(
                    "toxicity", "measure_toxicity", model, f"toxicity of {model.name}", {"toxicity": params}, files
                )
        for name, prompts in self._prompts().items():
            teaching = model.kind in (TEACHER, TEACHER_AGAIN)
            params = {
                "max_tokens": prompts.max_tokens,
                "items": prompts.items,
                "stop": prompts.stop,
                "temperature": prompts.teacher_temperature if teaching else prompts.temperature,
                "sample": 1 if model.kind == TEACHER_AGAIN else 0,
            }
            files = {"prompts": self._file(prompts.prompts, f"evaluate.{name}.prompts")}
            title = f"answers of {model.name} ({name})"
            found[f"answers.{name}"] = self._ask("answers", "answer_prompts", model, title, params, files)
        return found

    def _ask(
        self,
        stage: str,
        function: str,
        model: Measured,
        title: str,
        params: Mapping[str, object],
        files: Mapping[str, External],
    ) -> Job:
        """A job that asks the measured model: a student's folder, a base, or the teacher's endpoint."""
        is_teacher = model.kind in (TEACHER, TEACHER_AGAIN)
        extra_params: dict[str, object] = {"chat": model.kind != BASE, "seed": self.spec.seed, **params}
        extra_files = dict(files)
        inputs = {}
        if is_teacher:
            extra_params |= self.teacher_params
            extra_files |= self.teacher_files
        else:
            if self.spec.evaluate.serve is not None:
                extra_params["serve"] = self.spec.evaluate.serve.model_dump(mode="json")
            if model.job is not None:
                inputs["student"] = self.jobs[model.job]
            else:
                assert model.base is not None
                extra_files["model"] = self.bases[model.base]
        return self._add(
            make_job(
                stage,
                f"{_JOBS}.measuring:{function}",
                title=title,
                version=STAGE_VERSIONS[stage],
                params=extra_params,
                inputs=inputs,
                files=extra_files,
                subject=model.name,
                asks_teacher=is_teacher,
                cost=3.0,
            )
        )

    def _relate(self, models: list[Measured], measured: dict[str, Job]) -> None:
        """Style, preference and claims: a model's answers held against the teacher's, or against known facts."""
        evaluate = self.spec.evaluate
        for model in models:
            if evaluate.style is not None and model.kind != TEACHER:
                pair = {
                    "teacher": measured["answers.style|teacher"],
                    "other": measured[f"answers.style|{model.name}"],
                }
                params, files = self._tone()
                measured[f"style|{model.name}"] = self._relation("style", "style", model, pair, params, files)
            if evaluate.preference is not None and model.kind != TEACHER:
                measured[f"judge|{model.name}"] = self._judge(evaluate.preference.judge, model, measured)
            if evaluate.factuality is not None:
                params, files = detach(evaluate.factuality, self.folder, self.digests, where="evaluate.factuality")
                answers = {"other": measured[f"answers.style|{model.name}"]}
                measured[f"claims|{model.name}"] = self._relation(
                    "claims", "check_claims", model, answers, {"claims": params}, files
                )

    def _judge(self, judge: JudgeSpec, model: Measured, measured: Mapping[str, Job]) -> Job:
        """Votes on a model. A likelihood judge without a cache scores the teacher's answers in a job before."""
        params, files = detach(judge, self.folder, self.digests, where="evaluate.preference.judge")
        stated = {"judge": params, "budget": self._budget()}
        teacher = measured["answers.preference|teacher"]
        pair = {"teacher": teacher, "other": measured[f"answers.preference|{model.name}"]}
        if judge.kind == "likelihood" and not isinstance(judge.model, ApiSpec):
            pair["teacher_scores"] = self._add(
                make_job(
                    "likelihood",
                    f"{_JOBS}.relating:score_teacher",
                    title="likelihood of the teacher's answers",
                    version=STAGE_VERSIONS["likelihood"],
                    params={"seed": self.spec.seed, **stated},
                    inputs={"teacher": teacher},
                    files=files,
                    cost=2.0,
                )
            )
        return self._relation("judge", "judge", model, pair, stated, files)

    def _tone(self) -> tuple[dict[str, object], dict[str, External]]:
        """The judge of the tone where a study has one; else nothing, so that the other studies' jobs stay the same."""
        style = self.spec.evaluate.style
        if style is None or style.tone is None:
            return {}, {}
        judge, files = detach(style.tone, self.folder, self.digests, where="evaluate.style.tone")
        return {"tone": judge, "budget": self._budget()}, files

    def _relation(
        self,
        stage: str,
        function: str,
        model: Measured,
        inputs: Mapping[str, Job],
        params: Mapping[str, object] | None = None,
        files: Mapping[str, External] | None = None,
    ) -> Job:
        return self._add(
            make_job(
                stage,
                f"{_JOBS}.relating:{function}",
                title=f"{stage} of {model.name}",
                version=STAGE_VERSIONS[stage],
                params={"name": model.name, "seed": self.spec.seed, **(params or {})},
                inputs=inputs,
                files=files,
                subject=model.name,
                cost=2.0,
            )
        )

    def _prompts(self) -> dict[str, PromptsSpec]:
        evaluate = self.spec.evaluate
        named = {"style": evaluate.style, "preference": evaluate.preference}
        return {name: prompts for name, prompts in named.items() if prompts is not None}

    def _file(self, path: Path, where: str) -> External:
        found = resolve(self.folder, path, where=where)
        return External(str(found), self.digests.of(found))

    def _budget(self) -> dict[str, object]:
        """What may be spent: it decides whether a job can end, never what comes out."""
        return {MACHINE_KEY: self.spec.budget.model_dump(mode="json")}

    def _seed(self, *label: str) -> int:
        """A seed of its own for each thing that draws, from the study's seed."""
        return int(digest_json([self.spec.seed, *label])[:8], 16)
