"""Tables of estimates in a terminal: what is in a name is shown as it is, and a narrow screen cuts no label."""

from __future__ import annotations

import io

from rich.console import Console

from epigone.cli.style import print_estimates
from epigone.records import Estimate

HALF = Estimate(value=0.5, low=0.4, high=0.6, n_scored=9, n_total=9, method="")


def printed(names: list[str], width: int = 80, label: str = "a rather long name of one axis") -> list[str]:
    console = Console(file=io.StringIO(), width=width)
    print_estimates(console, names, [(label, [HALF] * len(names)), ("nobody has this", [None] * len(names))])
    file = console.file
    assert isinstance(file, io.StringIO)
    return file.getvalue().splitlines()


def test_markup_in_a_models_name_is_a_name() -> None:
    head, row = printed(["[/bold] weird", "[red]llama[/red]"], width=120, label="[/] odd")
    assert "[/bold] weird" in head and "[red]llama[/red]" in head
    assert row.startswith("[/] odd")


def test_more_models_than_fit_go_into_further_tables() -> None:
    lines = printed([f"model-{k}" for k in range(7)])
    assert [sum(f"model-{k}" in line for line in lines) for k in range(7)] == [1] * 7
    assert sum(line.count("0.50 [0.40, 0.60]") for line in lines) == 7, "no cell is folded"
    assert max(map(len, lines)) <= 80
    assert not any("nobody has this" in line for line in lines)
