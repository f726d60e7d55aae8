"""Scores and votes to estimates: intervals, gap closed, win rates, agreement, curves, hypothesis tests."""

from epigone.compare.measurements import Measurements

__all__ = ["Measurements"]
