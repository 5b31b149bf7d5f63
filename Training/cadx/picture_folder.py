"""A folder as cases for a bundle for pictures: which of its files are read, and what the cases are called.

It imports nothing that a panel would have to wait for.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from itertools import chain, count
from pathlib import Path, PurePath

from cadx.case_names import SUMMARY, safe_name
from cadx.errors import InputError
from cadx.io.dicomfile import is_dicom
from cadx.io.imagefile import SUFFIXES as VOLUME_SUFFIXES

PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".dcm")
SEGMENTATIONS = (".seg.nrrd", ".seg.nhdr")
# of a DICOM medium: it lists files and shows nothing
DIRECTORY = "dicomdir"


def cases_in(folder: Path) -> list[tuple[str, Path]]:
    """Pictures and volumes in a folder and those below it, by path, each with a case's name.

    A case is called after its path in the folder, without the suffix where that suffices. Links to folders are not
    followed; hidden files, segmentations and files of other kinds are no cases.

    Raises
    ------
    InputError
        If there is none.
    OSError
        If a folder may not be read.
    """
    files = _files_in(folder)
    if not files:
        name = folder.resolve().name or "The folder"
        raise InputError(
            f"{name} holds no PNG, JPEG, BMP, TIFF or DICOM image and no volume; give the folder that does."
        )
    return list(zip(_case_names([file.relative_to(folder) for file in files]), files, strict=True))


def is_volume_name(path: PurePath) -> bool:
    """Whether a file is a volume by its suffix."""
    return path.name.lower().endswith(VOLUME_SUFFIXES)


def _files_in(folder: Path) -> list[Path]:
    found: list[Path] = []
    for place, folders, names in os.walk(folder, onerror=_raise):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [Path(place, name) for name in names if not name.startswith(".")]
    return sorted(path for path in found if _is_case(path))


def _raise(error: OSError) -> None:
    raise error


def _is_case(path: Path) -> bool:
    name = path.name.lower()
    if name == DIRECTORY or name.endswith(SEGMENTATIONS):
        return False
    if name.endswith(PICTURE_SUFFIXES) or is_volume_name(path):
        return True
    try:
        return is_dicom(path)
    except InputError:
        # it may be an image: as a case it says that it cannot be read
        return True


def _case_names(paths: Sequence[PurePath]) -> list[str]:
    """Names that differ on a system that does not tell capitals apart, too.

    >>> _case_names([PurePath("a/1.png"), PurePath("b/1.nii.gz"), PurePath("b/1.png")])
    ['a-1', 'b-1.nii.gz', 'b-1.png']
    """
    short = [safe_name(_without_suffix(path.as_posix())) for path in paths]
    shared = Counter(name.casefold() for name in short)
    taken = {SUMMARY}
    names = []
    for path, name in zip(paths, short, strict=True):
        wanted = name if shared[name.casefold()] == 1 else safe_name(path.as_posix())
        numbered = (f"{wanted}-{number}" for number in count(2))
        names.append(next(one for one in chain([wanted], numbered) if one.casefold() not in taken))
        taken.add(names[-1].casefold())
    return names


def _without_suffix(text: str) -> str:
    """Only of a known one: DICOM files are often called by numbers with dots."""
    known = next((end for end in (*PICTURE_SUFFIXES, *VOLUME_SUFFIXES) if text.lower().endswith(end)), "")
    return text[: len(text) - len(known)]
