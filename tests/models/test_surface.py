"""What the room offers, and that asking an API needs no torch."""

from __future__ import annotations

import subprocess
import sys

import epigone.models


def test_the_public_names_are_these() -> None:
    assert sorted(epigone.models.__all__) == [
        "ApiModel",
        "ApiSpec",
        "Budget",
        "BudgetSpec",
        "LocalSpec",
        "Price",
        "Progress",
        "RequestCache",
        "ServeSpec",
        "ServedModel",
        "ServerProcess",
        "ServerSpec",
        "Spending",
        "TextModel",
        "Usage",
        "open_model",
        "request_digest",
    ]


def test_serve_says_what_is_wrong_without_a_traceback() -> None:
    command = [sys.executable, "-m", "epigone", "serve", "/no/such/folder", "--port", "0"]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 2
    assert ran.stderr == (
        "error: /no/such/folder: no such folder\n  fix: check the path; a hub id has the form organisation/model\n"
    )


def test_importing_the_room_imports_no_torch_and_no_server() -> None:
    script = "import sys, epigone.models; print([n for n in ('torch', 'transformers', 'uvicorn') if n in sys.modules])"
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout == "[]\n"
