"""``python -m epigone.models.serving MODEL``: the process behind :class:`~epigone.models.ServerProcess`."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from epigone.errors import EpigoneError
from epigone.models.local_spec import LocalSpec
from epigone.specs import parse_spec


def main() -> int:
    """Load, bind, announce, serve."""
    parser = argparse.ArgumentParser(prog="python -m epigone.models.serving", description=__doc__)
    parser.add_argument("model")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--announce", type=Path, help="JSON file written once the port is bound")
    parser.add_argument("--parent", type=int, help="process id with which to end")
    for option in ("name", "dtype", "device", "gguf-file"):
        parser.add_argument(f"--{option}")
    for option in ("threads", "batch-rows", "batch-tokens", "max-context"):
        parser.add_argument(f"--{option}", type=int)
    given = vars(parser.parse_args())
    server = {key: given.pop(key) for key in ("host", "port", "announce", "parent")}
    fields = {"hf": given.pop("model")} | {key: value for key, value in given.items() if value is not None}

    from epigone.disk import write_json
    from epigone.models.leash import end_with_parent
    from epigone.models.local import load_local
    from epigone.models.serving.run import serve

    def announce(port: int) -> None:
        if server["announce"] is not None:
            write_json(server["announce"], {"host": server["host"], "port": port, "pid": os.getpid()})

    if server["parent"] is not None:
        end_with_parent(server["parent"])
    try:
        model = load_local(parse_spec(LocalSpec, fields, where="arguments"))
        serve(model, server["host"], server["port"], announce=announce)
    except EpigoneError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
