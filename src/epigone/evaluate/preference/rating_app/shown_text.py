"""A model's text as HTML: Markdown's structure, and nothing that runs, loads, leads away or hides.

Links become their text with address and title behind it, pictures their description with the same, a code block's
language a line above it, raw HTML its source.
"""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Iterator, Sequence
from functools import lru_cache

from markdown_it import MarkdownIt
from markdown_it.token import Token
from markupsafe import Markup

__all__ = ["markdown_html"]

PLAIN_FROM = 50_000
"""Characters from which a text is shown as it is: nobody reads that much structure, and parsing must stay quick."""

_LINE_FROM = 10_000
_SIGNS_FROM = 4_000
"""Markup signs from which a text is shown as it is: unclosed brackets cost the parser more than linear time (20,000
lines of one bracket: 15 s on one core; 4,000: below 0.4 s)."""

_NESTED_FROM = 30
"""Depth from which a text is shown as it is: the parser leaves out what lies deeper than it follows."""

_SIGN = re.compile(r"[\[\]!*_`~<&>|]")
_CONTROL = re.compile("[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_HEADINGS_BELOW = 2
"""The page's own headings end at the second level; a text's begin below."""


_MARKDOWN = {
    breaks: MarkdownIt("commonmark", {"html": False, "breaks": breaks, "maxNesting": 2 * _NESTED_FROM})
    .enable(["table", "strikethrough"])
    .disable("reference")  # `[a]: address "title"` would vanish; whatever was written is seen
    for breaks in (True, False)
}


@lru_cache(maxsize=4096)
def markdown_html(text: str, *, breaks: bool = True) -> Markup:
    """``text`` for the page. ``breaks``: a line break is one, as chat pages show a model's text.

    Signs that turn the reading direction around, and other invisible ones, are shown by their code: an output could
    reverse what a rater reads.
    """
    seen = _CONTROL.sub(_named, text.replace("\r\n", "\n"))
    longest = max(map(len, seen.splitlines()), default=0)
    signs = sum(1 for _ in _SIGN.finditer(seen))
    if len(seen) > PLAIN_FROM or longest > _LINE_FROM or signs > _SIGNS_FROM:
        return _plain(seen)
    parser = _MARKDOWN[breaks]
    tokens = parser.parse(seen)
    if any(token.level > _NESTED_FROM for token in tokens):
        return _plain(seen)
    tokens = [tame for token in tokens for tame in _tamed(token)]
    # The renderer escapes all text, HTML in it is switched off, and what is added here is escaped here.
    return Markup(parser.renderer.render(tokens, parser.options, {}))  # noqa: S704


def _plain(text: str) -> Markup:
    return Markup('<p class="plain">{}</p>').format(text)


def _tamed(token: Token) -> Iterator[Token]:
    """Headings move below the page's own, links and pictures become text, a code block's language stands above it."""
    if token.type in ("heading_open", "heading_close"):
        token.tag = f"h{min(6, int(token.tag[1:]) + _HEADINGS_BELOW)}"
    if token.type == "fence" and token.info.strip():
        yield _own_html(f'<p class="kind address">{html.escape(token.info.strip())}</p>\n')
    token.info = ""
    token.attrs.pop("style", None)  # a column's alignment: the page's policy refuses style attributes
    if token.children:
        token.children = list(_inert(token.children))
    yield token


def _inert(tokens: Sequence[Token]) -> Iterator[Token]:
    addresses: list[str] = []
    for token in tokens:
        if token.type == "link_open":
            addresses.append(_address(token, "href"))
            yield _own_html('<span class="link">')
        elif token.type == "link_close":
            yield _own_html(f'</span> <span class="address">({html.escape(addresses.pop())})</span>')
        elif token.type == "image":
            words = html.escape(f"picture: {token.content} ({_address(token, 'src')})")
            yield _own_html(f'<span class="address">[{words}]</span>')
        else:
            yield token


def _address(token: Token, name: str) -> str:
    title = token.attrs.get("title")
    return f'{token.attrs.get(name, "")} "{title}"' if title else str(token.attrs.get(name, ""))


def _own_html(content: str) -> Token:
    return Token("html_inline", "", 0, content=content)


def _named(sign: re.Match[str]) -> str:
    code = f"U+{ord(sign.group()):04X}"
    return f"⟦{unicodedata.name(sign.group(), code).lower()}⟧"
