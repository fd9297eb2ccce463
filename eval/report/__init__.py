"""The report: one self-contained HTML file that a manager and an engineer both read."""

from eval.report.page import render, write_report

__all__ = ["render", "write_report"]
