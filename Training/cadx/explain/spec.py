"""Which map a network is explained by, as data: part of a study's model and of a bundle."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from cadx.prepare.spec import Strict

LayerName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.]+$", max_length=200)]


class ExplanationSpec(Strict):
    """What is drawn of a network's answer.

    ``method``: "auto" is attention rollout where the network has attention, Grad-CAM elsewhere; "grad-cam" and
    "hirescam" need feature maps. ``layer``: the module whose feature maps count; the last that has places by default.
    ``score``: what is derived, the class's "logit", or its "log-odds" against the other classes, so that what speaks
    for all classes alike drops out. ``sharpened_by``: earlier layers that HiResCAM's map is multiplied by.
    """

    method: Literal["auto", "grad-cam", "hirescam"] = "auto"
    layer: LayerName | None = None
    score: Literal["logit", "log-odds"] = "logit"
    sharpened_by: Annotated[tuple[LayerName, ...], Field(max_length=4)] = ()

    @model_validator(mode="after")
    def _only_of_feature_maps(self) -> ExplanationSpec:
        if self.method == "auto" and (self.layer is not None or self.score != "logit"):
            raise ValueError('a layer or a score goes with the method "grad-cam" or "hirescam"; name one of them')
        if self.method != "hirescam" and self.sharpened_by:
            raise ValueError('sharpened_by goes with the method "hirescam"; take that or leave it out')
        return self

    @property
    def layers(self) -> tuple[str, ...]:
        """The layers that it names."""
        return tuple(name for name in (self.layer, *self.sharpened_by) if name)


USUAL = ExplanationSpec()
