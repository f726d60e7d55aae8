"""The rating server killed in the middle of votes, and out of disk: a real server, raters over HTTP."""

from __future__ import annotations

import asyncio
import importlib.util
import itertools
import random
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from epigone.evaluate.preference.rating_app import RatingRules, new_campaign

ROOT = Path(__file__).parents[3]
FULL_DISK = """
import importlib.util, sys
from pathlib import Path
from fastapi.testclient import TestClient
from epigone.evaluate.preference.rating_app import RatingRules, new_campaign, open_campaign, rating_app

spec = importlib.util.spec_from_file_location("rating_load", sys.argv[1])
load = importlib.util.module_from_spec(spec)
sys.modules["rating_load"] = load
spec.loader.exec_module(load)
folder = Path(sys.argv[2])
where = folder / "c.sqlite"
campaign = new_campaign(where, load.make_pairs(300), RatingRules(ratings=1))
client = TestClient(rating_app(campaign), follow_redirects=False, headers={"Origin": "http://testserver"})
page = client.get(f"/join/{campaign.setting('invitation')}").text
consent = load.find_form(page, "join")
if consent is not None:
    client.post(consent[0], data=consent[1])
page = client.get("/").text


def vote(page):
    action, fields = load.find_form(page, "/vote")
    return fields["token"], client.post(action, data={**fields, "choice": "first", "reason": "because " * 200})


token, reply = vote(page)
assert reply.status_code == 303, reply.status_code
acknowledged = [token]
with (folder / "ballast").open("wb", buffering=0) as ballast:
    try:
        while True:
            ballast.write(bytes(1024))
    except OSError:
        pass
while True:
    page = client.get("/")
    if page.status_code == 503:
        told = page.text
        break
    token, reply = vote(page.text)
    if reply.status_code == 503:
        told = reply.text
        break
    assert reply.status_code == 303, reply.status_code
    acknowledged.append(token)
assert "could not be stored" in told, told
(folder / "ballast").unlink()
token, reply = vote(client.get("/").text)
assert reply.status_code == 303, "with room again it goes on"
acknowledged.append(token)
campaign.database.close()
assert load.check(str(where), 1, dict.fromkeys(acknowledged, "first")) == len(acknowledged)
import sqlite3
assert sqlite3.connect(where).execute("PRAGMA integrity_check").fetchone() == ("ok",)
print("votes:", len(acknowledged))
"""


@pytest.fixture(scope="module")
def load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("rating_load", ROOT / "bench" / "rating_load.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["rating_load"] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_a_server_killed_ten_times_under_load_has_every_vote_that_it_acknowledged(
    load: ModuleType, tmp_path: Path
) -> None:
    where = tmp_path / "campaign.sqlite"
    campaign = new_campaign(where, load.make_pairs(100), RatingRules(ratings=3))
    invitation = campaign.setting("invitation")
    campaign.database.close()
    server = load.Server(str(where), log=tmp_path / "log")
    draw = random.Random(11)

    async def work() -> list[dict[str, str]]:
        raters = [load.Rater(server.url, invitation, seed=n, think_s=0.25) for n in range(12)]
        voting = [asyncio.create_task(rater.rate(patient=True)) for rater in raters]
        seen = []
        for _ in range(10):
            before = sum(len(rater.acknowledged) for rater in raters)
            while sum(len(rater.acknowledged) for rater in raters) < before + 15 and not all(t.done() for t in voting):
                await asyncio.sleep(draw.uniform(0.001, 0.03))
            server.kill()
            seen.append({token: choice for rater in raters for token, choice in rater.acknowledged.items()})
            await asyncio.to_thread(server.start)
        await asyncio.gather(*voting)
        return [*seen, {token: choice for rater in raters for token, choice in rater.acknowledged.items()}]

    try:
        acknowledged = asyncio.run(work())
    finally:
        server.stop()
    assert all(len(after) > len(before) for before, after in itertools.pairwise(acknowledged))
    assert load.check(str(where), 3, acknowledged[-1]) == 300, "and every pair was rated three times in the end"


def test_many_raters_at_once_over_http(load: ModuleType, campaign_place: str, tmp_path: Path) -> None:
    campaign = new_campaign(campaign_place, load.make_pairs(30), RatingRules(ratings=3))
    invitation = campaign.setting("invitation")
    campaign.database.close()
    server = load.Server(campaign_place, log=tmp_path / "log")
    try:
        people = asyncio.run(load.run(server.url, invitation, raters=30, think_s=0.1))
    finally:
        server.stop()
    acknowledged = {token: choice for rater in people for token, choice in rater.acknowledged.items()}
    assert load.check(campaign_place, 3, acknowledged) == len(acknowledged) == 90


def test_a_full_disk_is_told_to_the_rater_and_leaves_nothing_half_written(tmp_path: Path) -> None:
    """On a real file system of 3 MiB, mounted in a namespace of its own that ends with the process."""
    small = tmp_path / "small"
    small.mkdir()
    mount = f'mount -t tmpfs -o size=3m tmpfs "{small}"'
    alone = ["unshare", "--mount", "sh", "-c"]
    if shutil.which("unshare") is None or subprocess.run([*alone, mount], check=False, capture_output=True).returncode:
        pytest.skip("cannot mount a small file system here (needs root, unshare and tmpfs)")
    (tmp_path / "script.py").write_text(FULL_DISK)
    inner = f'"{sys.executable}" "{tmp_path / "script.py"}" "{ROOT / "bench" / "rating_load.py"}" "{small}"'
    done = subprocess.run(
        [*alone, f"{mount} && exec {inner}"], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout[-500:] + done.stderr[-3000:]
    assert done.stdout.startswith("votes:")
