"""Rendered chat pages back to plain text: paragraphs, lists and code blocks, without tags and buttons.

Early ShareGPT scrapes hold assistant turns as the page's HTML. Most HTML in dialogues is something else: code that is
talked about. So only a turn that as a whole is a rendered fragment is touched. Importing and cleaning both do this, and
rooms do not import one another: hence the place below them.
"""

from __future__ import annotations

import re
from html.parser import HTMLParser

__all__ = ["html_to_text", "is_rendered_page"]

_OPENING = re.compile(
    r"\s*<(?:div class=\"[^\">]*(?:markdown|prose|flex|min-h|result-streaming)[^>]*"
    r"|p|ol|ul|pre|h[1-6]|blockquote|table)>",
    re.IGNORECASE,
)
_CLOSING = re.compile(r"</(?:div|p|ol|ul|pre|h[1-6]|blockquote|table)>\s*$", re.IGNORECASE)
_BLOCKS = frozenset(["p", "div", "ol", "ul", "pre", "h1", "h2", "h3", "h4", "h5", "h6", "blockquote", "table", "tr"])
_SILENT = frozenset(["button", "script", "style", "svg"])
_COPY_CODE = re.compile(r"^(?:(?P<language>[\w+#.-]{0,20})\s*)?Copy code\s*$")


def is_rendered_page(text: str) -> bool:
    """Whether a turn as a whole is a rendered fragment: opens and closes with a bare block tag, no Markdown fence."""
    return bool(_OPENING.match(text)) and bool(_CLOSING.search(text)) and "```" not in text


def html_to_text(text: str) -> str:
    """The text of a rendered fragment, with Markdown for lists, headings and code blocks."""
    reader = _Reader()
    reader.feed(text)
    reader.close()
    lines = [line.rstrip() for line in "".join(reader.out).split("\n")]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.out: list[str] = []
        self._lists: list[int | None] = []  # next number of each open list; None: bullets
        self._silent = 0
        self._pre: list[str] | None = None  # the text of the open code block

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in _SILENT:
            self._silent += 1
        elif tag == "pre":
            self._pre = []
        elif self._pre is not None:
            if tag == "code" and self._pre:  # what stands before the code is the block's head line
                self._pre = ["".join(self._pre).removesuffix("Copy code").strip(), "Copy code\n"]
        elif tag in ("ol", "ul"):
            start = dict(attrs).get("start") or "1"
            self._lists.append((int(start) if start.isdecimal() else 1) if tag == "ol" else None)
            self.out.append("\n")
        elif tag == "li":
            number = self._lists[-1] if self._lists else None
            indent = "  " * max(len(self._lists) - 1, 0)
            self.out.append(f"\n{indent}- " if number is None else f"\n{indent}{number}. ")
            if number is not None:
                self._lists[-1] = number + 1
        elif tag == "br":
            self.out.append("\n")
        elif tag in ("td", "th"):
            self.out.append(" | ")
        elif tag in _BLOCKS and not self._in_item():
            self.out.append("\n\n" + ("#" * int(tag[1]) + " " if re.fullmatch("h[1-6]", tag) else ""))
        elif tag == "code":
            self.out.append("`")

    def handle_endtag(self, tag: str) -> None:
        if tag in _SILENT:
            self._silent = max(self._silent - 1, 0)
        elif tag == "pre" and self._pre is not None:
            self.out.append(_fenced("".join(self._pre)))
            self._pre = None
        elif self._pre is not None:
            return
        elif tag in ("ol", "ul"):
            del self._lists[-1:]
            self.out.append("\n")
        elif tag in _BLOCKS and not self._in_item():
            self.out.append("\n\n")
        elif tag == "code":
            self.out.append("`")

    def handle_data(self, data: str) -> None:
        if self._silent:
            return
        (self.out if self._pre is None else self._pre).append(data)

    def close(self) -> None:
        super().close()
        if self._pre is not None:  # the block never ended: its text is kept
            self.out.append(_fenced("".join(self._pre)))
            self._pre = None

    def _in_item(self) -> bool:
        return bool(self._lists)


def _fenced(text: str) -> str:
    """A Markdown code block; the page's head line ("pythonCopy code") becomes its language."""
    head, _, rest = text.strip("\n").partition("\n")
    match = _COPY_CODE.match(head)
    language, body = (match["language"] or "", rest) if match else ("", text.strip("\n"))
    return f"\n\n```{language}\n{body}\n```\n\n"
