"""The rating pages in a real browser: by mouse, by keyboard, on a phone, without script, and with hostile answers."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from epigone.evaluate.preference import Pair
from epigone.evaluate.preference.rating_app import Campaign, RatingRules, new_campaign, rating_app

pytestmark = [pytest.mark.browser, pytest.mark.slow]
Serve = Callable[[Campaign], str]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Serve a campaign on a free port of loopback until the test ends."""
    with ExitStack() as stack:

        def start(campaign: Campaign) -> str:
            listening = stack.enter_context(socket.socket())
            listening.bind(("127.0.0.1", 0))
            server = uvicorn.Server(uvicorn.Config(rating_app(campaign), log_level="warning"))
            thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
            thread.start()
            stack.callback(thread.join)
            stack.callback(setattr, server, "should_exit", True)
            while not server.started:
                time.sleep(0.02)
            return f"http://127.0.0.1:{listening.getsockname()[1]}"

        yield start


def pairs(count: int, teacher: str = "**Yes**, and here is why.", student: str = "1. no\n2. maybe") -> list[Pair]:
    return [
        Pair(
            item=f"item-{n}",
            prompt=f"Question {n}?",
            student="imitator-7b",
            teacher="oracle-175b",
            student_response=student,
            teacher_response=teacher,
        )
        for n in range(count)
    ]


class Rater:
    """A browser of one's own, with everything that the pages said and asked for."""

    def __init__(self, browser: Any, base: str, campaign: Campaign, **settings: Any) -> None:
        self.base, self.campaign = base, campaign
        self.context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}} | settings)
        self.page = self.context.new_page()
        self.messages: list[str] = []
        self.requests: list[str] = []
        self.context.on("request", lambda request: self.requests.append(request.url))
        for event in ("console", "pageerror", "dialog"):
            self.page.on(event, lambda said, event=event: self.messages.append(f"{event}: {said}"))

    def join(self) -> Rater:
        self.page.goto(f"{self.base}/join/{self.campaign.setting('invitation')}")
        self.page.check("#agreed")
        self.click("Begin")
        self.click("Go to the pairs", "link")
        self.page.wait_for_selector("#vote, .code")
        return self

    def settle(self) -> Any:
        """Past the half second in which a click is taken for the second one of a double click."""
        self.page.wait_for_timeout(600)
        return self.page

    def click(self, words: str, role: str = "button") -> None:
        """Press a button or follow a link, and wait for the page that answers: a click alone does not wait."""
        with self.page.expect_navigation():
            self.page.get_by_role(role, name=words).click()

    def choose(self, words: str) -> None:
        self.settle()
        self.click(words)

    def press(self, key: str) -> None:
        with self.settle().expect_navigation():
            self.page.keyboard.press(key)

    def texts(self) -> list[str]:
        return [one.inner_text() for one in self.page.locator(".request .text, .answer .text").all()]

    def done(self) -> int:
        return int(self.page.locator("progress").get_attribute("value"))

    def is_quiet(self) -> bool:
        return self.messages == [] and all(url.startswith(self.base) for url in self.requests)


def test_a_whole_campaign_by_mouse(browser: Any, serve: Serve, tmp_path: Path) -> None:
    rules = RatingRules(ratings=1, expert=True, completion_code="C0DE", break_every=2)
    campaign = new_campaign(str(tmp_path / "c.sqlite"), pairs(4), rules)
    rater = Rater(browser, serve(campaign), campaign).join()
    page = rater.page
    page.get_by_text("Say why").click()
    page.fill("#reason", "it answers")
    page.get_by_role("group", name="Relevance").get_by_label("Equal").check()
    page.get_by_label("I checked the facts").check()
    page.reload()
    assert page.input_value("#reason") == "it answers", "what was filled in survives a reload"
    page.get_by_text("Look at grammar").click()
    rater.click("The whole guide", "link")
    rater.click("Go to the pairs", "link")
    rater.choose("Answer 1 is better")
    assert rater.done() == 1
    first = campaign.votes()[0]
    assert (first.reason, first.marks, first.facts_checked) == ("it answers", {"relevance": "tie"}, True)
    rater.click("Take my last answer back")
    assert rater.done() == 0
    for count in range(4):
        rater.choose("Equally good")
        if count == 1:
            assert "short rest" in page.get_by_role("status").first.inner_text()
            rater.click("Take a break")
            assert page.get_by_role("heading", name="Have a rest").is_visible()
            rater.click("Go on")
    assert page.locator(".code").inner_text() == "C0DE"
    votes = campaign.votes()
    assert len(votes) == 4
    assert {vote.choice for vote in votes} == {"tie"}
    assert rater.is_quiet(), rater.messages


def test_a_whole_campaign_by_keyboard_alone(browser: Any, serve: Serve, tmp_path: Path) -> None:
    campaign = new_campaign(str(tmp_path / "c.sqlite"), pairs(6), RatingRules(ratings=1, completion_code="C0DE"))
    base = serve(campaign)
    rater = Rater(browser, base, campaign)
    page = rater.page
    page.goto(f"{base}/join/{campaign.setting('invitation')}")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "agreed"
    for key in ("Space", "Tab", "Enter"):
        page.keyboard.press(key)
    page.wait_for_url("**/guide")
    with page.expect_navigation():
        for key in ("Tab", "Enter"):
            page.keyboard.press(key)
    page.wait_for_selector("#vote")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the choices"
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert "Answer 1" in page.evaluate("document.activeElement.textContent")
    shown: list[str] = []
    for key in "123123":
        shown.append(rater.texts()[1])
        rater.press(key)
    assert page.locator(".code").inner_text() == "C0DE"
    teacher_first = ["why" in text for text in shown]
    wanted = [
        "tie" if key == "3" else "teacher" if first == (key == "1") else "student"
        for key, first in zip("123123", teacher_first, strict=True)
    ]
    assert sorted(vote.choice for vote in campaign.votes()) == sorted(wanted)
    assert rater.is_quiet(), rater.messages


def test_reload_back_second_tab_and_double_click_count_once(browser: Any, serve: Serve, tmp_path: Path) -> None:
    campaign = new_campaign(str(tmp_path / "c.sqlite"), pairs(5), RatingRules(ratings=1))
    rater = Rater(browser, serve(campaign), campaign).join()
    page = rater.page
    before = rater.texts()
    page.reload()
    assert rater.texts() == before, "a reload shows the same pair on the same sides"
    other = rater.context.new_page()
    other.goto(rater.base)
    rater.settle().get_by_role("button", name="Answer 1 is better").dblclick(delay=0)
    page.wait_for_selector("progress[value='1']")
    page.evaluate("performance.now = () => 499")  # the second click, late, on the next pair
    page.get_by_role("button", name="Answer 1 is better").click()
    page.wait_for_timeout(300)
    assert len(campaign.votes()) == 1
    other.wait_for_timeout(600)
    with other.expect_navigation():
        other.get_by_role("button", name="Answer 2 is better").click()
    assert "first answer stands" in other.get_by_role("status").first.inner_text()
    assert len(campaign.votes()) == 1
    page.go_back()
    page.wait_for_selector("#vote")
    rater.choose("Equally good")
    assert len(campaign.votes()) <= 2
    assert len({vote.item for vote in campaign.votes()}) == len(campaign.votes())


def test_the_keys_can_be_switched_off_and_the_choices_are_always_in_sight(
    browser: Any, serve: Serve, tmp_path: Path
) -> None:
    campaign = new_campaign(str(tmp_path / "c.sqlite"), pairs(2, teacher="long\n\n" * 200), RatingRules(ratings=1))
    rater = Rater(browser, serve(campaign), campaign).join()
    page = rater.settle()
    assert page.locator("#choices").bounding_box()["y"] < 900
    page.get_by_label("The keys 1, 2 and 3 choose").uncheck()
    page.keyboard.press("1")
    page.wait_for_timeout(300)
    assert campaign.votes() == []
    page.reload()
    assert not page.get_by_label("The keys 1, 2 and 3 choose").is_checked()
    rater.choose("Answer 1 is better")
    assert rater.done() == 1


def test_it_works_without_script(browser: Any, serve: Serve, tmp_path: Path) -> None:
    campaign = new_campaign(str(tmp_path / "c.sqlite"), pairs(2), RatingRules(ratings=1, completion_code="C0DE"))
    rater = Rater(browser, serve(campaign), campaign, java_script_enabled=False).join()
    for _ in range(2):
        rater.click("Answer 2 is better")
    assert rater.page.locator(".code").inner_text() == "C0DE"
    assert len(campaign.votes()) == 2


def test_a_vote_is_not_taken_before_its_time(browser: Any, serve: Serve, tmp_path: Path) -> None:
    campaign = new_campaign(str(tmp_path / "c.sqlite"), pairs(2), RatingRules(ratings=1, minimum_s=2.0))
    page = Rater(browser, serve(campaign), campaign).join().page
    page.keyboard.press("1")
    assert page.get_by_role("button", name="Answer 1").is_disabled()
    assert "you can choose in" in page.locator("#wait").inner_text()
    assert campaign.votes() == []
    page.wait_for_selector("button[data-key='1']:enabled", timeout=5000)
    with page.expect_navigation():
        page.keyboard.press("1")
    assert len(campaign.votes()) == 1


def test_the_organisers_page_brings_itself_up_to_date(browser: Any, serve: Serve, tmp_path: Path) -> None:
    campaign = new_campaign(str(tmp_path / "c.sqlite"), pairs(2), RatingRules(ratings=1))
    base = serve(campaign)
    organiser, rater = Rater(browser, base, campaign), Rater(browser, base, campaign)
    organiser.page.clock.install()
    organiser.page.goto(f"{base}/organiser/{campaign.setting('organiser')}")
    assert "0 of 2 votes" in organiser.page.locator("#live").inner_text()
    rater.join().choose("Equally good")
    organiser.page.clock.fast_forward(10_500)
    organiser.page.get_by_text("1 of 2 votes").first.wait_for(timeout=5000)
    assert "Up to date at" in organiser.page.locator("#fresh").inner_text()
    assert organiser.is_quiet() and rater.is_quiet()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [320, 1280])
def test_axe_finds_nothing_serious_and_nothing_is_cut_off(
    browser: Any, serve: Serve, tmp_path: Path, width: int, scheme: str
) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs axe-playwright-python").Axe()
    rules = RatingRules(ratings=1, expert=True, completion_code="C0DE")
    campaign = new_campaign(str(tmp_path / "c.sqlite"), pairs(1, student="# A\n\n| a | b |\n|--|--|\n| 1 | 2 |"), rules)
    rater = Rater(
        browser,
        serve(campaign),
        campaign,
        viewport={"width": width, "height": 800},
        color_scheme=scheme,
        bypass_csp=True,
    )
    page = rater.page

    def looks_right(where: str) -> None:
        found = axe.run(page).response["violations"]
        bad = [(one["id"], one["nodes"][0]["html"]) for one in found if one["impact"] in ("serious", "critical")]
        assert bad == [], where
        assert page.evaluate("document.documentElement.scrollWidth") <= width, where

    page.goto(f"{rater.base}/join/{campaign.setting('invitation')}")
    looks_right("consent")
    rater.join()
    page.goto(f"{rater.base}/guide")
    looks_right("guide")
    page.goto(f"{rater.base}/join/{campaign.setting('invitation')}")
    looks_right("welcome back")
    page.goto(rater.base)
    page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true })")
    looks_right("pair")
    tops = [one.bounding_box()["y"] for one in page.locator(".answer").all()]
    assert (tops[0] == tops[1]) == (width > 700), "side by side, stacked on a phone"
    page.goto(f"{rater.base}/organiser/{campaign.setting('organiser')}")
    looks_right("organiser")
    page.goto(rater.base)
    rater.click("Take a break")
    looks_right("break")
    rater.click("Go on")
    rater.choose("Equally good")
    looks_right("end")


HOSTILE = [
    "<script>window.hit = 1; alert(1)</script>",
    "<img src=x onerror='window.hit = 1'>",
    "<svg onload='window.hit = 1'><a xlink:href='javascript:window.hit=1'>x</a></svg>",
    "[press](javascript:window.hit=1) [data](data:text/html,<script>window.hit=1</script>)",
    '![seen](http://127.0.0.1:9/seen.png) ![x](x " onload=window.hit=1)',
    "</div></section><form action='http://127.0.0.1:9/'><button name=choice value=first>Answer 1 is better</button>",
    "<style>*{display:none}</style><meta http-equiv=refresh content='0;url=http://127.0.0.1:9/'>",
    '```html"><script>window.hit=1</script>\ncode\n``` [[[[[[ ****** `` <<<',
    "wor" + "d" * 100_000,
    "the answer is \u202e)9( eurt\u202c and \u2066hidden\u2069",
    "&lt;script&gt; &#60;script&#62; \x00\x07 {{ 7 * 7 }} {% raw %}",
    "<base href='http://127.0.0.1:9/'><iframe srcdoc='<script>parent.hit=1</script>'></iframe>",
]


def test_hostile_answers_are_text(browser: Any, serve: Serve, tmp_path: Path) -> None:
    shown = [
        Pair(
            item=f"item-{n}",
            prompt=text,
            student="imitator-7b",
            teacher="oracle-175b",
            student_response=text,
            teacher_response=text[::-1] if len(text) < 1000 else "short",
        )
        for n, text in enumerate(HOSTILE)
    ]
    campaign = new_campaign(str(tmp_path / "c.sqlite"), shown, RatingRules(ratings=1, completion_code="C0DE"))
    rater = Rater(browser, serve(campaign), campaign).join()
    page = rater.page
    seen = ""
    for _ in HOSTILE:
        seen += "\n".join(rater.texts())
        assert page.evaluate("window.hit") is None
        assert (
            page.locator(".text script, .text img, .text svg, .text a, .text form, .text iframe, .text style").count()
            == 0
        )
        assert page.evaluate("document.documentElement.scrollWidth") <= 1280
        assert page.locator("button[name=choice]").count() == 3
        rater.press("3")
    assert page.locator(".code").is_visible()
    assert rater.is_quiet(), (rater.messages, [url for url in rater.requests if not url.startswith(rater.base)])
    for part in ("window.hit = 1; alert(1)", "right-to-left override", "{{ 7 * 7 }}", "javascript:window.hit=1"):
        assert part in seen
    policy = page.goto(rater.base).headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
