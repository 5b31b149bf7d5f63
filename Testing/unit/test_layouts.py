"""Every layout gives the same cohort, and what is wrong with one is one sentence."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cadx.errors import InputError, MissingDependencyError
from cadx.geometry import Geometry
from cadx.study.cohort import Cohort, Sample, assign_classes, read_sample_roi, without_labels
from cadx.study.layouts import available_roles, choose_layout, read_cohort
from cadx.study.layouts.figshare import read_figshare_image
from cadx.study.layouts.reading import read_any_picture
from cadx.study.spec import ClassSpec
from cadx.volume import Volume

from support import write

BOTH = ("T1", "T2")
GRADES = (
    ClassSpec(name="normal", labels=("0", "none")),
    ClassSpec(name="low risk", labels=("1",)),
    ClassSpec(name="high risk", labels=("2", "cancer")),
)


def touch(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"")
    return path


def write_csv(path: Path, rows: list[list[object]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as stream:
        csv.writer(stream).writerows(rows)
    return path


def write_xlsx(path: Path, rows: list[list[object]]) -> Path:
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    for row in rows:
        book.active.append(row)
    path.parent.mkdir(parents=True, exist_ok=True)
    book.save(path)
    return path


def volumes_table(folder: Path) -> list[list[object]]:
    rows: list[list[object]] = [["Case", "T1", "T2", "ROI", "Label", "Patient", "Site", "Age", "split"]]
    for n, label in enumerate(("normal", "High Risk", "cancer")):
        for role in ("t1", "t2"):
            touch(folder / f"{n}" / f"{role}.nii.gz")
        rows.append(
            [f"c{n}", f"{n}/t1.nii.gz", f"{n}/t2.nii.gz", "0,0,0,50,50,50", label, f"p{n // 2}", "X", 60, "test"]
        )
    return rows


# --- tables


def test_a_table_of_volumes(tmp_path):
    write_csv(tmp_path / "cases.csv", volumes_table(tmp_path))
    cohort = read_cohort(tmp_path, BOTH)
    assert (cohort.layout, len(cohort.samples), cohort.synthetic) == ("table", 3, False)
    first = cohort.samples[0]
    assert first.images == {"T1": str(tmp_path / "0/t1.nii.gz"), "T2": str(tmp_path / "0/t2.nii.gz")}
    assert (first.label, first.group, first.roi, first.centre) == ("normal", "p0", "0,0,0,50,50,50", "X")
    assert first.covariates == {"age": "60", "split": "test"}
    assert [s.group for s in cohort.samples] == ["p0", "p0", "p1"]


def test_one_sequence_needs_no_roi_and_no_other_image(tmp_path):
    touch(tmp_path / "a.nii.gz")
    write_csv(tmp_path / "cases.csv", [["name", "t2", "label"], ["a", "a.nii.gz", "0"]])
    sample = read_cohort(tmp_path, ("T2",)).samples[0]
    assert (sample.roi, sample.group, sample.images) == ("", "a", {"T2": str(tmp_path / "a.nii.gz")})
    assert available_roles(tmp_path) == ("T2",)


def test_a_mask_serves_as_roi(tmp_path):
    rows = volumes_table(tmp_path)
    touch(tmp_path / "m.nii.gz")
    rows[0][3] = "mask"
    for row in rows[1:]:
        row[3] = "m.nii.gz"
    write_csv(tmp_path / "cases.csv", rows)
    assert read_cohort(tmp_path, BOTH).samples[0].roi == str(tmp_path / "m.nii.gz")


def test_a_table_of_pictures_is_named_by_its_paths(tmp_path):
    for name in ("a/1.png", "a/2.png", "m/1.png"):
        touch(tmp_path / name)
    table = write_csv(
        tmp_path / "other.csv",
        [
            ["path", "label", "patient", "mask", "source"],
            ["a/1.png", "x", "7", "m/1.png", "S"],
            ["a/2.png", "y", "7", "", ""],
        ],
    )
    cohort = read_cohort(table, ("image",))
    assert [s.name for s in cohort.samples] == ["a/1.png", "a/2.png"]
    assert cohort.samples[0].lesion == str(tmp_path / "m/1.png")
    assert cohort.samples[1].lesion == "" and cohort.samples[0].covariates == {"source": "S"}
    assert cohort.notes == ()


def test_pictures_without_patients_say_so(tmp_path):
    touch(tmp_path / "1.png")
    cohort = read_cohort(write_csv(tmp_path / "cases.csv", [["path", "label"], ["1.png", "x"]]), ("image",))
    assert "its own group" in cohort.notes[0]


def test_what_the_column_of_patients_leaves_open_is_said(tmp_path):
    for number in range(5):
        touch(tmp_path / f"{number}.png")
    names = ("M\u00fcller", "Mu\u0308ller", "P 1", "p1", "")
    rows = [["path", "label", "patient"], *([f"{i}.png", "x", name] for i, name in enumerate(names))]
    cohort = read_cohort(write_csv(tmp_path / "cases.csv", rows), ("image",))
    # the same letters, however they are stored, are the same patient
    assert [s.group for s in cohort.samples] == ["M\u00fcller", "M\u00fcller", "P 1", "p1", "4.png"]
    assert "name no patient: 1" in cohort.notes[0]
    assert "'P 1' and 'p1'" in cohort.notes[1]


def test_a_workbook_reads_as_the_same_table(tmp_path):
    rows = volumes_table(tmp_path)
    write_csv(tmp_path / "a.csv", rows)
    write_xlsx(tmp_path / "a.xlsx", rows)
    one, other = (read_cohort(tmp_path / name, BOTH) for name in ("a.csv", "a.xlsx"))
    assert one.samples == other.samples


def test_semicolons_separate_too(tmp_path):
    touch(tmp_path / "1.png")
    (tmp_path / "cases.csv").write_text("\ufeffpath;label;patient\n1.png;x;p\n")
    assert read_cohort(tmp_path, ("image",)).samples[0].group == "p"


def test_phantoms_are_known_as_such(tmp_path):
    write_csv(tmp_path / "cases.csv", volumes_table(tmp_path))
    (tmp_path / "dataset.json").write_text('{"schema": "cadx.dataset/1", "synthetic": true}')
    assert read_cohort(tmp_path, BOTH).synthetic


def change(rows, row, column, value):
    rows[row][rows[0].index(column)] = value


@pytest.mark.parametrize(
    ("row", "column", "value", "said"),
    [
        (1, "T1", "gone.nii.gz", "c0 names gone.nii.gz as its T1, which does not exist"),
        (2, "T2", "", "c1 has a T1 but no T2"),
        (3, "Label", "", "c2 has no label"),
        (3, "ROI", "", "c2 has no ROI"),
        (3, "Case", "", "row 4 names no case"),
        (3, "Case", "c0", "The case 'c0' occurs 2 times"),
        (3, "Case", "a\nb", "row 4 has a name that cannot be printed"),
        (0, "T2", "t3", "lacks the column t2"),
        (0, "ROI", "box", "lacks the column roi or mask"),
        (0, "Label", "grade", "lacks the column label"),
    ],
)
def test_what_is_wrong_with_a_table_is_one_sentence(tmp_path, row, column, value, said):
    rows = volumes_table(tmp_path)
    change(rows, row, column, value)
    write_csv(tmp_path / "cases.csv", rows)
    with pytest.raises(InputError, match=said.replace("(", r"\(")) as raised:
        read_cohort(tmp_path, BOTH)
    assert str(raised.value).count("\n") == 0 and str(raised.value).endswith(".")


def test_further_problems_are_counted(tmp_path):
    rows = volumes_table(tmp_path)
    change(rows, 1, "Label", "")
    change(rows, 2, "T2", "gone")
    write_csv(tmp_path / "cases.csv", rows)
    with pytest.raises(InputError, match=r"c0 has no label.*\(1 more such problems: cadx cohort check lists them\)\."):
        read_cohort(tmp_path, BOTH)


def test_empty_and_damaged_tables(tmp_path):
    write_csv(tmp_path / "a.csv", [["case", "t1", "label"]])
    with pytest.raises(InputError, match=r"a\.csv holds no case"):
        read_cohort(tmp_path / "a.csv", ("T1",))
    (tmp_path / "b.xlsx").write_bytes(b"PK\x03\x04 no workbook")
    pytest.importorskip("openpyxl")
    with pytest.raises(InputError, match=r"b\.xlsx cannot be read as an Excel workbook"):
        read_cohort(tmp_path / "b.xlsx", ("T1",))
    (tmp_path / "c.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match=r"c\.csv cannot be read as a CSV table"):
        read_cohort(tmp_path / "c.csv", ("T1",))


def test_a_workbook_without_openpyxl_names_the_command(tmp_path, monkeypatch):
    write_xlsx(tmp_path / "a.xlsx", volumes_table(tmp_path))
    monkeypatch.setitem(__import__("sys").modules, "openpyxl", None)
    with pytest.raises(MissingDependencyError, match="pip install openpyxl"):
        read_cohort(tmp_path / "a.xlsx", BOTH)


def test_nothing_there_and_nothing_known(tmp_path):
    with pytest.raises(InputError, match="There is no cohort nowhere"):
        read_cohort(tmp_path / "nowhere", BOTH)
    with pytest.raises(InputError, match="is no cohort that is known"):
        read_cohort(tmp_path, BOTH)
    with pytest.raises(InputError, match="There is no layout 'x'"):
        read_cohort(tmp_path, BOTH, layout="x")


# --- class folders


def test_class_folders(tmp_path):
    for name in ("yes/1.JPG", "yes/deep/2.png", "no/1.jpg", "no/.hidden.png", "__MACOSX/yes/1.jpg", "loose.png"):
        touch(tmp_path / name)
    (tmp_path / "empty").mkdir()
    cohort = read_cohort(tmp_path, ("image",))
    assert cohort.layout == "folders"
    assert [(s.name, s.label, s.group) for s in cohort.samples] == [
        ("no/1.jpg", "no", "no/1.jpg"),
        ("yes/1.JPG", "yes", "yes/1.JPG"),
        ("yes/deep/2.png", "yes", "yes/deep/2.png"),
    ]
    assert [n.split(" ")[0:3] for n in cohort.notes] == [
        ["The", "folder", "empty"],
        ["Pictures", "in", "no"],
        ["Patients", "are", "unknown"],
    ]
    with pytest.raises(InputError, match="holds pictures, not T1 and T2 volumes"):
        read_cohort(tmp_path, BOTH)


# --- Cyst-X


TOTAL = [["T1 name", "T2 name", "Age", "Sex", "Scanner", "Cyst", "Risk Assessment"]]
ROWS = [
    ["nyu_0001_T1_0000.nii.gz", "nyu_0001_T2_0000.nii.gz", 60, "F", "a", "", 0],
    ["CAD_28_T1.nii.gz", "MCF_03.nii.gz", 61, "M", "a", "", 2.0],
    ["AHN05.nii.gz", "AHN05.nii.gz", 62, "M", "b", "", 1],
    ["IU_2.nii.gz", "IU_2_1.nii.gz", 63, "M", "b", "", None],
]


def cystx(root: Path, *, whole: bool = True, crops: bool = True, older: bool = False, table=write_xlsx) -> Path:
    folder = root / "IPMN_Classification"
    suffix = "xlsx" if table is write_xlsx else "csv"
    table(folder / f"IPMN_labels_total.{suffix}", TOTAL + ROWS)
    for column, role in enumerate(("t1", "t2")):
        rows: list[list[object]] = [["Patient ID", "a", "b", "c", "d", "risk assessment"]]
        for row in ROWS:
            rows.append([row[column], "", "", "", "", row[6]])
            if crops:
                touch(folder / (f"{role}_clean_ROI" if older else role) / str(row[column]))
            if whole:
                for kind in ("images", "masks"):
                    touch(root / "IPMN_images_masks" / role / kind / str(row[column]))
        table(folder / f"IPMN_labels_{role}_total.{suffix}", rows)
    return root


@pytest.mark.parametrize("table", [write_csv, write_xlsx])
@pytest.mark.parametrize("inside", ["", "IPMN_Classification", "IPMN_images_masks"])
def test_cystx_pairs_by_row(tmp_path, table, inside):
    cohort = read_cohort(cystx(tmp_path, table=table) / inside, BOTH)
    assert cohort.layout == "cystx"
    assert [(s.name, s.label, s.centre, s.group) for s in cohort.samples] == [
        ("nyu_0001", "0", "NYU", "nyu_0001"),
        ("CAD_28", "2", "MCF", "CAD_28"),
        ("AHN05", "1", "AHN", "AHN05"),
    ]
    second = cohort.samples[1]
    assert Path(second.images["T2"]).relative_to(tmp_path).as_posix() == "IPMN_images_masks/t2/images/MCF_03.nii.gz"
    assert Path(second.roi).relative_to(tmp_path).as_posix() == "IPMN_images_masks/t1/masks/CAD_28_T1.nii.gz"
    assert second.mask_on == "T1" and second.covariates["age"] == "61"
    assert cohort.notes[0].startswith("Rows of IPMN_labels_total") and cohort.notes[0].endswith("left out: 1.")


def test_cystx_headers_may_say_nothing(tmp_path):
    root = cystx(tmp_path)
    write_xlsx(root / "IPMN_Classification/IPMN_labels_total.xlsx", [[f"c{i}" for i in range(7)], *ROWS])
    assert [s.label for s in read_cohort(root, BOTH).samples] == ["0", "2", "1"]


@pytest.mark.parametrize("older", [False, True])
def test_cystx_of_one_sequence_takes_the_crops_whole(tmp_path, older):
    cohort = read_cohort(cystx(tmp_path, whole=False, older=older), ("T2",))
    assert [(s.name, s.roi, s.label) for s in cohort.samples] == [
        ("nyu_0001", "", "0"),
        ("MCF_03", "", "2"),
        ("AHN05", "", "1"),
    ]
    # the row says whose T2 it is, so that a split by patient is the same for T1 and T2
    assert [s.group for s in cohort.samples] == ["nyu_0001", "CAD_28", "AHN05"]
    folder = "t2_clean_ROI" if older else "t2"
    assert Path(cohort.samples[0].images["T2"]).parent.name == folder


def test_cystx_of_one_sequence_prefers_whole_scans(tmp_path):
    sample = read_cohort(cystx(tmp_path), ("T2",)).samples[0]
    assert Path(sample.roi).parts[-3:] == ("t2", "masks", "nyu_0001_T2_0000.nii.gz") and sample.mask_on == "T2"


def test_two_crops_cannot_be_matched(tmp_path):
    with pytest.raises(InputError, match="place in the patient was lost"):
        read_cohort(cystx(tmp_path, whole=False), BOTH)
    assert available_roles(tmp_path) == ("T1",)


def test_cystx_names_what_is_missing(tmp_path):
    root = cystx(tmp_path)
    (root / "IPMN_images_masks/t2/images/MCF_03.nii.gz").unlink()
    (root / "IPMN_images_masks/t1/masks/AHN05.nii.gz").unlink()
    with pytest.raises(InputError, match=r"CAD_28: the T2 MCF_03\.nii\.gz is not in t2/images.*1 more"):
        read_cohort(root, BOTH)
    for table in (root / "IPMN_Classification").glob("*.xlsx"):
        table.unlink()
    with pytest.raises(InputError, match="holds no table IPMN_labels"):
        read_cohort(root, BOTH)


def test_cystx_files_are_found_without_the_names_tails(tmp_path):
    root = cystx(tmp_path)
    images = root / "IPMN_images_masks/t1/images"
    (images / "nyu_0001_T1_0000.nii.gz").rename(images / "nyu_0001.nii.gz")
    assert Path(read_cohort(root, BOTH).samples[0].images["T1"]).name == "nyu_0001.nii.gz"


def test_a_mask_lies_on_its_scan_voxel_for_voxel(tmp_path):
    grid = Geometry.from_axes((20, 16, 8), (2, 2, 5), np.eye(3), (10, 20, 30))
    elsewhere = Geometry.from_axes((20, 16, 8), (2, 2, 5), np.eye(3), (0, 0, 0))
    inside = np.zeros((8, 16, 20), np.uint8)
    inside[2:5, 4:9, 6:11] = 1
    write(tmp_path / "mask.nii.gz", Volume(inside, elsewhere))
    scan = Volume(np.ones((8, 16, 20), np.float32), grid, "t1")
    sample = Sample("a", {"T1": ""}, "0", "a", str(tmp_path / "mask.nii.gz"), mask_on="T1")
    roi = read_sample_roi(sample, {"T1": scan}, 0.0)
    np.testing.assert_allclose(roi.center_ras, grid.to_ras([8, 6, 3]), atol=1e-3)
    small = Volume(np.ones((8, 16, 10), np.float32), Geometry((10, 16, 8), grid.ijk_to_ras), "t1")
    with pytest.raises(InputError, match="has 20 x 16 x 8 voxels, but its T1 has 10 x 16 x 8"):
        read_sample_roi(sample, {"T1": small})


def test_no_roi_is_the_whole_volume():
    grid = Geometry.from_axes((20, 16, 8), (2, 2, 5), np.eye(3), (10, 20, 30))
    roi = read_sample_roi(Sample("a", {"T1": ""}, "0", "a"), {"T1": Volume(np.ones((8, 16, 20)), grid)})
    np.testing.assert_allclose(roi.size_mm, [40, 32, 40])
    np.testing.assert_allclose(roi.center_ras, grid.center_ras)


# --- figshare


PIXELS = (np.arange(12 * 9).reshape(12, 9) * 7).astype(np.int16)


def mat_of_hdf5(path: Path, label: float = 2, pid: str = "MR049852C") -> Path:
    h5py = pytest.importorskip("h5py")
    mask = PIXELS > 300
    with h5py.File(path, "w", userblock_size=512) as file:
        group = file.create_group("cjdata")
        group["label"] = np.array([[label]])
        group["PID"] = np.array([[ord(c)] for c in pid], np.uint16)
        group["image"] = PIXELS.T
        group["tumorMask"] = mask.T.astype(np.uint8)
        group["tumorBorder"] = np.zeros((1, 4))
    return path


def mat_of_version_5(path: Path, label: float = 2, pid: object = "MR049852C") -> Path:
    savemat = pytest.importorskip("scipy.io").savemat
    fields = {"label": label, "PID": pid, "image": PIXELS, "tumorMask": (PIXELS > 300).astype(np.uint8)}
    savemat(path, {"cjdata": fields}, do_compression=True)
    return path


@pytest.mark.parametrize("make", [mat_of_hdf5, mat_of_version_5])
def test_both_forms_of_mat_files_give_the_same(tmp_path, make):
    image, mask = read_figshare_image(make(tmp_path / "7.mat"))
    np.testing.assert_array_equal(image, PIXELS)
    assert mask is not None and image.dtype == np.int16
    np.testing.assert_array_equal(mask, PIXELS > 300)
    assert read_any_picture(str(tmp_path / "7.mat")).pixels.shape == PIXELS.shape


def test_figshare_cohort(tmp_path):
    (tmp_path / "part").mkdir()
    mat_of_hdf5(tmp_path / "part" / "10.mat", 1, "p1")
    mat_of_hdf5(tmp_path / "2.mat", 3, "p2")
    mat_of_version_5(tmp_path / "3.mat", 2, np.array([[ord("p")], [ord("1")]], np.uint16))
    cohort = read_cohort(tmp_path, ("image",))
    assert cohort.layout == "figshare"
    assert [(s.name, s.label, s.group) for s in cohort.samples] == [
        ("2", "pituitary", "p2"),
        ("3", "glioma", "p1"),
        ("10", "meningioma", "p1"),
    ]
    assert cohort.samples[0].lesion == str(tmp_path / "2.mat")


@pytest.mark.parametrize(
    "content",
    [b"", b"no MATLAB file", b"MATLAB 5.0 MAT-file".ljust(128) + b"\x0e\0\0\0\xff\xff\xff\xff", b"\x89HDF\r\n\x1a\n"],
)
def test_a_damaged_mat_file_is_one_sentence(tmp_path, content):
    (tmp_path / "1.mat").write_bytes(content)
    with pytest.raises(InputError, match=r"1\.mat"):
        read_figshare_image(tmp_path / "1.mat")
    with pytest.raises(InputError, match=r"1\.mat"):
        read_cohort(tmp_path, ("image",))


def test_a_mat_file_leads_to_no_other_file(tmp_path):
    h5py = pytest.importorskip("h5py")
    mat_of_hdf5(tmp_path / "secret.mat")
    with h5py.File(tmp_path / "1.mat", "w") as file:
        group = file.create_group("cjdata")
        group["image"] = h5py.ExternalLink("secret.mat", "/cjdata/image")
    with pytest.raises(InputError, match=r"holds no cjdata\.image"):
        read_figshare_image(tmp_path / "1.mat")
    with h5py.File(tmp_path / "2.mat", "w") as file:
        file["cjdata"] = h5py.ExternalLink("secret.mat", "/cjdata")
    with pytest.raises(InputError, match="holds no cjdata"):
        read_figshare_image(tmp_path / "2.mat")


def test_a_label_or_patient_that_is_none(tmp_path):
    mat_of_hdf5(tmp_path / "1.mat", 4)
    with pytest.raises(InputError, match=r"1\.mat has no label 1, 2 or 3"):
        read_cohort(tmp_path, ("image",))
    mat_of_hdf5(tmp_path / "1.mat", 1, " ")
    with pytest.raises(InputError, match=r"1\.mat names no patient"):
        read_cohort(tmp_path, ("image",))


def test_the_order_of_layouts(tmp_path):
    mat_of_version_5(tmp_path / "1.mat")
    assert choose_layout(tmp_path) == "figshare"
    touch(tmp_path / "cases.csv")
    assert choose_layout(tmp_path) == "table"


# --- classes


def cohort_of(*labels_and_groups: tuple[str, str]) -> Cohort:
    samples = tuple(Sample(f"s{i}", {}, label, group) for i, (label, group) in enumerate(labels_and_groups))
    return Cohort(Path(), "table", samples)


def test_labels_become_classes_and_what_was_merged_is_told():
    found, merged = assign_classes(
        cohort_of(("Cancer", "a"), ("none", "b"), ("High Risk", "c"), ("1", "d")), GRADES, "patient"
    )
    assert found.dtype == np.int64 and found.tolist() == [2, 0, 2, 1]
    assert merged == {"normal": ["none"], "low risk": ["1"], "high risk": ["Cancer", "High Risk"]}


def test_an_unknown_label_names_the_case_and_what_is_allowed():
    with pytest.raises(InputError, match=r"s1 has the label 'odd', which is none of normal \(0, none\); low risk"):
        assign_classes(cohort_of(("0", "a"), ("odd", "b")), GRADES, "patient")


def test_a_patient_of_two_labels_is_refused_where_the_label_is_the_patients():
    cohort = cohort_of(("0", "a"), ("2", "a"), ("cancer", "b"), ("2", "b"))
    with pytest.raises(InputError, match="The patient 'a' has two labels, normal and high risk"):
        assign_classes(cohort, GRADES, "patient")
    assert assign_classes(cohort, GRADES, "image")[0].tolist() == [0, 2, 2, 2]
    # two words for one class are no contradiction
    assign_classes(cohort_of(("cancer", "b"), ("2", "b")), GRADES, "patient")


def test_labels_that_a_study_excludes_are_left_out_and_counted():
    cohort = without_labels(cohort_of(("0", "a"), ("ODD", "b")), ["odd"])
    assert [s.name for s in cohort.samples] == ["s0"] and cohort.notes[0].startswith("Samples labelled odd")


# --- pictures


def test_a_dicom_picture_is_read_as_shown(tmp_path):
    pydicom = pytest.importorskip("pydicom")
    dataset = pydicom.Dataset()
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.1"
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = pydicom.uid.generate_uid()
    dataset.SeriesInstanceUID = pydicom.uid.generate_uid()
    dataset.Rows, dataset.Columns = PIXELS.shape
    dataset.SamplesPerPixel, dataset.PixelRepresentation = 1, 0
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 16, 15
    dataset.PhotometricInterpretation = "MONOCHROME1"
    dataset.PixelData = PIXELS.astype(np.uint16).tobytes()
    dataset.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    pixels = read_any_picture(str(tmp_path / "a.dcm")).pixels
    assert pixels.shape == PIXELS.shape and pixels[0, 0] == 255 and pixels[-1, -1] == 0
    (tmp_path / "b.dcm").write_bytes(b"x" * 200)
    with pytest.raises(InputError, match=r"b\.dcm is no DICOM file"):
        read_any_picture(str(tmp_path / "b.dcm"))


def test_real_tables_read_as_before(shared):
    for name, images, groups in (("brain_type", 2631, 177), ("brain_binary", 2427, 444), ("chest_xray", 1221, 794)):
        cohort = read_cohort(shared / "data" / name, ("image",))
        assert (len(cohort.samples), len({s.group for s in cohort.samples})) == (images, groups)


def test_an_image_file_goes_to_the_picture_reader(tmp_path):
    Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8)).save(tmp_path / "a.png")
    assert read_any_picture(str(tmp_path / "a.png")).pixels.shape == (8, 8)
