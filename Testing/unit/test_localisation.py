"""``cadx localise``: whether maps lie on the finding."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
from PIL import Image

from cadx.cli import main
from cadx.study.localisation import Placed, described, energy_inside, sentence

from small_study import STUDY, write_study


def test_energy_is_counted_where_the_map_lies():
    mask = np.zeros((40, 40), bool)
    mask[:20, :20] = True
    corner = np.zeros((4, 4))
    corner[0, 0] = 1
    assert energy_inside(corner, mask) == 1.0
    assert energy_inside(np.ones((4, 4)), mask) == pytest.approx(0.25)
    assert energy_inside(corner[::-1], mask) == 0.0
    assert energy_inside(np.zeros((4, 4)), mask) == 0.0


def test_medians_are_those_of_right_cases():
    placed = [Placed("a", "fold-0", True, 0.6, 0.1), Placed("b", "fold-0", True, 0.2, 0.1)]
    wrong = Placed("c", "fold-0", False, 0.0, 0.1)
    told = described([*placed, wrong])
    assert (told["cases"], told["right"], told["median_times"], told["above_5_times"]) == (3, 2, 4.0, 0.5)
    assert "4.0 times" in sentence(told)
    assert "no case" in sentence(described([wrong]))


def write_marked(folder):
    """Bright squares on noise, the class is how bright, with their outlines."""
    generator = np.random.default_rng(0)
    folder.mkdir()
    with (folder / "cases.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(("path", "label", "patient", "mask"))
        for number in range(24):
            pixels = generator.integers(0, 40, (64, 64), np.uint8)
            mask = np.zeros((64, 64), np.uint8)
            top, left = generator.integers(0, 44, 2)
            mask[top : top + 20, left : left + 20] = 255
            pixels[mask > 0] += np.uint8(60 + 70 * (number % 3))
            name = f"{number}.png"
            Image.fromarray(pixels).save(folder / name)
            Image.fromarray(mask).save(folder / f"mask-{name}")
            writer.writerow((name, ("circle", "bars", "plain")[number % 3], f"p{number}", f"mask-{name}"))
    return folder


@pytest.mark.parametrize("final", ["best", "refit"])
def test_every_test_case_is_looked_at(tmp_path, capsys, final):
    text = STUDY.replace("pixels: 32", "pixels: 64").replace("grid: {learning_rate: [0.003, 0.001]}, ", "")
    text = text.replace("final: refit", f"final: {final}").replace("inner: {kind: folds}", "inner: {kind: holdout}")
    study = write_study(tmp_path, text.replace("precision: fp32", "precision: fp32\n  lesion_weight: 0.5"))
    data, run = write_marked(tmp_path / "data"), tmp_path / "run"
    wanted = [str(study), f"--data={data}", f"--out={run}", "--models=cnn", "--weights=none", "--epochs=2"]
    assert main(["crossval", *wanted, "--no-refit", "--no-bundles"]) == 0
    capsys.readouterr()
    assert main(["localise", str(run), f"--data={data}"]) == 0
    assert "cnn: " in capsys.readouterr().out
    found = json.loads((run / "localisation.json").read_text())["models"]["cnn"]
    assert found["cases"] == 24 and len({one["name"] for one in found["each"]}) == 24
    share = (20 * 20) / 64**2
    assert all(one["share"] == pytest.approx(share, abs=1e-6) and 0 <= one["energy"] <= 1 for one in found["each"])
    graded = [
        row["class"] == row["predicted"]
        for fold in range(3)
        for row in csv.DictReader((run / "cnn" / f"fold-{fold}" / "predictions.csv").open())
    ]
    assert found["right"] == sum(graded)
    before = (run / "localisation.json").read_bytes()
    other = ["--map={method: hirescam, layer: layer2, score: log-odds}", f"--file={tmp_path / 'other.json'}"]
    assert main(["localise", str(run), f"--data={data}", *other]) == 0
    chosen = json.loads((tmp_path / "other.json").read_text())["models"]["cnn"]
    assert (run / "localisation.json").read_bytes() == before
    assert chosen["method"].startswith("HiResCAM") and chosen["explanation"]["layer"] == "layer2"
    assert [one["right"] for one in chosen["each"]] == [one["right"] for one in found["each"]]
    assert main(["localise", str(run), f"--data={data}", "--map={method: grad-cam}"]) == 2
    assert "--file" in capsys.readouterr().err
    assert [one["energy"] for one in chosen["each"]] != [one["energy"] for one in found["each"]]
    for wrong, told in (
        ("{layer: layer2}", "name one of"),
        ("{method: hirescam, layer: layer9}", "layer9"),
        ("{method: hirescam, sharpened_by: [layer9]}", "layer9"),
        ("{", "--map"),
    ):
        capsys.readouterr()
        assert main(["localise", str(run), f"--data={data}", f"--map={wrong}", f"--file={tmp_path / 'none.json'}"]) == 2
        assert told in capsys.readouterr().err


def test_pictures_without_outlines_are_refused(tmp_path, capsys):
    study = write_study(tmp_path, STUDY.replace("grid: {learning_rate: [0.003, 0.001]}, ", ""))
    data, run = write_marked(tmp_path / "data"), tmp_path / "run"
    plain = (data / "cases.csv").read_text().replace(",mask\n", "\n").replace(",mask\r\n", "\r\n")
    lines = [line.rsplit(",", 1)[0] if "mask-" in line else line for line in plain.splitlines()]
    (data / "cases.csv").write_text("\n".join(lines) + "\n")
    wanted = [str(study), f"--data={data}", f"--out={run}", "--models=cnn", "--weights=none", "--epochs=1"]
    assert main(["crossval", *wanted, "--no-refit", "--no-bundles"]) == 0
    assert main(["localise", str(run), f"--data={data}"]) == 2
    assert "mask" in capsys.readouterr().err
