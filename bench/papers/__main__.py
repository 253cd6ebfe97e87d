"""``python -m bench.papers NAME ...``: of the papers' experiments only these."""

from __future__ import annotations

import platform
import sys
from datetime import UTC, datetime

from bench.papers import run
from bench.report import Report

report = Report("papers", platform.machine(), datetime.now(UTC).date().isoformat())
run(report, sys.argv[1:])
report.print_table(sys.stdout)
