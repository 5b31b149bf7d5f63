"""What may import what."""

from __future__ import annotations

import ast
import subprocess
import sys

import pytest

APPLICATION = {"slicer", "qt", "ctk", "vtk", "PySide6", "vtkmodules"}
HEAVY = {"torch", "timm", "monai", "torchvision"}
USE = (
    "prepare",
    "models",
    "explain",
    "trust",
    "io",
    "classify.py",
    "classify_picture.py",
    "network.py",
    "picture_case.py",
)


def imported(path, top_level_only=False):
    tree = ast.parse(path.read_text())
    nodes = tree.body if top_level_only else ast.walk(tree)
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.fixture(scope="module")
def sources(repository):
    return sorted((repository / "Training" / "cadx").rglob("*.py"))


@pytest.fixture(scope="module")
def modules(repository):
    """What the application loads with the modules."""
    return [*repository.glob("*Classifier/*.py"), *repository.glob("*Classifier/Scripts/*.py")]


def test_qt_is_known_to_the_panels_alone(sources, repository):
    panel = repository / "Training" / "cadx" / "slicer" / "panel"
    found = [
        (str(path.relative_to(repository)), name)
        for path in sources
        if panel not in path.parents
        for name in imported(path)
        if name.partition(".")[0] in {"qt", "ctk", "PySide6"} or name.startswith("cadx.slicer.panel")
    ]
    assert found == []


def test_no_module_asks_what_it_runs_on(modules, sources):
    for path in (*modules, *sources):
        assert "slicer_host" not in path.read_text(), path


def test_only_the_slicer_room_knows_the_application(sources, repository):
    room = repository / "Training" / "cadx" / "slicer"
    found = [
        (str(path.relative_to(repository)), name)
        for path in sources
        if room not in path.parents
        for name in imported(path)
        if name.partition(".")[0] in APPLICATION
    ]
    assert found == []


def test_use_does_not_know_training(sources, repository):
    package = repository / "Training" / "cadx"
    found = [
        (str(path.relative_to(package)), name)
        for path in sources
        if path.relative_to(package).parts[0] in USE
        for name in imported(path)
        if name.startswith(("cadx.study", "cadx.evaluate"))
    ]
    assert found == []


def test_heavy_packages_are_imported_where_used(sources, modules, repository):
    """A network's own class needs torch to be written down at all; then its module is imported where used."""
    assert modules
    networks = {"cadx.models.fusion"}
    found = [
        (str(path.relative_to(repository)), name)
        for path in (*sources, *modules)
        for name in imported(path, top_level_only=True)
        if (name.partition(".")[0] in HEAVY and module_name(path) not in networks) or name in networks
    ]
    assert found == []


def module_name(path):
    parts = path.with_suffix("").parts
    return ".".join(parts[len(parts) - 1 - parts[::-1].index("cadx") :]) if "cadx" in parts else path.stem


def reached(sources, start):
    """Every module of the package that ``start`` leads to."""
    files = {module_name(path).removesuffix(".__init__"): path for path in sources}
    found, waiting = set(), [start]
    while waiting:
        name = waiting.pop()
        if name in files and name not in found:
            found.add(name)
            waiting += imported(files[name])
    return found


def test_the_trainer_has_no_way_to_a_test_part(sources):
    """It is handed the samples of its parts; where others could be had is beyond its reach."""
    found = reached(sources, "cadx.study.trainer")
    assert "cadx.study.samples" in found
    beyond = {
        "source",
        "opening",
        "crossval",
        "task",
        "selection",
        "cohort",
        "labelled",
        "folds",
        "layouts",
        "external",
        "examples",
    }
    assert not found & {f"cadx.study.{name}" for name in beyond}


def test_the_audit_shares_no_code_with_training(sources):
    found = {name for path in sources if "audit" in path.parts for name in reached(sources, module_name(path))}
    found = {name.removesuffix(".__init__") for name in found}
    assert "cadx.audit.audit" in found
    assert not {name for name in found if name.startswith(("cadx.study", "cadx.evaluate", "cadx.trust", "cadx.models"))}


@pytest.mark.parametrize(
    "statement",
    [
        "import cadx",
        "from cadx.cli import main; main(['--help'])",
        "import cadx.classify",
        "import cadx.classify_picture",
    ],
)
def test_neither_help_nor_import_loads_what_is_heavy(statement):
    code = f"{statement}\nimport sys\nprint(sorted(m for m in {HEAVY | APPLICATION} if m in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip().splitlines()[-1] == "[]"
