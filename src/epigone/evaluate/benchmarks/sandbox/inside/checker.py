"""The checking side: runs a benchmark's test against a function that lives in the other process.

Started as ``python -I checker.py JOB_FD``; the function's answers come on stdin, its calls leave on stdout, and the
verdict leaves on stderr, which the untrusted process does not hold. It runs the benchmark's own code only: the prompt
(its helper functions) and the test.
"""

import builtins
import json
import os
import signal
import sys
from typing import Any

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import limits  # type: ignore[import-not-found]  # stands beside this file, inside
import wire  # type: ignore[import-not-found]


class TimeIsUp(BaseException):
    """The program took too long; no test catches this as an ordinary exception."""


def main() -> None:
    with os.fdopen(int(sys.argv[1]), "rb") as file:
        job = json.load(file)
    limits.enclose(job["limits"])
    namespace: dict[str, Any] = {"__name__": "test"}
    signal.signal(signal.SIGALRM, _time_is_up)
    sys.stdin.readline()  # the other process is ready; starting it is not the program's time
    signal.setitimer(signal.ITIMER_REAL, job["limits"]["clock_s"])
    try:
        exec(compile(job["prompt"], "prompt.py", "exec"), namespace)  # noqa: S102 - the benchmark's own code
        namespace[job["entry_point"]] = far_function
        exec(compile(job["test"], "test.py", "exec"), namespace)  # noqa: S102
        namespace["check"](far_function)
    except TimeIsUp:
        _say("timed_out", "")
    except BaseException as error:  # noqa: BLE001 - a test may raise anything; all of it is a failure
        _say("failed", f"{type(error).__name__}: {error}"[:300])
    else:
        _say("passed", "")


def far_function(*arguments: Any, **named: Any) -> Any:
    """Call the function in the other process; what it raises is raised here, as the built-in error of that name."""
    sys.stdout.write(wire.encode((arguments, named)) + "\n")
    sys.stdout.flush()
    line = sys.stdin.readline(2 * wire.LONGEST_LINE)
    if not line.endswith("\n"):
        raise RuntimeError("the program ended or was stopped, or its answer is too long")
    answer = json.loads(line)
    if "raised" in answer:
        kind = getattr(builtins, str(answer["raised"]), RuntimeError)
        raise kind() if isinstance(kind, type) and issubclass(kind, Exception) else RuntimeError(answer["raised"])
    return wire.decode(answer["value"])


def _time_is_up(*_: object) -> None:
    raise TimeIsUp


def _say(verdict: str, detail: str) -> None:
    signal.setitimer(signal.ITIMER_REAL, 0)
    sys.stderr.write(json.dumps({"verdict": verdict, "detail": detail}) + "\n")
    sys.stderr.flush()


main()
