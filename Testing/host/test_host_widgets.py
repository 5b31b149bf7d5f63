"""CTK's and Slicer's own widgets, and parameters bound to widgets that were made in Python."""

import enum
from pathlib import Path
from typing import Annotated, Any

import pytest


def test_ctk_slider_widget(host: Any) -> None:
    """Default range 0 to 99; the value stays in range; slider and spin box agree."""
    import ctk

    slider, seen = ctk.ctkSliderWidget(), []
    assert (slider.minimum, slider.maximum, slider.value) == (0, 99, 0)
    slider.connect("valueChanged(double)", seen.append)
    slider.minimum, slider.maximum, slider.singleStep, slider.decimals = 0, 1, 0.01, 3
    slider.value = 0.125
    slider.setValue(5)
    assert (slider.value, seen) == (1.0, [0.125, 1.0])
    slider.spinBox().setValue(0.5)
    assert slider.value == 0.5
    assert slider.slider().sliderPosition == 500


def test_ctk_ranges_keep_their_order(host: Any) -> None:
    import ctk

    for kind in (ctk.ctkRangeWidget, ctk.ctkDoubleRangeSlider):
        both, seen = kind(), []
        both.connect("valuesChanged(double,double)", lambda low, high, seen=seen: seen.append((low, high)))
        both.setRange(0, 10)
        both.setValues(8, 3)
        assert (both.minimumValue, both.maximumValue) == (3, 8)
        both.minimumValue = 9
        assert (both.minimumValue, both.maximumValue) == (9, 9)
        assert seen[-1] == (9, 9)


def test_ctk_path_line_edit(host: Any) -> None:
    import ctk

    line, seen = ctk.ctkPathLineEdit(), []
    line.connect("currentPathChanged(QString)", seen.append)
    line.currentPath = "/a"
    line.setCurrentPath("/b")
    line.filters = ctk.ctkPathLineEdit.Files
    line.nameFilters = ["*.json"]
    assert (seen, line.currentPath, line.nameFilters) == (["/a", "/b"], "/b", ["*.json"])


def test_ctk_collapsible_button_made_in_python(host: Any) -> None:
    """As in upstream's old template: a form layout on the button itself."""
    import ctk
    import qt

    button = ctk.ctkCollapsibleButton()
    button.text = "Parameters"
    form = qt.QFormLayout(button)
    box = qt.QCheckBox()
    form.addRow("Check:", box)
    button.show()
    assert box.visible
    button.collapsed = True
    assert not box.visible
    button.collapsed = False
    assert box.visible
    with pytest.raises(AttributeError):
        button.colapsed = True


def test_qmrml_widget_tells_its_scene(host: Any) -> None:
    import slicer

    widget, seen = slicer.qMRMLWidget(), []
    widget.connect("mrmlSceneChanged(vtkMRMLScene*)", seen.append)
    widget.setMRMLScene(slicer.mrmlScene)
    widget.setMRMLScene(slicer.mrmlScene)
    assert seen == [slicer.mrmlScene]
    assert widget.mrmlScene() is slicer.mrmlScene


def wrapped(cls: type) -> Any:
    import slicer
    from slicer.parameterNodeWrapper import parameterNodeWrapper

    return parameterNodeWrapper(cls)(slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScriptedModuleNode"))


def test_binding_by_a_mapping_and_its_end(host: Any) -> None:
    import qt
    from slicer.parameterNodeWrapper import Maximum, Minimum, WithinRange

    class Parameters:
        count: Annotated[int, WithinRange(0, 5)]
        size: Annotated[float, Minimum(0.5), Maximum(2)] = 1.0
        on: bool = True
        text: str = "t"

    node = wrapped(Parameters)
    widgets = {"count": qt.QSlider(), "size": qt.QDoubleSpinBox(), "on": qt.QPushButton(), "text": qt.QTextEdit()}
    widgets["on"].checkable = True
    tag = node.connectParametersToGui(widgets)
    assert (widgets["size"].value, widgets["on"].checked, widgets["text"].plainText) == (1.0, True, "t")
    widgets["count"].value = 4
    widgets["on"].click()
    widgets["text"].setPlainText("new")
    assert (node.count, node.on, node.text) == (4, False, "new")
    node.disconnectGui(tag)
    widgets["count"].value = 1
    node.size = 2.0
    assert (node.count, widgets["size"].value) == (4, 1.0)


@pytest.mark.parametrize("name", ["QToolButton", "QRadioButton"])
def test_only_upstreams_connectors_exist(host: Any, name: str) -> None:
    import qt

    class Parameters:
        on: bool = True

    with pytest.raises(RuntimeError, match="Unable to create GUI connector"):
        wrapped(Parameters).connectParametersToGui({"on": getattr(qt, name)()})


def test_a_slider_needs_a_range_and_a_combo_box_choices(host: Any) -> None:
    import ctk
    import qt

    class Parameters:
        size: float = 1.0
        text: str = "a"

    node = wrapped(Parameters)
    with pytest.raises(RuntimeError):
        node.connectParametersToGui({"size": ctk.ctkSliderWidget()})
    with pytest.raises(RuntimeError, match="Choice"):
        node.connectParametersToGui({"text": qt.QComboBox()})
    with pytest.raises(ValueError, match="Cannot find a param"):
        node.connectParametersToGui({"nothing": qt.QCheckBox()})


def test_wrapper_forwards_to_the_node(host: Any) -> None:
    import slicer
    import vtk
    from slicer.parameterNodeWrapper import isParameterNodeWrapper

    class Color(enum.Enum):
        RED = 1
        BLUE = 2

    class Parameters:
        color: Color
        names: list[str]
        place: Path

    node, seen = wrapped(Parameters), []
    assert isParameterNodeWrapper(node)
    assert (node.color, node.names, node.place) == (Color.RED, (), Path())
    tag = node.AddObserver(vtk.vtkCommand.ModifiedEvent, lambda caller, event: seen.append(caller))
    with slicer.util.NodeModify(node):
        node.color = Color.BLUE
        node.names = ["a", "b"]
    assert seen == [node.parameterNode]
    assert node.parameterNode.GetParameter("names_len") == "2"
    assert node.names == ("a", "b")
    assert node.HasObserver(vtk.vtkCommand.ModifiedEvent)
    node.RemoveObserver(tag)
    node.parameterNode.SetParameter("color", "GREEN")
    with pytest.raises(ValueError, match="GREEN"):
        _ = node.color


def test_reserved_names_are_refused(host: Any) -> None:
    from slicer.parameterNodeWrapper import parameterNodeWrapper

    class Parameters:
        connectGui: int

    with pytest.raises(ValueError, match="reserved"):
        parameterNodeWrapper(Parameters)
