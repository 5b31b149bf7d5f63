"""A result as a radiologist reads it: the grade, a bar a class, warnings, what it must not be used for."""

from __future__ import annotations

from typing import Any

import qt
from slicer.i18n import tr as _

_GRADE_STYLE = "font-size: 16pt; font-weight: bold;"
_WARNING_STYLE = "color: #b35900;"
_STALE_STYLE = "color: #b35900; font-weight: bold;"


class ResultView:
    """Shows a ``cadx.result/1`` document.

    Parameters
    ----------
    parent
        Widget to be put into; gets a layout.
    """

    def __init__(self, parent: Any) -> None:
        self._layout = qt.QVBoxLayout(parent)
        self._layout.setContentsMargins(0, 0, 0, 0)
        self._grade = self._label(_GRADE_STYLE)
        self._stale = self._label(_STALE_STYLE)
        self._bars_frame = qt.QWidget()
        self._bars_layout = qt.QGridLayout(self._bars_frame)
        self._bars_layout.setContentsMargins(0, 0, 0, 0)
        self._layout.addWidget(self._bars_frame)
        self._bars: dict[str, Any] = {}
        self._warnings = self._label(_WARNING_STYLE)
        self._details = self._label("")
        self._disclaimer = self._label("font-weight: bold;")
        self._disclaimer.setText(_("Research use only, not for clinical decisions."))
        self.clear(_("No result yet."))

    def show(self, document: dict[str, Any], stale: str = "") -> None:
        """Show a document; ``stale`` says why it no longer fits what is chosen."""
        self._grade.setText(str(document.get("label") or _("Not graded")))
        self._stale.setText(stale)
        self._stale.setVisible(bool(stale))
        self._show_bars(document.get("probabilities") or {})
        texts = [str(warning.get("text", "")) for warning in document.get("warnings") or []]
        self._warnings.setText("\n".join(f"• {text}" for text in texts))
        self._warnings.setVisible(bool(texts))
        self._details.setText(_details(document))
        self._details.setVisible(True)

    def clear(self, text: str) -> None:
        """No result, and why."""
        self._grade.setText(text)
        for label in (self._stale, self._warnings, self._details):
            label.setText("")
            label.setVisible(False)
        self._show_bars({})

    @property
    def text(self) -> str:
        """All that it says."""
        labels = (self._grade, self._stale, self._warnings, self._details, self._disclaimer)
        bars = [str(bar.format) for bar in self._bars.values()]
        return "\n".join([*(str(label.text) for label in labels), *bars])

    def _show_bars(self, probabilities: dict[str, float]) -> None:
        if list(probabilities) != list(self._bars):
            self._make_bars(list(probabilities))
        top = max(probabilities.values(), default=0.0)
        for name, share in probabilities.items():
            bar = self._bars[name]
            bar.setValue(round(1000 * share))
            bar.setFormat(f"{100 * share:.1f} %")
            bar.setToolTip(_("The model's probability for {name}: {share:.4f}").format(name=name, share=share))
            bar.setStyleSheet(_bar_style("#2f7fc1" if share == top else "#9aa7b2"))
        self._bars_frame.setVisible(bool(probabilities))

    def _make_bars(self, names: list[str]) -> None:
        while self._bars_layout.count():
            self._bars_layout.takeAt(0).widget().deleteLater()
        self._bars = {}
        for row, name in enumerate(names):
            label, bar = qt.QLabel(name), qt.QProgressBar()
            bar.setRange(0, 1000)
            self._bars_layout.addWidget(label, row, 0)
            self._bars_layout.addWidget(bar, row, 1)
            self._bars[name] = bar

    def _label(self, style: str) -> Any:
        label = qt.QLabel()
        label.setWordWrap(True)
        label.setStyleSheet(style)
        label.setTextInteractionFlags(qt.Qt.TextSelectableByMouse)
        self._layout.addWidget(label)
        return label


def _bar_style(colour: str) -> str:
    return (
        "QProgressBar { border: 1px solid #8a8a8a; border-radius: 2px; text-align: center; }"
        f"QProgressBar::chunk {{ background-color: {colour}; }}"
    )


def _details(document: dict[str, Any]) -> str:
    """What it was made with and where, in small words."""
    bundle, device, slices = (document.get(key) or {} for key in ("bundle", "device", "slices"))
    lines = [
        _("Model: {name} {version}").format(name=bundle.get("name", ""), version=bundle.get("version", "")),
        _("Device: {name} ({reason})").format(name=device.get("name", ""), reason=device.get("reason", "")),
    ]
    positions = slices.get("positions_mm") or []
    if positions:
        lines.append(
            _("Slices seen: {count} of {total}").format(
                count=len(positions), total=slices.get("in_roi", len(positions))
            )
        )
    moved = document.get("registration")
    if moved:
        lines.append(
            _("T2 was moved by {mm} mm and {degrees} degrees.").format(
                mm=moved["translation_mm"], degrees=moved["rotation_degrees"]
            )
        )
    return "\n".join(lines)
