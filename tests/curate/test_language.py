"""The language step on texts whose language is known: translated messages of Debian packages, real English questions.

Where the texts come from: the message catalogues below ``/usr/share/locale`` (binutils, wget, man-db, PostgreSQL, GTK
and other packages of Debian carry them; a language is known because translators wrote it), and the English prompts of
the shared data. Neither is in this repository.
"""

from __future__ import annotations

import gettext
import json
import random
import re
from pathlib import Path

import pytest

from epigone.curate import run_step
from epigone.curate.curated import Notes
from epigone.curate.language import Detector, Language, LanguageSpec, detect_language, prose
from epigone.errors import SpecError
from epigone.records import Conversation, Drop, Message

LOCALE = Path("/usr/share/locale")
LANGUAGES = ("de", "fr", "es", "it", "nl", "pl", "ru", "sv", "tr", "uk", "zh_CN", "ja")
TURNS_EACH = 84  # 12 languages: 1,008 turns


def catalogue_turns(language: str) -> list[str]:
    """Translated messages that hold a sentence's worth of letters and no format marks."""
    letters = 15 if language in ("zh_CN", "ja") else 40
    turns: set[str] = set()
    for path in sorted((LOCALE / language / "LC_MESSAGES").glob("*.mo")):
        try:
            with path.open("rb") as file:
                catalogue = gettext.GNUTranslations(file)._catalog  # type: ignore[attr-defined]
        except (OSError, UnicodeDecodeError):
            continue
        turns |= {
            text
            for source, text in catalogue.items()
            if source and isinstance(text, str) and text != source and not re.search(r"[%<\\]|--", text)
            if len(re.findall(r"[^\W\d_]", text)) >= letters and not re.search(r"[a-z]_[a-z]", text)
        }
    return sorted(turns)


def keeps(turn: str, spec: LanguageSpec) -> bool:
    conversation = Conversation(id="x", messages=(Message(role="user", content=turn),))
    (outcome,) = Language(spec).run([conversation], Notes())
    return not isinstance(outcome, Drop)


@pytest.fixture(scope="module")
def foreign_turns() -> dict[str, list[str]]:
    found = {language: catalogue_turns(language) for language in LANGUAGES}
    if any(len(turns) < TURNS_EACH for turns in found.values()):
        pytest.skip(f"too few translated messages below {LOCALE}: the machine has no Debian message catalogues")
    draw = random.Random(0)
    return {language: draw.sample(turns, TURNS_EACH) for language, turns in found.items()}


@pytest.fixture(scope="module")
def english_turns(shared_data: Path) -> list[str]:
    def column(path: str, key: str) -> list[str]:
        rows = [json.loads(line) for line in (shared_data / path).read_text().splitlines() if line.strip()]
        return [row[key] for row in rows]

    draw = random.Random(0)
    turns = draw.sample(column("nq_open/NQ-open.dev.jsonl", "question"), 600)
    turns += column("seed_tasks/self_instruct_seed_tasks.jsonl", "instruction")
    turns += draw.sample(column("gsm8k/test.jsonl", "question"), 1_000 - len(turns))
    return turns


@pytest.mark.real
@pytest.mark.parametrize("detectors", [("eldc",), ("eldc", "py3langid")], ids=lambda names: "+".join(names))
def test_english_stays_and_other_languages_go(
    english_turns: list[str], foreign_turns: dict[str, list[str]], detectors: tuple[Detector, ...]
) -> None:
    spec = LanguageSpec(detectors=detectors)
    english = sum(keeps(turn, spec) for turn in english_turns) / len(english_turns)
    foreign = [turn for turns in foreign_turns.values() for turn in turns]
    other = 1 - sum(keeps(turn, spec) for turn in foreign) / len(foreign)
    assert len(english_turns) + len(foreign) >= 2_000
    assert english >= 0.99
    assert other >= 0.95


@pytest.mark.real
def test_the_detected_language_is_the_translators(foreign_turns: dict[str, list[str]]) -> None:
    for language, turns in foreign_turns.items():
        right = sum(detect_language(prose(turn)) == language[:2] for turn in turns)
        assert right / TURNS_EACH >= 0.85, language


GERMAN = "Bitte erkläre mir, wie man einen Kuchen backt, ohne dass er in der Mitte zusammenfällt."
ENGLISH = "Please explain how to bake a cake that does not fall in the middle when I open the oven."


def outcome(spec: LanguageSpec, *turns: str) -> Conversation | Drop:
    messages = tuple(Message(role=("user", "assistant")[n % 2], content=turn) for n, turn in enumerate(turns))  # type: ignore[arg-type]
    (one,) = Language(spec).run([Conversation(id="x", messages=messages)], Notes())
    return one


def test_the_tag_says_which_language_and_the_drop_which_detector() -> None:
    kept = outcome(LanguageSpec(), ENGLISH)
    assert isinstance(kept, Conversation)
    assert kept.tags == {"language": "en"}
    dropped = outcome(LanguageSpec(), GERMAN)
    assert isinstance(dropped, Drop)
    assert (dropped.reason, dropped.detail) == ("other_language", "de by eldc")


def test_short_texts_and_code_have_rules_of_their_own() -> None:
    code = "```python\n" + "for value in werte: print(value)\n" * 20 + "```"
    assert isinstance(outcome(LanguageSpec(), "ok?"), Conversation)
    dropped = outcome(LanguageSpec(short="drop"), "ok?")
    assert isinstance(dropped, Drop)
    assert dropped.reason == "too_short_to_tell"
    assert isinstance(outcome(LanguageSpec(), "?", code), Conversation)
    dropped = outcome(LanguageSpec(code="drop"), "?", code)
    assert isinstance(dropped, Drop)
    assert dropped.reason == "code_only"


def test_code_does_not_decide_and_neither_does_one_long_paste() -> None:
    assert isinstance(
        outcome(LanguageSpec(), f"{GERMAN}\n```\n" + "print the value of this thing\n" * 100 + "```"), Drop
    )
    assert isinstance(outcome(LanguageSpec(), ENGLISH * 10, ENGLISH * 10, GERMAN * 50, ENGLISH * 10), Conversation)


def test_confusion_between_two_detectors_is_counted() -> None:
    notes = Notes()
    turns = [ENGLISH, ENGLISH, GERMAN]
    data = [Conversation(id=str(n), messages=(Message(role="user", content=turn),)) for n, turn in enumerate(turns)]
    list(Language(LanguageSpec(detectors=("eldc", "py3langid"))).run(data, notes))
    assert notes.counts == {"language.confusion en en": 2, "language.confusion de de": 1}


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"keep": ["english"]}, "keep"),
        ({"keep": ["EN"]}, "keep"),
        ({"keep": []}, "keep"),
        ({"keep": ["en", "xx"]}, "eldc never finds xx"),
        ({"detectors": ["eldc", "eldc"]}, "named twice"),
    ],
)
def test_a_language_that_no_detector_finds_is_refused_before_everything_is_dropped(
    settings: dict[str, object], says: str
) -> None:
    with pytest.raises(SpecError, match=says):
        list(run_step("language", [], **settings))
