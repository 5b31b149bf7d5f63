"""Commands of ``cadx`` as scripts of the application: no window is opened, nothing is installed unasked."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from cadx.errors import CadxError
from cadx.slicer.dependencies import install, plan_installation, require_installed

INSTALL = "--install"


def run(command: str, arguments: Sequence[str]) -> int:
    """Run one command of :mod:`cadx.cli`; returns its exit code.

    Parameters
    ----------
    command
        Such as ``classify``.
    arguments
        As the application hands them over, with or without ``--`` before them. ``--install`` installs what is missing
        first; without it a missing package is exit code 3 and a sentence with the command that installs it.
    """
    given = list(arguments[1:] if arguments[:1] == ["--"] else arguments)
    try:
        if INSTALL in given:
            given.remove(INSTALL)
            install(plan_installation(), windows=False)
        require_installed()
    except CadxError as error:
        print(f"cadx: {error}", file=sys.stderr)
        return error.exit_code
    from cadx.cli import main

    return main([command, *given])
