"""Slices as a radiologist sees them, whatever the storage; DICOM images as training and use read them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cadx.errors import InputError
from cadx.geometry import Geometry
from cadx.prepare.picture_file import read_picture_file
from cadx.prepare.stack import Stack
from cadx.study.layouts.reading import read_any_picture
from cadx.volume import Volume

from picture_samples import STORAGES, blob_volume, stored, write_slice_dicom

PLANE = np.arange(12, dtype=np.uint16).reshape(3, 4) * 100


def coordinate(geometry: Geometry, axis: int) -> Volume:
    """Each voxel holds its own place along R, A or S."""
    k, j, i = np.indices(geometry.size_ijk[::-1])
    return Volume(geometry.to_ras(np.stack([i, j, k], axis=-1))[..., axis], geometry, "place")


@pytest.mark.parametrize(
    ("plane", "axis", "left", "up"), [("axial", 2, 0, 1), ("coronal", 1, 0, 2), ("sagittal", 0, 1, 2)]
)
def test_slices_are_upright(plane, axis, left, up):
    geometry = blob_volume(axis).geometry
    for order, signs in STORAGES[::5]:
        across = Stack.of(stored(coordinate(geometry, left), order, signs))
        assert across.plane == plane
        assert (np.diff(across.values(1), axis=1) < 0).all()
        assert (np.diff(Stack.of(stored(coordinate(geometry, up), order, signs)).values(1), axis=0) < 0).all()


def test_the_storage_changes_no_slice():
    volume = blob_volume(1)
    expected = Stack.of(volume)
    for order, signs in STORAGES:
        stack = Stack.of(stored(volume, order, signs))
        assert stack.count == 7
        places = [stack.position_mm(i) for i in stack.indices]
        np.testing.assert_allclose(places, [expected.position_mm(i) for i in expected.indices], atol=1e-9)
        for mine, other in zip(stack.indices, expected.indices, strict=True):
            assert np.array_equal(stack.picture(mine).pixels, expected.picture(other).pixels)
            np.testing.assert_allclose(stack.center_ras(mine), expected.center_ras(other), atol=1e-9)
            assert stack.from_first(mine) == expected.from_first(other)


@pytest.mark.parametrize(("plane", "axis", "count"), [("axial", 2, 7), ("coronal", 1, 40), ("sagittal", 0, 44)])
def test_any_plane_can_be_chosen(plane, axis, count):
    volume = blob_volume(2)
    expected = Stack.of(volume, plane)
    assert (expected.plane, expected.axis, expected.count) == (plane, axis, count)
    for order, signs in STORAGES[::5]:
        stack = Stack.of(stored(volume, order, signs), plane)
        for mine, other in list(zip(stack.indices, expected.indices, strict=True))[::3]:
            assert np.array_equal(stack.values(mine), expected.values(other))
            assert stack.from_first(mine) == expected.from_first(other)
    assert [n.code for n in expected.notices()] == ([] if axis == 2 else ["pixels-not-square"])


def test_an_impulse_comes_back_to_its_voxel():
    volume = blob_volume(0)
    target = volume.geometry.to_ras([3, 11, 25])
    for order, signs in STORAGES[::3]:
        stack = Stack.of(stored(volume, order, signs))
        i, j, k = np.rint(stack.volume.geometry.to_ijk(target)).astype(int)
        marked = np.zeros(stack.volume.voxels.shape)
        marked[k, j, i] = 1
        maps = {n: Stack(stack.volume.with_voxels(marked), stack.axis).values(n) for n in range(stack.count)}
        assert np.array_equal(stack.put_back(maps).voxels, marked)


def test_a_volume_that_stands_for_itself_says_so():
    volume = blob_volume()
    assert Stack.of(volume).notices() == []
    assert [n.code for n in Stack.of(replace(volume, oriented=False)).notices()] == ["no-orientation"]
    wide = Geometry.from_axes((5, 6, 4), (1, 1.5, 7), np.eye(3), (0, 0, 0))
    assert [n.code for n in Stack.of(Volume(np.zeros((4, 6, 5)), wide)).notices()] == ["pixels-not-square"]
    with pytest.raises(InputError, match="0 to 6, and no slice 7"):
        Stack.of(volume).picture(7)


def test_rescaled_halves_fall_alike():
    """A range of 510 puts every odd value on a half, where the last digit of a rescaled number would decide."""
    from cadx.prepare.picture import picture_of

    values = np.arange(511).reshape(7, 73)
    rescaled = values.astype(np.float32) * np.float32(0.37) + np.float32(11.3)
    assert np.array_equal(picture_of(values, "a").pixels, picture_of(rescaled, "b").pixels)


# --- DICOM


def expected_pixels(values):
    values = np.asarray(values, dtype=float)
    return np.rint(255 * (values - values.min()) / np.ptp(values)).astype(np.uint8)


def read(tmp_path, plane=PLANE, axes=None, **tags):
    path = write_slice_dicom(tmp_path / "a.dcm", plane, axes, **tags)
    pixels = read_picture_file(path).pixels
    assert np.array_equal(read_any_picture(str(path)).pixels, pixels)
    return pixels


def test_black_on_white_rescale_and_window(tmp_path):
    assert np.array_equal(read(tmp_path), expected_pixels(PLANE))
    assert np.array_equal(read(tmp_path, PhotometricInterpretation="MONOCHROME1"), 255 - expected_pixels(PLANE))
    window = {"WindowCenter": 500, "WindowWidth": 401, "RescaleSlope": 1, "RescaleIntercept": 100}
    shown = read(tmp_path, Modality="DX", **window)
    assert np.abs(shown.astype(int) - expected_pixels(np.clip(PLANE + 100.0, 300, 700))).max() <= 1
    # the window of an MR slice is one technician's taste, and no volume of the same slices knows it
    assert np.array_equal(read(tmp_path, **window), expected_pixels(PLANE))
    assert np.array_equal(read(tmp_path, PLANE.astype(np.int16) - 500), expected_pixels(PLANE))
    eight = read(tmp_path, (PLANE // 10 + 20).astype(np.uint8))
    assert (eight.min(), eight.max()) == (0, 255)


def test_a_lookup_table_is_applied(tmp_path):
    import pydicom

    table = pydicom.Dataset()
    table.LUTDescriptor = [16, 0, 16]
    table.LUTData = (np.arange(16, dtype=np.uint16) ** 2).tobytes()
    plane = np.arange(12, dtype=np.uint16).reshape(3, 4)
    shown = read(tmp_path, plane, Modality="DX", VOILUTSequence=[table])
    assert np.array_equal(shown, expected_pixels(plane.astype(float) ** 2))


def test_a_radiograph_is_turned_as_its_letters_say(tmp_path):
    straight = expected_pixels(PLANE)
    assert np.array_equal(read(tmp_path, Modality="DX", PatientOrientation=["L", "F"]), straight)
    assert np.array_equal(read(tmp_path, Modality="DX", PatientOrientation=["R", "F"]), straight[:, ::-1])
    assert np.array_equal(read(tmp_path, Modality="DX", PatientOrientation=["L", "H"]), straight[::-1])
    assert np.array_equal(read(tmp_path, Modality="DX", PatientOrientation=["A", "F"]), straight[:, ::-1])
    assert np.array_equal(read(tmp_path, Modality="MG", PatientOrientation=["A", "F"]), straight)
    assert np.array_equal(read(tmp_path, Modality="DX", PatientOrientation=["", ""]), straight)


def test_colour_stays_colour(tmp_path):
    colour = np.random.default_rng(0).integers(0, 255, (5, 6, 3)).astype(np.uint8)
    assert np.array_equal(read(tmp_path, colour), colour)


@pytest.mark.parametrize(
    ("tags", "words"),
    [
        ({"PhotometricInterpretation": "PALETTE COLOR"}, "stored as 'PALETTE COLOR'"),
        ({"BitsStored": 17}, "stores 17 bits in 16"),
        ({"BitsStored": 8, "HighBit": 7}, "beyond the 8 bits"),
        ({"SamplesPerPixel": 3, "PlanarConfiguration": 0, "PixelData": PLANE.tobytes() * 3}, "of 3 samples a pixel"),
        ({"NumberOfFrames": 2, "PixelData": PLANE.tobytes() * 2}, "holds 2 images"),
        ({"Modality": "DX", "WindowCenter": 5, "WindowWidth": 0}, "display window"),
        ({"PixelData": b"\0" * 24}, "same value"),
        ({"PixelData": b"\0" * 8}, "cut or damaged"),
    ],
)
def test_surprises_are_one_sentence(tmp_path, tags, words):
    path = write_slice_dicom(tmp_path / "a.dcm", PLANE, **tags)
    with pytest.raises(InputError, match=words) as found:
        read_picture_file(path)
    assert "a.dcm" in str(found.value)
    assert "\n" not in str(found.value)


def test_a_volume_is_no_picture(tmp_path):
    (tmp_path / "a.nii.gz").write_bytes(b"x")
    with pytest.raises(InputError, match="is a volume and no picture"):
        read_picture_file(tmp_path / "a.nii.gz")
