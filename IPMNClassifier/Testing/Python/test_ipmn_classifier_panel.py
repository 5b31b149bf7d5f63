"""A radiologist's walk through the panel, and what the panel promises meanwhile."""

from __future__ import annotations

import csv
import json
import os
import signal
import tempfile
import time
import unittest
from pathlib import Path

import numpy as np
import slicer
import slicer.util

from cadx.roi import Roi
from cadx.slicer import node_to_roi, nodes_of_class, set_roi
from ipmn_case import POSIX, IpmnCase, WorkPromises, layers, phantom, shown_point, until


class RadiologistTest(IpmnCase):
    """From two volumes in the scene to an exported result, and back from a saved scene."""

    def test_from_volumes_to_a_result_and_back_from_the_file(self) -> None:
        self.images_are_chosen_by_themselves()
        self.a_roi_is_placed_and_the_grid_appears()
        self.classify_shows_stages_and_a_result()
        self.attention_lies_over_the_images()
        self.a_tile_brings_the_views_there()
        self.the_result_is_exported()
        self.all_is_back_after_saving_and_loading()

    def images_are_chosen_by_themselves(self) -> None:
        self.nodes = self.add_phantom()
        slicer.mrmlScene.RemoveNode(self.nodes.roi)
        self.settle()
        self.assertIs(self.parameters.t1Volume, self.nodes.t1)
        self.assertIs(self.parameters.t2Volume, self.nodes.t2)
        self.assertIn("Guessed: T1 by its name, T2 by its name", self.ui.guessLabel.text)
        self.assertFalse(self.ui.classifyButton.enabled)
        self.assertIn("Place a ROI", self.ui.classifyButton.toolTip)

    def a_roi_is_placed_and_the_grid_appears(self) -> None:
        self.ui.placeButton.click()
        self.settle()
        roi = self.parameters.roi
        self.assertIsNotNone(roi)
        self.assertTrue(self.ui.placeButton.checked)
        corners = phantom().roi.corners_ras()
        # the two clicks that Slicer's place mode turns into a box
        for corner in (corners.min(axis=0), corners.max(axis=0)):
            roi.AddControlPoint(*corner.tolist())
        mouse = slicer.mrmlScene.GetNodeByID("vtkMRMLInteractionNodeSingleton")
        mouse.SwitchToViewTransformMode()
        set_roi(roi, phantom().roi)
        self.settle()
        self.assertFalse(self.ui.placeButton.checked)
        edges = zip(("R-L", "A-P", "S-I"), phantom().roi.size_mm, strict=True)
        self.assertIn(" x ".join(f"{name} {edge:.0f}" for name, edge in edges), self.ui.sizeLabel.text)
        self.assertTrue(until(lambda: self.panel.tiles.shown is not None), self.panel.tiles.status)
        self.assertRegex(self.ui.windowLabel.text, r"slices \d+-\d+ of \d+-\d+")
        self.assertTrue(self.ui.classifyButton.enabled)
        tiles = self.panel.tiles.shown.pixels
        grid = self.panel.logic.buildGrid(self.nodes.t1, self.nodes.t2, roi)
        size = grid.shape[-1] // 3
        for channel in range(2):
            for number in range(9):
                row, column = divmod(number, 3)
                fed = grid[channel, row * size : (row + 1) * size, column * size : (column + 1) * size]
                np.testing.assert_array_equal(tiles[channel, number, :, :, 0], np.round(fed * 255).astype(np.uint8))

    def classify_shows_stages_and_a_result(self) -> None:
        said = []
        self.ui.classifyButton.click()
        self.assertEqual(self.ui.classifyButton.text, "Cancel")
        self.assertFalse(self.ui.progressBar.isHidden())
        self.assertTrue(until(lambda: said.append(self.said()) or not self.panel.running))
        self.settle()
        self.assertIn("Grading", said)
        self.assertEqual(self.said(), "Done.")
        self.assertEqual(self.ui.classifyButton.text, "Classify")
        self.assertTrue(self.ui.progressBar.isHidden())
        (case,) = self.cases()
        document = case.result()
        text = self.panel.resultView.text
        self.assertIn(document["label"], text)
        for share in document["probabilities"].values():
            self.assertIn(f"{100 * share:.1f} %", text)
        self.assertIn("means nothing on a patient", text)
        self.assertIn("Research use only, not for clinical decisions.", text)
        self.assertIn(f"case 1: T1, T2, {self.parameters.roi.GetName()}", text)
        self.assertEqual(case.table.GetNumberOfRows(), 1)
        self.assertIs(case.t1, self.nodes.t1)

    def attention_lies_over_the_images(self) -> None:
        (case,) = self.cases()
        attention = case.attention.GetID()
        self.assertTrue(layers())
        for one in layers():
            self.assertEqual(one.GetBackgroundVolumeID(), self.nodes.t1.GetID())
            self.assertEqual(one.GetForegroundVolumeID(), attention)
        explanation = self.panel.explanation
        explanation.opacity.setValue(0.8)
        explanation.threshold.setValue(0.6)
        self.settle()
        self.assertAlmostEqual(self.parameters.opacity, 0.8)
        for one in layers():
            self.assertAlmostEqual(one.GetForegroundOpacity(), 0.8)
        shown = case.attention.GetDisplayNode()
        low, high = shown.GetWindowLevelMin(), shown.GetWindowLevelMax()
        self.assertAlmostEqual(shown.GetLowerThreshold(), low + 0.6 * (high - low), places=4)
        explanation.show_on(1)
        self.settle()
        for one in layers():
            self.assertEqual(one.GetBackgroundVolumeID(), self.nodes.t2.GetID())
            self.assertEqual(one.GetForegroundVolumeID(), attention)
        explanation.show_on(2)
        self.settle()
        backgrounds = {one.GetLayoutName(): one.GetBackgroundVolumeID() for one in layers()}
        self.assertEqual(backgrounds["Red"], self.nodes.t1.GetID())
        self.assertEqual(backgrounds["Yellow"], self.nodes.t2.GetID())
        explanation.show_on(3)
        self.settle()
        self.assertEqual({one.GetForegroundVolumeID() for one in layers()}, {None})
        explanation.show_on(0)
        self.settle()

    def a_tile_brings_the_views_there(self) -> None:
        tiles = self.panel.tiles.shown
        for number in (0, 7):
            self.panel.tiles.click(number, channel=1)
            self.assertAlmostEqual(shown_point(2, "Red"), tiles.centres_ras[number][2], places=3)
            self.settle()
            self.assertEqual({one.GetBackgroundVolumeID() for one in layers()}, {self.nodes.t2.GetID()})
        grey = tiles.pixels[0].reshape(9, -1, 3).astype(int)
        self.assertTrue((np.ptp(grey, axis=-1) > 0).any(), "attention is drawn on the tiles")
        self.panel.explanation.on_tiles.setChecked(False)
        self.settle()
        self.assertEqual(np.ptp(self.panel.tiles.shown.pixels, axis=-1).max(), 0)
        self.panel.explanation.on_tiles.setChecked(True)
        self.settle()

    def the_result_is_exported(self) -> None:
        export = self.panel.export
        with tempfile.TemporaryDirectory() as folder:
            export.folder.setCurrentPath(folder)
            export.button.click()
            names = sorted(path.name for path in Path(folder).iterdir())
            self.assertEqual(names, ["grid.png", "result.json", "summary.csv"])
            written = json.loads((Path(folder) / "result.json").read_text(encoding="utf-8"))
            (case,) = self.cases()
            self.assertEqual(written, case.result())
            with (Path(folder) / "summary.csv").open(encoding="utf-8", newline="") as stream:
                (row,) = csv.DictReader(stream)
            self.assertEqual((row["case"], row["label"]), ("case 1", written["label"]))

    def all_is_back_after_saving_and_loading(self) -> None:
        before, pixels = self.panel.resultView.text, self.panel.tiles.shown.pixels
        with tempfile.TemporaryDirectory() as folder:
            file = str(Path(folder) / "case.mrb")
            self.assertTrue(slicer.util.saveScene(file))
            slicer.mrmlScene.Clear(0)
            self.settle()
            self.assertIsNone(self.parameters.t1Volume)
            self.assertEqual(self.cases(), [])
            self.assertIn("No result yet", self.panel.resultView.text)
            slicer.util.loadScene(file)
        self.settle()
        self.assertEqual(self.parameters.t1Volume.GetName(), "T1")
        self.assertAlmostEqual(self.parameters.threshold, 0.6)
        self.assertAlmostEqual(self.panel.explanation.opacity.value, 0.8)
        self.assertTrue(until(lambda: self.panel.tiles.shown is not None), self.panel.tiles.status)
        self.settle()
        self.assertEqual(self.panel.resultView.text, before)
        # one level of grey: the file rounds the geometry, and with it the interpolation
        np.testing.assert_allclose(self.panel.tiles.shown.pixels.astype(int), pixels, atol=1)
        self.assertTrue(self.panel.export.button.enabled)
        with tempfile.TemporaryDirectory() as folder:
            self.panel.export.folder.setCurrentPath(folder)
            self.panel.export.button.click()
            self.assertEqual(len(list(Path(folder).iterdir())), 3)


class PromisesTest(IpmnCase):
    """What holds while the panel is used."""

    def test_a_moved_roi_renews_the_tiles_and_marks_the_result_as_old(self) -> None:
        nodes = self.choose_phantom()
        self.classify()
        before = self.panel.tiles.shown.pixels
        self.assertNotIn("Outdated", self.panel.resultView.text)
        box = node_to_roi(nodes.roi)
        set_roi(nodes.roi, Roi(box.center_ras + [6.0, 0.0, 0.0], box.size_mm, box.axes))
        self.settle()
        self.assertFalse(np.array_equal(self.panel.tiles.shown.pixels, before))
        self.assertIn("Outdated", self.panel.resultView.text)
        self.assertFalse(self.panel.export.button.enabled)
        self.assertIn("outdated", self.panel.export.text)
        self.assertEqual({one.GetForegroundVolumeID() for one in layers()}, {None}, "old attention is hidden")
        set_roi(nodes.roi, box)
        self.settle()
        self.assertNotIn("Outdated", self.panel.resultView.text)

    def test_another_window_and_all_windows(self) -> None:
        nodes = self.choose_phantom()
        box = node_to_roi(nodes.roi)
        set_roi(nodes.roi, Roi(box.center_ras, box.size_mm * [1, 1, 1.5], box.axes))
        self.settle()
        self.assertTrue(self.ui.windowSlider.enabled)
        self.assertFalse(self.ui.centreButton.enabled)
        self.ui.windowSlider.setValue(0)
        self.settle()
        self.assertEqual(self.parameters.firstSlice, 0)
        heights = self.panel.tiles.shown.centres_ras @ box.axes[:, 2]
        self.classify()
        (case,) = self.cases()
        self.assertEqual(case.result()["slices"]["first"], 0)
        np.testing.assert_allclose(case.result()["slices"]["positions_mm"], heights, atol=1e-3)
        self.ui.centreButton.click()
        self.settle()
        self.assertGreater(self.ui.windowSlider.value, 0)
        self.ui.allWindowsCheckBox.setChecked(True)
        self.settle()
        self.assertRegex(self.ui.windowLabel.text, r"all \d+ sets of 9")
        self.classify()
        (case,) = self.cases()
        self.assertGreater(len(case.result()["windows"]), 1)

    def test_the_roi_is_fitted_to_a_pancreas_that_is_offered_by_itself(self) -> None:
        nodes = self.add_phantom()
        slicer.mrmlScene.RemoveNode(nodes.roi)
        mask = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "pancreas")
        slicer.util.updateVolumeFromArray(mask, phantom().pancreas.voxels)
        matrix = np.array(phantom().pancreas.geometry.ijk_to_ras)
        mask.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(matrix))
        self.settle()
        self.assertEqual(self.ui.fitSelector.currentText, "pancreas")
        self.ui.fitButton.click()
        self.settle()
        roi = node_to_roi(self.parameters.roi)
        inside = np.argwhere(phantom().pancreas.voxels > 0)[:, ::-1]
        points = phantom().pancreas.geometry.to_ras(inside)
        local = (points - roi.center_ras) @ roi.axes
        self.assertLess(np.abs(local).max(axis=0)[2], roi.size_mm[2] / 2)
        self.assertTrue((np.abs(local).max(axis=0) < roi.size_mm / 2).all())

    def test_regrading_a_case_renews_its_row_and_another_adds_one(self) -> None:
        nodes = self.choose_phantom()
        self.classify()
        self.classify()
        (case,) = self.cases()
        self.assertEqual(case.table.GetNumberOfRows(), 1)
        self.assertEqual(len(nodes_of_class(slicer.mrmlScene, "vtkMRMLScalarVolumeNode")), 3)
        other = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsROINode", "other")
        set_roi(other, node_to_roi(nodes.roi))
        self.choose(nodes.t1, nodes.t2, other)
        self.classify()
        self.assertEqual([case.case for case in self.cases()], ["case 1", "case 2"])
        self.assertEqual(self.cases()[0].table.GetNumberOfRows(), 2)

    def test_a_result_belongs_to_its_images(self) -> None:
        first = self.choose_phantom()
        self.parameters.caseName = "first"
        self.classify()
        attention = self.cases()[0].attention.GetID()
        second = self.add_phantom()
        self.choose(second.t1, second.t2, second.roi)
        self.assertIn("No result for what is chosen", self.panel.resultView.text)
        self.assertFalse(self.panel.export.button.enabled)
        self.assertEqual(self.parameters.caseName, "", "a name does not go over to the next patient")
        for one in layers():
            self.assertIsNone(one.GetForegroundVolumeID(), "nor does attention")
            self.assertEqual(one.GetBackgroundVolumeID(), second.t1.GetID())
        self.parameters.caseName = "first"
        self.settle()
        self.ui.classifyButton.click()
        self.assertIn("belongs to other images", self.said())
        self.choose(first.t1, first.t2, first.roi)
        self.assertIn("first: T1", self.panel.resultView.text)
        self.assertEqual(self.parameters.caseName, "first")
        self.assertEqual({one.GetForegroundVolumeID() for one in layers()}, {attention})

    def test_registered_tiles_are_those_that_were_graded(self) -> None:
        self.choose_phantom()
        before = self.panel.tiles.shown.pixels
        self.panel.explanation.on_tiles.setChecked(False)
        self.ui.registerCheckBox.setChecked(True)
        self.settle()
        self.assertIn("before registration", self.panel.tiles.status)
        self.classify()
        self.assertNotIn("before registration", self.panel.tiles.status)
        np.testing.assert_array_equal(self.panel.tiles.shown.pixels[0], before[0])
        self.assertFalse(np.array_equal(self.panel.tiles.shown.pixels[1], before[1]))
        self.assertIn("T2 was moved by", self.panel.resultView.text)

    def test_a_roi_that_is_not_placed_again_comes_back(self) -> None:
        nodes = self.choose_phantom()
        box = node_to_roi(nodes.roi)
        self.ui.placeButton.click()
        self.settle()
        self.assertIn("Click two opposite corners", self.ui.sizeLabel.text)
        self.ui.placeButton.click()
        self.settle()
        np.testing.assert_allclose(node_to_roi(nodes.roi).size_mm, box.size_mm)
        np.testing.assert_allclose(node_to_roi(nodes.roi).center_ras, box.center_ras)

    def test_oddities_are_said_before_grading(self) -> None:
        nodes = self.choose_phantom()
        self.choose(nodes.t2, nodes.t1, nodes.roi)
        self.assertIn("T2 is chosen as T1 and looks like T2", self.ui.warningsLabel.text)
        self.choose(nodes.t1, nodes.t2, nodes.roi)
        self.assertEqual(self.ui.warningsLabel.text, "")
        box = node_to_roi(nodes.roi)
        set_roi(nodes.roi, Roi(box.center_ras, box.size_mm * [0.05, 0.05, 1], box.axes))
        self.settle()
        self.assertIn("check that it fits the organ", self.ui.warningsLabel.text)

    def test_attention_is_filed_beside_its_image(self) -> None:
        nodes = self.add_phantom()
        tree = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
        patient = tree.CreateSubjectItem(tree.GetSceneItemID(), "a patient")
        for node in (nodes.t1, nodes.t2):
            tree.SetItemParent(tree.GetItemByDataNode(node), patient)
        self.choose(nodes.t1, nodes.t2, nodes.roi)
        self.classify()
        (case,) = self.cases()
        self.assertEqual(tree.GetItemParent(tree.GetItemByDataNode(case.attention)), patient)


class WorkTest(WorkPromises, IpmnCase):
    """Work goes on in another process."""

    @unittest.skipUnless(POSIX, "the worker is paused by a signal")
    def test_the_event_loop_answers_while_the_worker_stands_still(self) -> None:
        self.choose_phantom()
        number = self.press_and_pause_at("classify")
        turns, end = 0, time.monotonic() + 1.5
        while time.monotonic() < end:
            slicer.app.processEvents()
            turns += 1
            time.sleep(0.005)
        self.assertTrue(self.panel.running)
        self.assertGreater(turns, 15, "a loop that waited for the worker would not go round")
        os.killpg(number, signal.SIGCONT)
        self.assertTrue(until(lambda: not self.panel.running))
        self.assertEqual(self.said(), "Done.")

    @unittest.skipUnless(POSIX, "processes are counted by group")
    def test_out_of_sight_nothing_is_started_and_work_goes_on(self) -> None:
        self.choose_phantom()
        number = self.press_and_pause_at("classify")
        self.panel.exit()
        self.add_phantom()
        os.killpg(number, signal.SIGCONT)
        self.assertTrue(until(lambda: not self.panel.running))
        self.assertEqual(len(self.cases()), 1)
        self.panel.enter()
        self.settle()
        self.assertIn("case 1: T1", self.panel.resultView.text)


if __name__ == "__main__":
    unittest.main()
