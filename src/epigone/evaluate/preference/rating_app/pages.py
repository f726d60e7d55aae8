"""How the pages of the rating app are made: templates, headers, the two static files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from fastapi.responses import HTMLResponse, RedirectResponse, Response
from jinja2 import Environment, PackageLoader, StrictUndefined

from epigone.disk import digest_file
from epigone.evaluate.preference.rating_app.shown_text import markdown_html

__all__ = ["Again", "notice", "page", "redirect", "static_file"]

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; script-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Referrer-Policy": "same-origin",  # with no-referrer browsers send "Origin: null" from our own forms
    "X-Content-Type-Options": "nosniff",
}
"""Sent with every page: nothing is loaded from elsewhere, framed, cached or told to others."""

_STATIC = Path(__file__).with_name("static")
_KINDS = {"rate.css": "text/css; charset=utf-8", "rate.js": "text/javascript; charset=utf-8"}
_PAGES = Environment(
    loader=PackageLoader("epigone.evaluate.preference.rating_app"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_PAGES.filters["markdown"] = markdown_html
_PAGES.globals["version"] = {name: digest_file(_STATIC / name)[:12] for name in _KINDS}


def page(name: str, status: int = 200, **values: object) -> HTMLResponse:
    """A template, filled in."""
    return HTMLResponse(_PAGES.get_template(f"{name}.html.jinja").render(**values), status, HEADERS)


class Again(NamedTuple):
    """A form that could not be taken, to be sent once more as it was."""

    path: str
    fields: Mapping[str, str]


def notice(
    title: str, text: str, status: int = 200, *, back: str | None = None, again: Again | None = None
) -> HTMLResponse:
    """A page that says one thing. ``back``: words of a link to where the rater goes on; ``again``: what to resend."""
    return page("notice", status, title=title, text=text, back=back, again=again)


def redirect(path: str) -> Response:
    """On to another page; the answer to every form, so that a reload repeats nothing."""
    return RedirectResponse(path, 303, HEADERS)


def static_file(name: str) -> Response | None:
    """The style sheet or the script; its address changes with its content."""
    if name not in _KINDS:
        return None
    headers = {"Cache-Control": "public, max-age=31536000, immutable", "X-Content-Type-Options": "nosniff"}
    return Response((_STATIC / name).read_bytes(), 200, headers, _KINDS[name])
