"""PythonQt's ways: what a module that runs in Slicer relies on, and what fails there must fail here."""

from __future__ import annotations

from typing import Any

import pytest


def test_properties_are_attributes_and_calling_one_fails(host: Any) -> None:
    import qt

    label = qt.QLabel("one")
    assert label.text == "one"
    label.text = 5
    label.enabled = 0
    label.toolTip = "tip"
    assert (label.text, label.enabled, label.toolTip) == ("5", False, "tip")
    with pytest.raises(TypeError):
        label.text()


def test_setters_stay_calls(host: Any) -> None:
    import qt

    box = qt.QCheckBox()
    box.setText("x")
    box.setChecked(True)
    assert (box.text, box.checked) == ("x", True)


@pytest.mark.parametrize(("name", "value"), [("txt", "x"), ("setText", "x"), ("enabled", None)])
def test_attributes_cannot_be_invented_nor_set_to_the_wrong_type(host: Any, name: str, value: Any) -> None:
    import qt

    with pytest.raises(AttributeError):
        setattr(qt.QLabel(), name, value)


def test_connect_by_signature_passes_no_more_than_it_names(host: Any) -> None:
    import qt

    seen: list[Any] = []
    button = qt.QPushButton("b")
    button.checkable = True
    button.connect("clicked()", lambda *given: seen.append(given))
    button.connect("clicked(bool)", lambda *given: seen.append(given))
    button.connect("clicked(bool)", lambda: seen.append("none"))
    button.clicked.connect(lambda checked: seen.append(checked))
    button.click()
    assert seen == [(), (True,), "none", True]


def test_disconnect_by_signature(host: Any) -> None:
    import qt

    class Owner:
        count = 0

        def slot(self) -> None:
            self.count += 1

    button, owner = qt.QPushButton(), Owner()
    button.connect("clicked()", owner.slot)
    button.click()
    assert button.disconnect("clicked()", owner.slot)
    assert not button.disconnect("clicked()", owner.slot)
    button.click()
    assert owner.count == 1


def test_a_misspelt_signal_is_seen(host: Any) -> None:
    """Slicer prints a warning; the host raises."""
    import qt

    with pytest.raises(ValueError, match="no signal"):
        qt.QPushButton().connect("clickd()", print)


def test_python_classes_derive_from_qt_classes(host: Any) -> None:
    import qt

    class Panel(qt.QWidget):
        def __init__(self, parent: Any = None) -> None:
            super().__init__(parent)
            self.anything = 3
            self.button = qt.QPushButton("b", self)

    panel = Panel()
    seen = []
    panel.button.connect("clicked()", lambda: seen.append(panel.anything))
    panel.connect("destroyed()", lambda: None)
    panel.button.click()
    assert seen == [3]
    assert isinstance(panel, qt.QWidget)
    assert isinstance(panel.button, qt.QWidget)
    assert not isinstance(panel.button, Panel)
    assert type(panel.button) is qt.QPushButton
    assert panel.button.className() == "QPushButton"


def test_children_are_found_by_class_class_name_and_name(host: Any) -> None:
    import qt

    outer = qt.QWidget()
    layout = qt.QVBoxLayout(outer)
    for name in ("a", "b"):
        label = qt.QLabel(name)
        label.objectName = name
        layout.addWidget(label)
    assert [child.name for child in outer.findChildren(qt.QLabel)] == ["a", "b"]
    assert [child.name for child in outer.findChildren("QLabel")] == ["a", "b"]
    assert outer.findChild(qt.QLabel, "b").text == "b"
    assert outer.findChild(qt.QPushButton) is None


def test_objects_that_qt_made_have_properties_too(host: Any) -> None:
    import qt

    table = qt.QTableWidget()
    table.rowCount = 2
    table.setColumnCount(3)
    assert (table.rowCount, table.columnCount) == (2, 3)
    header = table.horizontalHeader()
    header.visible = False
    assert header.stretchLastSection is False


def test_timers(host: Any) -> None:
    """``singleShot`` is a function of the class and a property of a timer."""
    import qt

    seen: list[str] = []
    timer = qt.QTimer()
    timer.singleShot, timer.interval = True, 1
    timer.connect("timeout()", lambda: seen.append("timer"))
    timer.start()
    qt.QTimer.singleShot(0, lambda: seen.append("shot"))
    assert host.until(lambda: len(seen) == 2, 2)
    assert sorted(seen) == ["shot", "timer"]
    assert timer.singleShot is True
    assert timer.active is False


def test_actions_combo_boxes_and_sliders(host: Any) -> None:
    import qt

    seen: list[Any] = []
    action = qt.QAction("a")
    action.connect("triggered()", lambda: seen.append("a"))
    action.trigger()
    combo = qt.QComboBox()
    combo.addItem("one", 1)
    combo.addItem("two", 2)
    combo.connect("currentIndexChanged(int)", seen.append)
    combo.currentIndex = 1
    slider = qt.QSlider(qt.Qt.Horizontal)
    slider.connect("valueChanged(int)", seen.append)
    slider.value = 7
    assert seen == ["a", 1, 7]
    assert (combo.count, combo.currentText, combo.currentData) == (2, "two", 2)


def test_flat_enums_and_pictures(host: Any) -> None:
    import qt

    label = qt.QLabel()
    label.setAlignment(qt.Qt.AlignRight | qt.Qt.AlignVCenter)
    label.setSizePolicy(qt.QSizePolicy.Expanding, qt.QSizePolicy.Fixed)
    picture = qt.QPixmap()
    assert picture.loadFromData(b"P6\n2 3\n255\n" + bytes(18), "PPM")
    label.setPixmap(picture)
    assert (label.pixmap.width(), label.pixmap.height()) == (2, 3)


def test_dynamic_properties_are_attributes(host: Any) -> None:
    import qt

    widget = qt.QWidget()
    widget.setProperty("SlicerParameterName", "volume")
    assert widget.SlicerParameterName == widget.property("SlicerParameterName") == "volume"
    with pytest.raises(AttributeError):
        _ = widget.SlicerParameter


def test_many_calls_do_not_lose_references(host: Any) -> None:
    """PySide6 6.12.0 does, and aborts after some thousand."""
    import qt

    button, seen = qt.QPushButton(), []
    button.connect("clicked()", lambda: seen.append(1))
    for _ in range(3000):
        button.click()
        button.text = "x"
    assert len(seen) == 3000


def test_an_exception_in_a_slot_is_printed_and_noted(host: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """The application prints it and goes on."""
    import qt

    def fail() -> None:
        raise ValueError("from a slot")

    button = qt.QPushButton()
    button.connect("clicked()", fail)
    button.click()
    assert [str(error) for error in host.errors] == ["from a slot"]


def test_a_filter_made_in_python_sees_events_and_can_stop_them(host: Any) -> None:
    import qt

    class Filter(qt.QObject):
        def __init__(self) -> None:
            super().__init__()
            self.seen: list[int] = []

        def eventFilter(self, watched: Any, event: Any) -> bool:
            if event.type() != qt.QEvent.MouseButtonPress:
                return False
            self.seen.append(event.position().x())
            return event.button() == qt.Qt.LeftButton

    button, clicks, watching = qt.QPushButton(), [], Filter()
    button.connect("pressed()", lambda: clicks.append(1))
    place, left, none = qt.QPointF(7, 3), qt.Qt.LeftButton, qt.Qt.NoModifier

    def press() -> None:
        event = qt.QMouseEvent(qt.QEvent.MouseButtonPress, place, place, left, left, none)
        qt.QApplication.sendEvent(button, event)

    button.installEventFilter(watching)
    press()
    assert (watching.seen, clicks) == ([7], [])
    button.removeEventFilter(watching)
    press()
    assert (watching.seen, clicks) == ([7], [1])


def test_a_table_tells_what_is_selected(host: Any) -> None:
    """Its counts are properties, its current row is a method; blocked, it selects without telling."""
    import qt

    table, seen = qt.QTableWidget(3, 2), []
    table.setSelectionBehavior(qt.QAbstractItemView.SelectRows)
    table.connect("itemSelectionChanged()", lambda: seen.append(table.currentRow()))
    table.setItem(1, 0, qt.QTableWidgetItem("one"))
    table.selectRow(1)
    before = table.blockSignals(True)
    table.selectRow(2)
    table.blockSignals(before)
    assert (seen, table.currentRow(), table.rowCount) == ([1], 2, 3)
    assert table.item(1, 0).text() == "one"
