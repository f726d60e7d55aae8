"""The untrusted side: runs a model's program, then answers calls of one of its functions.

Started as ``python -I candidate.py JOB_FD``; calls come on stdin, answers leave on stdout, a line each. The program may
write anything it likes to that pipe: all it can do there is to give an answer.
"""

import json
import os
import sys
from typing import Any

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import limits  # type: ignore[import-not-found]  # stands beside this file, inside
import wire  # type: ignore[import-not-found]


def main() -> None:
    with os.fdopen(int(sys.argv[1]), "rb") as file:
        job = json.load(file)
    calls, answers = os.fdopen(os.dup(0), "r"), os.fdopen(os.dup(1), "w")
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nothing, stream)
    limits.enclose(job["limits"])
    namespace: dict[str, Any] = {"__name__": "program"}
    problem = None
    answers.write("ready\n")  # from here on the program is on the clock
    answers.flush()
    try:
        exec(compile(job["program"], "program.py", "exec"), namespace)  # noqa: S102 - what this process is for
    except BaseException as error:  # noqa: BLE001 - a program may raise anything, SystemExit included
        problem = type(error).__name__
    for line in calls:
        answers.write(_answer(namespace, job["entry_point"], problem, line) + "\n")
        answers.flush()


def _answer(namespace: dict[str, Any], entry_point: str, problem: str | None, line: str) -> str:
    if problem is not None:
        return json.dumps({"raised": problem})
    try:
        arguments, named = wire.decode(line)
        return json.dumps({"value": wire.encode(namespace[entry_point](*arguments, **named))})
    except BaseException as error:  # noqa: BLE001
        return json.dumps({"raised": type(error).__name__})


main()
