"""SHA-256 of files' bytes, kept beside what was made from them, so that a second run need not read them again."""

from __future__ import annotations

import hashlib
import json
import time
from pathlib import Path

from cadx.io.atomic import write_text

INDEX = "files.json"
# a file changed twice within a file system's tick keeps its times: what is this young is hashed again next time
YOUNG_S = 2.0


class FileHashes:
    """Hashes of files, read again only where size or times differ from an earlier call's.

    Parameters
    ----------
    folder
        Where ``files.json`` keeps them; it need not exist before :meth:`keep`.
    """

    def __init__(self, folder: Path) -> None:
        self._place = folder / INDEX
        self._known = _index(self._place)
        self._seen = len(self._known)

    def of(self, file: Path) -> str:
        """SHA-256 of a file's bytes, as hexadecimal digits.

        Raises
        ------
        OSError
            If it cannot be read.
        """
        whole = file.resolve()
        state = whole.stat()
        # size and times are part of the name, so an entry is never wrong, only superfluous
        name = f"{state.st_size} {state.st_mtime_ns} {state.st_ctime_ns} {whole}"
        if name in self._known:
            return self._known[name]
        with whole.open("rb") as stream:
            found = hashlib.file_digest(stream, "sha256").hexdigest()
        if time.time() - max(state.st_mtime, state.st_ctime) > YOUNG_S:
            self._known[name] = found
        return found

    def keep(self) -> None:
        """Write down what is new.

        Raises
        ------
        OSError
            If the folder cannot be written.
        """
        if len(self._known) > self._seen:
            write_text(self._place, json.dumps(self._known))
            self._seen = len(self._known)


def _index(path: Path) -> dict[str, str]:
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return {k: v for k, v in known.items() if isinstance(v, str)} if isinstance(known, dict) else {}
