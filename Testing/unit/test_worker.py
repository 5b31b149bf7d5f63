"""The worker and its panel side: same answers as the command line, and nothing left whatever happens."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from cadx.child import ChildError
from cadx.classify import Classifier
from cadx.errors import CancelledError, InputError
from cadx.io.exchange import get_volume, put_volume
from cadx.job import Job, WorkerProcess
from cadx.requests import RoiData
from cadx.roi import Roi

from picture_samples import make_picture_bundle


@pytest.fixture(scope="module")
def folder(tmp_path_factory, case):
    place = tmp_path_factory.mktemp("job")
    for role, volume in case.images.items():
        put_volume(place, role, volume)
    return place


@pytest.fixture
def worker(bundle):
    process = WorkerProcess(["--bundle", str(bundle.folder), "--device", "cpu"])
    yield process
    process.end()


def classify(folder: Path, roi: Roi, **options: object) -> dict:
    data = RoiData.of(roi).model_dump(mode="json")
    folders = {"folder": str(folder), "answers": str(folder)}
    return {"do": "classify", **folders, "roi": data, "options": options, "name": "pattern"}


def members(group: int) -> list[int]:
    """Processes of a group that still run, zombies aside."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[2]) == group and fields[0] != "Z":
                found.append(int(entry.name))
    return found


def test_volumes_cross_over_whole(tmp_path, case):
    volume = case.images["T2"]
    put_volume(tmp_path, "T2", volume)
    back = get_volume(tmp_path, "T2")
    assert back.geometry.is_close(volume.geometry, 1e-9)
    np.testing.assert_array_equal(back.voxels, volume.voxels)
    assert back.sha256() == volume.sha256()
    (tmp_path / "T2.npy").write_bytes((tmp_path / "T2.npy").read_bytes()[:-8])
    with pytest.raises(InputError, match="not handed over whole"):
        get_volume(tmp_path, "T2")


def test_no_patient_id_leaves_the_process(tmp_path, case):
    from dataclasses import replace

    put_volume(tmp_path, "T1", replace(case.images["T1"], patient_id="Secret", frame_of_reference="1.2.Secret"))
    assert b"Secret" not in b"".join(p.read_bytes() for p in tmp_path.iterdir())


def test_the_answer_is_that_of_the_classifier(worker, folder, case, bundle):
    stages = []
    Job(worker, {"do": "prepare", "folder": str(folder)}).wait()
    job = Job(worker, classify(folder, case.roi), lambda stage, fraction: stages.append((stage, fraction)))
    answer = job.wait()
    expected = Classifier(bundle, "cpu").classify(case)
    document = json.loads(json.dumps(expected.result.to_json()))
    assert {**answer["document"], "timings_s": 0} == {**document, "timings_s": 0}
    np.testing.assert_allclose(get_volume(folder, "attention").voxels, expected.attention.voxels, atol=1e-5)
    np.testing.assert_allclose(np.load(folder / "map.npy"), expected.shown.grid_map, atol=1e-5)
    assert answer["shown"]["window"] == list(expected.shown.window.indices)
    assert answer["shown"]["explained"]
    assert [stage for stage, _ in stages] == ["load model", "crop", "crop", "classify", "classify"]
    assert stages[-1] == ("classify", 1.0)


def test_corrected_volumes_are_kept_while_the_roi_moves(worker, tmp_path, case):
    folder, stages = tmp_path, []
    for role, volume in case.images.items():
        put_volume(folder, role, volume)
    for shift in (0, 3, 6):
        moved = Roi(case.roi.center_ras + [shift, 0, 0], case.roi.size_mm, case.roi.axes)
        Job(worker, classify(folder, moved), lambda stage, fraction: stages.append(stage)).wait()
    assert stages.count("correct T1") == 1
    corrected = get_volume(folder, "T1.corrected")
    np.testing.assert_allclose(corrected.voxels, case.images["T1"].canonical().voxels, rtol=1e-6)


def test_two_jobs_at_once_are_both_answered_whichever_is_listened_to(worker, folder, case):
    first, second = Job(worker, {"do": "prepare", "folder": str(folder)}), Job(worker, classify(folder, case.roi))
    assert second.wait()["document"]["status"] == "ok"
    assert first.done
    third, fourth = Job(worker, {"do": "describe"}), Job(worker, classify(folder, case.roi))
    third.cancel()
    for job in (third, fourth):
        with pytest.raises(CancelledError):
            job.wait()


def test_errors_come_back_as_they_are_raised_and_the_worker_goes_on(worker, folder, case, tmp_path):
    far = Roi(case.roi.center_ras + 900, case.roi.size_mm, case.roi.axes)
    with pytest.raises(InputError, match="outside T1"):
        Job(worker, classify(folder, far)).wait()
    with pytest.raises(InputError, match="not handed over"):
        Job(worker, classify(tmp_path, case.roi)).wait()
    with pytest.raises(InputError, match="cannot be understood"):
        Job(worker, {"do": "dance"}).wait()
    with pytest.raises(InputError, match="cannot be understood"):
        Job(worker, {**classify(folder, case.roi), "surprise": 1}).wait()
    low = Roi(case.roi.center_ras, case.roi.size_mm * [1, 1, 0.3], case.roi.axes)
    refused = Job(worker, classify(folder, low)).wait()
    assert refused["document"]["status"] == "refused"
    assert "enlarge it by" in refused["document"]["reason"]
    assert Job(worker, {"do": "describe"}).wait()["device"]["kind"] == "cpu"
    assert worker.alive


def test_a_bundle_that_was_altered_is_an_error_of_the_first_job(bundle, tmp_path):
    worker = WorkerProcess(["--bundle", str(tmp_path / "nowhere"), "--device", "cpu"])
    try:
        time.sleep(1.0)
        with pytest.raises((InputError, ChildError)):
            Job(worker, {"do": "load"}).wait()
    finally:
        worker.end()


def test_what_is_for_the_other_kind_of_bundle_is_one_sentence(worker, folder, case, tmp_path):
    read = {"do": "read", "folder": str(folder), "answers": str(folder)}
    with pytest.raises(InputError, match="is a bundle for volumes with a ROI and cannot do 'read'"):
        Job(worker, read).wait()
    bundle = make_picture_bundle(tmp_path / "pictures")
    pictures = WorkerProcess(["--bundle", str(bundle.folder), "--device", "cpu"])
    try:
        for request in (classify(folder, case.roi), {"do": "prepare", "folder": str(folder)}):
            with pytest.raises(InputError, match=f"is a bundle for pictures and cannot do '{request['do']}'"):
                Job(pictures, request).wait()
        with pytest.raises(InputError, match="The volume volume was not handed over whole"):
            Job(pictures, {**read, "folder": str(tmp_path)}).wait()
        with pytest.raises(InputError, match="cannot be understood"):
            Job(pictures, {**read, "plane": "oblique"}).wait()
        assert Job(pictures, {"do": "describe"}).wait()["device"]["kind"] == "cpu"
    finally:
        pictures.end()


def test_cancel_ends_the_whole_group_within_two_seconds(worker, folder, case):
    job = Job(worker, classify(folder, case.roi))
    os.killpg(worker.child.process.pid, signal.SIGSTOP)
    assert not job.poll()
    os.killpg(worker.child.process.pid, signal.SIGCONT)
    start = time.monotonic()
    job.cancel()
    assert time.monotonic() - start < 2
    # a killed grandchild may take a moment to be gone from the list of processes
    while members(worker.child.process.pid) and time.monotonic() - start < 5:
        time.sleep(0.02)
    assert members(worker.child.process.pid) == []
    with pytest.raises(CancelledError):
        job.wait()


def test_a_worker_that_will_not_end_is_ended_with_its_children(tmp_path, monkeypatch):
    """A stand-in that ignores SIGTERM and has a child that does so too."""
    (tmp_path / "cadx").mkdir()
    (tmp_path / "cadx" / "__init__.py").write_text("")
    (tmp_path / "cadx" / "worker.py").write_text(
        "import signal, subprocess, sys, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        'print(\'{"event": "ready"}\', flush=True)\n'
        "time.sleep(60)\n"
    )
    worker = WorkerProcess([], environment={**os.environ, "PYTHONPATH": str(tmp_path)})
    while not worker.events():
        time.sleep(0.02)
    assert len(members(worker.child.process.pid)) == 2
    start = time.monotonic()
    worker.end()
    assert time.monotonic() - start < 2
    # a killed grandchild may take a moment to be gone from the list of processes
    while members(worker.child.process.pid) and time.monotonic() - start < 5:
        time.sleep(0.02)
    assert members(worker.child.process.pid) == []


@pytest.mark.parametrize(
    ("says", "complaint"),
    [
        ("print('hello', flush=True); time.sleep(60)", "no event"),
        ("print('[1, 2]', flush=True); time.sleep(60)", "no event"),
        ("sys.exit(7)", "ended by itself with code 7"),
        ("os.kill(os.getpid(), 9)", "ended by signal 9, perhaps for want of memory"),
    ],
)
def test_a_worker_that_dies_or_talks_nonsense_is_one_sentence(tmp_path, says, complaint):
    (tmp_path / "cadx").mkdir()
    (tmp_path / "cadx" / "__init__.py").write_text("")
    (tmp_path / "cadx" / "worker.py").write_text(f"import os, sys, time\nsys.stdin.readline()\n{says}\n")
    worker = WorkerProcess([], environment={**os.environ, "PYTHONPATH": str(tmp_path)})
    with pytest.raises(ChildError, match=complaint):
        Job(worker, {"do": "load"}).wait()
    assert not worker.alive
    with pytest.raises(ChildError):
        Job(worker, {"do": "load"}).wait()
    worker.end()


def test_a_worker_that_never_starts_is_not_waited_for(tmp_path, monkeypatch):
    monkeypatch.setattr("cadx.job.READY_WITHIN_S", 0.3)
    (tmp_path / "cadx").mkdir()
    (tmp_path / "cadx" / "__init__.py").write_text("")
    (tmp_path / "cadx" / "worker.py").write_text("import time\ntime.sleep(600)\n")
    worker = WorkerProcess([], environment={**os.environ, "PYTHONPATH": str(tmp_path)})
    with pytest.raises(ChildError, match="does not start"):
        Job(worker, {"do": "load"}).wait()
    assert not worker.alive


def test_listening_never_waits(worker, folder, case):
    os.killpg(worker.child.process.pid, signal.SIGSTOP)
    job = Job(worker, classify(folder, case.roi))
    start = time.perf_counter()
    for _ in range(100):
        assert not job.poll()
    assert time.perf_counter() - start < 1
    os.killpg(worker.child.process.pid, signal.SIGCONT)
    assert job.wait()["document"]["status"] == "ok"


def test_what_libraries_print_is_kept_from_the_events(bundle):
    code = (
        "import cadx.worker as w, os\n"
        "events = w.keep_standard_output()\n"
        "os.write(1, b'noise\\n'); print('more noise', flush=True)\n"
        "w._writer(events)({'event': 'ready'})\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == '{"event": "ready"}\n'
    assert "noise" in done.stderr


def test_neither_side_loads_torch_before_it_is_needed():
    code = "import sys, cadx.job, cadx.requests, cadx.worker, cadx.background_pictures\nprint('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
