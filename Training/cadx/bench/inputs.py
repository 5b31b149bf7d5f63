"""What is measured on: a real pair, or a phantom of its size where there is none; a network of the paper's size."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cadx.geometry import Geometry
from cadx.io.files import write_volume
from cadx.models.build import ModelSpec, build
from cadx.models.bundle import Bundle, BundleSettings
from cadx.models.write_bundle import BundleText, write_bundle
from cadx.prepare.sample import sample
from cadx.prepare.spec import PreparationSpec
from cadx.roi import Roi
from cadx.volume import Volume

REAL_PAIR = Path("../shared/data/mri/brain_pair")
REAL_ROI = Roi.from_text("-4.9,20,22,100,80,60")
PAIR_SIZES = ((256, 224, 26), (224, 256, 26))
PAPERS_NETWORK = "vit_base_patch16_224"


@dataclass(frozen=True, eq=False)
class Pair:
    """T1 and T2 on disk and a ROI; ``name`` says what they are."""

    files: dict[str, Path]
    roi: Roi
    name: str


def find_pair(folder: Path, scratch: Path, note: Callable[[str], None]) -> Pair:
    """``t1.nii.gz`` and ``t2.nii.gz`` in ``folder``, or a phantom of their size written into ``scratch``."""
    files = {role: folder / f"{role.lower()}.nii.gz" for role in ("T1", "T2")}
    if all(file.is_file() for file in files.values()):
        return Pair(files, REAL_ROI, folder.name)
    note(f"There is no pair in {folder}; a phantom of that size is made.")
    return phantom_pair(scratch, PAIR_SIZES)


def phantom_pair(folder: Path, sizes: tuple[tuple[int, int, int], tuple[int, int, int]]) -> Pair:
    """A synthetic patient sampled onto grids of these sizes (I, J, K) over the same fields of view, int16."""
    from cadx.phantom import make_patient

    patient = make_patient(1, 0)
    files = {}
    for role, volume, size in (("T1", patient.t1, sizes[0]), ("T2", patient.t2, sizes[1])):
        files[role] = folder / f"{role.lower()}.nii.gz"
        write_volume(files[role], resized(volume.canonical(), size), compression=1)
    return Pair(files, patient.roi, f"phantom, {' and '.join('x'.join(map(str, size)) for size in sizes)}")


def papers_bundle(folder: Path, architecture: str = PAPERS_NETWORK) -> Bundle:
    """A bundle with random weights and the recommended preparation: its speed is real, its grade is none."""
    import torch

    preparation = PreparationSpec()
    torch.manual_seed(0)
    spec = ModelSpec(
        architecture=architecture,
        channels=len(preparation.channels),
        classes=3,
        image_pixels=preparation.grid.pixels,
    )
    classes = ("normal", "low risk", "high risk")
    settings = BundleSettings(name="bench", task="ipmn", classes=classes, demo=True, model=spec)
    text = BundleText("0.0.0", "Random weights.", "none", "Measurements of speed.", "# Random weights\n", {})
    return write_bundle(folder, settings, preparation, build(spec).state_dict(), text)


def resized(volume: Volume, size: tuple[int, int, int]) -> Volume:
    """The volume on a grid of this size (I, J, K) over the same field of view, int16."""
    old = volume.geometry
    ratio = np.asarray(old.size_ijk) / np.asarray(size)
    matrix = old.ijk_to_ras.copy()
    matrix[:3, :3] = matrix[:3, :3] * ratio
    matrix[:3, 3] = old.to_ras((ratio - 1) / 2)
    geometry = Geometry(size, matrix)
    voxels = np.nan_to_num(sample(volume, geometry))
    return Volume(np.rint(voxels).astype(np.int16), geometry, volume.name)
