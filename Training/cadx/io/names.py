"""Names of files as users and other programs give them."""

from __future__ import annotations

from pathlib import Path

from cadx.errors import InputError


def require_plain_name(path: Path) -> None:
    """Refuse a name that is not UTF-8, on which the image library ends the process.

    Raises
    ------
    InputError
        If it is one; the message shows the name as far as it can be shown.
    """
    try:
        str(path).encode()
    except UnicodeEncodeError as error:
        shown = path.name.encode(errors="replace").decode()
        raise InputError(f"The name {shown} holds letters that are not UTF-8; rename it or its folder.") from error
