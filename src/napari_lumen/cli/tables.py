"""Tables on the terminal, and one line a row where their output goes elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rich.console import Console


def print_table(console: Console, head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    """Print rows under a head: one line each where there is no terminal; in one, wrapped and never cut."""
    from rich.table import Column, Table
    from rich.text import Text

    if not console.is_terminal:
        widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
        for row in (head, *rows):
            line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
            console.print(line.rstrip(), soft_wrap=True, markup=False)
        return
    longest = max(len(row[0]) for row in rows)
    columns = [Column(title, overflow="fold") for title in head]
    columns[0].no_wrap = longest <= console.width // 2  # a name in one piece, where that leaves room
    table = Table(*columns, box=None, padding=(0, 2, 0, 0))
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    console.print(table)


def print_rows(console: Console, rows: Iterable[tuple[str, str]]) -> None:
    """Print labels and values in two columns; only a terminal has an edge at which values are wrapped."""
    from rich.table import Table
    from rich.text import Text

    pairs = list(rows)
    if not console.is_terminal:
        width = max(len(label) for label, _ in pairs) + 2
        for label, value in pairs:
            console.print(f"{label:<{width}}{value}", soft_wrap=True, markup=False)
        return
    table = Table.grid(padding=(0, 2))
    for label, value in pairs:
        table.add_row(Text(label, style="dim"), Text(value, overflow="fold"))
    console.print(table)
