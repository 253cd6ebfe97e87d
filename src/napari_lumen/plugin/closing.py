"""The one question before a window closes over work that would stop or be lost."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from qtpy.QtWidgets import QMessageBox, QWidget


@dataclass(frozen=True)
class AtStake:
    """Something that a close would stop or lose.

    Attributes
    ----------
    what : str
        One sentence for the user.
    keep : str
        What a button says that keeps it.
    save : callable
        Keeps it, and returns whether the window may close then.
    drop : callable or None
        Lets go of it; None where to keep it costs nothing, and nothing else is offered.
    more : str
        What the user should know besides.
    """

    what: str
    keep: str
    save: Callable[[], bool]
    drop: Callable[[], None] | None = None
    more: str = ""


def may_close(parent: QWidget, stakes: Sequence[AtStake]) -> bool:
    """Ask what becomes of what is at stake, do it, and return whether the window may close.

    Parameters
    ----------
    parent : QWidget
        The question stands over it.
    stakes : sequence of AtStake
        Nothing is asked when there are none. Whatever is answered, they are dealt with together: nothing is
        dropped before all of the rest is kept.
    """
    if not stakes:
        return True
    box = QMessageBox(parent)
    box.setIcon(QMessageBox.Icon.Question)
    box.setWindowTitle("Close the window?")
    box.setText("\n".join(item.what for item in stakes))
    box.setInformativeText("\n".join(item.more for item in stakes if item.more))
    words = stakes[0].keep if len(stakes) == 1 else "Keep all and close"
    keep = box.addButton(words, QMessageBox.ButtonRole.AcceptRole)
    drop = None
    if any(item.drop is not None for item in stakes):
        words = "Close without it" if len(stakes) == 1 else "Close without saving"
        drop = box.addButton(words, QMessageBox.ButtonRole.DestructiveRole)
    stay = box.addButton("Stay", QMessageBox.ButtonRole.RejectRole)
    box.setEscapeButton(stay)
    box.setDefaultButton(keep)
    box.exec()
    answer = box.clickedButton()
    box.deleteLater()
    if answer is keep:
        return all(item.save() for item in stakes)
    if drop is None or answer is not drop:
        return False
    if not all(item.save() for item in stakes if item.drop is None):
        return False
    for item in stakes:
        if item.drop is not None:
            item.drop()
    return True
