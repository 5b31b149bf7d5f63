"""The bundles of a user: those that ship, and those that were imported into a folder of the user's own."""

from __future__ import annotations

import shutil
import tempfile
import zipfile
from pathlib import Path, PurePosixPath

from pydantic import ValidationError

from cadx.bundle_filter import BundleFilter, BundleKind
from cadx.errors import BundleError, InputError
from cadx.io.jsonfile import JsonError, read_json
from cadx.models.bundle import MANIFEST, PREPARATION, SETTINGS, Bundle, BundleSettings
from cadx.prepare.picture import SCHEMA as PICTURE_SCHEMA
from cadx.prepare.picture import PictureSpec

IPMN_DEMO = "ipmn-phantom-demo"
BRAIN_PHANTOM_DEMO = "brain-tumor-phantom-demo"
BRAIN_TYPE = "brain-tumor-type"
PICTURES_DEFAULT = BRAIN_TYPE
MAX_UNPACKED_BYTES = 8 * 2**30


def shipped_folder() -> Path:
    """Where the bundles that ship lie: inside the installed package, or in the repository."""
    package = Path(__file__).resolve().parent
    inside = package / "Models"
    return inside if inside.is_dir() else package.parents[1] / "Resources" / "Models"


def shipped_bundle(name: str = IPMN_DEMO) -> Path:
    """The folder of a bundle that ships.

    Raises
    ------
    InputError
        If it is not there.
    """
    folder = shipped_folder() / name
    if not folder.is_dir():
        raise InputError(f"The bundle {name} was not found beside the package; give --bundle.")
    return folder


def bundle_folders(own: Path, wanted: BundleFilter | str | None = None) -> list[Path]:
    """Folders of bundles, shipped ones first; those that cannot be read are left out.

    Parameters
    ----------
    own
        The user's folder; need not exist.
    wanted
        Which ones: a filter, or a task's name; None takes all.
    """
    accepted = BundleFilter.of(wanted)
    found = []
    for place in (shipped_folder(), own):
        for folder in sorted(place.iterdir()) if place.is_dir() else ():
            known = _task_and_kind(folder) if (folder / MANIFEST).is_file() else None
            if known is not None and accepted.accepts(*known):
                found.append(folder)
    return found


def import_bundle(source: Path, own: Path, wanted: BundleFilter | str | None = None) -> Path:
    """Copy a bundle, a folder or a zip of one, into the user's folder after checking every byte; returns its place.

    No network is used. The same bundle imported again is left as it is. ``wanted`` is as for :func:`bundle_folders`.

    Raises
    ------
    InputError
        If it is not one of those wanted, or there already is another bundle of that name.
    BundleError
        If it is no whole bundle.
    """
    own.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".import-", dir=own) as stage:
        copied = _unpacked(source, Path(stage)) if source.is_file() else _copied(source, Path(stage))
        bundle = Bundle.load(copied)
        name = bundle.settings.name
        kind: BundleKind = "pictures" if isinstance(bundle.preparation, PictureSpec) else "volumes"
        complaint = BundleFilter.of(wanted).complaint(bundle.settings.task, kind)
        if complaint:
            raise InputError(f"{source.name} {complaint}; choose another.")
        place = own / name
        if place.exists():
            if Bundle.load(place).sha256 == bundle.sha256:
                return place
            raise InputError(f"There already is another bundle {name} in {own.name}; remove that one first.")
        copied.rename(place)
    return place


def _task_and_kind(folder: Path) -> tuple[str, BundleKind] | None:
    """Read without checking the weights, which may take seconds; every use checks them."""
    try:
        task = BundleSettings.model_validate(read_json(folder / SETTINGS)).task
        preparation = read_json(folder / PREPARATION)
    except (JsonError, ValidationError):
        return None
    pictures = isinstance(preparation, dict) and preparation.get("schema") == PICTURE_SCHEMA
    return task, "pictures" if pictures else "volumes"


def _copied(source: Path, stage: Path) -> Path:
    if not (source / MANIFEST).is_file():
        raise BundleError(f"{source.name} is not a model bundle (no {MANIFEST}); give a bundle's folder or zip.")
    return Path(shutil.copytree(source, stage / "bundle", symlinks=True))


def _unpacked(source: Path, stage: Path) -> Path:
    """Only plain files within the folder are unpacked, and no more than a bundle may hold."""
    try:
        with zipfile.ZipFile(source) as archive:
            members = [member for member in archive.infolist() if not member.is_dir()]
            if sum(member.file_size for member in members) > MAX_UNPACKED_BYTES:
                raise BundleError(f"{source.name} unpacks to more than 8 GiB; give a bundle.")
            for member in members:
                parts = PurePosixPath(member.filename).parts
                if member.filename.startswith("/") or ".." in parts or "\\" in member.filename:
                    raise BundleError(f"{source.name} names a file outside itself; do not use it.")
            archive.extractall(stage, members)
    except (zipfile.BadZipFile, OSError, RuntimeError) as error:
        raise BundleError(f"{source.name} is no readable zip file; give a bundle's folder or zip.") from error
    found = [path.parent for path in stage.rglob(MANIFEST)]
    if len(found) != 1:
        raise BundleError(f"{source.name} holds {len(found)} bundles; give a zip of exactly one.")
    return found[0]
