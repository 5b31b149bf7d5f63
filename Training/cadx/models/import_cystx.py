"""A checkpoint of Cyst-X (arXiv:2507.22017) as a bundle: the network, and the images as its code prepares them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cadx import DISCLAIMER
from cadx.errors import InputError
from cadx.models.build import ModelSpec, build
from cadx.models.bundle import Bundle, BundleSettings, file_sha256
from cadx.models.weights import state_of
from cadx.models.write_bundle import BundleText, write_bundle
from cadx.prepare.spec import CropSpec, PreparationSpec, ScaleSpec

if TYPE_CHECKING:
    from torch import Tensor

ARCHITECTURE = "densenet121_3d"
CHANNELS = ("T1", "T2")
HEAD = ("class_layers.out.weight", "class_layers.out.bias")
FIRST = "features.conv0.weight"
PIXELS = 96
CLASSES = {2: ("no or low risk", "high risk"), 3: ("no risk", "low risk", "high risk")}
REFERENCE = "arXiv:2507.22017"


def import_cystx(
    checkpoint: Path, folder: Path, channel: str | None = None, name: str | None = None, *, pixels: int = PIXELS
) -> Bundle:
    """Write a bundle of a Cyst-X classification checkpoint (MONAI's DenseNet-121 in three dimensions, one image).

    A checkpoint with one output, which its authors read through a sigmoid, gets two outputs whose softmax is the same.

    Parameters
    ----------
    checkpoint
        ``.pth`` as its authors publish them, such as ``densenet121/t2/fold0/model_auc.pth``; only tensors are read.
    folder
        Bundle folder to make.
    channel
        "T1" or "T2"; by default as the checkpoint's folders say.
    name
        Of the bundle; by default from the channel and the number of classes.
    pixels
        Edge of the cube; 96 in the published code.

    Raises
    ------
    InputError
        If the file is no such checkpoint, its channel is not known, or the folder cannot be written.
    """
    given = channel
    channel = given or _channel_of(checkpoint)
    if channel not in CHANNELS:
        raise InputError(f"There is no channel '{channel}'; give T1 or T2.")
    state, outputs = _checked(state_of(checkpoint), checkpoint.name, pixels)
    model = _spec(outputs, pixels)
    settings = BundleSettings(
        name=name or f"cystx-{channel.lower()}-{model.classes}-class",
        task="ipmn",
        classes=CLASSES[model.classes],
        model=model,
        training={
            "imported_from": checkpoint.name,
            "checkpoint_sha256": file_sha256(checkpoint),
            "outputs_in_checkpoint": outputs,
            "channel_from": "the user" if given else "the checkpoint's folders",
        },
    )
    preparation = PreparationSpec(
        channels=(channel,),
        bias=None,
        smooth=None,
        crop=CropSpec(pixels=pixels, sampling="area", orientation="LPS", masked=True),
        scale=ScaleSpec(method="roi-zscore"),
    )
    text = BundleText(
        version="1.0.0",
        description=f"Cyst-X classification of pancreatic cysts on {channel}, imported checkpoint",
        data_source="Cyst-X (OSF 74vfs); not seen here",
        intended_use="Research on grading IPMN.",
        card=_card(settings, channel),
        evaluation={},
        licence="not stated",
        changelog="imported",
        references=(REFERENCE,),
    )
    return write_bundle(folder, settings, preparation, state, text, exact=True)


def _spec(outputs: int, pixels: int) -> ModelSpec:
    return ModelSpec(architecture=ARCHITECTURE, channels=1, classes=max(2, outputs), image_pixels=pixels, dimensions=3)


def _channel_of(checkpoint: Path) -> str:
    """As the published folders name it: ``.../t2/fold0/model_auc.pth``."""
    found = {part.upper() for part in checkpoint.resolve().parts if re.fullmatch(r"t[12]", part, re.IGNORECASE)}
    if len(found) != 1:
        raise InputError(f"{checkpoint.name} does not say which image it was trained on; give --channel T1 or T2.")
    return found.pop()


def _checked(state: dict[str, Tensor], name: str, pixels: int) -> tuple[dict[str, Tensor], int]:
    """The network's tensors, two outputs made of one, and how many outputs the checkpoint had."""
    import torch

    other = f"{name} is no DenseNet-121 classification checkpoint of Cyst-X"
    missing = next((key for key in (FIRST, *HEAD) if key not in state), None)
    if missing:
        raise InputError(f"{other}: {missing} is missing; give one such as densenet121/t2/fold0/model_auc.pth.")
    if state[FIRST].ndim != 5 or state[FIRST].shape[1] != 1:
        raise InputError(f"{other} for one volume: {FIRST} has the shape {tuple(state[FIRST].shape)}; give another.")
    outputs = int(state[HEAD[0]].shape[0])
    if outputs not in (1, *CLASSES):
        raise InputError(f"{other}: it has {outputs} outputs, and Cyst-X knows 1 and 3; give another checkpoint.")
    if outputs == 1:
        # softmax of (-z/2, z/2) is the sigmoid of z, and either class has an output that Grad-CAM can speak of
        state = {**state, **{key: torch.cat([-state[key] / 2, state[key] / 2]) for key in HEAD}}
    expected = build(_spec(outputs, pixels), device="meta").state_dict()
    for key, tensor in expected.items():
        if key.endswith("num_batches_tracked"):
            state.setdefault(key, torch.zeros((), dtype=torch.long))
        if key not in state or state[key].shape != tensor.shape:
            raise InputError(f"{other}: {key} is missing or has another shape; give another checkpoint.")
    strange = sorted(set(state) - set(expected))
    if strange:
        raise InputError(f"{other}: {strange[0]} has no place in that network; give another checkpoint.")
    return {key: state[key] for key in expected}, outputs


def _card(settings: BundleSettings, channel: str) -> str:
    facts: dict[str, Any] = settings.training
    sigmoid = (
        "The checkpoint has one output that is read through a sigmoid; the bundle has two whose softmax gives the same "
        "number.\n"
        if facts["outputs_in_checkpoint"] == 1
        else ""
    )
    return f"""# {settings.name}

**{DISCLAIMER}**

A checkpoint that somebody else trained, imported by `cadx bundle import-cystx` and not validated here.

## Where it is from

The file `{facts["imported_from"]}`, SHA-256 `{facts["checkpoint_sha256"]}`, with the parameter names of the published
Cyst-X classifiers ({REFERENCE}; weights on Hugging Face, phy710/Cyst-X): MONAI's DenseNet-121 in three dimensions on
{channel} alone. Which image it belongs to was said by {facts["channel_from"]}. Whether the file is what its name says
cannot be checked here. Classes: {", ".join(settings.classes)}.
{sigmoid}
## How images are prepared

As the published code does it, with the ROI in place of the pancreas mask's box: read at 1 mm, standard scores over the
voxels that are not 0, averaged into {settings.model.image_pixels} voxels a side, axes to the left, to the back and
upwards. The published code keeps each file's own order of voxels, which differs between centres; this is the order of
its example files.

## What it needs

**An image in which all but the pancreas is 0, and a ROI that fits the pancreas closely.** That is what the network was
trained on. On an image with its surroundings the grade means little, and a warning says so.

## What is not known

- The fold, the round and the centres that this file was trained on, and so which patients it has seen.
- Figures for this file. The published AUC (0.85 on T2) is optimistic: the checkpoints were chosen on the test folds.
- How it does on scanners, protocols and segmentations other than those of Cyst-X.
- Its probabilities are not calibrated; the authors choose another threshold for each centre.

## What it must not be used for

Any decision about a patient.

## Licence

Not stated with the weights; ask their authors.
"""
