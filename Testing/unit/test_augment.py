"""Augmentation against straightforward references, for a seed always the same, and nothing where nothing is asked."""

from __future__ import annotations

import math

import pytest

from cadx.study.spec import AugmentationSpec

torch = pytest.importorskip("torch")

from cadx.study import augment  # noqa: E402
from cadx.study.augment.geometry import LARGEST_WARP, Motion, draw_homographies, random_motion, resample  # noqa: E402
from cadx.study.augment.light import apply_light, random_light  # noqa: E402
from cadx.study.augment.symmetry import apply_symmetry, random_symmetry, symmetry_matrices  # noqa: E402
from cadx.study.augment.through_slices import turned_by  # noqa: E402

EVERYTHING = AugmentationSpec(
    quarter_turns=True,
    flip_horizontal=0.5,
    flip_vertical=0.5,
    rotation_degrees=20,
    shear_degrees=10,
    zoom=0.1,
    shift=0.1,
    warp=0.1,
    light=0.2,
)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def smooth(count: int = 1, channels: int = 1, edge: int = 64) -> torch.Tensor:
    """Pictures 0..1 without sharp edges that fall to zero at their border."""
    y, x = torch.meshgrid(*[torch.linspace(-1, 1, edge)] * 2, indexing="ij")
    blob = torch.exp(-8 * ((x - 0.2) ** 2 + 2 * (y + 0.1) ** 2 + 0.5 * x * y))
    return blob.expand(count, channels, edge, edge).clone()


def test_nothing_asked_is_nothing_done():
    batch, cells, generator = torch.rand(3, 1, 8, 8), torch.rand(3, 2, 4, 8, 8), seeded()
    before = generator.get_state()
    assert augment.augment_pictures(batch, AugmentationSpec(), generator) is batch
    assert augment.augment_cells(cells, AugmentationSpec(), generator) is cells
    assert torch.equal(before, generator.get_state())


def test_a_seed_gives_the_same_again_and_another_does_not():
    for images, function in (
        (smooth(6, 3), augment.augment_pictures),
        (torch.rand(6, 2, 4, 16, 16), augment.augment_cells),
    ):
        kept = images.clone()
        first, again, other = (function(images, EVERYTHING, seeded(seed)) for seed in (1, 1, 2))
        assert torch.equal(first, again)
        assert not torch.equal(first, other)
        assert not torch.equal(first[0], first[1])
        assert first.shape == images.shape
        assert first.dtype == torch.float32
        assert torch.equal(images, kept)


def test_slices_and_channels_of_a_case_move_together():
    cell = smooth(5)[:, :, None]
    cells = cell.expand(5, 2, 9, 64, 64)
    moved = augment.augment_cells(cells, EVERYTHING.model_copy(update={"light": 0.0}), seeded())
    assert torch.equal(moved, moved[:, :1, :1].expand_as(moved))
    assert not torch.allclose(moved[0], moved[1], atol=0.1)
    grey = smooth(5).expand(5, 3, 64, 64)
    lit = augment.augment_pictures(grey, EVERYTHING, seeded())
    assert torch.equal(lit, lit[:, :1].expand_as(lit))


def test_flips_within_the_resampling_are_the_exact_ones():
    images = torch.rand(20, 3, 16, 16)
    flips = {"quarter_turns": True, "flip_horizontal": 0.5, "flip_vertical": 0.3}
    exact = augment.augment_pictures(images, AugmentationSpec(**flips), seeded())
    resampled = augment.augment_pictures(images, AugmentationSpec(**flips, shift=1e-6), seeded())
    assert torch.allclose(exact, resampled, atol=1e-3)
    drawn = symmetry_matrices(torch.tensor([1] * 20), torch.tensor([True] * 20))
    together = random_motion(images, Motion(rotation_degrees=30), seeded(5), first=drawn)
    apart = random_motion(torch.rot90(images, 1, (-2, -1)).flip(-1), Motion(rotation_degrees=30), seeded(5))
    assert torch.allclose(together, apart, atol=1e-4)


def test_the_light_of_masks_is_left_alone():
    image = 0.25 + 0.5 * torch.rand(4, 2, 9, 8, 8)
    masks = (torch.rand(4, 1, 9, 8, 8) > 0.5).float()
    cells = torch.cat([image, masks], dim=1)
    out = augment.augment_cells(cells, AugmentationSpec(light=0.3), seeded(), masks=1)
    assert torch.equal(out[:, -1:], masks)
    assert (out[:, :2] != image).float().mean() > 0.99
    shift = torch.logit(out[:, :2]).mean((2, 3, 4)) - torch.logit(image).mean((2, 3, 4))
    assert (shift[:, 0] - shift[:, 1]).abs().min() > 1e-3
    moved = augment.augment_cells(cells, AugmentationSpec(flip_horizontal=1.0, light=0.3), seeded(), masks=1)
    assert torch.equal(moved[:, -1:], masks.flip(-1))


def test_the_eight_symmetries_are_exact():
    image = torch.rand(2, 3, 5, 5)
    for turns in range(4):
        for flipped in (False, True):
            out = apply_symmetry(image, torch.full((2,), turns), torch.full((2,), flipped))
            expected = torch.rot90(image, turns, (-2, -1))
            expected = expected.flip(-1) if flipped else expected
            assert torch.equal(out, expected)
            matrices = symmetry_matrices(torch.full((2,), turns), torch.full((2,), flipped))
            assert (resample(image, matrices) - expected).abs().max() < 1e-5


@pytest.mark.parametrize("shape", [(400, 3, 3), (400, 2, 1, 3, 3)])
def test_flips_and_turns_come_as_often_as_asked(shape):
    images = torch.arange(9.0).reshape(3, 3).expand(shape)
    one = images[(0,) * (len(shape) - 2)]
    assert torch.equal(random_symmetry(images, seeded(), horizontal=1.0), images.flip(-1))
    assert torch.equal(random_symmetry(images, seeded(), vertical=1.0), images.flip(-2))
    assert torch.equal(random_symmetry(images, seeded(), horizontal=1.0, vertical=1.0), images.flip(-2, -1))
    some = random_symmetry(images, seeded(), horizontal=0.25)
    flipped = sum(torch.equal(out.reshape(-1, 3, 3)[0], one.flip(-1)) for out in some)
    assert 70 < flipped < 130
    for drawn in (
        random_symmetry(images, seeded(), quarter_turns=True, horizontal=0.5),
        augment.random_d4(images, seeded()),
    ):
        counts = drawn.reshape(400, -1, 3, 3)[:, 0].reshape(400, 9).unique(dim=0, return_counts=True)[1]
        assert len(counts) == 8
        assert counts.min() > 25
    turned = random_symmetry(images, seeded(), quarter_turns=True).reshape(400, -1)
    assert len(turned.unique(dim=0)) == 4


def test_a_rotation_is_the_librarys():
    functional = pytest.importorskip("torchvision.transforms.functional")
    homographies = draw_homographies(4, Motion(rotation_degrees=60), seeded())
    ours = resample(smooth(4, 2), homographies)
    for image, out, homography in zip(smooth(4, 2), ours, homographies, strict=True):
        degrees = math.degrees(math.atan2(homography[1, 0], homography[0, 0]))
        assert abs(degrees) <= 60
        theirs = functional.rotate(image, degrees, interpolation=functional.InterpolationMode.BILINEAR)
        assert (out - theirs).abs().max() < 2e-3


def test_shift_zoom_and_shear_are_shares_of_the_edge():
    spot = torch.zeros(200, 1, 101, 101)
    spot[:, :, 40:61, 40:61] = 1
    y, x = torch.meshgrid(*[torch.arange(101.0) - 50] * 2, indexing="ij")

    def middle_and_size(images):
        weight = images.sum((1, 2, 3))
        return [(images[:, 0] * n).sum((1, 2)) / weight for n in (x, y)], weight.sqrt() / 21

    (across, down), size = middle_and_size(random_motion(spot, Motion(shift=0.1), seeded()))
    assert (size - 1).abs().max() < 1e-3
    for moved in (across, down):
        assert moved.abs().max() <= 10.1001
        assert moved.max() > 9
        assert moved.min() < -9
    (across, down), size = middle_and_size(random_motion(spot, Motion(zoom=0.25), seeded()))
    assert torch.stack([across, down]).abs().max() < 1e-3
    assert 1.2 < size.max() < 1.26
    assert 0.79 < size.min() < 0.84
    sheared = draw_homographies(200, Motion(shear_degrees=30), seeded())
    assert sheared[:, 0, 1].abs().max() <= math.tan(math.radians(30))
    assert torch.allclose(torch.linalg.det(sheared), torch.ones(200, dtype=torch.float64))


def test_a_warp_moves_the_corners_and_is_the_librarys():
    functional = pytest.importorskip("torchvision.transforms.functional")
    homographies = draw_homographies(50, Motion(warp=0.2), seeded())
    corners = torch.tensor([[-1.0, -1, 1], [1, -1, 1], [1, 1, 1], [-1, 1, 1]], dtype=torch.float64)
    places = corners @ homographies.transpose(1, 2)
    places = places[..., :2] / places[..., 2:]
    moved = (places - corners[:, :2]).abs()
    assert 0.39 < moved.max() <= 0.4 + 1e-9
    assert (moved.amax((0, 1)) > 0.35).all()
    edge = 64
    image = smooth(edge=edge)
    start = [[0, 0], [edge, 0], [edge, edge], [0, edge]]
    end = ((places[0] + 1) / 2 * edge).tolist()
    coefficients = functional._get_perspective_coeffs(end, start)
    theirs = torch.nn.functional.grid_sample(
        image, _perspective_grid(coefficients, edge), align_corners=False, mode="bilinear"
    )
    assert (resample(image, homographies[:1]) - theirs).abs().max() < 1e-3


def _perspective_grid(coefficients, edge):
    a, b, c, d, e, f, g, h = coefficients
    y, x = torch.meshgrid(*[torch.arange(edge) + 0.5] * 2, indexing="ij")
    depth = g * x + h * y + 1
    return torch.stack([(a * x + b * y + c) / depth, (d * x + e * y + f) / depth], -1)[None] * 2 / edge - 1


def test_a_warp_that_folds_is_refused():
    with pytest.raises(ValueError, match="fold"):
        random_motion(smooth(), Motion(warp=0.3), seeded())
    worst = draw_homographies(2000, Motion(warp=LARGEST_WARP), seeded())
    corners = torch.tensor([[-1.0, -1, 1], [1, -1, 1], [1, 1, 1], [-1, 1, 1]], dtype=torch.float64)
    assert ((corners @ worst.transpose(1, 2))[..., 2] > 0).all()


def test_one_kind_of_motion_does_not_change_the_others_draws():
    turned = draw_homographies(5, Motion(rotation_degrees=20), seeded())
    shifted = draw_homographies(5, Motion(rotation_degrees=20, shift=0.1), seeded())
    assert torch.equal(turned[:, :2, :2], shifted[:, :2, :2])


def test_turning_keeps_the_proportions_of_a_wide_image():
    wide = torch.zeros(30, 1, 40, 80)
    wide[:, :, 10:30, 30:50] = 1
    turned = random_motion(wide, Motion(rotation_degrees=90), seeded())
    assert (turned.sum((1, 2, 3)) - 400).abs().max() < 8


def test_all_motions_at_once_are_resampled_once():
    motion = Motion(20, 10, 0.1, 0.1, 0.1)
    images = smooth(8, 3)
    composed = resample(images, draw_homographies(8, motion, seeded()))
    assert torch.equal(random_motion(images, motion, seeded()), composed)
    assert composed[..., 0, :].max() < 1e-3


def test_light_is_that_of_log_odds():
    images = torch.rand(3, 2, 5, 5) * 0.98 + 0.01
    brightness, contrast = torch.tensor([[0.0], [0.4], [-0.4]]), torch.tensor([[1.0], [1.25], [0.8]])
    lit = apply_light(images, brightness, contrast)
    odds = torch.log(images / (1 - images)) * contrast[..., None, None] + brightness[..., None, None]
    torch.testing.assert_close(lit, 1 / (1 + torch.exp(-odds)))
    torch.testing.assert_close(lit[0], images[0])
    grey = random_light(torch.full((500, 1, 1, 1), 0.5), 0.2, seeded())
    assert 0.4 <= grey.min() < 0.405
    assert 0.595 < grey.max() <= 0.6
    ends = torch.tensor([0.0, 1.0]).expand(50, 1, 2)
    assert (random_light(ends, 0.2, seeded()) - ends).abs().max() < 1e-4
    assert random_light(torch.rand(50, 1, 4), 1.0, seeded()).isfinite().all()


@pytest.mark.parametrize("degrees", [0, 30, 90, -140])
def test_the_turn_through_slices_is_what_monai_makes_of_the_authors_call(degrees):
    monai = pytest.importorskip("monai.transforms")
    cells = torch.rand(1, 2, 11, 6, 16)
    angle = math.radians(degrees)
    ours = turned_by(cells, torch.tensor([11]), torch.tensor([angle], dtype=torch.float64))[0]
    # the authors' arrays are (channel, R, A, S); their cells' rows are R, columns A
    volume = cells[0].permute(0, 2, 3, 1)
    turn = monai.Rotate((angle, 0, 0), keep_size=True, mode="bilinear", padding_mode="border", align_corners=False)
    theirs = torch.as_tensor(turn(volume)).permute(0, 3, 1, 2)
    assert (ours - theirs).abs().max() < 1e-4


def test_the_turn_knows_only_a_cases_own_slices():
    short = torch.rand(1, 1, 9, 4, 8)
    padded = torch.cat([short, torch.full((1, 1, 5, 4, 8), 7.0)], dim=2)
    angles = torch.tensor([1.0], dtype=torch.float64)
    own = turned_by(short, torch.tensor([9]), angles)
    assert torch.allclose(turned_by(padded, torch.tensor([9]), angles)[:, :, :9], own, atol=1e-5)
    both = torch.cat([padded, torch.rand_like(padded)])
    drawn = augment.turn_through_slices(both, seeded(), torch.tensor([9, 14]))
    alone = augment.turn_through_slices(short[0], seeded())
    assert torch.allclose(drawn[0, :, :9], alone, atol=1e-5)
    assert not torch.allclose(alone, short[0], atol=0.1)


def test_the_topmost_windows_are_left_out_as_in_the_authors_code():
    slices = torch.tensor([14] * 3000 + [9, 10, 11, 7])
    windows = augment.random_windows(slices, 9, seeded(), last_starts_never_drawn=2)
    assert windows[:3000, 0].unique().tolist() == [0, 1, 2, 3]
    assert windows[3000:, 0].tolist() == [0, 0, 0, 0]
    assert windows[-1].tolist() == [0, 1, 2, 3, 4, 5, 6, 6, 6]
    every = augment.random_windows(slices, 9, seeded())
    assert every[:3000, 0].unique().tolist() == [0, 1, 2, 3, 4, 5]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_device_gives_what_the_cpu_gives():
    for images, function in (
        (smooth(6, 3), augment.augment_pictures),
        (torch.rand(6, 2, 4, 16, 16), augment.augment_cells),
    ):
        there = function(images.cuda(), EVERYTHING, seeded()).cpu()
        assert (there - function(images, EVERYTHING, seeded())).abs().max() < 1e-3
