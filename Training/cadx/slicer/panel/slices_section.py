"""A volume's result slice by slice: a chart along the slices, the most suspicious ones, and a table."""

from __future__ import annotations

import html
from collections.abc import Callable
from typing import Any

import qt
from slicer.i18n import tr as _

from cadx.explain.display import percent
from cadx.planes import Plane, position_text
from cadx.slicer.panel.slice_chart import WIDTH, SliceChart, greyed
from cadx.slicer.panel.slice_table import SliceTable
from cadx.slicer.slice_shares import SliceShares, slice_shares

_RANKED = 5
_NO_BREAK = "\u00a0"
_OUTDATED_STYLE = "color: #888888;"


class SlicesSection:
    """Shows ``slices`` of a ``cadx.result/1`` document.

    Parameters
    ----------
    parent
        Widget to be put into; gets a layout.
    jump
        Called with the number of a row of ``slices["table"]`` when the user clicks its bar or chooses its line.
    """

    def __init__(self, parent: Any, jump: Callable[[int], None]) -> None:
        self._rows: list[dict[str, Any]] = []
        self._shown: tuple[dict[str, Any], bool] | None = None
        self._marked: int | None = None
        layout = qt.QVBoxLayout(parent)
        layout.setContentsMargins(0, 0, 0, 0)
        self._status = _label(layout)
        self._chart, self._table = SliceChart(jump), SliceTable(jump)
        layout.addWidget(self._chart.widget)
        self._ends, self._low, self._direction, self._high = _line_of_three(layout)
        self._legend = _label(layout)
        self._legend.setTextFormat(qt.Qt.RichText)
        self._legend_text = ""
        self._ranking, self._empty = _label(layout), _label(layout)
        self._first = qt.QCheckBox(_("Most suspicious first"))
        self._first.setToolTip(_("Sort the table by suspicion instead of by place in the patient."))
        self._first.connect("toggled(bool)", lambda checked: self._fill())
        layout.addWidget(self._first)
        layout.addWidget(self._table.widget)
        self.clear(_("No result yet."))

    def show(self, document: dict[str, Any], outdated: bool) -> None:
        """Show a document's slices.

        Parameters
        ----------
        outdated
            Whether what is chosen was changed since.
        """
        slices = document.get("slices") or {}
        if not slices.get("table"):
            self.clear(_("This result is of one picture: it has no slices."))
            return
        if self._shown is not None and self._shown[0] is document and self._shown[1] == outdated:
            return
        if self._shown is None or self._shown[0] is not document:
            self._marked = None
        self._shown, self._rows = (document, outdated), list(slices["table"])
        self._status.setText("")
        self._shares = slice_shares(self._rows)
        self._chart.show(self._shares.shares, self._shares.colours, outdated)
        self._show_ends(slices["plane"])
        self._show_legend(self._shares, outdated)
        self._show_lines(slices)
        for label in (self._low, self._direction, self._high, self._legend, self._ranking, self._empty):
            label.setStyleSheet(_OUTDATED_STYLE if outdated else "")
        self._fill()
        self._set_visible(True)

    def clear(self, text: str) -> None:
        """No slices, and why."""
        self._shown, self._rows, self._marked = None, [], None
        self._status.setText(text)
        self._set_visible(False)

    def mark(self, slice_number: int | None) -> None:
        """The slice that the views show now, by its stored number; None, or one that was not read, is none."""
        self._marked = slice_number
        if self._shown is not None:
            row = self._marked_row()
            self._chart.mark(row)
            self._table.mark(row)

    @property
    def text(self) -> str:
        """All that it says."""
        if self._shown is None:
            return str(self._status.text)
        ends = (str(label.text) for label in (self._low, self._direction, self._high))
        lines = (str(label.text).replace(_NO_BREAK, " ") for label in (self._ranking, self._empty))
        return "\n".join(text for text in (" ... ".join(ends), self._legend_text, *lines, self._table.text) if text)

    @property
    def count(self) -> int:
        """Number of slices shown."""
        return len(self._rows)

    def click(self, row: int) -> None:
        """As a user's click on a bar."""
        self._chart.click(row)

    def select(self, row: int) -> None:
        """As a user's choice of a line of the table."""
        self._table.select(row)

    def sort(self, most_suspicious_first: bool) -> None:
        """As a user's tick."""
        self._first.setChecked(most_suspicious_first)

    def _marked_row(self) -> int | None:
        return next((number for number, row in enumerate(self._rows) if row["slice"] == self._marked), None)

    def _set_visible(self, there: bool) -> None:
        self._status.setVisible(not there)
        for widget in (self._chart.widget, self._ends, self._legend, self._ranking, self._table.widget):
            widget.setVisible(there)
        self._empty.setVisible(there and bool(self._empty.text))
        self._first.setVisible(there and "suspicion" in self._rows[0])

    def _show_ends(self, plane: Plane) -> None:
        """Where the chart's slices lie; of a single slice its place in the middle."""
        places = [position_text(plane, self._rows[number]["position_mm"]) for number in (0, -1)]
        words: dict[Plane, str] = {
            "axial": _("inferior to superior"),
            "coronal": _("posterior to anterior"),
            "sagittal": _("left to right"),
        }
        single = len(self._rows) == 1
        texts = ("", places[0], "") if single else (places[0], words[plane], places[1])
        for label, text in zip((self._low, self._direction, self._high), texts, strict=True):
            label.setText(text)

    def _show_legend(self, shares: SliceShares, outdated: bool) -> None:
        names = [*shares.names, *([_("other classes")] if shares.other else [])]
        colours = [greyed(colour) if outdated else colour for colour in shares.colours]
        self._legend_text = ", ".join(names)
        # a line may break behind an entry and within a name, not behind a square
        entries = (
            f'<span style="color:{colour}">&#9632;</span>&nbsp;{html.escape(name)}'
            for colour, name in zip(colours, names, strict=True)
        )
        self._legend.setText("&nbsp;&nbsp; ".join(entries))

    def _show_lines(self, slices: dict[str, Any]) -> None:
        suspicion = {row["slice"]: row.get("suspicion", 0.0) for row in self._rows}
        ranked = slices.get("suspicious", [])[:_RANKED]
        best = [f"{number} ({percent(suspicion[number])})".replace(" ", _NO_BREAK) for number in ranked]
        text = _("No class of this model means that there is no finding, so slices are not ranked.")
        if best:
            text = _("Most suspicious slices: {slices}").format(slices=", ".join(best))
        self._ranking.setText(text)
        count = len(slices.get("empty") or [])
        text = _("1 slice shows nothing and was left out.")
        if count != 1:
            text = _("{count} slices show nothing and were left out.").format(count=count)
        self._empty.setText(text if count else "")

    def _fill(self) -> None:
        """The table in the order that is wanted, and what is marked."""
        if self._shown is None:
            return
        document, outdated = self._shown
        order = list(range(len(self._rows)))
        if self._first.checked and "suspicion" in self._rows[0]:
            order.sort(key=lambda number: -self._rows[number]["suspicion"])
        self._table.show(self._rows, document["slices"]["plane"], self._shares, order, outdated)
        self.mark(self._marked)


def _label(layout: Any) -> Any:
    label = qt.QLabel()
    label.setWordWrap(True)
    # a long word must not make the panel wider
    label.setMinimumWidth(1)
    layout.addWidget(label)
    return label


def _line_of_three(layout: Any) -> tuple[Any, Any, Any, Any]:
    """A line below the chart with labels at its left, middle and right: the line and they."""
    frame = qt.QWidget()
    frame.setFixedWidth(WIDTH)
    line = qt.QHBoxLayout(frame)
    line.setContentsMargins(0, 0, 0, 0)
    labels = qt.QLabel(), qt.QLabel(), qt.QLabel()
    for place, label in enumerate(labels):
        if place:
            line.addStretch(1)
        line.addWidget(label)
    layout.addWidget(frame)
    return (frame, *labels)
