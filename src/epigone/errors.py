"""Every error that epigone raises on purpose.

    EpigoneError                      exit code 1
    ├── InputError                    exit code 2: something the user gave is wrong
    │   ├── SpecError                 a study, recipe or config file
    │   ├── DataError                 a data file or one record in it
    │   └── ModelError                a model folder, hub id or tokenizer
    ├── EndpointError                 exit code 3: an API endpoint is unreachable or refuses
    ├── BudgetExceeded                exit code 4: the next request would pass the stated budget
    ├── DiskError                     exit code 5: no space, no permission, a damaged file
    ├── TrainingError                 exit code 6: loss explosion, NaN, out of memory
    ├── SandboxError                  exit code 7: untrusted code cannot be confined here
    ├── JobFailed                     exit code 8: a job of a study ended in an error
    └── MissingDependency             exit code 9: an optional package is not installed

A message says what is wrong, in which item, and how to fix it. The CLI prints it without a traceback.
"""

from __future__ import annotations

__all__ = [
    "BudgetExceeded",
    "DataError",
    "DiskError",
    "EndpointError",
    "EpigoneError",
    "InputError",
    "JobFailed",
    "MissingDependency",
    "ModelError",
    "SandboxError",
    "SpecError",
    "TrainingError",
]


class EpigoneError(Exception):
    """What is wrong, where, and what to do about it.

    Args:
        what: one sentence, without a full stop, that names the problem.
        where: the item it concerns: a path, ``path:line``, a key such as ``arms.amounts``, a record id.
        fix: one sentence that tells the user what to do.
    """

    exit_code = 1

    def __init__(self, what: str, *, where: str | None = None, fix: str | None = None) -> None:
        self.what, self.where, self.fix = what, where, fix
        super().__init__(what, where, fix)

    def __str__(self) -> str:
        head = f"{self.where}: {self.what}" if self.where else self.what
        return f"{head}\n  fix: {self.fix}" if self.fix else head

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild, (type(self), self.what, self.where, self.fix))


def _rebuild(kind: type[EpigoneError], what: str, where: str | None, fix: str | None) -> EpigoneError:
    return kind(what, where=where, fix=fix)


class InputError(EpigoneError):
    """Something that the user gave is wrong."""

    exit_code = 2


class SpecError(InputError):
    """A study, recipe or config file is wrong."""


class DataError(InputError):
    """A data file, or one record in it, is wrong."""


class ModelError(InputError):
    """A model folder, hub id or tokenizer cannot be used."""


class EndpointError(EpigoneError):
    """An API endpoint cannot be reached, or refuses every request."""

    exit_code = 3


class BudgetExceeded(EpigoneError):
    """The next request would pass the stated budget; everything answered so far is kept."""

    exit_code = 4


class DiskError(EpigoneError):
    """No space, no permission, or a damaged file."""

    exit_code = 5


class TrainingError(EpigoneError):
    """A training cannot go on: NaN, loss explosion, out of memory."""

    exit_code = 6


class SandboxError(EpigoneError):
    """Untrusted code cannot be confined on this machine."""

    exit_code = 7


class JobFailed(EpigoneError):
    """A job of a study ended in an error."""

    exit_code = 8


class MissingDependency(EpigoneError):
    """An optional package is needed and not installed."""

    exit_code = 9
