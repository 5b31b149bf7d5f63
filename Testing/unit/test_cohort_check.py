"""``cadx cohort check``: every finding, not only the first; exit 0 when clean, 2 with errors."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from cadx.errors import InputError
from cadx.geometry import Geometry
from cadx.study.check import check_cohort
from cadx.study.cohort_command import REPORT, SHEET, cohort_app
from cadx.study.duplicates import near_pairs, thumbnail
from cadx.study.presets import read_study
from cadx.volume import Volume

from support import write


def picture(seed: int, size: tuple[int, int] = (48, 40)) -> np.ndarray:
    """Smooth blobs, so that a thumbnail keeps what is there."""
    generator = np.random.default_rng(seed)
    coarse = Image.fromarray(generator.integers(0, 255, (6, 6), dtype=np.uint8))
    return np.asarray(coarse.resize(size[::-1], Image.Resampling.BICUBIC))


def save(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def table(folder: Path, rows: list[dict[str, str]]) -> Path:
    columns = list(dict.fromkeys(key for row in rows for key in row))
    with (folder / "cases.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, columns)
        writer.writeheader()
        writer.writerows(rows)
    return folder


def pictures(folder: Path, count: int = 6) -> list[dict[str, str]]:
    rows = []
    for n in range(count):
        save(folder / f"{n}.png", picture(n))
        rows.append({"path": f"{n}.png", "label": "yes" if n % 2 else "no", "patient": f"p{n}"})
    return rows


def volume(seed: int, size: tuple[int, int, int] = (24, 20, 8)) -> Volume:
    voxels = np.stack([picture(seed * 100 + k, (size[1], size[0])) for k in range(size[2])]).astype(np.float32)
    return Volume(voxels, Geometry.from_axes(size, (3, 3, 6), np.eye(3), (0, 0, 0)))


def volumes(folder: Path, count: int = 3) -> list[dict[str, str]]:
    rows = []
    for n in range(count):
        (folder / str(n)).mkdir()
        for i, role in enumerate(("t1", "t2")):
            write(folder / f"{n}/{role}.nii.gz", volume(2 * n + i))
        files = {"t1": f"{n}/t1.nii.gz", "t2": f"{n}/t2.nii.gz"}
        rows.append({"case": f"c{n}", **files, "roi": "34,28,21,40,40,30", "label": str(n % 3), "patient": f"p{n}"})
    return rows


def texts(report, code: str) -> list[str]:
    return [f.text for f in report.findings if f.code == code]


def run(*arguments: object):
    return CliRunner().invoke(cohort_app, ["check", *map(str, arguments)], standalone_mode=False)


# --- copies


@pytest.mark.parametrize("turns", range(4))
@pytest.mark.parametrize("flipped", [False, True])
def test_a_turned_or_flipped_copy_of_other_contrast_is_found(turns, flipped):
    images = [picture(n) for n in range(30)]
    copy = np.rot90(images[7], turns) * 0.5 + 20
    images.append(copy[:, ::-1] if flipped else copy)
    pairs = near_pairs(np.stack([thumbnail(image) for image in images]), 0.99)
    assert [(i, j) for i, j, _ in pairs] == [(7, 30)]
    assert pairs[0][2] == pytest.approx(1, abs=0.01)


def test_near_pairs_are_those_of_the_definition(monkeypatch):
    """In chunks or at once, against the plain definition; images of one value are like no other."""
    monkeypatch.setattr("cadx.study.duplicates.ROWS", 4)
    monkeypatch.setattr("cadx.study.duplicates.COLUMNS", 5)
    small = np.stack([thumbnail(picture(n)) for n in range(11)] + [np.full((32, 32), 9.0)] * 2)
    seen: list[tuple[int, int]] = []
    found = {(i, j): s for i, j, s in near_pairs(small, -1.0, progress=lambda *at: seen.append(at))}
    assert len(found) == 13 * 12 // 2 and seen[-1] == (13, 13)
    for (i, j), similarity in found.items():
        turned = [np.rot90(small[i], k)[:, ::step] for k in range(4) for step in (1, -1)]
        if j > 10:
            assert similarity == 0
        else:
            assert similarity == pytest.approx(
                max(np.corrcoef(t.ravel(), small[j].ravel())[0, 1] for t in turned), abs=1e-5
            )


def test_only_the_most_alike_are_kept(monkeypatch):
    monkeypatch.setattr("cadx.study.duplicates.MAX_PAIRS", 5)
    small = np.stack([thumbnail(picture(n)) for n in range(8)])
    every = near_pairs(small, -1.0)
    assert every == sorted(every, key=lambda pair: -pair[2])[:5]


# --- pictures


def test_clean_pictures(tmp_path):
    report = check_cohort(table(tmp_path, pictures(tmp_path)))
    assert report.findings == [] and report.roles == ("image",)
    assert report.classes() == {"no": (3, 3), "yes": (3, 3)}
    assert report.sizes["image"] == {"40 x 48 grey": 6}
    assert report.copies == {"identical": 0, "alike": 0, "alike_across_groups": 0}
    assert report.to_json()["groups_of_one"] == 6


def test_every_finding_of_pictures_is_listed(tmp_path):
    rows = pictures(tmp_path)
    (tmp_path / "1.png").write_bytes(b"no picture")
    save(tmp_path / "2.png", np.full((48, 40), 7, np.uint8))
    save(tmp_path / "copy.bmp", picture(3))
    save(tmp_path / "same.png", picture(4))
    save(tmp_path / "turned.png", np.rot90(picture(5)) // 2)
    rows += [
        {"path": "copy.bmp", "label": "yes", "patient": "p3"},
        {"path": "same.png", "label": "no", "patient": "p9"},
        {"path": "turned.png", "label": "yes", "patient": "p10"},
        {"path": "gone.png", "label": "no", "patient": "p11"},
        {"path": "0.png", "label": "", "patient": "p12"},
    ]
    report = check_cohort(table(tmp_path, rows))
    assert texts(report, "unusable") == [
        "1.png: 1.png is no PNG, JPEG, BMP or TIFF image; export it as PNG.",
        "2.png: 2.png shows nothing: all its pixels have the same value; export it again.",
    ]
    assert texts(report, "table") == [
        "cases.csv: gone.png names gone.png as its image, which does not exist; correct the path.",
        "cases.csv: 0.png has no label; fill it in or remove the row.",
    ]
    identical = {f.text: f.error for f in report.findings if f.code == "identical"}
    assert identical == {
        "3.png and copy.bmp hold the same image; remove the copies.": False,
        "4.png and same.png hold the same image but count as different patients; remove the copies or name one "
        "patient.": True,
    }
    (alike,) = texts(report, "alike")
    assert alike.startswith("5.png and turned.png look alike (correlation ") and "(p5 and p10)" in alike
    assert len(report.errors) == 5 and len(report.warnings) == 2


def test_the_same_image_under_two_labels_is_an_error(tmp_path):
    rows = pictures(tmp_path, 2)
    save(tmp_path / "2.png", picture(0))
    rows.append({"path": "2.png", "label": "yes", "patient": "p0"})
    report = check_cohort(table(tmp_path, rows))
    (text,) = texts(report, "identical")
    assert text == "0.png and 2.png hold the same image but are labelled no and yes; correct the table."
    assert report.errors


def test_patients_of_two_labels_are_counted_where_the_label_is_the_images(tmp_path):
    rows = pictures(tmp_path)
    for row in rows:
        row["patient"] = "p"
    report = check_cohort(table(tmp_path, rows))
    assert report.torn == 1 and not report.errors
    assert any("allowed" in line for line in report.lines())


def test_the_studys_classes_and_labels_it_does_not_know(tmp_path):
    rows = pictures(tmp_path)
    rows[0]["label"] = "perhaps"
    report = check_cohort(table(tmp_path, rows), read_study("brain-tumor-binary"))
    assert list(report.classes()) == ["perhaps", "tumour", "no tumour"]
    assert len(texts(report, "label")) == 1 and "0.png has the label 'perhaps'" in texts(report, "label")[0]


# --- volumes


def test_clean_volumes(tmp_path):
    report = check_cohort(table(tmp_path, volumes(tmp_path)), read_study("ipmn"))
    assert report.findings == [] and report.roles == ("T1", "T2")
    assert list(report.classes()) == ["normal", "low risk", "high risk"]
    assert report.sizes["T1"] == {"24 x 20 x 8 of 3.00 x 3.00 x 6.00 mm": 3}


def test_every_finding_of_volumes_is_listed(tmp_path):
    rows = volumes(tmp_path, 6)
    rows[1]["patient"] = "p0"
    (tmp_path / "2/t2.nii.gz").write_bytes(b"cut")
    write(tmp_path / "3/t1.nii.gz", volume(0).with_voxels(np.ones((8, 20, 24), np.float32)))
    rows[4]["roi"] = "900,0,0,40,40,30"
    rows[5]["t2"] = ""
    report = check_cohort(table(tmp_path, rows))
    assert report.label_of == "patient"
    assert texts(report, "two-classes") == ["The patient 'p0' has two labels, 0 and 1; correct the table."]
    assert texts(report, "table") == ["cases.csv: c5 has a T1 but no T2; fill it in or remove the row."]
    unusable = texts(report, "unusable")
    assert unusable[0].startswith("c2: t2.nii.gz cannot be read")
    assert unusable[1] == "c3: T1 (t1.nii.gz) has the same value in every voxel; choose another image."
    assert unusable[2] == "c4: The ROI lies outside T1; place it inside the image (mm, RAS)."
    assert len(report.errors) == 5
    assert report.usable == [True, True, False, False, False]


def test_copied_volumes_and_t1_given_as_t2(tmp_path):
    rows = volumes(tmp_path, 3)
    write(tmp_path / "1/t1.nii.gz", volume(0))
    rows[2]["t2"] = rows[2]["t1"]
    report = check_cohort(table(tmp_path, rows))
    assert texts(report, "identical") == ["c0 and c1 hold the same image but are labelled 0 and 1; correct the table."]
    assert texts(report, "same-image")[0].startswith("c2: T1 and T2 hold the same image")


# --- the command


def test_the_command_draws_the_sheet_and_ends_with_0(tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    table(data, pictures(data))
    result = run("--data", data, "--out", tmp_path / "out")
    assert result.return_value == 0 and result.exception is None
    assert "No errors, no warnings. Research use only" in result.stdout
    document = json.loads((tmp_path / "out" / REPORT).read_text())
    assert document["samples"] == 6 and document["errors"] == []
    with Image.open(tmp_path / "out" / SHEET) as sheet:
        assert np.asarray(sheet.convert("L")).std() > 20


def test_the_command_ends_with_2_and_says_all_as_json_too(tmp_path):
    rows = pictures(tmp_path)
    rows[0]["label"] = rows[1]["label"] = ""
    table(tmp_path, rows)
    result = run("--data", tmp_path, "--json")
    assert result.return_value == 2
    assert [e["code"] for e in json.loads(result.stdout)["errors"]] == ["table", "table"]


def test_a_sheet_of_volumes_is_drawn_beside_what_is_broken(tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    rows = volumes(data, 4)
    (data / "0/t1.nii.gz").write_bytes(b"cut")
    (data / "dataset.json").write_text('{"synthetic": true}')
    table(data, rows)
    result = run("--data", data, "--out", tmp_path / "out")
    assert result.return_value == 2 and "synthetic phantoms" in result.stdout
    assert (tmp_path / "out" / SHEET).stat().st_size > 10_000


def test_one_volume_alone_and_its_crop_are_looked_at(tmp_path):
    rows = [{"case": r["case"], "t2": r["t2"], "label": r["label"]} for r in volumes(tmp_path, 3)]
    result = run("--data", table(tmp_path, rows), "--out", tmp_path / "out")
    assert result.return_value == 0 and "(T2)" in result.stdout


def test_processes_see_the_same(tmp_path, monkeypatch):
    monkeypatch.setattr("cadx.study.check.FEW_PICTURES", 2)
    data = table(tmp_path, pictures(tmp_path))
    (data / "3.png").write_bytes(b"no picture")
    one, two = (check_cohort(data, workers=n).to_json() for n in (1, 2))
    assert one == two and len(one["errors"]) == 1


def test_a_cohort_that_is_none_is_one_sentence(tmp_path):
    with pytest.raises(InputError, match="no cohort that is known"):
        check_cohort(tmp_path)


def test_ctrl_c_ends_the_work(tmp_path):
    data = table(tmp_path, pictures(tmp_path, 40))

    def stop(stage: str, done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        check_cohort(data, progress=stop)


def test_phantoms_are_clean(tmp_path):
    from cadx.phantom import write_cohort

    write_cohort(tmp_path / "phantoms", 1, 5)
    report = check_cohort(tmp_path / "phantoms", read_study("ipmn"))
    assert report.errors == [] and report.cohort.synthetic
