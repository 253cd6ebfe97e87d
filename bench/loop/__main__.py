"""``python -m bench.loop NAME ...``: only these loops, strategies or seeds."""

from __future__ import annotations

import platform
import sys
from datetime import UTC, datetime

from bench.loop import run
from bench.report import Report

report = Report("loop", platform.machine(), datetime.now(UTC).date().isoformat())
run(report, sys.argv[1:])
report.print_table(sys.stdout)
