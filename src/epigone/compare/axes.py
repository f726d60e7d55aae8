"""The axes that need more than the mean of one metric, and the standard sets of style and preference axes."""

from __future__ import annotations

from collections.abc import Iterable

from epigone.records import Axis, Vote, VoterKind

__all__ = ["CORRELATIONS", "preference_axes", "preference_task", "split_axis", "style_axes"]

CORRELATIONS: dict[str, tuple[str, str]] = {
    "style.length_correlation": ("length_tokens", "teacher_length_tokens"),
    "style.length_rank_correlation": ("length_rank", "teacher_length_rank"),
}
"""Axes that are Pearson's r between two metrics of the same task; of ranks it is Spearman's."""

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


def style_axes() -> tuple[Axis, ...]:
    """The rows of Table 2 that are measured without a judge, as headline axes, and what goes beyond the table."""
    table_2 = (
        ("list_agreement", "lists when the teacher lists", "share"),
        ("summary_agreement", "summarizes when the teacher does", "share"),
        ("unigram_overlap", "unigram intersection", "share"),
        ("length_correlation", "correlation of lengths", "r"),
    )
    beyond = (
        ("length_rank_correlation", "rank correlation of lengths", "r", True),
        ("authoritative_tone_proxy", "authoritative tone (offline proxy)", "share", True),
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
    return main + further


def preference_task(kind: VoterKind, voter: str | None = None) -> str:
    """The task under which votes are scored: ``preference.person``, ``preference.llm_judge:gpt-x`` for one voter."""
    return f"preference.{kind}" + (f":{voter.replace('.', '_')}" if voter else "")


def preference_axes(votes: Iterable[Vote]) -> tuple[Axis, ...]:
    """The axes that these votes give, a set for each kind of voter; single judges apart where there are several."""
    voters: dict[VoterKind, set[str]] = {}
    both_orders: set[VoterKind] = set()
    for vote in votes:
        voters.setdefault(vote.kind, set()).add(vote.voter)
        if vote.kind != "person" and vote.first is not None:
            both_orders.add(vote.kind)
    axes: list[Axis] = []
    for kind in (kind for kind in KINDS if kind in voters):
        who = _KIND_LABELS[kind]
        metrics = [
            ("equal_or_better", f"rated equal or better ({who})", "share"),
            ("win_rate", f"win rate, ties half ({who})", "share"),
            ("tie_share", f"ties ({who})", "share"),
        ]
        if kind in both_orders:
            metrics += [
                ("flip_share", f"verdict flips with the order ({who})", "share"),
                ("first_position_share", f"prefers the answer shown first ({who})", "share"),
            ]
        task = preference_task(kind)
        axes += [
            Axis(
                name=f"{task}.{metric}", label=label, kind="preference", unit=unit, headline=metric == "equal_or_better"
            )
            for metric, label, unit in metrics
        ]
        if kind != "person" and len(voters[kind]) > 1:
            axes += [
                Axis(
                    name=f"{preference_task(kind, voter)}.equal_or_better",
                    label=f"rated equal or better ({voter})",
                    kind="preference",
                    unit="share",
                )
                for voter in sorted(voters[kind])
            ]
    return tuple(axes)
