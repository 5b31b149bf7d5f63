from __future__ import annotations

from itertools import permutations, product

import numpy as np
import pytest

from cadx.errors import InputError
from cadx.geometry import Geometry
from cadx.volume import Volume

from support import pattern_volume

STORAGES = [(order, signs) for order in permutations(range(3)) for signs in product((1, -1), repeat=3)]


@pytest.mark.parametrize(("order", "signs"), STORAGES)
def test_every_storage_of_a_volume_has_one_canonical_form(t1_geometry, order, signs):
    stored = pattern_volume(t1_geometry.reordered(order, signs), "v")
    canonical = stored.canonical()
    assert canonical.geometry.is_close(t1_geometry, 1e-9)
    assert stored.canonical_geometry().is_close(t1_geometry, 1e-9)
    upright = pattern_volume(t1_geometry, "v")
    assert upright.with_voxels(canonical.voxels).sha256() == stored.sha256()
    np.testing.assert_allclose(canonical.voxels, pattern_volume(t1_geometry, "v").voxels, atol=1e-3)


@pytest.mark.parametrize(("order", "signs"), STORAGES[::5])
def test_simpleitk_and_back_keeps_place_and_voxels(t1_geometry, order, signs):
    volume = pattern_volume(t1_geometry.reordered(order, signs), "v")
    back = Volume.from_sitk(volume.to_sitk())
    assert back.geometry.is_close(volume.geometry, 1e-9)
    np.testing.assert_array_equal(back.voxels, volume.voxels)


def test_simpleitk_is_lps(t1_geometry):
    image = pattern_volume(t1_geometry, "v").to_sitk()
    lps = np.array(image.TransformIndexToPhysicalPoint((7, 5, 3)))
    np.testing.assert_allclose(lps * [-1, -1, 1], t1_geometry.to_ras([7, 5, 3]))


def test_indices_and_points_are_inverse(t2_geometry):
    ijk = np.array([[0, 0, 0], [3.5, 60, 2], [-4, 7, 9]])
    np.testing.assert_allclose(t2_geometry.to_ijk(t2_geometry.to_ras(ijk)), ijk, atol=1e-9)


@pytest.mark.parametrize(
    ("matrix", "word"),
    [
        (np.diag([1.0, 0.0, 1.0, 1.0]), "singular"),
        (np.array([[1, 0.5, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]]), "sheared"),
        (np.full((4, 4), np.nan), "finite"),
    ],
)
def test_impossible_geometry_is_refused(matrix, word):
    with pytest.raises(InputError, match=word):
        Geometry((2, 2, 2), matrix)
