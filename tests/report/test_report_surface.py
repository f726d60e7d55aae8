"""What the room offers."""

from __future__ import annotations

import epigone.report as room


def test_the_public_surface() -> None:
    assert room.__all__ == [
        "Answer",
        "DataCard",
        "JobRow",
        "ReportContent",
        "Sample",
        "TrainingCurve",
        "write_report",
    ]
