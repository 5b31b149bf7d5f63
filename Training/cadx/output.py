"""The files of one case: all of them, or none."""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from cadx import pictures, slice_pictures
from cadx.case import Case
from cadx.classify import Reading
from cadx.classify_picture import PictureReading
from cadx.errors import InputError, MissingDependencyError
from cadx.explain.display import ATTENTION, KINDS, kind_of
from cadx.io.atomic import staged_folder
from cadx.io.files import write_volume
from cadx.picture_case import PictureCase
from cadx.result import Result
from cadx.summary import case_record, summary_text

MAPS = tuple(kind.file for kind in KINDS)
DRAWN = ("grid.png", "overlay.png", "slices.png", "profile.png")
NAMES = ("result.json", *DRAWN, *MAPS, "overview.png", "scene.mrb")
EXPORTED = {"json": ("result.json",), "csv": ("summary.csv",), "png": DRAWN}
FORMATS = tuple(EXPORTED)
log = logging.getLogger(__name__)


def write_reading(
    folder: Path,
    case: Case | PictureCase,
    reading: Reading | PictureReading,
    note: Callable[[str], None] = log.info,
) -> list[Path]:
    """Write ``result.json``, the pictures, the map as a volume and, of T1 and T2 with slicer-core, overview and scene.

    What an earlier run left under these names is replaced. Returns the files in ``folder``.

    Raises
    ------
    InputError
        If the folder cannot be written.
    """
    with staged_folder(folder, replaces=NAMES) as stage:
        document = reading.result.to_json()
        _write_json(stage / "result.json", reading.result)
        _draw(stage, reading)
        if reading.attention is not None:
            kind = kind_of(reading.result.explanation) or ATTENTION
            write_volume(stage / kind.file, reading.attention)
        if isinstance(case, Case) and isinstance(reading, Reading):
            try:
                _write_scene(stage, case, reading, document)
            except MissingDependencyError as error:
                note(f"No overview.png and scene.mrb: {error}")
        names = sorted(path.name for path in stage.iterdir())
    return [folder / name for name in names]


def export_reading(
    folder: Path, case: Case | PictureCase, reading: Reading | PictureReading, formats: Sequence[str] = FORMATS
) -> list[Path]:
    """Write what was chosen of a reading: ``json`` (result.json), ``csv`` (one row, summary.csv), ``png`` (pictures).

    Raises
    ------
    InputError
        If a format is unknown or the folder cannot be written.
    """
    unknown = sorted(set(formats) - set(FORMATS))
    if unknown or not formats:
        raise InputError(f"There is no format '{', '.join(unknown)}' to export; choose from {', '.join(FORMATS)}.")
    names = [name for chosen in FORMATS if chosen in formats for name in EXPORTED[chosen]]
    with staged_folder(folder, replaces=names) as stage:
        if "json" in formats:
            _write_json(stage / "result.json", reading.result)
        if "csv" in formats:
            record = case_record(case.name, reading.result.to_json())
            text = summary_text([record], tuple(reading.result.probabilities))
            (stage / "summary.csv").write_text(text, encoding="utf-8", newline="")
        if "png" in formats:
            _draw(stage, reading)
        written = sorted(path.name for path in stage.iterdir())
    return [folder / name for name in written]


def write_refusal(folder: Path, result: Result) -> None:
    """Write ``result.json`` of a refused case and remove what an earlier run left."""
    with staged_folder(folder, replaces=NAMES) as stage:
        _write_json(stage / "result.json", result)


def remove(folder: Path) -> None:
    """Remove what an earlier run left of a case that now fails; the folder too if nothing else is in it."""
    for name in NAMES:
        with contextlib.suppress(OSError):
            (folder / name).unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        folder.rmdir()


def is_whole(folder: Path, result: Result) -> bool:
    """Whether the files that belong to a result are all there and none is empty."""
    wanted = ["result.json"]
    if result.status == "ok":
        kind = kind_of(result.explanation)
        wanted += _drawn(result)
        if kind is not None and (result.roi or result.slices):
            wanted.append(kind.file)
    try:
        return all((folder / name).stat().st_size > 0 for name in wanted)
    except OSError:
        return False


def require_apart(folder: Path, inputs: Iterable[str]) -> None:
    """Refuse to write over what is read.

    Raises
    ------
    InputError
        If an input is one of the files that a result in ``folder`` would replace.
    """
    written = {(folder / name).resolve() for name in NAMES}
    for text in inputs:
        with contextlib.suppress(OSError, ValueError):
            if Path(text).resolve() in written:
                raise InputError(f"{Path(text).name} would be overwritten by the result; give another folder for it.")


def _drawn(result: Result) -> list[str]:
    """Names of the pictures that belong to a result; without a ROI it is one of slices or of a picture."""
    if result.roi:
        return ["grid.png", *(["profile.png"] if result.windows else [])]
    rows = len(result.slices.get("table", ()))
    return ["overlay.png", *(["slices.png"] if rows else []), *(["profile.png"] if rows > 1 else [])]


def _draw(folder: Path, reading: Reading | PictureReading) -> None:
    if isinstance(reading, PictureReading):
        draw = {
            "overlay.png": slice_pictures.draw_overlay,
            "slices.png": slice_pictures.draw_slices,
            "profile.png": slice_pictures.draw_slice_profile,
        }
        for name in _drawn(reading.result):
            draw[name](folder / name, reading)
        return
    roles = [str(image["role"]) for image in reading.result.inputs]
    pictures.draw_grid(folder / "grid.png", reading, tuple(roles))
    if reading.result.windows:
        pictures.draw_profile(folder / "profile.png", reading)


def _write_json(path: Path, result: Result) -> None:
    path.write_text(json.dumps(result.to_json(), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _write_scene(stage: Path, case: Case, reading: Reading, document: dict[str, object]) -> None:
    from cadx.slicer import write_case_scene

    roles = [str(image["role"]) for image in reading.result.inputs]
    images = {role.lower(): case.images[role] for role in roles}
    write_case_scene(
        stage,
        t1=images.get("t1"),
        t2=images.get("t2"),
        roi=reading.prepared.roi,
        attention=reading.attention,
        result=document,
    )
