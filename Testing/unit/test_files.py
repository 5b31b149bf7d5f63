from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cadx.errors import InputError
from cadx.io import dicom
from cadx.io.files import read_volume

from support import pattern_volume, write, write_dicom


@pytest.mark.parametrize("suffix", [".nii.gz", ".nii", ".nrrd", ".mha"])
def test_every_format_gives_the_same_volume(tmp_path, t2_geometry, suffix):
    volume = pattern_volume(t2_geometry, "t2")
    back = read_volume(str(write(tmp_path / f"t2{suffix}", volume)))
    assert back.geometry.is_close(volume.geometry, 1e-3)
    np.testing.assert_array_equal(back.voxels, volume.voxels)
    assert back.name == f"t2{suffix}"


def test_nifti_agrees_with_nibabel(tmp_path, t2_geometry):
    nibabel = pytest.importorskip("nibabel")
    volume = pattern_volume(t2_geometry, "t2")
    image = nibabel.load(write(tmp_path / "t2.nii.gz", volume))
    np.testing.assert_allclose(image.affine, volume.geometry.ijk_to_ras, atol=1e-4)
    np.testing.assert_array_equal(image.get_fdata().transpose(2, 1, 0).astype(np.float32), volume.voxels)


@pytest.fixture
def study(tmp_path, t1_geometry, t2_geometry):
    """A folder with a T1 and a T2 series."""
    t2_upright = pattern_volume(t2_geometry, "t2").canonical()
    write_dicom(tmp_path / "a", pattern_volume(t1_geometry, "t1"), uid="1.2.1", description="ax vibe fs", tr=4, te=2)
    write_dicom(tmp_path / "b", t2_upright, uid="1.2.2", description="haste", tr=1200, te=90)
    return tmp_path


def test_a_dicom_series_lies_where_its_headers_say(study, t1_geometry):
    volume = read_volume(str(study / "a"))
    assert volume.canonical_geometry().is_close(t1_geometry, 1e-3)
    expected = np.round(pattern_volume(t1_geometry, "t1").voxels)
    np.testing.assert_allclose(volume.canonical().voxels, expected)
    assert volume.patient_id == "P"


def test_series_are_guessed_from_headers_and_the_guess_is_shown(study):
    notes = []
    t1 = read_volume(str(study), "T1", notes.append)
    t2 = read_volume(str(study), "T2", notes.append)
    assert (t1.name, t2.name) == ("a", "b")
    assert "guessed from the headers" in notes[0]
    assert "vibe" in notes[0]
    assert [s.weighting for s in dicom.list_series(study)] == ["T1", "T2"]


def test_series_are_chosen_by_number(study):
    assert read_volume(f"{study}#2").name == "b"
    with pytest.raises(InputError, match="no series #3"):
        read_volume(f"{study}#3")


def test_an_open_choice_lists_the_series(study):
    with pytest.raises(InputError, match=r"#1: .*#2: "):
        read_volume(str(study))


def test_a_gap_is_refused(study):
    (study / "a" / "slice-005.dcm").unlink()
    with pytest.raises(InputError, match="missing or repeated"):
        read_volume(str(study / "a"))


def test_a_sheared_stack_is_refused(tmp_path, t1_geometry):
    import pydicom

    folder = write_dicom(tmp_path / "s", pattern_volume(t1_geometry, "t1"), uid="1.2.5", description="t1", tr=4, te=2)
    for number, file in enumerate(sorted(folder.iterdir())):
        ds = pydicom.dcmread(file)
        ds.ImagePositionPatient = [ds.ImagePositionPatient[0] + 2.0 * number, *ds.ImagePositionPatient[1:]]
        ds.save_as(file)
    with pytest.raises(InputError, match=r"sheared|missing"):
        read_volume(str(folder))


def test_each_slice_has_its_own_rescale(tmp_path, t1_geometry):
    import pydicom

    volume = pattern_volume(t1_geometry, "t1").with_voxels(np.full(t1_geometry.size_ijk[::-1], 400.0))
    folder = write_dicom(tmp_path / "s", volume, uid="1.2.6", description="t1", tr=4, te=2)
    for number, file in enumerate(sorted(folder.iterdir())):
        ds = pydicom.dcmread(file)
        ds.RescaleIntercept, ds.RescaleSlope = "0", "1" if number == 0 else "0.001"
        ds.save_as(file)
    planes = read_volume(str(folder)).canonical().voxels
    assert planes.dtype == np.float32
    np.testing.assert_allclose([planes[0].mean(), planes[5].mean()], [400, 0.4], rtol=1e-4)


def test_different_patients_are_refused(study, t2_geometry, case):
    from cadx.case import Case

    t1 = read_volume(str(study / "a"))
    t2 = read_volume(str(study / "b"))
    with pytest.raises(InputError, match="different patient ids"):
        Case({"T1": t1, "T2": replace(t2, patient_id="Q")}, case.roi)
