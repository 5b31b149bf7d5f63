"""A Cyst-X checkpoint with random weights, from the file to a bundle."""

from __future__ import annotations

import json

import pytest

from cadx.classify import Classifier
from cadx.errors import InputError
from cadx.models.bundle import METADATA, WEIGHTS
from cadx.models.import_cystx import import_cystx

nets = pytest.importorskip("monai.networks.nets")
torch = pytest.importorskip("torch")


def network(outputs=1, channels=1):
    torch.manual_seed(0)
    return nets.DenseNet121(spatial_dims=3, in_channels=channels, out_channels=outputs).eval()


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """As the authors' code leaves it: ``densenet121/t2/fold0/model_auc.pth``, one output."""
    folder = tmp_path_factory.mktemp("cystx") / "densenet121" / "t2" / "fold0"
    folder.mkdir(parents=True)
    torch.save(network().state_dict(), folder / "model_auc.pth")
    return folder / "model_auc.pth"


@pytest.fixture(scope="module")
def imported(published, tmp_path_factory):
    return import_cystx(published, tmp_path_factory.mktemp("bundles") / "cystx", pixels=32)


def test_the_bundle_says_where_it_is_from_and_what_it_needs(imported):
    assert imported.volumes.channels == ("T2",)
    assert imported.settings.classes == ("no or low risk", "high risk")
    assert imported.settings.model.dimensions == 3
    assert imported.settings.training["imported_from"] == "model_auc.pth"
    for text in ("Research use only", "all but the pancreas is 0", "What is not known", "Not stated", "2507.22017"):
        assert text in imported.card


def test_its_probability_is_the_sigmoid_of_the_checkpoint(imported, case):
    reading = Classifier(imported, "cpu").classify(case)
    with torch.inference_mode():
        expected = torch.sigmoid(network()(torch.from_numpy(reading.shown.tensor)[None])).item()
    assert reading.result.probabilities["high risk"] == pytest.approx(expected, abs=2e-6)
    assert reading.result.explanation["method"].startswith("Grad-CAM")
    assert reading.attention.geometry.is_close(case.images["T2"].geometry)
    assert "not-masked" in [notice.code for notice in reading.result.warnings]


def test_monai_opens_the_folder_and_builds_the_same_network(imported):
    monai_bundle = pytest.importorskip("monai.bundle")
    from safetensors.torch import load_file

    parser = monai_bundle.ConfigParser()
    parser.read_config(str(imported.folder / "configs" / "inference.json"))
    parser.read_meta(str(imported.folder / METADATA))
    assert parser["network_def"]["_target_"] == "monai.networks.nets.DenseNet121"
    found = parser.get_parsed_content("network_def").eval()
    found.load_state_dict(load_file(imported.folder / WEIGHTS))
    x = torch.rand(1, 1, 32, 32, 32)
    with torch.inference_mode():
        assert torch.equal(found(x), imported.build_model()(x))
    image = parser["_meta_#network_data_format#inputs#image"]
    assert (image["num_channels"], image["spatial_shape"], image["modality"]) == (1, [32, 32, 32], "MR")
    assert image["value_range"] == [] and image["channel_def"] == {"0": "T2"}


def test_prefixes_wrappers_and_three_classes_are_taken(tmp_path):
    state = {"state_dict": {f"module.{name}": tensor for name, tensor in network(3).state_dict().items()}}
    torch.save(state, tmp_path / "three.pth")
    bundle = import_cystx(tmp_path / "three.pth", tmp_path / "bundle", "T1", "my-name", pixels=32)
    assert bundle.settings.classes == ("no risk", "low risk", "high risk")
    assert bundle.settings.name == "my-name"


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda state: state.pop("features.conv0.weight"), "features.conv0.weight is missing"),
        (lambda state: state.update({"extra.weight": torch.zeros(3)}), "extra.weight has no place"),
        (lambda state: state.update({"features.norm0.weight": torch.zeros(3)}), "features.norm0.weight is missing or"),
        (lambda state: state.update({"class_layers.out.weight": torch.zeros(7, 1024)}), "it has 7 outputs"),
        (lambda state: state.update(network(channels=2).state_dict()), "for one volume"),
    ],
)
def test_another_network_is_one_sentence(tmp_path, change, complaint):
    state = network().state_dict()
    change(state)
    torch.save(state, tmp_path / "other.pth")
    with pytest.raises(InputError, match=complaint) as found:
        import_cystx(tmp_path / "other.pth", tmp_path / "bundle", "T2", pixels=32)
    assert "\n" not in str(found.value) and not (tmp_path / "bundle").exists()


def test_the_command_makes_a_bundle_and_complains_in_one_sentence(published, tmp_path, capsys):
    from cadx.cli import main

    assert main(["bundle", "import-cystx", str(published), "--out", str(tmp_path / "b")]) == 0
    assert "cystx-t2-2-class" in capsys.readouterr().out
    spec = json.loads((tmp_path / "b" / "configs" / "preparation.json").read_text())
    assert spec["crop"] == {"pixels": 96, "sampling": "area", "orientation": "LPS", "masked": True}
    (tmp_path / "text.pth").write_text("no checkpoint")
    for arguments, complaint in (
        ([str(tmp_path / "absent.pth")], "no file absent.pth"),
        ([str(tmp_path / "text.pth")], "cannot be read"),
    ):
        assert main(["bundle", "import-cystx", *arguments, "--out", str(tmp_path / "c"), "--channel", "t2"]) == 2
        assert complaint in capsys.readouterr().err
    (tmp_path / "plain.pth").write_bytes(published.read_bytes())
    assert main(["bundle", "import-cystx", str(tmp_path / "plain.pth"), "--out", str(tmp_path / "c")]) == 2
    assert "give --channel" in capsys.readouterr().err
