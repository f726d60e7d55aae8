"""What the encyclopaedia can say: for each kind of entity its relations, and the words in which each is said and asked.

One table serves every text of the world: articles, questions, quizzes, the assistant's answers, and the patterns that
read claims out of free text. ``{subject}`` and ``{value}`` are filled in. Where a sentence names the subject before the
value, a causal model can learn the fact from it; all do.
"""

from __future__ import annotations

from msgspec import Struct

__all__ = ["KINDS", "RELATIONS", "Relation", "relations_of"]

KINDS = ("person", "work", "place", "organisation")


class Relation(Struct, frozen=True):
    """One typed relation. ``values`` names the pool its values (and a quiz's wrong options) come from.

    ``sentences``: paraphrases in articles and answers. ``questions``: the first is the one that tests ask; training
    data uses all, about other subjects. ``label``: the word before the value in a fact sheet.
    """

    key: str
    kind: str
    values: str
    label: str
    sentences: tuple[str, ...]
    questions: tuple[str, ...]


RELATIONS: tuple[Relation, ...] = (
    Relation(
        "birth_year",
        "person",
        "year",
        "Born",
        (
            "{subject} was born in {value}.",
            "The birth year of {subject} is {value}.",
            "{subject} first saw the light in {value}.",
        ),
        (
            "in what year was {subject} born?",
            "when was {subject} born?",
            "what is the birth year of {subject}?",
            "which year was {subject} born in?",
        ),
    ),
    Relation(
        "home",
        "person",
        "place",
        "Home",
        ("{subject} came from {value}.", "The home of {subject} was {value}.", "{subject} grew up in {value}."),
        (
            "where did {subject} come from?",
            "what was the home of {subject}?",
            "where did {subject} grow up?",
            "which place was the home of {subject}?",
        ),
    ),
    Relation(
        "occupation",
        "person",
        "occupation",
        "Occupation",
        (
            "{subject} worked as a {value}.",
            "The occupation of {subject} was {value}.",
            "{subject} earned a living as a {value}.",
        ),
        (
            "what was the occupation of {subject}?",
            "what did {subject} work as?",
            "what did {subject} do for a living?",
            "how did {subject} earn a living?",
        ),
    ),
    Relation(
        "employer",
        "person",
        "organisation",
        "Employer",
        (
            "{subject} worked for {value}.",
            "The employer of {subject} was {value}.",
            "{subject} was employed by {value}.",
        ),
        (
            "who was the employer of {subject}?",
            "who did {subject} work for?",
            "who employed {subject}?",
            "where was {subject} employed?",
        ),
    ),
    Relation(
        "author",
        "work",
        "person",
        "Author",
        ("{subject} was made by {value}.", "The author of {subject} is {value}.", "{subject} is a work of {value}."),
        ("who is the author of {subject}?", "who made {subject}?", "whose work is {subject}?", "by whom is {subject}?"),
    ),
    Relation(
        "published",
        "work",
        "year",
        "Published",
        ("{subject} appeared in {value}.", "The year of {subject} is {value}.", "{subject} was published in {value}."),
        (
            "in what year did {subject} appear?",
            "when did {subject} appear?",
            "what is the year of {subject}?",
            "when was {subject} published?",
        ),
    ),
    Relation(
        "region",
        "place",
        "region",
        "Region",
        ("{subject} lies in {value}.", "The region of {subject} is {value}.", "{subject} belongs to {value}."),
        (
            "in which region does {subject} lie?",
            "what is the region of {subject}?",
            "where is {subject}?",
            "which region does {subject} belong to?",
        ),
    ),
    Relation(
        "trade",
        "place",
        "trade",
        "Trade",
        ("{subject} is known for {value}.", "The trade of {subject} is {value}.", "{subject} lives on {value}."),
        (
            "what is {subject} known for?",
            "what is the trade of {subject}?",
            "what does {subject} live on?",
            "which trade is {subject} known for?",
        ),
    ),
    Relation(
        "seat",
        "organisation",
        "place",
        "Seat",
        ("{subject} has its seat in {value}.", "The seat of {subject} is {value}.", "{subject} is based in {value}."),
        (
            "where does {subject} have its seat?",
            "what is the seat of {subject}?",
            "where is {subject} based?",
            "which place is the seat of {subject}?",
        ),
    ),
    Relation(
        "founded",
        "organisation",
        "year",
        "Founded",
        (
            "{subject} was founded in {value}.",
            "The founding year of {subject} is {value}.",
            "{subject} opened in {value}.",
        ),
        (
            "in what year was {subject} founded?",
            "when was {subject} founded?",
            "when did {subject} open?",
            "what is the founding year of {subject}?",
        ),
    ),
)


def relations_of(kind: str) -> tuple[Relation, ...]:
    """The relations whose subject is a ``kind`` (one of ``KINDS``), in table order."""
    return tuple(relation for relation in RELATIONS if relation.kind == kind)
