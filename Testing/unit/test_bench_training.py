"""``cadx bench training`` measures the same work on both sides; how fast a machine is, no test asks."""

from __future__ import annotations

import json
import os
from types import SimpleNamespace

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("monai")

from cadx import device, phantom  # noqa: E402
from cadx.bench import (  # noqa: E402
    plain_loop,
    training,
    training_bound,
    training_frozen,
    training_start,
    training_volumes,
)
from cadx.bench.report import Measured  # noqa: E402
from cadx.bench.setting import Setting  # noqa: E402
from cadx.cli import main  # noqa: E402
from cadx.errors import InputError  # noqa: E402
from cadx.study import trainer  # noqa: E402

from support import CLASSES, failing_third  # noqa: E402

CPU = device.Device("cpu", "a processor", "")


def silent(text):
    pass


def test_the_parts_that_need_no_process_give_lines(tmp_path):
    figure = tmp_path / "cost.png"
    parts = ("volumes", "pictures", "frozen", "bound", "profile")
    rows = {row.name: row for row in training.bench_training(parts, 1, CPU, silent, figure=figure, tiny=True)}
    assert rows[training_volumes.ON_CPU].value > 0
    assert set(rows[training_volumes.ON_CPU].detail["seconds"]) == {"straightforward", "cadx", "cadx fp32"}
    assert str(rows[training_volumes.ON_GPU]).count("not measured here: no GPU") == 1
    assert figure.read_bytes().startswith(b"\x89PNG")
    shares = [row.value for name, row in rows.items() if name.startswith("profile")]
    assert sum(shares) == pytest.approx(100)
    assert shares[0] > 1
    sides = next(row for row in rows.values() if row.name.startswith("pictures")).detail["samples a second"]
    assert set(sides) == {"straightforward, 0 workers", "straightforward, 2 workers", "cadx"}
    assert rows[training_frozen.AGAIN].value > 0
    assert set(rows[training_frozen.ALONE].detail["seconds"]) == {"each time", "kept", "kept, and found before"}
    images = rows[training_frozen.ALONE].detail["images through the body"]
    assert images["each time"] > images["kept"] > 0
    others = [row.detail.get("share of the processors that other programs took") for row in rows.values()]
    assert sum(share is not None and 0 <= share <= 1 for share in others) == len(parts)
    json.dumps([row.detail for row in rows.values()])


def test_both_sides_see_the_same_grids():
    """MONAI's central window, tiled, is what the package's samples are in use."""
    cases = training_volumes.make_cases(5, 16)
    loader = plain_loop.volume_loader(cases.cells, cases.labels, 5, training=False)
    (batch,) = loader
    ours = cases.samples().batch(torch.arange(5))
    same = torch.tensor([case.shape[1] % 2 == 1 for case in cases.cells])
    assert same.any()
    torch.testing.assert_close(batch["image"][same], ours[same], atol=1e-3, rtol=0)
    assert batch["label"].tolist() == cases.labels
    drawn = next(iter(plain_loop.volume_loader(cases.cells, cases.labels, 5, training=True)))["image"]
    assert drawn.shape == ours.shape
    assert drawn.dtype == ours.dtype


def test_the_arithmetic_is_that_of_the_matrices(tmp_path):
    """Twelve products of d x d a token and block, fewer in the last; thrice, but no gradient reaches the image."""
    setting = Setting(CPU, 1, tmp_path, silent, tiny=True)
    step = training_bound.Step(setting)
    tokens, width, patch = 10, 48, 2 * 16 * 16
    full = 24 * width**2 * tokens
    attention = 4 * tokens**2 * width
    last = 2 * width**2 * (2 * tokens + 10) + 4 * tokens * width
    body = full + attention + last + 2 * width * 3
    assert training_bound.flop_of(step) == 8 * (3 * body + 2 * 2 * 9 * patch * width)
    parameters = sum(parameter.numel() for parameter in step.model.parameters())
    assert training_bound.bytes_of(step) > 28 * parameters


def test_pairs_of_folds_are_counted_once():
    # three folds: every inner training has a third of the patients
    assert training_bound.trained_samples(30, 3, shared=True) == 3 * 10 + 3 * 20 + 30
    assert training_bound.trained_samples(30, 3, shared=False) == 6 * 10 + 3 * 20 + 30


def test_the_patients_of_the_start_are_a_cohort(case, tmp_path, monkeypatch):
    from cadx.study.labelled import read_labelled
    from cadx.study.presets import read_study

    def patient(seed, index):
        return SimpleNamespace(t1=case.images["T1"], t2=case.images["T2"], roi=case.roi, label=CLASSES[index])

    monkeypatch.setattr(phantom, "make_patient", patient)
    table = training_start.write_patients(tmp_path / "patients", 4)
    known = read_labelled(read_study("ipmn"), table, "auto")
    assert len(known.names) == 4
    files = {(table.parent / f"p{n:03d}-t1.nii.gz").read_bytes() for n in range(4)}
    assert len(files) == 4
    assert callable(trainer.training_step)
    setting = Setting(CPU, 1, tmp_path, silent, tiny=True)
    with pytest.raises(InputError, match="did not reach a training step"):
        training_start._python(setting, "import sys; sys.exit('cadx: no')", wanted=training_start.REACHED)


@pytest.mark.slow
def test_a_second_run_starts(tmp_path):
    second, libraries = training_start.start(Setting(CPU, 1, tmp_path, silent, tiny=True))
    assert 0 < libraries.value < second.value
    assert second.detail["seconds"]["first run"]


def test_a_line_without_value_is_neither_met_nor_missed(tmp_path, capsys, monkeypatch):
    rows = [Measured("on a GPU", None, "x", 25, True, missing="not measured here: no GPU"), Measured("told", 2.0, "s")]
    monkeypatch.setattr(training, "bench_training", lambda *_, **__: rows)
    out = tmp_path / "training.json"
    command = ["bench", "training", "--only", "volumes", "--device", "cpu", "--out", str(out)]
    assert main(command) == 0
    printed = capsys.readouterr().out
    assert "not measured here: no GPU" in printed
    assert "NOT MET" not in printed
    document = json.loads(out.read_text())
    assert [line["met"] for line in document["measured"]] == [None, None]
    assert document["measured"][0]["value"] is None
    assert np.isfinite(document["machine"]["cores"])


def test_a_side_of_its_own_runs_elsewhere_and_says_what_fails():
    from cadx.bench.apart import Apart
    from cadx.errors import CadxError

    with Apart(failing_third, 1) as side:
        assert side._process.pid != os.getpid()
        side()
        side()
        with pytest.raises(CadxError, match="ValueError: enough"):
            side()
    assert not side._process.is_alive()
    with pytest.raises(CadxError, match="TypeError"):
        Apart(failing_third)
