"""What reading a layout gives: samples, and all that is wrong with it rather than the first thing only."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from cadx.study.cohort import Sample

PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".dcm")
IMAGE = "image"


@dataclass
class Draft:
    """Samples that can be used, sentences on what was left out by design, sentences on what is wrong."""

    samples: list[Sample] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def is_there(text: str) -> bool:
    """Whether a path exists, a DICOM folder's ``#N`` left aside."""
    try:
        if Path(text).exists():
            return True
        folder, mark, number = text.rpartition("#")
        return bool(mark) and number.isdecimal() and Path(folder).is_dir()
    except (OSError, ValueError):
        return False


def visible_folders(folder: Path) -> list[Path]:
    """Its folders in the order of their names, without hidden ones and those that archives leave."""
    return sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith((".", "__")))


def natural(path: Path) -> tuple[int, int, str]:
    """Sorts 2.mat before 10.mat, and numbers before names."""
    return (0, int(path.stem), path.name) if path.stem.isdecimal() else (1, 0, path.name)
