"""What is wrong with a study is said before anything is spent: what, where, and how to mend it."""

from __future__ import annotations

import json
import re
import socket
import sys
import textwrap
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from epigone.cli import main
from epigone.disk import write_yaml
from epigone.errors import DataError, EndpointError, ModelError, SpecError
from epigone.study import Digests, check_study, make_plan, read_study, run_study
from epigone.study.arms import expand_arms
from epigone.study.check import check_amounts, check_before_run, check_endpoints
from epigone.study.costs import asked_at_most

sys.path.insert(0, str(Path(__file__).parent))
from counting_proxy import CountingProxy

STUDIES = Path(__file__).parents[2] / "studies"


@pytest.fixture
def document(tmp_path: Path) -> dict[str, Any]:
    """A small valid study whose files are there; its base is a folder with a configuration only."""
    for name, kind in (("small", "LlamaForCausalLM"), ("encoder", "BertForMaskedLM")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(json.dumps({"model_type": "llama", "architectures": [kind]}))
    seeds = [{"question": f"who wrote book {i}", "answer": f"writer {i}"} for i in range(10)]
    (tmp_path / "seeds.jsonl").write_text("".join(json.dumps(seed) + "\n" for seed in seeds))
    prompts = [{"id": f"p{i}", "prompt": f"tell me about {i}"} for i in range(3)]
    (tmp_path / "prompts.jsonl").write_text("".join(json.dumps(prompt) + "\n" for prompt in prompts))
    (tmp_path / "text.jsonl").write_text('{"text": "once upon a time"}\n')
    return {
        "name": "test",
        "teacher": {"api": {"base_url": "http://127.0.0.1:9/v1", "model": "t"}, "terms": "own"},
        "bases": [{"name": "small", "hf": "small"}],
        "data": {"qa": {"synthesize": {"seeds": "seeds.jsonl"}}, "broad": {"answer": {"prompts": "prompts.jsonl"}}},
        "arms": [{"data": ["broad"], "amounts": ["40k", "0.16M"], "seeds": [0, 1]}, {"data": ["qa"]}],
        "replay_text": "text.jsonl",
        "evaluate": {"style": {"prompts": "prompts.jsonl"}},
    }


def read(document: dict[str, Any], folder: Path) -> Any:
    write_yaml(folder / "study.yaml", document)
    return read_study(folder / "study.yaml")


def test_the_grid_becomes_arms_with_the_files_order_and_names(document: dict[str, Any], tmp_path: Path) -> None:
    names = [arm.name for arm in expand_arms(read(document, tmp_path))]
    assert names == [
        "small/broad-40k/s0",
        "small/broad-40k/s1",
        "small/broad-160k/s0",
        "small/broad-160k/s1",
        "small/qa-all/s0",
    ]


def test_one_more_amount_adds_jobs_and_changes_no_other_job_but_the_comparison(
    document: dict[str, Any], tmp_path: Path
) -> None:
    before = {job.id for job in make_plan(read(document, tmp_path), tmp_path).jobs}
    document["arms"][0]["amounts"].append("640k")
    after = {job.id: job for job in make_plan(read(document, tmp_path), tmp_path).jobs}
    gone = before - set(after)
    new = [job.stage for job_id, job in after.items() if job_id not in before]
    assert {job_id.split("-")[0] for job_id in gone} == {"compare"}
    assert sorted(new) == sorted(["train", "answers", "style"] * 2 + ["compare"])


def test_threads_addresses_and_paths_are_no_part_of_a_jobs_identity(document: dict[str, Any], tmp_path: Path) -> None:
    plan = make_plan(read(document, tmp_path), tmp_path)
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    (tmp_path / "prompts.jsonl").rename(moved / "p.jsonl")
    document["data"]["broad"]["answer"]["prompts"] = "elsewhere/p.jsonl"
    document["evaluate"]["style"]["prompts"] = "elsewhere/p.jsonl"
    document["teacher"]["api"]["base_url"] = "http://127.0.0.1:10/v1"
    document["resources"] = {"jobs": 7, "threads": 3}
    document["train"] = {"threads": 2, "log_every": 3}
    assert [job.id for job in make_plan(read(document, tmp_path), tmp_path).jobs] == [job.id for job in plan.jobs]


def test_a_changed_file_changes_the_jobs_that_read_it(document: dict[str, Any], tmp_path: Path) -> None:
    memory = Digests(tmp_path / "digests.json")
    before = {job.title: job.id for job in make_plan(read(document, tmp_path), tmp_path, memory).jobs}
    with open(tmp_path / "seeds.jsonl", "a") as file:
        file.write('{"question": "one more", "answer": "yes"}\n')
    after = {job.title: job.id for job in make_plan(read(document, tmp_path), tmp_path, memory).jobs}
    changed = {title for title in before if before[title] != after[title]}
    assert "collect qa" in changed and "train small/qa-all/s0" in changed
    assert "collect broad" not in changed and "train small/broad-40k/s0" not in changed


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"teachr": {}}, r"unknown key 'teachr'; did you mean 'teacher'\?"),
        ({"bases": []}, r"'bases'"),
        ({"arms": {"data": ["brod"]}}, r"arms name the data 'brod', which is not under 'data': qa, broad"),
        ({"arms": {"data": ["qa"], "bases": ["large"]}}, r"arms name the base 'large'"),
        ({"arms": {"data": ["broad"], "amounts": ["many"]}}, r"an amount is a number of tokens such as"),
        (
            {"replay_text": None, "arms": {"data": ["qa"], "replay": [0.25]}},
            r"'replay_text' names no pre-training text",
        ),
        ({"teacher": {"terms": "x"}}, r"give exactly one of 'api' and 'serve'"),
        ({"train": {"peak_learning_rate": 1}}, r"unknown key 'train.peak_learning_rate'; did you mean"),
        ({"data": {"broad": {"answer": {"prompt": "x"}}}}, r"did you mean 'prompts'\?"),
        ({"bases": [{"name": "teacher", "hf": "small"}]}, "no base may be named 'teacher'"),
        ({"arms": {"data": []}}, r"yaml: 'arms\.0\.data': needs at least 1 entry\Z"),
        ({"arms": {"data": ["qa"], "seeds": []}}, r"yaml: 'arms\.0\.seeds': needs at least 1 entry\Z"),
        ({"arms": {"data": ["qa"], "bases": []}}, r"yaml: 'arms\.0\.bases': needs at least 1 entry\Z"),
        ({"arms": {"data": ["qa"], "amounts": [0]}}, r"yaml: 'arms\.0\.amounts\.0': Input should be greater than 0"),
        ({"teacher": {"api": {"base_url": "http://a/v1"}}}, r"the key 'teacher\.api\.model' is missing"),
        ({"evaluate": {"style": {"prompts": "p", "judg": 1}}}, r"unknown key 'evaluate\.style\.judg'"),
        ({"evaluate": {"benchmarks": ["a/qa.yaml", "b/qa.yaml"]}}, "two benchmarks are called the same"),
        ({"budget": {"usd": 5}}, r"budget\.usd cannot hold teacher: no 'price' is stated there"),
    ],
)
def test_a_mistake_in_the_file_is_named_with_its_mend(
    document: dict[str, Any],
    tmp_path: Path,
    change: dict[str, Any],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """In Python and, without a traceback, on the command line."""
    with pytest.raises(SpecError) as caught:
        read({**document, **change}, tmp_path)
    assert re.search(message, f"study.yaml: {caught.value.what}")
    assert checked_on_the_command_line(tmp_path, monkeypatch, capsys) == f"error: {caught.value}\n"


def checked_on_the_command_line(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> str:
    """What `epigone check` says on standard error of a study file that is wrong."""
    monkeypatch.setattr(sys, "argv", ["epigone", "check", str(folder / "study.yaml")])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    return capsys.readouterr().err


def add_trivia(document: dict[str, Any], folder: Path, rows: list[dict[str, str]]) -> None:
    task = """
        task: trivia
        dataset_path: json
        dataset_kwargs: {data_files: {test: items.jsonl}}
        test_split: test
        output_type: generate_until
        doc_to_text: "Question: {{question}}"
        doc_to_target: answer
        generation_kwargs: {until: ["."], max_gen_toks: 8}
        process_results: !function epigone.evaluate.benchmarks.process.closed_book
    """
    (folder / "trivia.yaml").write_text(textwrap.dedent(task))
    (folder / "items.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    document["evaluate"]["benchmarks"] = ["trivia.yaml"]


def test_a_seed_question_that_is_scored_is_refused(
    document: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [{"question": "Who wrote Book 3?", "answer": "writer 3"}, {"question": "who sang", "answer": "a singer"}]
    add_trivia(document, tmp_path, rows)
    document["teacher"] = {"serve": {"hf": "small"}, "terms": "own"}
    write_yaml(tmp_path / "study.yaml", document)
    said = checked_on_the_command_line(tmp_path, monkeypatch, capsys)
    assert "data.qa.synthesize.seeds: the seed question 'who wrote book 3' is item" in said
    assert "fix: replace that seed" in said and "Traceback" not in said


def test_a_local_task_that_no_benchmark_has_is_refused(document: dict[str, Any], tmp_path: Path) -> None:
    add_trivia(document, tmp_path, [{"question": "who sang", "answer": "a singer"}])
    for known in ("trivia", "trivia.exact_match"):
        document["data"]["qa"]["local_task"] = known
        check_before_run(read(document, tmp_path), tmp_path)
    document["data"]["qa"]["local_task"] = "trivia.exakt_match"
    said = r"data\.qa\.local_task: 'trivia.exakt_match' is no axis .* did you mean 'trivia.exact_match'"
    with pytest.raises(SpecError, match=said):
        check_before_run(read(document, tmp_path), tmp_path)


def test_fewer_seeds_than_shots_are_said_before_anything_is_paid(document: dict[str, Any], tmp_path: Path) -> None:
    document["data"]["qa"]["synthesize"]["shots"] = 11
    spec = read(document, tmp_path)
    with pytest.raises(DataError, match="10 seeds are fewer than the 11 shots"):
        asked_at_most(spec, make_plan(spec, tmp_path), stages=("collect",))


def test_a_missing_file_is_named(document: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "seeds.jsonl").unlink()
    with pytest.raises(SpecError, match=r"data\.qa.*no such file or folder: seeds\.jsonl"):
        make_plan(read(document, tmp_path), tmp_path)


def test_a_base_that_is_not_there_is_named(document: dict[str, Any], tmp_path: Path) -> None:
    document["bases"][0]["hf"] = "./nowhere"
    with pytest.raises(ModelError, match=r"bases\.small: \./nowhere: no such model folder"):
        make_plan(read(document, tmp_path), tmp_path)


def test_a_base_that_is_no_causal_model_is_refused(document: dict[str, Any], tmp_path: Path) -> None:
    document["bases"][0]["hf"] = "encoder"
    spec = read(document, tmp_path)
    with pytest.raises(ModelError, match="is no causal language model, but BertForMaskedLM"):
        check_before_run(spec, tmp_path)


class Hub(BaseHTTPRequestHandler):
    """A hub with one model, an encoder."""

    def do_GET(self) -> None:
        found = self.path.startswith("/api/models/org/encoder")
        self.send_response(200 if found else 404)
        if not found:
            self.send_header("X-Error-Code", "RepoNotFound")
        self.end_headers()
        if found:
            config = {"architectures": ["BertForMaskedLM"]}
            self.wfile.write(json.dumps({"id": "org/encoder", "config": config, "siblings": []}).encode())

    def log_message(self, *_: object) -> None:
        return


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", f"http://127.0.0.1:{server.server_address[1]}")
        yield
        server.shutdown()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("org/nothing", "bases.small: org/nothing: the hub has no such model"),
        ("org/encoder", "bases.small: org/encoder: is no causal language model, but BertForMaskedLM"),
    ],
)
@pytest.mark.usefixtures("hub")
def test_a_base_that_the_hub_does_not_have_is_refused_before_anything_is_paid(
    document: dict[str, Any], tmp_path: Path, name: str, message: str
) -> None:
    document["bases"][0]["hf"] = name
    with pytest.raises(ModelError, match=message):
        check_before_run(read(document, tmp_path), tmp_path)


def test_without_the_hub_check_warns_of_a_base_that_is_not_here_and_run_refuses_it(
    document: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    document["bases"][0]["hf"] = "org/model"
    document["teacher"] = {"serve": {"hf": "small"}}
    spec = read(document, tmp_path)
    said = "bases.small: org/model is not on this machine, and the hub cannot be asked"
    assert said in check_before_run(spec, tmp_path)[0]
    with pytest.raises(ModelError, match=said):
        run_study(tmp_path / "study.yaml", out=tmp_path / "run")


def test_an_unreachable_teacher_is_said_before_anything_runs(document: dict[str, Any], tmp_path: Path) -> None:
    spec = read(document, tmp_path)
    with pytest.raises(EndpointError, match=r"http://127\.0\.0\.1:9/v1: teacher cannot be reached"):
        check_endpoints(spec, make_plan(spec, tmp_path).jobs)


def test_a_judge_without_a_key_is_said_before_the_teacher_is_paid(
    document: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody notices a judge's key until students are trained, unless it is looked at first."""
    monkeypatch.delenv("JUDGE_KEY", raising=False)
    judge = {"base_url": "http://127.0.0.1:9/v1", "model": "judge", "key_env": "JUDGE_KEY"}
    document["evaluate"]["preference"] = {"prompts": "prompts.jsonl", "judge": {"api": judge}}
    document["teacher"] = {"serve": {"hf": "small"}, "terms": "own"}
    document["arms"] = {"data": ["broad"]}
    spec = read(document, tmp_path)
    jobs = make_plan(spec, tmp_path).jobs
    with pytest.raises(EndpointError, match="the environment variable JUDGE_KEY is not set"):
        run_study(tmp_path / "study.yaml", out=tmp_path / "run")
    check_endpoints(spec, [job for job in jobs if job.stage != "judge"])  # its votes are there already: nobody is asked
    refusal = check_study(spec, tmp_path, make_plan(spec, tmp_path)).refusal
    assert refusal is not None and "JUDGE_KEY" in str(refusal)


def test_a_key_that_is_refused_is_said_before_anything_runs(
    document: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEACHER_KEY", "mistyped")
    with CountingProxy("http://127.0.0.1:9") as provider:
        provider.refuse_keys = True
        document["teacher"]["api"] |= {"base_url": provider.base_url, "key_env": "TEACHER_KEY"}
        spec = read(document, tmp_path)
        with pytest.raises(EndpointError, match=r"teacher refuses the key \(401\)") as caught:
            check_endpoints(spec, make_plan(spec, tmp_path).jobs)
    assert provider.keys == {"Bearer mistyped"} and "mistyped" not in str(caught.value)


def test_check_counts_jobs_tokens_and_names_what_looks_wrong(document: dict[str, Any], tmp_path: Path) -> None:
    document["teacher"] = {"serve": {"hf": "small"}}
    document["arms"] = {"data": ["broad"], "amounts": ["1k", "2k"]}
    spec = read(document, tmp_path)
    checked = check_study(spec, tmp_path, make_plan(spec, tmp_path))
    assert checked.arms == 2 and checked.training_tokens == 3_000
    assert checked.jobs["train"] == 2
    warnings = " ".join(checked.warnings)
    assert "teacher.terms is empty" in warnings
    assert "one training seed an arm" in warnings
    assert "evaluate.benchmarks is empty" in warnings


def test_check_bounds_requests_tokens_and_dollars_of_teacher_and_judge(
    document: dict[str, Any], tmp_path: Path
) -> None:
    """By hand: prompts of 400 bytes, 80 tokens around each, replies of 100; $100 and $1,000 a million, batches half."""
    (tmp_path / "ask.jinja").write_text("x" * 400)
    (tmp_path / "prompts.jsonl").write_text("".join(json.dumps({"prompt": f"{i}" * 400}) + "\n" for i in range(3)))
    document["data"]["qa"]["synthesize"] |= {"template": "ask.jinja", "max_tokens": 100}
    document["data"]["broad"]["answer"]["max_tokens"] = 100
    document["evaluate"]["style"]["max_tokens"] = 100
    document["arms"] = {"data": ["qa"]}
    price = {"input_usd_per_million": 100.0, "output_usd_per_million": 1000.0, "batch_factor": 0.5}
    judge = {"base_url": "http://127.0.0.1:9/v1", "model": "judge", "price": price}
    document["evaluate"]["preference"] = {"prompts": "prompts.jsonl", "max_tokens": 50, "judge": {"api": judge}}
    with socket.create_server(("127.0.0.1", 0)) as teacher:
        address = f"http://127.0.0.1:{teacher.getsockname()[1]}/v1"
        document["teacher"]["api"] |= {"base_url": address, "price": price, "batch_endpoint": True}
        spec = read(document, tmp_path)
        checked = check_study(spec, tmp_path, make_plan(spec, tmp_path))
    asked = {row.what: row for row in checked.asked}
    assert list(asked) == ["data qa", "data broad", "teacher: answers", "judge"]
    # Every 200 requests and the round after them bring 10 pairs: 600 times on the slowest way to 6,000.
    assert asked["data qa"].requests == 600 * (200 + 64)
    assert asked["data broad"].requests == 3
    # Two samples for style, two for preference; a teacher's second sample, a base and a student are judged, in both
    # orders and once more after a reply that cannot be read.
    assert asked["teacher: answers"].requests == 2 * 2 * 3
    assert asked["judge"].requests == 3 * 3 * 2 * 2
    for what, batch in (("data qa", 0.5), ("data broad", 0.5)):
        row = asked[what]
        assert (row.prompt_tokens, row.reply_tokens) == (row.requests * 480, row.requests * 100)
        assert row.usd == pytest.approx(batch * row.requests * (480 * 100 + 100 * 1000) / 1e6)
    assert asked["data qa"].likely_usd == pytest.approx(0.5 * 600 * (120 * 100 + 50 * 1000) / 1e6)
    assert asked["judge"].prompt_tokens > asked["judge"].requests * (400 + 2 * 2 * 50)
    assert "data.qa.synthesize has no max_requests" in " ".join(checked.warnings)


def test_check_never_counts_an_endpoint_without_a_price_as_free(
    document: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    price = {"input_usd_per_million": 100.0, "output_usd_per_million": 1000.0}
    document["teacher"]["api"]["price"] = price
    document["data"] = {"broad": document["data"]["broad"]}
    document["arms"] = {"data": ["broad"]}
    judge = {"base_url": "http://127.0.0.1:9/v1", "model": "judge"}
    document["evaluate"]["preference"] = {"prompts": "prompts.jsonl", "judge": {"api": judge}}
    read(document, tmp_path)
    monkeypatch.setattr(sys, "argv", ["epigone", "check", str(tmp_path / "study.yaml")])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == EndpointError.exit_code  # nobody answers at port 9, and all that is known is said first
    said = capsys.readouterr()
    assert re.search(r"^judge .* \? +\? *$", said.out, re.MULTILINE)
    assert re.search(r"^together .* \$\d+\.\d\d \+ \? +\$\d+\.\d\d \+ \? *$", said.out, re.MULTILINE)
    assert "judge: not in the dollars: no 'price' is stated" in said.out
    assert "teacher cannot be reached" in said.err


def test_a_synthesis_that_nothing_ends_is_not_given_a_bound(document: dict[str, Any], tmp_path: Path) -> None:
    document["data"]["qa"]["synthesize"]["stall_pairs"] = 0
    spec = read(document, tmp_path)
    asked = {row.what: row for row in asked_at_most(spec, make_plan(spec, tmp_path))}
    assert "nothing ends the synthesis" in asked["data qa"].unknown
    document["data"]["qa"]["synthesize"]["max_requests"] = 70
    spec = read(document, tmp_path)
    asked = {row.what: row for row in asked_at_most(spec, make_plan(spec, tmp_path))}
    assert (asked["data qa"].requests, asked["data qa"].unknown) == (70, "")


def test_an_amount_beyond_the_data_is_said_before_anything_is_paid(document: dict[str, Any], tmp_path: Path) -> None:
    """Three answers of at most 1,024 tokens."""
    document["arms"] = {"data": ["broad"], "amounts": ["4k"]}
    spec = read(document, tmp_path)
    asked = asked_at_most(spec, make_plan(spec, tmp_path), stages=("collect",))
    assert "not likely to hold them: 3,072 reply tokens at most" in check_amounts(spec, asked)[0]
    document["arms"]["amounts"] = ["1M"]
    with pytest.raises(SpecError, match="1,000,000 tokens cannot be reached: the data holds 3,072 reply tokens"):
        check_amounts(read(document, tmp_path), asked)


@pytest.mark.parametrize("path", sorted(STUDIES.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_recipe_is_a_valid_study(path: Path) -> None:
    spec = read_study(path)
    assert spec.name == path.stem
    assert expand_arms(spec)
