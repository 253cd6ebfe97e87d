"""What the trainer costs beside a bare loop, and what end-to-end training costs beside one pass."""

from __future__ import annotations

from bench.report import Report
from bench.training import end_to_end, overhead


def run(report: Report) -> None:
    """Measure and fill the report."""
    overhead.run(report)
    end_to_end.run(report)
