"""A result as a radiologist reads it: whose, the grade, its warnings, a bar a class, what it must not be used for."""

from __future__ import annotations

from typing import Any

import qt
from slicer.i18n import tr as _

_GRADE_STYLE = "font-size: 16pt; font-weight: bold;"
_OUTDATED_STYLE = "font-size: 16pt; color: #888888; text-decoration: line-through;"
_WARNING_STYLE = "color: #a04a00; font-weight: bold;"
_TOP, _OTHER, _GREY = "#2f7fc1", "#9aa7b2", "#cccccc"


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
        self._title = self._label("")
        self._grade = self._label(_GRADE_STYLE)
        self._warnings = self._label(_WARNING_STYLE)
        self._disclaimer = self._label("font-weight: bold;")
        self._disclaimer.setText(_("Research use only, not for clinical decisions."))
        self._bars_frame = qt.QWidget()
        self._bars_layout = qt.QGridLayout(self._bars_frame)
        self._bars_layout.setContentsMargins(0, 0, 0, 0)
        self._layout.addWidget(self._bars_frame)
        self._bars: dict[str, Any] = {}
        self._details = self._label("")
        self.clear(_("No result yet."))

    def show(self, document: dict[str, Any], title: str, outdated: bool) -> None:
        """Show a document.

        Parameters
        ----------
        title
            Whose result it is.
        outdated
            Whether what is chosen was changed since.
        """
        self._title.setText(title)
        self._title.setVisible(True)
        self._grade.setText(str(document.get("label") or _("Not graded")))
        self._grade.setStyleSheet(_OUTDATED_STYLE if outdated else _GRADE_STYLE)
        texts = [str(warning.get("text", "")) for warning in document.get("warnings") or []]
        if outdated:
            texts.insert(0, _("Outdated: images or settings were changed since; classify again to renew it."))
        self._warnings.setText("\n".join(f"• {text}" for text in texts))
        self._warnings.setVisible(bool(texts))
        self._show_bars(document.get("probabilities") or {}, outdated)
        self._details.setText(_details(document))
        self._details.setVisible(True)

    def clear(self, text: str) -> None:
        """No result, and why."""
        self._grade.setText(text)
        self._grade.setStyleSheet("")
        for label in (self._title, self._warnings, self._details):
            label.setText("")
            label.setVisible(False)
        self._show_bars({}, False)

    @property
    def text(self) -> str:
        """All that it says."""
        labels = (self._title, self._grade, self._warnings, self._disclaimer, self._details)
        bars = [str(bar.format) for bar in self._bars.values()]
        return "\n".join([*(str(label.text) for label in labels), *bars])

    def _show_bars(self, probabilities: dict[str, float], outdated: bool) -> None:
        if list(probabilities) != list(self._bars):
            self._make_bars(list(probabilities))
        top = max(probabilities.values(), default=0.0)
        for name, share in probabilities.items():
            bar = self._bars[name]
            bar.setValue(round(1000 * share))
            bar.setFormat(f"{100 * share:.1f} %")
            bar.setToolTip(_("The model's probability for {name}: {share:.4f}").format(name=name, share=share))
            bar.setStyleSheet(_bar_style(_GREY if outdated else _TOP if share == top else _OTHER))
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
        _("Model: {name} {version}; on: {device}").format(
            name=bundle.get("name", ""), version=bundle.get("version", ""), device=device.get("name", "")
        )
    ]
    positions = slices.get("positions_mm") or []
    if document.get("rule"):
        lines.append(str(document["rule"].get("text", "")))
    elif positions:
        total = slices.get("in_roi", len(positions))
        lines.append(_("Slices used: {count} of the ROI's {total}").format(count=len(positions), total=total))
    explanation = document.get("explanation") or {}
    if explanation.get("layer"):
        lines.append(
            _("Map: {method}, of the layer {layer}{speaks}").format(
                method=str(explanation.get("method", "")).partition(" (")[0],
                layer=explanation["layer"],
                speaks=_(", for {name}").format(name=explanation["class"]) if explanation.get("class") else "",
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
