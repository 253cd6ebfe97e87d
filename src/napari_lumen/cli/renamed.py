"""The option that says which classes of a truth stand for which of a run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

RenamedOption = Annotated[
    list[str] | None,
    typer.Option(
        "--map",
        metavar="TRUTH=RUN",
        help="Class of the truth that has another name in the prediction, e.g. Tumor=tumour; once for each, "
        "several onto one. Ignore* takes one out of the count.",
    ),
]


def renamed_classes(texts: Sequence[str]) -> dict[str, str]:
    """Return what the option says.

    Raises
    ------
    typer.BadParameter
        When a text is not of the form TRUTH=RUN, or names a class twice.
    """
    found: dict[str, str] = {}
    for text in texts:
        name, separator, target = text.partition("=")
        if not (separator and target):
            raise typer.BadParameter(f"{text!r} is not of the form TRUTH=RUN, e.g. Tumor=tumour")
        if name in found:
            raise typer.BadParameter(f"the class {name!r} is renamed twice")
        found[name] = target
    return found
