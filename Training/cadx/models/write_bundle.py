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
from cadx.io.atomic import require_replaceable, require_writable, staged_folder
from cadx.models import bundle as layout
from cadx.models.bundle import Bundle, BundleSettings
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


def write_bundle(
    folder: Path,
    settings: BundleSettings,
    preparation: PreparationSpec,
    state: dict[str, Tensor],
    text: BundleText,
) -> Bundle:
    """Write, seal and read back a bundle; weights are kept in fp16.

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
        weights = {k: (v.half() if v.is_floating_point() else v).contiguous().cpu() for k, v in state.items()}
        try:
            save_file(weights, stage / layout.WEIGHTS, metadata={"format": "pt"})
        except SafetensorError as error:
            raise InputError(f"Writing the weights of {folder.name} failed; make room there.") from error
        (stage / layout.WEIGHTS).chmod(0o644)
        _write_json(stage / layout.METADATA, _metadata(settings, text, str(torch.__version__)))
        _write_json(stage / layout.SETTINGS, settings.model_dump(mode="json", by_alias=True))
        _write_json(stage / layout.PREPARATION, preparation.to_json())
        _write_json(stage / layout.INFERENCE, _monai_inference(settings))
        (stage / layout.CARD).write_text(text.card, encoding="utf-8")
        layout.seal(stage)
    return Bundle.load(folder)


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


def _metadata(settings: BundleSettings, text: BundleText, torch_version: str) -> dict[str, Any]:
    """MONAI's metadata (its meta schema, version 20240725)."""
    model = settings.model
    side = [model.image_pixels, model.image_pixels]
    names = {str(i): name for i, name in enumerate(settings.classes)}
    return {
        "schema": "https://github.com/Project-MONAI/MONAI-extra-test-data/releases/download/0.8.1/"
        "meta_schema_20240725.json",
        "version": text.version,
        "changelog": {text.version: text.changelog},
        "monai_version": _version("monai"),
        "pytorch_version": torch_version.split("+")[0],
        "numpy_version": _version("numpy"),
        "required_packages_version": {"timm": _version("timm"), "safetensors": _version("safetensors")},
        "name": settings.name,
        "task": f"{settings.task} classification",
        "description": text.description,
        "authors": "SlicerCADx developers",
        "copyright": "SlicerCADx developers",
        "licence": text.licence,
        "data_source": text.data_source,
        "data_type": "MR volumes",
        "image_classes": "grid of slices, each channel in 0..1",
        "label_classes": "single class index a patient",
        "pred_classes": "one logit a class",
        "eval_metrics": text.evaluation,
        "intended_use": f"{text.intended_use} {DISCLAIMER}",
        "references": ["arXiv:2206.10531"] if settings.task == "ipmn" else [],
        "made_with": {"cadx": __version__, "python": platform.python_version()},
        "network_data_format": {
            "inputs": {
                "image": {
                    "type": "image",
                    "format": "magnitude",
                    "modality": "MR",
                    "num_channels": model.channels,
                    "spatial_shape": side,
                    "dtype": "float32",
                    "value_range": [0, 1],
                    "is_patch_data": False,
                    "channel_def": {str(i): f"channel {i}" for i in range(model.channels)},
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
    """For MONAI's users; ``cadx`` itself never evaluates it."""
    return {
        "imports": ["$import timm"],
        "network_def": {"_target_": "timm.create_model", "pretrained": False, **settings.model.timm_arguments()},
    }


def _version(package: str) -> str:
    try:
        return packages.version(package)
    except packages.PackageNotFoundError:
        return "not installed"
