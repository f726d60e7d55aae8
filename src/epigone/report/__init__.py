"""Estimates to figures, tables and one self-contained HTML page."""

from epigone.report.content import Answer, DataCard, JobRow, ReportContent, Sample, TrainingCurve

__all__ = ["Answer", "DataCard", "JobRow", "ReportContent", "Sample", "TrainingCurve"]
