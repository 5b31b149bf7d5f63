"""What runs here: versions, device, memory, what is missing and the command that installs it."""

from __future__ import annotations

import os
import platform
import sys
from dataclasses import dataclass
from importlib import metadata, util
from pathlib import Path

from cadx import __version__
from cadx.errors import CadxError, MissingDependencyError


@dataclass(frozen=True)
class Need:
    """A package, what it is for, how it is installed, and its download (approximate, with what it needs in turn)."""

    module: str
    package: str
    purpose: str
    megabytes: int = 0
    optional: bool = False


# on Linux pip brings CUDA's libraries along
TORCH_MEGABYTES = 3000 if sys.platform.startswith("linux") else 250
NEEDS = (
    Need("numpy", "numpy", "arrays", 20),
    Need("SimpleITK", "SimpleITK", "reading images, bias field, interpolation", 55),
    Need("pydantic", "pydantic", "checking settings", 3),
    Need("pydicom", "pydicom", "reading DICOM", 3),
    Need("typer", "typer", "the command line", 2),
    Need("matplotlib", "matplotlib", "pictures", 25),
    Need("PIL", "pillow", "reading pictures", 7),
    Need("safetensors", "safetensors", "model weights", 1),
    Need("torch", "torch", "the models", TORCH_MEGABYTES),
    Need("torchvision", "torchvision", "needed by timm", 8),
    Need("timm", "timm", "the models' architectures", 6),
    Need("slicer", "slicer-core", "overview.png and scene.mrb outside 3D Slicer", optional=True),
    Need("sklearn", "scikit-learn", "training", optional=True),
    Need("scipy", "scipy", "phantoms, training", optional=True),
    Need("yaml", "PyYAML", "studies", optional=True),
    Need("tensorboard", "tensorboard", "training curves while they grow", optional=True),
    Need("jinja2", "Jinja2", "reports", optional=True),
    Need("monai", "monai", "networks in three dimensions", optional=True),
    Need("openpyxl", "openpyxl", "workbooks as cohort tables", optional=True),
    Need("h5py", "h5py", "figshare's .mat files", optional=True),
)


def examine() -> tuple[list[str], bool]:
    """Lines of the report, and whether everything that classification needs is there."""
    lines = [f"cadx {__version__}, Python {platform.python_version()}, {platform.platform()}"]
    complete = True
    missing = []
    for need in NEEDS:
        found = util.find_spec(need.module) is not None
        version = _version(need.package) if found else ("missing, optional" if need.optional else "MISSING")
        lines.append(f"  {need.package:<14} {version:<22} {need.purpose}")
        if not found:
            missing.append(need.package)
            complete = complete and need.optional
    if missing:
        lines.append(f"Install what is missing with: {Path(sys.executable).name} -m pip install {' '.join(missing)}")
    lines += _machine()
    return lines, complete


def _machine() -> list[str]:
    lines = [f"Memory: {_memory()}", f"Processor: {os.cpu_count()} logical cores, {platform.machine()}"]
    if util.find_spec("torch") is None:
        return [*lines, "Device: not probed, torch is missing"]
    from cadx import device

    try:
        for kind in ("cuda", "mps", "cpu"):
            failure = device.probe(kind)
            found = failure or f"works (one real kernel ran), {device.describe(kind)}, {device.memory(kind)}"
            lines.append(f"Device {kind}: {found}")
        chosen = device.choose()
    except (CadxError, OSError, ImportError) as error:
        again = f"{Path(sys.executable).name} -m pip install --force-reinstall torch torchvision"
        return [*lines, f"Device: torch is installed but does not load ({error}); repair it with: {again}"]
    return [*lines, f"Chosen by --device auto: {chosen.kind} ({chosen.reason})", *_drawing()]


def _drawing() -> list[str]:
    if util.find_spec("slicer") is None:
        return []
    from cadx.slicer.runtime import require_drawing, slicer_module

    try:
        slicer_module()
        require_drawing()
    except MissingDependencyError as error:
        return [f"Pictures: {error}"]
    return ["Pictures: overview.png can be drawn"]


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "there"


def _memory() -> str:
    from cadx import device

    return device.memory("cpu")


if __name__ == "__main__":
    print("\n".join(examine()[0]))
