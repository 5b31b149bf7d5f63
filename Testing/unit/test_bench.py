"""The measurements measure the same thing on both sides; how fast a machine is, no test asks."""

from __future__ import annotations

import json

import numpy as np
import pytest

from cadx.bench import processes, straightforward
from cadx.bench.case import _case, steps, whole
from cadx.bench.inputs import find_pair, phantom_pair
from cadx.bench.report import Measured
from cadx.bench.straightforward import forward_keeping_attention, grade, rolled_out
from cadx.bench.timing import interleaved, medians
from cadx.classify import Classifier
from cadx.cli import main
from cadx.explain.rollout import rollout
from cadx.prepare.spec import BiasSpec, GridSpec, PreparationSpec

from support import make_bundle


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    return phantom_pair(tmp_path_factory.mktemp("pair"), ((44, 36, 26), (40, 38, 24)))


def classifier(folder, bias):
    preparation = PreparationSpec(bias=bias, grid=GridSpec(cell_pixels=32))
    return Classifier(make_bundle(folder, preparation=preparation), "cpu")


def test_both_sides_give_the_same_answer_where_n4_is_done_in_full(pair, tmp_path, monkeypatch):
    monkeypatch.setattr(straightforward, "ITERATIONS", [15] * 4)
    ours = classifier(tmp_path / "b", BiasSpec(working_samples=512, iterations=15))
    found = ours.classify(_case(pair))
    model = ours.bundle.build_model()
    script = grade(pair.files, pair.roi, model, ours.preparation.spec)
    wanted = np.exp(script.logits) / np.exp(script.logits).sum()
    np.testing.assert_allclose(list(found.result.probabilities.values()), wanted, atol=1e-3)
    np.testing.assert_allclose(found.shown.grid_map, script.grid_map / script.grid_map.mean(), atol=2e-2)


def test_the_script_keeps_every_attention_matrix_and_leaves_the_model_as_it_was(bundle):
    import torch

    model = bundle.build_model()
    x = torch.rand(1, 2, 96, 96)
    with torch.inference_mode():
        plain = model(x)
        logits, kept = forward_keeping_attention(model, x)
        assert len(kept) == len(model.blocks)
        torch.testing.assert_close(logits, plain, atol=1e-5, rtol=0)
        torch.testing.assert_close(rolled_out(kept), rollout(model, x)[0], atol=1e-6, rtol=0)
        assert torch.equal(model(x), plain)


def test_a_coarser_grid_finds_nearly_the_same_field(pair, tmp_path):
    """The lines of the report say how far the fields lie apart; a field of ones would lie further."""
    rows = whole(pair, classifier(tmp_path / "b", BiasSpec(coarse_samples=30)), 1, lambda text: None)
    ratio, *fields = rows
    assert ratio.value > 0
    assert ratio.at_least
    assert [row.unit for row in fields] == ["%", "%"]
    assert all(0 < row.value < 4 for row in fields)
    assert len(steps(pair, classifier(tmp_path / "c", None), 1)) == 2


def test_sides_take_turns():
    order = []
    times = interleaved({"a": lambda: order.append("a"), "b": lambda: order.append("b")}, 2)
    assert order == ["a", "b", "a", "b"]
    assert set(medians(times)) == {"a", "b"}


def test_a_bound_that_is_missed_is_said():
    assert "NOT MET" in str(Measured("slow", 3.0, "s", 1.0))
    assert "NOT MET" not in str(Measured("fast", 30.0, "x", 20.0, at_least=True))


def test_a_phantom_stands_in_for_a_pair_that_is_not_there(tmp_path):
    notes = []
    made = find_pair(tmp_path / "absent", tmp_path, notes.append)
    assert "phantom" in made.name
    assert notes
    sizes = [volume.geometry.size_ijk for volume in _case(made).images.values()]
    assert sizes == [(256, 224, 26), (224, 256, 26)]


def test_what_loads_torch_is_seen_to():
    assert not processes.loads_torch([])
    assert not processes.loads_torch(["--help"])
    assert processes.loads_torch(["doctor"])


def test_peak_memory_is_that_of_the_command():
    assert 5e6 < processes.peak_bytes(["--help"]) < 500e6


def test_the_report_names_the_machine(tmp_path, capsys):
    assert main(["bench", "case", "--only", "startup", "--repeats", "1", "--out", str(tmp_path / "bench.json")]) == 0
    printed = capsys.readouterr().out
    assert "cadx --help" in printed
    document = json.loads((tmp_path / "bench.json").read_text())
    assert document["schema"] == "cadx.bench/1"
    assert document["machine"]["cores"] >= 1
    assert {row["name"] for row in document["measured"]} >= {"cadx --help"}
    assert document["measured"][0]["detail"]["seconds"]["bare"]
