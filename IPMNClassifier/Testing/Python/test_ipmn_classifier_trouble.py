"""What can go wrong in the panel: one sentence each, and a panel that works on."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import time
import unittest
from pathlib import Path
from unittest import mock

import numpy as np
import slicer
import slicer.util

from cadx.doctor import Need
from cadx.library import shipped_bundle
from cadx.roi import Roi
from cadx.slicer import dependencies, node_to_roi, set_roi

from panel_case import POSIX, PanelCase, members, phantom, until

CANCEL_WITHIN_S = 2.0


class MissingInputTest(PanelCase):
    """A disabled button says why."""

    def reason(self) -> str:
        self.settle()
        self.assertFalse(self.ui.classifyButton.enabled)
        return str(self.ui.classifyButton.toolTip)

    def test_each_input_that_is_missing_is_named(self) -> None:
        self.assertIn("Choose a T1", self.reason())
        nodes = self.choose_phantom()
        self.choose(None, nodes.t2, nodes.roi)
        self.assertIn("Choose a T1", self.reason())
        self.choose(nodes.t1, None, nodes.roi)
        self.assertIn("Choose a T2", self.reason())
        self.choose(nodes.t1, nodes.t2, None)
        self.assertIn("Place a ROI", self.reason())
        unplaced = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsROINode", "unplaced")
        self.choose(nodes.t1, nodes.t2, unplaced)
        self.assertIn("Place a ROI", self.reason())
        self.choose(nodes.t1, nodes.t2, nodes.roi)
        self.assertTrue(self.ui.classifyButton.enabled)

    def test_a_roi_that_cannot_be_graded_is_said_beside_it(self) -> None:
        nodes = self.choose_phantom()
        box = node_to_roi(nodes.roi)
        for changed, complaint in (
            (Roi(box.center_ras + 900, box.size_mm, box.axes), "outside"),
            (Roi(box.center_ras, box.size_mm * [1, 1, 0.5], box.axes), "enlarge it by"),
        ):
            set_roi(nodes.roi, changed)
            self.assertIn(complaint, self.reason())
            self.assertIn(complaint, self.ui.roiProblemLabel.text)
            self.assertFalse(self.ui.roiProblemLabel.isHidden())
            self.assertIsNone(self.panel.tiles.shown)
        self.ui.padCheckBox.setChecked(True)
        self.settle()
        self.assertTrue(self.ui.classifyButton.enabled)
        self.classify()
        self.assertEqual(self.said(), "Done.")

    def test_an_image_that_is_constant_is_said(self) -> None:
        nodes = self.choose_phantom()
        slicer.util.updateVolumeFromArray(nodes.t2, np.zeros_like(phantom().t2.voxels))
        self.assertIn("same value in every voxel", self.reason())

    def test_the_same_image_twice_is_a_warning(self) -> None:
        nodes = self.choose_phantom()
        self.choose(nodes.t1, nodes.t1, nodes.roi)
        self.assertIn("same volume", self.reason())
        copy = slicer.modules.volumes.logic().CloneVolume(slicer.mrmlScene, nodes.t1, "T1 copy")
        self.choose(nodes.t1, copy, nodes.roi)
        self.assertTrue(until(lambda: self.panel.tiles.shown is not None))
        self.classify()
        self.assertIn("same image", self.ui.warningsLabel.text)
        self.assertIn("looks like T1", self.ui.warningsLabel.text)
        self.assertIn("same image", self.panel.resultView.text)


@unittest.skipUnless(POSIX, "workers are paused and ended by signals")
class TroubleTest(PanelCase):
    """Work that is cancelled or dies."""

    def fresh_images(self) -> None:
        """An image that was not prepared before."""
        nodes = self.add_phantom()
        voxels = np.array(phantom().t2.voxels)
        voxels[0, 0, 0] += int(time.monotonic() * 1000) % 997 + 1
        slicer.util.updateVolumeFromArray(nodes.t2, voxels)
        self.choose(nodes.t1, nodes.t2, nodes.roi)

    def test_cancel_at_every_stage_leaves_the_scene_as_it_was(self) -> None:
        for stage in ("correct", "crop", "load model", "classify"):
            with self.subTest(stage=stage):
                slicer.mrmlScene.Clear(0)
                self.fresh_images()
                before = slicer.mrmlScene.GetNumberOfNodes()
                number = self.press_and_pause_at(stage)
                self.assertGreater(len(members(number)), 0)
                start = time.monotonic()
                self.ui.classifyButton.click()
                self.assertTrue(until(lambda: not self.panel.running))
                self.assertLess(time.monotonic() - start, CANCEL_WITHIN_S)
                self.assertEqual(members(number), [])
                self.assertIn("Cancelled", self.said())
                self.assertEqual(slicer.mrmlScene.GetNumberOfNodes(), before)
                self.assertEqual(self.cases(), [])

    def test_after_cancelling_a_case_can_be_graded(self) -> None:
        self.choose_phantom()
        self.press_and_pause_at("classify")
        self.ui.classifyButton.click()
        self.assertTrue(until(lambda: not self.panel.running))
        self.classify()
        self.assertEqual(self.said(), "Done.")

    def test_a_killed_worker_is_one_sentence(self) -> None:
        self.choose_phantom()
        os.killpg(self.press_and_pause_at("classify"), signal.SIGKILL)
        self.assertTrue(until(lambda: not self.panel.running))
        self.assertIn("was ended by signal 9", self.said())
        self.assertEqual(self.cases(), [])
        self.classify()
        self.assertEqual(self.said(), "Done.")

    def test_a_worker_that_talks_nonsense_is_one_sentence(self) -> None:
        self.choose_phantom()
        with tempfile.TemporaryDirectory() as folder:
            program = Path(folder) / "python"
            program.write_text("#!/bin/sh\necho nonsense\nsleep 60\n")
            program.chmod(0o755)
            self.panel.logic.end()
            with mock.patch.object(self.panel.logic.background(), "_python", str(program)):
                self.ui.classifyButton.click()
                self.assertTrue(until(lambda: not self.panel.running))
        self.assertIn("is no event", self.said())
        self.classify()
        self.assertEqual(self.said(), "Done.")

    def test_a_node_deleted_meanwhile_is_one_sentence(self) -> None:
        nodes = self.choose_phantom()
        number = self.press_and_pause_at("classify")
        slicer.mrmlScene.RemoveNode(nodes.t2)
        os.killpg(number, signal.SIGCONT)
        self.assertTrue(until(lambda: not self.panel.running))
        self.settle()
        self.assertIn("removed from the scene", self.said())
        self.assertEqual(self.cases(), [])
        self.assertIs(self.parameters.t2Volume, nodes.t1, "Slicer's selector goes to the neighbour")
        self.assertIn("T1 and T2 are the same volume", self.ui.classifyButton.toolTip)

    def test_a_deleted_attention_or_table_does_no_harm(self) -> None:
        self.choose_phantom()
        self.classify()
        (case,) = self.cases()
        slicer.mrmlScene.RemoveNode(case.attention)
        slicer.mrmlScene.RemoveNode(case.table)
        self.ui.registerCheckBox.setChecked(True)
        self.settle()
        self.classify()
        self.assertEqual(self.said(), "Done.")
        (case,) = self.cases()
        self.assertIsNotNone(case.attention)
        self.assertEqual(case.table.GetNumberOfRows(), 1)

    def test_leaving_and_reloading_the_module_in_the_middle(self) -> None:
        self.choose_phantom()
        number = self.press_and_pause_at("classify")
        slicer.util.reloadScriptedModule("IPMNClassifier")
        self.assertEqual(members(number), [])
        self.panel = slicer.modules.ipmnclassifier.widgetRepresentation().self()
        self.panel.enter()
        self.settle()
        self.assertFalse(self.panel.running)
        self.assertIsNotNone(self.parameters.t1Volume)
        self.classify()
        self.assertEqual(self.said(), "Done.")


class DependencyTest(PanelCase):
    """A package that is not there: the module opens, asks, and says what is missing."""

    needs_packages = False

    def setUp(self) -> None:
        absent = Need("no_such_package_at_all", "pydantic", "checking settings", 3)
        needs = mock.patch.object(dependencies, "NEEDS", (absent,))
        needs.start()
        self.addCleanup(needs.stop)
        super().setUp()

    def press(self, agreed: bool) -> mock.Mock:
        nodes = self.add_phantom()
        self.choose(nodes.t1, nodes.t2, nodes.roi)
        self.assertIn("Packages are missing", self.panel.tiles.status)
        self.assertTrue(self.ui.classifyButton.enabled)
        with mock.patch.object(slicer.util, "confirmOkCancelDisplay", return_value=agreed) as asked:
            self.ui.classifyButton.click()
        self.settle()
        return asked

    def test_the_window_says_what_from_where_and_how_large(self) -> None:
        with mock.patch.object(dependencies, "_pip") as pip:
            asked = self.press(agreed=False)
        text = asked.call_args.args[0]
        for part in ("pydantic>=", "missing", "MB", "Package Index", "Not replaced", "numpy=="):
            self.assertIn(part, text)
        pip.assert_not_called()
        self.assertIn("Nothing was installed", self.said())
        self.assertFalse(self.panel.running)

    def test_what_slicer_brings_is_held_and_a_failure_is_one_sentence(self) -> None:
        held = []
        with mock.patch.object(
            dependencies, "_pip", side_effect=lambda lines, file, windows: held.append((lines, file.read_text()))
        ):
            self.press(agreed=True)
        ((lines, constraints),) = held
        self.assertEqual([line.partition(">")[0] for line in lines], ["pydantic"])
        self.assertIn("numpy==", constraints)
        self.assertIn("SimpleITK==", constraints)
        self.assertIn("Still missing", self.said())

    def test_what_slicer_brings_is_never_replaced_even_if_too_old(self) -> None:
        needs = (Need("numpy", "numpy", "arrays", 20),)
        with (
            mock.patch.object(dependencies, "NEEDS", needs),
            mock.patch.object(dependencies, "_version", return_value="1.0"),
            mock.patch.object(dependencies, "_pip") as pip,
        ):
            self.panel.enter()
            self.settle()
            asked = self.press(agreed=True)
        asked.assert_not_called()
        pip.assert_not_called()
        self.assertIn("must not be replaced", self.said())


class BatchAndModelTest(PanelCase):
    """The sections that are closed at first."""

    def test_a_batch_without_a_table_is_one_sentence(self) -> None:
        self.panel.batch.button.click()
        self.assertIn("No table of cases is chosen", self.panel.batch.text)

    def test_the_report_names_versions_and_device(self) -> None:
        self.panel.device.report_button.click()
        self.assertTrue(until(lambda: "Python" in self.panel.device.report.plainText))
        self.assertIn(sys.version.split()[0], self.panel.device.report.plainText)
        self.assertTrue(self.panel.device.copy_button.enabled)

    def test_an_imported_model_is_chosen_and_grades(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            own = mock.patch.object(self.panel.model, "_own", Path(folder) / "own")
            with own:
                self.panel.model.add(shipped_bundle())
                self.settle()
                self.assertEqual(Path(self.parameters.bundle), Path(folder) / "own" / "ipmn-phantom-demo")
                self.choose_phantom()
                self.classify()
                self.assertEqual(self.said(), "Done.")
            self.parameters.bundle = ""
            self.settle()
        self.assertNotIn("Outdated", self.panel.resultView.text, "the very same model")

    def test_a_device_that_is_not_there_is_one_sentence(self) -> None:
        self.choose_phantom()
        self.panel.choose_device("mps")
        self.settle()
        self.ui.classifyButton.click()
        self.assertTrue(until(lambda: not self.panel.running))
        self.assertIn("The device mps cannot be used", self.said())
        self.panel.choose_device("auto")
        self.settle()
        self.classify()
        self.assertEqual(self.said(), "Done.")
        self.assertTrue(until(lambda: "GiB free" in self.panel.device.text), self.panel.device.text)

    def test_the_model_shows_its_card_and_a_folder_that_is_none_is_refused(self) -> None:
        self.ui.modelButton.collapsed = False
        self.settle()
        self.assertEqual(self.panel.model.list.currentText, "ipmn-phantom-demo")
        self.assertIn("Apache-2.0", self.panel.model.facts.text)
        self.assertIn("must not be used for", self.panel.model.card.plainText)
        with tempfile.TemporaryDirectory() as folder, self.assertRaisesRegex(Exception, "not a model bundle"):
            self.panel.model.add(Path(folder))


if __name__ == "__main__":
    unittest.main()
