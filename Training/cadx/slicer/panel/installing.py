"""The one window that asks before anything is installed."""

from __future__ import annotations

import slicer.util
from slicer.i18n import tr as _

from cadx.errors import CancelledError
from cadx.slicer.dependencies import InstallPlan, install, plan_installation, repair_torch


def ensure_installed() -> None:
    """Ask and install, where something is missing.

    Raises
    ------
    CancelledError
        If the user says no.
    MissingDependencyError
        If something is still missing afterwards, or Slicer's own packages are too old.
    """
    plan = plan_installation()
    if not plan.missing:
        return
    if plan.blocked:
        install(plan, windows=True)  # says what is too old
    if not ask(plan):
        raise CancelledError(_("Nothing was installed; grading needs these packages."))
    with slicer.util.WaitCursor():
        install(plan, windows=True)


def ask(plan: InstallPlan) -> bool:
    """Show what is missing, what would be installed, from where and how large; True if the user agrees."""
    text = _("Grading needs Python packages that are not installed yet. Install them now?")
    return bool(
        slicer.util.confirmOkCancelDisplay(f"{text}\n\n{plan.text()}", windowTitle=_("SlicerCADx: install packages"))
    )


def ask_and_repair() -> None:
    """Install torch anew after asking.

    Raises
    ------
    CancelledError
        If the user says no.
    MissingDependencyError
        If pip did not succeed.
    """
    text = _("Install torch and torchvision anew? Nothing else is replaced; restart Slicer afterwards.")
    if not slicer.util.confirmOkCancelDisplay(text, windowTitle=_("SlicerCADx: repair torch")):
        raise CancelledError(_("Nothing was changed."))
    with slicer.util.WaitCursor():
        repair_torch()
