"""Shows a run: stages, what runs now, time left. Without a terminal, one plain line for each finished job."""

from __future__ import annotations

import time
from collections import Counter

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from epigone.study import Event

__all__ = ["RunDisplay"]


class RunDisplay:
    """A listener for a run's events and a context manager for the screen."""

    def __init__(self, console: Console | None = None, *, title: str = "") -> None:
        self.console = console or Console(stderr=True, highlight=False)
        self.title = title
        self._total: Counter[str] = Counter()
        self._done: Counter[str] = Counter()
        self._kept = 0
        self._running: dict[str, Event] = {}
        self._shares: dict[str, float] = {}
        self._took: dict[str, list[float]] = {}
        self._begun = time.monotonic()
        self._live = Live(console=self.console, refresh_per_second=4, transient=True, get_renderable=self._render)

    def __enter__(self) -> RunDisplay:
        if self.console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.console.is_terminal:
            self._live.stop()

    def __call__(self, event: Event) -> None:
        """Take one event in."""
        if event.kind in ("planned", "kept"):
            self._total[event.stage] += 1
            if event.kind == "kept":
                self._done[event.stage] += 1
                self._kept += 1
        elif event.kind == "started":
            if not self._running and self._kept and not self._took:
                self._say(f"{self._kept} of {sum(self._total.values())} jobs were finished before and are kept")
            self._running[event.job] = event
        elif event.kind == "progress" and event.total:
            self._shares[event.job] = event.done / event.total
        elif event.kind in ("finished", "failed"):
            self._running.pop(event.job, None)
            self._shares.pop(event.job, None)
            if event.kind == "finished":
                self._done[event.stage] += 1
                self._took.setdefault(event.stage, []).append(event.took or 0.0)
            self._say_end(event)

    def _say_end(self, event: Event) -> None:
        done, total = sum(self._done.values()), sum(self._total.values())
        if event.kind == "failed":
            self._say(f"[{event.seconds:6.0f} s] failed: {event.title}")
        elif not self.console.is_terminal:
            self._say(f"[{event.seconds:6.0f} s] {done:>4}/{total} {event.title} ({event.took or 0:.1f} s)")

    def _say(self, line: str) -> None:
        self.console.print(line, markup=False, soft_wrap=True)

    def _render(self) -> Group:
        table = Table.grid(padding=(0, 2))
        for stage, total in list(self._total.items()):
            bar = ProgressBar(total=total, completed=self._done[stage], width=24)
            table.add_row(Text(stage), bar, Text(f"{self._done[stage]}/{total}", justify="right"))
        now = Table.grid(padding=(0, 2))
        for job, event in list(self._running.items()):
            share = self._shares.get(job)
            now.add_row(
                Text("·"), Text(event.title, overflow="ellipsis", no_wrap=True), Text(f"{share:.0%}" if share else "")
            )
        elapsed = time.monotonic() - self._begun
        left = self._seconds_left()
        line = f"{self.title}  {_clock(elapsed)} elapsed" + (f", about {_clock(left)} left" if left is not None else "")
        return Group(Text(line, style="bold"), table, now)

    def _seconds_left(self) -> float | None:
        """From the mean duration of each stage's finished jobs; ``None`` until every open stage has one."""
        seconds = 0.0
        for stage, total in list(self._total.items()):
            open_jobs = total - self._done[stage]
            if open_jobs == 0:
                continue
            took = self._took.get(stage)
            if not took:
                return None
            seconds += open_jobs * sum(took) / len(took)
        return seconds / max(len(self._running), 1)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
