"""What a case may be called: its name is that of its folder in a batch, on every system."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from cadx.errors import InputError

SUMMARY = "summary.csv"
MAX_NAME_BYTES = 200
_RESERVED = frozenset('/\\:*?"<>|')
# for a number behind it
_ROOM = 12


def require_names(table: str, cases: Sequence[str]) -> None:
    """Every case names a folder of its own.

    Raises
    ------
    InputError
        If one cannot be a folder's name, or occurs twice; ``table`` is named in it.
    """
    names = Counter(cases)
    for name in names:
        if not _names_a_folder(name):
            raise InputError(f"{table}: '{name[:80]}' cannot name a case's folder; use letters, digits and dashes.")
    repeated = next((name for name, count in names.items() if count > 1), None)
    if repeated:
        raise InputError(f"{table} names the case '{repeated}' twice; give each case its own name.")


def safe_name(text: str) -> str:
    """A name that :func:`require_names` takes, made of a relative path; of a long one its end.

    >>> safe_name("centre 1/what?.png")
    'centre 1-what_.png'
    """
    dashed = text.replace("/", "-").replace("\\", "-")
    plain = "".join("_" if letter in _RESERVED or not letter.isprintable() else letter for letter in dashed)
    return plain.encode()[_ROOM - MAX_NAME_BYTES :].decode(errors="ignore").strip(". ") or "case"


def _names_a_folder(name: str) -> bool:
    """A plain name: no path, not hidden, no letter that does not print, no file of the batch's own."""
    return (
        0 < len(name.encode()) <= MAX_NAME_BYTES
        and name.isprintable()
        and not name.startswith(".")
        and not set(name) & _RESERVED
        and name != SUMMARY
    )
