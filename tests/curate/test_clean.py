"""Cleaning: page residue and page HTML go, what people wrote stays, and dialogues come out as user, assistant, …"""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from epigone.curate.clean import CleanSpec, clean_conversation
from epigone.curate.curated import Notes
from epigone.page_text import html_to_text
from epigone.records import Conversation, Drop, Message

PAGE = (
    '<div class="markdown prose w-full"><p>Use a <code>set</code>:</p><pre><div><span>python</span>'
    "<button>Copy code</button></div><code>seen = set()\nif a &lt; b:\n    pass</code></pre>"
    "<ol><li><p>Fast</p></li><li>Small &amp; simple</li></ol><ul><li>one</li></ul></div>"
)
TEXT = "Use a `set`:\n\n```python\nseen = set()\nif a < b:\n    pass\n```\n\n1. Fast\n\n2. Small & simple\n\n- one"


def dialogue(*turns: tuple[str, str]) -> Conversation:
    return Conversation(id="x", messages=tuple(Message(role=role, content=text) for role, text in turns))  # type: ignore[arg-type]


def cleaned(*turns: tuple[str, str], **settings: object) -> Conversation | Drop:
    return clean_conversation(dialogue(*turns), CleanSpec.model_validate(settings), Notes())


def turns_of(outcome: Conversation | Drop) -> list[tuple[str, str]]:
    assert isinstance(outcome, Conversation), outcome
    return [(message.role, message.content) for message in outcome.messages]


def test_page_html_becomes_text_with_its_code_block_kept() -> None:
    lines = html_to_text(PAGE).splitlines()
    assert [line for line in lines if line] == [line for line in TEXT.splitlines() if line]
    assert turns_of(cleaned(("user", "How?"), ("assistant", PAGE)))[1] == ("assistant", html_to_text(PAGE))
    assert turns_of(cleaned(("user", "How?"), ("assistant", PAGE), html="keep"))[1] == ("assistant", PAGE)


@pytest.mark.parametrize(
    "reply",
    [
        'Write `<div class="card">` around it.',
        "```html\n<p>hello</p>\n```",
        "<!DOCTYPE html>\n<html><body><p>A page that was asked for</p></body></html>",
        '<div class="modal fade"><div class="modal-dialog">code without a fence</div></div>',
        "if (a < b) { return <Foo/>; }",
    ],
)
def test_html_that_is_talked_about_is_left_alone(reply: str) -> None:
    assert turns_of(cleaned(("user", "How?"), ("assistant", reply)))[1] == ("assistant", reply)


def test_residue_of_chat_pages_goes() -> None:
    outcome = cleaned(
        ("user", "Go on with Rome.Share Prompt"),
        ("assistant", "Like this:\npython\nCopy code\nprint(1)\n"),
        ("user", "Thanks 지금 번역하기"),
        ("assistant", "You are\u200b welcome.\nhttps://shareg.pt/abc123"),
    )
    assert turns_of(outcome) == [
        ("user", "Go on with Rome."),
        ("assistant", "Like this:\nprint(1)\n"),
        ("user", "Thanks"),
        ("assistant", "You are welcome."),
    ]


def test_words_of_a_button_in_a_person_s_question_stay() -> None:
    for question in ("How do I regenerate response", "Write a line that begs people to share prompt"):
        assert turns_of(cleaned(("user", question), ("assistant", "Like so.")))[0] == ("user", question)


def test_a_dialogue_without_an_exchange_says_where_the_answer_is_missing() -> None:
    dropped = cleaned(("user", "One?"), ("user", "Two?"), ("assistant", "Two."))
    assert isinstance(dropped, Drop)
    assert (dropped.reason, dropped.detail) == ("no_exchange", "no answer follows the first user turn")


def test_a_copy_code_that_belongs_to_a_sentence_stays() -> None:
    kept = ("user", "What does the Copy code button do?")
    assert turns_of(cleaned(kept, ("assistant", "It copies code.")))[0] == kept


@pytest.mark.parametrize(
    ("roles", "left"),
    [
        ("ua", "ua"), ("auau", "ua"), ("aua", "ua"), ("uaua", "uaua"), ("uau", "ua"), ("suau", "sua"),
        ("uaaua", "ua"), ("uuaua", ""), ("a", ""), ("s", ""), ("u", ""), ("asua", "ua"),
    ],
)  # fmt: skip
def test_role_order_is_repaired_to_the_first_run_of_question_and_answer(roles: str, left: str) -> None:
    names = {"u": "user", "a": "assistant", "s": "system"}
    outcome = cleaned(*((names[role], f"{role}{place}") for place, role in enumerate(roles)))
    if not left:
        assert isinstance(outcome, Drop)
        assert outcome.reason == "no_exchange"
        return
    assert "".join(role[0] for role, _ in turns_of(outcome)) == left
    if roles != left:
        dropped = cleaned(*((names[role], f"{role}{p}") for p, role in enumerate(roles)), role_order="drop")
        assert isinstance(dropped, Drop)
        assert dropped.reason == "role_order"


def test_empty_turns_end_the_dialogue_and_too_long_ones_drop_it() -> None:
    outcome = cleaned(("user", "a"), ("assistant", "b"), ("user", " \n"), ("assistant", "c"))
    assert turns_of(outcome) == [("user", "a"), ("assistant", "b")]
    dropped = cleaned(("user", "x" * 101), ("assistant", "y"), max_turn_chars=100)
    assert isinstance(dropped, Drop)
    assert (dropped.reason, dropped.detail) == ("turn_too_long", "101 characters")


@pytest.mark.parametrize(
    ("reply", "names_itself"),
    [
        ("As an AI language model, I cannot.", True),
        ("I was made by OpenAI.", True),
        ("ChatGPT here!", True),
        ("I'm a large language model.", True),
        ("As a language model, I have no feelings.", True),
        ("I'm sorry, I am a language model AI and cannot see.", True),
        ("As an AI, I have no body.", True),
        ("I’m an AI model.", True),
        ("The open air is good for you.", False),
        ("As an AI engineer, you train a language model.", False),
        ("BERT was trained as a language model, then tuned.", False),
        ("Claudette sings.", False),
    ],
)
def test_naming_the_provider_can_be_a_reason_to_drop(reply: str, names_itself: bool) -> None:
    turns = (("user", "Who are you, ChatGPT?"), ("assistant", reply))
    assert isinstance(cleaned(*turns), Conversation)
    assert isinstance(cleaned(*turns, self_identification="drop"), Drop) is names_itself


ROLE = st.sampled_from(["user", "assistant", "system"])


@settings(max_examples=200, deadline=None)
@given(turns=st.lists(st.tuples(ROLE, st.sampled_from(["", " ", "x", "yy", "continue"])), max_size=8))
def test_what_stays_alternates_ends_with_an_answer_and_is_clean_already(turns: list[tuple[str, str]]) -> None:
    outcome = cleaned(*turns)
    if isinstance(outcome, Drop):
        return
    roles = [role for role, _ in turns_of(outcome)]
    spoken = roles[1:] if roles[0] == "system" else roles
    assert spoken == ["user", "assistant"] * (len(spoken) // 2)
    assert all(text.strip() for _, text in turns_of(outcome))
    assert clean_conversation(outcome, CleanSpec(), Notes()) == outcome
