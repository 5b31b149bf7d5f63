"""Reading JSON that somebody else may have written: bounded in size, whatever its depth."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

MAX_BYTES = 10_000_000


class JsonError(ValueError):
    """The file cannot be read as JSON, or is larger than any that belongs here."""


def read_json(path: Path) -> Any:
    """A parsed JSON document of at most :data:`MAX_BYTES`.

    Raises
    ------
    JsonError
        If the file is missing, no regular file, too large, no UTF-8, no JSON or nested too deeply.
    """
    try:
        if not path.is_file() or path.stat().st_size > MAX_BYTES:
            raise JsonError(f"{path.name} is no file of at most {MAX_BYTES} bytes")
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise JsonError(str(error)) from error
