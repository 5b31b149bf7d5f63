"""What tests build: patterns known in patient space, bundles, files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK as sitk
from scipy.spatial.transform import Rotation

from cadx.geometry import Array, Geometry
from cadx.models.build import ModelSpec, build
from cadx.models.bundle import Bundle, BundleSettings
from cadx.models.write_bundle import BundleText, write_bundle
from cadx.prepare.spec import GridSpec, PreparationSpec
from cadx.volume import Volume

CLASSES = ("normal", "low risk", "high risk")
TINY = {"depth": 2, "embed_dim": 48, "num_heads": 3}
PLAIN = PreparationSpec(bias=None, smooth=None)
TEXT = BundleText("0.0.1", "random weights", "none", "Tests.", "# A card\n", {})


def tilted(x: float, y: float, z: float) -> Array:
    """(3, 3) axes turned by degrees about R, A, S."""
    return Rotation.from_euler("xyz", [x, y, z], degrees=True).as_matrix()


def pattern(ras: Array) -> Array:
    """A smooth function of the place in the patient, mm; between 0 and about 1000."""
    r, a, s = np.moveaxis(np.asarray(ras), -1, 0)
    return 500 + 200 * np.sin(r / 23) + 150 * np.cos(a / 19) + 100 * np.sin(s / 17 + r / 60)


def points(geometry: Geometry) -> Array:
    """(K, J, I, 3) RAS of every voxel centre."""
    k, j, i = np.indices(geometry.size_ijk[::-1])
    return geometry.to_ras(np.stack([i, j, k], axis=-1))


def pattern_volume(geometry: Geometry, name: str) -> Volume:
    return Volume(pattern(points(geometry)).astype(np.float32), geometry, name)


def make_bundle(
    folder: Path,
    *,
    demo: bool = False,
    preparation: PreparationSpec | None = None,
    architecture: str = "vit_tiny_patch16_224",
) -> Bundle:
    import torch

    preparation = preparation or PLAIN.model_copy(update={"grid": GridSpec(cell_pixels=32)})
    torch.manual_seed(0)
    spec = ModelSpec(
        architecture=architecture,
        channels=len(preparation.channels),
        classes=3,
        image_pixels=preparation.shape[-1],
        options=TINY if architecture.startswith("vit") else {},
        dimensions=len(preparation.shape) - 1,
    )
    settings = BundleSettings(name="random", task="ipmn", classes=CLASSES, demo=demo, model=spec)
    return write_bundle(folder, settings, preparation, build(spec).state_dict(), TEXT)


def write(path: Path, volume: Volume) -> Path:
    sitk.WriteImage(volume.to_sitk(), str(path))
    return path


def write_dicom(
    folder: Path,
    volume: Volume,
    *,
    uid: str,
    description: str,
    tr: float,
    te: float,
    patient: str = "P",
    frame: str = "1.2.3",
) -> Path:
    """A volume as a DICOM series, one file a slice along K."""
    import pydicom
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage

    folder.mkdir(parents=True, exist_ok=True)
    lps = volume.geometry.axes * np.array([[-1.0], [-1.0], [1.0]])
    for k, plane in enumerate(volume.voxels):
        meta = FileMetaDataset()
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        meta.MediaStorageSOPClassUID = MRImageStorage
        meta.MediaStorageSOPInstanceUID = f"{uid}.{k + 1}"
        ds = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
        ds.SOPClassUID, ds.SOPInstanceUID = MRImageStorage, f"{uid}.{k + 1}"
        ds.Modality, ds.PatientID, ds.PatientName = "MR", patient, "Name^Secret"
        ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.FrameOfReferenceUID = "1.2.9", uid, frame
        ds.SeriesDescription, ds.RepetitionTime, ds.EchoTime = description, tr, te
        ds.InstanceNumber = k + 1
        position = volume.geometry.to_ras([0, 0, k]) * [-1, -1, 1]
        ds.ImagePositionPatient = [f"{v:.8g}" for v in position]
        ds.ImageOrientationPatient = [f"{v:.10g}" for v in (*lps[:, 0], *lps[:, 1])]
        ds.PixelSpacing = [f"{volume.geometry.spacing[1]:.8g}", f"{volume.geometry.spacing[0]:.8g}"]
        ds.SliceThickness = f"{volume.geometry.spacing[2]:.8g}"
        ds.Rows, ds.Columns = plane.shape
        ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
        ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 16, 15, 0
        ds.PixelData = np.round(plane).astype(np.uint16).tobytes()
        pydicom.dcmwrite(folder / f"slice-{k:03d}.dcm", ds, enforce_file_format=True)
    return folder


def failing_third(first: int):
    """Something to call that fails the third time; for another process to make."""
    numbers = [first]

    def run() -> None:
        numbers.append(numbers[-1] + 1)
        if len(numbers) > 3:
            raise ValueError("enough")

    return run
