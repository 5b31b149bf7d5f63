from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cadx.case import Case
from cadx.errors import InputError, RefusedError
from cadx.geometry import Geometry
from cadx.prepare.grid import inside_roi, tile, untile
from cadx.prepare.pipeline import Preparation
from cadx.prepare.spec import PRESETS, GridSpec, PreparationSpec, ScaleSpec, preset
from cadx.roi import Roi

from support import PLAIN, pattern, pattern_volume, points, tilted

ALL_SLICES = 15


def plain(**grid) -> Preparation:
    return Preparation(PLAIN.model_copy(update={"grid": GridSpec(**grid), "scale": ScaleSpec(method="roi-range")}))


def with_slices(case: Case, n: int) -> Case:
    size = case.roi.size_mm.copy()
    size[2] = n * case.reference.geometry.spacing[2]
    return replace(case, roi=Roi(case.roi.center_ras, size, case.roi.axes))


def cell_values(case: Case, prepared) -> np.ndarray:
    """What the pattern is at every cell pixel, scaled as the pipeline scales it."""
    values = pattern(points(prepared.geometry))
    inside = np.broadcast_to(inside_roi(prepared.roi, prepared.geometry), values.shape)
    low, high = values[inside].min(), values[inside].max()
    return np.where(inside, (values - low) / (high - low), 0)


@pytest.mark.parametrize("fit", ["pad", "stretch"])
def test_both_channels_show_the_same_place_in_the_patient(case, fit):
    prepared = plain(fit=fit).run(case)
    expected = cell_values(case, prepared)
    for channel in prepared.cells:
        assert np.abs(channel - expected).max() < 0.02
    assert prepared.cells.shape == (2, 9, 64, 64)


def test_the_grid_of_the_recommended_preset_is_2_by_192_by_192(case):
    prepared = plain().run(case)
    grid = prepared.grid(prepared.window())
    assert grid.shape == (2, 192, 192)
    assert grid.dtype == np.float32
    assert grid.min() == 0.0
    assert grid.max() == 1.0
    assert prepared.notices == ()


def test_cells_lie_as_radiologists_see_them(case):
    geometry = plain().run(case).geometry
    down, across, up = geometry.axes[:, 1], geometry.axes[:, 0], geometry.axes[:, 2]
    assert across[0] < -0.9  # columns run to the patient's left
    assert down[1] < -0.9  # rows run to posterior
    assert up[2] > 0.9  # slices run to superior


def test_the_authors_cells_have_rows_along_r(case):
    geometry = plain(orientation="authors", fit="stretch").run(case).geometry
    assert geometry.axes[0, 1] > 0.9
    assert geometry.axes[1, 0] > 0.9


def test_slices_are_t1_own(case):
    prepared = plain().run(case)
    heights = prepared.geometry.to_ras([[0, 0, n] for n in range(9)]) @ case.reference.geometry.axes[:, 2]
    own = case.reference.geometry.to_ras([[0, 0, k] for k in range(ALL_SLICES)]) @ case.reference.geometry.axes[:, 2]
    np.testing.assert_allclose(heights, own[3:12], atol=1e-9)
    np.testing.assert_allclose(prepared.positions_mm, heights, atol=1e-9)


@pytest.mark.parametrize("k", [4, 9, 16, 25])
def test_tile_and_untile_are_inverse_and_run_row_by_row(k):
    cells = np.arange(2 * k * 3 * 5, dtype=float).reshape(2, k, 3, 5)
    grid = tile(cells)
    side = round(k**0.5)
    assert grid.shape == (2, side * 3, side * 5)
    np.testing.assert_array_equal(grid[:, :3, 5:10], cells[:, 1])
    np.testing.assert_array_equal(untile(grid, k), cells)


@pytest.mark.parametrize("k", [4, 9, 16, 25])
@pytest.mark.parametrize("orientation", ["radiological", "authors"])
def test_an_impulse_lands_where_it_came_from(t2_geometry, k, orientation):
    geometry = Geometry.from_axes((60, 52, 27), (2.0, 2.0, 5.5), tilted(3, -4, 5), (-55, -50, -70))
    stored = pattern_volume(geometry.reordered((2, 0, 1), (1, -1, -1)), "t1")
    roi = Roi(geometry.center_ras, np.array([70.0, 56, 26 * 5.5]), geometry.axes)
    spec = PLAIN.model_copy(update={"channels": ("T1",), "grid": GridSpec(slices=k, orientation=orientation)})
    prepared = Preparation(spec).run(Case({"T1": stored}, roi))
    window = prepared.window()
    generator = np.random.default_rng(k)
    inside = np.argwhere(inside_roi(prepared.roi, prepared.geometry))
    inside = inside[((inside > 3) & (inside < 60)).all(axis=1)]
    for cell in range(k):
        row, column = generator.choice(inside)
        cells = np.zeros((k, 64, 64))
        cells[cell, row, column] = 1
        volume = prepared.to_volume(tile(cells), window)
        assert volume.geometry.is_close(stored.geometry)
        found = np.argwhere(volume.voxels > 0)
        weights = volume.voxels[volume.voxels > 0]
        ijk = (found[:, ::-1] * weights[:, None]).sum(axis=0) / weights.sum()
        source = stored.geometry.to_ijk(prepared.geometry.to_ras([column, row, window.indices[cell]]))
        assert np.abs(ijk - source).max() < 0.5


def test_a_map_stays_within_its_cell_and_the_roi(case):
    prepared = plain().run(case)
    cells = np.zeros((9, 4, 4))
    cells[4] = 1.0
    volume = prepared.to_volume(tile(cells), prepared.window())
    geometry = case.reference.geometry
    ras = points(geometry)
    offsets = (ras - case.roi.center_ras) @ geometry.axes
    inside = (np.abs(offsets[..., :2]) < case.roi.size_mm[:2] / 2 - 1e-3).all(axis=-1)
    outside = (np.abs(offsets[..., :2]) > case.roi.size_mm[:2] / 2 + 1e-3).any(axis=-1)
    middle = np.abs(offsets[..., 2]) < 1e-6
    np.testing.assert_allclose(volume.voxels[inside & middle], 1.0, atol=1e-6)
    assert np.abs(volume.voxels[outside | ~middle]).max() < 1e-6


def test_windows_central_by_default_and_any_on_request(case):
    prepared = plain().run(with_slices(case, 13))
    assert prepared.slices == 13
    assert prepared.window().indices == tuple(range(2, 11))
    assert prepared.window(0).indices == tuple(range(9))
    assert [w.first for w in prepared.windows()] == list(range(5))
    for bad in (-1, 5):
        with pytest.raises(InputError, match="between 0 and 4"):
            prepared.window(bad)


def test_too_few_slices_are_refused_with_what_to_do_unless_padded(case):
    few = with_slices(case, 7)
    with pytest.raises(RefusedError, match="7 slices of T1 and the grid needs 9; enlarge it by 11 mm"):
        plain().run(few)
    prepared = plain().run(few, pad=True)
    assert prepared.window().indices == (0, 1, 2, 3, 4, 5, 6, 6, 6)
    assert [n.code for n in prepared.notices] == ["padded"]
    attention = prepared.to_volume(np.ones((12, 12)), prepared.window())
    assert attention.voxels.max() == pytest.approx(1.0)


def test_a_turned_roi_says_so(case):
    turned = replace(case, roi=Roi(case.roi.center_ras, case.roi.size_mm, tilted(0, 0, 30)))
    prepared = plain().run(turned)
    assert [n.code for n in prepared.notices] == ["roi-bounding-box"]
    assert "bounding box" in prepared.notices[0].text


def test_a_sagittal_t1_is_resliced_with_a_warning(case):
    axes = tilted(0, 90, 0)
    geometry = Geometry.from_axes((60, 60, 30), (2.0, 2.0, 5.0), axes, case.roi.center_ras - axes @ [59, 59, 72.5])
    sagittal = replace(case, images={"T1": pattern_volume(geometry, "t1"), "T2": case.images["T2"]})
    sagittal = replace(sagittal, roi=Roi(case.roi.center_ras, np.array([60.0, 50, 50])))
    prepared = plain().run(sagittal)
    assert "t1-not-axial" in [n.code for n in prepared.notices]
    np.testing.assert_allclose(prepared.geometry.axes[:, 2], [0, 0, 1], atol=1e-9)
    expected = cell_values(sagittal, prepared)
    assert np.abs(prepared.cells[0] - expected).max() < 0.03


def test_a_roi_that_reaches_beyond_t1_says_so(case):
    size = case.roi.size_mm * [1, 1, 2.2]
    prepared = plain().run(replace(case, roi=Roi(case.roi.center_ras, size, case.roi.axes)))
    assert "roi-beyond-image" in [n.code for n in prepared.notices]


def test_a_roi_outside_or_barely_inside_is_refused(case):
    away = replace(case, roi=Roi(case.roi.center_ras + [500, 0, 0], case.roi.size_mm))
    with pytest.raises(InputError, match="outside T1"):
        plain().run(away)
    partly = replace(case, roi=Roi(case.roi.center_ras + [75, 0, 0], case.roi.size_mm))
    with pytest.raises(InputError, match="covers only"):
        plain().run(partly)


def test_a_channel_that_misses_slices_says_so_or_is_refused(case):
    """T2 cut off above: its upper cells are black."""
    t2 = case.images["T2"].canonical()

    def cut(upper: int):
        size = (*t2.geometry.size_ijk[:2], upper)
        return replace(t2, voxels=t2.voxels[:upper], geometry=Geometry(size, t2.geometry.ijk_to_ras))

    prepared = plain().run(replace(case, images={**case.images, "T2": cut(13)}))
    (notice,) = prepared.notices
    assert notice.code == "not-covered"
    assert "T2 does not reach all of" in notice.text
    with pytest.raises(InputError, match=r"T2 \(t2\) covers only"):
        plain().run(replace(case, images={**case.images, "T2": cut(6)}))


def test_registration_repeats_itself(case):
    runs = [plain().run(case, register_t2=True) for _ in range(2)]
    assert runs[0].motion.translation_mm == pytest.approx(runs[1].motion.translation_mm, abs=1e-9)
    np.testing.assert_allclose(runs[0].cells, runs[1].cells, atol=1e-6)


def test_constant_and_broken_images_are_refused(case):
    t1 = case.images["T1"]
    for voxels, word in [
        (np.zeros_like(t1.voxels), "same value"),
        (np.where(t1.voxels > 600, np.nan, t1.voxels), "not finite"),
    ]:
        broken = replace(case, images={**case.images, "T1": t1.with_voxels(voxels)})
        with pytest.raises(InputError, match=word):
            plain().run(broken)


def test_storage_changes_nothing(case):
    expected = plain().run(case)
    t1 = case.images["T1"]
    other = pattern_volume(t1.geometry.reordered((2, 1, 0), (-1, 1, -1)), "t1")
    found = plain().run(replace(case, images={**case.images, "T1": other}))
    np.testing.assert_allclose(found.cells, expected.cells, atol=1e-5)


def test_registration_undoes_a_known_motion(case):
    """T2 is stored 6 mm away from where it belongs; registration brings the channels together again."""
    t2 = case.images["T2"]
    blob = np.exp(-(((points(t2.geometry) - case.roi.center_ras) / [18, 14, 12]) ** 2).sum(-1)) * 800
    moved = t2.geometry.ijk_to_ras.copy()
    moved[0, 3] += 6.0
    blob1 = np.exp(-(((points(case.reference.geometry) - case.roi.center_ras) / [18, 14, 12]) ** 2).sum(-1)) * 800
    images = {
        "T1": case.reference.with_voxels((case.reference.voxels * 0.2 + blob1).astype(np.float32)),
        "T2": replace(
            t2, voxels=(t2.voxels * 0.2 + blob).astype(np.float32), geometry=Geometry(t2.geometry.size_ijk, moved)
        ),
    }
    apart = replace(case, images=images)
    before = plain().run(apart)
    after = plain().run(apart, register_t2=True)
    assert after.motion is not None
    assert abs(after.motion.translation_mm - 6.0) < 2.0
    gap = [np.abs(p.cells[0] - p.cells[1]).mean() for p in (before, after)]
    assert gap[1] < gap[0] / 2


@pytest.mark.parametrize("name", PRESETS)
def test_presets_are_data_that_reads_back(name):
    spec = preset(name)
    assert PreparationSpec.from_json(spec.to_json(), name) == spec


def test_presets_say_what_the_studies_say():
    paper, authors, recommended = (preset(n) for n in ("paper", "authors-code", "recommended"))
    assert recommended == PreparationSpec()
    assert (paper.grid.in_plane_pixels, paper.grid.fit, paper.scale.method) == (256, "stretch", "roi-range")
    assert (authors.bias, authors.smooth, authors.standardise) == (None, None, None)
    assert (authors.grid.orientation, authors.grid.sampling) == ("authors", "area")


@pytest.mark.parametrize(
    "change",
    [
        {"colour": 1},
        {"grid": {"slices": 8}},
        {"grid": {"sampling": "area"}},
        {"bias": {"levels": 0}},
        {"scale": {"method": "eval"}},
    ],
)
def test_unknown_settings_are_refused(change):
    with pytest.raises(InputError, match=r"spec\.json"):
        PreparationSpec.from_json({**PreparationSpec().to_json(), **change}, "spec.json")


def test_the_bias_field_is_taken_out(case):
    """N4 on the coarse grid flattens a made-up field on a two-tissue image."""
    from cadx.prepare.bias import correct_bias
    from cadx.prepare.spec import BiasSpec

    geometry = case.reference.geometry
    offsets = (points(geometry) - geometry.center_ras) / 50
    tissue = np.where((offsets**2).sum(-1) < 0.8, 800.0, 20.0)
    field = np.exp(0.4 * offsets[..., 0] + 0.2 * offsets[..., 1])
    biased = case.reference.with_voxels((tissue * field).astype(np.float32))
    corrected = correct_bias(biased, BiasSpec())
    body = tissue > 100
    spread = [np.std(v[body]) / np.mean(v[body]) for v in (biased.voxels, corrected.voxels)]
    assert spread[1] < spread[0] / 3
    assert corrected.geometry is biased.geometry
