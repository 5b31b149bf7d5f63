"""What every module's panel promises: tests to be mixed into a module's own :class:`panel_case.PanelCase`."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import time
import unittest
from pathlib import Path
from typing import Any, ClassVar
from unittest import mock

import slicer
import slicer.util

from cadx.doctor import Need
from cadx.slicer import dependencies, nodes_of_class

from panel_case import layers, members, resident_megabytes, until

CANCEL_WITHIN_S = 2.0
# a worker that stands here has not imported torch yet, which takes it seconds
EARLY = "load model"


class WorkPromises:
    """Work leaves nothing behind."""

    @unittest.skipUnless(sys.platform == "linux", "memory is read from /proc")
    def test_twenty_runs_do_not_make_the_process_grow(self: Any) -> None:
        self.choose_case()
        for _run in range(3):
            self.classify()
        before = resident_megabytes()
        for _run in range(20):
            self.classify()
        self.assertLess(resident_megabytes() - before, 50)
        self.assertEqual(len(self.cases()), 1)

    def test_work_that_ends_out_of_sight_leaves_the_views_alone(self: Any) -> None:
        self.choose_case()
        self.ui.classifyButton.click()
        self.panel.exit()
        views = nodes_of_class(slicer.mrmlScene, "vtkMRMLSliceNode")
        places = [view.GetSliceOffset() for view in views]
        shown = [(one.GetBackgroundVolumeID(), one.GetForegroundVolumeID()) for one in layers()]
        self.assertTrue(until(lambda: not self.panel.running))
        self.assertEqual(self.said(), "Done.")
        self.assertEqual([view.GetSliceOffset() for view in views], places)
        self.assertEqual([(one.GetBackgroundVolumeID(), one.GetForegroundVolumeID()) for one in layers()], shown)
        self.panel.enter()
        self.settle()
        (case,) = self.cases()
        self.assertIn(case.attention.GetID(), {one.GetForegroundVolumeID() for one in layers()})


class WorkTroubles:
    """Work that is cancelled or dies, and whose scene or panel goes."""

    stages: ClassVar[tuple[str, ...]]

    def test_cancel_at_every_stage_leaves_the_scene_as_it_was(self: Any) -> None:
        for stage in self.stages:
            with self.subTest(stage=stage):
                slicer.mrmlScene.Clear(0)
                self.choose_fresh_case()
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

    def test_a_killed_worker_is_one_sentence(self: Any) -> None:
        self.choose_case()
        os.killpg(self.press_and_pause_at(EARLY), signal.SIGKILL)
        self.assertTrue(until(lambda: not self.panel.running))
        self.assertIn("was ended by signal 9", self.said())
        self.assertEqual(self.cases(), [])
        self.classify()
        self.assertEqual(self.said(), "Done.")

    def test_leaving_the_scene_leaves_no_work_behind(self: Any) -> None:
        self.choose_case()
        number = self.press_and_pause_at(EARLY)
        slicer.mrmlScene.Clear(0)
        self.settle()
        self.assertEqual(members(number), [])
        self.assertFalse(self.panel.running)
        self.assertEqual(self.ui.classifyButton.text, "Classify")

    def test_leaving_and_reloading_the_module_in_the_middle(self: Any) -> None:
        chosen = self.choose_case()
        number = self.press_and_pause_at(EARLY)
        slicer.util.reloadScriptedModule(self.module)
        self.assertEqual(members(number), [])
        self.open_panel()
        self.settle()
        self.assertFalse(self.panel.running)
        self.assertEqual(self.panel.chosenNodes().inputs, chosen.inputs)
        self.classify()
        self.assertEqual(self.said(), "Done.")


class MissingPackages:
    """A package that is not there: the module opens, asks, and says what is missing."""

    needs_packages = False

    def setUp(self: Any) -> None:
        absent = Need("no_such_package_at_all", "pydantic", "checking settings", 3)
        needs = mock.patch.object(dependencies, "NEEDS", (absent,))
        needs.start()
        self.addCleanup(needs.stop)
        super().setUp()

    def press(self: Any, agreed: bool) -> mock.Mock:
        self.choose_unshown_case()
        self.assertIn("Packages are missing", self.fed_status())
        self.assertTrue(self.ui.classifyButton.enabled)
        with mock.patch.object(slicer.util, "confirmOkCancelDisplay", return_value=agreed) as asked:
            self.ui.classifyButton.click()
        self.settle()
        return asked

    def test_the_window_says_what_from_where_and_how_large(self: Any) -> None:
        with mock.patch.object(dependencies, "_pip") as pip:
            asked = self.press(agreed=False)
        text = asked.call_args.args[0]
        for part in ("pydantic>=", "missing", "MB", "Package Index", "Not replaced", "numpy=="):
            self.assertIn(part, text)
        pip.assert_not_called()
        self.assertIn("Nothing was installed", self.said())
        self.assertFalse(self.panel.running)

    def test_what_slicer_brings_is_held_and_a_failure_is_one_sentence(self: Any) -> None:
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

    def test_what_slicer_brings_is_never_replaced_even_if_too_old(self: Any) -> None:
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


class ClosedSections:
    """The sections that are closed at first."""

    bundle: ClassVar[str]

    def test_a_batch_without_a_table_is_one_sentence(self: Any) -> None:
        self.panel.batch.button.click()
        self.assertIn("No table of cases is chosen", self.panel.batch.text)

    def test_the_model_shows_its_card_and_a_folder_that_is_none_is_refused(self: Any) -> None:
        self.ui.modelButton.collapsed = False
        self.settle()
        self.assertEqual(self.panel.model.list.currentText, self.bundle)
        self.assertIn("Apache-2.0", self.panel.model.facts.text)
        self.assertIn("must not be used for", self.panel.model.card.plainText)
        with tempfile.TemporaryDirectory() as folder, self.assertRaisesRegex(Exception, "not a model bundle"):
            self.panel.model.add(Path(folder))
