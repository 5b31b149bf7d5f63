"""Small bundles for pictures, and one slice as every kind of file."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations, product
from pathlib import Path

import numpy as np

from cadx.explain.spec import USUAL, ExplanationSpec
from cadx.geometry import Geometry
from cadx.models.build import ModelSpec, build
from cadx.models.bundle import Bundle, BundleSettings
from cadx.models.write_bundle import write_bundle
from cadx.prepare.picture import PictureSpec
from cadx.volume import Volume

from support import TEXT, tilted

TUMOUR = ("no tumour", "tumour")
KINDS = ("glioma", "meningioma", "pituitary")
STORAGES = [(order, signs) for order in permutations(range(3)) for signs in product((1, -1), repeat=3)]
SMALL_VIT = {"depth": 2, "embed_dim": 48, "num_heads": 3, "patch_size": 8}


def make_picture_bundle(
    folder: Path,
    classes: tuple[str, ...] = TUMOUR,
    *,
    negative: tuple[str, ...] = ("no tumour",),
    architecture: str = "vit_tiny_patch16_224",
    demo: bool = False,
    temperature: float = 1.0,
    scale: float = 1.0,
    preparation: PictureSpec | None = None,
    explanation: ExplanationSpec = USUAL,
) -> Bundle:
    """Random weights; ``scale`` spreads the head's, so that answers differ between pictures.

    A CNN's are made positive: then its Grad-CAM is not empty.
    """
    import torch

    torch.manual_seed(3)
    preparation = preparation or PictureSpec(pixels=64, channels=1)
    spec = ModelSpec(
        architecture=architecture,
        channels=preparation.channels,
        classes=len(classes),
        image_pixels=preparation.pixels,
        options=SMALL_VIT if architecture.startswith("vit") else {},
    )
    settings = BundleSettings(
        name="pictures",
        task="brain",
        classes=classes,
        negative=negative,
        demo=demo,
        temperature=temperature,
        model=spec,
        explanation=explanation,
    )
    state = build(spec).state_dict()
    for name in state:
        if name.startswith(("head", "fc")):
            state[name] = (state[name] if architecture.startswith("vit") else state[name].abs()) * scale
    return write_bundle(folder, settings, preparation, state, TEXT)


def blob_volume(axis: int = 2) -> Volume:
    """int16, oblique, with a background that tells all directions and slices apart; the stack along R, A or S."""
    size, spacing = [44, 40, 36], [2.0, 2.0, 2.0]
    size[axis], spacing[axis] = 7, 6.0
    geometry = Geometry.from_axes((size[0], size[1], size[2]), spacing, tilted(6, -5, 8), (-40, -30, -20))
    k, j, i = np.indices((size[2], size[1], size[0]))
    where = np.stack([i / size[0], j / size[1], k / size[2]])
    values = 400 + 300 * where[0] + 200 * where[1] ** 2 + 250 * np.sin(5 * where[2] + 3 * where[0])
    values[np.abs(where - np.array([0.7, 0.3, 0.5])[:, None, None, None]).max(axis=0) < 0.12] += 500
    return Volume(np.rint(values).astype(np.int16), geometry, "blob")


def stored(volume: Volume, order: tuple[int, ...], signs: tuple[int, ...]) -> Volume:
    """The same volume with its axes stored in another order and direction."""
    voxels = np.transpose(volume.voxels, [2 - order[a] for a in (2, 1, 0)])
    voxels = np.flip(voxels, tuple(2 - a for a in range(3) if signs[a] < 0))
    return replace(volume, voxels=np.ascontiguousarray(voxels), geometry=volume.geometry.reordered(order, signs))


def write_slice_dicom(path: Path, plane: np.ndarray, axes: np.ndarray | None = None, **tags: object) -> Path:
    """One image; ``axes`` (3, 3) RAS columns along a row, along a column, and the normal."""
    import pydicom
    from pydicom.dataset import FileDataset, FileMetaDataset

    meta = FileMetaDataset()
    meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = pydicom.uid.MRImageStorage
    meta.MediaStorageSOPInstanceUID = "1.2.7"
    dataset = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.SOPClassUID, dataset.SOPInstanceUID, dataset.SeriesInstanceUID = (
        meta.MediaStorageSOPClassUID,
        "1.2.7",
        "1.2",
    )
    dataset.Modality, dataset.PatientName = "MR", "Name^Secret"
    dataset.Rows, dataset.Columns = plane.shape[:2]
    dataset.SamplesPerPixel = 3 if plane.ndim == 3 else 1
    dataset.PhotometricInterpretation = "RGB" if plane.ndim == 3 else "MONOCHROME2"
    if plane.ndim == 3:
        dataset.PlanarConfiguration = 0
    bits = plane.dtype.itemsize * 8
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = bits, bits, bits - 1
    dataset.PixelRepresentation = int(plane.dtype.kind == "i")
    if axes is not None:
        lps = axes * np.array([[-1.0], [-1.0], [1.0]])
        dataset.ImageOrientationPatient = [f"{v:.10g}" for v in (*lps[:, 0], *lps[:, 1])]
    dataset.PixelData = np.ascontiguousarray(plane).tobytes()
    for name, value in tags.items():
        setattr(dataset, name, value)
    pydicom.dcmwrite(path, dataset, enforce_file_format=True)
    return path
