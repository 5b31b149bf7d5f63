"""How a file stores its axes changes nothing: all 48 permutations and flips, and all formats."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations, product

import numpy as np
import pytest

from cadx.case import Case
from cadx.classify import Classifier, Reading
from cadx.geometry import Geometry
from cadx.io.files import read_volume
from cadx.prepare.spec import BiasSpec, GridSpec, PreparationSpec
from cadx.roi import Roi
from cadx.volume import Volume

from support import make_bundle, points, write, write_dicom

ROLES = [("T1",), ("T2",), ("T1", "T2")]
STORAGES = [(order, signs) for order in permutations(range(3)) for signs in product((1, -1), repeat=3)]


def stored(volume: Volume, order, signs) -> Volume:
    """The same volume with its axes stored in another order and direction."""
    voxels = np.transpose(volume.voxels, [2 - order[a] for a in (2, 1, 0)])
    voxels = np.flip(voxels, tuple(2 - a for a in range(3) if signs[a] < 0))
    return replace(volume, voxels=np.ascontiguousarray(voxels), geometry=volume.geometry.reordered(order, signs))


@pytest.fixture(scope="module")
def classifier(tmp_path_factory):
    """The whole recommended preparation, N4 (fewer samples and iterations) and smoothing too."""
    n4 = BiasSpec(working_samples=24, coarse_samples=16, iterations=10)
    preparation = PreparationSpec(bias=n4, grid=GridSpec(cell_pixels=32))
    return Classifier(make_bundle(tmp_path_factory.mktemp("model") / "b", preparation=preparation), "cpu")


@pytest.fixture(scope="module")
def phantom() -> Case:
    """A synthetic patient (oblique, T1 and T2 on different grids), every third voxel in plane."""
    from cadx.phantom import make_patient

    patient = make_patient(5, 0)
    images = {"T1": _thinned(patient.t1, "t1"), "T2": _thinned(patient.t2, "t2")}
    roi = patient.roi
    return Case(images, Roi(roi.center_ras, roi.size_mm, roi.axes), "phantom")


def _thinned(volume: Volume, name: str) -> Volume:
    canonical = volume.canonical()
    voxels = np.ascontiguousarray(canonical.voxels[:, ::3, ::3])
    matrix = canonical.geometry.ijk_to_ras.copy()
    matrix[:3, :2] *= 3
    return Volume(voxels.astype(np.float32), Geometry(voxels.shape[::-1], matrix), name)


@pytest.fixture(scope="module")
def expected(classifier, phantom) -> Reading:
    return classifier.classify(phantom)


def require_same(found: Reading, expected: Reading) -> None:
    assert found.result.label == expected.result.label
    pairs = zip(found.result.probabilities.values(), expected.result.probabilities.values(), strict=True)
    assert max(abs(a - b) for a, b in pairs) < 1e-4
    overlay, wanted = found.attention.canonical(), expected.attention.canonical()
    assert overlay.geometry.is_close(wanted.geometry, 1e-3)
    np.testing.assert_allclose(overlay.voxels, wanted.voxels, atol=1e-3)
    assert [n.code for n in found.result.warnings] == [n.code for n in expected.result.warnings]


def require_all_storages_agree(classifier: Classifier, case: Case, expected: Reading, roles) -> None:
    assert len(STORAGES) == 48
    assert expected.attention.voxels.max() > 0
    for order, signs in STORAGES:
        images = {r: stored(v, order, signs) if r in roles else v for r, v in case.images.items()}
        found = classifier.classify(replace(case, images=images))
        require_same(found, expected)
        assert found.attention.geometry.is_close(images["T1"].geometry)


@pytest.mark.parametrize("roles", ROLES, ids="+".join)
def test_all_48_storages_give_the_same_grade_and_overlay(classifier, phantom, expected, roles):
    require_all_storages_agree(classifier, phantom, expected, roles)


@pytest.mark.slow
@pytest.mark.parametrize("roles", ROLES, ids="+".join)
def test_all_48_storages_of_a_real_pair(shared, tmp_path, roles):
    """Full-size volumes and the recommended preparation as it is: about four minutes for each of the three."""
    pair = shared / "data" / "mri" / "brain_pair"
    images = {role: read_volume(str(pair / f"{role.lower()}.nii.gz")) for role in ("T1", "T2")}
    case = Case(images, Roi.from_text("-4.9,20,22,100,80,60"))
    classifier = Classifier(make_bundle(tmp_path / "b", preparation=PreparationSpec()), "cpu")
    require_all_storages_agree(classifier, case, classifier.classify(case), roles)


def test_a_stored_volume_has_its_voxels_where_they_were(phantom):
    """The test's own rearrangement is right: every voxel keeps its place in the patient."""
    volume = phantom.images["T1"]
    index = volume.with_voxels(points(volume.geometry)[..., 0])
    for order, signs in STORAGES:
        moved = stored(index, order, signs)
        np.testing.assert_allclose(points(moved.geometry)[..., 0], moved.voxels, atol=1e-6)


@pytest.mark.parametrize("axes", [(1, 0, 2), (2, 0, 1)], ids=["axial", "sagittal storage"])
def test_nifti_nrrd_and_dicom_of_one_volume_agree(classifier, phantom, tmp_path, axes):
    whole = {r: stored(v, axes, (1, -1, 1)) for r, v in phantom.images.items()}
    whole = {r: v.with_voxels(np.clip(np.round(v.voxels), 0, 65535)) for r, v in whole.items()}
    readings = []
    for kind in (".nii.gz", ".nrrd", ".mha", "dicom"):
        images = {}
        for number, (role, volume) in enumerate(whole.items()):
            if kind == "dicom":
                # slices run along the direction that the stored axes make right-handed
                upright = _right_handed(volume)
                path = write_dicom(
                    tmp_path / f"dicom-{role}", upright, uid=f"1.2.{number}", description=role, tr=1, te=1
                )
            else:
                path = write(tmp_path / f"{role}{kind}", volume)
            images[role] = read_volume(str(path))
        readings.append(classifier.classify(Case(images, phantom.roi)))
    for found in readings[1:]:
        require_same(found, readings[0])


def _right_handed(volume: Volume) -> Volume:
    """DICOM slices are stacked along the cross product of row and column."""
    handed = np.linalg.det(volume.geometry.axes * np.array([[-1.0], [-1.0], [1.0]]))
    return volume if handed > 0 else stored(volume, (0, 1, 2), (1, 1, -1))
