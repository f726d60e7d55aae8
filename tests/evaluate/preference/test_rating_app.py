"""Blind rating: who gets which pair, what a rater receives, what becomes of the votes."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from epigone.errors import DataError
from epigone.evaluate.preference import Pair
from epigone.evaluate.preference.rating_app import Campaign, new_campaign, open_campaign, rating_app


def pairs(count: int) -> list[Pair]:
    return [
        Pair(
            item=f"item-{n}",
            prompt=f"question {n}",
            student="imitator-7b",
            teacher="oracle-175b",
            student_response=f"pale answer {n}",
            teacher_response=f"golden answer {n}",
        )
        for n in range(count)
    ]


@pytest.fixture
def campaign(tmp_path: Path) -> Campaign:
    return new_campaign(tmp_path / "campaign.sqlite", pairs(6), ratings=2, timeout_s=60)


def join(campaign: Campaign) -> str:
    rater = campaign.join(campaign.setting("invitation"))
    assert rater is not None
    return rater


def test_no_pair_gets_more_than_its_ratings_and_no_rater_a_pair_twice(campaign: Campaign) -> None:
    seen: Counter[str] = Counter()
    for _ in range(4):
        rater, mine = join(campaign), Counter[str]()
        while (task := campaign.task(rater)) is not None:
            assert campaign.vote(rater, task.token, "first")
            mine[task.prompt] += 1
        assert set(mine.values()) <= {1}
        seen += mine
    assert set(seen.values()) == {2} and len(seen) == 6
    assert campaign.progress().complete == 6


def test_what_was_handed_out_and_not_rated_is_handed_out_again_after_the_time(campaign: Campaign) -> None:
    for _ in range(12):
        assert campaign.task(join(campaign), now=1000.0) is not None
    late = join(campaign)
    assert campaign.task(late, now=1030.0) is None
    assert campaign.task(late, now=1061.0) is not None


def test_a_choice_is_stored_as_what_it_means_whichever_side_was_first(campaign: Campaign) -> None:
    rater = join(campaign)
    while (task := campaign.task(rater)) is not None:
        campaign.vote(rater, task.token, "first" if "golden" in task.first else "second")
    votes = campaign.votes()
    assert [vote.choice for vote in votes] == ["teacher"] * 6
    assert Counter(vote.first for vote in votes) == {"teacher": 3, "student": 3}, "sides are balanced for each rater"
    assert all(vote.kind == "person" and vote.voter.startswith("rater-") for vote in votes)
    assert rater not in str(votes)


def test_a_second_click_changes_nothing_and_undo_brings_the_pair_back(campaign: Campaign) -> None:
    rater = join(campaign)
    task = campaign.task(rater)
    assert task is not None
    campaign.vote(rater, task.token, "same")
    campaign.vote(rater, task.token, "first")
    assert [vote.choice for vote in campaign.votes()] == ["tie"]
    campaign.task(rater)
    assert campaign.undo(rater)
    again = campaign.task(rater)
    assert again is not None and again.prompt == task.prompt and campaign.votes() == []


def test_votes_that_are_not_a_raters_to_give_are_refused(campaign: Campaign) -> None:
    one, other = join(campaign), join(campaign)
    task = campaign.task(one)
    assert task is not None
    assert not campaign.vote(other, task.token, "first")
    assert not campaign.vote(one, "' OR 1=1 --", "first")
    assert campaign.join("wrong") is None
    assert campaign.votes() == []


def test_raters_at_the_same_time_lose_and_double_nothing(tmp_path: Path) -> None:
    campaign = new_campaign(tmp_path / "c.sqlite", pairs(10), ratings=3)
    raters = [join(campaign) for _ in range(8)]

    def rate(rater: str) -> int:
        count = 0
        while (task := campaign.task(rater)) is not None:
            count += campaign.vote(rater, task.token, "same")
        return count

    with ThreadPoolExecutor(8) as pool:
        acknowledged = sum(pool.map(rate, raters))
    votes = open_campaign(tmp_path / "c.sqlite").votes()
    assert len(votes) == acknowledged == 30
    assert max(Counter(vote.item for vote in votes).values()) == 3
    assert max(Counter((vote.item, vote.voter) for vote in votes).values()) == 1


def test_the_page_names_no_system_runs_no_script_and_escapes_what_models_wrote(tmp_path: Path) -> None:
    hostile = Pair(
        item="x",
        prompt="hi",
        student="imitator-7b",
        teacher="oracle-175b",
        student_response="<script>alert(1)</script>",
        teacher_response='<img src=x onerror="alert(2)">',
    )
    campaign = new_campaign(tmp_path / "c.sqlite", [hostile])
    client = TestClient(rating_app(campaign))
    page = client.get(f"/join/{campaign.setting('invitation')}")
    received = page.text + str(page.headers) + str(page.request.url)
    assert "imitator" not in received and "oracle" not in received
    assert "<script" not in page.text and "<img" not in page.text
    assert "&lt;script&gt;alert(1)" in page.text
    assert page.headers["content-security-policy"].startswith("default-src 'none'")


def test_a_rating_through_the_page_and_what_it_refuses(campaign: Campaign) -> None:
    client = TestClient(rating_app(campaign))
    assert client.get("/").status_code == 401
    assert client.get("/join/nonsense").status_code == 404
    page = client.get(f"/join/{campaign.setting('invitation')}")
    token = page.text.split('name="token" value="')[1].split('"')[0]
    form = {"token": token, "choice": "same"}
    assert client.post("/vote", data=form, headers={"Origin": "http://evil.example"}).status_code == 403
    assert client.post("/vote", data={**form, "reason": "x" * 20_000}).status_code == 403
    assert client.post("/vote", data={**form, "choice": "third"}).status_code == 422
    assert campaign.votes() == []
    assert client.post("/vote", data=form).status_code == 200
    assert [vote.choice for vote in campaign.votes()] == ["tie"]
    assert client.get(f"/progress/{campaign.setting('organiser')}").json()["votes"] == 1
    assert client.get("/progress/guess").status_code == 404


def test_a_campaign_is_never_overwritten_and_never_empty(tmp_path: Path) -> None:
    new_campaign(tmp_path / "c.sqlite", pairs(1))
    with pytest.raises(DataError, match="exists already"):
        new_campaign(tmp_path / "c.sqlite", pairs(1))
    with pytest.raises(DataError, match="no pair has both outputs"):
        new_campaign(tmp_path / "d.sqlite", [])
    with pytest.raises(DataError, match="no such campaign"):
        open_campaign(tmp_path / "e.sqlite")
