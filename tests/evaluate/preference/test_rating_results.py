"""What a scripted campaign gives: every number worked by hand. Four items, three raters (S student, T teacher, =):

item   votes   majority         equal or better   one rater agrees with the other two
i0     S S T   student          1                 0, 0, 0
i1     S = T   tie (1-1-1)      1                 0, 1, 0
i2     T T =   teacher          0                 0, 0, 0
i3     = = =   tie, unanimous   1                 1, 1, 1
"""

from __future__ import annotations

import csv
import itertools
import json
import socket
from pathlib import Path

import numpy as np
import polars
import pytest
from typer.testing import CliRunner, Result

from epigone.cli import app
from epigone.compare.rater_spread import outcome_spread, rater_agreement
from epigone.compare.raters import two_way_rates
from epigone.disk import read_jsonl, write_jsonl
from epigone.errors import DataError, EndpointError, SpecError
from epigone.evaluate.preference import Pair
from epigone.evaluate.preference.rating_app import Campaign, RatingRules, Task, new_campaign
from epigone.records import Vote

SCRIPT = {"i0": "SST", "i1": "S=T", "i2": "TT=", "i3": "==="}


def run(*arguments: object, fails: bool = False) -> Result:
    result = CliRunner().invoke(app, ["rate", *map(str, arguments)])
    assert fails or result.exit_code == 0, result.output + repr(result.exception)
    return result


@pytest.fixture
def campaign(tmp_path: Path) -> Campaign:
    pairs = [
        Pair(item=item, prompt=item, student="s", teacher="t", student_response="pale", teacher_response="golden")
        for item in SCRIPT
    ]
    made = new_campaign(tmp_path / "c.sqlite", pairs, RatingRules(ratings=3, fast_flag_below_s=0))
    for rater in range(3):
        cookie = made.join(made.setting("invitation")) or ""
        at = 1000.0
        while isinstance(task := made.step(cookie, now=at), Task):
            wanted = SCRIPT[task.prompt][rater]
            student = "first" if task.first == "pale" else "second"
            teacher = "second" if task.first == "pale" else "first"
            choice = {"S": student, "T": teacher, "=": "same"}[wanted]
            at += 10 + rater
            assert made.vote(cookie, task.token, choice, now=at) == "stored"  # type: ignore[arg-type]
    return made


def test_shares_ties_agreement_and_ceiling_of_the_scripted_campaign(campaign: Campaign, tmp_path: Path) -> None:
    both = ("student", "teacher")
    verdicts = {"i0": "SS", "i1": "ST", "i2": "SS", "i3": "TT"}  # S, a flip = tie, S, T: agrees on i0 and i1
    meant = {"S": "student", "T": "teacher"}
    judge = [
        Vote(item=item, student="s", teacher="t", voter="j", kind="llm_judge", choice=meant[said], first=first)  # type: ignore[arg-type]
        for item, pair in verdicts.items()
        for first, said in zip(both, pair, strict=True)
    ]
    write_jsonl(tmp_path / "judge.jsonl", judge)
    out = tmp_path / "results.json"
    printed = run("results", tmp_path / "c.sqlite", "--judge", tmp_path / "judge.jsonl", "--out", out).output
    found = json.loads(out.read_text())
    estimates = {name: estimate["value"] for name, estimate in found["results"]["estimates"]["s"].items()}
    people = {name.removeprefix("preference.person."): v for name, v in estimates.items() if "person" in name}
    assert people == pytest.approx(
        {
            "equal_or_better": 3 / 4,
            "win_rate": (1 + 1 / 2 + 0 + 1 / 2) / 4,
            "tie_share": 2 / 4,
            "split_share": 1 / 4,
            "unanimous_share": 1 / 4,
            "human_ceiling": (0 + 1 / 3 + 0 + 1) / 4,
            # 12 ratings: 4 T, 5 =, 3 S; of 12 pairable values 5 agree: i0 1, i2 1, i3 3
            "alpha_nominal": 1 - 11 * (12 - 5) / (12**2 - 4**2 - 5**2 - 3**2),
            # squared rank distances: T= (4/2+5/2)² = 20.25, =S (5/2+3/2)² = 16, TS (4/2+5+3/2)² = 72.25;
            # disagreeing pairs: 3 TS, 3 T=, 1 =S
            "alpha_ordinal": 1 - 11 * (3 * 72.25 + 3 * 20.25 + 16) / (2 * (12 * 72.25 + 20 * 20.25 + 15 * 16)),
        },
        abs=1e-9,
    )
    assert estimates["preference.llm_judge.agreement_with_people"] == 0.5
    assert found["spread"]["s"] == pytest.approx({"n": 4, "sd": 0.5, "se": 0.25})  # of 1, 1, 0, 1
    assert "12 votes of 3 raters on 4 prompts" in printed and "0.75" in printed
    assert max(len(line) for line in printed.split("\n") if str(out) not in line) <= 80


def test_each_raters_agreement_and_speed(campaign: Campaign) -> None:
    rows = rater_agreement(campaign.votes())
    found = {row.median_s: (row.votes, row.compared, row.agreement) for row in rows}
    assert found == {10.0: (4, 4, 1 / 4), 11.0: (4, 4, 2 / 4), 12.0: (4, 4, 1 / 4)}
    assert outcome_spread(campaign.votes()[:1])["s"].sd is None


def test_the_two_way_resamples_are_the_ones_worked_by_hand() -> None:
    """Items A (S S) and B (T =), both resampled among themselves, as are the two raters: all sixteen resamples.

    A is always the student's. B is the teacher's only where rater 1 was drawn twice (1 of 4). So the rate is 0 for
    B B with that (1 of 16), ½ for A B or B A with it (2 of 16), and 1 otherwise.
    """
    votes = np.array([[2.0, 2.0], [0.0, 1.0]])
    draws = [(1, 1) if a != b else ((2, 0) if a == 0 else (0, 2)) for a, b in itertools.product((0, 1), repeat=2)]
    both = list(itertools.product(draws, draws))
    items, raters = np.array([item for item, _ in both]), np.array([rater for _, rater in both])
    rates = sorted(two_way_rates(votes, np.array([0.0, 1.0, 1.0]), items, raters).tolist())
    assert rates == [0.0, 0.5, 0.5, *[1.0] * 13]


def test_the_interval_is_that_of_a_plain_two_way_bootstrap(tmp_path: Path) -> None:
    """Against a loop written apart from the code: percentiles of centred two-way resamples."""
    rng = np.random.default_rng(5)
    table = rng.choice(3, size=(40, 6), p=[0.45, 0.2, 0.35])
    names = ("teacher", "tie", "student")
    votes = [
        Vote(item=f"i{i}", student="s", teacher="t", voter=f"r{k}", kind="person", choice=names[table[i, k]])  # type: ignore[arg-type]
        for i in range(40)
        for k in range(6)
    ]

    def worth(row: list[int]) -> float:
        counts = [row.count(code) for code in range(3)]
        top = [code for code in range(3) if counts[code] == max(counts)]
        return float(len(top) > 1 or top[0] > 0)

    plain = float(np.mean([worth(list(row)) for row in table]))
    draws = []
    for _ in range(2000):
        chosen = table[rng.integers(40, size=40)][:, rng.integers(6, size=6)]
        draws.append(np.mean([worth(list(row)) for row in chosen]))
    expected = np.percentile(np.array(draws) - np.mean(draws) + plain, [2.5, 97.5])
    write_jsonl(tmp_path / "votes.jsonl", votes)
    run("results", tmp_path / "votes.jsonl", "--out", tmp_path / "r.json")
    estimate = json.loads((tmp_path / "r.json").read_text())["results"]["estimates"]["s"][
        "preference.person.equal_or_better"
    ]
    assert estimate["value"] == pytest.approx(plain)
    # to within one item of forty: the resampled rates are multiples of that
    assert (estimate["low"], estimate["high"]) == pytest.approx(expected, abs=0.026)


def test_exports_are_the_same_votes_in_json_lines_and_parquet(campaign: Campaign, tmp_path: Path) -> None:
    where = tmp_path / "c.sqlite"
    run(
        "export",
        where,
        "--out",
        tmp_path / "v.jsonl",
        "--raters",
        tmp_path / "r.parquet",
        "--checks",
        tmp_path / "k.jsonl",
    )
    run("export", where, "--out", tmp_path / "v.parquet")
    votes = read_jsonl(tmp_path / "v.jsonl", Vote)
    table = polars.read_parquet(tmp_path / "v.parquet")
    assert votes == campaign.votes() and table.height == 12
    assert table["choice"].to_list() == [vote.choice for vote in votes]
    assert polars.read_parquet(tmp_path / "r.parquet")["votes"].to_list() == [4, 4, 4]
    result = run("export", where, "--out", tmp_path / "v.csv", fails=True)
    assert isinstance(result.exception, DataError) and "neither" in str(result.exception)


def test_a_campaign_from_the_command_line(tmp_path: Path) -> None:
    prompts = {
        "a": "How do I bake bread at home without an oven?",
        "b": "Write a Python function that reverses a list.",
        "c": "Wie backe ich ein gutes Brot ohne Ofen, und was brauche ich dafür alles?",
        "d": "What were the main causes of the first world war in Europe?",
        "e": "Why is the sky blue during the day and red in the evening?",
    }
    for name, word in (("small", "pale"), ("big", "golden")):
        rows = [{"id": i, "prompt": p, "response": f"{word} answer to {i}"} for i, p in prompts.items()]
        write_jsonl(tmp_path / f"{name}.jsonl", rows)
    (tmp_path / "asked.jsonl").write_text("".join(json.dumps({"prompt": prompts[i]}) + "\n" for i in "abcd"))
    training = {
        "id": "x",
        "messages": [{"role": "user", "content": prompts["d"]}, {"role": "assistant", "content": "x"}],
    }
    (tmp_path / "training.jsonl").write_text(json.dumps(training))
    (tmp_path / "gold.jsonl").write_text(json.dumps({"id": "g", "prompt": "1+1?", "better": "2", "worse": "7"}))
    (tmp_path / "rules.yaml").write_text("ratings: 5\nbreak_every: 7\n")
    (tmp_path / "consent.md").write_text("Do you agree?")
    where = tmp_path / "made.sqlite"
    models = ("--teacher", f"big={tmp_path / 'big.jsonl'}", "--student", f"pale={tmp_path / 'small.jsonl'}")
    chosen = (
        "--prompts",
        tmp_path / "asked.jsonl",
        "--english",
        "--no-coding",
        "--training",
        tmp_path / "training.jsonl",
    )
    told = run(
        "new", where, *models, *chosen, "--gold", tmp_path / "gold.jsonl", "--rules", tmp_path / "rules.yaml",
        "--ratings", 2, "--consent", tmp_path / "consent.md",
    ).output  # fmt: skip
    assert "1 pairs, 2 ratings each: 2 votes" in told and "at least 2 raters are needed" in told
    assert "warning: 1 pairs name a system in what raters read (first: a)" in told
    reasons = {
        row["id"]: row["reason"] for row in map(json.loads, Path(f"{where}.drops.jsonl").read_text().splitlines())
    }
    assert reasons == {"b": "coding", "c": "not_english", "d": "in_training", "e": "not_listed"}
    from epigone.evaluate.preference.rating_app import open_campaign

    opened = open_campaign(where)
    assert (opened.rules.ratings, opened.rules.break_every, opened.consent) == (2, 7, "Do you agree?")
    rater = opened.join(opened.setting("invitation"), external="w1") or ""
    task = opened.step(rater)
    assert isinstance(task, Task)
    opened.vote(rater, task.token, "same")
    assert "of 2 votes by 1 raters" in run("status", where).output
    assert "deleted w1 and 1 votes" in run("delete-rater", where, "w1").output
    assert "closed with 0 votes" in run("close", where).output
    assert "0 of 2 votes by 0 raters; closed" in run("status", where).output
    (tmp_path / "rules.yaml").write_text("rating: 5\n")
    wrong = run("new", tmp_path / "n.sqlite", *models, "--rules", tmp_path / "rules.yaml", fails=True)
    assert isinstance(wrong.exception, SpecError) and "did you mean 'ratings'" in str(wrong.exception)


def test_crowd_tables_become_votes_and_what_is_none_says_why(tmp_path: Path) -> None:
    header = ["HITId", "AssignmentId", "WorkerId", "AssignmentStatus", "WorkTimeInSeconds", "Input.item"]
    header += ["Input.model_1", "Input.model_2", "Answer.choice", "Answer.reason"]
    rows = [
        ["h", "1", "W1", "Approved", "41", "q1", "s", "t", "1", "shorter"],
        ["h", "2", "W2", "Approved", "30.5", "q1", "t", "s", "1", ""],
        ["h", "3", "W1", "Submitted", "", "q2", "t", "s", "same", ""],
        ["h", "4", "W3", "Rejected", "2", "q1", "s", "t", "1", ""],
        ["h", "5", "W3", "Approved", "9", "q1", "s", "t", "", ""],
        ["h", "6", "W3", "Approved", "9", "q1", "s", "other", "1", ""],
        ["h", "7", "", "Approved", "9", "q1", "s", "t", "1", ""],
    ]
    with (tmp_path / "batch.csv").open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    out = tmp_path / "votes.jsonl"
    run("import", tmp_path / "batch.csv", "--teacher", "t", "--out", out)
    votes = read_jsonl(out, Vote)
    assert [(v.item, v.choice, v.first, v.seconds) for v in votes] == [
        ("q1", "student", "student", 41.0),
        ("q1", "teacher", "teacher", 30.5),
        ("q2", "tie", "teacher", None),
    ]
    assert votes[0].voter == votes[2].voter != votes[1].voter and "W1" not in out.read_text()
    drops = [json.loads(line)["reason"] for line in (tmp_path / "votes.drops.jsonl").read_text().splitlines()]
    assert drops == ["not_accepted", "no_choice", "not_against_the_teacher", "no_rater_or_item"]


def test_radio_columns_other_names_and_wrong_tables(tmp_path: Path) -> None:
    radio = "WorkerId,Input.item,Input.model_1,Input.model_2,Answer.choice.1,Answer.choice.2,Answer.choice.3\n"
    (tmp_path / "radio.csv").write_text(radio + "W1,q,s,t,false,true,false\nW2,q,s,t,false,false,true\nW3,q,s,t,,,\n")
    run("import", tmp_path / "radio.csv", "--teacher", "t", "--out", tmp_path / "a.jsonl")
    assert [vote.choice for vote in read_jsonl(tmp_path / "a.jsonl", Vote)] == ["teacher", "tie"]
    (tmp_path / "p.csv").write_text(
        "Participant id,Status,qid,first,second,choice\n5f,APPROVED,q,t,s,2\n6f,RETURNED,q,t,s,2\n"
    )
    arguments = ("import", tmp_path / "p.csv", "--from", "prolific", "--teacher", "t", "--out", tmp_path / "b.jsonl")
    missing = run(*arguments, fails=True)
    assert isinstance(missing.exception, DataError) and "no column for 'item'" in str(missing.exception)
    run(*arguments, "--column", "item=qid")
    assert [(vote.item, vote.choice) for vote in read_jsonl(tmp_path / "b.jsonl", Vote)] == [("q", "student")]


MTURK = (
    "HITId,HITTypeId,Title,Description,Keywords,Reward,CreationTime,MaxAssignments,RequesterAnnotation,"
    "AssignmentDurationInSeconds,AutoApprovalDelayInSeconds,Expiration,NumberOfSimilarHITs,LifetimeInSeconds,"
    "AssignmentId,WorkerId,AssignmentStatus,AcceptTime,SubmitTime,AutoApprovalTime,ApprovalTime,RejectionTime,"
    "RequesterFeedback,WorkTimeInSeconds,LifetimeApprovalRate,Last30DaysApprovalRate,Last7DaysApprovalRate,"
    "Input.item,Input.model_1,Input.model_2,Answer.taskAnswers,Approve,Reject"
)
"""The columns of a batch's results, as the requester's page downloads them."""

PROLIFIC = (
    "Submission id,Participant id,Status,Custom study tncs accepted at,Started at,Completed at,Reviewed at,Archived at,"
    "Time taken,Completion code,Total approvals"
)
"""The columns of a study's export, as Prolific's page of its submissions downloads them."""


def table(path: Path, columns: str, *rows: dict[str, str]) -> Path:
    with path.open("w", newline="", encoding="utf-8-sig") as file:
        writer = csv.DictWriter(file, columns.split(","), restval="", quoting=csv.QUOTE_ALL)
        writer.writeheader()
        writer.writerows(rows)
    return path


def test_a_batch_as_mechanical_turk_downloads_it(tmp_path: Path) -> None:
    said = [
        '[{"choice":{"1":true,"2":false,"3":false},"reason":"shorter"}]',
        '[{"choice":{"1":false,"2":false,"3":false}}]',
        '[{"category":{"label":"Answer 2 is better"}}]',
        "[{not JSON",
        "5",
        '[{"choice":{"1":false,"2":false,"3":true}}]',
    ]
    shown = {"AssignmentStatus": "Approved", "WorkTimeInSeconds": "41", "Input.model_1": "s", "Input.model_2": "t"}
    rows = [shown | {"WorkerId": f"W{n}", "Input.item": "q", "Answer.taskAnswers": text} for n, text in enumerate(said)]
    rows += [rows[0]]  # the same worker on the same pair again
    out = tmp_path / "votes.jsonl"
    run("import", table(tmp_path / "b.csv", MTURK, *rows), "--teacher", "t", "--out", out)
    votes = read_jsonl(out, Vote)
    assert [(v.choice, v.reason, v.seconds) for v in votes] == [
        ("student", "shorter", 41.0),
        ("teacher", None, 41.0),
        ("tie", None, 41.0),
    ]
    drops = [json.loads(line)["reason"] for line in (tmp_path / "votes.drops.jsonl").read_text().splitlines()]
    assert sorted(drops) == ["no_choice", "no_choice", "no_choice", "rated_before"]


def test_a_survey_behind_prolific_with_the_platforms_own_export(tmp_path: Path) -> None:
    columns = "PROLIFIC_PID,STUDY_ID,SESSION_ID,item,model_1,model_2,choice,Time taken"
    shown = {"item": "q", "model_1": "t", "model_2": "s", "choice": "1", "Time taken": "900"}
    people = ("5f1", "5f2", "5f3", "5f4")
    survey = table(tmp_path / "survey.csv", columns, *(shown | {"PROLIFIC_PID": who} for who in people))
    said = {"5f1": "APPROVED", "5f2": "AWAITING REVIEW", "5f3": "RETURNED"}
    rows = [{"Participant id": who, "Status": status, "Time taken": "900"} for who, status in said.items()]
    export = table(tmp_path / "prolific.csv", PROLIFIC, *rows)
    arguments = ("import", survey, "--from", "prolific", "--teacher", "t", "--out", tmp_path / "v.jsonl")
    run(*arguments, "--submissions", export)
    votes = read_jsonl(tmp_path / "v.jsonl", Vote)
    assert [(vote.choice, vote.seconds) for vote in votes] == [("teacher", None)] * 2, "900 s were the whole study's"
    drops = [json.loads(line) for line in (tmp_path / "v.drops.jsonl").read_text().splitlines()]
    assert [(drop["reason"], drop["detail"]) for drop in drops] == [
        ("not_accepted", "RETURNED"),
        ("not_accepted", "no submission"),
    ]
    wrong = run(*arguments, "--submissions", survey, fails=True)
    assert isinstance(wrong.exception, DataError) and "Participant id and Status" in str(wrong.exception)


def test_whom_to_pay_is_a_file_of_its_own(tmp_path: Path) -> None:
    pair = Pair(item="q", prompt="q", student="s", teacher="t", student_response="pale", teacher_response="golden")
    made = new_campaign(tmp_path / "c.sqlite", [pair], RatingRules(ratings=1))
    cookie = made.join(made.setting("invitation"), external="worker-1") or ""
    task = made.step(cookie)
    assert isinstance(task, Task) and made.vote(cookie, task.token, "same") == "stored"
    run("export", tmp_path / "c.sqlite", "--out", tmp_path / "v.jsonl", "--crowd-ids", tmp_path / "pay.jsonl")
    paid = json.loads((tmp_path / "pay.jsonl").read_text())
    assert paid == {"crowd_id": "worker-1", "rater": made.votes()[0].voter}
    assert "worker-1" not in (tmp_path / "v.jsonl").read_text()


def test_a_port_that_is_taken_is_told(campaign: Campaign, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        result = run("serve", tmp_path / "c.sqlite", "--port", port, fails=True)
    assert isinstance(result.exception, EndpointError)
    assert "cannot listen: Address already in use" in str(result.exception)
    assert "invite raters" not in result.output
    result = run("serve", tmp_path / "c.sqlite", "--host", "no.such.host.invalid", fails=True)
    assert isinstance(result.exception, EndpointError) and "choose another --port" in str(result.exception)


@pytest.mark.parametrize("address", ["rate.example.org", "https://rate.example.org/study", "ftp://rate.example.org"])
def test_a_public_address_that_cannot_be_one_is_told(campaign: Campaign, tmp_path: Path, address: str) -> None:
    result = run("serve", tmp_path / "c.sqlite", "--public-url", address, fails=True)
    assert isinstance(result.exception, SpecError) and "no web address" in str(result.exception)
