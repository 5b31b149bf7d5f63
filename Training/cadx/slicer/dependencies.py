"""What is missing in Slicer's Python, what would be installed, and installing it; nothing is installed unasked.

Needs nothing beyond Slicer's own packages. What Slicer brings itself is never replaced: pip is held to the versions
that are there.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import re
import subprocess
import tempfile
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata, util
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement

from cadx.doctor import NEEDS, Need
from cadx.errors import CancelledError, MissingDependencyError
from cadx.slicer.runtime import python_program, slicer_module

REQUESTER = "SlicerCADx"
SLICERS_OWN = ("numpy", "SimpleITK", "vtk", "pydicom", "scipy")
TORCH = ("torch", "torchvision")


@dataclass(frozen=True)
class Missing:
    """A package that is not there, or too old."""

    need: Need
    requirement: str
    installed: str | None


@dataclass(frozen=True)
class InstallPlan:
    """What would be installed, and what stays as it is.

    Parameters
    ----------
    kept
        Lines of a pip constraints file.
    index
        Where pip looks; empty for its own default.
    torch_extension
        Whether the PyTorch extension will choose torch.
    """

    missing: tuple[Missing, ...]
    kept: tuple[str, ...]
    index: str
    torch_extension: bool

    @property
    def blocked(self) -> tuple[Missing, ...]:
        """What must not be replaced and is too old."""
        return tuple(one for one in self.missing if one.installed and one.need.package in SLICERS_OWN)

    @property
    def megabytes(self) -> int:
        """Approximate download."""
        return sum(one.need.megabytes for one in self.missing)


def plan_installation() -> InstallPlan:
    """What grading needs and is not there; looks at what is installed only, no network."""
    ranges = requirements()
    missing = []
    for need in NEEDS:
        wanted = ranges.get(need.package.lower())
        if need.optional or wanted is None:
            continue
        installed = _version(need.package)
        there = util.find_spec(need.module) is not None
        # a module without metadata is Slicer's own build, and no version can be judged
        if not there or (installed and not wanted.specifier.contains(installed, prereleases=True)):
            missing.append(Missing(need, str(wanted), installed if there else None))
    # a torch that is there stays with its torchvision, unless one of the pair is wanted anew
    renewed = any(one.need.package in TORCH for one in missing)
    held = SLICERS_OWN if renewed else SLICERS_OWN + TORCH
    kept = tuple(f"{name}=={version}" for name in held if (version := _version(name)))
    return InstallPlan(tuple(missing), kept, _index(), util.find_spec("PyTorchUtils") is not None)


def install(plan: InstallPlan, *, windows: bool) -> None:
    """Install what is missing.

    Parameters
    ----------
    plan
        Of :func:`plan_installation`, and agreed to.
    windows
        Whether windows may be opened (progress, restart); never when headless.

    Raises
    ------
    MissingDependencyError
        If something is still missing afterwards, or Slicer's own packages are too old.
    """
    if plan.blocked:
        one = plan.blocked[0]
        raise MissingDependencyError(
            f"Slicer's own {one.need.package} {one.installed} is too old and must not be replaced "
            f"({one.requirement} is needed); install a newer Slicer."
        )
    if any(one.need.package in TORCH for one in plan.missing) and _torch_extension():
        _install_torch()
    plan = plan_installation()
    with _constraints(plan.kept) as path:
        _pip([one.requirement for one in plan.missing], path, windows)
    importlib.invalidate_caches()
    left = plan_installation().missing
    if left:
        names = " ".join(f'"{one.requirement}"' for one in left)
        raise MissingDependencyError(f"Still missing; install it with: PythonSlicer -m pip install {names}")


def repair_torch() -> None:
    """Install torch and torchvision anew, with nothing else replaced: for a torch that does not load.

    Raises
    ------
    MissingDependencyError
        If pip did not succeed.
    """
    extension = _torch_extension()
    if extension is not None:
        with _failure_as_sentence():
            extension.uninstallTorch()
        _install_torch()
        importlib.invalidate_caches()
        return
    wanted = [str(requirements()[name]) for name in TORCH]
    kept = [line for line in plan_installation().kept if line.partition("==")[0] not in TORCH]
    with _constraints(kept) as path:
        # alone first: with what it needs, pip would put Slicer's own packages in anew too
        _pip_plain(["--force-reinstall", "--no-deps", *wanted])
        _pip_plain(["-c", str(path), *wanted])
    importlib.invalidate_caches()


def require_installed() -> None:
    """Raises :class:`cadx.errors.MissingDependencyError`, naming the command, where something is missing."""
    plan = plan_installation()
    if plan.missing:
        names = " ".join(f'"{one.requirement}"' for one in plan.missing)
        keep = " ".join(f'"{line}"' for line in plan.kept)
        python = Path(python_program()).name
        raise MissingDependencyError(f"Packages are missing; install them with: {python} -m pip install {names} {keep}")


def requirements() -> dict[str, Requirement]:
    """Package (lower case) to range, as ``pyproject.toml`` has them."""
    package = Path(__file__).resolve().parents[1]
    for file in (package / "pyproject.toml", package.parents[1] / "pyproject.toml"):
        if file.is_file():
            lines = tomllib.loads(file.read_text(encoding="utf-8"))["project"]["dependencies"]
            break
    else:
        lines = [line for line in metadata.requires("slicer-cadx") or () if "extra ==" not in line]
    found = (Requirement(line) for line in lines)
    return {one.name.lower(): one for one in found}


def _pip(lines: list[str], constraints: Path, windows: bool) -> None:
    """Install by the application's own way, which it shows and records, or by pip."""
    if not lines:
        return
    packaging = _slicer_packaging()
    if packaging is None:
        _pip_plain(["-c", str(constraints), *lines])
        return
    with _failure_as_sentence():
        # its own question would wait for a window that nobody sees when headless, and was asked here before
        packaging.pip_ensure(
            [Requirement(line) for line in lines],
            constraints=str(constraints),
            prompt_install=False,
            prompt_restart=windows,
            requester=REQUESTER,
            skip_in_testing=False,
            show_progress=windows,
        )


def _pip_plain(arguments: list[str]) -> None:
    with _failure_as_sentence():
        if getattr(slicer_module(), "app", None) is not None:
            slicer_module().util.pip_install(arguments)
        else:
            subprocess.run([python_program(), "-m", "pip", "install", "--quiet", *arguments], check=True)


@contextlib.contextmanager
def _failure_as_sentence() -> Iterator[None]:
    try:
        yield
    except (subprocess.CalledProcessError, RuntimeError, ImportError, OSError) as error:
        raise MissingDependencyError(
            "pip could not install what is missing (no network, or no room?); see the log, or install from files as "
            "the tutorial describes."
        ) from error


def _slicer_packaging() -> Any:
    try:
        return importlib.import_module("slicer.packaging")
    except ImportError:
        return None


def _torch_extension() -> Any:
    """The PyTorch extension's logic, which chooses the build for this machine's GPU; None without the extension."""
    try:
        return importlib.import_module("PyTorchUtils").PyTorchUtilsLogic()
    except ImportError:
        return None


def _install_torch() -> None:
    wanted = requirements()
    with _failure_as_sentence():
        done = _torch_extension().installTorch(
            askConfirmation=False,
            torchVersionRequirement=str(wanted["torch"].specifier),
            torchvisionVersionRequirement=str(wanted["torchvision"].specifier),
        )
    if done is None:
        raise CancelledError("torch was not installed.")


def _index() -> str:
    """Where pip looks, without what may be a password in it."""
    if os.environ.get("PIP_NO_INDEX") and os.environ.get("PIP_FIND_LINKS"):
        return os.environ["PIP_FIND_LINKS"]
    url = os.environ.get("PIP_INDEX_URL", "")
    return re.sub(r"//[^/@]*@", "//", url)


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


@contextlib.contextmanager
def _constraints(lines: list[str] | tuple[str, ...]) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="cadx-") as folder:
        path = Path(folder) / "constraints.txt"
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        yield path
