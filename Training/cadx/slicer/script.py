"""Commands of ``cadx`` as scripts of the application: no window is opened, nothing is installed unasked."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Sequence

from cadx.errors import CadxError
from cadx.slicer.dependencies import install, plan_installation, require_installed

INSTALL = "--install"
UNEXPECTED = 1


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
    except Exception as error:
        # what a script raises does not end the application: it would wait without a window
        traceback.print_exc()
        print(f"cadx: An unexpected {type(error).__name__} stopped the script; see above.", file=sys.stderr)
        return UNEXPECTED
    from cadx.cli import main

    code = main([command, *given])
    if "--help" in given:
        print(f"As a script of 3D Slicer, also: {INSTALL} installs what is missing first.")
    return code
