"""Studies by name, and studies of one's own: YAML files read field by field."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from cadx.errors import InputError
from cadx.io.atomic import write_text
from cadx.prepare.spec import first_complaint
from cadx.study.spec import StudySpec, VolumesInput

DEFAULT_PRESET = "recommended"
MAX_BYTES = 1_000_000


def presets() -> dict[str, tuple[str, ...]]:
    """The studies that ship and their presets.

    >>> presets()["ipmn"]
    ('authors-code', 'cyst-x', 'paper', 'recommended')
    """
    found: dict[str, list[str]] = {}
    for file in sorted(resources.files("cadx.study").joinpath("protocols").iterdir(), key=lambda f: f.name):
        name, preset, suffix = file.name.rsplit(".", 2)
        if suffix == "yaml":
            found.setdefault(name, []).append(preset)
    return {name: tuple(sorted(own)) for name, own in found.items()}


def read_study(name_or_path: str, preset: str | None = None, changes: Sequence[str] = ()) -> StudySpec:
    """A study that ships, by name and preset, or a YAML file; ``changes`` such as ``training.epochs=5`` are laid over.

    Raises
    ------
    InputError
        If there is none, it is no YAML, or a field is not allowed.
    """
    text, source = _text(name_or_path, preset)
    document = _parse(text, source)
    for change in changes:
        _lay_over(document, change)
    try:
        return StudySpec.model_validate(document)
    except ValidationError as error:
        raise InputError(f"{source}: {first_complaint(error)}") from error


def preset_text(name: str, preset: str | None = None) -> str:
    """The YAML of a study that ships, with its comments.

    Raises
    ------
    InputError
        If there is none of that name.
    """
    known = presets()
    if name not in known:
        raise InputError(f"There is no study '{name}'; choose one of {', '.join(known)}, or give a YAML file.")
    chosen = preset or DEFAULT_PRESET
    if chosen not in known[name]:
        raise InputError(f"The study {name} has no preset '{chosen}'; choose one of {', '.join(known[name])}.")
    return resources.files("cadx.study").joinpath(f"protocols/{name}.{chosen}.yaml").read_text(encoding="utf-8")


def new_study(out: Path, name: str, preset: str | None = None) -> None:
    """Write a copy of a study that ships, comments and all, to start a question of one's own from.

    Raises
    ------
    InputError
        If the file exists or there is no such study.
    """
    text = preset_text(name, preset)
    if out.exists():
        raise InputError(f"{out.name} exists; give the new study a name of its own.")
    if out.suffix.lower() not in (".yaml", ".yml"):
        raise InputError(f"{out.name} is no name of a study file; end it in .yaml.")
    own = text.replace(f"preset: {preset or DEFAULT_PRESET}\n", "preset: own\n", 1)
    write_text(out, own)


def dump(study: StudySpec) -> str:
    """The study as YAML, every default written out."""
    import yaml

    document = study.model_dump(mode="json", by_alias=True)
    if isinstance(study.input, VolumesInput):
        document["input"]["preparation"] = study.input.preparation.to_json()
    return yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=120)


def study_sha256(study: StudySpec) -> str:
    """SHA-256 of :func:`dump`."""
    return hashlib.sha256(dump(study).encode()).hexdigest()


def first_difference(one: StudySpec, other: StudySpec) -> str | None:
    """The dotted name of the first field in which two studies differ; None where they are equal."""
    return _difference(one.model_dump(mode="json", by_alias=True), other.model_dump(mode="json", by_alias=True), "")


def _difference(one: Any, other: Any, place: str) -> str | None:
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        for key in dict.fromkeys((*one, *other)):
            found = _difference(one.get(key), other.get(key), f"{place}.{key}" if place else str(key))
            if found:
                return found
        return None
    return None if one == other else place


def _text(name_or_path: str, preset: str | None) -> tuple[str, str]:
    path = Path(name_or_path)
    if path.suffix.lower() not in (".yaml", ".yml"):
        return preset_text(name_or_path, preset), f"study {name_or_path}"
    if preset is not None:
        raise InputError(f"{path.name} is a study of its own and has no presets; leave --preset out.")
    try:
        if path.stat().st_size > MAX_BYTES:
            raise InputError(f"{path.name} is too large for a study; give a YAML file of that form.")
        return path.read_text(encoding="utf-8-sig"), path.name
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path.name} cannot be read; check the path and that it is YAML in UTF-8.") from error


def _parse(text: str, source: str) -> dict[str, Any]:
    import yaml

    class Loader(yaml.SafeLoader):
        """Refuses a key that stands twice; YAML itself would let the last one win."""

        def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
            keys = [self.construct_object(key, deep=True) for key, _ in node.value]
            twice = next((key for index, key in enumerate(keys) if key in keys[:index]), None)
            if twice is not None:
                raise yaml.constructor.ConstructorError(None, None, f"'{twice}' stands twice", node.start_mark)
            return super().construct_mapping(node, deep)

    try:
        document = yaml.load(text, Loader)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
        problem = getattr(error, "problem", None) or "it cannot be parsed"
        place = f" in line {mark.line + 1}" if mark else ""
        raise InputError(f"{source} is not valid YAML{place} ({problem}); correct it.") from error
    if not isinstance(document, dict):
        raise InputError(f"{source} holds no study; start from a copy made with cadx study new.")
    return document


def _lay_over(document: dict[str, Any], change: str) -> None:
    import yaml

    place, mark, text = change.partition("=")
    keys = place.split(".")
    if not mark or not all(keys):
        raise InputError(f"'{change}' is no setting; write a field and its value, such as training.epochs=5.")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise InputError(f"'{change}' holds no YAML value; write it such as training.epochs=5.") from error
    for key in keys[:-1]:
        inner = document.setdefault(key, {})
        if not isinstance(inner, dict):
            raise InputError(f"'{place}' names no single field of the study; change it in a file of your own.")
        document = inner
    document[keys[-1]] = value
