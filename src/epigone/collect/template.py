"""Prompt wording: small Jinja files, rendered in a sandbox, with every mistake named by file and line."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import jinja2
from jinja2.sandbox import SandboxedEnvironment

from epigone.errors import SpecError

__all__ = ["Template"]

_ENVIRONMENT = SandboxedEnvironment(
    undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True, autoescape=False
)


class Template:
    """The wording of a prompt, from a file or, without one, the documented default of that name.

    One line break at the very end of the file is not part of the prompt. Values that are filled in are never
    themselves read as template text.

    Raises:
        SpecError: the file cannot be read or is not a valid template.
    """

    def __init__(self, path: Path | None, *, default: str) -> None:
        self._where = str(path) if path is not None else f"wording/{default}.jinja"
        try:
            source = path or resources.files("epigone.collect") / "wording" / f"{default}.jinja"
            self._compiled = _ENVIRONMENT.from_string(source.read_text(encoding="utf-8"))
        except OSError as error:
            raise SpecError(f"cannot be read: {error.strerror}", where=self._where, fix="check the path") from error
        except UnicodeDecodeError as error:
            raise SpecError("is not UTF-8 text", where=self._where) from error
        except jinja2.TemplateSyntaxError as error:
            raise SpecError(f"not a valid template: {error.message}", where=f"{self._where}:{error.lineno}") from error

    def render(self, **values: object) -> str:
        """Fill in ``values``.

        Raises:
            SpecError: the template names something that is not there, or does what the sandbox forbids.
        """
        try:
            return self._compiled.render(**values)
        except (jinja2.TemplateError, TypeError, ValueError, ArithmeticError, LookupError) as error:
            names = ", ".join(sorted(values))
            raise SpecError(
                f"cannot be filled in: {error}", where=self._where, fix=f"a template may use: {names}"
            ) from error
