"""The study file: who teaches, who learns, from what, how much, and what is measured."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from epigone.collect import AnswerSpec, ImportSpec, SummariesSpec, SynthesizeSpec
from epigone.compare import CompareSpec
from epigone.curate import Amount, CurateSpec
from epigone.disk import read_yaml
from epigone.evaluate.benchmarks import BenchmarkSpec
from epigone.evaluate.factuality import ClaimsSpec
from epigone.evaluate.preference import JudgeSpec
from epigone.evaluate.toxicity import ToxicitySpec
from epigone.models import ApiSpec, BudgetSpec, ServerSpec, ServeSpec
from epigone.specs import Spec, parse_spec
from epigone.train import TrainSpec

__all__ = [
    "Amount",
    "ArmsSpec",
    "BaseSpec",
    "DataSpec",
    "EvaluateSpec",
    "PreferenceSpec",
    "PromptsSpec",
    "ResourcesSpec",
    "StudySpec",
    "StylePromptsSpec",
    "TeacherSpec",
    "read_study",
]


TEACHER_NAMES = ("teacher", "teacher#2")
"""What results call the teacher and its second sample; no base may have such a name."""


def _task_alone(value: object) -> object:
    return {"task": value} if isinstance(value, str) else value


def _one_grid(value: object) -> object:
    return [value] if isinstance(value, dict) else value


class TeacherSpec(Spec):
    """Who is imitated: exactly one of ``api`` and ``serve``."""

    name: str | None = None
    """What pages call it. ``None``: the endpoint's model name, or the folder's."""

    api: ApiSpec | None = None
    """A provider's endpoint."""

    serve: ServeSpec | None = None
    """A local model, asked through the same client as a provider's."""

    terms: str = ""
    """Under which licence or terms its outputs are used. Shown in every data card; undeclared terms give a warning."""

    @model_validator(mode="after")
    def _one_way(self) -> TeacherSpec:
        if (self.api is None) == (self.serve is None):
            raise ValueError("give exactly one of 'api' and 'serve'")
        return self


class BaseSpec(Spec):
    """A pre-trained model that students start from."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    """Short; names of students begin with it."""

    hf: str
    """Folder or hub id of a causal language model."""


class DataSpec(Spec):
    """One collection of imitation data: imported, asked for, or both, then curated."""

    kind: Literal["broad", "local"] | None = None
    """``local``: one task; ``broad``: all behaviours. ``None``: local if it is only synthesized, else broad."""

    local_task: str | None = None
    """For local data: the axis of its own task, for instance ``nq.exact_match``."""

    imports: Annotated[tuple[ImportSpec, ...], Field(alias="import")] = ()
    """Dumps to read."""

    answer: AnswerSpec | None = None
    """Prompts for the teacher to answer."""

    synthesize: SynthesizeSpec | None = None
    """A task for the teacher to write examples of."""

    summaries: SummariesSpec | None = None
    """Passages for the teacher to summarise in a shown style."""

    curate: CurateSpec = CurateSpec()
    """What happens before training. The default removes duplicate queries and what matches evaluation items."""

    @model_validator(mode="after")
    def _arms_hold_the_amounts(self) -> DataSpec:
        if any(step.name == "amounts" for step in self.curate.steps):
            raise ValueError("a study's amounts and replay stand under 'arms': take the step 'amounts' out of 'curate'")
        return self

    @model_validator(mode="after")
    def _something(self) -> DataSpec:
        if not (self.imports or self.answer or self.synthesize or self.summaries):
            raise ValueError(
                "says nothing about where the data comes from: give import, answer, synthesize or summaries"
            )
        return self

    @property
    def data_kind(self) -> Literal["broad", "local"]:
        """``kind``, or what follows from how the data is made."""
        if self.kind is not None:
            return self.kind
        return "broad" if self.imports or self.answer else "local"


class ArmsSpec(Spec):
    """A grid of students: every base × data × amount × replay × seed."""

    data: Annotated[tuple[str, ...], Field(min_length=1)]
    """Names from the study's ``data``."""

    amounts: Annotated[tuple[Amount, ...], Field(min_length=1)] = ("all",)
    """Training tokens of imitation data, counted by each student's own tokenizer; a smaller amount is a prefix of a
    larger. ``all``: everything there is."""

    replay: Annotated[tuple[Annotated[float, Field(ge=0, lt=1)], ...], Field(min_length=1)] = (0.0,)
    """Shares of the training tokens that are pre-training text (paper, section 4.3, names it as an open problem)."""

    seeds: Annotated[tuple[int, ...], Field(min_length=1)] = (0,)
    """Training seeds; one seed leaves the seed variance unknown."""

    bases: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    """Names of bases. ``None``: all."""


class PromptsSpec(Spec):
    """Prompts that every model answers in free text."""

    prompts: Path
    """JSONL of ``{id, prompt}`` or ``messages`` records."""

    max_tokens: Annotated[int, Field(gt=0)] = 512
    """Longest answer, in tokens; the same for teacher, base and student."""

    temperature: Annotated[float, Field(ge=0)] = 0.0
    """Of students and bases."""

    teacher_temperature: Annotated[float, Field(ge=0)] = 0.7
    """Of the teacher's two samples; at 0 the second sample equals the first and the ceiling is trivial."""

    items: Annotated[int, Field(gt=0)] | None = None
    """Use only so many, drawn by seed. ``None``: all."""

    stop: tuple[str, ...] = ()
    """Strings that end an answer. Bases need one where nothing else ends their turn; the same for every model."""


class StylePromptsSpec(PromptsSpec):
    """Similarity to the teacher in manner."""

    tone: JudgeSpec | None = None
    """Who says whether an answer's tone is authoritative (Table 2's last row). ``None``: nobody; there is only the
    proxy, which counts words. Under ``api`` or ``local``: a likelihood judge hears no tone."""

    @field_validator("tone")
    @classmethod
    def _can_be_asked(cls, judge: JudgeSpec | None) -> JudgeSpec | None:
        if judge is not None and judge.kind == "likelihood":
            raise ValueError("a likelihood judge hears no tone: name a model under 'api' or 'local'")
        return judge


class PreferenceSpec(PromptsSpec):
    """Blind pairwise preference, student against teacher, on held-out prompts."""

    judge: JudgeSpec
    """Who judges."""


class EvaluateSpec(Spec):
    """What is measured, on teacher, bases and students alike."""

    benchmarks: tuple[Annotated[BenchmarkSpec, BeforeValidator(_task_alone)], ...] = ()
    """Built-in names, lm-eval task names, or paths of task files."""

    style: StylePromptsSpec | None = None
    """Similarity to the teacher, with a second teacher sample as the ceiling."""

    preference: PreferenceSpec | None = None
    """Who is preferred."""

    toxicity: ToxicitySpec | None = None
    """Continuations scored for toxicity."""

    factuality: ClaimsSpec | None = None
    """Claims in the free-text answers to the style prompts, checked against known facts."""

    serve: ServerSpec | None = None
    """Measure students and bases through a server of this engine, started for each job: ``serve: vllm``, or ``{engine,
    dtype, arguments}``. ``None``: the local engine, in the job's own process."""

    @model_validator(mode="after")
    def _benchmarks_can_be_told_apart(self) -> EvaluateSpec:
        if len(self.named_benchmarks) < len(self.benchmarks):
            names = ", ".join(self.named_benchmarks)
            raise ValueError(f"two benchmarks are called the same ({names}): give one of them a 'name'")
        return self

    @property
    def named_benchmarks(self) -> dict[str, BenchmarkSpec]:
        """By their own name, else by that of the task or its file."""
        return {
            spec.name or (Path(spec.task).stem if spec.task.endswith((".yaml", ".yml")) else spec.task): spec
            for spec in self.benchmarks
        }


class ResourcesSpec(Spec):
    """What this machine gives to the study. Never part of a result's identity."""

    jobs: Annotated[int, Field(ge=1)] | None = None
    """Jobs at a time. ``None``: one a GPU; on a CPU one a core for bases under 50M parameters, else one."""

    threads: Annotated[int, Field(ge=1)] | None = None
    """Threads a job. ``None``: the cores divided by ``jobs``. A result may depend on it in its last digits."""

    ray: str | None = None
    """Address of a Ray cluster. ``None``: processes of this machine."""


class StudySpec(Spec):
    """A study, as written in ``study.yaml``. Paths are relative to that file."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    """Names the run folder."""

    seed: int = 0
    """Of everything that is drawn, except what an arm's own seed governs."""

    teacher: TeacherSpec
    """Who is imitated."""

    bases: Annotated[tuple[BaseSpec, ...], Field(min_length=1)]
    """From small to large."""

    data: Annotated[dict[Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")], DataSpec], Field(min_length=1)]
    """Imitation data by name."""

    arms: Annotated[tuple[ArmsSpec, ...], Field(min_length=1), BeforeValidator(_one_grid)]
    """A grid of students, or a list of grids."""

    replay_text: Path | None = None
    """Pre-training text for replay: JSONL of ``{text}``."""

    train: TrainSpec = TrainSpec()
    """How students are trained."""

    evaluate: EvaluateSpec
    """What is measured."""

    compare: CompareSpec = CompareSpec()
    """Resamples, confidence, and the margins of the six findings, fixed before the run."""

    budget: BudgetSpec = BudgetSpec()
    """What may be spent on API models."""

    resources: ResourcesSpec = ResourcesSpec()
    """What this machine gives."""

    @model_validator(mode="after")
    def _names_exist(self) -> StudySpec:
        names = [base.name for base in self.bases]
        if len(set(names)) < len(names):
            raise ValueError(f"two bases have the same name: {', '.join(names)}")
        if taken := set(names) & set(TEACHER_NAMES):
            raise ValueError(f"no base may be named '{taken.pop()}': results call the teacher so")
        for arms in self.arms:
            for data in arms.data:
                if data not in self.data:
                    raise ValueError(f"arms name the data '{data}', which is not under 'data': {', '.join(self.data)}")
            for base in arms.bases or ():
                if base not in names:
                    raise ValueError(f"arms name the base '{base}', which is not under 'bases': {', '.join(names)}")
            if any(arms.replay) and self.replay_text is None:
                raise ValueError("arms ask for replay, but 'replay_text' names no pre-training text")
        if self.evaluate.factuality is not None and self.evaluate.style is None:
            raise ValueError("evaluate.factuality checks the answers to evaluate.style.prompts, which is missing")
        return self

    @model_validator(mode="after")
    def _a_budget_in_dollars_counts_everybody(self) -> StudySpec:
        unpriced = [where for where, api in self.endpoints.items() if api.price is None]
        if self.budget.usd is not None and unpriced:
            raise ValueError(
                f"budget.usd cannot hold {' and '.join(unpriced)}: no 'price' is stated there (zeros, if it costs"
                " nothing); a limit in tokens, budget.tokens, needs none"
            )
        return self

    @property
    def endpoints(self) -> dict[str, ApiSpec]:
        """Everybody who is asked over an API, by where the file names them; a teacher served here is none of them."""
        judges = {
            "evaluate.style.tone": self.evaluate.style.tone if self.evaluate.style is not None else None,
            "evaluate.preference.judge": self.evaluate.preference.judge
            if self.evaluate.preference is not None
            else None,
            **{f"data.{name}.curate": data.curate.labeller for name, data in self.data.items()},
        }
        models = {"teacher": self.teacher.api, **{where: judge.model for where, judge in judges.items() if judge}}
        return {where: model for where, model in models.items() if isinstance(model, ApiSpec)}


def read_study(path: Path | str) -> StudySpec:
    """Read and validate a study file.

    Raises:
        SpecError: it cannot be read, or something in it is wrong; every problem is named at once.
    """
    return parse_spec(StudySpec, read_yaml(path), where=str(path))
