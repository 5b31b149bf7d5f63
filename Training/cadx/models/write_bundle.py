"""Writing a bundle: metadata for MONAI's tools, settings, preparation, weights, card, manifest."""

from __future__ import annotations

import json
import platform
from dataclasses import dataclass
from importlib import metadata as packages
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cadx import DISCLAIMER, __version__
from cadx.errors import InputError
from cadx.explain.spec import USUAL
from cadx.io.atomic import require_replaceable, require_writable, staged_folder
from cadx.models import bundle as layout
from cadx.models import registry
from cadx.models.build import ModelSpec
from cadx.models.bundle import Bundle, BundleSettings
from cadx.prepare.picture import PictureSpec
from cadx.prepare.spec import PreparationSpec

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class BundleText:
    """The words of a bundle: for MONAI's metadata and the card."""

    version: str
    description: str
    data_source: str
    intended_use: str
    card: str
    evaluation: dict[str, Any]
    licence: str = "Apache-2.0"
    changelog: str = "first version"
    references: tuple[str, ...] = ()


def write_bundle(
    folder: Path,
    settings: BundleSettings,
    preparation: PreparationSpec | PictureSpec,
    state: dict[str, Tensor],
    text: BundleText,
    *,
    exact: bool = False,
) -> Bundle:
    """Write, seal and read back a bundle; weights are kept as :func:`kept_weights` says, or ``exact`` as they are.

    Raises
    ------
    InputError
        If the folder cannot be written.
    """
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    require_replaceable_bundle(folder)
    with staged_folder(folder, marker=layout.MANIFEST) as stage:
        for part in ("configs", "models", "docs"):
            (stage / part).mkdir()
        weights = {k: v.contiguous().cpu() for k, v in state.items()} if exact else kept_weights(state)
        try:
            save_file(weights, stage / layout.WEIGHTS, metadata={"format": "pt"})
        except SafetensorError as error:
            raise InputError(f"Writing the weights of {folder.name} failed; make room there.") from error
        (stage / layout.WEIGHTS).chmod(0o644)
        _write_json(stage / layout.METADATA, _metadata(settings, preparation, text, str(torch.__version__)))
        usual = {"explanation"} if settings.explanation == USUAL else None  # earlier readers know no such field
        _write_json(stage / layout.SETTINGS, settings.model_dump(mode="json", by_alias=True, exclude=usual))
        _write_json(stage / layout.PREPARATION, preparation.to_json())
        _write_json(stage / layout.INFERENCE, _monai_inference(settings))
        (stage / layout.CARD).write_text(text.card, encoding="utf-8")
        layout.seal(stage)
    return Bundle.load(folder)


def kept_weights(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weights as a bundle keeps them: kernels in fp16; biases, norms and statistics, which are small, in fp32."""
    return {
        name: (value.half() if value.is_floating_point() and value.ndim > 1 else value).contiguous().cpu()
        for name, value in state.items()
    }


def require_replaceable_bundle(folder: Path) -> None:
    """Refuse a folder that is neither new, nor empty, nor a whole bundle with nothing else in it.

    Raises
    ------
    InputError
        If writing a bundle there would remove something else.
    """
    require_writable(folder)
    require_replaceable(folder, layout.MANIFEST)
    if (folder / layout.MANIFEST).is_file():
        try:
            layout.verify(folder)
        except InputError as error:
            raise InputError(
                f"The output {folder.name} holds something else than a whole bundle; give a new or an empty folder."
            ) from error


def _write_json(path: Path, document: Any) -> None:
    path.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _metadata(
    settings: BundleSettings, preparation: PreparationSpec | PictureSpec, text: BundleText, torch_version: str
) -> dict[str, Any]:
    """MONAI's metadata (its meta schema, version 20240725)."""
    model = settings.model
    pictures = isinstance(preparation, PictureSpec)
    names = {str(i): name for i, name in enumerate(settings.classes)}
    return {
        "schema": "https://github.com/Project-MONAI/MONAI-extra-test-data/releases/download/0.8.1/"
        "meta_schema_20240725.json",
        "version": text.version,
        "changelog": {text.version: text.changelog},
        "monai_version": _version("monai"),
        "pytorch_version": torch_version.split("+")[0],
        "numpy_version": _version("numpy"),
        "required_packages_version": {name: _version(name) for name in (_library(model), "safetensors")},
        "name": settings.name,
        "task": f"{settings.task} classification",
        "description": text.description,
        "authors": "SlicerCADx developers",
        "copyright": "SlicerCADx developers",
        "licence": text.licence,
        "data_source": text.data_source,
        "data_type": "2-D pictures" if pictures else "MR volumes",
        "image_classes": _image_classes(preparation),
        "label_classes": "single class index a patient",
        "pred_classes": "one logit a class",
        "eval_metrics": text.evaluation,
        "intended_use": f"{text.intended_use} {DISCLAIMER}",
        "references": list(text.references) or (["arXiv:2206.10531"] if settings.task == "ipmn" else []),
        "made_with": {"cadx": __version__, "python": platform.python_version()},
        "network_data_format": {
            "inputs": {
                "image": {
                    "type": "image",
                    "format": "magnitude",
                    "modality": "n/a" if pictures else "MR",
                    "num_channels": model.channels,
                    "spatial_shape": [model.image_pixels] * model.dimensions,
                    "dtype": "float32",
                    "value_range": _value_range(preparation),
                    "is_patch_data": False,
                    "channel_def": {str(i): name for i, name in enumerate(_channel_names(preparation))},
                }
            },
            "outputs": {
                "pred": {
                    "type": "logits",
                    "format": "classes",
                    "num_channels": len(settings.classes),
                    "spatial_shape": [],
                    "dtype": "float32",
                    "value_range": [],
                    "is_patch_data": False,
                    "channel_def": names,
                }
            },
        },
    }


def _monai_inference(settings: BundleSettings) -> dict[str, Any]:
    """For MONAI's users: ``network_def`` as built, ``network`` with its weights; ``cadx`` itself evaluates neither."""
    model = settings.model
    if model.architecture == "densenet121_3d" and model.fusion == "early" and not model.options:
        network = {
            "_target_": "monai.networks.nets.DenseNet121",
            "spatial_dims": 3,
            "in_channels": model.channels,
            "out_channels": model.classes,
        }
    else:
        network = registry.network_def(model)
    file = f"$@bundle_root + '/{layout.WEIGHTS}'"
    return {
        "imports": [f"$import {_library(model)}"],
        "bundle_root": ".",
        "network_def": network,
        "weights": {"_target_": "safetensors.torch.load_file", "filename": file},
        "state": "${k: v.float() if v.is_floating_point() else v for k, v in @weights.items()}",
        "network": "$(@network_def.load_state_dict(@state), @network_def.eval())[1]",
    }


def _library(model: ModelSpec) -> str:
    """Whose network it is."""
    source = registry.BEYOND_TIMM.get(model.architecture)
    return source.library if source else "timm"


def _image_classes(preparation: PreparationSpec | PictureSpec) -> str:
    if isinstance(preparation, PictureSpec):
        return "one picture, normalised by channel" if preparation.mean else "one picture, each channel in 0..1"
    if preparation.crop is None:
        return "grid of slices, each channel in 0..1"
    return "ROI as a cube, " + ("standard scores" if not _value_range(preparation) else "each channel in 0..1")


def _value_range(preparation: PreparationSpec | PictureSpec) -> list[int]:
    """Empty where values have no bounds."""
    if isinstance(preparation, PictureSpec):
        return [] if preparation.mean else [0, 1]
    return [] if preparation.scale.method == "roi-zscore" else [0, 1]


def _channel_names(preparation: PreparationSpec | PictureSpec) -> tuple[str, ...]:
    if not isinstance(preparation, PictureSpec):
        return preparation.channels
    return ("red", "green", "blue") if preparation.channels == 3 else ("grey",)


def _version(package: str) -> str:
    try:
        return packages.version(package)
    except packages.PackageNotFoundError:
        return "not installed"
