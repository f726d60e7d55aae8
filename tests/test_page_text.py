"""Rendered page fragments become text; HTML that is talked about stays as it is."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from epigone.page_text import html_to_text, is_rendered_page

PAGE = (
    '<div class="markdown prose w-full break-words light"><h2>Sorting</h2><p>Use <code>sorted</code> &amp; relax:</p>'
    "<ol><li><p>First</p></li><li>Second<ul><li>nested</li></ul></li></ol>"
    '<pre><div class="bg-black"><div class="flex">python<button><svg></svg>Copy code</button></div>'
    '<div><code class="hljs">def f(x):\n    return x &lt; 3\n</code></div></div></pre><p>Done.</p></div>'
)


def test_a_scraped_answer_becomes_text_with_its_code_block() -> None:
    assert is_rendered_page(PAGE)
    assert html_to_text(PAGE) == (
        "## Sorting\n\nUse `sorted` & relax:\n\n1. First\n2. Second\n\n  - nested\n\n"
        "```python\ndef f(x):\n    return x < 3\n```\n\nDone."
    )


@pytest.mark.parametrize(
    "text",
    [
        "How do I centre a <div> in a <div>?",
        "<div class='modal fade'>\n <h5>Title</h5>\n</div>\nI made no other changes.",
        "```html\n<p>hello</p>\n```",
        "<p>before</p>\n```html\n<p>x</p>\n```\n<p>after</p>",
        "x < y and y > z",
        "",
    ],
)
def test_html_that_is_talked_about_is_not_touched(text: str) -> None:
    assert not is_rendered_page(text)


def test_the_class_of_the_outer_block_may_begin_with_anything() -> None:
    assert is_rendered_page('<div class="w-full markdown prose"><p>Yes.</p></div>')


@settings(max_examples=200, deadline=None)
@given(text=st.text(alphabet="<>/p= \"'&;divcodeprelioulh1!-\n", max_size=60))
def test_no_markup_breaks_the_reader(text: str) -> None:
    assert isinstance(html_to_text(f"<p>{text}</p>"), str)
