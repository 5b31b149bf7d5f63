"""A row a slice: number, place, label and probabilities; a row that is chosen is told."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import qt
from slicer.i18n import tr as _

from cadx.explain.display import percent
from cadx.planes import Plane, position_text
from cadx.slicer.slice_shares import SliceShares

_ROWS = 8
_LABEL, _WIDEST_LABEL, _WIDEST_OTHER = 2, 120, 84
_SWATCH = 9
_OUTDATED_STYLE = "QTableWidget { color: #888888; }"


class SliceTable:
    """The table; ``widget`` is what belongs into a layout.

    Parameters
    ----------
    chosen
        Called with the number of the slice's row in the result when the user chooses its line.
    """

    def __init__(self, chosen: Callable[[int], None]) -> None:
        self._chosen = chosen
        self._order: list[int] = []
        table = self.widget = qt.QTableWidget()
        table.setEditTriggers(qt.QAbstractItemView.NoEditTriggers)
        table.setSelectionBehavior(qt.QAbstractItemView.SelectRows)
        table.setSelectionMode(qt.QAbstractItemView.SingleSelection)
        table.setHorizontalScrollMode(qt.QAbstractItemView.ScrollPerPixel)
        table.setAlternatingRowColors(True)
        table.setShowGrid(False)
        table.setWordWrap(False)
        # Tab leaves the table; the arrows go from slice to slice
        table.setTabKeyNavigation(False)
        table.verticalHeader().setVisible(False)
        table.horizontalHeader().setHighlightSections(False)
        table.horizontalHeader().setTextElideMode(qt.Qt.ElideRight)
        table.setToolTip(_("Choose a slice to show it in the views."))
        table.connect("itemSelectionChanged()", self._on_selected)

    def show(
        self, rows: Sequence[Any], plane: Plane, shares: SliceShares, order: Sequence[int], outdated: bool
    ) -> None:
        """Fill it.

        Parameters
        ----------
        rows
            A result's ``slices["table"]``.
        order
            Numbers of the rows from above.
        """
        table = self.widget
        before = table.blockSignals(True)
        self._order = list(order)
        suspicion = "suspicion" in rows[0]
        heads = [_("Slice"), _("Place"), _("Label"), *([_("Suspicion")] if suspicion else [])]
        table.clear()
        table.setStyleSheet(_OUTDATED_STYLE if outdated else "")
        table.setRowCount(len(rows))
        table.setColumnCount(len(heads) + len(shares.colours))
        table.setHorizontalHeaderLabels([*heads, *shares.names, *([_("other")] if shares.other else [])])
        for place, colour in enumerate(shares.colours):
            item = table.horizontalHeaderItem(len(heads) + place)
            item.setIcon(_swatch(colour))
            item.setToolTip(_("The model's probability for {name}").format(name=item.text()))
        for line, number in enumerate(self._order):
            row = rows[number]
            texts = [str(row["slice"]), position_text(plane, row["position_mm"], 1), str(row["label"])]
            numbers = [row["suspicion"]] if suspicion else []
            texts += [percent(value) for value in (*numbers, *shares.shares[number])]
            for column, text in enumerate(texts):
                table.setItem(line, column, _item(text, column))
        table.blockSignals(before)
        self._fit()

    def mark(self, number: int | None) -> None:
        """Select a slice's line, or none, as no choice of the user's."""
        table = self.widget
        before = table.blockSignals(True)
        if number is None:
            table.clearSelection()
        else:
            line = self._order.index(number)
            table.selectRow(line)
            table.scrollToItem(table.item(line, 0))
        table.blockSignals(before)

    def select(self, number: int) -> None:
        """As a user's choice of a slice's line."""
        self.widget.selectRow(self._order.index(number))

    @property
    def text(self) -> str:
        """Header and lines, columns with tabs between them."""
        table, columns = self.widget, range(self.widget.columnCount)
        lines = [[table.horizontalHeaderItem(column).text() for column in columns]]
        lines += [[table.item(line, column).text() for column in columns] for line in range(table.rowCount)]
        return "\n".join("\t".join(line) for line in lines)

    def _fit(self) -> None:
        """Columns as wide as what is in them, and so high that a few lines are seen."""
        table, header = self.widget, self.widget.horizontalHeader()
        line = qt.QFontMetrics(table.font).height()
        table.verticalHeader().setMinimumSectionSize(line + 4)
        table.verticalHeader().setDefaultSectionSize(line + 4)
        header.setFixedHeight(line + 8)
        table.resizeColumnsToContents()
        for column in range(table.columnCount):
            widest = _WIDEST_LABEL if column == _LABEL else _WIDEST_OTHER
            table.setColumnWidth(column, min(table.columnWidth(column), widest))
        bar = table.style().pixelMetric(qt.QStyle.PM_ScrollBarExtent)
        table.setFixedHeight((line + 8) + min(table.rowCount, _ROWS) * (line + 4) + bar + 4)

    def _on_selected(self) -> None:
        line = self.widget.currentRow()
        if 0 <= line < len(self._order):
            self._chosen(self._order[line])


def _item(text: str, column: int) -> Any:
    item = qt.QTableWidgetItem(text)
    if column == _LABEL:
        item.setToolTip(text)
    else:
        item.setTextAlignment(qt.Qt.AlignRight | qt.Qt.AlignVCenter)
    return item


def _swatch(colour: str) -> Any:
    pixmap = qt.QPixmap(_SWATCH, _SWATCH)
    pixmap.fill(qt.QColor(colour))
    return qt.QIcon(pixmap)
