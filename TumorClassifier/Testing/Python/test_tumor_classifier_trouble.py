"""What can go wrong in the panel: one sentence each, and a panel that works on."""

from __future__ import annotations

import os
import signal
import tempfile
import unittest
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import numpy as np
import slicer
import slicer.util

from cadx.errors import InputError
from tumor_case import (
    POSIX,
    ClosedSections,
    MissingPackages,
    TumorCase,
    WorkTroubles,
    answering,
    phantom,
    until,
)


def _raising(error: Exception) -> Callable[[], object]:
    def raise_it() -> object:
        raise error

    return raise_it


class MissingInputTest(TumorCase):
    """A disabled button says why."""

    def test_each_input_that_is_missing_is_named(self) -> None:
        self.assertIn("Choose a volume, or open a picture.", self.reason())
        _image, labels = self.choose_head()
        self.assertTrue(self.ui.classifyButton.enabled)
        slicer.mrmlScene.RemoveNode(labels)
        self.read_from("TOUCHED")
        self.assertIn("no segment and no label map", self.reason())
        self.read_from("NAMED")
        self.assertIn("No slices are named", self.reason())
        self.read_from("ALL")
        self.assertTrue(self.ui.classifyButton.enabled)
        self.parameters.image = None
        self.assertIn("Choose a volume, or open a picture.", self.reason())

    def test_a_view_outside_the_volume_has_no_slice(self) -> None:
        self.choose_head()
        view = slicer.mrmlScene.GetSingletonNode("Red", "vtkMRMLSliceNode")
        view.JumpSliceByOffsetting(0.0, 0.0, 500.0)
        self.assertIn("No axial slice of Head phantom is in view", self.reason())
        self.assertIn("No axial slice of Head phantom is in view", self.panel.slices.text)
        self.assertNotIn("None", self.panel.slices.text)
        self.assertIsNone(self.panel.picture.shown)
        self.bring(5)
        self.assertTrue(self.ui.classifyButton.enabled)
        self.assertIsNotNone(self.panel.picture.shown)

    def test_an_empty_mask_and_one_elsewhere_are_said(self) -> None:
        _image, labels = self.choose_head()
        self.read_from("TOUCHED")
        slicer.util.updateVolumeFromArray(labels, np.zeros_like(phantom().tumour.voxels))
        self.assertIn("is empty", self.reason())
        slicer.util.updateVolumeFromArray(labels, phantom().tumour.voxels)
        labels.SetOrigin(0.0, 0.0, 2000.0)
        self.assertIn("touches no slice", self.reason())

    def test_slices_that_show_nothing_are_said(self) -> None:
        image, _mask = self.choose_head()
        voxels = np.array(phantom().volume.voxels)
        voxels[5] = 7
        slicer.util.updateVolumeFromArray(image, voxels)
        self.bring(5)
        self.assertIn("shows nothing in the chosen slices", self.reason())
        self.read_from("ALL")
        self.assertIn("5", self.ui.warningsLabel.text)
        self.assertEqual(self.classify_well()["slices"]["empty"], [5])
        self.assertIn("1 slice shows nothing and was left out.", self.panel.along.text)
        slicer.util.updateVolumeFromArray(image, np.full_like(voxels, 3))
        self.assertIn("shows nothing in the chosen slices", self.reason())

    def test_a_bundle_for_volumes_with_a_roi_is_refused(self) -> None:
        from cadx.library import shipped_bundle

        self.choose_head()
        self.parameters.bundle = str(shipped_bundle())
        self.assertIn("for volumes with a ROI", self.reason())
        with (
            tempfile.TemporaryDirectory() as folder,
            mock.patch.object(self.panel.model, "_own", Path(folder)),
            self.assertRaisesRegex(InputError, "is a bundle for ipmn, not for brain-tumor-binary"),
        ):
            self.panel.model.add(shipped_bundle())
        self.parameters.bundle = "/nowhere"
        self.assertIn("nowhere", self.reason())
        self.parameters.bundle = ""
        self.settle()
        self.assertTrue(self.ui.classifyButton.enabled)

    def test_a_model_that_cannot_be_loaded_is_tried_once_and_not_at_every_move(self) -> None:
        asked = []

        def fail(**options: object) -> object:
            asked.append(options)
            return SimpleNamespace(poll=lambda: True, wait=_raising(InputError("The device cannot be used.")))

        self.panel.loading.worker_ended()
        self.addCleanup(self.panel.loading.worker_ended)
        self.addCleanup(self.panel.choose_device, "auto")
        with mock.patch.object(self.panel.logic, "describeInBackground", fail):
            self.choose_head()
            for index in (3, 4, 5, 6):
                self.bring(index)
                self.assertTrue(until(lambda: not self.panel._poller.busy))
            self.assertEqual(len(asked), 1)
            self.panel.choose_device("cpu")
            self.settle()
            self.assertTrue(until(lambda: not self.panel._poller.busy))
            self.assertEqual([one["device"] for one in asked], ["auto", "cpu"])
        self.assertEqual(self.panel.log.text.count("The device cannot be used."), 2)

    def test_a_picture_that_cannot_be_read_is_one_sentence(self) -> None:
        self.choose_head()
        before, chosen = slicer.mrmlScene.GetNumberOfNodes(), self.parameters.image
        with tempfile.TemporaryDirectory() as name:
            file = Path(name) / "broken.png"
            file.write_bytes(b"no picture at all")
            self.assert_not_opened(file, r"broken\.png is no PNG, JPEG, BMP or TIFF image; export it as PNG\.$")
            self.assert_not_opened(Path(name) / "gone.png", r"gone\.png is not there")
            self.assert_not_opened(Path(name) / "volume.nii.gz", "volume.nii.gz is not there")
        self.settle()
        self.assertEqual(slicer.mrmlScene.GetNumberOfNodes(), before)
        self.assertIs(self.parameters.image, chosen)

    def test_nothing_is_opened_where_no_file_is_chosen(self) -> None:
        before = slicer.mrmlScene.GetNumberOfNodes()
        with answering(self.module, ""):
            self.ui.openButton.click()
        self.assertEqual(slicer.mrmlScene.GetNumberOfNodes(), before)


@unittest.skipUnless(POSIX, "workers are paused and ended by signals")
class TroubleTest(WorkTroubles, TumorCase):
    """Work that is cancelled or dies."""

    stages = ("prepare", "load model", "classify")

    def test_an_image_deleted_meanwhile_is_one_sentence(self) -> None:
        image, _mask = self.choose_head()
        number = self.press_and_pause_at("classify")
        slicer.mrmlScene.RemoveNode(image)
        os.killpg(number, signal.SIGCONT)
        self.assertTrue(until(lambda: not self.panel.running))
        self.settle()
        self.assertIn("The image was removed from the scene meanwhile", self.said())
        self.assertEqual(self.cases(), [])
        self.assertIn("Choose a volume", self.reason())

    def test_a_result_is_shown_where_packages_are_missing(self) -> None:
        self.choose_head()
        self.read_from("ALL")
        self.classify_well()
        wanting = mock.Mock(side_effect=ImportError("pydantic"))
        with (
            mock.patch.object(self.panel, "_installed", False),
            mock.patch.multiple(self.panel.logic, stack=wanting, sliceInView=wanting, requestHash=wanting),
        ):
            self.panel._update()
            self.panel.along.click(2)
        wanting.assert_not_called()
        self.assertEqual(self.panel.along.count, 12)

    def test_a_deleted_map_or_table_does_no_harm(self) -> None:
        self.choose_head()
        self.classify_well()
        (case,) = self.cases()
        for node in (case.attention, case.table, case.slices):
            slicer.mrmlScene.RemoveNode(node)
        self.settle()
        self.read_from("ALL")
        self.classify_well()
        (case,) = self.cases()
        self.assertIsNotNone(case.attention)
        self.assertEqual((case.table.GetNumberOfRows(), case.slices.GetNumberOfRows()), (1, 12))


class DependencyTest(MissingPackages, TumorCase):
    """A package that is not there: the module opens, asks, and says what is missing."""

    def test_a_picture_is_not_opened_without_them(self) -> None:
        before = slicer.mrmlScene.GetNumberOfNodes()
        with mock.patch.object(slicer.util, "confirmOkCancelDisplay", return_value=False):
            self.assert_not_opened(Path("some.png"), "Nothing was installed")
        self.assertEqual(slicer.mrmlScene.GetNumberOfNodes(), before)


class BatchAndModelTest(ClosedSections, TumorCase):
    """The sections that are closed at first."""

    bundle = "brain-tumor-type"


if __name__ == "__main__":
    unittest.main()
