"""A bundle's network ready to answer: device, precision, fall-back, map; what readers of volumes and pictures share."""

from __future__ import annotations

import platform
from importlib import metadata as packages
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cadx import __version__, device
from cadx.errors import BundleError, InputError
from cadx.explain.display import MapKind
from cadx.explain.maps import Explained, explain
from cadx.explain.spec import USUAL, ExplanationSpec
from cadx.models.bundle import Bundle, fed_shape
from cadx.notices import DEMO_MODEL, Notice

if TYPE_CHECKING:
    from torch import Tensor

NO_METHOD = "none"
SHARPENED = " It was multiplied by the contributions of earlier layers, so that it shows finer places."
EMPTY_MAP = "The map is 0 everywhere: no part of the image speaks for the grade by itself, so there is no map to show."


class LoadedBundle:
    """A bundle with its network on a device; ``model``, ``device`` and ``precision`` are what runs.

    Parameters
    ----------
    bundle
        Verified.
    requested_device, requested_precision
        "auto" probes; see :mod:`cadx.device`.

    Raises
    ------
    InputError
        If a device asked for by name does not work.
    MissingDependencyError
        If torch or timm is missing.
    """

    def __init__(self, bundle: Bundle, requested_device: str = "auto", requested_precision: str = "auto") -> None:
        self.bundle = bundle
        self.device = device.choose(requested_device)
        self._asked_precision = requested_precision
        self._fell_back = ""
        try:
            self._load()
        except RuntimeError as error:
            if not device.is_out_of_memory(error):
                raise
            self._fall_back()

    def forward(self, tensor: NDArray[np.float32], kind: MapKind | None, class_index: int | None = None) -> Explained:
        """One prepared sample through the network, with its map of ``kind``; on the CPU where the device is full."""
        try:
            return self._forward(tensor, kind, class_index)
        except RuntimeError as error:
            if self.device.kind == "cpu" or not device.is_out_of_memory(error):
                raise
            self._fall_back()
            return self._forward(tensor, kind, class_index)

    def probabilities(self, logits: Tensor) -> NDArray[np.floating]:
        """(classes,) of one sample's logits, at the bundle's temperature.

        Raises
        ------
        BundleError
            If they are no numbers.
        """
        found = (logits / self.bundle.settings.temperature).double().softmax(-1)[0].cpu().numpy()
        if not np.isfinite(found).all():
            raise BundleError("The bundle's network gives no finite number for this case; get the bundle anew.")
        return found

    def standing_notices(self) -> list[Notice]:
        """What holds for every case of this bundle; the demonstration comes first, so that nothing cuts it."""
        notices = [DEMO_MODEL] if self.bundle.settings.demo else []
        if self._fell_back:
            notices.append(Notice("device-fallback", f"Ran on the CPU: {self._fell_back}."))
        return notices

    def described_device(self) -> dict[str, str]:
        """As it stands in ``result.json``."""
        return {"kind": self.device.kind, "name": self.device.name, "reason": self.device.reason}

    def _load(self) -> None:
        import torch

        from cadx.explain.gradcam import require_layers

        self.model = self.bundle.build_model().to(self.device.torch)
        try:
            require_layers(self.model, self.bundle.settings.explanation.layers)
        except InputError as error:
            raise BundleError(
                f"The bundle {self.bundle.folder.name} names a map that it cannot have. {error}"
            ) from error
        generator = torch.Generator().manual_seed(0)
        example = torch.rand(1, *fed_shape(self.bundle.preparation), generator=generator)
        self.precision = device.choose_precision(self.model, example.to(self.device.torch), self._asked_precision)

    def _fall_back(self) -> None:
        """Continue on the CPU, in plain sight."""
        self._fell_back = f"{self.device.kind} ran out of memory"
        self.device = device.Device("cpu", device.describe("cpu"), self._fell_back)
        self._load()

    def _forward(self, tensor: NDArray[np.float32], kind: MapKind | None, class_index: int | None) -> Explained:
        import torch

        x = torch.from_numpy(tensor)[None].to(self.device.torch)
        with device.autocast(self.device.kind, self.precision):
            if kind is not None:
                return explain(self.model, x, kind, class_index, self.bundle.settings.explanation)
            with torch.inference_mode():
                return Explained(self.model(x), None)


def versions() -> dict[str, str]:
    """The versions that a run depends on."""
    found = {"cadx": __version__, "python": platform.python_version()}
    for package in ("torch", "timm", "numpy", "SimpleITK"):
        try:
            found[package] = packages.version(package)
        except packages.PackageNotFoundError:
            found[package] = "not installed"
    return found


def describe_explanation(
    kind: MapKind | None, wanted: bool, layer: str, drawn: bool, spec: ExplanationSpec = USUAL
) -> dict[str, str] | None:
    """What ``result.json`` says of the map: None where none was wanted."""
    if not wanted:
        return None
    if kind is None:
        return {
            "method": NO_METHOD,
            "text": "No map is defined for this model: it has neither attention nor feature maps.",
        }
    if not drawn:
        return {"method": NO_METHOD, "text": EMPTY_MAP}
    layers = {"layer": layer} if layer else {}
    if layer and spec.score != "logit":
        layers["score"] = spec.score
    return {
        "method": kind.method,
        "unit": kind.unit,
        **layers,
        "text": kind.text + (SHARPENED if spec.sharpened_by else ""),
    }


def no_map(explanation: dict[str, str] | None) -> list[Notice]:
    """A map that was made and is empty is said; a model for which none is defined is not odd."""
    return [Notice("empty-map", EMPTY_MAP)] if (explanation or {}).get("text") == EMPTY_MAP else []
