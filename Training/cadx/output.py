"""The files of one case: all of them, or none."""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Callable
from pathlib import Path

from cadx import pictures
from cadx.case import Case
from cadx.classify import Reading
from cadx.errors import MissingDependencyError
from cadx.io.atomic import staged_folder
from cadx.io.files import write_volume
from cadx.result import Result

NAMES = ("result.json", "grid.png", "profile.png", "attention.nii.gz", "overview.png", "scene.mrb")
log = logging.getLogger(__name__)


def write_reading(folder: Path, case: Case, reading: Reading, note: Callable[[str], None] = log.info) -> list[Path]:
    """Write ``result.json``, the pictures, the attention volume and, with slicer-core, overview and scene.

    What an earlier run left under these names is replaced. Returns the files in ``folder``.

    Raises
    ------
    InputError
        If the folder cannot be written.
    """
    with staged_folder(folder, replaces=NAMES) as stage:
        document = reading.result.to_json()
        _write_json(stage / "result.json", reading.result)
        pictures.draw_grid(stage / "grid.png", reading, tuple(case.images)[: reading.shown.grid.shape[0]])
        if reading.result.windows:
            pictures.draw_profile(stage / "profile.png", reading)
        if reading.attention is not None:
            write_volume(stage / "attention.nii.gz", reading.attention)
        try:
            _write_scene(stage, case, reading, document)
        except MissingDependencyError as error:
            note(f"No overview.png and scene.mrb: {error}")
        names = sorted(path.name for path in stage.iterdir())
    return [folder / name for name in names]


def write_refusal(folder: Path, result: Result) -> None:
    """Write ``result.json`` of a refused case and remove what an earlier run left."""
    with staged_folder(folder, replaces=NAMES) as stage:
        _write_json(stage / "result.json", result)


def remove(folder: Path) -> None:
    """Remove what an earlier run left of a case that now fails; the folder too if nothing else is in it."""
    for name in NAMES:
        (folder / name).unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        folder.rmdir()


def _write_json(path: Path, result: Result) -> None:
    path.write_text(json.dumps(result.to_json(), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _write_scene(stage: Path, case: Case, reading: Reading, document: dict[str, object]) -> None:
    from cadx.slicer import write_case_scene

    images = list(case.images.values())
    write_case_scene(
        stage,
        t1=images[0],
        t2=images[-1],
        roi=reading.prepared.roi,
        attention=reading.attention,
        result=document,
    )
