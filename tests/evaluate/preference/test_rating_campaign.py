"""Blind rating: who gets which pair, on which side, what is refused, and what becomes of the votes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from epigone.errors import DataError, DiskError
from epigone.evaluate.preference import Pair
from epigone.evaluate.preference.rating_app import (
    Campaign,
    CheckItem,
    Finished,
    OnBreak,
    RatingRules,
    Task,
    new_campaign,
    open_campaign,
)


def pairs(count: int, students: Sequence[str] = ("imitator-7b",)) -> list[Pair]:
    return [
        Pair(
            item=f"item-{n}",
            prompt=f"question {n}",
            student=student,
            teacher="oracle-175b",
            student_response=f"pale answer {n} {place}",
            teacher_response=f"golden answer {n}",
        )
        for n in range(count)
        for place, student in enumerate(students)
    ]


def checks(kind: str, count: int) -> list[CheckItem]:
    return [
        CheckItem(id=f"{kind}-{n}", prompt=f"check {kind} {n}", better=f"golden {n}", worse=f"pale {n}", kind=kind)  # type: ignore[arg-type]
        for n in range(count)
    ]


def join(campaign: Campaign, external: str | None = None) -> str:
    rater = campaign.join(campaign.setting("invitation"), external=external)
    assert rater is not None
    return rater


def task_of(campaign: Campaign, rater: str, now: float | None = None) -> Task:
    step = campaign.step(rater, now=now)
    assert isinstance(step, Task), step
    return step


def rate_all(campaign: Campaign, rater: str, want: str = "golden") -> list[Task]:
    """Vote for the answer that holds ``want`` until nothing is left."""
    tasks = []
    while isinstance(task := campaign.step(rater), Task):
        assert campaign.vote(rater, task.token, "first" if want in task.first else "second") == "stored"
        tasks.append(task)
    return tasks


@pytest.fixture
def campaign(tmp_path: Path) -> Campaign:
    return new_campaign(tmp_path / "campaign.sqlite", pairs(6), RatingRules(ratings=2, timeout_s=60))


def test_no_pair_gets_more_than_its_ratings_and_no_rater_a_pair_twice(campaign: Campaign) -> None:
    seen: Counter[str] = Counter()
    for _ in range(4):
        mine = Counter(task.prompt for task in rate_all(campaign, join(campaign)))
        assert set(mine.values()) <= {1}
        seen += mine
    assert set(seen.values()) == {2} and len(seen) == 6
    assert campaign.progress().complete == 6


def test_what_was_handed_out_and_not_rated_is_handed_out_again_after_the_time(campaign: Campaign) -> None:
    for _ in range(12):
        task_of(campaign, join(campaign), now=1000.0)
    late = join(campaign)
    early = campaign.step(late, now=1030.0)
    assert isinstance(early, Finished) and early.why == "waiting"
    task_of(campaign, late, now=1061.0)


def test_a_late_vote_counts_while_its_pair_has_room_and_is_refused_when_others_have_filled_it(tmp_path: Path) -> None:
    campaign = new_campaign(tmp_path / "c.sqlite", pairs(1), RatingRules(ratings=1, timeout_s=60))
    slow, quick = join(campaign), join(campaign)
    task = task_of(campaign, slow, now=0.0)
    other = task_of(campaign, quick, now=100.0)
    assert other.prompt == task.prompt
    assert campaign.vote(slow, task.token, "first", now=101.0) == "expired", "the pair is kept for somebody else now"
    assert campaign.vote(quick, other.token, "same", now=102.0) == "stored"
    assert campaign.vote(slow, task.token, "first", now=103.0) == "expired"
    assert [vote.choice for vote in campaign.votes()] == ["tie"]
    roomy = new_campaign(tmp_path / "d.sqlite", pairs(2), RatingRules(ratings=1, timeout_s=60))
    slow, quick = join(roomy), join(roomy)
    task = task_of(roomy, slow, now=0.0)
    task_of(roomy, quick, now=100.0)  # gets the other pair or this one; there is room for both
    assert roomy.vote(slow, task.token, "first", now=101.0) in ("stored", "expired")
    assert sum(row.votes for row in [roomy.progress()]) <= 2


def test_a_choice_is_stored_as_what_it_means_whichever_side_was_first(campaign: Campaign) -> None:
    rater = join(campaign)
    rate_all(campaign, rater)
    votes = campaign.votes()
    assert [vote.choice for vote in votes] == ["teacher"] * 6
    assert Counter(vote.first for vote in votes) == {"teacher": 3, "student": 3}, "sides are balanced for each rater"
    assert all(vote.kind == "person" and vote.voter.startswith("rater-") for vote in votes)
    assert rater not in str(votes)


def test_sides_are_balanced_for_each_pair_and_nearly_so_for_each_rater(tmp_path: Path) -> None:
    campaign = new_campaign(tmp_path / "c.sqlite", pairs(20), RatingRules(ratings=4))
    for _ in range(8):
        rater = join(campaign)
        for _ in range(10):
            assert campaign.vote(rater, task_of(campaign, rater).token, "same") == "stored"
    votes = campaign.votes()
    assert len(votes) == 80
    by_pair = Counter((vote.item, vote.first) for vote in votes)
    assert set(by_pair.values()) == {2}
    by_rater = Counter(vote.voter for vote in votes if vote.first == "student")
    assert len(by_rater) == 8 and all(3 <= count <= 7 for count in by_rater.values())


def test_students_are_rated_equally_often_and_no_rater_meets_a_prompt_twice(tmp_path: Path) -> None:
    campaign = new_campaign(tmp_path / "c.sqlite", pairs(6, ["small", "large", "huge"]), RatingRules(ratings=1))
    raters = [join(campaign) for _ in range(3)]
    for rater in raters:
        prompts = Counter(task.prompt for task in rate_all(campaign, rater))
        assert len(prompts) == 6 and set(prompts.values()) == {1}
    votes = campaign.votes()
    assert Counter(vote.student for vote in votes) == {"small": 6, "large": 6, "huge": 6}
    first = Counter(vote.student for vote in votes if vote.voter == votes[0].voter)
    assert set(first.values()) == {2}, "balanced within a rater too"


def test_a_campaign_that_allows_it_shows_a_prompt_again_with_another_student(tmp_path: Path) -> None:
    rules = RatingRules(ratings=1, repeat_prompts=True)
    campaign = new_campaign(tmp_path / "c.sqlite", pairs(3, ["small", "large"]), rules)
    assert len(rate_all(campaign, join(campaign))) == 6


def test_a_second_click_changes_nothing_and_undo_brings_the_pair_back_once(campaign: Campaign) -> None:
    rater = join(campaign)
    task = task_of(campaign, rater)
    assert not task.can_undo and not campaign.undo(rater)
    assert campaign.vote(rater, task.token, "same") == "stored"
    assert campaign.vote(rater, task.token, "first") == "already"
    assert [vote.choice for vote in campaign.votes()] == ["tie"]
    following = task_of(campaign, rater)
    assert following.can_undo and following.token != task.token
    assert campaign.undo(rater)
    again = task_of(campaign, rater)
    assert (again.token, again.first, again.second) == (task.token, task.first, task.second)
    assert campaign.votes() == [] and not campaign.undo(rater), "only the last vote"
    assert campaign.vote(rater, again.token, "first") == "stored"
    assert task_of(campaign, rater).token == following.token, "what was open comes next"


def test_a_vote_that_is_sent_again_after_it_was_taken_back_counts_once_and_for_its_rater_alone(
    campaign: Campaign,
) -> None:
    rater, other = join(campaign), join(campaign)
    task = task_of(campaign, rater)
    assert campaign.vote(rater, task.token, "first") == "stored"
    assert campaign.undo(rater)
    assert campaign.vote(other, task.token, "first") == "not_yours"
    assert campaign.vote(rater, task.token, "second") == "stored", "the pair is this rater's again"
    assert campaign.vote(rater, task.token, "first") == "already"
    assert [vote.choice == vote.first for vote in campaign.votes()] == [False], "the second answer was for the second"
    assert campaign.undo(rater) and not campaign.undo(rater)
    assert campaign.votes() == [] and campaign.progress().open == 1


def test_votes_that_are_not_a_raters_to_give_are_refused(campaign: Campaign, caplog: pytest.LogCaptureFixture) -> None:
    one, other = join(campaign), join(campaign)
    task = task_of(campaign, one)
    assert campaign.vote(other, task.token, "first") == "not_yours"
    assert campaign.vote("nobody", task.token, "first") == "not_yours"
    for hostile in ("' OR 1=1 --", "x'; DROP TABLE assignment; --", "", "\x00", "\ud800"):
        assert campaign.vote(one, hostile, "first") == "not_yours"
        assert campaign.join(hostile) is None
        assert not campaign.knows(hostile) and campaign.step(hostile) is None and not campaign.undo(hostile)
    with pytest.raises(DataError, match="no criterion"):
        campaign.vote(one, task.token, "first", marks={"charm": "first"})
    assert campaign.votes() == [] and campaign.progress().raters == 2
    assert "refused: a vote: not yours" in caplog.text and one not in caplog.text and other not in caplog.text


def test_form_tokens_are_bound_to_their_rater_and_cannot_be_made_elsewhere(tmp_path: Path, campaign: Campaign) -> None:
    other = new_campaign(tmp_path / "other.sqlite", pairs(1))
    assert campaign.is_form_token("cookie", campaign.form_token("cookie"))
    assert not campaign.is_form_token("another", campaign.form_token("cookie"))
    assert not campaign.is_form_token("cookie", other.form_token("cookie"))
    assert not campaign.is_form_token("cookie", "")


def test_a_crowd_workers_second_visit_goes_on_where_the_first_ended(tmp_path: Path) -> None:
    rules = RatingRules(require_external=True, completion_code="C0FFEE", return_url="https://crowd.example/done")
    campaign = new_campaign(tmp_path / "c.sqlite", pairs(2), rules)
    assert campaign.join(campaign.setting("invitation")) is None, "without the platform's id"
    worker = join(campaign, "5f8a")
    assert join(campaign, " 5f8a ") == worker
    assert campaign.step(worker) != campaign.step(join(campaign, "77"))
    rate_all(campaign, worker)
    end = campaign.step(worker)
    assert isinstance(end, Finished) and (end.why, end.done, end.code) == ("done", 2, "C0FFEE")
    assert end.return_url == "https://crowd.example/done"
    assert "5f8a" not in str(campaign.votes())
    names = {known.crowd_id: known.rater for known in campaign.crowd_raters()}
    assert set(names) == {"5f8a", "77"} and names["5f8a"] == campaign.votes()[0].voter


def test_a_quota_ends_a_raters_work(tmp_path: Path) -> None:
    campaign = new_campaign(tmp_path / "c.sqlite", pairs(5), RatingRules(pairs_per_rater=3))
    rater = join(campaign)
    tasks = rate_all(campaign, rater)
    assert [(task.done, task.total) for task in tasks] == [(0, 3), (1, 3), (2, 3)]


def test_gold_and_attention_items_come_between_the_pairs_at_the_rate_that_the_rules_say(tmp_path: Path) -> None:
    rules = RatingRules(ratings=9, gold_every=5, attention_every=10)
    items = [*checks("gold", 20), *checks("attention", 20)]
    places = set()
    for number in range(4):
        campaign = new_campaign(tmp_path / f"{number}.sqlite", pairs(28), rules, checks=items)
        tasks = rate_all(campaign, join(campaign))
        assert len(campaign.votes()) == 28
        kinds = Counter(answer.kind for answer in campaign.checks_answered())
        assert len(tasks) == 28 + kinds.total() and {task.total for task in tasks} == {len(tasks)}
        assert len(tasks) // 5 <= kinds["gold"] <= len(tasks) // 5 + 1
        assert len(tasks) // 10 <= kinds["attention"] <= len(tasks) // 10 + 1
        assert all(answer.right for answer in campaign.checks_answered())
        places.add(tuple("check" in task.prompt for task in tasks))
    assert len(places) > 1, "where they come is drawn"


def test_who_fails_checks_is_flagged_and_stays(tmp_path: Path) -> None:
    rules = RatingRules(gold_every=2, attention_every=4, fast_flag_below_s=0)
    items = [*checks("gold", 9), *checks("attention", 9)]
    campaign = new_campaign(tmp_path / "c.sqlite", pairs(12), rules, checks=items)
    careful, careless = join(campaign), join(campaign)
    rate_all(campaign, careful)
    rate_all(campaign, careless, want="pale")
    figures = {person.rater: person for person in campaign.figures().people}
    assert len(campaign.votes()) == 24, "flagged, not dropped"
    votes = campaign.votes()
    good, bad = figures[votes[0].voter], figures[votes[-1].voter]
    assert good.flags == () and bad.flags == ("gold", "attention")
    right, shown = good.checks.split("/")
    assert right == shown and int(shown) >= 9 and bad.checks.startswith("0/")
    assert good.agreement == bad.agreement == 0.0


def test_hurried_and_one_sided_raters_are_flagged(tmp_path: Path) -> None:
    campaign = new_campaign(tmp_path / "c.sqlite", pairs(12), RatingRules(fast_flag_below_s=5))
    hurried, lopsided = join(campaign), join(campaign)
    for n in range(12):
        at = 1000.0 + 100 * n
        shown = task_of(campaign, hurried, now=at)
        campaign.vote(hurried, shown.token, "first" if n % 2 else "second", now=at + 4)
        shown = task_of(campaign, lopsided, now=at)
        campaign.vote(lopsided, shown.token, "first", now=at + 20)
    one, two = campaign.figures().people
    assert (one.flags, one.median_s) == (("fast",), 4.0)
    assert (two.flags, two.median_s) == (("one_side",), 20.0)


def test_qualification_comes_first_and_decides_who_goes_on(tmp_path: Path) -> None:
    rules = RatingRules(qualification_share=0.75, completion_code="CODE")
    campaign = new_campaign(tmp_path / "c.sqlite", pairs(3), rules, checks=checks("qualification", 4))
    able, unable = join(campaign), join(campaign)
    first = rate_all(campaign, able)
    assert ["check" in task.prompt for task in first] == [True] * 4 + [False] * 3
    assert {task.total for task in first} == {7}
    assert len(rate_all(campaign, unable, want="pale")) == 4
    end = campaign.step(unable)
    assert isinstance(end, Finished) and (end.why, end.code, end.can_undo) == ("not_qualified", None, False)
    assert not campaign.undo(unable), "a failed qualification cannot be taken again"
    assert [person.qualified for person in campaign.figures().people] == [True, False]
    assert len(campaign.votes()) == 3


def test_a_vote_before_the_minimum_time_is_not_taken(tmp_path: Path) -> None:
    campaign = new_campaign(tmp_path / "c.sqlite", pairs(1), RatingRules(minimum_s=10))
    rater = join(campaign)
    task = task_of(campaign, rater, now=100.0)
    assert task.wait_s == 10.0
    assert campaign.vote(rater, task.token, "first", now=109.0) == "too_soon"
    assert task_of(campaign, rater, now=109.0).wait_s == 1.0
    assert campaign.vote(rater, task.token, "first", now=110.0) == "stored"
    assert campaign.votes()[0].seconds == 10.0


def test_a_break_does_not_count_and_is_suggested_when_it_is_due(tmp_path: Path) -> None:
    campaign = new_campaign(tmp_path / "c.sqlite", pairs(3), RatingRules(break_every=1))
    rater = join(campaign)
    task = task_of(campaign, rater, now=100.0)
    assert not task.break_due
    campaign.pause(rater, now=107.0)
    assert campaign.step(rater, now=500.0) == OnBreak(done=0, total=3)
    campaign.resume(rater)
    assert task_of(campaign, rater, now=600.0).token == task.token
    campaign.vote(rater, task.token, "first", now=603.0)
    assert campaign.votes()[0].seconds == 10.0
    assert task_of(campaign, rater).break_due
    campaign.pause(rater)
    campaign.resume(rater)
    assert not task_of(campaign, rater).break_due, "it was just had"


def test_marks_and_checked_facts_are_kept_in_terms_of_the_systems(tmp_path: Path) -> None:
    campaign = new_campaign(tmp_path / "c.sqlite", pairs(1), RatingRules(expert=True))
    rater = join(campaign)
    task = task_of(campaign, rater)
    golden, pale = ("first", "second") if "golden" in task.first else ("second", "first")
    marks = {"grammar": golden, "relevance": pale, "overall": "same"}
    campaign.vote(rater, task.token, golden, marks=marks, facts_checked=True, reason=" clear \x00 ")  # type: ignore[arg-type]
    vote = campaign.votes()[0]
    assert vote.marks == {"grammar": "teacher", "relevance": "student", "overall": "tie"}
    assert vote.facts_checked is True and vote.reason is not None and vote.reason.startswith("clear")


def test_a_clock_that_is_put_back_breaks_nothing(tmp_path: Path) -> None:
    campaign = new_campaign(tmp_path / "c.sqlite", pairs(2), RatingRules(ratings=1, timeout_s=60, minimum_s=5))
    rater, other = join(campaign), join(campaign)
    task = task_of(campaign, rater, now=10_000.0)
    task_of(campaign, other, now=10_000.0)
    back = task_of(campaign, rater, now=1_000.0)
    assert back.token == task.token and back.wait_s == 5.0
    assert campaign.vote(rater, task.token, "first", now=999.0) == "too_soon"
    assert campaign.vote(rater, task.token, "first", now=1_005.0) == "stored"
    assert campaign.undo(rater, now=500.0)
    assert campaign.vote(rater, task_of(campaign, rater, now=400.0).token, "second", now=300.0) == "stored"
    third = task_of(campaign, rater, now=1_200.0)
    assert third.prompt != task.prompt, "the other's hand-out from the future was let go"
    assert campaign.vote(rater, third.token, "same", now=1_210.0) == "stored"
    assert [vote.seconds for vote in campaign.votes() if vote.choice == "tie"] == [10.0]
    assert campaign.progress().votes == 2 and campaign.figures().complete == 2


def test_a_closed_campaign_takes_no_votes(campaign: Campaign) -> None:
    rater = join(campaign)
    task = task_of(campaign, rater)
    campaign.vote(rater, task.token, "first")
    following = task_of(campaign, rater)
    campaign.close()
    campaign.close()
    assert campaign.vote(rater, following.token, "first") == "closed"
    assert not campaign.undo(rater)
    end = campaign.step(rater)
    assert isinstance(end, Finished) and (end.why, end.done) == ("closed", 1)
    assert campaign.progress().closed and len(campaign.votes()) == 1


def test_a_deleted_rater_leaves_nothing_and_their_pairs_are_rated_again(tmp_path: Path) -> None:
    path = tmp_path / "c.sqlite"
    campaign = new_campaign(path, pairs(3), RatingRules(ratings=1))
    rater = join(campaign, "worker-4711")
    while isinstance(task := campaign.step(rater), Task):
        campaign.vote(rater, task.token, "first", reason="because of the zebra")
    assert campaign.delete_rater("worker-4711") == 3
    assert campaign.votes() == [] and not campaign.knows(rater) and campaign.step(rater) is None
    assert campaign.progress().raters == 0
    assert len(rate_all(campaign, join(campaign))) == 3
    left = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    assert b"worker-4711" not in left and b"zebra" not in left, "nor anything in the file's free pages"
    with pytest.raises(DataError, match="no rater 'worker-4711'"):
        campaign.delete_rater("worker-4711")


def test_figures_say_how_far_and_how_alike_but_not_who_is_winning(tmp_path: Path) -> None:
    campaign = new_campaign(tmp_path / "c.sqlite", pairs(2), RatingRules(ratings=3))
    wanted = (("golden", "golden"), ("golden", "pale"), ("golden", "tie"))
    for choices in wanted:
        rater = join(campaign)
        for _ in range(2):
            task = task_of(campaign, rater)
            want = choices[int(task.prompt.split()[1])]
            campaign.vote(rater, task.token, "same" if want == "tie" else "first" if want in task.first else "second")
    figures = campaign.figures()
    assert (figures.votes, figures.wanted, figures.complete, figures.open) == (6, 6, 2, 0)
    assert (figures.unanimous, figures.split) == (0.5, 0.5)
    assert figures.votes_by_student == {"imitator-7b": 6}
    assert [person.agreement for person in figures.people] == [0.5, 0.5, 0.5]


def test_a_campaign_is_never_overwritten_and_never_empty(tmp_path: Path) -> None:
    new_campaign(tmp_path / "c.sqlite", pairs(1))
    with pytest.raises(DataError, match="exists already"):
        new_campaign(tmp_path / "c.sqlite", pairs(1))
    with pytest.raises(DataError, match="no pair has both outputs"):
        new_campaign(tmp_path / "d.sqlite", [])
    with pytest.raises(DataError, match="answers 'item-0' twice"):
        new_campaign(tmp_path / "d.sqlite", pairs(1, ["same", "same"]))
    assert (tmp_path / "c.sqlite").stat().st_mode & 0o077 == 0, "cookies and crowd ids are nobody else's"
    assert not (tmp_path / "d.sqlite").exists()
    with pytest.raises(DiskError, match="cannot be made"):
        new_campaign(tmp_path / "c.sqlite" / "below", pairs(1))
    with pytest.raises(DataError, match="no such campaign"):
        open_campaign(tmp_path / "e.sqlite")
    (tmp_path / "f.sqlite").write_text("not a database at all " * 100)
    with pytest.raises(DataError, match="no campaign file"):
        open_campaign(tmp_path / "f.sqlite")
    with pytest.raises(DataError, match="neither a file nor a PostgreSQL URL"):
        open_campaign("mysql://localhost/x")
