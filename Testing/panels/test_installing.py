"""Installing what is missing: by the application's own means, held to what it has, and never unasked."""

from __future__ import annotations

import subprocess
import sys
import types
from pathlib import Path
from unittest import mock

import pytest
from packaging.requirements import Requirement

from cadx.doctor import Need
from cadx.errors import CancelledError, MissingDependencyError
from cadx.slicer import dependencies
from cadx.slicer.script import run

ABSENT = Need("no_such_package_at_all", "no-such-package", "tests", 1)
TORCH = Need("no_such_torch", "torch", "the models", 3000)


@pytest.fixture
def absent(monkeypatch: pytest.MonkeyPatch):
    """One package that is nowhere."""
    ranges = {
        "no-such-package": Requirement("no-such-package>=1"),
        "torch": Requirement("torch>=2.6"),
        "torchvision": Requirement("torchvision>=0.21"),
    }
    monkeypatch.setattr(dependencies, "NEEDS", (ABSENT,))
    monkeypatch.setattr(dependencies, "requirements", lambda: ranges)


@pytest.fixture
def host():
    from slicer_host import Host

    made = Host()
    made.attach()
    yield made
    made.reset()
    made.detach()


def test_everything_is_there_in_this_environment():
    assert dependencies.plan_installation().missing == ()
    dependencies.require_installed()


def test_every_dependency_of_the_package_is_one_that_the_report_knows():
    known = {need.package.lower() for need in dependencies.NEEDS}
    # Slicer brings packaging, which this module itself stands on
    assert set(dependencies.requirements()) - known == {"packaging"}


def test_the_plan_names_what_is_missing_and_what_is_held(absent, host):
    from cadx.slicer.panel.installing import plan_text

    text = plan_text(dependencies.plan_installation())
    assert "no-such-package>=1  (missing; tests; about 1 MB)" in text
    for name in ("numpy==", "SimpleITK==", "pydicom=="):
        assert name in text


def test_the_index_is_named_without_a_password(monkeypatch):
    monkeypatch.setenv("PIP_INDEX_URL", "https://somebody:secret@example.org/simple")
    assert dependencies.plan_installation().index == "https://example.org/simple"


@pytest.mark.parametrize("windows", [False, True])
def test_slicer_s_own_installer_is_used_with_constraints_and_no_second_question(absent, host, windows):
    held = []

    def note(requirements, *, constraints, **options):
        held.append((list(map(str, requirements)), Path(constraints).read_text(), options))

    with (
        mock.patch("slicer.packaging.pip_ensure", note),
        pytest.raises(MissingDependencyError, match="Still missing"),
    ):
        dependencies.install(dependencies.plan_installation(), windows=windows)
    ((lines, constraints, options),) = held
    assert lines == ["no-such-package>=1"]
    assert "numpy==" in constraints and "SimpleITK==" in constraints
    assert options == {
        "prompt_install": False,
        "prompt_restart": windows,
        "requester": "SlicerCADx",
        "skip_in_testing": False,
        "show_progress": windows,
    }
    assert host.shown == []


def test_an_older_slicer_s_pip_is_used_where_there_is_no_other(absent, host):
    with (
        mock.patch.object(dependencies, "_slicer_packaging", return_value=None),
        mock.patch("slicer.util.pip_install") as pip,
        pytest.raises(MissingDependencyError),
    ):
        dependencies.install(dependencies.plan_installation(), windows=True)
    (arguments,) = pip.call_args.args
    assert arguments[0] == "-c" and arguments[-1] == "no-such-package>=1"


def test_torch_comes_from_the_pytorch_extension_where_it_is(absent, host, monkeypatch):
    from cadx.slicer.panel.installing import plan_text

    asked = {}

    class Logic:
        def installTorch(self, **options):
            asked.update(options)

    monkeypatch.setitem(sys.modules, "PyTorchUtils", types.SimpleNamespace(PyTorchUtilsLogic=Logic, __spec__=1))
    monkeypatch.setattr(dependencies, "NEEDS", (TORCH,))
    plan = dependencies.plan_installation()
    assert "torch through the PyTorch extension" in plan_text(plan)
    with pytest.raises(CancelledError):
        dependencies.install(plan, windows=True)
    assert asked["torchVersionRequirement"] == ">=2.6"
    assert asked["torchvisionVersionRequirement"] == ">=0.21"
    assert asked["askConfirmation"] is False


def test_a_torch_that_is_too_old_is_renewed_and_slicer_s_own_stays(absent, monkeypatch):
    old = {"torch": "2.0.0", "torchvision": "0.15.0", "numpy": "2.4.6"}
    monkeypatch.setattr(dependencies, "NEEDS", (Need("json", "torch", "the models", 3000),))
    monkeypatch.setattr(dependencies, "_version", old.get)
    plan = dependencies.plan_installation()
    assert [one.requirement for one in plan.missing] == ["torch>=2.6"]
    assert plan.blocked == () and plan.kept == ("numpy==2.4.6",)


def test_a_pip_that_fails_is_one_sentence(absent, host):
    failure = subprocess.CalledProcessError(1, "pip")
    with (
        mock.patch("slicer.packaging.pip_ensure", side_effect=failure),
        pytest.raises(MissingDependencyError, match="pip could not install"),
    ):
        dependencies.install(dependencies.plan_installation(), windows=False)


def test_headless_installs_only_when_told_and_opens_no_window(absent, host, capsys):
    with mock.patch("slicer.packaging.pip_ensure") as pip:
        assert run("classify", ["--", "--out", "x"]) == 3
        pip.assert_not_called()
        assert "pip install" in capsys.readouterr().err
        assert run("classify", ["--", "--install", "--out", "x"]) == 3
        pip.assert_called_once()
    assert "Still missing" in capsys.readouterr().err
    assert host.shown == []


def test_repairing_torch_replaces_nothing_else(absent, host):
    with mock.patch("slicer.util.pip_install") as pip:
        dependencies.repair_torch()
    alone, rest = (call.args[0] for call in pip.call_args_list)
    assert alone == ["--force-reinstall", "--no-deps", "torch>=2.6", "torchvision>=0.21"]
    assert rest[0] == "-c" and "--force-reinstall" not in rest
