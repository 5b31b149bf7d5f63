"""Which slices of a volume are read, in which plane, and how several make one answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import qt
from slicer.i18n import tr as _

from cadx.slicer.panel.forms import form_with_room_below
from cadx.slicer.panel.setting import set_quietly, show_line
from cadx.slicer.segments import MaskSource

IN_VIEW, NAMED, ALL, TOUCHED = range(4)


class SliceChooser:
    """Lists and a line; what is chosen lives outside and is shown by :meth:`show`.

    Parameters
    ----------
    parent
        Widget to be put into; gets a layout.
    chosen
        Called with the name of what a user chose ("slices", "plane", "rule" or "mask") and its number in the list.
    """

    def __init__(self, parent: Any, chosen: Callable[[str, int], None]) -> None:
        self._masks: list[MaskSource] = []
        self._form, below = form_with_room_below(parent)
        self.slices = _list(
            _("Which slices of the volume are read."),
            [_("the slice in view"), _("chosen slices"), _("all slices"), _("slices that a segment touches")],
        )
        self.numbers = qt.QLineEdit()
        self.numbers.setPlaceholderText("7, 3,5-9")
        self.numbers.setToolTip(_("Numbers from 0 in the volume's own order, as Slicer's Data Probe counts them."))
        self.mask = _list(_("A segment or label map; the slices that it reaches into are read."), [])
        self.plane = _list(
            _("The plane of the slices; by default the one that the volume was acquired in."),
            [_("as acquired"), _("axial"), _("coronal"), _("sagittal")],
        )
        self.rule = _list(
            _(
                "How several slices make one answer; automatic is the most suspicious slice where the model has a "
                "class that means none, else the mean."
            ),
            [
                _("automatic"),
                _("mean of all slices read"),
                _("the most confident slice"),
                _("the most suspicious slice"),
            ],
        )
        self._rows = {
            "slices": (_("Read:"), self.slices),
            "numbers": (_("Numbers:"), self.numbers),
            "mask": (_("Segment:"), self.mask),
            "plane": (_("Plane:"), self.plane),
            "rule": (_("Answer:"), self.rule),
        }
        self._labels = {}
        for name, (text, widget) in self._rows.items():
            self._labels[name] = qt.QLabel(text)
            self._form.addRow(self._labels[name], widget)
        for name in ("slices", "plane", "rule", "mask"):
            self._rows[name][1].connect("activated(int)", lambda index, of=name: chosen(of, index))
        self._line, self._problem = qt.QLabel(), qt.QLabel()
        self._problem.setStyleSheet("color: #b00020;")
        for label in (self._line, self._problem):
            label.setWordWrap(True)
            below.addWidget(label)

    def show(self, slices: int, plane: int, rule: int) -> None:
        """What is chosen in the lists."""
        for widget, index in ((self.slices, slices), (self.plane, plane), (self.rule, rule)):
            set_quietly(widget.setCurrentIndex, widget, index)
        visible = {"slices": True, "plane": True, "numbers": slices == NAMED, "mask": slices == TOUCHED}
        for name, there in {**visible, "rule": slices != IN_VIEW}.items():
            self._labels[name].setVisible(there)
            self._rows[name][1].setVisible(there)

    def show_masks(self, masks: Sequence[MaskSource], chosen: str) -> None:
        """List segments and label maps; ``chosen`` is the label of one."""
        if [mask.label for mask in masks] != [mask.label for mask in self._masks]:
            self.mask.clear()
            self.mask.addItems([mask.label for mask in masks])
        self._masks = list(masks)
        labels = [mask.label for mask in masks]
        if chosen in labels:
            set_quietly(self.mask.setCurrentIndex, self.mask, labels.index(chosen))

    @property
    def chosen_mask(self) -> MaskSource | None:
        """The segment or label map that is chosen."""
        index = int(self.mask.currentIndex)
        return self._masks[index] if 0 <= index < len(self._masks) else None

    def say(self, text: str, problem: str = "") -> None:
        """Which slices that are, and what stands against reading them."""
        show_line(self._line, text)
        show_line(self._problem, problem)

    @property
    def text(self) -> str:
        """The lines below the lists."""
        return "\n".join(text for text in (str(self._line.text), str(self._problem.text)) if text)

    def set_enabled(self, enabled: bool) -> None:
        """A single picture has nothing to choose."""
        for _text, widget in self._rows.values():
            widget.setEnabled(enabled)


def _list(tip: str, items: list[str]) -> Any:
    box = qt.QComboBox()
    box.addItems(items)
    box.setToolTip(tip)
    box.setSizeAdjustPolicy(qt.QComboBox.AdjustToMinimumContentsLengthWithIcon)
    return box
