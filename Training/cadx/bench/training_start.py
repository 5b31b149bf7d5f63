"""How long a second run takes from the command to its first training step, everything prepared by the first."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np

from cadx.bench.inputs import resized
from cadx.bench.report import Measured
from cadx.bench.setting import TINY_TRANSFORMER, Setting
from cadx.bench.timing import interleaved, medians
from cadx.errors import InputError
from cadx.io.files import write_volume
from cadx.study.presets import dump, read_study

AIM = 5.0
PATIENTS, SIZE = 139, (112, 88, 20)
REACHED = 77
# the command itself, ended where it would take its first step
FIRST_STEP = f"""
import os, sys
import cadx.study.trainer
def first(*given, **named):
    sys.stdout.flush()
    os._exit({REACHED})
cadx.study.trainer.training_step = first
from cadx.cli import main
sys.exit(main(sys.argv[1:]))
"""
LIBRARIES = "import torch, timm, torch._dynamo, sklearn.model_selection"


def start(setting: Setting) -> list[Measured]:
    """Seconds of a second ``cadx crossval`` on 139 small phantom patients until its first step."""
    patients = 9 if setting.tiny else PATIENTS
    table = write_patients(setting.scratch / "patients", patients)
    setting.note(f"{patients} patients written; the first run prepares them ...")
    first = interleaved({"first run": lambda: _run(setting, table)}, 1, note=setting.note)
    times = interleaved(
        {"second run": lambda: _run(setting, table), "libraries alone": lambda: _python(setting, LIBRARIES)},
        max(1, setting.repeats),
        note=setting.note,
    )
    detail = {"seconds": {**first, **times}, "patients": patients}
    name = f"second run to its first step, {patients} patients"
    return [
        Measured(name, medians(times)["second run"], "s", AIM, detail=detail),
        Measured("of which importing torch, timm and scikit-learn", medians(times)["libraries alone"], "s"),
    ]


def write_patients(folder: Path, count: int) -> Path:
    """Small volumes of three phantoms, each patient with a noise of its own; returns the cohort's table."""
    from cadx.phantom import make_patient

    rng = np.random.default_rng(0)
    folder.mkdir()
    phantoms = [make_patient(1, index) for index in range(3)]
    small = [[resized(volume.canonical(), SIZE) for volume in (one.t1, one.t2)] for one in phantoms]
    rows = []
    for number in range(count):
        phantom, pair = phantoms[number % 3], small[number % 3]
        row = {"case": f"p{number:03d}", "label": phantom.label, "roi": f"p{number:03d}.mrk.json"}
        (folder / row["roi"]).write_text(json.dumps(phantom.roi.to_markups()), encoding="utf-8")
        for channel, volume in zip(("t1", "t2"), pair, strict=True):
            row[channel] = f"p{number:03d}-{channel}.nii.gz"
            noisy = volume.voxels + rng.normal(0, 3, volume.voxels.shape)
            write_volume(folder / row[channel], volume.with_voxels(np.rint(noisy).astype(np.int16)), compression=1)
        rows.append(row)
    table = folder / "cases.csv"
    with table.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, ["case", "t1", "t2", "roi", "label"])
        writer.writeheader()
        writer.writerows(rows)
    return table


def _run(setting: Setting, table: Path) -> None:
    out = setting.scratch / "run"
    shutil.rmtree(out, ignore_errors=True)
    command = ["crossval", _study(setting), f"--data={table}", f"--out={out}", f"--cache={setting.scratch / 'cells'}"]
    command += ["--models=vit", "--weights=none", f"--device={setting.where.kind}", "--prepare-workers=2"]
    command += ["--set=input.preparation.bias=null", "--set=input.preparation.smooth=null"]
    _python(setting, FIRST_STEP, *command, wanted=REACHED)


def _study(setting: Setting) -> str:
    """The study that ships; if tiny a file with a small network and three folds."""
    if not setting.tiny:
        return setting.study.name
    small = read_study("ipmn", changes=["split.folds=3", f"input.preparation.grid.cell_pixels={setting.pixels}"])
    network = small.model("vit").model_copy(update={"options": TINY_TRANSFORMER})
    file = setting.scratch / "tiny.yaml"
    file.write_text(dump(small.model_copy(update={"models": (network,), "tables": ()})), encoding="utf-8")
    return str(file)


def _python(setting: Setting, code: str, *arguments: str, wanted: int = 0) -> None:
    # an installed package is byte-compiled, whatever is set where this runs
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    if sys.dont_write_bytecode:
        environment["PYTHONPYCACHEPREFIX"] = str(setting.scratch / "compiled")
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode != wanted:
        complaint = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise InputError(f"cadx crossval did not reach a training step while it was measured: {complaint}")
