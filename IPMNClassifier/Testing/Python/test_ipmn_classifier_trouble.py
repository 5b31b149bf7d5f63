"""What can go wrong in the panel: one sentence each, and a panel that works on."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import unittest
from pathlib import Path
from unittest import mock

import numpy as np
import slicer
import slicer.util

from cadx.library import shipped_bundle
from cadx.roi import Roi
from cadx.slicer import node_to_roi, set_roi
from ipmn_case import POSIX, ClosedSections, IpmnCase, MissingPackages, WorkTroubles, phantom, until


class MissingInputTest(IpmnCase):
    """A disabled button says why."""

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
class TroubleTest(WorkTroubles, IpmnCase):
    """Work that is cancelled or dies."""

    stages = ("correct", "crop", "load model", "classify")

    def test_after_cancelling_a_case_can_be_graded(self) -> None:
        self.choose_phantom()
        self.press_and_pause_at("classify")
        self.ui.classifyButton.click()
        self.assertTrue(until(lambda: not self.panel.running))
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


class DependencyTest(MissingPackages, IpmnCase):
    """A package that is not there: the module opens, asks, and says what is missing."""


class BatchAndModelTest(ClosedSections, IpmnCase):
    """The sections that are closed at first."""

    bundle = "ipmn-phantom-demo"

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


if __name__ == "__main__":
    unittest.main()
