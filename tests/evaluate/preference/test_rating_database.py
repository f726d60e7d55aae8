"""The rating database: the same on SQLite and PostgreSQL, raters at once, older forms, a full disk."""

from __future__ import annotations

import sqlite3
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from epigone.errors import DataError, DiskError
from epigone.evaluate.preference import Pair
from epigone.evaluate.preference.rating_app import Campaign, CheckItem, RatingRules, Task, new_campaign, open_campaign
from epigone.evaluate.preference.rating_app.tables import Table

FIRST_FORM = """
CREATE TABLE setting (name VARCHAR(64) NOT NULL, value TEXT NOT NULL, PRIMARY KEY (name));
CREATE TABLE pair (id INTEGER NOT NULL, item TEXT NOT NULL, student TEXT NOT NULL, teacher TEXT NOT NULL,
  prompt TEXT NOT NULL, student_text TEXT NOT NULL, teacher_text TEXT NOT NULL, PRIMARY KEY (id));
CREATE TABLE rater (id INTEGER NOT NULL, token VARCHAR(64) NOT NULL, external TEXT, PRIMARY KEY (id), UNIQUE (token));
CREATE TABLE assignment (id INTEGER NOT NULL, token VARCHAR(64) NOT NULL, pair_id INTEGER NOT NULL,
  rater_id INTEGER NOT NULL, student_first BOOLEAN NOT NULL, handed_at FLOAT NOT NULL, choice VARCHAR(8), reason TEXT,
  voted_at FLOAT, PRIMARY KEY (id), UNIQUE (pair_id, rater_id), UNIQUE (token),
  FOREIGN KEY(pair_id) REFERENCES pair (id), FOREIGN KEY(rater_id) REFERENCES rater (id));
CREATE INDEX ix_assignment_rater_id ON assignment (rater_id);
CREATE INDEX ix_assignment_pair_id ON assignment (pair_id);
INSERT INTO setting VALUES ('invitation', 'inv'), ('organiser', 'org'), ('ratings', '2'), ('order', 'salt'),
  ('timeout_s', '900.0');
INSERT INTO pair VALUES (1, 'a', 's', 't', 'question a', 'pale', 'golden'),
  (2, 'b', 's', 't', 'question b', 'pale', 'golden');
INSERT INTO rater VALUES (1, 'cookie', 'worker');
INSERT INTO assignment VALUES (1, 'tok1', 1, 1, 1, 100.0, 'second', 'why', 112.5),
  (2, 'tok2', 2, 1, 0, 113.0, NULL, NULL, NULL);
"""
"""What the first release wrote, one vote given and one pair open."""


def pairs(count: int) -> list[Pair]:
    return [
        Pair(item=f"i{n}", prompt=f"q{n}", student="s", teacher="t", student_response="pale", teacher_response="golden")
        for n in range(count)
    ]


def join(campaign: Campaign) -> str:
    rater = campaign.join(campaign.setting("invitation"))
    assert rater is not None
    return rater


def test_the_whole_course_of_a_campaign_is_the_same_on_both_databases(campaign_place: str) -> None:
    rules = RatingRules(ratings=1, gold_every=2, expert=True, fast_flag_below_s=0)
    gold = [CheckItem(id="g", prompt="2+2\x00?", better="4", worse="5")]
    campaign = new_campaign(campaign_place, pairs(3), rules, checks=gold)
    with pytest.raises(DataError, match="already"):
        new_campaign(campaign_place, pairs(1))
    rater = campaign.join(campaign.setting("invitation"), external="worker\x00' --")
    assert rater is not None
    now = 1000.0
    while isinstance(task := campaign.step(rater, now=now), Task):
        best = "first" if task.first in ("golden", "4") else "second"
        marks = {"grammar": "same", "overall": best}
        outcome = campaign.vote(rater, task.token, best, reason="\x00ö", marks=marks, now=now + 7)  # type: ignore[arg-type]
        assert outcome == "stored"
        now += 10
    assert campaign.undo(rater)
    again = campaign.step(rater, now=now)
    assert isinstance(again, Task) and campaign.vote(rater, again.token, "same", now=now + 1) == "stored"
    campaign.close()
    reopened = open_campaign(campaign_place)
    votes = reopened.votes()
    assert Counter(vote.choice for vote in votes).total() == 3
    assert sorted(vote.seconds or 0 for vote in votes if vote.choice == "teacher") == [7.0] * len(
        [vote for vote in votes if vote.choice == "teacher"]
    )
    assert all(vote.reason in ("\ufffdö", None) for vote in votes)
    assert reopened.progress().closed and reopened.figures().people[0].checks in ("1/1", "0/1")
    assert reopened.delete_rater("worker\ufffd' --") == 4 and reopened.votes() == []
    campaign.database.close()
    reopened.database.close()


def test_raters_at_the_same_time_lose_and_double_nothing(campaign_place: str) -> None:
    campaign = new_campaign(campaign_place, pairs(20), RatingRules(ratings=3))
    raters = [join(campaign) for _ in range(12)]
    start = threading.Barrier(24)

    def rate(rater: str) -> int:
        start.wait()
        count = 0
        while isinstance(task := campaign.step(rater), Task):
            count += campaign.vote(rater, task.token, "same") == "stored"
        return count

    with ThreadPoolExecutor(24) as pool:  # each rater in two tabs
        acknowledged = sum(pool.map(rate, [*raters, *raters]))
    votes = campaign.votes()
    assert len(votes) == acknowledged == 60
    assert set(Counter(vote.item for vote in votes).values()) == {3}
    assert max(Counter((vote.item, vote.voter) for vote in votes).values()) == 1
    sides = Counter((vote.item, vote.first) for vote in votes)
    assert set(sides.values()) == {1, 2}, "each pair was shown both ways"
    campaign.database.close()


def test_raters_who_undo_leave_and_are_deleted_at_the_same_time_keep_the_counts_right(campaign_place: str) -> None:
    campaign = new_campaign(campaign_place, pairs(8), RatingRules(ratings=2, timeout_s=0.05))

    def rate(number: int) -> None:
        rater = campaign.join(campaign.setting("invitation"), external=f"w{number}") or ""
        for turn in range(6):
            task = campaign.step(rater)
            if isinstance(task, Task):
                campaign.vote(rater, task.token, "first")
                if turn % 3 == number % 3:
                    campaign.undo(rater)
        if number % 4 == 0:
            campaign.delete_rater(f"w{number}")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(rate, range(16)))
    votes = campaign.votes()
    assert max(Counter(vote.item for vote in votes).values()) <= 2
    progress = campaign.progress()
    assert progress.votes == len(votes) and 0 <= progress.open <= 16 - len(votes)
    campaign.database.close()


def test_a_campaign_of_the_first_form_is_brought_up_to_date_when_it_is_opened(tmp_path: Path) -> None:
    path = tmp_path / "old.sqlite"
    with closing(sqlite3.connect(path)) as old:
        old.executescript(FIRST_FORM)
    campaign = open_campaign(path)
    assert (campaign.rules.ratings, campaign.rules.timeout_s, campaign.setting("organiser")) == (2, 900.0, "org")
    assert [(vote.choice, vote.seconds, vote.reason) for vote in campaign.votes()] == [("teacher", 12.5, "why")]
    task = campaign.step("cookie", now=200.0)
    assert isinstance(task, Task) and (task.token, task.first, task.done) == ("tok2", "golden", 1)
    assert campaign.vote("cookie", "tok2", "first", now=210.0) == "stored"
    rater = join(campaign)
    while isinstance(task := campaign.step(rater), Task):
        campaign.vote(rater, task.token, "same")
    assert Counter(vote.item for vote in open_campaign(path).votes()) == {"a": 2, "b": 2}


def test_the_migrations_end_in_the_tables_that_the_code_uses(campaign_place: str) -> None:
    campaign = new_campaign(campaign_place, pairs(1))
    with campaign.database.engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), Table.metadata) == []
    campaign.database.close()


def test_a_database_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "theirs.sqlite"
    with closing(sqlite3.connect(path)) as theirs:
        theirs.executescript("CREATE TABLE money (amount INTEGER); INSERT INTO money VALUES (7);")
    before = path.read_bytes()
    with pytest.raises(DataError, match="holds no campaign"):
        open_campaign(path)
    with closing(sqlite3.connect(path)) as theirs:
        assert theirs.execute("SELECT name FROM sqlite_master").fetchall() == [("money",)]
    assert len(path.read_bytes()) == len(before)


def test_a_server_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(DiskError, match="the rating database refuses") as told:
        open_campaign(f"postgresql://rater:s3cret@/campaign?host={tmp_path}")
    assert "s3cret" not in str(told.value)
    with pytest.raises(DataError) as told:
        open_campaign("postgresql://rater:s3cret@host:port/campaign")
    assert "s3cret" not in str(told.value)
