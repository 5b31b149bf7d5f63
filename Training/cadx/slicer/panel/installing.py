"""The one window that asks before anything is installed."""

from __future__ import annotations

import slicer.util
from slicer.i18n import tr as _

from cadx.errors import CancelledError
from cadx.slicer.dependencies import TORCH, InstallPlan, Missing, install, plan_installation, repair_torch


def packages_missing() -> str:
    """What a panel says in the place of what it cannot show yet."""
    return _("Packages are missing; press Classify to see which, and to install them.")


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
    title = _("SlicerCADx: install packages")
    return bool(slicer.util.confirmOkCancelDisplay(f"{text}\n\n{plan_text(plan)}", windowTitle=title))


def plan_text(plan: InstallPlan) -> str:
    """What is missing, from where it comes, how large it is, and what is not touched."""
    lines = [_("Missing:"), *(f"  {_line(one)}" for one in plan.missing), ""]
    lines.append(_("From {index}.").format(index=plan.index or _("the Python Package Index")))
    if plan.torch_extension and any(one.need.package in TORCH for one in plan.missing):
        lines.append(_("torch through the PyTorch extension, which chooses the build for this machine's GPU."))
    lines.append(_("Download about {size}, with what these packages need in turn.").format(size=_size(plan.megabytes)))
    lines.append(_("Not replaced: {kept}.").format(kept=", ".join(plan.kept) or _("nothing is there yet")))
    return "\n".join(lines)


def _line(one: Missing) -> str:
    state = _("{version} is too old").format(version=one.installed) if one.installed else _("missing")
    return _("{package}  ({state}; {purpose}; about {size})").format(
        package=one.requirement, state=state, purpose=one.need.purpose, size=_size(one.need.megabytes)
    )


def _size(megabytes: int) -> str:
    return f"{megabytes / 1000:.1f} GB" if megabytes >= 1000 else f"{megabytes} MB"


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
