"""``cadx cohort group`` and ``shortcuts``: copies under other names, and classes that a border gives away."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
from PIL import Image, ImageFilter

from cadx.cli import main
from cadx.study.labelled import read_labelled
from cadx.study.presets import read_study
from cadx.study.shortcuts import find_shortcuts


def silent(*_):
    pass


def scene(seed, edge=96):
    """A smooth random picture, unlike any other."""
    noise = np.random.default_rng(seed).integers(0, 256, (edge, edge), np.uint8)
    smooth = Image.fromarray(noise).filter(ImageFilter.GaussianBlur(6))
    values = np.asarray(smooth, float)
    values = (values - values.min()) / np.ptp(values)
    return (values * 255).astype(np.uint8)


def write(folder, pictures):
    """``pictures``: (name, label, patient, pixels)."""
    folder.mkdir()
    with (folder / "cases.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(("path", "label", "patient", "source"))
        for name, label, patient, pixels in pictures:
            Image.fromarray(pixels).save(folder / name)
            writer.writerow((name, label, patient, "S"))
    return folder


@pytest.fixture
def copied(tmp_path):
    """Forty patients of two labels, and three copies under other patients: flipped, brighter, and both."""
    labels = ("yes", "no")
    own = [(f"{n}.png", labels[n % 2], f"p{n}", scene(n)) for n in range(40)]
    bright = (np.power(scene(2) / 255, 0.7) * 255).astype(np.uint8)
    copies = [
        ("a.png", "yes", "copy-a", scene(0)[:, ::-1]),
        ("b.png", "yes", "copy-b", bright),
        ("c.png", "yes", "copy-c", bright[::-1]),
    ]
    return write(tmp_path / "data", own + copies)


def rows(table):
    with table.open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_copies_under_other_names_become_one_group(copied, tmp_path, capsys):
    out = tmp_path / "elsewhere" / "joined.csv"
    out.parent.mkdir()
    wanted = ["cohort", "group", f"--data={copied}", "--study=brain-tumor-binary", f"--out={out}"]
    assert main([*wanted, f"--cache={tmp_path / 'cache'}"]) == 0
    assert "43 groups became 40" in capsys.readouterr().out
    found = rows(out)
    groups = {row["case"]: row["patient"] for row in found}
    assert groups["a.png"] == groups["0.png"] and groups["b.png"] == groups["c.png"] == groups["2.png"]
    assert len(set(groups.values())) == 40
    assert {row["group_before"] for row in found if row["case"] == "a.png"} == {"copy-a"}
    # what was written is a cohort again, from where it lies
    again = read_labelled(read_study("brain-tumor-binary"), out, "auto")
    assert len(again.names) == 43 and len(set(again.groups)) == 40
    assert again.cohort.samples[0].covariates["source"] == "S"


def test_a_study_of_volumes_is_refused(copied, tmp_path, capsys):
    assert main(["cohort", "shortcuts", f"--data={copied}", "--study=ipmn"]) == 2
    assert "cases.csv" in capsys.readouterr().err


def framed(number, dark):
    pixels = scene(number)
    if dark:
        pixels[:3], pixels[-3:], pixels[:, :3], pixels[:, -3:] = 0, 0, 0, 0
    return pixels


def test_a_frame_gives_its_class_away(tmp_path, capsys):
    labels = ("yes", "no")
    data = write(tmp_path / "data", [(f"{n}.png", labels[n % 2], f"p{n}", framed(n, n % 2 == 0)) for n in range(60)])
    out = tmp_path / "shortcuts.json"
    wanted = ["cohort", "shortcuts", f"--data={data}", "--study=brain-tumor-binary", f"--out={out}"]
    assert main([*wanted, f"--cache={tmp_path / 'cache'}"]) == 0
    said = capsys.readouterr().out
    assert "border alone" in said and "research use only" in said.lower()
    document = json.loads(out.read_text())
    border = document["parts"]["border"]["auc_of_class"]["tumour"]
    assert border["value"] > 0.95 and border["interval_95"][0] > 0.9
    assert document["cases"] == 60 and document["parts"]["thumbnail"]["values"] == 256


def test_pictures_without_a_shortcut_have_none(tmp_path):
    labels = ("yes", "no")
    data = write(tmp_path / "data", [(f"{n}.png", labels[n % 2], f"p{n}", scene(n)) for n in range(60)])
    labelled = read_labelled(read_study("brain-tumor-binary"), data, "auto")
    document = find_shortcuts(labelled, tmp_path / "cache", 1, silent)
    for part in document["parts"].values():
        low, high = part["auc"]["interval_95"]
        assert low < 0.5 < high
    assert document == find_shortcuts(labelled, tmp_path / "cache", 1, silent)
