"""All that the scanner says of a slide: searchable, to be copied, nothing cut off."""

from __future__ import annotations

from html import escape

from qtpy.QtGui import QTextOption
from qtpy.QtWidgets import QLabel, QLineEdit, QTextBrowser, QVBoxLayout, QWidget

_HEIGHT = 220


class ScannerFacts(QWidget):
    """A list of names and values with a line to filter it."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._properties: tuple[tuple[str, str], ...] = ()
        self.title = QLabel()
        self.filter = QLineEdit()
        self.filter.setPlaceholderText("Filter by name or value")
        self.filter.setClearButtonEnabled(True)
        self.list = QTextBrowser()
        self.list.setMinimumHeight(_HEIGHT)
        # a UID of 64 digits is one word, and must break all the same
        self.list.setWordWrapMode(QTextOption.WrapMode.WrapAtWordBoundaryOrAnywhere)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        for widget in (self.title, self.filter, self.list):
            layout.addWidget(widget)
        self.filter.textChanged.connect(self._on_filter)

    def show_properties(self, properties: tuple[tuple[str, str], ...]) -> None:
        """Show names and values; the filter stays."""
        self._properties = properties
        self._on_filter(self.filter.text())

    def _on_filter(self, text: str) -> None:
        wanted = text.casefold().split()
        found = [
            (name, value)
            for name, value in self._properties
            if all(word in f"{name} {value}".casefold() for word in wanted)
        ]
        counts = f"{len(found)} of {len(self._properties)}" if wanted else str(len(self._properties))
        self.title.setText(f"<b>Scanner's own facts</b> ({counts})")
        rows = (f"<p><b>{escape(name)}</b><br>{_text(value)}</p>" for name, value in found)
        self.list.setHtml("".join(rows) or "<p>Nothing matches.</p>")


def _text(value: str) -> str:
    return escape(value).replace("\n", "<br>") or "&nbsp;"
