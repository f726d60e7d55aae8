"""What a finished study says in the terminal: the headline, the findings, where the report is."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from epigone.records import Estimate
from epigone.report.arms import Arms
from epigone.study import Finished

__all__ = ["show_finished"]

_MARKS = {"supported": "+", "not_supported": "-", "undecided": "?"}


def show_finished(finished: Finished) -> None:
    """Print the headline with its intervals, the six findings and the paths."""
    console = Console(highlight=False)
    results = finished.results
    console.print()
    if results.headline_models:
        console.print(Text(f"{results.headline_models[0]}: 0 % is its base, 100 % the teacher"))
    for key, label in (("style_closed", "style closed"), ("capability_closed", "capability closed")):
        if key in results.headline:
            used, of = Arms(results).mean_over(key)
            console.print(
                Text.assemble(
                    (f"  {label:<18} ", ""),
                    (_percent(results.headline[key], results.confidence), "bold"),
                    (f", mean of {len(used)} of {of} axes" if used else "", ""),
                )
            )
    if results.findings:
        console.print()
        table = Table.grid(padding=(0, 1))
        for finding in results.findings:
            verdict = finding.verdict.replace("_", " ")
            table.add_row(Text(_MARKS[finding.verdict]), Text(verdict), Text(finding.hypothesis))
        console.print(table)
    console.print()
    console.print(Text(f"results  {finished.results_path}"), soft_wrap=True)
    console.print(Text(f"report   {finished.report}"), soft_wrap=True)


def _percent(estimate: Estimate, confidence: float) -> str:
    if estimate.value is None:
        return f"no estimate: {estimate.method}"
    interval = ""
    if estimate.low is not None and estimate.high is not None:
        interval = f" ({100 * confidence:.0f} % interval {100 * estimate.low:z.0f} to {100 * estimate.high:z.0f} %)"
    return f"{100 * estimate.value:z.0f} %{interval}"
