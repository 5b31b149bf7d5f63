"""Whether the map of a network lies on the finding: share of its energy inside the mask, against the mask's own share.

The energy-based pointing game (Wang et al., Score-CAM, CVPR Workshops 2020, Section 4.3), divided by what a map
without aim would score: 1 is a map that is everywhere alike, 5 one that is five times as dense on the finding.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cadx import DISCLAIMER
from cadx.errors import InputError
from cadx.evaluate.rundata import Run, read_run
from cadx.explain.maps import explain, map_kind
from cadx.explain.spec import ExplanationSpec
from cadx.io.jsonfile import read_json
from cadx.study.samples import PictureSamples
from cadx.study.source import Learnt
from cadx.study.spec import ModelEntry
from cadx.study.task import WEIGHTS, Workshop, kept_model
from cadx.study.workshop import WorkshopPlan

SCHEMA = "cadx.localisation/1"
FILE = "localisation.json"
Plane = NDArray[np.floating]


@dataclass(frozen=True)
class Placed:
    """Of one test case: ``energy`` and ``share`` of the mask in the picture, both 0..1; ``right``: its answer."""

    name: str
    fold: str
    right: bool
    energy: float
    share: float

    @property
    def times(self) -> float:
        """How much denser the map is on the finding than a map without aim."""
        return self.energy / self.share


def energy_inside(own_map: Plane, mask: NDArray[np.bool_]) -> float:
    """Share of a map's sum inside a mask; the map (h, w) is enlarged linearly to the mask's (H, W); 0 of an empty map.

    >>> energy_inside(np.ones((2, 2)), np.eye(4, dtype=bool))
    0.25
    """
    import torch
    from torch.nn.functional import interpolate

    whole = torch.from_numpy(np.ascontiguousarray(own_map, dtype=np.float32))[None, None]
    large = interpolate(whole, mask.shape, mode="bilinear", align_corners=False)[0, 0].numpy().astype(np.float64)
    total = float(large.sum())
    return round(float(large[mask].sum()) / total, 6) if total > 0 else 0.0


def localise(
    run: Path,
    plan: Callable[[Run], WorkshopPlan],
    note: Callable[[str], None],
    explanation: ExplanationSpec | None = None,
) -> dict[str, Any]:
    """Look at every test case that has a mask, with the weights that graded it.

    Parameters
    ----------
    run
        Folder of a finished cross-validation of pictures.
    plan
        Where the images of a run lie and what computes.
    explanation
        Another map than the study names.

    Returns
    -------
    dict
        The document of ``cadx.localisation/1``, by model.

    Raises
    ------
    InputError
        If the run is not one of pictures, is not finished, or no case has a mask.
    """
    found = read_run(run)
    if found.study.input.kind != "picture" or found.external:
        raise InputError(f"{run.name} is no cross-validation of pictures; maps are measured on those alone.")
    shop = plan(found).open()
    models = {}
    for model in found.shown:
        entry = model.entry if explanation is None else model.entry.model_copy(update={"explanation": explanation})
        placed = [one for fold in model.tested for one in _fold(found, shop, entry, fold.name)]
        if not placed:
            raise InputError(f"No test case of {run.name} has a mask; add a column 'mask' to the table.")
        network = kept_model(shop, entry, weights_of(found, entry, model.tested[0].name))
        method = map_kind(network, entry.explanation).method
        models[entry.name] = {
            "method": method,
            "explanation": entry.explanation.model_dump(mode="json"),
            **described(placed),
        }
        note(f"{entry.name}: {sentence(models[entry.name])}")
    return {"schema": SCHEMA, "study": found.study.name, "models": models, "disclaimer": DISCLAIMER}


def named_map(text: str) -> ExplanationSpec:
    """A map as a study names it, from YAML.

    Raises
    ------
    InputError
        If it is no such mapping.

    >>> named_map("{method: hirescam, layer: blocks.5}").layer
    'blocks.5'
    """
    import yaml

    try:
        return ExplanationSpec.from_json(yaml.safe_load(text), "--map")
    except yaml.YAMLError as error:
        raise InputError(f"--map: '{text}' is no YAML; write it such as '{{method: grad-cam}}'.") from error


def described(placed: Sequence[Placed]) -> dict[str, Any]:
    """Medians over right cases, and every case."""
    times = np.array([one.times for one in placed if one.right])
    shares = np.array([one.share for one in placed if one.right])
    energies = np.array([one.energy for one in placed if one.right])
    quartiles = [None] * 3 if not len(times) else [round(float(q), 2) for q in np.quantile(times, (0.25, 0.5, 0.75))]
    return {
        "cases": len(placed),
        "right": len(times),
        "median_times": quartiles[1],
        "quartiles_times": [quartiles[0], quartiles[2]],
        "median_energy_inside": round(float(np.median(energies)), 4) if len(times) else None,
        "median_share_of_picture": round(float(np.median(shares)), 4) if len(times) else None,
        "above_5_times": round(float((times >= 5).mean()), 4) if len(times) else None,
        "each": [
            {"name": one.name, "fold": one.fold, "right": one.right, "energy": one.energy, "share": one.share}
            for one in placed
        ],
    }


def sentence(figures: dict[str, Any]) -> str:
    """What was found, for people."""
    if figures["median_times"] is None:
        return "no case was graded right."
    return (
        f"the map is {figures['median_times']:.1f} times as dense on the finding as on the whole picture (median over "
        f"{figures['right']} right cases), and at least 5 times in {figures['above_5_times']:.0%} of them."
    )


def weights_of(run: Run, entry: ModelEntry, fold: str) -> Path:
    """The file of the weights that opened a fold's test part."""
    folder = run.folder / entry.name / fold
    if run.study.selection.final == "refit":
        return folder / "final" / WEIGHTS
    return folder / f"settings-{read_json(folder / 'selection.json')['chosen']['index']}" / "inner-0" / WEIGHTS


def _fold(run: Run, shop: Workshop, entry: ModelEntry, fold: str) -> list[Placed]:
    import torch

    place = {name: index for index, name in enumerate(shop.names)}
    planned = next(one for one in run.planned if one["name"] == fold)
    test = np.array([place[name] for name in planned["test"] if name in place], dtype=np.intp)
    samples = shop.source.samples(entry, test, Learnt(()), lesions=True)
    if not isinstance(samples, PictureSamples) or samples.lesions is None:
        return []
    model = kept_model(shop, entry, weights_of(run, entry, fold))
    kind = map_kind(model, entry.explanation)
    found = []
    for index, name in enumerate(samples.names):
        mask = samples.lesions[index].numpy().astype(bool)
        if not mask.any():
            continue
        told = explain(model, samples.batch(torch.tensor([index])).to(shop.where.torch), kind, spec=entry.explanation)
        if told.own_map is None:
            continue
        right = int(told.logits[0].argmax()) == int(samples.labels[index])
        share = round(float(mask.mean()), 6)
        found.append(Placed(name, fold, right, energy_inside(told.own_map, mask), share))
    return found
