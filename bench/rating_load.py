"""200 raters at once on the rating page, over HTTP on loopback.

    python bench/rating_load.py [--postgres] [--think-s 3]

Simulated raters read the page as a browser would (forms and their hidden fields), think, vote, and go on until nothing
is left. Printed: latency of a vote (until the answer to the POST) and of a page; then the database is opened and
checked: every acknowledged vote is there once, no pair above its ratings, no rater twice on a pair.
"""

from __future__ import annotations

import argparse
import asyncio
import html
import importlib.util
import json
import random
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from contextlib import ExitStack, suppress
from pathlib import Path
from types import ModuleType

import aiohttp

from epigone.evaluate.preference import Pair
from epigone.evaluate.preference.rating_app import RatingRules, new_campaign, open_campaign

_FORM = re.compile(r"<form\b([^>]*)>(.*?)</form>", re.DOTALL)
_INPUT = re.compile(r"<input\b([^>]*)>")
_ATTRIBUTE = re.compile(r"""([\w-]+)(?:=(?:"([^"]*)"|'([^']*)'|([^\s>]+)))?""")
LIMIT_MS = 200.0


class Server:
    """`epigone rate serve` as a process of its own on a fixed port; can be killed and started again."""

    def __init__(self, campaign: str, *, log: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.campaign, self.log = campaign, log
        self.url = f"http://127.0.0.1:{self.port}"
        self.start()

    def start(self) -> None:
        command = [sys.executable, "-m", "epigone", "rate", "serve", self.campaign, "--port", str(self.port)]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            with suppress(OSError), urllib.request.urlopen(f"{self.url}/robots.txt", timeout=1):
                return
            with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 0.2):
                return
            time.sleep(0.05)
        raise RuntimeError(f"the server did not start: {self.log.read_text()[-800:]}")

    def kill(self) -> None:
        """kill -9, in the middle of whatever it does."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(20)


class Rater:
    """One browser: its cookies, what it has voted and how long the server took to say so."""

    def __init__(self, url: str, invitation: str, *, seed: int, think_s: float) -> None:
        self.url, self.join = url, f"{url}/join/{invitation}?PROLIFIC_PID=worker{seed}"
        self.draw, self.think_s = random.Random(seed), think_s
        self.acknowledged: dict[str, str] = {}
        self.vote_s: list[float] = []
        self.page_s: list[float] = []

    async def rate(self, *, patient: bool = False) -> None:
        """Vote until nothing is left. ``patient``: try again when the server is gone."""
        connector = aiohttp.TCPConnector(limit=1)
        jar = aiohttp.CookieJar(unsafe=True)  # cookies of an IP address
        async with aiohttp.ClientSession(connector=connector, cookie_jar=jar) as session:
            self.session = session
            while True:
                try:
                    if await self._visit():
                        return
                except aiohttp.ClientError:
                    if not patient:
                        raise
                    await asyncio.sleep(0.1)

    async def _visit(self) -> bool:
        if not any(True for _ in self.session.cookie_jar):
            page = await self._get(self.join)
            consent = find_form(page, "join")
            if consent is not None:
                await self._post(*consent, {})
        page = await self._get(f"{self.url}/")
        while (form := find_form(page, "/vote")) is not None:
            await asyncio.sleep(self.draw.uniform(0.33, 1.67) * self.think_s)
            action, fields = form
            choice = self.draw.choice(["first", "second", "same"])
            started = time.perf_counter()
            status = await self._post(action, fields, {"choice": choice})
            self.vote_s.append(time.perf_counter() - started)
            if status != 303:
                raise RuntimeError(f"a vote was answered with {status}")
            self.acknowledged.setdefault(fields["token"], choice)
            started = time.perf_counter()
            page = await self._get(f"{self.url}/")
            self.page_s.append(time.perf_counter() - started)
        return True

    async def _get(self, url: str) -> str:
        async with self.session.get(url) as reply:
            return await reply.text()

    async def _post(self, action: str, fields: dict[str, str], more: dict[str, str]) -> int:
        headers = {"Origin": self.url, "Sec-Fetch-Site": "same-origin"}
        url = f"{self.url}{action}"
        async with self.session.post(url, data=fields | more, headers=headers, allow_redirects=False) as reply:
            await reply.read()
            return reply.status


def find_form(page: str, action: str) -> tuple[str, dict[str, str]] | None:
    """(address, hidden fields and boxes that must be ticked) of the page's form for ``action``."""
    for opening, inside in _FORM.findall(page):
        where = _attributes(opening).get("action", "")
        if where.endswith(action) or (action == "join" and "/join" in where):
            inputs = [_attributes(text) for text in _INPUT.findall(inside)]
            must = [i for i in inputs if i.get("type") == "checkbox" and "required" in i]
            kept = [i for i in inputs if i.get("type") == "hidden"] + must
            return where, {i["name"]: i.get("value", "on") for i in kept if "name" in i}
    return None


def _attributes(text: str) -> dict[str, str]:
    return {m[1]: html.unescape(m[2] or m[3] or m[4] or "") for m in _ATTRIBUTE.finditer(text)}


def make_pairs(count: int) -> list[Pair]:
    text = "A paragraph of an answer, with **some** Markdown and a list:\n\n- one\n- two\n\n" * 6
    return [
        Pair(item=f"i{n}", prompt=f"Question {n}?", student="s", teacher="t", student_response=f"{n} {text}",
             teacher_response=f"{text} {n}")
        for n in range(count)
    ]  # fmt: skip


def check(where: str, ratings: int, acknowledged: dict[str, str]) -> int:
    """Every acknowledged vote is in the database, as it was given, once; how many there are."""
    campaign = open_campaign(where)
    with campaign.database.engine.connect() as connection:
        rows = connection.exec_driver_sql("SELECT token, choice FROM assignment WHERE choice IS NOT NULL").all()
    votes = campaign.votes()
    campaign.database.close()
    stored = {row.token: row.choice for row in rows}
    assert len(stored) == len(rows) == len(votes)
    lost = {token for token, choice in acknowledged.items() if stored.get(token) != choice}
    assert not lost, f"{len(lost)} acknowledged votes are not there as they were given"
    assert max(Counter(vote.item for vote in votes).values()) <= ratings
    assert max(Counter((vote.item, vote.voter) for vote in votes).values()) == 1
    return len(votes)


async def run(url: str, invitation: str, *, raters: int, think_s: float) -> list[Rater]:
    """All raters at once, their arrival spread over one thinking time."""
    people = [Rater(url, invitation, seed=n, think_s=think_s) for n in range(raters)]

    async def arrive(rater: Rater) -> None:
        await asyncio.sleep(rater.draw.uniform(0, think_s))
        await rater.rate()

    await asyncio.gather(*(arrive(rater) for rater in people))
    return people


def percentile(values: list[float], share: float) -> float:
    """In milliseconds: the smallest value that at least this share of values does not exceed."""
    return 1000 * sorted(values)[max(0, -(-int(share * 1000) * len(values) // 1000) - 1)]


def _postgres_module() -> ModuleType:
    path = Path(__file__).parents[1] / "dev" / "throwaway_postgres.py"
    spec = importlib.util.spec_from_file_location("throwaway_postgres", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--postgres", action="store_true")
    parser.add_argument("--raters", type=int, default=200)
    parser.add_argument("--pairs", type=int, default=180)
    parser.add_argument("--ratings", type=int, default=3)
    parser.add_argument("--think-s", type=float, default=3.0, help="mean time a rater reads; people take a minute")
    given = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        where = str(folder / "campaign.sqlite")
        if given.postgres:
            server = stack.enter_context(_postgres_module().throwaway_postgres())
            if server is None:
                sys.exit("PostgreSQL is not installed")
            where = server.fresh()
        campaign = new_campaign(where, make_pairs(given.pairs), RatingRules(ratings=given.ratings))
        invitation = campaign.setting("invitation")
        campaign.database.close()
        page = Server(where, log=folder / "log")
        stack.callback(page.stop)
        started = time.monotonic()
        people = asyncio.run(run(page.url, invitation, raters=given.raters, think_s=given.think_s))
        wall = time.monotonic() - started
        acknowledged = {token: choice for rater in people for token, choice in rater.acknowledged.items()}
        stored = check(where, given.ratings, acknowledged)
        votes, pages = [s for r in people for s in r.vote_s], [s for r in people for s in r.page_s]
        result = {"database": "postgresql" if given.postgres else "sqlite", "raters": given.raters}
        result |= {"think_s": given.think_s, "wall_s": round(wall, 1), "votes_per_s": round(len(votes) / wall, 1)}
        result |= {"acknowledged": len(acknowledged), "stored": stored, "wanted": given.pairs * given.ratings}
        for name, values in (("vote", votes), ("page", pages)):
            result |= {f"{name}_p{p}_ms": round(percentile(values, p / 100), 1) for p in (50, 90, 99, 100)}
        print(json.dumps(result))
        print(f"p99 of a vote: {result['vote_p99_ms']} ms (limit {LIMIT_MS:g} ms)")


if __name__ == "__main__":
    main()
