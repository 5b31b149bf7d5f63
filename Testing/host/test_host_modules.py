"""A module like the template's, from its own files: life cycle, binding, scene events, pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest


def add_volume(name: str = "Volume", shape: tuple[int, ...] = (4, 5, 6)) -> Any:
    import slicer

    return slicer.util.addVolumeFromArray(np.ones(shape), name=name)


def words(widget: Any) -> list[str]:
    """The widget's calls without those of the combo box."""
    return [call for call in widget.calls if isinstance(call, str)]


def test_open_sets_up_and_enters(host: Any, sample: Any) -> None:
    import slicer

    assert words(sample) == ["enter"]
    assert slicer.modules.SampleWidget is sample
    assert slicer.modules.sample.widgetRepresentation() is sample.parent
    assert slicer.util.getModuleWidget("Sample") is sample
    assert slicer.modules.sample.title == "Sample"
    assert sample.parent.isEntered()
    assert host.errors == []


def test_the_ui_file_is_applied(host: Any, sample: Any) -> None:
    """Custom properties, flags of CTK's own, dynamic properties, connections."""
    import ctk
    import slicer

    ui = sample.ui
    assert ui.inputSelector.nodeTypes == ["vtkMRMLScalarVolumeNode"]
    assert (ui.inputSelector.addEnabled, ui.roiSelector.noneEnabled) == (False, True)
    assert ui.inputSelector.mrmlScene() is slicer.mrmlScene
    assert ui.advancedCollapsibleButton.collapsed
    assert ui.thresholdSlider.suffix == " HU"
    assert ui.folderLine.filters == ctk.ctkPathLineEdit.Dirs | ctk.ctkPathLineEdit.Readable
    assert ui.inputSelector.property("SlicerParameterName") == "inputVolume"
    ui.moreButton.checked = True
    assert not ui.resultLabel.enabled


def test_an_unknown_widget_class_is_named(host: Any, tmp_path: Path) -> None:
    import slicer

    file = tmp_path / "x.ui"
    file.write_text('<ui version="4.0"><widget class="qSuperWidget" name="a"/></ui>')
    with pytest.raises(RuntimeError, match="qSuperWidget"):
        slicer.util.loadUI(str(file))


def test_parameters_and_widgets_follow_each_other(host: Any, sample: Any) -> None:
    import slicer

    node, ui = sample._parameterNode, sample.ui
    ui.thresholdSlider.value = 12.5
    ui.stepsSpinBox.value = 7
    ui.invertCheckBox.click()
    ui.noteLine.text = "text"
    ui.wayComboBox.currentIndex = 1
    ui.unitComboBox.currentText = "cm"
    ui.folderLine.currentPath = "/a/b"
    assert (node.threshold, node.steps, node.invert, node.note) == (12.5, 7, True, "text")
    assert (node.way.name, node.unit, node.folder) == ("CAREFUL", "cm", Path("/a/b"))
    raw = slicer.mrmlScene.GetSingletonNode("Sample", "vtkMRMLScriptedModuleNode")
    assert raw is node.parameterNode
    assert (raw.GetParameter("way"), raw.GetParameter("invert"), raw.GetParameter("steps")) == ("CAREFUL", "True", "7")
    node.threshold = 3
    node.way = type(node.way).FAST
    node.folder = Path("c")
    assert (ui.thresholdSlider.value, ui.wayComboBox.currentText, ui.folderLine.currentPath) == (3.0, "Fast", "c")


def test_defaults_and_validators(host: Any, sample: Any) -> None:
    node = sample._parameterNode
    assert (node.threshold, node.steps, node.invert, node.note) == (100, 3, False, "hello")
    assert (sample.ui.thresholdSlider.minimum, sample.ui.thresholdSlider.maximum) == (-100, 200)
    for name, wrong in (("threshold", 500), ("unit", "inch")):
        with pytest.raises(ValueError):
            setattr(node, name, wrong)
    with pytest.raises(TypeError):
        node.steps = "three"
    assert (node.threshold, node.unit, node.steps) == (100, "mm", 3)


def test_upstreams_key_names(host: Any, sample: Any) -> None:
    """A node by reference under its name; an optional one under ``name_0``, its None under ``name_1``."""
    import slicer

    raw, node = sample._parameterNode.parameterNode, sample._parameterNode
    volume = add_volume()
    roi = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsROINode")
    assert raw.GetNodeReference("inputVolume") is volume
    assert (node.roi, raw.GetParameter("roi_1")) == (None, "True")
    node.roi = roi
    assert raw.GetNodeReference("roi_0") is roi
    assert not raw.HasParameter("roi_1")
    with pytest.raises(TypeError):
        node.inputVolume = roi


def test_node_selectors_follow_the_scene(host: Any, sample: Any) -> None:
    import slicer

    ui, node = sample.ui, sample._parameterNode
    assert not ui.applyButton.enabled
    first, second = add_volume("A"), add_volume("B")
    assert ui.inputSelector.currentNode() is first  # None is not enabled: the first is taken
    assert ui.inputSelector.nodeCount() == 2
    slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode")  # showChildNodeTypes is false
    assert ui.inputSelector.nodeCount() == 2
    ui.inputSelector.setCurrentNode(second)
    assert node.inputVolume is second
    assert ui.applyButton.enabled
    second.SetName("C")
    assert ui.inputSelector._box.currentText == "C"
    slicer.mrmlScene.RemoveNode(second)
    assert ui.inputSelector.currentNode() is first
    first.SetHideFromEditors(True)
    created = ui.roiSelector.addNode()
    assert node.roi is created
    assert ui.roiSelector.currentNodeID == created.GetID()


def test_node_selector_signals(host: Any) -> None:
    import slicer

    selector, seen = slicer.qMRMLNodeComboBox(), []
    selector.nodeTypes = ["vtkMRMLScalarVolumeNode"]
    selector.noneEnabled = True
    selector.addAttribute("vtkMRMLScalarVolumeNode", "Kind", "good")
    selector.setMRMLScene(slicer.mrmlScene)
    selector.connect("currentNodeChanged(vtkMRMLNode*)", lambda node: seen.append(node and node.GetName()))
    selector.connect("currentNodeChanged(bool)", seen.append)
    selector.connect("nodeAddedByUser(vtkMRMLNode*)", lambda node: seen.append("added"))
    plain = add_volume("plain")
    selector.setCurrentNode(plain)
    assert seen == []
    made = selector.addNode()
    assert made.GetAttribute("Kind") == "good"
    selector.setCurrentNode(None)
    assert seen == [made.GetName(), True, "added", None, False]


def test_a_removed_node_leaves_the_place_to_its_neighbour(host: Any) -> None:
    """Qt's combo box keeps the row, and upstream falls back on the last node, then on None."""
    import slicer

    selector, leaving = slicer.qMRMLNodeComboBox(), []
    selector.nodeTypes = ["vtkMRMLScalarVolumeNode"]
    selector.noneEnabled = True
    assert not selector.enabled
    selector.setMRMLScene(slicer.mrmlScene)
    assert selector.enabled
    selector.connect("nodeAboutToBeRemoved(vtkMRMLNode*)", leaving.append)
    a, b, c = (add_volume(name) for name in "abc")
    assert selector.currentNode() is None
    selector.setCurrentNode(b)
    expected = [(b, c), (c, a), (a, None)]
    for gone, next_one in expected:
        slicer.mrmlScene.RemoveNode(gone)
        assert selector.currentNode() is next_one
    assert leaving == [b, c, a]


def test_pressing_apply_runs_the_logic(host: Any, sample: Any) -> None:
    add_volume()
    sample.ui.applyButton.click()
    assert sample.ui.resultLabel.text == "Mean: 0.5"
    assert host.shown == []


def test_an_error_in_the_logic_is_shown(host: Any, sample: Any) -> None:
    import slicer

    slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "empty")
    sample.ui.applyButton.click()
    assert host.shown == [("error", "Failed to compute results.\n\nThe volume is empty")]
    assert [str(error) for error in host.errors] == ["The volume is empty"]


def test_left_a_panel_no_longer_follows_its_parameters(host: Any, sample: Any) -> None:
    host.exit(sample)
    sample._parameterNode.note = "meanwhile"
    assert sample.ui.noteLine.text == "hello"
    assert not sample.parent.visible
    host.enter(sample)
    assert sample.ui.noteLine.text == "meanwhile"
    assert words(sample) == ["enter", "exit", "enter"]


def test_select_module_leaves_the_other(host: Any, sample: Any) -> None:
    import slicer

    slicer.util.selectModule("Data")
    assert not sample.parent.isEntered()
    slicer.util.selectModule(slicer.modules.sample)
    assert sample.parent.isEntered()


def test_scene_close_brings_defaults_back(host: Any, sample: Any) -> None:
    add_volume()
    sample.ui.noteLine.text = "gone"
    host.close_scene()
    assert words(sample) == ["enter", "start close", "end close"]
    assert sample.ui.noteLine.text == sample._parameterNode.note == "hello"
    assert sample.ui.inputSelector.currentNode() is None
    assert not sample.ui.applyButton.enabled
    assert host.errors == []


def test_a_saved_scene_brings_parameters_back(host: Any, sample: Any, tmp_path: Path) -> None:
    add_volume("other")
    chosen = add_volume("chosen")
    sample._parameterNode.inputVolume = chosen
    sample.ui.noteLine.text = "kept"
    sample.ui.wayComboBox.currentIndex = 1
    host.save_scene(tmp_path / "s.mrb")
    host.close_scene()
    host.load_scene(tmp_path / "s.mrb")
    assert words(sample)[-3:] == ["start close", "end close", "imported"]
    assert sample.ui.inputSelector.currentNode().GetName() == "chosen"
    assert (sample.ui.noteLine.text, sample.ui.wayComboBox.currentText) == ("kept", "Careful")
    assert host.errors == []


def test_reload_makes_a_new_panel_from_the_file(host: Any, sample: Any) -> None:
    import slicer

    sample.ui.noteLine.text = "before"
    calls = sample.calls
    again = host.reload(sample)
    assert again is not sample
    assert "cleanup" in calls
    assert type(again) is not type(sample)
    assert slicer.modules.SampleWidget is again
    assert words(again) == ["enter"]
    assert again.ui.noteLine.text == "before"  # the parameter node stays
    host.close_scene()
    assert "start close" not in calls
    assert host.errors == []


def test_close_cleans_up_and_deletes(host: Any, sample: Any) -> None:
    import shiboken6
    import slicer

    panel = sample.parent
    host.close(sample)
    assert words(sample) == ["enter", "exit", "cleanup"]
    assert not hasattr(slicer.modules, "sample")
    assert not shiboken6.isValid(panel)
    add_volume()
    host.close_scene()
    assert host.errors == []


def test_the_modules_own_test_runs(host: Any, sample: Any) -> None:
    import slicer

    slicer.selfTests["Sample"]()
    assert host.shown[-1] == ("delay", "Test passed")


def test_sample_data_is_loaded_by_the_modules_loader(host: Any, sample: Any) -> None:
    import SampleData
    import slicer

    slicer.app.startupCompleted.emit()
    assert [source.sampleName for source in slicer.modules.sampleDataSources["Sample"]] == ["Cube"]
    assert SampleData.SampleDataLogic().downloadSample("Cube").GetName() == "Cube"


def test_collapsing_hides_the_contents(host: Any, sample: Any) -> None:
    ui, seen = sample.ui, []
    assert not ui.noteLine.visible
    ui.advancedCollapsibleButton.connect("contentsCollapsed(bool)", seen.append)
    ui.advancedCollapsibleButton.click()
    host.process(0.05)
    assert ui.noteLine.visible
    ui.advancedCollapsibleButton.collapsed = True
    host.process(0.05)
    assert not ui.noteLine.visible
    assert seen == [False, True]


def test_grab_writes_a_picture_with_readable_text(host: Any, sample: Any, tmp_path: Path) -> None:
    """A missing font draws the same box for every letter."""
    import qt
    from PIL import Image

    width, height = host.grab(sample.parent, tmp_path / "panel.png", 400)
    assert width == 400
    with Image.open(tmp_path / "panel.png") as picture:
        assert picture.size == (width, height)
        assert len(picture.convert("L").getcolors(65536)) > 20
    letters = []
    for letter in "Wil":
        label = qt.QLabel(letter)
        host.grab(label, tmp_path / f"{letter}.png", 40)
        with Image.open(tmp_path / f"{letter}.png") as picture:
            letters.append(np.asarray(picture.convert("L").crop((0, 0, 40, 16))).copy())
    assert letters[0].min() < 120
    assert np.count_nonzero(letters[0] < 150) > np.count_nonzero(letters[1] < 150)
    assert not np.array_equal(letters[1], letters[2])


def test_grab_lets_wrapped_text_take_the_height_it_needs(host: Any, sample: Any, tmp_path: Path) -> None:
    wide = host.grab(sample.parent, tmp_path / "wide.png", 700)
    narrow = host.grab(sample.parent, tmp_path / "narrow.png", 400)
    assert narrow[0] == 400
    assert narrow[1] > wide[1]
    opened = sample.ui.advancedCollapsibleButton
    opened.collapsed = False
    assert host.grab(sample.parent, tmp_path / "open.png", 400)[1] > narrow[1]
