"""What was done, to be undone and done again: every state is frozen, so keeping it is keeping a reference."""

from __future__ import annotations

from typing import Generic, TypeVar

T = TypeVar("T")


class History(Generic[T]):
    """The states of one thing, in the order in which they came about.

    Parameters
    ----------
    state : T
        The first; never changed in place.
    most : int
        States that are kept before the present one.
    """

    def __init__(self, state: T, most: int = 100) -> None:
        self._most = most
        self._past: list[tuple[str, T]] = []
        self._future: list[tuple[str, T]] = []
        self.state = state

    @property
    def undoable(self) -> str | None:
        """What `undo` would take back, e.g. "Rename tumour"; None when there is nothing."""
        return self._past[-1][0] if self._past else None

    @property
    def redoable(self) -> str | None:
        """What `redo` would do again; None when there is nothing."""
        return self._future[-1][0] if self._future else None

    def do(self, what: str, state: T) -> None:
        """Go on to another state; what was undone before is forgotten."""
        self._past = [*self._past[-self._most + 1 :], (what, self.state)]
        self._future = []
        self.state = state

    def undo(self) -> T:
        """Go back one step, if there is one, and return the state."""
        if self._past:
            what, state = self._past.pop()
            self._future.append((what, self.state))
            self.state = state
        return self.state

    def redo(self) -> T:
        """Do again what was undone last, if anything was, and return the state."""
        if self._future:
            what, state = self._future.pop()
            self._past.append((what, self.state))
            self.state = state
        return self.state
