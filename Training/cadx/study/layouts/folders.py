"""A cohort as class folders of pictures: the folder's name is the label."""

from __future__ import annotations

from pathlib import Path

from cadx.errors import InputError
from cadx.study.cohort import Sample
from cadx.study.layouts.draft import IMAGE, PICTURE_SUFFIXES, Draft, visible_folders


def recognises(data: Path) -> bool:
    """Whether a folder of pictures lies in ``data``."""
    return data.is_dir() and any(True for folder in visible_folders(data) if _pictures(folder, first=True))


def roles(data: Path) -> tuple[str, ...]:
    """Pictures."""
    return (IMAGE,)


def read(data: Path, roles: tuple[str, ...]) -> Draft:
    """Samples of class folders, named by their path within ``data``."""
    if roles != (IMAGE,):
        raise InputError(f"{data.name} holds pictures, not {' and '.join(roles)} volumes; choose another study.")
    if not data.is_dir():
        raise InputError(f"{data.name} is no folder of class folders; check the path.")
    draft = Draft()
    for folder in visible_folders(data):
        found = _pictures(folder)
        if not found:
            draft.notes.append(f"The folder {folder.name} holds no picture and was left out.")
        for path in found:
            name = path.relative_to(data).as_posix()
            draft.samples.append(Sample(name, {IMAGE: str(path)}, folder.name, name))
    outside = sum(1 for path in data.iterdir() if _is_picture(path))
    if outside:
        draft.notes.append(f"Pictures in no class folder, left out: {outside}.")
    draft.notes.append(
        "Patients are unknown in class folders: every image is its own group, so images of one patient may fall on "
        "both sides of a split."
    )
    return draft


def _pictures(folder: Path, *, first: bool = False) -> list[Path]:
    found = (path for path in folder.rglob("*") if _is_picture(path))
    return list(filter(None, [next(found, None)])) if first else sorted(found)


def _is_picture(path: Path) -> bool:
    return path.suffix.lower() in PICTURE_SUFFIXES and not path.name.startswith(".") and path.is_file()
