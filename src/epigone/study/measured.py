"""The models that a study measures, as the plan knows them."""

from __future__ import annotations

from typing import Literal

import msgspec
from msgspec import Struct

from epigone.study.arms import Arm

__all__ = ["BASE", "STUDENT", "TEACHER", "TEACHER_AGAIN", "Measured"]

TEACHER: Literal["teacher"] = "teacher"
TEACHER_AGAIN: Literal["teacher_second_sample"] = "teacher_second_sample"
BASE: Literal["base"] = "base"
STUDENT: Literal["student"] = "student"


class Measured(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A model to measure. ``job`` is the id of the training that makes it, for students."""

    name: str
    kind: Literal["teacher", "teacher_second_sample", "base", "student"]
    base: str | None = None
    arm: Arm | None = None
    job: str | None = None

    def without_job(self) -> Measured:
        """What identifies it in a comparison; the job enters there as an input."""
        return msgspec.structs.replace(self, job=None)
