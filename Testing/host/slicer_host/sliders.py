"""Sliders with a spin box beside them, for one value and for a range."""

from __future__ import annotations

from typing import Any

from PySide6 import QtCore, QtWidgets

from slicer_host.stand_in import QWidget, setters, stand_in, stored

STEPS = 1000


def _row(owner: Any, *widgets: Any) -> None:
    row = QtWidgets.QHBoxLayout(owner)
    row.setContentsMargins(0, 0, 0, 0)
    for widget in widgets:
        row.addWidget(widget, int(isinstance(widget, QtWidgets.QSlider)))


def _spin_box(owner: Any) -> QtWidgets.QDoubleSpinBox:
    box = QtWidgets.QDoubleSpinBox(owner)
    box.setKeyboardTracking(False)
    return box


@stand_in
@setters("value", "minimum", "maximum", "singleStep", "pageStep", "decimals", "suffix", "prefix", "tracking")
class ctkSliderWidget(QWidget):
    """Default range 0 to 99, like CTK's."""

    valueChanged = QtCore.Signal(float)
    valueIsChanging = QtCore.Signal(float)
    rangeChanged = QtCore.Signal(float, float)

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._slider, self._box = QtWidgets.QSlider(QtCore.Qt.Orientation.Horizontal, self), _spin_box(self)
        self._slider.setRange(0, STEPS)
        self._box.setRange(0.0, 99.0)
        self._value = 0.0
        _row(self, self._slider, self._box)
        self._box.valueChanged.connect(self._write_value)
        self._slider.sliderMoved.connect(lambda at: self._write_value(self._at(at)))
        self._slider.actionTriggered.connect(self._step)

    def _at(self, position: int) -> float:
        return self._box.minimum + (self._box.maximum - self._box.minimum) * position / STEPS

    def _step(self, action: int) -> None:
        single = QtWidgets.QAbstractSlider.SliderAction
        steps = {single.SliderSingleStepAdd.value: 1, single.SliderSingleStepSub.value: -1}
        steps |= {single.SliderPageStepAdd.value: 10, single.SliderPageStepSub.value: -10}
        if action in steps:
            self._write_value(self._value + steps[action] * self._box.singleStep)

    def _read_value(self) -> float:
        return self._value

    def _write_value(self, value: float) -> None:
        self._box.blockSignals(True)
        self._box.setValue(value)
        self._box.blockSignals(False)
        self._place()
        if self._box.value != self._value:
            self._value = self._box.value
            self.valueChanged.emit(self._value)

    def _place(self) -> None:
        span = self._box.maximum - self._box.minimum
        self._slider.setSliderPosition(round(STEPS * (self._box.value - self._box.minimum) / span) if span else 0)

    def _bound(name: str) -> QtCore.Property:
        def write(self: Any, value: float) -> None:
            self._box.blockSignals(True)
            setattr(self._box, name, value)
            self._box.blockSignals(False)
            self.rangeChanged.emit(self._box.minimum, self._box.maximum)
            self._write_value(self._box.value)

        return QtCore.Property(float, lambda self: getattr(self._box, name), write)

    def _passed(kind: type, name: str) -> QtCore.Property:
        def write(self: Any, value: Any) -> None:
            setattr(self._box, name, value)
            self._value = self._box.value

        return QtCore.Property(kind, lambda self: getattr(self._box, name), write)

    value = QtCore.Property(float, _read_value, _write_value)
    minimum, maximum = _bound("minimum"), _bound("maximum")
    decimals, singleStep = _passed(int, "decimals"), _passed(float, "singleStep")
    suffix, prefix = _passed(str, "suffix"), _passed(str, "prefix")
    pageStep = stored(float, "page_step", 1.0)
    tracking = stored(bool, "tracking", True)
    tickInterval = stored(float, "tick_interval", 1.0)
    synchronizeSiblings = stored(int, "synchronize_siblings", 0)

    def setRange(self, minimum: float, maximum: float) -> None:
        self.minimum, self.maximum = minimum, maximum

    def reset(self) -> None:
        self.value = 0.0

    def slider(self) -> Any:
        return self._slider

    def spinBox(self) -> Any:
        return self._box


@stand_in
class qMRMLSliderWidget(ctkSliderWidget):
    """A slider that in Slicer also takes units from the scene; here the units are not looked up."""

    mrmlSceneChanged = QtCore.Signal(object)
    SIGNALS = {"mrmlSceneChanged(vtkMRMLScene*)": "mrmlSceneChanged"}
    quantity = stored(str, "quantity", "")
    unitAwareProperties = stored(int, "unit_aware", 0)

    def setMRMLScene(self, scene: Any) -> None:
        self._scene = scene
        self.mrmlSceneChanged.emit(scene)

    def mrmlScene(self) -> Any:
        return self.__dict__.get("_scene")


@stand_in
@setters("minimum", "maximum", "minimumValue", "maximumValue", "singleStep", "decimals", "suffix")
class ctkRangeWidget(QWidget):
    """Two values in order; CTK's two-handled slider is shown as two spin boxes with a track between them."""

    valuesChanged = QtCore.Signal(float, float)
    minimumValueChanged = QtCore.Signal(float)
    maximumValueChanged = QtCore.Signal(float)
    rangeChanged = QtCore.Signal(float, float)

    def __init__(self, *arguments: Any) -> None:
        super().__init__(next((a for a in arguments if isinstance(a, QtWidgets.QWidget)), None))
        self._low, self._high = _spin_box(self), _spin_box(self)
        self._track = QtWidgets.QProgressBar(self)
        self._track.setTextVisible(False)
        self._track.setFixedHeight(6)
        self._values = (0.0, 99.0)
        for box, value in zip((self._low, self._high), self._values, strict=True):
            box.setRange(0.0, 99.0)
            box.setValue(value)
            box.valueChanged.connect(lambda _=None: self.setValues(self._low.value, self._high.value))
        row = QtWidgets.QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        for widget, stretch in ((self._low, 0), (self._track, 1), (self._high, 0)):
            row.addWidget(widget, stretch)

    def setValues(self, low: float, high: float) -> None:
        low, high = min(low, high), max(low, high)
        for box, value in ((self._low, low), (self._high, high)):
            box.blockSignals(True)
            box.setValue(value)
            box.blockSignals(False)
        before, self._values = self._values, (self._low.value, self._high.value)
        if before[0] != self._values[0]:
            self.minimumValueChanged.emit(self._values[0])
        if before[1] != self._values[1]:
            self.maximumValueChanged.emit(self._values[1])
        if before != self._values:
            self.valuesChanged.emit(*self._values)

    def _write_bound(self, name: str, value: Any) -> None:
        for box in (self._low, self._high):
            box.blockSignals(True)
            setattr(box, name, value)
            box.blockSignals(False)
        self.rangeChanged.emit(self._low.minimum, self._low.maximum)
        self.setValues(self._low.value, self._high.value)

    def _both(kind: type, name: str) -> QtCore.Property:
        return QtCore.Property(
            kind, lambda self: getattr(self._low, name), lambda self, value: self._write_bound(name, value)
        )

    minimum, maximum = _both(float, "minimum"), _both(float, "maximum")
    decimals, singleStep, suffix = _both(int, "decimals"), _both(float, "singleStep"), _both(str, "suffix")
    tracking = stored(bool, "tracking", True)
    minimumValue = QtCore.Property(
        float, lambda self: self._values[0], lambda self, value: self.setValues(value, max(value, self._values[1]))
    )
    maximumValue = QtCore.Property(
        float, lambda self: self._values[1], lambda self, value: self.setValues(min(value, self._values[0]), value)
    )

    def setRange(self, minimum: float, maximum: float) -> None:
        self.minimum, self.maximum = minimum, maximum


@stand_in
class ctkDoubleRangeSlider(ctkRangeWidget):
    """CTK's has no spin boxes; the values behave the same."""

    orientation = stored(int, "orientation", 1)
