"""Phantoms: reproducible, on honest grids, balanced, and not to be graded by a histogram."""

from __future__ import annotations

import csv
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from cadx.errors import InputError
from cadx.phantom import CLASSES, PhantomPatient, balanced_label, make_patient, write_cohort
from cadx.phantom.head import CLEAR_PIXELS, NONE, TUMOUR, make_head, write_heads
from cadx.prepare.stack import Stack
from cadx.roi import Roi
from cadx.volume import Volume

COHORT = 90
SEED = 11


@dataclass
class Summary:
    """What the cohort's tests need of one patient, without keeping its voxels."""

    label: str
    roi_mm: np.ndarray
    histograms: np.ndarray
    roi_slices: list[int]
    cyst_slices: list[int]
    cyst_voxels: int
    cyst_to_gland_mm: float
    cyst_mm: float
    tilts: tuple[float, float, float]
    same_grid: bool
    cyst_outside_roi: float


@pytest.fixture(scope="module")
def patient() -> PhantomPatient:
    return make_patient(3, 1, "high risk")


@pytest.fixture(scope="module")
def cohort() -> list[Summary]:
    return [summarise(make_patient(SEED, index)) for index in range(COHORT)]


def local_mm(volume: Volume, roi: Roi) -> list[np.ndarray]:
    """Voxel centres along the ROI's three axes from its centre, each (K, J, I)."""
    step = roi.axes.T @ volume.geometry.ijk_to_ras[:3, :3]
    start = roi.axes.T @ (volume.geometry.origin_ras - roi.center_ras)
    i, j, k = (np.arange(n) for n in volume.geometry.size_ijk)
    return [start[a] + step[a, 2] * k[:, None, None] + step[a, 1] * j[:, None] + step[a, 0] * i for a in range(3)]


def histogram(volume: Volume, roi: Roi) -> np.ndarray:
    inside = np.all([np.abs(x) <= half for x, half in zip(local_mm(volume, roi), roi.size_mm / 2, strict=True)], axis=0)
    low, high = np.percentile(volume.voxels[:, ::2, ::2], [1, 99])
    return np.histogram(np.clip((volume.voxels[inside] - low) / (high - low), 0, 1), 16, (0, 1), density=True)[0]


def slices_inside(patient: PhantomPatient) -> list[int]:
    """T1 slices whose centres lie within the ROI; the slices are parallel to its faces."""
    height = local_mm(patient.t1, patient.roi)[2]
    assert np.ptp(height, axis=(1, 2)).max() < 1e-6
    return np.flatnonzero(np.abs(height[:, 0, 0]) < patient.roi.size_mm[2] / 2).tolist()


def summarise(patient: PhantomPatient) -> Summary:
    cyst = np.argwhere(patient.cyst.voxels)[:, ::-1]
    gap = outside = 0.0
    if len(cyst):
        gland = np.argwhere((patient.pancreas.voxels > 0) & (patient.cyst.voxels == 0))[:, ::-1]
        points = patient.t1.geometry.to_ras(cyst)
        gap = np.linalg.norm(points[::2, None] - patient.t1.geometry.to_ras(gland)[None], axis=2).min()
        outside = np.mean(np.abs((points - patient.roi.center_ras) @ patient.roi.axes) > patient.roi.size_mm / 2)
    normals = [v.geometry.axes[:, 2] for v in (patient.t1, patient.t2)]
    angles = [np.degrees(np.arccos(np.clip(abs(a @ b), 0, 1))) for a, b in ((normals[0], [0, 0, 1]), normals)]
    return Summary(
        label=patient.label,
        roi_mm=patient.roi.size_mm,
        histograms=np.concatenate([histogram(v, patient.roi) for v in (patient.t1, patient.t2)]),
        roi_slices=slices_inside(patient),
        cyst_slices=sorted(set(cyst[:, 2].tolist())),
        cyst_voxels=len(cyst),
        cyst_to_gland_mm=float(gap),
        cyst_mm=patient.facts["cyst_mm"],
        tilts=(angles[0], angles[1], patient.roi.tilt_degrees(patient.t1.geometry.axes)),
        same_grid=patient.t1.geometry.is_close(patient.t2.geometry),
        cyst_outside_roi=float(outside),
    )


def test_a_rerun_is_bit_identical_in_any_order(patient: PhantomPatient) -> None:
    make_patient(4, 0)
    again = make_patient(3, 1, "high risk")
    for name in ("t1", "t2", "pancreas", "cyst"):
        before, after = getattr(patient, name), getattr(again, name)
        assert np.array_equal(before.voxels, after.voxels), name
        assert np.array_equal(before.geometry.ijk_to_ras, after.geometry.ijk_to_ras), name
    assert patient.roi.to_markups() == again.roi.to_markups()


def test_another_index_or_seed_is_another_patient(patient: PhantomPatient) -> None:
    for seed, index in ((3, 2), (4, 1)):
        other = make_patient(seed, index, "high risk")
        assert not np.allclose(other.t1.geometry.ijk_to_ras, patient.t1.geometry.ijk_to_ras)


def test_the_label_changes_the_lesion_and_not_the_roi_or_the_grids(patient: PhantomPatient) -> None:
    healthy = make_patient(3, 1, "normal")
    assert healthy.roi.to_markups() == patient.roi.to_markups()
    assert healthy.t1.geometry.is_close(patient.t1.geometry)
    assert healthy.t2.geometry.is_close(patient.t2.geometry)
    assert not healthy.cyst.voxels.any()
    assert patient.cyst.voxels.any()
    assert healthy.facts["duct_mm"] <= 3
    assert patient.facts["duct_mm"] >= 6


def test_types_and_grids(patient: PhantomPatient) -> None:
    assert patient.t1.voxels.dtype == patient.t2.voxels.dtype == np.int16
    for mask in (patient.pancreas, patient.cyst):
        assert mask.voxels.dtype == np.uint8
        assert set(np.unique(mask.voxels)) == {0, 1}
        assert mask.geometry.is_close(patient.t1.geometry)
    assert (patient.t1.geometry.spacing[:2] >= 1.6).all() and (patient.t1.geometry.spacing[:2] <= 2.0).all()
    assert 5 <= patient.t1.geometry.spacing[2] <= 6
    assert (patient.pancreas.voxels >= patient.cyst.voxels).all()


def on_t2(patient: PhantomPatient, mask: np.ndarray) -> np.ndarray:
    """T2 voxels nearest to a mask on T1's grid; the motion between the two is left in."""
    points = patient.t1.geometry.to_ras(np.argwhere(mask)[:, ::-1])
    i, j, k = np.rint(patient.t2.geometry.to_ijk(points)).astype(int).T
    return patient.t2.voxels[k, j, i]


def test_the_cyst_is_bright_on_t2_and_dark_on_t1() -> None:
    patient = make_patient(8, 0, "low risk")
    cyst = patient.cyst.voxels > 0
    gland = (patient.pancreas.voxels > 0) & ~cyst
    assert np.median(on_t2(patient, cyst)) > 1.5 * np.median(on_t2(patient, gland))
    assert np.median(patient.t1.voxels[cyst]) < 0.8 * np.median(patient.t1.voxels[gland])


def test_scans_are_oblique_and_on_different_grids(cohort: list[Summary]) -> None:
    tilts = np.array([s.tilts for s in cohort])
    assert np.median(tilts[:, 0]) > 1 and tilts[:, 0].max() < 9
    assert np.median(tilts[:, 1]) > 1
    assert tilts[:, 2].max() < 1e-3
    assert not any(s.same_grid for s in cohort)


def test_the_roi_is_nine_slices_thick_and_holds_the_cyst(cohort: list[Summary]) -> None:
    for s in cohort:
        count = len(s.roi_slices)
        assert count == 9
        central = s.roi_slices[count // 2 - 4 : count // 2 + 5]
        assert set(s.cyst_slices) <= set(central)
    spans = [len(s.cyst_slices) for s in cohort if s.label != "normal"]
    assert min(spans) >= 1 and np.mean(np.array(spans) >= 2) > 0.85


def test_the_cyst_touches_the_gland_and_lies_in_the_roi(cohort: list[Summary]) -> None:
    for s in cohort:
        assert (s.cyst_voxels > 0) == (s.label != "normal")
        assert s.cyst_to_gland_mm < 8
        assert s.cyst_outside_roi < 0.35


def test_labels_are_balanced_and_shuffled() -> None:
    labels = [balanced_label(5, n) for n in range(60)]
    assert all(set(labels[n : n + 3]) == set(CLASSES) for n in range(0, 60, 3))
    assert len({tuple(labels[n : n + 3]) for n in range(0, 60, 3)}) > 3
    assert labels != [balanced_label(6, n) for n in range(60)]


def test_sizes_overlap_between_the_classes(cohort: list[Summary]) -> None:
    low, high = (np.array([s.cyst_mm for s in cohort if s.label == c]) for c in CLASSES[1:])
    assert np.percentile(low, 75) > np.percentile(high, 25)
    assert low.min() >= 12 and high.max() <= 30


def test_roi_size_and_histograms_do_not_give_the_class_away(cohort: list[Summary]) -> None:
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    features = np.array([[*s.roi_mm, *s.histograms] for s in cohort])
    labels = [s.label for s in cohort]
    for strength in (0.01, 0.1, 1.0):
        model = make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=5000))
        folds = StratifiedKFold(5, shuffle=True, random_state=0)
        assert cross_val_score(model, features, labels, cv=folds).mean() <= 0.55


def test_a_cohort_on_disk_reads_back(tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []
    table = write_cohort(tmp_path / "study", 3, seed=2, progress=lambda done, all_: calls.append((done, all_)))
    assert table == tmp_path / "study" / "cases.csv"
    assert calls == [(1, 3), (2, 3), (3, 3)]
    assert str(tmp_path) not in table.read_text()
    rows = list(csv.DictReader(table.open()))
    assert list(rows[0])[:7] == ["case", "t1", "t2", "roi", "label", "pancreas", "lesion"]
    assert [r["case"] for r in rows] == ["phantom-0000", "phantom-0001", "phantom-0002"]
    assert {r["label"] for r in rows} == set(CLASSES)
    expected = make_patient(2, 1)
    folder = table.parent
    for name, column in (("t1", "t1"), ("t2", "t2"), ("pancreas", "pancreas"), ("cyst", "lesion")):
        assert not Path(rows[1][column]).is_absolute()
        read = Volume.from_sitk(sitk.ReadImage(str(folder / rows[1][column])), name)
        assert read.voxels.dtype == getattr(expected, name).voxels.dtype
        assert np.array_equal(read.voxels, getattr(expected, name).voxels)
        assert read.geometry.is_close(getattr(expected, name).geometry, atol=0.01)
    roi = Roi.from_markups(folder / rows[1]["roi"])
    assert np.allclose(roi.corners_ras(), expected.roi.corners_ras(), atol=1e-6)
    assert [p.name for p in tmp_path.iterdir()] == ["study"]


def test_workers_do_not_change_the_files(tmp_path: Path) -> None:
    tables = [write_cohort(tmp_path / str(n), 2, seed=9, workers=n) for n in (1, 2)]
    assert tables[0].read_text() == tables[1].read_text()
    one, two = (sitk.ReadImage(str(t.parent / "phantom-0001" / "t2.nii.gz")) for t in tables)
    assert np.array_equal(sitk.GetArrayFromImage(one), sitk.GetArrayFromImage(two))


def test_a_failure_leaves_nothing_behind(tmp_path: Path) -> None:
    def stop(done: int, _: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_cohort(tmp_path / "study", 2, seed=0, progress=stop)
    assert list(tmp_path.iterdir()) == []


def test_refusals_say_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "note.txt").write_text("mine")
    (tmp_path / "file").write_text("mine")
    with pytest.raises(InputError, match=r"0 phantom patients.*1 or more"):
        write_cohort(tmp_path / "new", 0, seed=1)
    with pytest.raises(InputError, match=r"seed is -1; give 0 or more"):
        write_cohort(tmp_path / "new", 1, seed=-1)
    with pytest.raises(InputError, match=r"0 worker.*1 or more"):
        write_cohort(tmp_path / "new", 1, seed=1, workers=0)
    for name in ("full", "file"):
        with pytest.raises(InputError, match=rf"{name} exists and is not empty; give a new"):
            write_cohort(tmp_path / name, 1, seed=1)
    with pytest.raises(InputError, match=r"cannot be (written|read)"):
        write_cohort(tmp_path / "file" / "below", 1, seed=1)
    with pytest.raises(InputError, match=r"'huge' is unknown; give one of normal, low risk, high risk"):
        make_patient(0, 0, "huge")
    assert (tmp_path / "full" / "note.txt").read_text() == "mine"
    assert not (tmp_path / "new").exists()


def test_importing_phantoms_needs_neither_torch_nor_sklearn_nor_matplotlib() -> None:
    code = "import sys, cadx.phantom; print([m for m in ('torch', 'sklearn', 'matplotlib') if m in sys.modules])"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"


# --- heads


def rows_of(table: Path) -> list[dict[str, str]]:
    with table.open(encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


@pytest.fixture(scope="module")
def every_slice(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_heads(tmp_path_factory.mktemp("heads") / "every", 2, 1, every_slice=True)


def test_every_slice_of_a_head_has_its_own_label(every_slice: Path) -> None:
    rows = rows_of(every_slice)
    for index in range(2):
        head, name = make_head(1, index), f"head-{index:04d}"
        pixels = head.tumour.voxels.sum(axis=(1, 2))
        expected = {k: TUMOUR if n else NONE for k, n in enumerate(pixels) if n == 0 or n >= CLEAR_PIXELS}
        assert {int(r["slice"]): r["label"] for r in rows if r["patient"] == name} == expected
    assert {r["label"] for r in rows if r["patient"] == "head-0000"} == {TUMOUR, NONE}
    assert any(0 < n < CLEAR_PIXELS for n in make_head(1, 0).tumour.voxels.sum(axis=(1, 2))), "a sliver to leave out"


def test_its_pictures_are_the_slices_that_a_classifier_reads(every_slice: Path) -> None:
    from cadx.prepare.picture import read_picture

    rows = [r for r in rows_of(every_slice) if r["patient"] == "head-0001"]
    stack = Stack.of(make_head(1, 1).volume)
    for row in rows[::4]:
        picture = read_picture(every_slice.parent / row["image"])
        assert picture.sha256 == stack.picture(int(row["slice"])).sha256
    listed = {row["image"] for row in rows_of(every_slice)}
    assert listed == {path.name for path in every_slice.parent.glob("*.png")}


def test_slices_of_a_head_stay_together_in_training(every_slice: Path) -> None:
    from cadx.dataset import is_synthetic
    from cadx.study.layouts import read_cohort

    samples = read_cohort(every_slice.parent, ("image",)).samples
    assert {s.group for s in samples} == {"head-0000", "head-0001"}
    assert all(s.name.startswith(s.group) for s in samples)
    assert is_synthetic(every_slice.parent)


def test_by_default_a_head_gives_its_best_slice_alone(tmp_path: Path) -> None:
    rows = rows_of(write_heads(tmp_path / "heads", 2, 1))
    assert [tuple(row.values()) for row in rows] == [
        ("head-0000", "head-0000.png", TUMOUR, "head-0000", "head-0000.nii.gz"),
        ("head-0001", "head-0001.png", NONE, "head-0001", "head-0001.nii.gz"),
    ]


def test_every_slice_on_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from cadx.cli import main

    wanted = ["phantom", "--patients", "1", "--every-slice", "--out", str(tmp_path / "heads")]
    assert main(wanted) == InputError.exit_code
    assert "--every-slice is for the slices of --heads" in capsys.readouterr().err
    assert not (tmp_path / "heads").exists()
    assert main([*wanted, "--heads"]) == 0
    assert len(rows_of(tmp_path / "heads" / "cases.csv")) > 8
