"""What a benchmark found: figures beside their floor or peer, as a table and as JSON."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import IO


@dataclass(frozen=True)
class Figure:
    """One measured ratio.

    Attributes
    ----------
    what : str
    ours, theirs : float
        In `unit`; `theirs` is the floor or the peer measured beside it.
    against : str
        What the floor or the peer is.
    unit : str
    goal : float or None
        Bound on ``ours / theirs``; None where there is only something to know.
    at_most : bool
        Whether the goal is an upper bound.
    """

    what: str
    ours: float
    theirs: float
    against: str
    unit: str
    goal: float | None = None
    at_most: bool = True

    @property
    def ratio(self) -> float:
        """Ours over theirs."""
        return self.ours / self.theirs

    @property
    def met(self) -> bool | None:
        """Whether the goal is met; None without one."""
        if self.goal is None:
            return None
        return self.ratio <= self.goal if self.at_most else self.ratio >= self.goal


@dataclass
class Report:
    """The figures of one benchmark, with the machine and the day."""

    name: str
    machine: str
    date: str
    figures: list[Figure] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    def print_table(self, out: IO[str]) -> None:
        """Write a Markdown table."""
        out.write(f"\n## {self.name} ({self.date}; {self.machine})\n\n")
        out.write("| what | ours | beside | its figure | ratio | goal | |\n|---|---|---|---|---|---|---|\n")
        for row in self.figures:
            goal = "" if row.goal is None else f"{'<=' if row.at_most else '>='} {row.goal:g}"
            verdict = {None: "", True: "met", False: "**missed**"}[row.met]
            out.write(
                f"| {row.what} | {row.ours:,.4g} {row.unit} | {row.against} | {row.theirs:,.4g} {row.unit} "
                f"| {row.ratio:.2f} | {goal} | {verdict} |\n"
            )
        for remark in self.remarks:
            out.write(f"\n{remark}\n")

    def as_json(self) -> str:
        """Return everything as one line of JSON."""
        figures = [asdict(row) | {"ratio": row.ratio, "met": row.met} for row in self.figures]
        return json.dumps(
            {
                "benchmark": self.name,
                "machine": self.machine,
                "date": self.date,
                "figures": figures,
                "remarks": self.remarks,
            }
        )
