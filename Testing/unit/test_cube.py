"""The ROI as a cube: as Cyst-X's code makes it, in the patient's space, and back."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cadx.case import Case
from cadx.errors import InputError, RefusedError
from cadx.geometry import Geometry
from cadx.prepare.cube import shown_planes
from cadx.prepare.pipeline import Preparation
from cadx.prepare.spec import CropSpec, PreparationSpec, ScaleSpec
from cadx.roi import Roi
from cadx.volume import Volume

from support import pattern, pattern_volume, points

LINEAR = PreparationSpec(channels=("T2",), bias=None, smooth=None, crop=CropSpec(pixels=24))
CYSTX = PreparationSpec(
    channels=("T2",),
    bias=None,
    smooth=None,
    crop=CropSpec(pixels=24, sampling="area", orientation="LPS", masked=True),
    scale=ScaleSpec(method="roi-zscore"),
)


@pytest.fixture(scope="module")
def t2_case(case):
    return case.only(("T2",))


def test_a_specification_makes_a_grid_or_a_crop_and_old_documents_still_read():
    assert PreparationSpec().shape == (2, 192, 192)
    assert "crop" not in PreparationSpec().to_json()
    assert LINEAR.shape == (1, 24, 24, 24)
    assert "grid" not in LINEAR.to_json()
    assert PreparationSpec.from_json(LINEAR.to_json(), "x") == LINEAR
    with pytest.raises(InputError, match="a grid or a crop, not both"):
        PreparationSpec.from_json({**LINEAR.to_json(), "grid": {}}, "x")
    with pytest.raises(InputError, match="roi-zscore"):
        PreparationSpec.from_json({"scale": {"method": "roi-zscore"}}, "x")


def test_the_cube_holds_what_lies_at_its_places(t2_case):
    spec = LINEAR.model_copy(update={"scale": ScaleSpec(method="roi-range")})
    prepared = Preparation(spec).run(t2_case)
    assert prepared.tensor(prepared.window()).shape == (1, 24, 24, 24)
    expected = pattern(points(prepared.geometry))
    low, high = expected.min(), expected.max()
    np.testing.assert_allclose(prepared.cells[0], (expected - low) / (high - low), atol=0.02)
    left, back, up = prepared.geometry.axes.T
    assert left[0] < -0.9 and back[1] < -0.9 and up[2] > 0.9
    edges = np.ptp(prepared.geometry.corners_ras() @ prepared.roi.axes, axis=0)
    np.testing.assert_allclose(edges, prepared.roi.size_mm, rtol=1e-6)


def test_the_storage_of_the_voxels_does_not_matter(t2_case):
    volume = t2_case.images["T2"]
    flipped = replace(
        volume, voxels=volume.voxels[::-1, :, ::-1].copy(), geometry=volume.geometry.reordered((0, 1, 2), (-1, 1, -1))
    )
    one, other = (Preparation(LINEAR).run(replace(t2_case, images={"T2": v})) for v in (volume, flipped))
    np.testing.assert_allclose(one.cells, other.cells, atol=1e-5)


def test_it_is_what_the_published_code_feeds_its_network():
    """A masked crop of 1 mm voxels as Cyst-X stores it: read in its own order, standardised where not 0, resized."""
    transforms = pytest.importorskip("monai.transforms")
    geometry = Geometry.from_axes((31, 20, 12), (1.0, 1.0, 1.0), np.diag([-1.0, -1.0, 1.0]), (15, 10, -6))
    volume = pattern_volume(geometry, "masked")
    k, j, i = np.indices(volume.voxels.shape)
    organ = ((i - 15) / 15) ** 2 + ((j - 10) / 9) ** 2 + ((k - 6) / 6) ** 2 < 1
    voxels = np.where(organ, volume.voxels, 0).astype(np.float32)
    corners = geometry.corners_ras()
    roi = Roi((corners.max(axis=0) + corners.min(axis=0)) / 2, np.ptp(corners, axis=0))
    prepared = Preparation(CYSTX).run(Case({"T2": volume.with_voxels(voxels)}, roi))
    stored = voxels.transpose(2, 1, 0).astype(np.float64)
    inside = stored != 0
    stored[inside] = (stored[inside] - stored[inside].mean()) / stored[inside].std()
    expected = np.asarray(transforms.Resize((24, 24, 24))(stored[None].astype(np.float32)))
    np.testing.assert_allclose(prepared.tensor(prepared.window()), expected, atol=2e-5)
    assert prepared.notices == ()
    assert prepared.shown.min() == 0 and prepared.shown.max() == 1


def test_a_real_masked_crop_is_fed_as_the_published_code_feeds_it(shared):
    transforms = pytest.importorskip("monai.transforms")
    import SimpleITK as sitk

    from cadx.io.files import read_volume

    file = shared / "data" / "mri" / "pancreas_roi" / "AHN05.nii.gz"
    volume = read_volume(str(file))
    corners = volume.geometry.corners_ras()
    roi = Roi((corners.max(axis=0) + corners.min(axis=0)) / 2, np.ptp(corners, axis=0))
    prepared = Preparation(CYSTX).run(Case({"T2": volume}, roi))
    stored = sitk.GetArrayFromImage(sitk.ReadImage(str(file))).transpose(2, 1, 0).astype(np.float64)
    inside = stored != 0
    stored[inside] = (stored[inside] - stored[inside].mean()) / stored[inside].std()
    expected = np.asarray(transforms.Resize((24, 24, 24))(stored[None].astype(np.float32)))
    np.testing.assert_allclose(prepared.tensor(prepared.window()), expected, atol=1e-4)


def test_the_edge_of_a_masked_organ_is_not_mixed_with_its_black_surroundings(t1_geometry):
    from cadx.prepare.cube import masked_sample

    volume = pattern_volume(t1_geometry, "organ")
    voxels = np.where(np.arange(60) < 30, 500.0, 0.0) * np.ones_like(volume.voxels)
    shifted = Geometry(t1_geometry.size_ijk, t1_geometry.ijk_to_ras @ np.array(np.eye(4) + np.eye(4, k=3) * 0.3))
    found = masked_sample(volume.with_voxels(voxels.astype(np.float32)), shifted)
    assert set(np.unique(found[np.isfinite(found)]).round(2)) == {0.0, 500.0}


@pytest.mark.parametrize("orientation", ["SPL", "LPS"])
def test_a_map_of_the_network_comes_back_to_its_place(t2_case, orientation):
    spec = LINEAR.model_copy(update={"crop": CropSpec(pixels=24, orientation=orientation)})
    prepared = Preparation(spec).run(t2_case)
    cube = np.zeros((24, 24, 24), dtype=np.float32)
    cube[20, 4, 10] = 1.0
    own = cube if orientation == "SPL" else cube.transpose(2, 1, 0)
    volume = prepared.to_volume(own, prepared.window())
    assert volume.geometry.is_close(t2_case.reference.geometry)
    k, j, i = np.unravel_index(volume.voxels.argmax(), volume.voxels.shape)
    found = volume.geometry.to_ras([i, j, k])
    assert np.linalg.norm(found - prepared.geometry.to_ras([10, 4, 20])) < 4.0
    planes = prepared.map_cells(own, prepared.window())
    assert planes.shape == (9, 24, 24)
    assert np.unravel_index(planes.argmax(), planes.shape) == (7, 4, 10)
    coarse = prepared.to_volume(np.ones((2, 3, 4)), prepared.window()).voxels
    assert set(np.unique(coarse)) == {0.0, 1.0}


def test_the_planes_shown_are_spread_over_all_of_it():
    assert shown_planes(96) == (5, 16, 26, 37, 48, 58, 69, 80, 90)
    assert shown_planes(16)[0] == 0 and shown_planes(16)[-1] == 15


def test_what_is_odd_about_a_cube_is_said(t2_case):
    unmasked = Preparation(CYSTX).run(t2_case)
    assert [notice.code for notice in unmasked.notices if notice.code != "roi-bounding-box"] == ["not-masked"]
    axes = t2_case.reference.canonical_geometry().axes
    thin = replace(t2_case, roi=Roi(t2_case.roi.center_ras, [70.0, 56.0, 1.0], axes))
    with pytest.raises(RefusedError, match="slices of T2 and a crop needs 2"):
        Preparation(LINEAR).check(thin)
    prepared = Preparation(LINEAR).run(t2_case)
    with pytest.raises(InputError, match="whole ROI at once"):
        prepared.window(0)
    assert prepared.seen(prepared.window()) == list(range(prepared.slices))


def test_a_constant_crop_is_refused(t2_case):
    volume = t2_case.images["T2"]
    voxels = np.zeros_like(volume.voxels)
    voxels[0, 0, 0] = 1.0
    flat = Volume(voxels, volume.geometry, "flat")
    with pytest.raises(InputError, match="constant inside the ROI"):
        Preparation(CYSTX).run(replace(t2_case, images={"T2": flat}))
