"""The rating app over HTTP: joining, one pair at a time, breaks, the organiser's page. Nothing names a system.

Works without script. Every form carries a signed token of its rater; what does not come from the page is refused and
logged, and changes nothing.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated, get_args

from fastapi import Depends, FastAPI, Request
from fastapi.responses import PlainTextResponse, Response
from starlette.exceptions import HTTPException

from epigone.errors import DataError, DiskError
from epigone.evaluate.preference.rating_app.campaign import Campaign
from epigone.evaluate.preference.rating_app.pages import Again, notice, page, redirect, static_file
from epigone.evaluate.preference.rating_app.rules import CRITERIA
from epigone.evaluate.preference.rating_app.task import Finished, OnBreak, Shown, Task

__all__ = ["rating_app"]

BODY_LIMIT = 65_536
_COOKIE_S = 90 * 24 * 3600
_PAGES_AT_ONCE = 2
_NOTICES = {
    "already": "You have answered this pair before; your first answer stands. You may take it back below.",
    "too_soon": "That was very quick. Please read both answers; nothing was stored yet.",
    "expired": "This pair was open for so long that others have rated it. Here is the next one.",
}
_CRITERIA = {
    "grammar": ("Grammar", "Is it written correctly?", "Spelling, grammar and punctuation."),
    "clarity": (
        "Clarity and coherence",
        "Is it easy to follow, and does it hold together?",
        "One thought leads to the next, and nothing contradicts itself or is said twice.",
    ),
    "relevance": (
        "Relevance",
        "Does it do what was asked?",
        "It answers this request, in the form and length asked for, and does not wander off.",
    ),
    "completeness": (
        "Completeness",
        "Is anything important missing?",
        "Every part of the request is dealt with, and the answer does not break off.",
    ),
    "overall": (
        "Overall quality",
        "Which would you rather have received?",
        "All of this together. It decides your choice.",
    ),
}
"""Label, question, and what to look for, in the page's order."""

_LOG = logging.getLogger("epigone.rating")


async def _form_fields(request: Request) -> dict[str, str]:
    """The body's text fields; the guard has seen to its size."""
    request.state.fields = {name: text for name, text in (await request.form()).items() if isinstance(text, str)}
    return request.state.fields  # type: ignore[no-any-return]


Fields = Annotated[Mapping[str, str], Depends(_form_fields)]


def rating_app(campaign: Campaign, *, public_url: str | None = None) -> FastAPI:
    """The web application of a campaign, to be run by uvicorn.

    ``public_url``: the address that raters use, such as ``https://rate.example``, where a web server stands in between;
    ``None``: the one that they ask for. Forms are taken from either.
    """
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False)
    _guard(app, campaign, public_url)
    _add_joining(app, campaign, over_tls=(public_url or "").startswith("https:"))
    _add_guide(app, campaign)
    _add_rating(app, campaign)
    _add_organiser(app, campaign, public_url)

    @app.get("/static/{name}")
    def static(name: str) -> Response:
        return static_file(name) or _not_here()

    @app.get("/robots.txt")
    def robots() -> Response:
        return PlainTextResponse("User-agent: *\nDisallow: /\n")

    return app


def _not_here() -> Response:
    return notice("Nothing here", "There is no such page.", 404, back="Go to your task")


def _who(campaign: Campaign, request: Request) -> str:
    return request.cookies.get(campaign.cookie, "")


def _not_invited() -> Response:
    return notice("Not invited yet", "Please open the invitation link that you were given.", 401)


def _guard(app: FastAPI, campaign: Campaign, public_url: str | None) -> None:
    """Only this page's own forms may post, and only small bodies; a full disk is said to the rater.

    When many arrive at once, pages wait for one another and votes for no page: a vote is what must not be lost.
    """

    @app.exception_handler(DiskError)
    def cannot_store(request: Request, error: Exception) -> Response:
        _LOG.error("%s", error)
        sent: dict[str, str] | None = getattr(request.state, "fields", None)
        if sent is None:
            text = "Something could not be stored just now. Every answer that was taken is kept; please try again soon."
            return notice("One moment", text, 503, back="Try again")
        text = "What you sent could not be stored. Please try again in a moment; nothing else is lost."
        return notice("Not stored", text, 503, again=Again(request.url.path, sent))

    @app.exception_handler(HTTPException)
    def wrong_address(request: Request, error: HTTPException) -> Response:
        if error.status_code == 404:
            return _not_here()
        return _refuse(campaign, request, str(error.detail), status=error.status_code)

    reading = asyncio.Semaphore(_PAGES_AT_ONCE)

    @app.middleware("http")
    async def votes_first(request: Request, proceed: Callable[[Request], Awaitable[Response]]) -> Response:
        if request.method == "POST" and request.url.path == "/vote":
            return await proceed(request)
        async with reading:
            return await proceed(request)

    @app.middleware("http")
    async def refuse_foreign_posts(request: Request, proceed: Callable[[Request], Awaitable[Response]]) -> Response:
        if request.method != "POST":
            return await proceed(request)
        origin, length = request.headers.get("origin"), request.headers.get("content-length", "")
        host = request.headers.get("host")
        if origin not in (None, f"http://{host}", f"https://{host}", public_url):
            return _refuse(campaign, request, "a form of another site")
        if not length.isdigit() or int(length) > BODY_LIMIT:
            return _refuse(campaign, request, "a body without a length, or too long", status=413)
        return await proceed(request)


def _refuse(campaign: Campaign, request: Request, what: str, *, status: int = 403) -> Response:
    """Log it, change nothing, and say as much as an honest rater needs."""
    campaign.refuse(what, rater=_who(campaign, request), detail=f"{request.method} {request.url.path}")
    text = "This could not be accepted, and nothing was changed. If you were rating, go back to your task."
    return notice("Refused", text, status, back="Go to your task")


def _add_joining(app: FastAPI, campaign: Campaign, *, over_tls: bool) -> None:
    """From the invitation over the consent to the guide."""
    wrong = ("No such invitation", "This invitation is not valid. Please ask whoever sent it to you.", 404)

    @app.get("/join/{invitation}")
    def consent(
        request: Request,
        invitation: str,
        PROLIFIC_PID: str = "",  # noqa: N803 - the platform's name
        somebody: str = "",
    ) -> Response:
        if not campaign.invites(invitation):
            return notice(*wrong)
        if not PROLIFIC_PID and campaign.rules.require_external:
            return notice(
                "Please come by the platform's link", "This study can be entered from the platform only.", 403
            )
        if not PROLIFIC_PID and somebody != "else" and campaign.knows(_who(campaign, request)):
            return page("welcome_back", campaign=campaign, invitation=invitation)
        return page("consent", campaign=campaign, invitation=invitation, external=PROLIFIC_PID)

    @app.post("/join")
    def join(request: Request, fields: Fields) -> Response:
        if not campaign.is_form_token("join", fields.get("form", "")):
            return _refuse(campaign, request, "a consent form without a valid token")
        if fields.get("agreed") != "yes":
            return notice("Nothing was begun", "You did not agree, so nothing is kept. You may close this page.")
        token = campaign.join(fields.get("invitation", ""), external=fields.get("external") or None)
        if token is None:
            return notice(*wrong)
        response = redirect("/guide")
        secure = over_tls or request.url.scheme == "https"
        response.set_cookie(
            campaign.cookie, token, httponly=True, samesite="lax", secure=secure, max_age=_COOKIE_S, path="/"
        )
        return response


def _add_guide(app: FastAPI, campaign: Campaign) -> None:
    """The task and its criteria explained; read before the first pair, and again whenever a rater likes."""

    @app.get("/guide")
    def guide(request: Request) -> Response:
        if not campaign.knows(_who(campaign, request)):
            return _not_invited()
        return page("guide", campaign=campaign, criteria=_CRITERIA)


def _add_rating(app: FastAPI, campaign: Campaign) -> None:
    """The pair to rate, the vote, taking it back, breaks."""

    def show(rater: str, told: str | None = None, status: int = 200) -> Response:
        step = campaign.step(rater)
        if step is None:
            return _not_invited()
        names = {Task: "rate", OnBreak: "break", Finished: "finished"}
        form = campaign.form_token(rater)
        return page(names[type(step)], status, campaign=campaign, step=step, form=form, told=told, criteria=_CRITERIA)

    @app.get("/")
    def next_step(request: Request) -> Response:
        return show(_who(campaign, request))

    @app.post("/vote")
    def vote(request: Request, fields: Fields) -> Response:
        rater = _who(campaign, request)
        choice = _shown(fields.get("choice"))
        if choice is None or not campaign.is_form_token(rater, fields.get("form", "")):
            return _refuse(campaign, request, "a vote without a valid choice or token")
        marks = {name: mark for name in CRITERIA if (mark := _shown(fields.get(f"mark_{name}"))) is not None}
        checked = fields.get("facts_checked") == "yes" if campaign.rules.expert else None
        try:
            outcome = campaign.vote(
                rater,
                fields.get("token", "")[:64],
                choice,
                reason=fields.get("reason") or None,
                marks=marks if campaign.rules.expert else None,
                facts_checked=checked,
            )
        except DataError:
            return _refuse(campaign, request, "a vote that the campaign's rules do not have")
        if outcome == "not_yours":
            return _refuse(campaign, request, "a vote on what was not handed out to this rater")
        return show(rater, _NOTICES[outcome]) if outcome in _NOTICES else redirect("/")

    def add_act(path: str, act: Callable[[str], object]) -> None:
        @app.post(path)
        def done(request: Request, fields: Fields) -> Response:
            rater = _who(campaign, request)
            if not campaign.is_form_token(rater, fields.get("form", "")):
                return _refuse(campaign, request, "a form without a valid token")
            act(rater)
            return redirect("/")

    add_act("/undo", campaign.undo)
    add_act("/pause", campaign.pause)
    add_act("/resume", campaign.resume)


def _shown(value: str | None) -> Shown | None:
    return value if value in get_args(Shown) else None  # type: ignore[return-value]


def _add_organiser(app: FastAPI, campaign: Campaign, public_url: str | None) -> None:
    """How the campaign stands, for whoever has the organiser's link; who is winning is not told before its end."""

    @app.get("/organiser/{token}")
    def organiser(request: Request, token: str) -> Response:
        if not campaign.is_organiser(token):
            return _not_here()
        base = (public_url or str(request.base_url)).rstrip("/")
        shown = page("organiser", figures=campaign.figures(), campaign=campaign, token=token, base=base)
        shown.headers["Content-Security-Policy"] += "; connect-src 'self'"  # it fetches itself to stay up to date
        return shown
