"""The extension configures, builds and installs with CMake; stand-ins take the place of a Slicer build."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path("lib/Slicer-5.12/qt-scripted-modules/cadx")


@pytest.fixture(scope="module")
def trees(repository, tmp_path_factory) -> dict[str, Path]:
    """The build and the install tree."""
    cmake = pytest.importorskip("cmake")
    if not shutil.which("cc"):
        pytest.skip("CMake's project() needs a C compiler and there is none on this machine")
    program = str(Path(cmake.CMAKE_BIN_DIR) / "cmake")
    folder = tmp_path_factory.mktemp("extension")
    build, install = folder / "build", folder / "install"
    stand_in = repository / "Testing" / "helpers" / "slicer_build"
    for arguments in (
        ["-S", str(repository), "-B", str(build), f"-DSlicer_DIR={stand_in}"],
        ["--build", str(build)],
        ["--install", str(build), "--prefix", str(install)],
    ):
        subprocess.run([program, *arguments], check=True, capture_output=True, text=True)
    return {"build": build, "install": install}


@pytest.mark.parametrize("tree", ["build", "install"])
def test_every_file_of_the_package_and_the_bundles_is_there(trees, repository, tree):
    shipped = trees[tree] / PACKAGE
    source = repository / "Training" / "cadx"
    wanted = {p.relative_to(source) for p in source.rglob("*") if p.is_file() and "__pycache__" not in p.parts}
    models = repository / "Resources" / "Models"
    wanted |= {Path("Models") / p.relative_to(models) for p in models.rglob("*") if p.is_file()}
    found = {p.relative_to(shipped) for p in shipped.rglob("*") if p.is_file() and "__pycache__" not in p.parts}
    assert found == wanted


def test_the_installed_package_runs_and_finds_its_bundle(trees):
    code = (
        "from cadx.library import shipped_bundle; from cadx.models.bundle import verify; import cadx\n"
        "print(cadx.__file__); print(verify(shipped_bundle()))"
    )
    where = trees["install"] / PACKAGE.parent
    done = subprocess.run(
        [sys.executable, "-c", code],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(where)},
        cwd=where,
    )
    path, digest = done.stdout.split()
    assert Path(path).is_relative_to(where)
    assert re.fullmatch(r"[0-9a-f]{64}", digest)


def test_the_metadata_that_slicer_asks_for_is_set(repository):
    text = (repository / "CMakeLists.txt").read_text()
    values = dict(re.findall(r'set\((EXTENSION_\w+) "([^"]+)"\)', text))
    assert set(values) >= {
        "EXTENSION_CATEGORY",
        "EXTENSION_CONTRIBUTORS",
        "EXTENSION_DESCRIPTION",
        "EXTENSION_ICONURL",
        "EXTENSION_SCREENSHOTURLS",
    }
    assert "PyTorch" in values["EXTENSION_DEPENDS"]
    for name in (values["EXTENSION_ICONURL"], *values["EXTENSION_SCREENSHOTURLS"].split()):
        assert (repository / name).is_file()
    assert "clinical decisions" in values["EXTENSION_DESCRIPTION"]
