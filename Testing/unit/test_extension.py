"""The extension configures, builds and installs with CMake; stand-ins take the place of a Slicer build."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

MODULES = Path("lib/Slicer-5.12/qt-scripted-modules")
PACKAGE = MODULES / "cadx"
NAMES = ("IPMNClassifier", "TumorClassifier")
SCRIPTS = ("batch", "classify")


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
        ["-S", str(repository), "-B", str(build), f"-DSlicer_DIR={stand_in}", "-DBUILD_TESTING=ON"],
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
    wanted.add(Path("pyproject.toml"))
    found = {p.relative_to(shipped) for p in shipped.rglob("*") if p.is_file() and "__pycache__" not in p.parts}
    assert found == wanted


def test_the_modules_files_are_installed_and_nothing_else(trees):
    found = {p.relative_to(trees["install"] / MODULES) for p in (trees["install"] / MODULES).rglob("*") if p.is_file()}
    found = {path for path in found if path.parts[0] != "cadx"}
    wanted = {f"{name}{end}" for name in NAMES for end in (".py", *(f"Scripts/{script}.py" for script in SCRIPTS))}
    wanted |= {f"Resources/{place}" for name in NAMES for place in (f"Icons/{name}.png", f"UI/{name}.ui")}
    assert found == {Path(path) for path in wanted}


INSTALLED_PANEL = """
import sys
sys.path.insert(0, {host!r})
from slicer_host import Host
import slicer
host = Host()
panel = host.open({module!r})
import cadx
{use}
panel.ui.modelButton.collapsed = False
print(cadx.__file__, panel.model.folder)
assert not host.errors, host.errors
host.reset()
"""

USES = {
    "IPMNClassifier": """
from cadx.slicer.sample import add_phantom
nodes = add_phantom(slicer.mrmlScene)
parameters = panel.logic.getParameterNode()
parameters.t1Volume, parameters.t2Volume, parameters.roi = nodes.t1, nodes.t2, nodes.roi
assert host.until(lambda: panel.tiles.shown is not None, 60), panel.tiles.status
""",
    "TumorClassifier": """
from cadx.slicer.sample import add_head
panel.chooseSample(add_head(slicer.mrmlScene))
assert host.until(lambda: panel.picture.shown is not None, 60), panel.picture.status
""",
}


@pytest.mark.parametrize("name", NAMES)
def test_the_panel_opens_and_works_from_the_installed_tree(trees, repository, name):
    pytest.importorskip("slicer_core")
    pytest.importorskip("PySide6")
    where = trees["install"] / MODULES
    host, module = str(repository / "Testing" / "host"), str(where / f"{name}.py")
    code = INSTALLED_PANEL.format(host=host, module=module, use=USES[name])
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(where)},
        cwd=where,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    package, bundle = done.stdout.split()[-2:]
    assert Path(package).is_relative_to(where) and Path(bundle).is_relative_to(where)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("script", SCRIPTS)
def test_the_installed_scripts_find_the_package(trees, name, script):
    where = trees["install"] / MODULES
    file = where / f"{name}Scripts" / f"{script}.py"
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, str(file), "--help"], capture_output=True, text=True, env=environment, cwd=where, check=True
    )
    assert "--out" in done.stdout


@pytest.mark.parametrize("name", NAMES)
def test_the_modules_tests_are_registered(trees, repository, name):
    listed = "\n".join(path.read_text() for path in trees["build"].rglob("CTestTestfile.cmake"))
    files = list((repository / name / "Testing" / "Python").glob("test_*.py"))
    assert len(files) == 2
    for file in files:
        assert f"py_{file.stem}" in listed


def test_the_index_entry_follows_the_catalogue_s_schema(repository):
    entry = json.loads((repository / "SlicerCADx.json").read_text())
    known = {"build_dependencies", "build_subdirectory", "category", "enabled", "scm_revision", "scm_type", "scm_url"}
    assert set(entry) - known == {"$schema", "tier"}
    assert {"$schema", "category", "scm_url"} <= set(entry)
    assert entry["tier"] in (1, 3, 5)
    assert f'set(EXTENSION_CATEGORY "{entry["category"]}")' in (repository / "CMakeLists.txt").read_text()


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
