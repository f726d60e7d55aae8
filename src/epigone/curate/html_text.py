"""HTML that a scraped chat page left in a turn, as plain text with its code blocks kept."""

from __future__ import annotations

import re
from html.parser import HTMLParser

__all__ = ["html_to_text", "is_page_html"]

# How saved chat pages wrap an answer. A reply that *is* HTML code (it opens with any other tag) is left alone.
_PAGE = re.compile(
    r"\s*<(?:div class=\"[^\"]*(?:markdown|prose|min-h|flex)[^\"]*\"|(?:p|ol|ul|pre|h[1-6]|blockquote)>)", re.I
)
_BLOCKS = {"p", "div", "ol", "ul", "table", "tr", "blockquote", "section", "h1", "h2", "h3", "h4", "h5", "h6"}
_HIDDEN = {"script", "style", "button", "svg"}


def is_page_html(text: str) -> bool:
    """Whether the turn is markup of a saved chat page, not a reply that talks about HTML."""
    return _PAGE.match(text) is not None and re.search(r"</\w+>\s*$", text) is not None


def html_to_text(html: str) -> str:
    """Markdown-like plain text of ``html``: paragraphs, list items, headings; ``pre`` becomes a fenced code block."""
    parser = _TextParser()
    parser.feed(html)
    parser.close()
    return re.sub(r"\n{3,}", "\n\n", "".join(parser.pieces)).strip()


class _TextParser(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.pieces: list[str] = []
        self._lists: list[int | None] = []  # open lists: None for bullets, else the last number
        self._in_pre = 0
        self._in_code = False
        self._code: list[str] = []  # of the open pre: what stands in its code element,
        self._around: list[str] = []  # and beside it: the page's language label, or the code itself where there is none
        self._hidden = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:  # noqa: ARG002
        if tag in _HIDDEN:
            self._hidden += 1
        elif tag == "pre":
            self._in_pre += 1
        elif tag == "code" and self._in_pre:
            self._in_code = True
        elif tag == "code":
            self.pieces.append("`")
        elif self._in_pre:
            return
        elif tag in ("ol", "ul"):
            self._lists.append(0 if tag == "ol" else None)
            self.pieces.append("\n")
        elif tag == "li":
            self.pieces.append("\n" + "  " * (len(self._lists) - 1) + self._bullet())
        elif tag == "br":
            self.pieces.append("\n")
        elif tag in _BLOCKS:
            heading = f"{'#' * int(tag[1])} " if re.fullmatch(r"h[1-6]", tag) else ""
            self.pieces.append(("" if self._at_bullet() else "\n\n") + heading)
        elif tag in ("td", "th"):
            self.pieces.append(" ")

    def handle_endtag(self, tag: str) -> None:
        if tag in _HIDDEN:
            self._hidden = max(0, self._hidden - 1)
        elif tag == "pre" and self._in_pre:
            self._in_pre -= 1
            if not self._in_pre:
                self._end_code_block()
        elif tag == "code" and self._in_pre:
            self._in_code = False
        elif tag == "code":
            self.pieces.append("`")
        elif self._in_pre:
            return
        elif tag in ("ol", "ul") and self._lists:
            self._lists.pop()
            self.pieces.append("\n")
        elif tag in _BLOCKS:
            self.pieces.append("\n")

    def handle_data(self, data: str) -> None:
        if self._hidden:
            return
        if self._in_pre:
            (self._code if self._in_code else self._around).append(data)
        else:
            self.pieces.append(re.sub(r"\s+", " ", data))

    def close(self) -> None:
        super().close()
        if self._in_pre:  # a page cut off within a code block
            self._end_code_block()

    def _end_code_block(self) -> None:
        code = "".join(self._code or self._around).strip("\n")
        self.pieces.append(f"\n\n```\n{code}\n```\n\n")
        self._code, self._around, self._in_code = [], [], False

    def _bullet(self) -> str:
        if not self._lists or self._lists[-1] is None:
            return "- "
        self._lists[-1] += 1
        return f"{self._lists[-1]}. "

    def _at_bullet(self) -> bool:
        return bool(self.pieces) and re.search(r"\n *(?:-|\d+\.) $", self.pieces[-1]) is not None
