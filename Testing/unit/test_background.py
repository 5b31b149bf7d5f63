"""Grading in a worker process gives what the classifier gives, prepared ahead and cancelled at once."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cadx import output
from cadx.background import KEPT_CASES, BackgroundClassifier
from cadx.child import ChildError
from cadx.classify import Classifier, Options
from cadx.errors import BundleError, CancelledError, InputError, RefusedError
from cadx.result import Result
from cadx.roi import Roi


@pytest.fixture
def background(bundle):
    classifier = BackgroundClassifier(bundle.folder, "cpu")
    yield classifier
    classifier.close()


def moved(case, shift):
    return replace(case, roi=Roi(case.roi.center_ras + shift, case.roi.size_mm, case.roi.axes))


def test_the_reading_is_that_of_the_classifier(background, bundle, case, tmp_path):
    expected = Classifier(bundle, "cpu").classify(case)
    found = background.classify(case).result
    plain = {"timings_s": 0}
    assert {**found.result.to_json(), **plain} == {**expected.result.to_json(), **plain}
    np.testing.assert_array_equal(found.shown.tensor, expected.shown.tensor)
    np.testing.assert_allclose(found.shown.grid_map, expected.shown.grid_map, atol=1e-5)
    np.testing.assert_allclose(found.attention.voxels, expected.attention.voxels, atol=1e-5)
    assert found.attention.geometry.is_close(expected.attention.geometry)
    written = output.write_reading(tmp_path / "out", case, found)
    assert {"result.json", "grid.png", "attention.nii.gz"} <= {p.name for p in written}


@pytest.mark.parametrize("options", [Options(windows="all"), Options(explain=False), Options(start=0)])
def test_options_reach_the_worker(background, bundle, case, options):
    found = background.classify(case, options).result
    expected = Classifier(bundle, "cpu").classify(case, options)
    assert found.result.probabilities == expected.result.probabilities
    assert found.result.options == expected.result.options
    assert (found.attention is None) == (expected.attention is None)


def test_what_was_prepared_ahead_shows_the_grid_that_is_fed(background, case):
    assert background.prepared(case) is None
    background.prepare(case).wait()
    assert background.prepare(case) is None
    for shift in ([0, 0, 0], [4, -3, 0]):
        ahead = background.prepared(moved(case, shift))
        fed = background.classify(moved(case, shift)).result
        np.testing.assert_array_equal(ahead.grid(ahead.window()), fed.shown.tensor)


def test_warnings_come_through_as_the_classifier_gives_them(background, bundle, case):
    t1 = replace(case.images["T1"], frame_of_reference="1.2.1", oriented=False)
    odd = replace(case, images={"T1": t1, "T2": replace(case.images["T2"], frame_of_reference="1.2.2")})
    expected = Classifier(bundle, "cpu").classify(odd).result
    assert [n.code for n in expected.warnings] == ["no-orientation", "frame-of-reference"]
    assert background.classify(odd).result.result.warnings == expected.warnings


def test_an_earlier_answer_stays_when_another_is_made(background, case):
    first = background.classify(case).result
    before = first.attention.voxels.copy()
    _ = background.classify(moved(case, [9, 0, 0])).result
    np.testing.assert_array_equal(first.attention.voxels, before)


def test_what_cannot_be_graded_is_raised_at_once_and_starts_nothing(background, case):
    with pytest.raises(InputError, match="outside T1"):
        background.classify(moved(case, [900, 0, 0]))
    low = replace(case, roi=Roi(case.roi.center_ras, case.roi.size_mm * [1, 1, 0.3], case.roi.axes))
    with pytest.raises(RefusedError, match="enlarge it by"):
        background.classify(low)
    assert background._worker is None
    with pytest.raises(InputError, match="cannot start at slice 7"):
        _ = background.classify(case, Options(start=7)).result


def test_after_cancel_the_next_job_finds_what_was_prepared(background, case):
    background.prepare(case).wait()
    job = background.classify(case)
    job.cancel()
    with pytest.raises(CancelledError):
        _ = job.result
    stages = []
    again = background.classify(case, progress=lambda stage, fraction: stages.append(stage))
    assert again.result.result.status == "ok"
    assert "correct T1" not in stages


def test_a_worker_that_was_killed_is_one_sentence_and_the_next_job_works(background, case):
    job = background.classify(case)
    background._worker.child.process.kill()
    with pytest.raises(ChildError, match="ended by signal 9"):
        _ = job.result
    assert background.classify(case).result.result.status == "ok"


def test_nothing_is_left_when_it_is_closed(bundle, case):
    background = BackgroundClassifier(bundle.folder, "cpu")
    _ = background.classify(case).result
    scratch, process = background._scratch, background._worker.child.process
    assert scratch.is_dir()
    background.close()
    assert not scratch.exists()
    assert process.poll() is not None


def test_only_the_latest_cases_are_kept(background, case):
    for n in range(KEPT_CASES + 2):
        t1 = case.images["T1"].with_voxels(case.images["T1"].voxels + n)
        background.prepared(replace(case, images={**case.images, "T1": t1}))
        time.sleep(0.02)
    assert len(list(background._cases.iterdir())) == KEPT_CASES


def test_jobs_keep_their_own_answers_whatever_comes_after(background, case):
    """Other windows, another ROI and more patients than are kept, all asked before the first is taken."""
    moved = replace(case, roi=replace(case.roi, center_ras=case.roi.center_ras + [6.0, 0, 0]))
    voxels = case.images["T1"].voxels
    others = [
        replace(case, images={**case.images, "T1": case.images["T1"].with_voxels(voxels + n)})
        for n in range(1, KEPT_CASES + 2)
    ]
    expected = [background.classify(one).result for one in (case, moved)]
    pending = [background.classify(one) for one in (case, moved, *others)]
    assert pending[-1].result.result.label
    for job, alone in zip(pending, expected, strict=False):
        assert job.result.result.probabilities == alone.result.probabilities
        np.testing.assert_array_equal(job.result.attention.voxels, alone.attention.voxels)
        np.testing.assert_array_equal(job.result.shown.grid_map, alone.shown.grid_map)
        np.testing.assert_array_equal(job.result.shown.tensor, alone.shown.tensor)
    for job in pending:
        assert job.result.result.status == "ok"
    assert list(background._answers.iterdir()) == []


def test_closed_before_the_result_was_taken_is_one_sentence(background, case):
    job = background.classify(case)
    while not job.poll():
        time.sleep(0.01)
    background.close()
    with pytest.raises(InputError, match="closed before the result was taken"):
        _ = job.result


def test_nothing_stays_behind_when_a_program_ends_without_closing(bundle, case, tmp_path):
    from cadx.io.exchange import put_volume

    for role, volume in case.images.items():
        put_volume(tmp_path, role, volume)
    code = (
        "import sys, numpy as np\n"
        "from pathlib import Path\n"
        "from cadx.background import BackgroundClassifier\n"
        "from cadx.case import Case\n"
        "from cadx.io.exchange import get_volume\n"
        "from cadx.roi import Roi\n"
        "folder = Path(sys.argv[1])\n"
        "images = {role: get_volume(folder, role) for role in ('T1', 'T2')}\n"
        "center, size = (np.array(numbers) for numbers in (CENTER, SIZE))\n"
        "classifier = BackgroundClassifier(Path(sys.argv[2]), 'cpu')\n"
        "job = classifier.classify(Case(images, Roi(center, size)))\n"
        "print(classifier._scratch, classifier.worker_id)\n"
    )
    code = code.replace("CENTER", str(case.roi.center_ras.tolist())).replace("SIZE", str(case.roi.size_mm.tolist()))
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path), str(bundle.folder)], capture_output=True, text=True, check=True
    )
    scratch, worker = done.stdout.split()
    assert not Path(scratch).exists()
    assert not any(Path(f"/proc/{worker}").glob("cmdline")) or "Z" in Path(f"/proc/{worker}/stat").read_text()


def test_a_bad_bundle_is_known_before_anything_starts(tmp_path):
    with pytest.raises(BundleError):
        BackgroundClassifier(tmp_path)


def test_a_result_comes_back_from_its_json(background, case):
    result = background.classify(case).result.result
    again = Result.from_json(json.loads(json.dumps(result.to_json())))
    assert again.to_json() == result.to_json()
    with pytest.raises(InputError, match="schema"):
        Result.from_json({"schema": "other"})


def test_torch_does_not_load_into_the_process_that_asks(bundle, case, tmp_path):
    from cadx.io.exchange import put_volume

    for role, volume in case.images.items():
        put_volume(tmp_path, role, volume)
    (tmp_path / "ask.py").write_text(
        "import sys\n"
        "import numpy as np\n"
        "from pathlib import Path\n"
        "from cadx.background import BackgroundClassifier\n"
        "from cadx.case import Case\n"
        "from cadx.io.exchange import get_volume\n"
        "from cadx.roi import Roi\n"
        "if __name__ == '__main__':\n"
        "    folder = Path(sys.argv[1])\n"
        "    images = {role: get_volume(folder, role) for role in ('T1', 'T2')}\n"
        "    g = images['T1'].geometry\n"
        "    case = Case(images, Roi(g.center_ras, np.array([70.0, 56.0, 9 * 5.5]), g.axes))\n"
        "    background = BackgroundClassifier(Path(sys.argv[2]), 'cpu')\n"
        "    print(background.classify(case).result.result.status)\n"
        "    background.close()\n"
        "    print(sorted({'torch', 'timm', 'monai'} & set(sys.modules)))\n"
    )
    command = [sys.executable, str(tmp_path / "ask.py"), str(tmp_path), str(bundle.folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:2] == ["ok", "[]"]
    assert Path(bundle.folder).is_dir()
