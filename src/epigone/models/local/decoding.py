"""Writing many sequences side by side: rows leave when they are done, and waiting ones take their place."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

import torch
from msgspec import Struct

from epigone.models.local.bands import Bands
from epigone.models.local.batches import Limits
from epigone.models.local.forward import Forward
from epigone.models.local.jobs import Job
from epigone.models.local.prefixes import group_by_prefix
from epigone.models.local.sampling import choose
from epigone.models.local.slab import Slab, Source
from epigone.models.local.text import Text

__all__ = ["Decoder"]

_STEPS_BETWEEN_ADMISSIONS = 4
_ROOM_COLUMNS = 64
"""How many columns a slab is given beyond those in use: it is built anew when they are full."""


class _Waiting(Struct, frozen=True):
    """A job not yet begun, and how many first tokens it shares with its neighbours in the queue."""

    job: Job
    prefix: int


class Decoder:
    """Runs jobs to their ends, at most ``batch_rows`` rows and ``batch_tokens`` cached positions at a time.

    All rows are aligned at the right: the newest token of each stands in the same column of the slab. Rows of similar
    length stand together in bands. When a row is done others move up into its place, so finished rows cost nothing.
    When half of the rows are gone, waiting jobs are read in and the slab is built anew.
    """

    def __init__(self, forward: Forward, text: Text, *, batch_rows: int, batch_tokens: int) -> None:
        self._forward, self._text = forward, text
        self._batch_rows, self._batch_tokens = batch_rows, batch_tokens
        self._waiting: deque[_Waiting] = deque()
        self._live: list[Job] = []
        self._slab: Slab | None = None
        self._begins: list[int] = []
        self._bands = Bands([], single=True)
        self._seen = torch.empty(0)
        self._admitted, self._steps = 0, 0
        self._closers: dict[tuple[str, ...], dict[int, bool]] = {}

    def run(
        self,
        jobs: Sequence[Job],
        *,
        done: Callable[[Job], None] | None = None,
        more: Callable[[], Sequence[Job]] | None = None,
    ) -> None:
        """Write every job; ``done`` is called as each ends, ``more`` is asked between steps for what came since."""
        try:
            with torch.inference_mode():
                self._enqueue(jobs)
                while self._waiting or self._live:
                    if more is not None and (late := more()):
                        self._enqueue(late)
                    finished = self._admit() if self._should_admit() else self._step()
                    if done is not None:
                        for job in finished:
                            done(job)
        finally:
            self._waiting.clear()
            self._live, self._slab = [], None
            self._forward.forget()

    def _enqueue(self, jobs: Sequence[Job]) -> None:
        groups = group_by_prefix([job.prompt for job in jobs], [len(job.prompt) - 1 for job in jobs])
        for group in groups:
            self._waiting.extend(_Waiting(jobs[member], group.length) for member in group.members)

    def _should_admit(self) -> bool:
        if not self._waiting:
            return False
        if len(self._live) <= self._admitted // 2:
            return True
        return self._steps >= _STEPS_BETWEEN_ADMISSIONS and self._fits(self._waiting[0].job, self._live)

    def _fits(self, job: Job, others: Sequence[Job]) -> bool:
        columns = max(len(other.prompt) + other.max_new for other in (job, *others))
        rows = len(others) + 1
        return rows <= self._batch_rows and rows * columns <= self._batch_tokens

    def _admit(self) -> list[Job]:
        """Read in as many waiting jobs as fit; gives those that are done after their first token."""
        chosen: list[_Waiting] = []
        others = list(self._live)
        while self._waiting and (not others or self._fits(self._waiting[0].job, others)):
            chosen.append(self._waiting.popleft())
            others.append(chosen[-1].job)
        rows = self._own_rows()
        finished: list[Job] = []
        for jobs, prefix in self._readings(chosen):
            read = self._forward.read([job.prompt for job in jobs], prefix, [1] * len(jobs))
            first = choose(torch.cat(read.logits), jobs)
            ended = [self._accept(job, token) for job, token in zip(jobs, first, strict=True)]
            finished += [job for job, over in zip(jobs, ended, strict=True) if over]
            rows += [row for row, over in zip(zip(jobs, read.sources, strict=True), ended, strict=True) if not over]
        self._rebuild(rows)
        self._admitted, self._steps = len(self._live), 0
        return finished

    def _readings(self, waiting: Sequence[_Waiting]) -> list[tuple[list[Job], int]]:
        """Which jobs to read in one pass, and how many first tokens they share."""
        parts: list[list[_Waiting]] = []
        for entry in waiting:
            first = parts[-1][0] if parts else None
            size = entry.prefix
            if first and first.prefix == size and first.job.prompt[:size] == entry.job.prompt[:size]:
                parts[-1].append(entry)
            else:
                parts.append([entry])
        limits = Limits(self._batch_rows, self._batch_tokens, len(waiting))
        readings = []
        for part in parts:
            prefix = part[0].prefix
            part.sort(key=lambda entry: len(entry.job.prompt))
            lengths = [len(entry.job.prompt) - prefix for entry in part]
            for cut in self._forward.batches(lengths, [1] * len(part), limits, packed=prefix > 0):
                readings.append(([part[at].job for at in cut], prefix))
        return readings

    def _rebuild(self, rows: list[tuple[Job, Source]]) -> None:
        """Put rows of several slabs into one, shortest first, aligned at the right, with room for some more columns."""
        self._live, self._slab, self._begins = [], None, []
        if not rows:
            return
        rows.sort(key=lambda row: row[1].length)
        self._live = [job for job, _ in rows]
        room = max(job.max_new - len(job.ids) for job in self._live)
        # The newest token of a row is not in the slab yet: it is what the next step reads.
        self._slab = Slab.gather([source for _, source in rows], min(room, _ROOM_COLUMNS))
        lengths = [source.length for _, source in rows]
        self._begins = [self._slab.end - length for length in lengths]
        device = self._forward.device
        self._bands = Bands(lengths, single=device.type != "cpu")
        begins = torch.tensor(self._begins, device=device)
        self._seen = torch.arange(self._slab.columns, device=device)[None] >= begins[:, None]

    def _own_rows(self) -> list[tuple[Job, Source]]:
        """The live rows where they are now."""
        slab = self._slab
        if slab is None:
            return []
        spans = [(range(begin, slab.end),) for begin in self._begins]
        return [(job, Source(slab, row, spans[row])) for row, job in enumerate(self._live)]

    def _step(self) -> list[Job]:
        """Write one token in every live row; gives the jobs that it ended."""
        if self._slab is not None and self._slab.end == self._slab.columns:
            self._rebuild(self._own_rows())
        slab, jobs = self._slab, self._live
        assert slab is not None
        self._steps += 1
        slab.live = len(jobs)
        end, device = slab.end, self._forward.device
        tokens = torch.tensor([[job.ids[-1]] for job in jobs], device=device)
        positions = torch.tensor([[end - begin] for begin in self._begins], device=device)
        slab.begin = min(self._begins)
        bands = self._bands.of([begin - slab.begin for begin in self._begins])
        mask = self._forward.step_mask(self._seen[: len(jobs), slab.begin : end + 1])
        logits = self._forward.step(tokens, positions, mask, slab, 1, bands)[:, -1]
        finished = []
        for row, token in reversed(list(enumerate(choose(logits, jobs)))):
            if self._accept(jobs[row], token):
                finished.append(jobs[row])
                self._drop(row)
        return finished

    def _drop(self, row: int) -> None:
        """Take a row out; others move up into its place."""
        assert self._slab is not None
        for last, hole in self._bands.take_out(row):
            self._slab.move_row(last, hole)
            self._seen[hole] = self._seen[last]
            self._live[hole], self._begins[hole] = self._live[last], self._begins[last]
        self._live.pop()
        self._begins.pop()

    def _accept(self, job: Job, token: int) -> bool:
        """Add a token to a job; whether that ends it."""
        if token in self._text.ends:
            job.ended_by, job.finish = token, "stop"
        else:
            job.ids.append(token)
            if job.stop and self._may_close(token, job.stop):
                text = self._text.after(job.prompt, job.ids)
                found = [at for at in map(text.find, job.stop) if at >= 0]
                if found:
                    job.text, job.finish = text[: min(found)], "stop"
            if job.finish is None and len(job.ids) >= job.max_new:
                job.finish = "length"
        if job.finish is None and job.cancelled:
            job.finish = "cancelled"
        if job.on_token is not None:
            job.on_token(job)
        return job.finish is not None

    def _may_close(self, token: int, stop: tuple[str, ...]) -> bool:
        """Whether a stop string can end inside this token, so that the text is worth looking at."""
        known = self._closers.setdefault(stop, {})
        if token not in known:
            piece = self._text.piece(token)
            known[token] = "\ufffd" in piece or any(word[-1] in piece for word in stop)
        return known[token]
