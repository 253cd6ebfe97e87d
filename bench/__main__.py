"""``python -m bench NAME [--json]``: see `NAMES`."""

from __future__ import annotations

import argparse
import importlib
import os
import platform
import sys
from datetime import UTC, datetime

from bench.report import Report

NAMES = ("reading", "viewing", "models", "inference", "training", "annotations", "papers", "loop")


def main() -> None:
    """Run one benchmark and print its table, and with ``--json`` one JSON object as the last line."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("name", choices=NAMES)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--attention", action="store_true", help="viewing: of attention")
    options = parser.parse_args()
    machine = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    if options.attention and options.name != "viewing":
        parser.error("--attention is of viewing")
    name = "attention" if options.attention else options.name
    report = Report(name, machine, datetime.now(UTC).date().isoformat())
    try:
        importlib.import_module(f"bench.{name}").run(report)
    finally:  # what was measured before an error or Ctrl-C took long
        report.print_table(sys.stdout)
        if options.json:
            sys.stdout.write(report.as_json() + "\n")


if __name__ == "__main__":
    main()
