"""The overview picture: everything drawn is where the patient has it, by a formula that knows nothing of Slicer."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from cadx.explain.display import LOWEST_SHOWN, percent
from cadx.roi import Roi
from cadx.slicer import add_case, draw_overview
from cadx.slicer.drawing import wrap
from cadx.slicer.overview import HEIGHT, PANEL, WIDTH, field_of_view, overview_pixels, panel_corner
from cadx.slicer.rois import OUTLINE_COLOR
from cadx.slicer.views import ORIENTATIONS, slice_camera
from cadx.volume import Volume

from slicer_samples import ATTENTION_PEAK, AXES, case, grid, needs_drawing, result, spot

# radiological convention: which axis runs across (with which sign to the right) and which one up
PLANES = {"Axial": ((0, -1), (1, 1)), "Coronal": ((0, -1), (2, 1)), "Sagittal": ((1, -1), (2, 1))}
pytestmark = needs_drawing
PEAK = (8.0, -6.0, 4.0)
PANELS = [(row, column) for row in range(2) for column in range(3)]


def expected(point, column: int, center, field_mm: float) -> np.ndarray:
    """Column and row within a panel where a point must be seen."""
    (across, sign), (up, _) = PLANES[ORIENTATIONS[column]]
    scale = PANEL / field_mm
    return np.array(
        [PANEL / 2 + sign * (point[across] - center[across]) * scale, PANEL / 2 - (point[up] - center[up]) * scale]
    )


def panel(pixels: np.ndarray, row: int, column: int) -> np.ndarray:
    left, top = panel_corner(row, column)
    return pixels[top : top + PANEL, left : left + PANEL].astype(float)


def centroid(weights: np.ndarray) -> np.ndarray:
    rows, columns = np.nonzero(weights > weights.max() / 2)
    return np.array([columns.mean(), rows.mean()])


def flat(value: float = 50.0) -> Volume:
    return Volume(np.full((40, 40, 40), value, np.float32), grid())


@pytest.fixture(scope="module")
def pictures():
    """Pictures of cases that differ in one thing each."""
    from cadx.slicer import own_scene

    def picture(**changes):
        with own_scene() as scene:
            return overview_pixels(add_case(scene, **case(**changes)), result())

    # fixes the point that the slices go through, but is too small to be seen
    dot = Volume(ATTENTION_PEAK * spot(PEAK, grid(), 0.3), grid())
    marker = flat().with_voxels(50 + 100 * spot(PEAK, grid(), 3.0))
    around_peak = Roi(np.array(PEAK), np.full(3, 40.0))
    return {
        "flat": picture(t1=flat(), t2=flat(), attention=None, roi=around_peak),
        "flat with dot": picture(t1=flat(), t2=flat(), attention=dot),
        "marker with dot": picture(t1=marker, t2=marker, attention=dot),
        "flat with attention": picture(t1=flat(), t2=flat()),
        "covered": picture(),
        "bare": picture(attention=dot),
    }


@pytest.mark.parametrize(("row", "column"), PANELS)
def test_a_bright_spot_is_where_the_patient_has_it(pictures, row, column):
    difference = np.abs(panel(pictures["marker with dot"], row, column) - panel(pictures["flat with dot"], row, column))
    roi = case()["roi"]
    found = centroid(difference.sum(axis=-1))
    np.testing.assert_allclose(found, expected(PEAK, column, roi.center_ras, field_of_view(roi)), atol=6)


@pytest.mark.parametrize(("row", "column"), PANELS)
def test_the_overlay_is_centred_on_the_attention_on_both_images(pictures, row, column):
    pixels = panel(pictures["flat with attention"], row, column)
    colored = (pixels[..., 0] - pixels[..., 2]) > 60  # inferno is red to yellow, the image is grey, the box is blue
    roi = case()["roi"]
    rows, columns = np.nonzero(colored)
    assert len(rows) > 500
    place = expected(PEAK, column, roi.center_ras, field_of_view(roi))
    np.testing.assert_allclose([columns.mean(), rows.mean()], place, atol=4)


@pytest.mark.parametrize(("row", "column"), PANELS)
def test_the_image_is_untouched_where_attention_is_low_and_seen_through_where_it_is_high(pictures, row, column):
    covered, bare = (panel(pictures[name], row, column) for name in ("covered", "bare"))
    changed = np.abs(covered - bare).max(axis=-1) > 8
    roi = case()["roi"]
    place = expected(PEAK, column, roi.center_ras, field_of_view(roi))
    rows, columns = np.nonzero(changed)
    distance = np.hypot(rows - place[1], columns - place[0]) * field_of_view(roi) / PANEL
    threshold = 1 + LOWEST_SHOWN * (ATTENTION_PEAK - 1)
    width_at_threshold = 4.0 * np.sqrt(2 * np.log(ATTENTION_PEAK / threshold))  # of the Gaussian
    assert distance.max() < width_at_threshold + 1.5
    inside = np.zeros(changed.shape, bool)
    inside[rows, columns] = True
    brightness = np.corrcoef(covered[inside].sum(axis=-1), bare[inside].sum(axis=-1))[0, 1]
    assert brightness > 0.2


@pytest.mark.parametrize(("row", "column"), PANELS)
def test_the_outline_is_the_roi(pictures, row, column):
    pixels = panel(pictures["flat"], row, column)
    outline = np.abs(pixels / 255 - OUTLINE_COLOR).max(axis=-1) < 0.08
    rows, columns = np.nonzero(outline)
    half = 20.0 * PANEL / field_of_view(Roi(np.array(PEAK), np.full(3, 40.0)))
    found = [columns.min(), columns.max(), rows.min(), rows.max()]
    np.testing.assert_allclose(found, [PANEL / 2 + s * half for s in (-1, 1, -1, 1)], atol=3)


@pytest.mark.parametrize(("row", "column"), PANELS)
def test_each_panel_shows_an_image(pictures, row, column):
    pixels = panel(pictures["covered"], row, column)[60:-60, 60:-60]
    assert pixels.std() > 5
    assert 10 < pixels.mean() < 245


def test_t1_and_t2_are_each_in_their_row(scene):
    images = case(t1=flat(0.0), t2=flat(0.0), attention=None)
    nodes = add_case(scene, **images)
    for node, level in ((nodes.t1, 0.25), (nodes.t2, 0.75)):
        node.GetDisplayNode().SetWindowLevelMinMax(-level, 1 - level)
    pixels = overview_pixels(nodes, result())
    grey = [np.median(panel(pixels, row, 0)) / 255 for row in range(2)]
    assert grey == pytest.approx([0.25, 0.75], abs=0.03)


def test_the_letters_are_radiological(scene):
    nodes = add_case(scene, **case())
    with slice_camera(scene, 64) as camera:
        views = {
            o: camera.shoot(o, background=nodes.t1, center_ras=(0, 0, 0), point_ras=PEAK, field_of_view_mm=80)
            for o in ORIENTATIONS
        }
    assert views["Axial"].edges == {"left": "R", "right": "L", "top": "A", "bottom": "P"}
    assert views["Coronal"].edges == {"left": "R", "right": "L", "top": "S", "bottom": "I"}
    assert views["Sagittal"].edges == {"left": "A", "right": "P", "top": "S", "bottom": "I"}
    assert [views[o].position for o in ORIENTATIONS] == ["Superior 4.0 mm", "Posterior 6.0 mm", "Right 8.0 mm"]
    assert views["Axial"].mm_per_pixel == pytest.approx(80 / 64)


@pytest.mark.parametrize("axes", AXES.values(), ids=AXES.keys())
def test_how_an_image_is_stored_does_not_change_the_picture(scene, axes):
    """A volume drawn from its canonical storage gives the same picture."""
    from slicer_samples import volume

    stored = volume(axes, np.float32)
    nodes = [add_case(scene, **case(t1=v, attention=None)).t1 for v in (stored, stored.canonical())]
    center = stored.geometry.center_ras
    with slice_camera(scene, 64) as camera:
        one, two = (
            camera.shoot("Axial", background=n, center_ras=center, point_ras=center, field_of_view_mm=12).pixels
            for n in nodes
        )
    assert one.std() > 5
    assert np.abs(one.astype(int) - two.astype(int)).max() <= 2


def test_drawing_leaves_the_scene_as_it_was(scene):
    nodes = add_case(scene, **case())
    overview_pixels(nodes, result())
    before = {scene.GetNthNode(i).GetID() for i in range(scene.GetNumberOfNodes())}
    for _ in range(3):
        overview_pixels(nodes, result())
    assert {scene.GetNthNode(i).GetID() for i in range(scene.GetNumberOfNodes())} == before


def test_the_picture_is_the_same_every_time(scene, tmp_path):
    nodes = add_case(scene, **case())
    hashes = set()
    for index in range(2):
        path = draw_overview(nodes, result(), tmp_path / f"{index}.png")
        hashes.add(hashlib.sha256(path.read_bytes()).hexdigest())
    assert len(hashes) == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == ["0.png", "1.png"]
    header = (tmp_path / "0.png").read_bytes()[:24]
    assert header[:8] == b"\x89PNG\r\n\x1a\n"
    assert (int.from_bytes(header[16:20]), int.from_bytes(header[20:24])) == (WIDTH, HEIGHT)


def caption(pixels: np.ndarray) -> np.ndarray:
    return pixels[panel_corner(2, 0)[1] :]


def test_the_caption_says_what_the_result_says(scene):
    nodes = add_case(scene, **case(attention=None))
    texts = [
        caption(overview_pixels(nodes, document))
        for document in (
            result(),
            result(label="high risk"),
            result(probabilities={"normal": 0.5, "low risk": 0.3, "high risk": 0.2}),
            result(warnings=[]),
            result(disclaimer="Something else."),
        )
    ]
    for other in texts[1:]:
        assert np.abs(other.astype(int) - texts[0].astype(int)).sum() > 10000


@pytest.mark.parametrize(
    "changes",
    [
        {
            "status": "refused",
            "label": None,
            "probabilities": None,
            "warnings": [{"code": "x", "text": "Too few. " * 90}],
        },
        {
            "probabilities": {f"class {i} with a long name": i / 45 for i in range(10)},
            "label": "class 9 with a long name",
        },
        {"bundle": None, "warnings": None, "disclaimer": None, "task": None},
    ],
    ids=["refused", "many classes", "bare"],
)
def test_any_result_can_be_drawn(scene, changes):
    nodes = add_case(scene, **case(attention=None))
    pixels = overview_pixels(nodes, result(**changes))
    assert pixels.shape == (HEIGHT, WIDTH, 3)
    assert (caption(pixels)[-45:] > 200).any()  # the disclaimer is never crowded out


def test_a_roi_beyond_the_image_is_drawn_on_black(scene):
    nodes = add_case(scene, **case(roi=Roi(np.array([900.0, 0, 0]), np.full(3, 30.0)), attention=None))
    pixels = panel(overview_pixels(nodes, result()), 0, 0)
    assert np.median(pixels) == 0


def test_probabilities_never_round_to_certainty():
    assert [percent(p) for p in (0.0, 0.0001, 0.5, 0.9999, 1.0)] == ["0 %", "< 1 %", "50 %", "> 99 %", "100 %"]


def test_long_text_is_broken_into_lines_that_fit():
    lines = wrap("word " * 60, 400, 20)
    assert max(map(len, lines)) * 20 * 0.52 <= 400
    assert " ".join(lines).split() == ["word"] * 60
