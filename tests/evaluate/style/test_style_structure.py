"""Lists, headers, code and paragraphs are found in Markdown, plain and word-level text."""

from __future__ import annotations

import pytest

from epigone.evaluate.style import style_features
from epigone.evaluate.style.structure import read_structure

LISTS = {
    "bullets": ("Buy:\n\n- milk\n- eggs\n", 2),
    "stars, no intro": ("* milk\n* eggs\n* salt", 3),
    "unicode bullets": ("Buy\n• milk\n• eggs", 2),
    "numbers with blank lines between": ("1. Mix.\n\n2. Bake.\n\n3. Eat.", 3),
    "numbers in brackets": ("(1) Mix.\n(2) Bake.", 2),
    "letters": ("A. Mix.\nB. Bake.", 2),
    "steps": ("Step 1: Mix.\nStep 2: Bake.", 2),
    "bold numbers": ("**1. Mix**\ntext\n\n**2. Bake**\ntext", 2),
    "nested": ("1. Mix:\n   - flour\n   - salt\n2. Bake.", 4),
    "word-level": ("overview : anna was born . \n 1 . in 1923 . \n 2 . in paris . \n in summary , a baker .", 2),
    "within one line": ("The steps are: 1. Mix well. 2. Bake. 3. Eat.", 3),
    "plain lines after a colon": ("Ingredients:\n\n1/2 cup flour\nsalt\nfour eggs", 3),
}
NO_LISTS = {
    "prose": "Mix the flour. Then bake it.",
    "one item is no list": "- milk",
    "code": "Run this:\n```\n- a\n- b\n1. c\n```\n",
    "code that is never closed": "```python\n1. a\n2. b",
    "rules between paragraphs": "One.\n\n* * *\n\nTwo.\n\n- - -\n\nThree.",
    "a year, a decimal": "It began in 1923. It cost\n2.5 dollars.",
    "dialogue": "A: hello\nB: hello",
    "verse": "Roses are red,\nviolets are blue,\nsugar is sweet.",
    "one hyphen inside a line": "well - known - thing",
}


@pytest.mark.parametrize("name", LISTS)
def test_a_list_is_found_and_its_items_counted(name: str) -> None:
    text, items = LISTS[name]
    structure = read_structure(text)
    assert structure.has_list
    assert structure.list_items == items


@pytest.mark.parametrize("name", NO_LISTS)
def test_what_is_no_list_is_not_taken_for_one(name: str) -> None:
    assert not read_structure(NO_LISTS[name]).has_list


def test_code_within_a_line_opens_no_block() -> None:
    found = read_structure("Run:\n```npm install```\n\n1. first\n2. second")
    assert (found.code_blocks, found.list_items) == (0, 2)
    assert read_structure("~~~ `x`\n1. a\n2. b\n~~~").code_blocks == 1


def test_headers_bold_and_code_blocks_are_counted_outside_code_only() -> None:
    text = "# Title\n\nA **bold** word.\n\n```python\n# no header\nx = '**no**'\n```\n\n## Next\nEnd."
    features = style_features(text)
    assert (features.headers, features.bold, features.code_blocks, features.paragraphs) == (2, 1, 1, 2)


def test_a_closing_paragraph_after_a_word_level_list_stands_on_its_own() -> None:
    text = "anna is known . \n 1 . born in 1923 . \n 2 . lived in paris . \n overall , anna is a baker ."
    assert [block.kind for block in read_structure(text).blocks] == ["text", "list", "text"]
    assert style_features(text).has_summary


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Tea is old.\n\nIt came from China.\n\nIn conclusion, tea is old and good.", True),
        ("Do this:\n1. Mix.\n2. Bake.\n\nOverall, baking takes an hour.", True),
        ("Do this:\n1. Mix.\n2. Bake.\n\nBy following these steps you will have a cake.", True),
        ("Overall, tea is good.", False),
        ("Tea is old.\n\nIt came from China.", False),
        ("Overall, tea is old.\n\n1. China\n2. India", False),
        ("", False),
    ],
)
def test_a_summary_is_a_closing_paragraph_after_another_block(text: str, found: bool) -> None:
    assert style_features(text).has_summary is found


def test_an_empty_response_has_features_and_no_division_by_zero() -> None:
    features = style_features("")
    assert (features.words, features.tokens, features.sentence_words, features.type_token_ratio) == (0, 0, 0.0, 0.0)
    assert not features.authoritative
