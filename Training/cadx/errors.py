"""The few exceptions a user can meet.

Each message is one sentence: what is wrong, with which file or node, and what to do about it.
``exit_code`` is what the command line ends with.
"""

from __future__ import annotations

FINISHED_WITH_FAILURES = 4
"""What a command ends with that went through to its end although some cases or models failed."""


class CadxError(Exception):
    """Base of every error that is meant for the user; never shown with a traceback."""

    exit_code = 2


class InputError(CadxError):
    """Something the user gave cannot be used: a file, a number, a folder (exit 2)."""

    def about(self, name: str) -> InputError:
        """The same complaint, said of a file or node.

        >>> print(InputError("The image has no voxels; export it again.").about("t1.nii"))
        t1.nii: the image has no voxels; export it again.
        """
        text = str(self)
        return type(self)(f"{name}: {text[:1].lower()}{text[1:]}")


class BundleError(InputError):
    """A model bundle is unknown, altered or of another schema (exit 2)."""


class MissingDependencyError(CadxError):
    """A package or program is missing; the message names the command that installs it (exit 3)."""

    exit_code = 3


class RefusedError(CadxError):
    """The input is valid but must not be graded as it stands, such as too few slices (exit 5)."""

    exit_code = 5


class CancelledError(CadxError):
    """The user cancelled (exit 130)."""

    exit_code = 130
