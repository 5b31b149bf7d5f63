"""Batches for bundles for pictures: which files of a folder are cases, what they are called, what a table may say."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path, PurePath

import numpy as np
import pytest

from cadx import picture_folder
from cadx.batch import read_picture_cases
from cadx.case_names import MAX_NAME_BYTES, require_names
from cadx.cli import main
from cadx.errors import InputError
from cadx.library import PICTURES_DEFAULT

from picture_samples import blob_volume, make_picture_bundle, write_slice_dicom
from support import write

Image = pytest.importorskip("PIL.Image")

DICOM = b"\0" * 128 + b"DICM"
IGNORED = ("table.csv", "notes.txt", "image.png.bak", "head.raw", "DICOMDIR", "mask.seg.nrrd")
HIDDEN = (".hidden.png", ".cache/a.png", "b/.secret/a.dcm")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    return make_picture_bundle(tmp_path_factory.mktemp("bundle") / "b", scale=30)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A picture, a DICOM image without a suffix and a volume, each in a folder of its own, and a broken picture."""
    place = tmp_path_factory.mktemp("cases")
    for name in ("a", "b/deep", "c"):
        (place / name).mkdir(parents=True)
    values = np.arange(4096).reshape(64, 64)
    Image.fromarray((values // 16).astype(np.uint8)).save(place / "a" / "1.png")
    write_slice_dicom(place / "b" / "deep" / "1.2.840", values.astype(np.uint16))
    write(place / "c" / "1.nii.gz", blob_volume())
    (place / "broken.jpg").write_bytes(b"no picture")
    (place / "notes.txt").write_text("nothing")
    return place


def put(folder: Path, *names: str, content: bytes = DICOM) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def grade(bundle, cases, out, *more):
    given = ["batch", "--cases", cases, "--bundle", bundle.folder, "--out", out, "--device", "cpu", *more]
    return main([str(one) for one in given])


def summary(out):
    with (out / "summary.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


# --- which files, which names


def test_pictures_and_volumes_below_a_folder_are_cases_in_order(tmp_path):
    put(tmp_path, "b/2.JPG", "b/10.tiff", "a.bmp", "b/c/d.Nii.gz", content=b"")
    put(tmp_path, "b/IM0001", "b/1.2.840")
    put(tmp_path, *IGNORED, *HIDDEN, content=b"x" * 200)
    put(tmp_path, "DICOMDIR", ".dicom")
    rows = read_picture_cases(tmp_path)
    expected = ["a.bmp", "b/1.2.840", "b/10.tiff", "b/2.JPG", "b/IM0001", "b/c/d.Nii.gz"]
    assert [Path(row.image or row.volume).relative_to(tmp_path).as_posix() for row in rows] == expected
    assert [row.case for row in rows] == ["a", "b-1.2.840", "b-10", "b-2", "b-IM0001", "b-c-d"]
    assert [bool(row.volume) for row in rows] == [False] * 5 + [True]
    assert {(row.slices, row.plane) for row in rows} == {("", "")}


def test_a_file_that_may_not_be_read_is_a_case_that_fails_in_sight(tmp_path, monkeypatch):
    def locked(path):
        raise InputError(f"{path.name} cannot be read")

    monkeypatch.setattr(picture_folder, "is_dicom", locked)
    assert [row.case for row in read_picture_cases(put(tmp_path, "IM0001"))] == ["IM0001"]


@pytest.mark.parametrize(
    ("files", "names"),
    [
        (["x/1.png", "x/1.nii.gz", "x/2.png"], ["x-1.nii.gz", "x-1.png", "x-2"]),
        (["a-b.png", "a/b.png"], ["a-b.png", "a-b.png-2"]),
        (["A.png", "a.png"], ["A.png", "a.png-2"]),
        (["a: b?\n.png"], ["a_ b__"]),
        (["summary.csv.png"], ["summary.csv-2"]),
        (["x/. .png"], ["x-"]),
        (["IM.0001", "IM.0002"], ["IM.0001", "IM.0002"]),
        ([os.fsdecode(b"caf\xe9.png")], ["caf_"]),
    ],
)
def test_names_follow_the_files_and_are_safe_and_all_different(files, names):
    found = picture_folder._case_names([PurePath(one) for one in sorted(files)])
    assert sorted(found) == sorted(names)
    require_names("folder", found)
    assert len({name.casefold() for name in found}) == len(files)


def test_a_long_path_keeps_its_end():
    paths = [PurePath("é" * 90, "y" * 90, f"{part}{'z' * 90}", "last.png") for part in "ab"]
    first, second = picture_folder._case_names(paths)
    require_names("folder", [first, second])
    assert first.endswith("-last")
    assert 180 < len(first.encode()) <= MAX_NAME_BYTES
    assert first != second
    same = picture_folder._case_names([PurePath("y" * 250, "z" * 250, f"{'z' * 250}.png")] * 2)
    require_names("folder", same)


# --- a folder


def test_a_folder_is_graded_like_its_files(pictures, folder, tmp_path, capsys):
    out = tmp_path / "out"
    assert grade(pictures, folder, out, "--rule", "most-confident", "--json") == 4
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    rows = summary(out)
    expected = [("a-1", "ok"), ("b-deep-1.2.840", "ok"), ("broken", "failed"), ("c-1", "ok")]
    assert [(row["case"], row["status"]) for row in rows] == expected
    assert [(line["case"], line["status"]) for line in lines] == expected
    assert "broken.jpg" in rows[2]["error"]
    assert str(folder) not in (out / "summary.csv").read_text()
    for case, option, file in (("a-1", "--image", "a/1.png"), ("c-1", "--volume", "c/1.nii.gz")):
        given = ["classify", option, folder / file, "--bundle", pictures.folder, "--out", tmp_path / case]
        more = ["--rule", "most-confident"] if option == "--volume" else []
        assert main([str(one) for one in (*given, "--device", "cpu", *more)]) == 0
        alone, one = (json.loads((place / case / "result.json").read_text()) for place in (tmp_path, out))
        assert one["probabilities"] == alone["probabilities"]
    assert one["request_sha256"] == alone["request_sha256"]
    assert one["slices"]["count"] == 7
    assert one["rule"]["name"] == "most-confident"


def test_resume_keeps_what_is_done_and_reads_what_is_new(pictures, tmp_path):
    cases, out = tmp_path / "cases", tmp_path / "out"
    cases.mkdir()
    pixels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    for name in ("a.png", "b.png"):
        Image.fromarray(pixels).save(cases / name)
    assert grade(pictures, cases, out, "--no-explain") == 0
    times = {name: (out / name / "result.json").stat().st_mtime_ns for name in "ab"}
    for name in ("b.png", "c.png"):
        Image.fromarray(pixels.T).save(cases / name)
    assert grade(pictures, cases, out, "--no-explain", "--resume") == 0
    assert (out / "a" / "result.json").stat().st_mtime_ns == times["a"]
    assert (out / "b" / "result.json").stat().st_mtime_ns != times["b"]
    assert [row["case"] for row in summary(out)] == ["a", "b", "c"]


def test_a_folder_is_no_table_of_volumes_with_a_roi(bundle, folder, tmp_path, capsys):
    assert grade(bundle, folder, tmp_path / "out") == 2
    said = capsys.readouterr().err.strip().splitlines()
    assert said == [
        f"cadx: {folder.name} is a folder; this bundle needs a table of cases (CSV with case, t1, t2, roi)."
    ]
    assert not (tmp_path / "out").exists()


def test_a_folder_is_read_by_the_bundle_for_pictures_that_ships(folder, tmp_path):
    cases = put(tmp_path / "scans", "a.png", content=(folder / "a" / "1.png").read_bytes())
    out = tmp_path / "out"
    assert main(["batch", "--cases", str(cases), "--out", str(out), "--no-explain", "--device", "cpu"]) == 0
    assert summary(out)[0]["bundle"].startswith(f"{PICTURES_DEFAULT} ")


def test_a_folder_without_a_picture_is_one_sentence(pictures, tmp_path, capsys):
    empty = put(tmp_path / "empty", *IGNORED, *HIDDEN, content=b"x" * 200)
    assert grade(pictures, empty, tmp_path / "out") == 2
    assert "empty holds no PNG, JPEG, BMP, TIFF or DICOM image" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("place", [".", "results", ".."])
def test_results_do_not_become_cases(pictures, tmp_path, capsys, place):
    cases = put(tmp_path / "scans", "scans.png")
    assert grade(pictures, cases, cases / place) == 2
    assert "give an --out that is not in it" in capsys.readouterr().err
    assert [path.name for path in tmp_path.rglob("*")] == ["scans", "scans.png"]


# --- a table


def test_a_table_chooses_slices_and_planes(pictures, folder, tmp_path):
    table, volume = tmp_path / "t.csv", f"{folder}/c/1.nii.gz"
    lines = [
        "case,image,volume,slice,plane",
        f"picture,{folder}/a/1.png,,3,axial",
        f"whole,,{volume},,",
        f'some,,{volume},"3,5-6",Axial',
        f"across,,{volume},20,sagittal",
        f"both,{folder}/a/1.png,{volume},,",
        "neither,,,3,",
        f"odd,,{volume},3,oblique",
        f"far,,{volume},7,",
        f"words,,{volume},x,",
    ]
    table.write_text("\n".join(lines) + "\n")
    out = tmp_path / "out"
    assert grade(pictures, table, out, "--no-explain") == 4
    rows = {row["case"]: row for row in summary(out)}
    assert [name for name, row in rows.items() if row["status"] == "ok"] == ["picture", "whole", "some", "across"]
    read = {
        name: json.loads((out / name / "result.json").read_text())["slices"] for name in ("whole", "some", "across")
    }
    chosen = {name: (slices["plane"], [row["slice"] for row in slices["table"]]) for name, slices in read.items()}
    assert chosen == {
        "whole": ("axial", list(range(7))),
        "some": ("axial", [3, 5, 6]),
        "across": ("sagittal", [20]),
    }
    for name, words in {
        "both": "An image and a volume are given",
        "neither": "fill in the column image, or volume",
        "odd": "There is no plane 'oblique'; choose axial, coronal or sagittal",
        "far": "no slice 7",
        "words": "'x' names no slices",
    }.items():
        assert words in rows[name]["error"]
        assert not (out / name).exists()


@pytest.mark.parametrize(("header", "column"), [("image,slice", "case"), ("case,slice", "image")])
def test_a_table_that_lacks_a_column_says_all_that_it_needs(pictures, tmp_path, capsys, header, column):
    table = tmp_path / "t.csv"
    table.write_text(f"{header}\na,b\n")
    assert grade(pictures, table, tmp_path / "out") == 2
    needed = f"t.csv lacks the column {column}; it needs case, image (or case, volume, slice, plane)."
    assert needed in capsys.readouterr().err


def test_slices_without_quotes_are_not_half_read(pictures, folder, tmp_path, capsys):
    table = tmp_path / "t.csv"
    table.write_text(f"case,volume,slice\na,{folder}/c/1.nii.gz,3,5-6\n")
    assert grade(pictures, table, tmp_path / "out") == 2
    assert "t.csv has a row of more values than columns; put quotes around" in capsys.readouterr().err
    table.write_text(f"case,volume,slice\na,{folder}/c/1.nii.gz,3,,\n")
    assert [row.slices for row in read_picture_cases(table)] == ["3"]
