"""A bundle that is unknown, altered or hostile: one sentence, exit 2, nothing left behind."""

from __future__ import annotations

import json
import pickle
import re
import shutil
import struct

import pytest

from cadx.cli import main
from cadx.models.bundle import CARD, MANIFEST, METADATA, SETTINGS, WEIGHTS, seal

from support import write

CASES = {}


def spoils(says):
    def keep(change):
        CASES[change.__name__] = (change, says)
        return change

    return keep


def rewrite(folder, name, change, sealed=True):
    document = json.loads((folder / name).read_text())
    change(document)
    (folder / name).write_text(json.dumps(document))
    if sealed:
        seal(folder)


@spoils("b is not a model bundle")
def unknown(folder):
    shutil.rmtree(folder)


@spoils("model.safetensors was changed since the bundle was made")
def altered(folder):
    content = bytearray((folder / WEIGHTS).read_bytes())
    content[-1] ^= 1
    (folder / WEIGHTS).write_bytes(content)


@spoils("model.safetensors is missing")
def without_weights(folder):
    (folder / WEIGHTS).unlink()


@spoils("extra.py is not in its manifest")
def with_a_file_more(folder):
    (folder / "extra.py").write_text("")


@spoils("b/manifest.json: schema is not allowed")
def manifest_of_another_schema(folder):
    rewrite(folder, MANIFEST, lambda d: d.update(schema="cadx.manifest/9"), sealed=False)


@spoils("b/configs/cadx.json: schema is not allowed")
def settings_of_another_schema(folder):
    rewrite(folder, SETTINGS, lambda d: d.update(schema="cadx.bundle/9"))


@spoils("b/configs/preparation.json: schema is not allowed")
def preparation_of_another_schema(folder):
    rewrite(folder, "configs/preparation.json", lambda d: d.update(schema="other"))


@spoils("b/configs/cadx.json: surprise is not allowed")
def an_unknown_key(folder):
    rewrite(folder, SETTINGS, lambda d: d.update(surprise=1))


@spoils("manifest names '../outside', outside the bundle")
def a_path_upwards(folder):
    rewrite(folder, MANIFEST, lambda d: d["files"].update({"../outside": "0" * 64}), sealed=False)


@spoils("manifest names '/etc/hostname', outside the bundle")
def an_absolute_path(folder):
    rewrite(folder, MANIFEST, lambda d: d["files"].update({"/etc/hostname": "0" * 64}), sealed=False)


@spoils("model.safetensors', outside the bundle")
def a_link_that_leaves_its_folder(folder):
    outside = folder.parent / "outside.safetensors"
    (folder / WEIGHTS).rename(outside)
    (folder / WEIGHTS).symlink_to(outside)


@spoils("manifest names 'configs/metadata.json', outside the bundle")
def a_folder_that_is_a_link(folder):
    (folder / "configs").rename(folder.parent / "elsewhere")
    (folder / "configs").symlink_to(folder.parent / "elsewhere")


@spoils("b: its weights do not fit its network")
def weights_that_are_a_pickle(folder):
    (folder / WEIGHTS).write_bytes(pickle.dumps({"a": 1}))
    seal(folder)


@spoils("b: its weights do not fit its network")
def weights_with_an_enormous_header(folder):
    (folder / WEIGHTS).write_bytes(struct.pack("<Q", 2**62) + b"{}")
    seal(folder)


@spoils("b: its weights do not fit its network")
def a_network_far_larger_than_its_weights(folder):
    rewrite(folder, SETTINGS, lambda d: d["model"]["options"].update(depth=128, embed_dim=4096, num_heads=64))


@spoils("gives no finite number for this case")
def weights_of_nan(folder):
    from safetensors.torch import load_file, save_file

    state = load_file(folder / WEIGHTS)
    state["head.bias"] = state["head.bias"] * float("nan")
    save_file(state, folder / WEIGHTS, metadata={"format": "pt"})
    seal(folder)


@spoils("the channels must be one or more, each named once")
def one_channel_twice(folder):
    rewrite(folder, "configs/preparation.json", lambda d: d.update(channels=["T1", "T1"]))


@spoils("low must be less than high")
def a_scale_upside_down(folder):
    rewrite(folder, "configs/preparation.json", lambda d: d["scale"].update(low=99.0, high=1.0))


@spoils("the model option 'depth' must lie between 0 and 128")
def a_network_without_end(folder):
    rewrite(folder, SETTINGS, lambda d: d["model"]["options"].update(depth=10**9))


@spoils("the model option 'checkpoint_path' is not one of")
def a_network_that_reads_a_file(folder):
    rewrite(folder, SETTINGS, lambda d: d["model"]["options"].update(checkpoint_path="/etc/passwd"))


@spoils("timm cannot build 'no_such_network'")
def a_network_that_nobody_knows(folder):
    rewrite(folder, SETTINGS, lambda d: d["model"].update(architecture="no_such_network"))


@spoils("its preparation makes 2 channels of 96 x 96 pixels and its network takes 2 channels of 4096 x 4096")
def an_image_larger_than_the_preparation_makes(folder):
    rewrite(folder, SETTINGS, lambda d: d["model"].update(image_pixels=4096))


@spoils("patches, more than 4096")
def patches_without_end(folder):
    rewrite(
        folder, SETTINGS, lambda d: (d["model"].update(image_pixels=1536), d["model"]["options"].update(patch_size=8))
    )
    rewrite(folder, "configs/preparation.json", lambda d: d["grid"].update(cell_pixels=512))


@spoils("two classes have the same name")
def two_classes_of_one_name(folder):
    rewrite(folder, SETTINGS, lambda d: d.update(classes=["a", "a", "b"]))


@spoils("the model has 3 outputs for 2 class names")
def a_class_too_few(folder):
    rewrite(folder, SETTINGS, lambda d: d.update(classes=["a", "b"]))


@spoils("b/configs/cadx.json cannot be read as JSON")
def deep_json(folder):
    (folder / SETTINGS).write_text("[" * 200_000)
    seal(folder)


@spoils("b/configs/metadata.json is no JSON object")
def metadata_that_is_a_list(folder):
    (folder / METADATA).write_text("[]")
    seal(folder)


@pytest.mark.parametrize("name", CASES)
def test_a_bad_bundle_is_one_sentence(name, bundle, case, tmp_path, capsys):
    change, says = CASES[name]
    shutil.copytree(bundle.folder, tmp_path / "b")
    change(tmp_path / "b")
    (tmp_path / "roi.mrk.json").write_text(json.dumps(case.roi.to_markups()))
    t1, t2 = (write(tmp_path / f"{role}.nii", volume) for role, volume in case.images.items())
    before = sorted(p for p in tmp_path.rglob("*"))
    inputs = [f"--t1={t1}", f"--t2={t2}", f"--roi={tmp_path / 'roi.mrk.json'}", "--device=cpu"]
    assert main(["classify", *inputs, f"--bundle={tmp_path / 'b'}", f"--out={tmp_path / 'out'}"]) == 2
    captured = capsys.readouterr()
    (line,) = (line for line in captured.err.splitlines() if line.startswith("cadx: "))
    assert re.search(says, line), line
    assert "Traceback" not in captured.err
    assert str(tmp_path) not in line
    assert sorted(p for p in tmp_path.rglob("*")) == before


def test_a_card_of_any_bytes_is_shown(bundle, tmp_path, capsys):
    shutil.copytree(bundle.folder, tmp_path / "b")
    (tmp_path / "b" / CARD).write_bytes(b"caf\xe9 \xff")
    seal(tmp_path / "b")
    assert main(["bundle", "info", str(tmp_path / "b")]) == 0
    assert "caf" in capsys.readouterr().out
