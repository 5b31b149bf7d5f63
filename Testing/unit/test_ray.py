"""Trainings on Ray: a cluster of several nodes, one of which dies; and what is said where there is none."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from small_study import write_tiny

pytest.importorskip("torch")
pytest.importorskip("sklearn")

from cadx.cli import main
from cadx.study.executors.cluster import Share

installed = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="ray is not installed")
HELPERS = Path(__file__).resolve().parents[1] / "helpers"
COMPARED = ("predictions.csv", "selection.json", "tables.csv", "tables.md", "tables.tex", "steps.jsonl", "rounds.jsonl")
COMPARED += ("weights.safetensors", "opening.json", "book-fold-0.npy", "book-fold-1.npy", "book-fold-2.npy")
OWN_RAY = """
from pathlib import Path
from cadx.study.executors import cluster
with cluster.joined(None, 1) as ray:
    assert cluster.share(ray, 1, False) == cluster.Share(1, 0)
    heard = {line.split()[1] for name in ("tcp", "tcp6") for line in Path(f"/proc/net/{name}").open() if " 0A " in line}
print(*sorted(heard))
"""


@pytest.fixture(scope="module")
def alone():
    """Begins a command in a network namespace of its own; Ray listens on all interfaces."""
    for unshare in (["unshare", "-n"], ["unshare", "-rn"]):
        start = [*unshare, "sh", "-c", 'ip link set lo up && exec "$@"', "sh"]
        if (
            shutil.which("unshare")
            and subprocess.run([*start, "true"], capture_output=True, check=False).returncode == 0
        ):
            return start
    pytest.skip("this user may have no network namespace of his own (unshare, ip)")


def in_namespace(alone, home, *arguments):
    path = os.pathsep.join([str(HELPERS), *(str(p) for p in sys.path if p)])
    # Ray leaves a token in HOME
    environment = {**os.environ, "HOME": str(home), "PYTHONPATH": path}
    done = subprocess.run(
        [*alone, sys.executable, *arguments], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


def command(place, out, *more):
    given = ("--threads", "1", "--device", "cpu", "--no-refit", "--no-bundles", "--checkpoint-every", "0")
    return [
        "crossval",
        str(place / "shapes.yaml"),
        "--data",
        str(place / "data"),
        "--out",
        str(place / out),
        *given,
        *more,
    ]


def contents(run):
    return {str(path.relative_to(run)): path.read_bytes() for path in run.rglob("*") if path.name in COMPARED}


@installed
@pytest.mark.skipif(sys.platform != "linux", reason="namespaces are Linux's")
def test_a_node_killed_in_the_middle_gives_the_same_bits(alone, tmp_path):
    write_tiny(tmp_path)
    assert main(command(tmp_path, "one")) == 0
    said = in_namespace(alone, tmp_path, str(HELPERS / "ray_cluster.py"), *command(tmp_path, "two", "--json"))
    events = {event["event"]: event["text"] for event in map(json.loads, said.splitlines())}
    assert "2 at once on 2 machines" in events["workers"]
    assert "lost its worker" in events["lost"]
    whole, again = contents(tmp_path / "one"), contents(tmp_path / "two")
    assert len(whole) > 20
    assert whole == again
    (ran,) = json.loads((tmp_path / "two" / "run.json").read_text())["ran"]
    assert (ran["executor"], ran["workers"], ran["machines"]) == ("ray", 2, 2)
    assert not [path for path in (tmp_path / "two").iterdir() if path.name.startswith(".")]
    assert not list((tmp_path / "two").rglob("checkpoint.pt"))
    assert main(["audit", str(tmp_path / "two")]) == 0


@installed
@pytest.mark.skipif(sys.platform != "linux", reason="namespaces are Linux's")
def test_a_ray_of_its_own_is_heard_by_this_machine_alone(alone, tmp_path):
    heard = in_namespace(alone, tmp_path, "-c", OWN_RAY).split()
    addresses, ports = zip(*(one.split(":") for one in heard), strict=True)
    assert len(ports) > 3
    assert set(addresses) <= {"0100007F", "0000000000000000FFFF00000100007F", "00000000000000000000000001000000"}
    assert 8265 not in [int(port, 16) for port in ports], "no dashboard"


def test_without_ray_its_installation_is_named(tmp_path, capsys, monkeypatch):
    write_tiny(tmp_path)
    monkeypatch.setitem(sys.modules, "ray", None)
    assert main(command(tmp_path, "run", "--workers", "ray")) == 3
    assert 'pip install "slicer-cadx[ray]"' in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@installed
@pytest.mark.parametrize(
    ("address", "word"),
    [
        ("127.0.0.1:1", "No Ray answers at 127.0.0.1:1"),
        ("ray://127.0.0.1:1", "is no address of a Ray cluster"),
        ("nowhere", "is no address of a Ray cluster"),
    ],
)
def test_a_cluster_that_is_not_there_is_one_sentence(tmp_path, capsys, address, word):
    write_tiny(tmp_path)
    assert main(command(tmp_path, "run", "--workers", "ray", "--ray-address", address)) == 2
    (line,) = (line for line in capsys.readouterr().err.splitlines() if line.startswith("cadx: "))
    assert word in line
    assert not (tmp_path / "run").exists()
    assert os.environ["RAY_USAGE_STATS_ENABLED"] == "0"


@pytest.mark.parametrize(
    ("room", "wanted"),
    [({"CPU": 4}, 0), ({"CPU": 4, "GPU": 1}, 1), ({"CPU": 3, "GPU": 8}, 1), ({"CPU": 1, "GPU": 8}, 0)],
)
def test_a_training_takes_its_threads_and_a_gpu(room, wanted):
    assert Share(2, 1).fits({"Alive": True, "Resources": room}) == wanted
    assert Share(2, 1).fits({"Alive": False, "Resources": room}) == 0
