from __future__ import annotations

import json
import shutil

import pytest

from cadx.errors import BundleError
from cadx.models.bundle import MANIFEST, METADATA, SETTINGS, WEIGHTS, Bundle, seal, verify

from support import make_bundle


@pytest.fixture
def copy(bundle, tmp_path):
    """A bundle of one's own to spoil."""
    return shutil.copytree(bundle.folder, tmp_path / "copy")


def test_a_bundle_reads_back_and_builds_its_model(bundle):
    import torch

    model = bundle.build_model()
    with torch.inference_mode():
        assert model(torch.rand(1, 2, 96, 96)).shape == (1, 3)
    assert verify(bundle.folder) == bundle.sha256
    assert bundle.card.startswith("# A card")


def test_every_changed_byte_is_refused(copy):
    for path in sorted(p for p in copy.rglob("*") if p.is_file() and p.name != MANIFEST):
        original = path.read_bytes()
        spoiled = bytearray(original)
        spoiled[len(spoiled) // 2] ^= 1
        path.write_bytes(spoiled)
        with pytest.raises(BundleError, match="was changed"):
            Bundle.load(copy)
        path.write_bytes(original)
    Bundle.load(copy)


def test_an_added_a_missing_and_a_foreign_file_are_refused(copy, tmp_path):
    (copy / "extra.py").write_text("")
    with pytest.raises(BundleError, match="not in its manifest"):
        Bundle.load(copy)
    (copy / "extra.py").unlink()
    weights = (copy / WEIGHTS).read_bytes()
    (copy / WEIGHTS).unlink()
    with pytest.raises(BundleError, match="is missing"):
        Bundle.load(copy)
    outside = tmp_path / "outside.safetensors"
    outside.write_bytes(weights)
    (copy / WEIGHTS).symlink_to(outside)
    with pytest.raises(BundleError, match="outside the bundle|is a link"):
        Bundle.load(copy)


@pytest.mark.parametrize("name", ["../outside", "/etc/hostname", "models/../../x", "C:\\x", "a\\..\\b"])
def test_path_tricks_in_the_manifest_are_refused(copy, name):
    document = json.loads((copy / MANIFEST).read_text())
    document["files"][name] = "0" * 64
    (copy / MANIFEST).write_text(json.dumps(document))
    with pytest.raises(BundleError, match="outside the bundle"):
        Bundle.load(copy)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        (SETTINGS, {"schema": "cadx.bundle/9"}),
        (SETTINGS, {"surprise": 1}),
        (SETTINGS, {"classes": ["one", "two"]}),
        ("configs/preparation.json", {"schema": "other"}),
    ],
)
def test_another_schema_is_refused_even_when_sealed(copy, name, change):
    document = json.loads((copy / name).read_text())
    (copy / name).write_text(json.dumps({**document, **change}))
    seal(copy)
    with pytest.raises(BundleError):
        Bundle.load(copy)


def test_what_is_no_bundle_is_refused(tmp_path):
    with pytest.raises(BundleError, match="not a model bundle"):
        Bundle.load(tmp_path)
    (tmp_path / MANIFEST).write_text("[" * 100_000)
    with pytest.raises(BundleError, match="cannot be read as JSON"):
        Bundle.load(tmp_path)


def test_a_folder_with_other_things_in_it_is_not_replaced(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    from cadx.errors import InputError

    with pytest.raises(InputError, match="not empty"):
        make_bundle(tmp_path / "mine")
    assert [p.name for p in (tmp_path / "mine").iterdir()] == ["thesis.txt"]
    make_bundle(tmp_path / "bundle")
    assert make_bundle(tmp_path / "bundle").settings.name == "random"


def test_a_failed_write_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr("cadx.models.write_bundle._metadata", lambda *a: (_ for _ in ()).throw(OSError(28, "No space")))
    from cadx.errors import InputError

    with pytest.raises(InputError, match="No space"):
        make_bundle(tmp_path / "new")
    assert list(tmp_path.iterdir()) == []


def test_monai_reads_the_same_network(bundle):
    monai_bundle = pytest.importorskip("monai.bundle")
    torch = pytest.importorskip("torch")
    from safetensors.torch import load_file

    parser = monai_bundle.ConfigParser()
    parser.read_config(str(bundle.folder / "configs" / "inference.json"))
    parser.read_meta(str(bundle.folder / METADATA))
    network = parser.get_parsed_content("network_def")
    network.load_state_dict({k: v.float() for k, v in load_file(bundle.folder / WEIGHTS).items()})
    x = torch.rand(1, 2, 96, 96)
    with torch.inference_mode():
        assert torch.equal(network.eval()(x), bundle.build_model()(x))
    assert parser["_meta_#network_data_format#inputs#image#num_channels"] == 2
