"""Estimates to figures, tables and one self-contained HTML page."""

from epigone.report.content import Answer, DataCard, JobRow, ReportContent, Sample, TrainingCurve
from epigone.report.page import write_report

__all__ = ["Answer", "DataCard", "JobRow", "ReportContent", "Sample", "TrainingCurve", "write_report"]
