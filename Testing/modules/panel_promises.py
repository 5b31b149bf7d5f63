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
from cadx.slicer import dependencies

from panel_case import POSIX, members, resident_megabytes, until

CANCEL_WITHIN_S = 2.0


class WorkPromises:
    """Work goes on in another process, and goes when its scene goes."""

    @unittest.skipUnless(POSIX, "the worker is paused by a signal")
    def test_the_event_loop_answers_while_the_worker_stands_still(self: Any) -> None:
        self.choose_case()
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

    @unittest.skipUnless(POSIX, "processes are counted by group")
    def test_out_of_sight_nothing_is_started_and_work_goes_on(self: Any) -> None:
        self.choose_case()
        number = self.press_and_pause_at("classify")
        self.panel.exit()
        self.add_another()
        os.killpg(number, signal.SIGCONT)
        self.assertTrue(until(lambda: not self.panel.running))
        self.assertEqual(len(self.cases()), 1)
        self.panel.enter()
        self.settle()
        (case,) = self.cases()
        self.assertIn(f"case 1: {case.reference.GetName()}", self.panel.resultView.text)

    @unittest.skipUnless(POSIX, "processes are counted by group")
    def test_leaving_the_scene_leaves_no_work_behind(self: Any) -> None:
        self.choose_case()
        number = self.press_and_pause_at("classify")
        slicer.mrmlScene.Clear(0)
        self.settle()
        self.assertEqual(members(number), [])
        self.assertFalse(self.panel.running)
        self.assertEqual(self.ui.classifyButton.text, "Classify")


class WorkTroubles:
    """Work that is cancelled or dies."""

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

    def test_after_cancelling_a_case_can_be_graded(self: Any) -> None:
        self.choose_case()
        self.press_and_pause_at("classify")
        self.ui.classifyButton.click()
        self.assertTrue(until(lambda: not self.panel.running))
        self.classify()
        self.assertEqual(self.said(), "Done.")

    def test_a_killed_worker_is_one_sentence(self: Any) -> None:
        self.choose_case()
        os.killpg(self.press_and_pause_at("classify"), signal.SIGKILL)
        self.assertTrue(until(lambda: not self.panel.running))
        self.assertIn("was ended by signal 9", self.said())
        self.assertEqual(self.cases(), [])
        self.classify()
        self.assertEqual(self.said(), "Done.")

    def test_a_worker_that_talks_nonsense_is_one_sentence(self: Any) -> None:
        self.choose_case()
        with tempfile.TemporaryDirectory() as folder:
            program = Path(folder) / "python"
            program.write_text("#!/bin/sh\necho nonsense\nsleep 60\n")
            program.chmod(0o755)
            self.panel.logic.end()
            background = self.panel.logic.background(**self.panel.modelOptions())
            with mock.patch.object(background, "_python", str(program)):
                self.ui.classifyButton.click()
                self.assertTrue(until(lambda: not self.panel.running))
        self.assertIn("is no event", self.said())
        self.classify()
        self.assertEqual(self.said(), "Done.")

    def test_leaving_and_reloading_the_module_in_the_middle(self: Any) -> None:
        chosen = self.choose_case()
        number = self.press_and_pause_at("classify")
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

    def test_the_report_names_versions_and_device(self: Any) -> None:
        self.panel.device.report_button.click()
        self.assertTrue(until(lambda: "Python" in self.panel.device.report.plainText))
        self.assertIn(sys.version.split()[0], self.panel.device.report.plainText)
        self.assertTrue(self.panel.device.copy_button.enabled)

    def test_an_imported_model_is_chosen_and_grades(self: Any) -> None:
        from cadx.library import shipped_bundle

        with tempfile.TemporaryDirectory() as folder:
            own = mock.patch.object(self.panel.model, "_own", Path(folder) / "own")
            with own:
                self.panel.model.add(shipped_bundle(self.bundle))
                self.settle()
                self.assertEqual(Path(self.parameters.bundle), Path(folder) / "own" / self.bundle)
                self.choose_case()
                self.classify()
                self.assertEqual(self.said(), "Done.")
            self.parameters.bundle = ""
            self.settle()
        self.assertNotIn("Outdated", self.panel.resultView.text, "the very same model")

    def test_a_device_that_is_not_there_is_one_sentence(self: Any) -> None:
        self.choose_case()
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

    def test_the_model_shows_its_card_and_a_folder_that_is_none_is_refused(self: Any) -> None:
        self.ui.modelButton.collapsed = False
        self.settle()
        self.assertEqual(self.panel.model.list.currentText, self.bundle)
        self.assertIn("Apache-2.0", self.panel.model.facts.text)
        self.assertIn("must not be used for", self.panel.model.card.plainText)
        with tempfile.TemporaryDirectory() as folder, self.assertRaisesRegex(Exception, "not a model bundle"):
            self.panel.model.add(Path(folder))
