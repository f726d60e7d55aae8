"""What raters are sent over HTTP: no name, nothing that tells the sides apart; what is not of the page is refused."""

from __future__ import annotations

import html
import re
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from fastapi.testclient import TestClient
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import cross_val_predict

from epigone.evaluate.preference import Pair
from epigone.evaluate.preference.rating_app import Campaign, RatingRules, new_campaign, rating_app
from epigone.evaluate.preference.rating_app.shown_text import markdown_html

_TEXTS = re.compile(r'<div class="text" dir="auto">.*?</div>', re.DOTALL)
NAMES = ("oracle-175b", "imitator-7b", "mimic_13b")
_HIDDEN = re.compile(r'name="(form|token)" value="([^"]*)"')
_ANSWER = re.compile(r'<h2 id="answer-(\d)">.*?<div class="text" dir="auto">(.*?)</div>', re.DOTALL)


def campaign_of(path: Path, count: int, rules: RatingRules) -> Campaign:
    """Answers drawn alike for all systems: whatever tells the sides apart then comes from the pages."""
    draw = np.random.default_rng(0)
    words = ["harbour", "lamp", "river", "seven", "violet", "stone", "because", "under", "morning"]

    def text() -> str:
        return " ".join(draw.choice(words, int(draw.integers(5, 40))))

    pairs = [
        Pair(
            item=f"item-{n}",
            prompt=f"question {n}",
            student=NAMES[1 + n % 2],
            teacher=NAMES[0],
            student_response=f"{text()} {2 * n}.",
            teacher_response=f"{text()} {2 * n + 1}.",
        )
        for n in range(count)
    ]
    return new_campaign(str(path), pairs, rules)


def browser(campaign: Campaign, public_url: str | None = None) -> TestClient:
    app = rating_app(campaign, public_url=public_url)
    return TestClient(app, base_url="http://rate.test", follow_redirects=True)


def join(client: TestClient, campaign: Campaign, asked: str = "", headers: dict[str, str] | None = None) -> str:
    """Agree, read the guide, and get the first pair."""
    page = client.get(f"/join/{campaign.setting('invitation')}{asked}").text
    fields = dict(_HIDDEN.findall(page)) | {"invitation": campaign.setting("invitation"), "agreed": "yes"}
    guide = client.post("/join", data=fields, headers=headers).text
    assert "What to look at" in guide
    return client.get("/").text


def fields_of(page: str, choice: str = "first") -> dict[str, str]:
    fields = dict(_HIDDEN.findall(page[page.index('id="vote"') :]))
    return fields | {"choice": choice}


def test_fifty_raters_receive_no_name_and_nothing_that_predicts_the_side(tmp_path: Path) -> None:
    campaign = campaign_of(tmp_path / "c.sqlite", 40, RatingRules(ratings=50, pairs_per_rater=12, repeat_prompts=True))
    features: list[list[float]] = []
    teacher_first: list[bool] = []
    raters: list[int] = []
    around: dict[int, set[str]] = {}
    for number in range(50):
        with browser(campaign) as client:
            page = join(client, campaign)
            for place in range(12):
                answer = client.get("/")
                received = answer.text + "".join(f"{k}: {v}\n" for k, v in answer.headers.items()) + str(answer.url)
                assert not any(name in received for name in NAMES)
                assert not any(word in received.lower() for word in ("teacher", "student", "imitat", "item-"))
                token = fields_of(page)["token"]
                shown = dict(_ANSWER.findall(page))
                frame = _TEXTS.sub("", _HIDDEN.sub("", page)).replace(token, "")
                around.setdefault(place, set()).add(frame)
                teacher_first.append(int(shown["1"].rstrip(".</p>\n ").split()[-1]) % 2 == 1)
                lengths = [len(page) - len(shown["1"]) - len(shown["2"]), len(answer.headers["content-length"])]
                signs = [float(ord(sign)) for sign in (token + "0" * 8)[:8]] + [float(ord(sign)) for sign in token[-4:]]
                features.append([*lengths, *signs, float(place), float(number), answer.elapsed.total_seconds()])
                raters.append(number)
                page = client.post("/vote", data=fields_of(page, "same")).text
    assert [len(frames) for frames in around.values()] == [1] * 12, "tokens and texts aside, all get the same bytes"
    known, sides = np.array(features), np.array(teacher_first)
    known = (known - known.mean(0)) / (known.std(0) + 1e-9)
    predicted = cross_val_predict(LogisticRegression(C=0.1), known, sides, cv=10, method="predict_proba")[:, 1]
    assert len(sides) == 600
    assert abs(roc_auc_score(sides, predicted) - 0.5) < 0.08
    assert abs(sides.mean() - 0.5) < 0.05
    by_rater = [sides[np.array(raters) == number].mean() for number in range(50)]
    assert max(abs(share - 0.5) for share in by_rater) <= 0.2, "sides are balanced for each rater"


@pytest.mark.parametrize(
    ("change", "status"),
    [
        (lambda fields: fields | {"token": "A" * 24}, 403),
        (lambda fields: fields | {"token": "' OR 1=1; DROP TABLE votes; --"}, 403),
        (lambda fields: fields | {"form": "forged"}, 403),
        (lambda fields: {key: value for key, value in fields.items() if key != "form"}, 403),
        (lambda fields: fields | {"choice": "teacher"}, 403),
        (lambda fields: fields | {"choice": "'; DROP TABLE votes; --"}, 403),
        (lambda fields: fields | {"reason": "x" * 70_000}, 413),
    ],
)
def test_a_forged_vote_is_refused_logged_and_changes_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, change: Callable[[dict[str, str]], dict[str, str]], status: int
) -> None:
    campaign = campaign_of(tmp_path / "c.sqlite", 3, RatingRules(ratings=1))
    with browser(campaign) as client:
        page = join(client, campaign)
        answer = client.post("/vote", data=change(fields_of(page)))
        assert answer.status_code == status
        assert campaign.votes() == []
        assert any(record.name == "epigone.rating" for record in caplog.records)
        assert client.post("/vote", data=fields_of(page)).status_code == 200
        assert len(campaign.votes()) == 1


def test_another_raters_task_another_site_and_a_replay_are_refused(tmp_path: Path) -> None:
    campaign = campaign_of(tmp_path / "c.sqlite", 3, RatingRules(ratings=1))
    with browser(campaign) as one, browser(campaign) as other:
        page, foreign = join(one, campaign), join(other, campaign)
        mine = fields_of(page)
        assert one.post("/vote", data=mine | {"token": fields_of(foreign)["token"]}).status_code == 403
        assert other.post("/vote", data=mine).status_code == 403
        for origin in (
            "https://elsewhere.example",
            "http://rate.test.example",
            "http://x@rate.test",
            "null",
            "http://[::1",
        ):
            assert one.post("/vote", data=mine, headers={"Origin": origin}).status_code == 403
        assert campaign.votes() == []
        one.post("/vote", data=mine)
        again = one.post("/vote", data=mine | {"choice": "second"})
        assert "first answer stands" in again.text
        assert len(campaign.votes()) == 1
        assert one.get("/organiser/guess").status_code == one.get("/guide/").status_code == 404
        assert one.get("/join/guess").status_code == 404


@pytest.mark.parametrize("field", ["reason", "external", "invitation", "mark_grammar"])
def test_sql_in_any_field_is_text(tmp_path: Path, field: str) -> None:
    campaign = campaign_of(tmp_path / "c.sqlite", 2, RatingRules(ratings=1, expert=True))
    sql = "x'); DELETE FROM pairs; --"
    with browser(campaign) as client:
        consent = dict(_HIDDEN.findall(client.get(f"/join/{campaign.setting('invitation')}").text))
        asked = consent | {"invitation": campaign.setting("invitation"), "agreed": "yes"}
        if field in ("external", "invitation"):
            answer = client.post("/join", data=asked | {field: sql})
            assert answer.status_code == (404 if field == "invitation" else 200)
        else:
            client.post("/join", data=asked)
            page = client.get("/").text
            client.post("/vote", data=fields_of(page) | {field: sql})
            votes = campaign.votes()
            assert len(votes) == 1
            assert field != "reason" or votes[0].reason == sql
    assert campaign.progress().pairs == 2


def test_nothing_is_kept_without_consent(tmp_path: Path) -> None:
    campaign = campaign_of(tmp_path / "c.sqlite", 1, RatingRules())
    with browser(campaign) as client:
        consent = dict(_HIDDEN.findall(client.get(f"/join/{campaign.setting('invitation')}").text))
        answer = client.post("/join", data=consent | {"invitation": campaign.setting("invitation")})
        assert "nothing is kept" in answer.text
        assert campaign.progress().raters == 0
        assert client.get("/").status_code == client.get("/guide").status_code == 401


def test_the_criteria_are_explained_before_the_first_pair_and_beside_each(tmp_path: Path) -> None:
    campaign = campaign_of(tmp_path / "c.sqlite", 2, RatingRules(ratings=1, instructions="Mind the *units*."))
    with browser(campaign) as client:
        pair = join(client, campaign)
        for page in (client.get("/guide").text, pair):
            for words in ("Clarity and coherence", "Is anything important missing?", "Mind the <em>units</em>."):
                assert words in page
        assert [vote.seconds for vote in campaign.votes()] == []


def test_a_second_person_at_the_same_browser_is_asked_for_consent(tmp_path: Path) -> None:
    campaign = campaign_of(tmp_path / "c.sqlite", 3, RatingRules(ratings=2))
    with browser(campaign) as client:
        client.post("/vote", data=fields_of(join(client, campaign)))
        invitation = f"/join/{campaign.setting('invitation')}"
        again = client.get(invitation).text
        assert "Welcome back" in again and "I have read this" not in again
        assert "1 of 3 done" in client.get("/").text, "whoever goes on goes on where they were"
        assert f"{invitation}?somebody=else" in again
        assert "0 of 3 done" in join(client, campaign, "?somebody=else")
        assert campaign.progress().raters == 2 and campaign.progress().votes == 1


def test_two_campaigns_on_one_host_keep_their_raters_apart(tmp_path: Path) -> None:
    one = campaign_of(tmp_path / "one.sqlite", 3, RatingRules(ratings=1))
    other = campaign_of(tmp_path / "other.sqlite", 3, RatingRules(ratings=1))
    with browser(one) as client, browser(other) as second:
        second.cookies = client.cookies  # browsers do not tell the ports of a host apart
        client.post("/vote", data=fields_of(join(client, one)))
        join(second, other)
        assert "1 of 3 done" in client.get("/").text
        assert "0 of 3 done" in second.get("/").text


def test_behind_a_web_server_forms_of_its_public_address_are_taken(tmp_path: Path) -> None:
    campaign = campaign_of(tmp_path / "c.sqlite", 2, RatingRules(ratings=1))
    ours, foreign = {"Origin": "https://rate.example"}, {"Origin": "https://other.example"}
    with browser(campaign, "https://rate.example") as client:
        client.base_url = "https://127.0.0.1:8321"  # the host that the proxy asks for
        page = join(client, campaign, headers=ours)
        assert client.post("/vote", data=fields_of(page), headers=foreign).status_code == 403
        assert campaign.votes() == []
        assert client.post("/vote", data=fields_of(page), headers=ours).status_code == 200
        assert len(campaign.votes()) == 1
        assert all(cookie.secure for cookie in client.cookies.jar)


def test_a_vote_that_could_not_be_stored_can_be_sent_again_as_it_was(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The tables are renamed meanwhile, as one stands for any refusal of the database."""
    path = tmp_path / "c.sqlite"
    campaign = campaign_of(path, 2, RatingRules(ratings=1, expert=True))
    with browser(campaign) as client:
        fields = fields_of(join(client, campaign)) | {"reason": 'two\nlines & "signs"', "mark_grammar": "same"}
        with closing(sqlite3.connect(path)) as elsewhere:
            elsewhere.execute("ALTER TABLE assignment RENAME TO away")
            refused = client.post("/vote", data=fields)
            assert client.get("/").status_code == 503
            elsewhere.execute("ALTER TABLE away RENAME TO assignment")
        assert refused.status_code == 503 and "could not be stored" in refused.text
        assert "the rating database refuses" in caplog.text, "the organiser reads why"
        hidden = re.findall(r'<input type="hidden" name="([^"]*)" value="([^"]*)">', refused.text)
        sent = {name: html.unescape(value) for name, value in hidden}
        assert sent == fields and 'action="/vote"' in refused.text
        assert client.post("/vote", data=sent).status_code == 200
        vote = campaign.votes()[0]
        assert (vote.reason, vote.marks) == (fields["reason"], {"grammar": "tie"})


def test_what_is_no_form_of_the_page_is_refused_and_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    campaign = campaign_of(tmp_path / "c.sqlite", 1, RatingRules())
    with browser(campaign) as client:
        join(client, campaign)
        assert client.put("/vote", content=b"x").status_code == 405
        broken = {"Content-Type": "multipart/form-data; boundary=x", "Content-Length": "5"}
        assert client.post("/vote", content=b"--x\nq", headers=broken).status_code in (400, 403)
        assert client.post("/vote", content=iter([b"choice=first"])).status_code == 413, "of no stated length"
        assert len([record for record in caplog.records if "refused" in record.message]) == 3
        assert campaign.votes() == []


def test_markdown_of_an_answer_keeps_its_structure_and_nothing_else() -> None:
    shown = markdown_html(
        "# Title\n\n1. one\n\n```py\nx < 1\n```\n\n[go](https://a.example/?q=1&r) ![p](http://b.example/c.png)"
    )
    assert "<h3>Title</h3>" in shown
    assert "<ol>\n<li>one</li>" in shown
    assert "<pre><code>x &lt; 1\n</code></pre>" in shown
    assert '<span class="link">go</span> <span class="address">(https://a.example/?q=1&amp;r)</span>' in shown
    assert "[picture: p (http://b.example/c.png)]" in shown
    assert '<p class="kind address">py</p>\n<pre>' in shown
    titled = markdown_html('[go](/a "so <it> says") ![p](/b.png "and this")')
    assert "(/a &quot;so &lt;it&gt; says&quot;)" in titled and "[picture: p (/b.png &quot;and this&quot;)]" in titled
    assert "<a" not in shown and "<img" not in shown
    assert markdown_html("<b>x</b>") == "<p>&lt;b&gt;x&lt;/b&gt;</p>\n"
    assert "⟦right-to-left override⟧" in markdown_html("a\u202eb")
    assert "style=" not in markdown_html("| a |\n|:-:|\n| 1 |")


@pytest.mark.parametrize("hostile", ["[\n" * 20_000, "![" * 20_000, "> " * 20_000 + "deep", "- " * 60 + "deep"])
def test_a_text_made_to_be_slow_is_shown_whole_and_at_once(hostile: str) -> None:
    began = time.process_time()
    shown = html.unescape(re.sub(r"<[^>]*>", "", markdown_html(hostile)))
    assert time.process_time() - began < 2.0
    assert hostile.split()[-1].strip() in shown
    assert markdown_html('[a]: address "words"') == "<p>[a]: address &quot;words&quot;</p>\n"
