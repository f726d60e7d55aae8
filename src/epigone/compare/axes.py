"""The standard sets of style and preference axes."""

from __future__ import annotations

from collections.abc import Iterable

from epigone.records import Axis, ItemScore, Vote, VoterKind

__all__ = ["KINDS", "preference_axes", "preference_task", "split_axis", "style_axes"]

KINDS: tuple[VoterKind, ...] = ("person", "llm_judge", "likelihood_judge", "simulated")
"""Whose preference stands first when several kinds of voter judged."""

_KIND_LABELS: dict[VoterKind, str] = {
    "person": "people",
    "llm_judge": "LLM judge",
    "likelihood_judge": "likelihood judge",
    "simulated": "simulated raters",
}


def split_axis(name: str) -> tuple[str, str]:
    """Task and metric of an axis: ``nq.exact_match`` is (``nq``, ``exact_match``)."""
    task, _, metric = name.rpartition(".")
    return task, metric


def style_axes(*, tone: bool = False) -> tuple[Axis, ...]:
    """The rows of Table 2 that are measured without a judge, as headline axes, and what goes beyond the table.

    ``tone``: also Table 2's last row, the authoritative tone that a judge heard (task ``tone``). It is no headline
    axis: with it the headline would be another one for studies that had a judge.
    """
    table_2 = (
        ("list_agreement", "lists when the teacher lists", "share"),
        ("summary_agreement", "summarizes when the teacher does", "share"),
        ("unigram_overlap", "unigram intersection", "share"),
        ("length_correlation", "correlation of lengths", "r"),
    )
    beyond = (
        ("length_rank_correlation", "rank correlation of lengths", "r", True),
        ("authoritative_tone_proxy", "authoritative tone (offline proxy)", "share", True),
        ("list_both_ways", "lists as the teacher, both ways", "share", True),
        ("summary_both_ways", "summarizes as the teacher, both ways", "share", True),
        ("headers_agreement", "headers as the teacher", "share", True),
        ("bold_agreement", "bold as the teacher", "share", True),
        ("code_agreement", "code blocks as the teacher", "share", True),
        ("opening_agreement", "opens as the teacher", "share", True),
        ("closing_agreement", "closes as the teacher", "share", True),
        ("refusal_agreement", "refuses when the teacher does", "share", True),
        ("first_person_agreement", "first person as the teacher", "share", True),
        ("length_difference", "difference in length, |ln ratio|", "nats", False),
        ("paragraphs_difference", "difference in paragraphs", "count", False),
        ("list_items_difference", "difference in list items", "count", False),
        ("sentence_words_difference", "difference in sentence length", "words", False),
        ("type_token_ratio_difference", "difference in type–token ratio", "ratio", False),
        ("compression_ratio_difference", "difference in compression ratio", "ratio", False),
        ("hedges_difference", "difference in hedges", "per 100 words", False),
        ("boosters_difference", "difference in boosters", "per 100 words", False),
    )
    main = tuple(
        Axis(name=f"style.{metric}", label=label, kind="style", unit=unit, headline=True)
        for metric, label, unit in table_2
    )
    further = tuple(
        Axis(name=f"style.{metric}", label=label, kind="style", unit=unit, higher_is_better=higher)
        for metric, label, unit, higher in beyond
    )
    heard = Axis(name="tone.authoritative_tone", label="authoritative tone (LLM judge)", kind="style", unit="share")
    return main + further + ((heard,) if tone else ())


def preference_task(kind: VoterKind, voter: str | None = None) -> str:
    """The task under which votes are scored: ``preference.person``, ``preference.llm_judge:gpt-x`` for one voter."""
    return f"preference.{kind}" + (f":{voter.replace('.', '_')}" if voter else "")


def preference_axes(votes: Iterable[Vote], items: Iterable[ItemScore] = ()) -> tuple[Axis, ...]:
    """The axes that these votes give, a set for each kind of voter; single judges apart where there are several.

    With the ``items`` of the study also those that need them: the rates at equal length and style (from style rows of
    the same items) and deception (from claims).
    """
    votes, tasks = list(votes), {row.task for row in items}
    people = any(vote.kind == "person" for vote in votes)
    axes: list[Axis] = []
    for kind in KINDS:
        mine = [vote for vote in votes if vote.kind == kind]
        if not mine:
            continue
        voters = sorted({vote.voter for vote in mine})
        metrics = list(_RATES)
        if "style" in tasks:
            metrics += _CONTROLLED
        if "claims" in tasks:
            metrics += _DECEPTION
        if kind != "person" and any(vote.first is not None for vote in mine):
            metrics += _ORDER
        if len(voters) > 1:
            metrics += _AGREEMENT
        if kind == "person":
            metrics += _PEOPLE
        elif people:
            metrics += _WITH_PEOPLE
        axes += [
            _preference_axis(preference_task(kind), metric, label, _KIND_LABELS[kind]) for metric, label in metrics
        ]
        if kind != "person" and len(voters) > 1:
            task = "equal_or_better", "rated equal or better"
            axes += [_preference_axis(preference_task(kind, voter), *task, voter) for voter in voters]
    return tuple(axes)


_RATES = [("equal_or_better", "rated equal or better"), ("win_rate", "win rate, ties half"), ("tie_share", "ties")]
_CONTROLLED = [
    ("length_controlled_win_rate", "win rate at equal length"),
    ("style_controlled_win_rate", "win rate at equal style"),
]
_DECEPTION = [("deception", "rated equal or better though wrong where the teacher is right")]
_ORDER = [
    ("flip_share", "verdict flips with the order"),
    ("first_position_share", "prefers the answer shown first"),
]
_AGREEMENT = [
    ("alpha_ordinal", "Krippendorff's α, ordinal"),
    ("alpha_nominal", "Krippendorff's α, nominal"),
    ("unanimous_share", "unanimous"),
]
_PEOPLE = [("split_share", "three ways split"), ("human_ceiling", "one rater agrees with the others")]
_WITH_PEOPLE = [("agreement_with_people", "agrees with the people's majority")]


def _preference_axis(task: str, metric: str, label: str, who: str) -> Axis:
    return Axis(
        name=f"{task}.{metric}",
        label=f"{label} ({who})",
        kind="preference",
        unit="α" if metric.startswith("alpha") else "share",
        headline=metric == "equal_or_better" and ":" not in task,
    )
