"""``slicer.app``, ``slicer.util`` and the scene, as upstream's application has them."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest


def add_volume(name: str = "Volume") -> Any:
    import slicer

    return slicer.util.addVolumeFromArray(np.arange(120, dtype=np.int16).reshape(4, 5, 6), name=name)


def test_there_is_one_host(host: Any) -> None:
    from slicer_host import Host

    assert Host() is host


def test_detached_the_application_is_gone(host: Any) -> None:
    import slicer

    host.detach()
    assert not hasattr(slicer, "app")
    assert "qt" not in sys.modules
    host.attach()
    assert slicer.app.applicationName == "Slicer"


def test_slice_views_show_what_set_slice_viewer_layers_says(host: Any) -> None:
    import slicer

    volume = add_volume()
    slicer.util.setSliceViewerLayers(
        background=volume, foreground=volume, foregroundOpacity=0.4, fit=True, rotateToVolumePlane=True
    )
    manager = slicer.app.layoutManager()
    assert manager.sliceViewNames() == ("Red", "Green", "Yellow")
    for name in manager.sliceViewNames():
        layers = manager.sliceWidget(name).mrmlSliceCompositeNode()
        assert layers.GetBackgroundVolumeID() == layers.GetForegroundVolumeID() == volume.GetID()
        assert layers.GetForegroundOpacity() == pytest.approx(0.4)
        logic = slicer.app.applicationLogic().GetSliceLogic(manager.sliceWidget(name).mrmlSliceNode())
        assert logic is manager.sliceWidget(name).sliceLogic()
    slicer.util.resetSliceViews()


def test_layout_manager_sets_the_layout_nodes_arrangement(host: Any) -> None:
    import slicer

    wanted = slicer.vtkMRMLLayoutNode.SlicerLayoutOneUpRedSliceView
    slicer.app.layoutManager().setLayout(wanted)
    assert slicer.app.layoutManager().layout == wanted


@pytest.mark.parametrize(("show", "kind"), [("errorDisplay", "error"), ("warningDisplay", "warning")])
def test_message_windows_are_noted_not_opened(host: Any, show: str, kind: str) -> None:
    import slicer

    getattr(slicer.util, show)("text")
    slicer.util.infoDisplay("fine")
    assert host.shown == [(kind, "text"), ("info", "fine")]


@pytest.mark.parametrize("answer", [True, False])
def test_questions_get_the_answer_the_test_gives(host: Any, answer: bool) -> None:
    import qt
    import slicer

    host.answers["confirm"] = answer
    assert slicer.util.confirmOkCancelDisplay("a?") is answer
    assert slicer.util.confirmYesNoDisplay("b?") is answer
    buttons = qt.QMessageBox.Yes | qt.QMessageBox.No
    expected = qt.QMessageBox.Yes if answer else qt.QMessageBox.No
    assert qt.QMessageBox.question(None, "t", "c?", buttons) == expected
    assert host.shown == [("confirm", "a?"), ("confirm", "b?"), ("confirm", "c?")]


def test_dialogs_and_progress_never_block(host: Any) -> None:
    import qt
    import slicer

    dialog = qt.QDialog()
    dialog.windowTitle = "Mine"
    assert dialog.exec_() == 1
    slicer.util.delayDisplay("wait", 5000)
    progress = slicer.util.createProgressDialog(maximum=5, labelText="going")
    progress.value = 2
    assert (progress.value, progress.labelText) == (2, "going")
    progress.close()
    assert ("dialog", "Mine") in host.shown


def test_try_with_error_display_shows_and_raises(host: Any) -> None:
    """Upstream shows the message with the exception's text, restores the cursor and raises again."""
    import qt
    import slicer

    with pytest.raises(ValueError), slicer.util.tryWithErrorDisplay("It failed.", waitCursor=True):
        raise ValueError("why")
    assert host.shown == [("error", "It failed.\n\nwhy")]
    assert qt.QApplication.overrideCursor() is None


def test_settings_are_kept_in_a_file_of_their_own(host: Any) -> None:
    import slicer

    slicer.app.settings().setValue("Host/Number", 7)
    assert slicer.util.settingsValue("Host/Number", 0, converter=int) == 7
    assert slicer.util.settingsValue("Host/Other", 3, converter=int) == 3
    assert Path(slicer.app.settings().fileName()).is_relative_to(slicer.app.slicerHome)
    slicer.app.settings().remove("Host/Number")


def test_folders_are_temporary(host: Any) -> None:
    import slicer

    folder = Path(slicer.util.tempDirectory(key="mine"))
    assert folder.is_dir()
    assert folder.is_relative_to(slicer.app.temporaryPath)


def test_python_slicer_starts_this_python(host: Any) -> None:
    import slicer

    launcher = Path(slicer.app.slicerHome) / "bin" / "PythonSlicer"
    assert os.access(launcher, os.X_OK)
    code = "import sys; print(sys.executable, sys.argv[1])"
    said = subprocess.run([launcher, "-c", code, "a b"], capture_output=True, text=True, check=True, timeout=60).stdout
    assert said.split(maxsplit=1) == [sys.executable, "a b\n"]


def test_processes_report_through_the_event_loop(host: Any) -> None:
    """``launchConsoleProcess(blocking=False)`` polls by QTimer; QProcess has signals."""
    import qt
    import slicer

    lines: list[str] = []
    codes: list[int] = []
    command = [sys.executable, "-c", "print('one'); print('two'); raise SystemExit(3)"]
    slicer.util.launchConsoleProcess(command, blocking=False, logCallback=lines.append, completedCallback=codes.append)
    process = qt.QProcess()
    process.connect("finished(int,QProcess::ExitStatus)", lambda code, status: codes.append(code))
    process.start(sys.executable, ["-c", "raise SystemExit(4)"])
    assert host.until(lambda: len(codes) == 2, 30)
    assert lines == ["one", "two"]
    assert sorted(codes) == [3, 4]


def test_until_gives_up(host: Any) -> None:
    assert not host.until(lambda: False, 0.05)


def test_files_load_and_save(host: Any, tmp_path: Path) -> None:
    import slicer

    volume = add_volume()
    assert slicer.util.saveNode(volume, str(tmp_path / "v.nrrd"))
    loaded = slicer.util.loadVolume(tmp_path / "v.nrrd", {"name": "again"})
    assert loaded.GetName() == "again"
    assert np.array_equal(slicer.util.arrayFromVolume(loaded), slicer.util.arrayFromVolume(volume))
    markups = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsROINode", "R")
    assert slicer.util.saveNode(markups, str(tmp_path / "r.mrk.json"))
    assert slicer.util.loadMarkups(tmp_path / "r.mrk.json").IsA("vtkMRMLMarkupsROINode")
    with pytest.raises(RuntimeError):
        slicer.util.loadVolume(tmp_path / "none.nrrd")


def test_modules_are_found_by_their_lower_case_name(host: Any) -> None:
    import slicer

    assert slicer.modules.markups.logic().IsA("vtkSlicerMarkupsLogic")
    assert slicer.util.getModuleLogic("volumes").IsA("vtkSlicerVolumesLogic")
    assert "colors" in slicer.util.moduleNames()
    with pytest.raises(AttributeError):
        _ = slicer.modules.nosuchmodule


def test_a_colour_legend_can_be_added(host: Any) -> None:
    import slicer

    volume = add_volume()
    volume.CreateDefaultDisplayNodes()
    legend = slicer.modules.colors.logic().AddDefaultColorLegendDisplayNode(volume)
    assert legend.IsA("vtkMRMLColorLegendDisplayNode")


def test_the_subject_hierarchy_follows_data_nodes(host: Any) -> None:
    """In the application its plugins add and remove the items."""
    import slicer

    tree = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    volume = add_volume()
    roi = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsROINode", "R")
    item = tree.GetItemByDataNode(volume)
    assert tree.GetItemName(item) == "Volume"
    assert tree.GetItemParent(item) == tree.GetSceneItemID()
    assert tree.GetItemByDataNode(roi)
    count = tree.GetNumberOfItems()
    slicer.mrmlScene.RemoveNode(volume)
    assert tree.GetNumberOfItems() == count - 1


def test_closing_the_scene_says_so_and_keeps_the_singletons(host: Any) -> None:
    import slicer

    scene, seen = slicer.mrmlScene, []
    tags = [
        scene.AddObserver(event, lambda *_, name=name: seen.append(name))
        for name, event in (("start", scene.StartCloseEvent), ("end", scene.EndCloseEvent))
    ]
    add_volume()
    host.close_scene()
    for tag in tags:
        scene.RemoveObserver(tag)
    assert seen == ["start", "end"]
    assert scene.GetFirstNodeByClass("vtkMRMLScalarVolumeNode") is None
    assert slicer.app.layoutManager().sliceWidget("Red").mrmlSliceNode() in slicer.util.getNodesByClass(
        "vtkMRMLSliceNode"
    )


def test_a_scene_is_saved_and_loaded(host: Any, tmp_path: Path) -> None:
    import slicer

    values = slicer.util.arrayFromVolume(add_volume("Saved")).copy()
    before = Path.cwd()
    host.save_scene(tmp_path / "scene.mrb")
    host.close_scene()
    host.load_scene(tmp_path / "scene.mrb")
    loaded = slicer.util.getNode("Saved")
    assert np.array_equal(slicer.util.arrayFromVolume(loaded), values)
    tree = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    assert tree.GetItemByDataNode(loaded)
    assert len(slicer.util.getNodesByClass("vtkMRMLSubjectHierarchyNode")) == 1
    assert len(slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")) == 3
    assert Path.cwd() == before


def test_testing_mode_shows_nothing(host: Any, caplog: pytest.LogCaptureFixture) -> None:
    import slicer

    slicer.app._testing = True
    try:
        with caplog.at_level(logging.INFO):
            slicer.util.errorDisplay("wrong")
    finally:
        slicer.app._testing = False
    assert "wrong" in caplog.text
    assert host.shown == []


def test_packages_are_never_installed(host: Any, tmp_path: Path) -> None:
    """pip_check looks at what is installed; pip_ensure asks, then would install what is missing."""
    import slicer.packaging
    import slicer.util

    file = tmp_path / "pyproject.toml"
    file.write_text('[project]\ndependencies = ["numpy>=1", "no-such-package-of-ours>=2"]\n')
    needed = slicer.packaging.load_pyproject_dependencies(file)
    assert not slicer.packaging.pip_check(needed)
    assert slicer.packaging.pip_check("numpy>=1")
    assert not slicer.packaging.pip_check("numpy>=1000")
    slicer.packaging.pip_ensure(needed, requester="Sample")
    assert [kind for kind, _ in host.shown] == ["confirm"]
    assert host.installs[0]["requirements"] == ["no-such-package-of-ours>=2"]
    assert host.installs[0]["requester"] == "Sample"
    host.answers["confirm"] = False
    with pytest.raises(RuntimeError, match="declined"):
        slicer.packaging.pip_ensure(needed)
    slicer.util.pip_install("other")
    assert [one["requirements"] for one in host.installs] == [["no-such-package-of-ours>=2"], "other"]


def test_translation_keeps_the_text(host: Any) -> None:
    from slicer.i18n import getContext, tr, translate

    assert tr("{n} done").format(n=2) == "2 done"
    assert translate("Context", "text") == "text"
    assert getContext(__file__) == "test_host_application"


def test_the_process_ends_cleanly_and_leaves_nothing(tmp_path: Path) -> None:
    code = (
        "from slicer_host import Host\n"
        "host = Host()\n"
        "import slicer, sys\n"
        f"widget = host.open({str(Path(__file__).parent / 'sample' / 'Sample.py')!r})\n"
        "open(sys.argv[1], 'w').write(slicer.app.slicerHome)\n"
    )
    places = [str(Path(__file__).parent), str(Path(__file__).parents[2] / "Training")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(places)}
    note = tmp_path / "home"
    ended = subprocess.run([sys.executable, "-c", code, note], env=environment, timeout=120, capture_output=True)
    assert ended.returncode == 0, ended.stderr.decode()
    assert not Path(note.read_text()).exists()
    running = [p.read_bytes() for p in Path("/proc").glob("[0-9]*/cmdline") if os.access(p, os.R_OK)]
    assert not any(str(note).encode() in line for line in running)
