"""The folder of every kind of bundle, read by MONAI's own tools."""

from __future__ import annotations

import pytest

from cadx.models.build import ModelSpec, build
from cadx.models.bundle import METADATA, BundleSettings
from cadx.models.write_bundle import write_bundle
from cadx.prepare.picture import PictureSpec
from cadx.prepare.spec import CropSpec, GridSpec

from support import CLASSES, PLAIN, TEXT, TINY

monai_bundle = pytest.importorskip("monai.bundle")
torch = pytest.importorskip("torch")

GRID = PLAIN.model_copy(update={"grid": GridSpec(slices=4, cell_pixels=32)})
T1_GRID = GRID.model_copy(update={"channels": ("T1",)})
CUBE = PLAIN.model_copy(update={"channels": ("T2",), "crop": CropSpec(pixels=32)})
PICTURE = PictureSpec(pixels=64)


@pytest.mark.parametrize(
    ("architecture", "preparation", "more", "shape", "target"),
    [
        ("vit_tiny_patch16_224", T1_GRID, {"options": TINY}, [64, 64], "timm.create_model"),
        ("vit_tiny_patch16_224", GRID, {"options": TINY, "fusion": "late"}, [64, 64], "cadx.models.registry.network"),
        ("googlenet", PICTURE, {}, [64, 64], "cadx.models.registry.network"),
        ("densenet121_3d", CUBE, {"dimensions": 3}, [32, 32, 32], "monai.networks.nets.DenseNet121"),
    ],
)
def test_monai_reads_the_same_network_and_its_form(tmp_path, architecture, preparation, more, shape, target):
    channels = 3 if isinstance(preparation, PictureSpec) else len(preparation.channels)
    model = ModelSpec(architecture=architecture, channels=channels, classes=3, image_pixels=shape[0], **more)
    settings = BundleSettings(name="random", task="ipmn", classes=CLASSES, model=model)
    bundle = write_bundle(tmp_path / "random", settings, preparation, build(model).state_dict(), TEXT)
    parser = monai_bundle.ConfigParser()
    parser.read_config(str(bundle.folder / "configs" / "inference.json"))
    parser.read_meta(str(bundle.folder / METADATA))
    parser["bundle_root"] = str(bundle.folder)
    assert parser["network_def"]["_target_"] == target
    x = torch.rand(1, channels, *shape)
    with torch.inference_mode():
        assert torch.equal(parser.get_parsed_content("network")(x), bundle.build_model()(x))
    image = parser["_meta_#network_data_format#inputs#image"]
    assert (image["num_channels"], image["spatial_shape"]) == (channels, shape)
    assert len(image["channel_def"]) == channels
    pictures = isinstance(preparation, PictureSpec)
    assert parser["_meta_#data_type"] == ("2-D pictures" if pictures else "MR volumes")
    assert image["modality"] == ("n/a" if pictures else "MR")
