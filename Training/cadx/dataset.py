"""What a cohort folder says of itself: ``dataset.json`` beside its table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cadx.io.jsonfile import JsonError, read_json

MARKER = "dataset.json"
SCHEMA = "cadx.dataset/1"


def synthetic_marker(generator: str, seed: int, patients: int) -> dict[str, Any]:
    """The content of ``dataset.json`` for a cohort of phantoms."""
    return {"schema": SCHEMA, "synthetic": True, "generator": generator, "seed": seed, "patients": patients}


def is_synthetic(folder: Path) -> bool:
    """Whether a cohort folder says that it holds phantoms."""
    try:
        document = read_json(folder / MARKER)
    except JsonError:
        return False
    return isinstance(document, dict) and document.get("synthetic") is True
