"""What a user or an attacker may hand in: each row makes the files and says what the one sentence must hold."""

from __future__ import annotations

import gzip
import json
import os
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from cadx.case import Case
from cadx.volume import Volume

from support import write, write_dicom

Changes = dict[str, str]
NIFTI_BYTES = 352


@dataclass(frozen=True)
class Row:
    """``make(folder, case)`` leaves the files and names what it changes of a good case (t1, t2, roi)."""

    name: str
    make: Callable[[Path, Case], Changes]
    says: str


ROWS: list[Row] = []


def row(says: str) -> Callable[[Callable[[Path, Case], Changes]], Callable[[Path, Case], Changes]]:
    def keep(make: Callable[[Path, Case], Changes]) -> Callable[[Path, Case], Changes]:
        ROWS.append(Row(make.__name__, make, says))
        return make

    return keep


def _numbers(case: Case, offset=(0, 0, 0), size=(60, 50, 50)) -> str:
    return ",".join(f"{v:.3f}" for v in (*(case.roi.center_ras + np.asarray(offset)), *size))


def _t1(folder: Path, volume: Volume, name: str = "bad.nii.gz") -> Changes:
    return {"t1": str(write(folder / name, volume))}


def _spoiled(case: Case, value: float) -> Volume:
    voxels = case.images["T1"].voxels.copy()
    voxels[3, 4, 5] = value
    return case.images["T1"].with_voxels(voxels)


# --- files ---------------------------------------------------------------------------------------------------------


@row("pipe is no known image format")
def a_pipe_of_no_format(folder, case):
    os.mkfifo(folder / "pipe")
    return {"t1": str(folder / "pipe")}


@row("two.nii is NIfTI-2, which is not read")
def nifti_two(folder, case):
    (folder / "two.nii").write_bytes(struct.pack("<i", 540) + bytes(1000))
    return {"t1": str(folder / "two.nii")}


@row("no file or folder absent.nii.gz")
def missing_file(folder, case):
    return {"t1": str(folder / "absent.nii.gz")}


@row("This bundle needs T1 and T2; give --t2")
def empty_name(folder, case):
    return {"t2": ""}


@row("noise.nii.gz cannot be read as an image")
def unreadable_file(folder, case):
    (folder / "noise.nii.gz").write_bytes(os.urandom(4000))
    return {"t2": str(folder / "noise.nii.gz")}


@row("cut.nii.gz cannot be read to its end")
def truncated_gzip(folder, case):
    whole = write(folder / "cut.nii.gz", case.images["T1"])
    whole.write_bytes(whole.read_bytes()[:-5000])
    return {"t1": str(whole)}


@row("cut.nii cannot be read to its end")
def truncated_nifti(folder, case):
    whole = write(folder / "cut.nii", case.images["T1"])
    whole.write_bytes(whole.read_bytes()[:-5000])
    return {"t1": str(whole)}


@row("cut.mha cannot be read to its end")
def truncated_metaimage(folder, case):
    whole = folder / "cut.mha"
    sitk.WriteImage(case.images["T1"].to_sitk(), str(whole), useCompression=True)
    whole.write_bytes(whole.read_bytes()[:-900])
    return {"t1": str(whole)}


@row("letter.txt is no known image format")
def not_an_image(folder, case):
    (folder / "letter.txt").write_text("Dear colleague,")
    return {"t1": str(folder / "letter.txt")}


@row("letter.nii cannot be read as an image")
def not_an_image_by_content(folder, case):
    (folder / "letter.nii").write_text("Dear colleague, " * 100)
    return {"t1": str(folder / "letter.nii")}


@row("pipe.nii is no regular file")
def a_pipe(folder, case):
    os.mkfifo(folder / "pipe.nii")
    return {"t1": str(folder / "pipe.nii")}


# --- shape and values ----------------------------------------------------------------------------------------------


@row("flat.nii.gz is a two-dimensional image")
def two_dimensions(folder, case):
    sitk.WriteImage(sitk.Image(30, 30, sitk.sitkFloat32), str(folder / "flat.nii.gz"))
    return {"t1": str(folder / "flat.nii.gz")}


@row("four.nii.gz has 4 dimensions")
def four_dimensions(folder, case):
    sitk.WriteImage(sitk.Image([9, 9, 9, 3], sitk.sitkFloat32), str(folder / "four.nii.gz"))
    return {"t2": str(folder / "four.nii.gz")}


@row("colour.nrrd has several components")
def colour(folder, case):
    sitk.WriteImage(sitk.Image([9, 9, 9], sitk.sitkVectorUInt8, 3), str(folder / "colour.nrrd"))
    return {"t1": str(folder / "colour.nrrd")}


@row("complex.mha has several components")
def complex_numbers(folder, case):
    sitk.WriteImage(sitk.Image([9, 9, 9], sitk.sitkComplexFloat32), str(folder / "complex.mha"))
    return {"t1": str(folder / "complex.mha")}


@row("bad.nii.gz holds voxels that are not finite")
def nan_voxels(folder, case):
    return _t1(folder, _spoiled(case, np.nan))


@row("T1 .bad.nrrd. holds voxels that are not finite")
def nan_voxels_in_nrrd(folder, case):
    return _t1(folder, _spoiled(case, np.nan), "bad.nrrd")


@row("bad.nii holds voxels that are not finite")
def infinite_voxels(folder, case):
    return _t1(folder, _spoiled(case, np.inf), "bad.nii")


@row("T1 .bad.nii.gz. holds voxels beyond 1e.09")
def absurd_voxels(folder, case):
    return _t1(folder, _spoiled(case, 3e38))


@row("T1 .bad.nii.gz. has the same value in every voxel")
def constant_image(folder, case):
    return _t1(folder, case.images["T1"].with_voxels(np.full_like(case.images["T1"].voxels, 7)))


@row("T1 .thin.nii.gz. holds only 5 slices and the grid needs 9")
def too_few_slices(folder, case):
    image = case.images["T1"].to_sitk()[:, :, 5:10]
    sitk.WriteImage(image, str(folder / "thin.nii.gz"))
    return {"t1": str(folder / "thin.nii.gz"), "roi": _numbers(case, size=(60, 50, 25))}


# --- geometry ------------------------------------------------------------------------------------------------------


def _nifti_with_sform(path: Path, case: Case, matrix: np.ndarray, qform: bool) -> Changes:
    """An uncompressed NIfTI file whose sform is ``matrix``; the qform is kept or taken away."""
    content = bytearray(write(path, case.images["T1"]).read_bytes())
    struct.pack_into("<hh", content, 252, int(qform), 1)
    struct.pack_into("<12f", content, 280, *matrix[:3].ravel())
    path.write_bytes(content)
    return {"t1": str(path)}


@row("sheared.nii: the image axes are sheared")
def sheared_geometry(folder, case):
    matrix = case.images["T1"].geometry.ijk_to_ras.copy()
    matrix[:3, 1] += 0.4 * matrix[:3, 0]
    return _nifti_with_sform(folder / "sheared.nii", case, matrix, qform=False)


@row("sheared.nii: the image axes are sheared")
def sheared_geometry_behind_a_good_qform(folder, case):
    matrix = case.images["T1"].geometry.ijk_to_ras.copy()
    matrix[:3, 1] += 0.4 * matrix[:3, 0]
    return _nifti_with_sform(folder / "sheared.nii", case, matrix, qform=True)


@row("twice.nii says two spacings, 2 x 2 x 5.5 and 2 x 2 x 6.5 mm")
def two_spacings(folder, case):
    matrix = case.images["T1"].geometry.ijk_to_ras.copy()
    matrix[:3, 2] *= 6.5 / 5.5
    return _nifti_with_sform(folder / "twice.nii", case, matrix, qform=False)


@row("singular.nii: the geometry is singular")
def singular_geometry(folder, case):
    matrix = case.images["T1"].geometry.ijk_to_ras.copy()
    matrix[:3, 2] = 0
    return _nifti_with_sform(folder / "singular.nii", case, matrix, qform=False)


@row("lost.nii: the geometry is not a finite")
def geometry_of_nan(folder, case):
    return _nifti_with_sform(folder / "lost.nii", case, np.full((4, 4), np.nan), qform=False)


@row("sheared.mha: the image axes are sheared")
def sheared_metaimage(folder, case):
    header = _metaimage_header("LOCAL").replace(b"1 0 0 0 1 0 0 0 1", b"1 0 0 0.5 1 0 0 0 1")
    (folder / "sheared.mha").write_bytes(header + bytes(2 * 24 * 20 * 10))
    return {"t1": str(folder / "sheared.mha")}


@row("The ROI lies outside T2 .far.nii.gz.")
def no_overlap(folder, case):
    geometry = case.images["T2"].geometry
    matrix = geometry.ijk_to_ras.copy()
    matrix[:3, 3] += 800
    moved = Volume(case.images["T2"].voxels, type(geometry)(geometry.size_ijk, matrix), "far")
    return {"t2": str(write(folder / "far.nii.gz", moved))}


@row("T2 .beside.nii.gz. covers only [0-9]+% of the ROI")
def under_half_covered(folder, case):
    geometry = case.images["T2"].geometry
    matrix = geometry.ijk_to_ras.copy()
    matrix[:3, 3] += [75, 0, 0]
    moved = Volume(case.images["T2"].voxels, type(geometry)(geometry.size_ijk, matrix), "beside")
    return {"t2": str(write(folder / "beside.nii.gz", moved))}


# --- DICOM ---------------------------------------------------------------------------------------------------------


def _series(folder: Path, case: Case, role: str = "T1", **more: str) -> Path:
    volume = case.images[role].canonical()
    named = {"uid": f"1.2.{len(str(folder))}", "description": role.lower(), **more}
    return write_dicom(folder, volume, tr=500, te=10, **named)


@row("gap: slices are missing or repeated")
def dicom_gap(folder, case):
    (_series(folder / "gap", case) / "slice-005.dcm").unlink()
    return {"t1": str(folder / "gap")}


@row("holds 2 series.*choose one by its number")
def dicom_mixed_series(folder, case):
    _series(folder / "mixed", case, uid="1.2.71")
    for file in _series(folder / "other", case, uid="1.2.72").iterdir():
        file.rename(folder / "mixed" / f"b-{file.name}")
    return {"t1": str(folder / "mixed")}


@row("mixes slices of different size")
def dicom_mixed_sizes(folder, case):
    import pydicom

    file = _series(folder / "sizes", case) / "slice-004.dcm"
    ds = pydicom.dcmread(file)
    ds.Rows -= 2
    ds.PixelData = ds.PixelData[: 2 * ds.Rows * ds.Columns]
    ds.save_as(file)
    return {"t1": str(folder / "sizes")}


@row("persons mixes slices of different patients")
def dicom_mixed_patients(folder, case):
    import pydicom

    file = _series(folder / "persons", case) / "slice-004.dcm"
    ds = pydicom.dcmread(file)
    ds.PatientID = "another"
    ds.save_as(file)
    return {"t1": str(folder / "persons")}


@row("slices carry no position")
def dicom_positions_of_nan(folder, case):
    import pydicom

    for file in _series(folder / "lost", case).iterdir():
        ds = pydicom.dcmread(file)
        ds.ImageOrientationPatient = [0, 0, 0, 0, 0, 0]
        ds.save_as(file)
    return {"t1": str(folder / "lost")}


@row("holds a single DICOM slice")
def dicom_one_slice(folder, case):
    for file in _series(folder / "one", case).glob("slice-0[01][1-9].dcm"):
        file.unlink()
    (folder / "one" / "slice-010.dcm").unlink()
    return {"t1": str(folder / "one")}


@row("carry different patient ids")
def different_patients(folder, case):
    return {
        "t1": str(_series(folder / "first", case, uid="1.2.81", patient="A")),
        "t2": str(_series(folder / "second", case, "T2", uid="1.2.82", patient="B")),
    }


@row("empty holds no DICOM series")
def empty_folder(folder, case):
    (folder / "empty").mkdir()
    return {"t1": str(folder / "empty")}


@row("slice-014.dcm in short is cut or damaged")
def dicom_short_pixels(folder, case):
    import pydicom

    file = _series(folder / "short", case) / "slice-014.dcm"
    ds = pydicom.dcmread(file)
    ds.PixelData = ds.PixelData[:1000]
    ds.save_as(file)
    return {"t1": str(folder / "short")}


@row("slice-014.dcm in end is cut or damaged")
def dicom_damaged_last_slice(folder, case):
    file = _series(folder / "end", case) / "slice-014.dcm"
    file.write_bytes(file.read_bytes()[:400])
    return {"t1": str(folder / "end")}


@row("slice-003.dcm in deep nests its sequences too deeply")
def dicom_nested_without_end(folder, case):
    file = _series(folder / "deep", case) / "slice-003.dcm"
    sequence = struct.pack("<HH2sHI", 0x0012, 0x0064, b"SQ", 0, 0xFFFFFFFF)
    item = struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF)
    file.write_bytes(file.read_bytes() + (sequence + item) * 100_000)
    return {"t1": str(folder / "deep")}


@row("slice-003.dcm in defined nests its sequences too deeply")
def dicom_nested_with_lengths(folder, case):
    """Defined lengths are read by pydicom when asked for, and by the image library at once."""
    file = _series(folder / "defined", case) / "slice-003.dcm"
    content = b""
    for _ in range(6000):
        item = struct.pack("<HHI", 0xFFFE, 0xE000, len(content)) + content
        content = struct.pack("<HH2sHI", 0x0012, 0x0064, b"SQ", 0, len(item)) + item
    file.write_bytes(file.read_bytes() + content)
    return {"t1": str(folder / "defined")}


@row("bare: its slices carry no pixel spacing")
def dicom_without_spacing(folder, case):
    import pydicom

    for file in _series(folder / "bare", case).iterdir():
        ds = pydicom.dcmread(file)
        del ds.PixelSpacing
        ds.save_as(file)
    return {"t1": str(folder / "bare")}


@row("mixes slices of different pixel spacing or frame of reference")
def dicom_of_two_frames(folder, case):
    import pydicom

    file = _series(folder / "frames", case) / "slice-003.dcm"
    ds = pydicom.dcmread(file)
    ds.FrameOfReferenceUID = "1.2.3.99"
    ds.save_as(file)
    return {"t1": str(folder / "frames")}


# --- ROI -----------------------------------------------------------------------------------------------------------


@row("The ROI lies outside T1 .t1.nii.gz.")
def roi_outside(folder, case):
    return {"roi": _numbers(case, offset=(900, 0, 0))}


@row("T1 .t1.nii.gz. covers only [0-9]+% of the ROI")
def roi_mostly_outside(folder, case):
    return {"roi": _numbers(case, offset=(70, 0, 0))}


@row("The ROI .six numbers. is empty")
def roi_empty(folder, case):
    return {"roi": _numbers(case, size=(60, 0, 50))}


@row("neither a file nor six comma-separated numbers")
def roi_of_five_numbers(folder, case):
    return {"roi": "1,2,3,4,5"}


@row("neither a file nor six comma-separated numbers")
def roi_of_words(folder, case):
    return {"roi": "left,2,3,4,5,6"}


@row("has a centre not made of finite numbers")
def roi_of_nan(folder, case):
    return {"roi": "nan,0,0,50,50,50"}


@row("has a size not made of finite numbers")
def roi_of_infinity(folder, case):
    return {"roi": "0,0,0,50,inf,50"}


@row("no ROI file gone.mrk.json")
def roi_file_missing(folder, case):
    return {"roi": str(folder / "gone.mrk.json")}


def _markups(folder: Path, content: object) -> Changes:
    path = folder / "roi.mrk.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return {"roi": str(path)}


@row("roi.mrk.json holds no ROI")
def roi_file_of_points(folder, case):
    return _markups(folder, {"markups": [{"type": "Fiducial", "controlPoints": []}]})


@row("roi.mrk.json cannot be read as a Slicer markups file")
def roi_file_no_json(folder, case):
    return _markups(folder, "{")


@row("roi.mrk.json: the ROI has no complete centre")
def roi_file_without_centre(folder, case):
    return _markups(folder, {"markups": [{"type": "ROI", "size": [1, 2, 3]}]})


@row("mask.nii.gz: the mask is empty")
def roi_mask_empty(folder, case):
    empty = case.images["T1"].with_voxels(np.zeros_like(case.images["T1"].voxels))
    return {"roi": str(write(folder / "mask.nii.gz", empty))}


# --- hostile -------------------------------------------------------------------------------------------------------


def _metaimage_header(data: str, size: str = "24 20 10", packed: bool = False) -> bytes:
    return (
        "ObjectType = Image\nNDims = 3\nBinaryData = True\nBinaryDataByteOrderMSB = False\n"
        f"CompressedData = {packed}\nTransformMatrix = 1 0 0 0 1 0 0 0 1\nOffset = 0 0 0\nElementSpacing = 1 1 3\n"
        f"DimSize = {size}\nElementType = MET_SHORT\nElementDataFile = {data}\n"
    ).encode()


def _nrrd_header(size: str, encoding: str = "raw", data: str = "") -> bytes:
    return (
        "NRRD0004\ntype: short\ndimension: 3\nspace: left-posterior-superior\n"
        f"sizes: {size}\nspace directions: (1,0,0) (0,1,0) (0,0,3)\nkinds: domain domain domain\n"
        f"endian: little\nencoding: {encoding}\nspace origin: (0,0,0)\n{data}\n"
    ).encode()


def _nifti_of(case: Case, folder: Path, size: tuple[int, int, int]) -> bytes:
    """The header of the case's T1, declaring another size."""
    content = bytearray(write(folder / "model.nii", case.images["T1"]).read_bytes()[:NIFTI_BYTES])
    (folder / "model.nii").unlink()
    struct.pack_into("<4h", content, 40, 3, *size)
    return bytes(content)


@row("huge.nii declares 32767 x 32767 x 32767 voxels, more than")
def enormous_nifti(folder, case):
    (folder / "huge.nii").write_bytes(_nifti_of(case, folder, (32767, 32767, 32767)) + bytes(1000))
    return {"t1": str(folder / "huge.nii")}


@row("huge.nrrd declares 100000 x 100000 x 1000 voxels, more than")
def enormous_nrrd(folder, case):
    (folder / "huge.nrrd").write_bytes(_nrrd_header("100000 100000 1000") + bytes(1000))
    return {"t1": str(folder / "huge.nrrd")}


@row("huge.mha declares 100000 x 100000 x 1000 voxels, more than")
def enormous_metaimage(folder, case):
    (folder / "huge.mha").write_bytes(_metaimage_header("LOCAL", "100000 100000 1000") + bytes(1000))
    return {"t1": str(folder / "huge.mha")}


@row("large.nii cannot be read to its end")
def large_nifti_without_voxels(folder, case):
    (folder / "large.nii").write_bytes(_nifti_of(case, folder, (600, 600, 700)) + bytes(1000))
    return {"t1": str(folder / "large.nii")}


@row("large.nii.gz cannot be read to its end")
def large_gzip_without_voxels(folder, case):
    (folder / "large.nii.gz").write_bytes(gzip.compress(_nifti_of(case, folder, (600, 600, 700)) + bytes(1000)))
    return {"t1": str(folder / "large.nii.gz")}


@row("bomb.nii.gz unpacks to far more than its header declares")
def gzip_bomb(folder, case):
    member = gzip.compress(bytes(1 << 24), 9)
    start = gzip.compress(_nifti_of(case, folder, (20, 20, 20)))
    (folder / "bomb.nii.gz").write_bytes(start + member * 400)
    return {"t1": str(folder / "bomb.nii.gz")}


@row("bomb.mha unpacks to far more than its header declares")
def zlib_bomb(folder, case):
    packed = zlib.compress(bytes(1 << 28), 9)
    (folder / "bomb.mha").write_bytes(_metaimage_header("LOCAL", packed=True) + packed)
    return {"t1": str(folder / "bomb.mha")}


@row("zero.nhdr names its voxels '/dev/zero', outside its folder")
def detached_header_to_a_device(folder, case):
    (folder / "zero.nhdr").write_bytes(_nrrd_header("24 20 10", data="data file: /dev/zero"))
    return {"t1": str(folder / "zero.nhdr")}


@row("up.mhd names its voxels '../secret.raw', outside its folder")
def detached_header_out_of_its_folder(folder, case):
    (folder / "sub").mkdir()
    (folder / "secret.raw").write_bytes(bytes(2 * 24 * 20 * 10))
    (folder / "sub" / "up.mhd").write_bytes(_metaimage_header("../secret.raw"))
    return {"t1": str(folder / "sub" / "up.mhd")}


@row("link.mhd names its voxels 'data.raw', outside its folder")
def detached_header_through_a_link(folder, case):
    (folder / "sub").mkdir()
    (folder / "secret.raw").write_bytes(bytes(2 * 24 * 20 * 10))
    (folder / "sub" / "data.raw").symlink_to(folder / "secret.raw")
    (folder / "sub" / "link.mhd").write_bytes(_metaimage_header("data.raw"))
    return {"t1": str(folder / "sub" / "link.mhd")}


@row("comment.mha names its voxels '/dev/zero', outside its folder")
def detached_header_behind_a_comment(folder, case):
    header = _metaimage_header("/dev/zero").replace(b"NDims", b"Comment = ElementDataFile = LOCAL\nNDims", 1)
    (folder / "comment.mha").write_bytes(header)
    return {"t1": str(folder / "comment.mha")}


@row("list.mhd spreads its voxels over several files")
def detached_header_of_a_list(folder, case):
    (folder / "LIST").write_bytes(b"decoy")
    (folder / "list.mhd").write_bytes(_metaimage_header("LIST") + b"../secret.raw\n")
    return {"t1": str(folder / "list.mhd")}


@row("key.nhdr names its voxels '../secret.raw', outside its folder")
def detached_header_behind_a_key(folder, case):
    (folder / "=x").write_bytes(b"decoy")
    (folder / "key.nhdr").write_bytes(_nrrd_header("24 20 10", data="data file: ../secret.raw\ndata file:=x"))
    return {"t1": str(folder / "key.nhdr")}


@row("roi.mrk.json: the ROI has no complete centre")
def roi_of_a_number_beyond_floats(folder, case):
    return _markups(folder, '{"markups": [{"type": "ROI", "center": [0, 0, 0], "size": [1e3, 1, 1' + "0" * 400 + "]}]}")


@row("the ROI is turned inside out")
def roi_inside_out(folder, case):
    document = case.roi.to_markups()
    document["markups"][0]["insideOut"] = True
    return _markups(folder, document)


@row("slice-000.dcm in pixels is cut or damaged")
def enormous_dicom(folder, case):
    import pydicom

    for file in _series(folder / "pixels", case).iterdir():
        ds = pydicom.dcmread(file)
        ds.Rows = ds.Columns = 65535
        ds.save_as(file)
    return {"t1": str(folder / "pixels")}


@row("roi.mrk.json cannot be read as a Slicer markups file")
def deep_json(folder, case):
    return _markups(folder, '{"markups": ' + "[" * 200_000)


@row("roi.mrk.json cannot be read as a Slicer markups file")
def enormous_json(folder, case):
    path = folder / "roi.mrk.json"
    with path.open("wb") as stream:
        stream.truncate(1 << 40)
    return {"roi": str(path)}
