"""``slicer.packaging``: asks, notes and checks as upstream, and never installs anything."""

from __future__ import annotations

import logging
import tomllib
import types
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Any

Requirements = Any  # a text, a Requirement, or a list of either


def make(installs: list[dict[str, Any]]) -> types.ModuleType:
    """The module; each installation that would have run is added to ``installs``."""
    module = types.ModuleType("slicer.packaging", __doc__)

    def pip_install(
        requirements: str | list[str],
        constraints: str | Path | None = None,
        no_deps_requirements: str | list[str] | None = None,
        skip_packages: list[str] | None = None,
        blocking: bool = True,
        show_progress: bool = True,
        requester: str | None = None,
        parent: Any = None,
        logCallback: Callable[[str], None] | None = None,
        completedCallback: Callable[[int], None] | None = None,
    ) -> list[str] | None:
        if skip_packages is not None and (no_deps_requirements is not None or not blocking):
            raise ValueError("skip_packages needs blocking=True and excludes no_deps_requirements")
        given = {k: v for k, v in locals().items() if k not in ("logCallback", "completedCallback", "parent")}
        installs.append(
            {name: given[name] for name in ("requirements", "constraints", "no_deps_requirements")}
            | {name: given[name] for name in ("skip_packages", "blocking", "show_progress", "requester")}
        )
        if not blocking and completedCallback:
            import qt

            qt.QTimer.singleShot(0, lambda: completedCallback(0))
        return [] if skip_packages is not None else None

    def pip_ensure(
        requirements: Requirements,
        constraints: str | Path | None = None,
        skip_packages: list[str] | None = None,
        prompt_install: bool = True,
        prompt_restart: bool = True,
        requester: str | None = None,
        skip_in_testing: bool = True,
        show_progress: bool = True,
    ) -> list[str] | None:
        import slicer

        missing = [str(r) for r in _parsed(requirements) if not pip_check(r)]
        if not missing:
            return None
        if skip_in_testing and slicer.app.testingEnabled():
            logging.info("Testing mode is enabled: skipping pip_ensure for %s", missing)
            return None
        if prompt_install:
            text = f"{len(missing)} Python package(s) need to be installed. Continue?"
            title = f"{requester} - Install Python Packages" if requester else "Install Python Packages"
            if not slicer.util.confirmOkCancelDisplay(text, title, detailedText="\n".join(missing)):
                raise RuntimeError("User declined package installation")
        return module.pip_install(
            missing,
            constraints=constraints,
            skip_packages=skip_packages,
            show_progress=show_progress,
            requester=requester,
        )

    def pip_uninstall(requirements: str | list[str], **options: Any) -> None:
        installs.append({"uninstall": requirements, **options})

    for function in (load_requirements, load_pyproject_dependencies, pip_check):
        setattr(module, function.__name__, function)
    module.pip_install, module.pip_ensure, module.pip_uninstall = pip_install, pip_ensure, pip_uninstall
    module.isPipInstallInProgress = lambda: False
    return module


def load_requirements(path: str | Path) -> list[Any]:
    """The requirements of a requirements.txt, without comments and pip options."""
    lines = [line.strip() for line in Path(path).read_text().splitlines()]
    return _parsed([line for line in lines if line and line[0] not in "#-"])


def load_pyproject_dependencies(path: str | Path) -> list[Any]:
    """The dependencies of a pyproject.toml; KeyError if it has no ``[project]`` table."""
    data = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    if "project" not in data:
        raise KeyError(f"pyproject.toml has no [project] table: {path}")
    return _parsed(data["project"].get("dependencies", []))


def pip_check(req: Requirements) -> bool:
    """Whether the requirements are met by what is really installed, those of their extras too."""
    return all(_is_met(r, set()) for r in _parsed(req))


def _parsed(given: Requirements) -> list[Any]:
    from packaging.requirements import InvalidRequirement, Requirement

    if isinstance(given, str):
        try:
            return [Requirement(given)]
        except InvalidRequirement:
            return [Requirement(part) for part in given.split()]
    if isinstance(given, Requirement):
        return [given]
    if not isinstance(given, list):
        raise TypeError(f"Expected str, Requirement, or list, got {type(given).__name__}")
    return [Requirement(r) if isinstance(r, str) else r for r in given]


def _is_met(requirement: Any, seen: set[Any]) -> bool:
    from packaging.requirements import Requirement

    key = (requirement.name.lower(), frozenset(requirement.extras))
    if key in seen or (requirement.marker is not None and not requirement.marker.evaluate()):
        return True
    seen.add(key)
    try:
        if version(requirement.name) not in requirement.specifier:
            return False
    except PackageNotFoundError:
        return False
    for text in requires(requirement.name) or []:
        needed = Requirement(text)
        if needed.marker and any(needed.marker.evaluate({"extra": extra}) for extra in requirement.extras):
            needed.marker = None
            if not _is_met(needed, seen):
                return False
    return True
