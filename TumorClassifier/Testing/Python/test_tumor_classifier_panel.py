"""A radiologist's walk through the panel, and what the panel promises meanwhile."""

from __future__ import annotations

import csv
import json
import tempfile
import unittest
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import slicer
import slicer.util

from cadx.explain.display import percent
from cadx.slicer import nodes_of_class
from cadx.slicer.segments import mask_sources
from tumor_case import (
    PRESUMED,
    TumorCase,
    WorkPromises,
    answering,
    layers,
    phantom,
    picture_samples,
    presuming_bundle,
    until,
)

STAGES = ["Preparing the slices", "Grading"]
VOLUME_FILES = ["overlay.png", "profile.png", "result.json", "slices.png", "summary.csv"]


def foregrounds() -> set[Any]:
    return {one.GetForegroundVolumeID() for one in layers()}


class RadiologistTest(TumorCase):
    """From an empty scene to an exported result of all slices, and back from a saved scene."""

    def test_from_a_sample_to_a_result_and_back_from_the_file(self) -> None:
        self.a_head_is_made_and_chosen()
        self.the_slice_in_view_is_the_one_that_is_read()
        self.classify_shows_stages_and_a_result()
        self.the_map_lies_over_the_image()
        self.all_slices_are_read()
        self.a_bar_brings_the_views_there()
        self.the_result_is_exported()
        self.all_is_back_after_saving_and_loading()

    def a_head_is_made_and_chosen(self) -> None:
        self.assertIn("Choose a volume, or open a picture.", self.reason())
        self.ui.sampleButton.click()
        self.assertFalse(self.ui.sampleButton.enabled)
        self.assertTrue(until(lambda: self.parameters.image is not None), self.said())
        self.settle()
        self.image = self.parameters.image
        self.assertEqual(self.image.GetName(), "Head phantom")
        self.assertTrue(self.ui.sampleButton.enabled)
        self.assertTrue(self.ui.classifyButton.enabled)
        self.assertEqual([mask.label for mask in mask_sources(slicer.mrmlScene)], ["Head phantom tumour"])
        self.assertEqual({one.GetBackgroundVolumeID() for one in layers()}, {self.image.GetID()})

    def the_slice_in_view_is_the_one_that_is_read(self) -> None:
        for number in (9, phantom().best_slice):
            self.bring(number)
            self.assertIn(f"Slice {number} of 12 axial slices, 0 to 11.", self.panel.slices.text)
            np.testing.assert_array_equal(self.panel.picture.shown, self.fed(number))
            self.assertIn("The slice in view", self.panel.picture.status)

    def classify_shows_stages_and_a_result(self) -> None:
        said: list[str] = []
        show = self.panel._onProgress

        def watch(stage: str, fraction: float) -> None:
            show(stage, fraction)
            said.append(self.said())

        number = phantom().best_slice
        with mock.patch.object(self.panel, "_onProgress", watch):
            self.ui.classifyButton.click()
        self.assertEqual(self.ui.classifyButton.text, "Cancel")
        self.assertFalse(self.ui.progressBar.isHidden())
        self.assertFalse(self.ui.slicesButton.enabled)
        # the user looks on meanwhile, and turns the view
        slicer.mrmlScene.GetSingletonNode("Red", "vtkMRMLSliceNode").SetOrientation("Axial")
        self.bring(1)
        self.assertTrue(until(lambda: not self.panel.running))
        self.settle()
        self.assertEqual([text for text in dict.fromkeys(said) if text in STAGES], STAGES)
        self.assertEqual(self.said(), "Done.")
        self.assertEqual(self.ui.classifyButton.text, "Classify")
        self.assertTrue(self.ui.progressBar.isHidden())
        self.assertTrue(self.ui.slicesButton.enabled)
        (case,) = self.cases()
        document = case.result()
        text = self.panel.resultView.text
        self.assertEqual([row["slice"] for row in self.rows()], [number])
        self.assertEqual(document["label"], "tumour")
        self.assertIn("tumour", text)
        for share in document["probabilities"].values():
            self.assertIn(f"{100 * share:.1f} %", text)
        self.assertIn("means nothing on a patient", text)
        self.assertIn("Research use only, not for clinical decisions.", text)
        self.assertIn("case 1: Head phantom", text)
        self.assertNotIn("Outdated", text)
        self.assertEqual((case.table.GetNumberOfRows(), case.slices.GetNumberOfRows()), (1, 1))
        self.assertIs(case.image, self.image)
        self.assertEqual(self.panel.along.count, 1)
        self.assert_in_view(number)
        self.assertIn(f"tumour {percent(document['probabilities']['tumour'])}", self.panel.picture.status)

    def the_map_lies_over_the_image(self) -> None:
        (case,) = self.cases()
        number = phantom().best_slice
        drawn = slicer.util.arrayFromVolume(case.attention)
        self.assertEqual(np.flatnonzero(drawn.any(axis=(1, 2))).tolist(), [number])
        self.assertEqual(drawn.shape, phantom().volume.voxels.shape)
        for one in layers():
            self.assertEqual(one.GetBackgroundVolumeID(), self.image.GetID())
            self.assertEqual(one.GetForegroundVolumeID(), case.attention.GetID())
        self.assertFalse(np.array_equal(self.panel.picture.shown, self.fed(number)), "it is drawn on the picture too")
        explanation = self.panel.explanation
        explanation.opacity.setValue(0.8)
        explanation.threshold.setValue(0.6)
        self.settle()
        for one in layers():
            self.assertAlmostEqual(one.GetForegroundOpacity(), 0.8)
        shown = case.attention.GetDisplayNode()
        low, high = shown.GetWindowLevelMin(), shown.GetWindowLevelMax()
        self.assertAlmostEqual(shown.GetLowerThreshold(), low + 0.6 * (high - low), places=4)
        explanation.show_on(1)
        self.settle()
        self.assertEqual(foregrounds(), {None})
        explanation.show_on(0)
        explanation.on_tiles.setChecked(False)
        self.settle()
        self.assertEqual(foregrounds(), {case.attention.GetID()})
        np.testing.assert_array_equal(self.panel.picture.shown, self.fed(number))

    def all_slices_are_read(self) -> None:
        self.read_from("ALL")
        self.assertIn("12 axial slices, 0 to 11.", self.panel.slices.text)
        self.assertIn("Outdated", self.panel.resultView.text)
        self.assertEqual(foregrounds(), {None}, "an old map is hidden")
        document = self.classify_well()
        (case,) = self.cases()
        self.assertEqual([row["slice"] for row in self.rows()], list(range(12)))
        self.assertEqual((case.table.GetNumberOfRows(), case.slices.GetNumberOfRows()), (1, 12))
        names = [case.slices.GetColumnName(column) for column in range(case.slices.GetNumberOfColumns())]
        self.assertEqual(names[:3], ["slice", "position_mm", "label"])
        self.assertIn("p:tumour", names)
        self.assertEqual(self.panel.along.count, 12)
        suspicion = {row["slice"]: row["suspicion"] for row in self.rows()}
        first = document["slices"]["suspicious"][0]
        self.assertEqual(suspicion[first], max(suspicion.values()))
        self.assertIn(f"Most suspicious slices: {first} ({percent(suspicion[first])})", self.panel.along.text)
        self.assertIn(f"slice {first}, the most suspicious of 12 slices", self.panel.resultView.text)
        self.assert_in_view(document["slices"]["shown"])

    def a_bar_brings_the_views_there(self) -> None:
        for number in (2, phantom().best_slice):
            self.panel.along.click(number)
            self.assert_in_view(number)
            self.settle()
            np.testing.assert_array_equal(self.panel.picture.shown, self.fed(number))
            row = self.rows()[number]
            share = max(row["probabilities"].values())
            self.assertIn(f"{row['label']} {percent(share)}", self.panel.picture.status)
        self.panel.along.select(4)
        self.assert_in_view(4)
        self.settle()

    def the_result_is_exported(self) -> None:
        export = self.panel.export
        with tempfile.TemporaryDirectory() as folder:
            export.folder.setCurrentPath(folder)
            export.button.click()
            self.assertEqual(sorted(path.name for path in Path(folder).iterdir()), VOLUME_FILES)
            written = json.loads((Path(folder) / "result.json").read_text(encoding="utf-8"))
            (case,) = self.cases()
            self.assertEqual(written, case.result())
            with (Path(folder) / "summary.csv").open(encoding="utf-8", newline="") as stream:
                (row,) = csv.DictReader(stream)
            self.assertEqual((row["case"], row["label"]), ("case 1", written["label"]))

    def all_is_back_after_saving_and_loading(self) -> None:
        before, along, pixels = self.panel.resultView.text, self.panel.along.text, self.panel.picture.shown
        with tempfile.TemporaryDirectory() as folder:
            file = str(Path(folder) / "case.mrb")
            self.assertTrue(slicer.util.saveScene(file))
            slicer.mrmlScene.Clear(0)
            self.settle()
            self.assertIsNone(self.parameters.image)
            self.assertEqual(self.cases(), [])
            self.assertIn("No result yet", self.panel.resultView.text)
            self.assertEqual(self.panel.along.count, 0)
            self.assertIsNone(self.panel.picture.shown)
            slicer.util.loadScene(file)
        self.settle()
        self.assertEqual(self.parameters.image.GetName(), "Head phantom")
        self.assertAlmostEqual(self.parameters.threshold, 0.6)
        self.assertAlmostEqual(self.panel.explanation.opacity.value, 0.8)
        self.assertEqual(self.panel.resultView.text, before)
        self.assertEqual(self.panel.along.text, along)
        (case,) = self.cases()
        self.assertEqual(case.slices.GetNumberOfRows(), 12)
        self.assertEqual(foregrounds(), {case.attention.GetID()})
        self.panel.along.click(4)
        self.settle()
        np.testing.assert_array_equal(self.panel.picture.shown, pixels)
        self.panel.explanation.on_tiles.setChecked(True)
        self.settle()
        self.assertTrue(self.panel.export.button.enabled)
        with tempfile.TemporaryDirectory() as folder:
            self.panel.export.folder.setCurrentPath(folder)
            self.panel.export.button.click()
            self.assertEqual(sorted(path.name for path in Path(folder).iterdir()), VOLUME_FILES)


class SlicesTest(TumorCase):
    """Which slices are read, in which plane, by which rule."""

    def test_slices_that_a_mask_touches_are_those_where_it_has_voxels(self) -> None:
        _image, labels = self.choose_head()
        wanted = np.flatnonzero(phantom().tumour.voxels.any(axis=(1, 2))).tolist()
        self.assertTrue(0 < len(wanted) < 12)
        self.read_from("TOUCHED")
        for kind in ("label map", "segment"):
            with self.subTest(kind=kind):
                if kind == "segment":
                    segmentation = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "tumours")
                    slicer.vtkSlicerSegmentationsModuleLogic.ImportLabelmapToSegmentationNode(labels, segmentation)
                    slicer.mrmlScene.RemoveNode(labels)
                    self.settle()
                    self.assertIn("(tumours)", self.panel.slices.mask.currentText)
                ends = f"{wanted[0]} to {wanted[-1]}."
                self.assertIn(f"{len(wanted)} of 12 axial slices, {ends}", self.panel.slices.text)
                self.classify_well()
                self.assertEqual([row["slice"] for row in self.rows()], wanted)

    def test_a_mask_that_changes_chooses_other_slices(self) -> None:
        _image, labels = self.choose_head()
        self.read_from("TOUCHED")
        voxels = np.zeros_like(phantom().tumour.voxels)
        voxels[7:9, 40:50, 40:50] = 1
        slicer.util.updateVolumeFromArray(labels, voxels)
        self.settle()
        self.assertIn("2 of 12 axial slices, 7 to 8.", self.panel.slices.text)

    def test_slices_are_named_by_their_numbers(self) -> None:
        self.choose_head()
        self.read_from("NAMED")
        self.assertIn("No slices are named", self.reason())
        for text, complaint in (("seven", "names no slices"), ("3,40", "no slice 40"), ("9-3", "backwards")):
            self.panel.slices.numbers.setText(text)
            self.assertIn(complaint, self.reason(), text)
            self.assertIn(complaint, self.panel.slices.text)
            self.assertEqual(self.reason().count(". "), 0, "one sentence")
            self.assertIn("12 axial slices, 0 to 11.", self.panel.slices.text)
        self.panel.slices.numbers.setText("3,5-7")
        self.settle()
        self.assertIn("4 of 12 axial slices, 3 to 7.", self.panel.slices.text)
        self.classify_well()
        self.assertEqual([row["slice"] for row in self.rows()], [3, 5, 6, 7])
        self.assertNotIn("Outdated", self.panel.resultView.text)
        self.bring(4)
        self.assertIn("This slice was not read", self.panel.picture.status)

    def test_another_plane_is_followed_in_its_own_view(self) -> None:
        blob = self.add_blob()
        self.settle()
        self.assertIs(self.parameters.image, blob, "the only image is chosen by itself")
        self.cut("CORONAL")
        self.bring(11, "Green", "coronal")
        self.assertIn("Slice 11 of 28 coronal slices, 0 to 27.", self.panel.slices.text)
        np.testing.assert_array_equal(self.panel.picture.shown, self.fed(11, "coronal"))
        document = self.classify_well()
        self.assertEqual((document["slices"]["plane"], document["slices"]["shown"]), ("coronal", 11))
        (case,) = self.cases()
        drawn = slicer.util.arrayFromVolume(case.attention)
        self.assertEqual(np.flatnonzero(drawn.any(axis=(0, 2))).tolist(), [11])
        self.read_from("ALL")
        self.classify_well()
        self.panel.along.click(20)
        self.assert_in_view(20, "Green", "coronal")
        self.cut("ACQUIRED")
        self.assertIn("Outdated", self.panel.resultView.text)

    def test_an_old_result_s_bars_stay_those_of_its_own_plane(self) -> None:
        self.add_blob()
        self.settle()
        self.read_from("ALL")
        self.assertEqual(self.classify_well()["slices"]["plane"], "axial")
        self.bring(20, "Red", "axial")
        self.cut("CORONAL")
        self.bring(7, "Green", "coronal")
        table = self.panel.along._table.widget
        self.assertEqual(table.selectedItems()[0].text(), "20")
        self.panel.along.click(24)
        self.settle()
        self.assert_in_view(24, "Red", "axial")
        self.assert_in_view(7, "Green", "coronal")
        self.assertEqual(table.selectedItems()[0].text(), "24")

    def test_a_view_that_comes_later_is_followed_too(self) -> None:
        self.choose_head()
        view = slicer.vtkMRMLSliceNode()
        view.SetName("Extra")
        view.SetLayoutName("Extra")
        view.SetSingletonTag("Extra")
        view = slicer.mrmlScene.AddNode(view)
        self.addCleanup(slicer.mrmlScene.RemoveNode, view)
        red = slicer.mrmlScene.GetSingletonNode("Red", "vtkMRMLSliceNode")
        self.addCleanup(red.SetMappedInLayout, red.IsMappedInLayout())
        red.SetMappedInLayout(0)
        view.SetMappedInLayout(1)
        view.GetSliceToRAS().DeepCopy(red.GetSliceToRAS())
        view.UpdateMatrices()
        self.settle()
        for index in (3, 8):
            view.JumpSliceByOffsetting(*self.stack().center_ras(index).tolist())
            self.settle()
            self.assertIn(f"Slice {index} of", self.panel.slices.text)

    def test_slices_make_one_answer_by_the_rule_that_is_chosen(self) -> None:
        self.choose_head()
        self.read_from("ALL")
        for rule in ("MEAN", "MOST_CONFIDENT", "MOST_SUSPICIOUS"):
            with self.subTest(rule=rule):
                self.decide(rule)
                document = self.classify_well()
                self.assertEqual(document["rule"]["name"], rule.lower().replace("_", "-"))
                rows = self.rows()
                if rule == "MEAN":
                    mean = np.mean([row["probabilities"]["tumour"] for row in rows])
                    self.assertAlmostEqual(document["probabilities"]["tumour"], mean, places=4)
                else:
                    ranks = [row["suspicion"] for row in rows]
                    if rule == "MOST_CONFIDENT":
                        ranks = [max(row["probabilities"].values()) for row in rows]
                    best = rows[int(np.argmax(ranks))]
                    self.assertEqual(document["probabilities"], best["probabilities"])
                    self.assert_in_view(best["slice"])
        self.decide("MEAN")
        self.assertIn("Outdated", self.panel.resultView.text)


class PicturesTest(TumorCase):
    """Single pictures from files."""

    def test_a_picture_of_every_kind_is_read_as_the_slice_that_it_shows(self) -> None:
        from PIL import Image

        samples = picture_samples()
        self.choose_head()
        number = phantom().best_slice
        self.bring(number)
        wanted = self.classify_well()["probabilities"]["tumour"]
        pixels = self.stack().picture(number).pixels
        rgb = np.repeat(pixels[..., None], 3, axis=-1)
        rgb[..., 2] //= 2
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            Image.fromarray(pixels).save(folder / "grey.png")
            Image.fromarray(rgb).save(folder / "colours.jpg", quality=95)
            inverted = {"PhotometricInterpretation": "MONOCHROME1"}
            samples.write_slice_dicom(folder / "radiograph.dcm", (255 - pixels).astype(np.uint16) * 16, **inverted)
            for file, same in (("grey.png", True), ("colours.jpg", False), ("radiograph.dcm", True)):
                with self.subTest(file=file):
                    share = self.read_picture(folder / file)
                    if same:
                        self.assertAlmostEqual(share, wanted, places=4)

    def read_picture(self, path: Path) -> float:
        """Open, read, look at and export it; the probability of a tumour."""
        with answering(self.module, path):
            self.ui.openButton.click()
        self.settle()
        image = self.parameters.image
        self.assertEqual({one.GetBackgroundVolumeID() for one in layers()}, {image.GetID()})
        self.assertIn("read as it is", self.panel.slices.text)
        self.assertFalse(self.panel.slices.slices.enabled)
        self.assertEqual(self.panel.picture.status, "As fed to the model.")
        self.assertTrue(self.ui.alongButton.isHidden())
        document = self.classify_well()
        self.assertEqual(document["slices"], {})
        self.assertTrue(self.ui.alongButton.isHidden())
        case = self.panel._storedCase()
        self.assertIsNone(case.slices)
        self.assertEqual(foregrounds(), {case.attention.GetID()})
        self.assertEqual(case.attention.GetImageData().GetDimensions(), image.GetImageData().GetDimensions())
        ends = [0.0] * 6, [0.0] * 6
        for node, bounds in zip((image, case.attention), ends, strict=True):
            node.GetRASBounds(bounds)
        np.testing.assert_allclose(*ends, atol=1e-3)
        with tempfile.TemporaryDirectory() as folder:
            self.panel.export.folder.setCurrentPath(folder)
            self.panel.export.button.click()
            names = sorted(file.name for file in Path(folder).iterdir())
            self.assertEqual(names, ["overlay.png", "result.json", "summary.csv"])
        return float(document["probabilities"]["tumour"])

    def test_a_picture_comes_back_with_its_scene(self) -> None:
        from PIL import Image

        with tempfile.TemporaryDirectory() as name:
            picture, file = Path(name) / "slice.png", str(Path(name) / "case.mrb")
            self.choose_head()
            Image.fromarray(self.stack().picture(6).pixels).save(picture)
            self.panel.open_picture(picture)
            self.settle()
            self.classify_well()
            before, pixels = self.panel.resultView.text, self.panel.picture.shown
            self.assertTrue(slicer.util.saveScene(file))
            slicer.mrmlScene.Clear(0)
            self.settle()
            slicer.util.loadScene(file)
            self.settle()
        self.assertEqual(self.panel.resultView.text, before)
        # the map is kept in single precision
        np.testing.assert_allclose(self.panel.picture.shown.astype(int), pixels, atol=1)
        self.assertTrue(self.ui.alongButton.isHidden())
        self.assertTrue(self.panel.export.button.enabled)


class PromisesTest(TumorCase):
    """What holds while the panel is used."""

    def test_an_edited_image_marks_the_result_as_old_and_a_moved_view_does_not(self) -> None:
        image, _mask = self.choose_head()
        self.classify_well()
        (case,) = self.cases()
        self.bring(2)
        self.assertNotIn("Outdated", self.panel.resultView.text)
        self.assertTrue(self.panel.export.button.enabled)
        voxels = np.array(phantom().volume.voxels)
        voxels[:, 40:60, 40:60] += 50
        slicer.util.updateVolumeFromArray(image, voxels)
        self.settle()
        self.assertIn("Outdated", self.panel.resultView.text)
        self.assertFalse(self.panel.export.button.enabled)
        self.assertIn("outdated", self.panel.export.text)
        self.assertEqual(foregrounds(), {None}, "an old map is hidden")
        slicer.util.updateVolumeFromArray(image, phantom().volume.voxels)
        self.settle()
        self.assertNotIn("Outdated", self.panel.resultView.text)
        self.assertEqual(foregrounds(), {case.attention.GetID()})

    def test_a_result_of_all_slices_does_not_fit_where_none_can_be_told(self) -> None:
        _image, labels = self.choose_head()
        slicer.mrmlScene.RemoveNode(labels)
        self.read_from("ALL")
        self.classify_well()
        for which in ("NAMED", "TOUCHED"):
            self.read_from(which)
            self.assertFalse(self.ui.classifyButton.enabled)
            self.assertIn("Outdated", self.panel.resultView.text)
        self.read_from("ALL")
        self.assertNotIn("Outdated", self.panel.resultView.text)

    def test_rereading_a_case_renews_its_row_and_another_adds_one(self) -> None:
        self.choose_head()
        self.classify_well()
        self.classify_well()
        (case,) = self.cases()
        self.assertEqual(case.table.GetNumberOfRows(), 1)
        maps_and_images = nodes_of_class(slicer.mrmlScene, "vtkMRMLScalarVolumeNode")
        self.assertEqual(len([node for node in maps_and_images if not node.IsA("vtkMRMLLabelMapVolumeNode")]), 2)
        self.assertEqual(len(nodes_of_class(slicer.mrmlScene, "vtkMRMLTableNode")), 2)
        self.choose_head()
        self.classify_well()
        self.assertEqual([case.case for case in self.cases()], ["case 1", "case 2"])
        self.assertEqual(self.cases()[0].table.GetNumberOfRows(), 2)

    def test_a_result_belongs_to_its_image(self) -> None:
        first, _mask = self.choose_head()
        self.parameters.caseName = "first"
        self.classify_well()
        drawn = self.cases()[0].attention.GetID()
        second = self.add_blob()
        self.parameters.image = second
        self.settle()
        self.assertIn("No result for what is chosen", self.panel.resultView.text)
        self.assertEqual(self.panel.along.count, 0)
        self.assertFalse(self.panel.export.button.enabled)
        self.assertEqual(self.parameters.caseName, "", "a name does not go over to the next patient")
        for one in layers():
            self.assertIsNone(one.GetForegroundVolumeID(), "nor does a map")
            self.assertEqual(one.GetBackgroundVolumeID(), second.GetID())
        self.parameters.caseName = "first"
        self.settle()
        self.ui.classifyButton.click()
        self.assertIn("belongs to other images", self.said())
        self.parameters.image = first
        self.settle()
        self.assertIn("first: Head phantom", self.panel.resultView.text)
        self.assertEqual(self.parameters.caseName, "first")
        self.assertEqual(foregrounds(), {drawn})

    def test_the_map_is_filed_beside_its_image(self) -> None:
        image, _mask = self.add_head()
        tree = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
        patient = tree.CreateSubjectItem(tree.GetSceneItemID(), "a patient")
        tree.SetItemParent(tree.GetItemByDataNode(image), patient)
        self.panel.chooseSample((image, None))
        self.settle()
        self.classify_well()
        (case,) = self.cases()
        for node in (case.attention, case.slices, case.text):
            self.assertEqual(tree.GetItemParent(tree.GetItemByDataNode(node)), patient)

    def test_a_task_without_a_model_says_so(self) -> None:
        self.choose_head()
        own = mock.patch.object(self.panel.model, "_own", Path("no such folder"))
        own.start()
        self.addCleanup(own.stop)
        for task, words in ((2, "Chest radiograph"), (3, "Other pictures")):
            with self.subTest(task=words):
                self.panel.model.choose_task(task)
                self.assertIn(f"There is no model for this task ({words})", self.reason())
                self.assertIn("import one", self.reason())
                self.assertIn("No model for this task", self.panel.model.facts.text)
                self.assertIn("12 axial slices", self.panel.slices.text)
                self.assertTrue(self.panel.slices.slices.enabled)
        self.panel.model.choose_task(0)
        self.settle()
        self.assertTrue(self.ui.classifyButton.enabled)
        self.assertEqual(self.panel.model.list.currentText, "brain-tumor-phantom-demo")
        self.classify_well()

    def test_kinds_of_tumour_are_offered_by_default(self) -> None:
        """The model for patients' images comes first; the synthetic head goes with the one for such heads."""
        self.ui.modelButton.collapsed = False
        self.settle()
        self.assertEqual(self.panel.model.list.currentText, "brain-tumor-type")
        self.assertIn("CC-BY-4.0", self.panel.model.facts.text)
        self.choose_head()
        self.assertEqual(self.panel.model.list.currentText, "brain-tumor-phantom-demo")
        self.panel.model.choose_task(1)
        self.settle()
        self.assertEqual(self.panel.model.list.currentText, "brain-tumor-type")
        self.assertIn("presumes a tumour", self.ui.warningsLabel.text)


class WorkTest(WorkPromises, TumorCase):
    """Work leaves nothing behind."""


class ModelsTest(TumorCase):
    """Other models than the one that ships; last, as each has a worker of its own."""

    def test_a_model_without_a_class_for_nothing_presumes_a_finding(self) -> None:
        self.choose_head()
        self.assertEqual(self.ui.warningsLabel.text, "")
        self.read_from("ALL")
        with tempfile.TemporaryDirectory() as folder:
            self.parameters.bundle = str(presuming_bundle(Path(folder) / "presuming"))
            self.settle()
            self.assertIn("presumes a tumour", self.ui.warningsLabel.text)
            document = self.classify_well()
            self.assertIn("presumes a tumour", self.panel.resultView.text)
            self.assertEqual(list(document["probabilities"]), PRESUMED)
            self.assertNotIn("suspicious", document["slices"])
            self.assertNotIn("suspicion", document["slices"]["table"][0])
            self.assertIn("slices are not ranked", self.panel.along.text)
            self.assertNotIn("Most suspicious slices", self.panel.along.text)
            self.assertEqual(document["rule"]["name"], "mean")
            self.decide("MOST_SUSPICIOUS")
            self.assertIn("no slice is the most suspicious", self.reason())
            self.decide("AUTOMATIC")


if __name__ == "__main__":
    unittest.main()
