"""Bands of rows: cut where padding is worth a call, and whole however rows leave."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from epigone.models.local.bands import Bands


def test_rows_of_unlike_length_are_cut_apart() -> None:
    bands = Bands([10] * 8 + [500] * 8, single=False).of([490] * 8 + [0] * 8)
    assert [(band.start, band.stop, band.begin) for band in bands] == [(0, 8, 490), (8, 16, 0)]


@pytest.mark.parametrize("lengths", [[10, 12], [100] * 64, [7]])
def test_little_padding_is_not_worth_a_call(lengths: list[int]) -> None:
    assert len(Bands(lengths, single=False).of([0] * len(lengths))) == 1


def test_on_a_gpu_all_rows_are_one_band() -> None:
    assert len(Bands([1, 5000], single=True).of([4999, 0])) == 1


@given(st.data())
def test_as_rows_leave_each_of_the_others_stays_in_its_band(data: st.DataObject) -> None:
    lengths = sorted(data.draw(st.lists(st.integers(1, 900), min_size=1, max_size=40)))
    bands = Bands(lengths, single=False)
    rows = list(range(len(lengths)))
    begins = [lengths[-1] - length for length in lengths]
    member = {row: index for index, band in enumerate(bands.of(begins)) for row in range(band.start, band.stop)}
    while rows:
        hole = data.draw(st.integers(0, len(rows) - 1))
        left = set(rows) - {rows[hole]}
        for source, target in bands.take_out(hole):
            assert target < source
            rows[target] = rows[source]
        rows.pop()
        assert set(rows) == left
        now = bands.of([begins[row] for row in rows])
        assert [band.start for band in now] == [0, *(band.stop for band in now)][: len(now)]
        assert (now[-1].stop if now else 0) == len(rows)
        for band in now:
            own = rows[band.start : band.stop]
            assert len({member[row] for row in own}) == 1
            assert band.begin == min(begins[row] for row in own)
