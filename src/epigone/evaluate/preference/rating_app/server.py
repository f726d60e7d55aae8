"""The raters' page: one pair at a time, three choices; no script, no third party, nothing that names a system."""

from __future__ import annotations

import secrets
from typing import Annotated, Literal
from urllib.parse import urlsplit

from fastapi import FastAPI, Form, Request
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from jinja2 import Environment, PackageLoader, StrictUndefined

from epigone.errors import DiskError
from epigone.evaluate.preference.rating_app.campaign import Campaign

__all__ = ["rating_app"]

COOKIE = "rater"
BODY_LIMIT = 16_384
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'",
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


_PAGES = Environment(
    loader=PackageLoader("epigone.evaluate.preference.rating_app"), autoescape=True, undefined=StrictUndefined
)


def _page(name: str, status: int = 200, **values: object) -> HTMLResponse:
    return HTMLResponse(_PAGES.get_template(name).render(**values), status, _HEADERS)


def rating_app(campaign: Campaign) -> FastAPI:
    """The web application of a campaign, to be run by uvicorn."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    _guard(app)
    _rater_pages(app, campaign)

    @app.get("/progress/{organiser}")
    def progress(organiser: str) -> Response:
        if not secrets.compare_digest(organiser.encode(), campaign.setting("organiser").encode()):
            return JSONResponse({"error": "unknown organiser token"}, 404)
        state = campaign.progress()
        return JSONResponse({name: getattr(state, name) for name in state.__struct_fields__}, headers=_HEADERS)

    return app


def _guard(app: FastAPI) -> None:
    """Only this page's own forms may post, and only small bodies; a full disk is said to the rater."""

    @app.exception_handler(DiskError)
    def cannot_store(_: Request, __: Exception) -> Response:
        text = "Your last vote could not be stored. Please try again in a moment; nothing else is lost."
        return _page("notice.html.jinja", 503, title="Not stored", text=text)

    @app.middleware("http")
    async def refuse_foreign_posts(request: Request, proceed):  # type: ignore[no-untyped-def]
        if request.method == "POST":
            origin = request.headers.get("origin")
            foreign = origin is not None and urlsplit(origin).netloc != request.headers.get("host")
            if foreign or int(request.headers.get("content-length") or BODY_LIMIT + 1) > BODY_LIMIT:
                return _page("notice.html.jinja", 403, title="Refused", text="This request did not come from the page.")
        return await proceed(request)


def _rater_pages(app: FastAPI, campaign: Campaign) -> None:
    """Joining, the pair to rate, the vote, taking it back."""

    @app.get("/join/{invitation}")
    def join(invitation: str, PROLIFIC_PID: str | None = None) -> Response:  # noqa: N803 - the platform's own name
        token = campaign.join(invitation, external=PROLIFIC_PID)
        if token is None:
            text = "This invitation is not valid. Please ask whoever sent it to you."
            return _page("notice.html.jinja", 404, title="No such invitation", text=text)
        response = RedirectResponse("/", 303, _HEADERS)
        response.set_cookie(COOKIE, token, httponly=True, samesite="strict", max_age=90 * 24 * 3600)
        return response

    @app.get("/")
    def show(request: Request) -> Response:
        rater = request.cookies.get(COOKIE, "")
        if not campaign.knows(rater):
            text = "Please open the invitation link that you were given."
            return _page("notice.html.jinja", 401, title="Not invited yet", text=text)
        task = campaign.task(rater)
        if task is None:
            text = "There is nothing left for you to rate. Thank you very much."
            return _page("notice.html.jinja", title="Thank you", text=text)
        return _page("rate.html.jinja", task=task)

    @app.post("/vote")
    def vote(
        request: Request,
        token: Annotated[str, Form(max_length=64)],
        choice: Annotated[Literal["first", "second", "same"], Form()],
        reason: Annotated[str, Form(max_length=2000)] = "",
    ) -> Response:
        if not campaign.vote(request.cookies.get(COOKIE, ""), token, choice, reason=reason):
            text = "This pair is not open for you; nothing was changed."
            return _page("notice.html.jinja", 403, title="Not yours", text=text)
        return RedirectResponse("/", 303, _HEADERS)

    @app.post("/undo")
    def undo(request: Request) -> Response:
        campaign.undo(request.cookies.get(COOKIE, ""))
        return RedirectResponse("/", 303, _HEADERS)
