"""Which map lies on the tumour: Grad-CAM and others, on every tenth unseen case of each fold, and of the bundle itself.

    python Training/results/brain-tumor-type/compare_maps.py RUN --data BRAIN_TYPE [--cache DIR]

Written to ``maps.json`` beside this file: for each map the median, over right cases, of its density on the tumour in
times of the whole picture's, and the share of cases where that is at least 5. The bundle, trained on everything, has no
unseen case: on the same cases it is only asked whether its map lies where the folds' maps do.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cadx.evaluate.rundata import Run, read_run
from cadx.explain.maps import explain, map_kind
from cadx.explain.spec import ExplanationSpec
from cadx.study.localisation import energy_inside, weights_of
from cadx.study.source import Learnt
from cadx.study.task import Workshop, kept_model
from cadx.study.weights import Plan
from cadx.study.workshop import WorkshopPlan

HERE = Path(__file__).resolve().parent
MODEL, EVERY = "efficientnet-lite0", 10
BY_ODDS = {"method": "hirescam", "score": "log-odds"}
CHOICES = tuple(
    ExplanationSpec(**fields)
    for fields in (
        {"method": "grad-cam"},
        {"method": "grad-cam", "score": "log-odds"},
        {**BY_ODDS, "layer": "blocks.5"},
        {**BY_ODDS, "layer": "blocks.5", "sharpened_by": ("blocks.4",)},
        {**BY_ODDS, "layer": "blocks.5", "sharpened_by": ("blocks.4", "blocks.2")},
        {**BY_ODDS, "sharpened_by": ("blocks.4", "blocks.2")},
        {**BY_ODDS, "sharpened_by": ("blocks.5", "blocks.4", "blocks.2")},
    )
)


class Times:
    """The density of each map on the tumour, in times of the picture's, of right cases by class."""

    def __init__(self, run: Run, shop: Workshop) -> None:
        self._run, self._shop = run, shop
        self._place = {name: index for index, name in enumerate(shop.names)}
        self._found: dict[ExplanationSpec, list[tuple[int, float]]] = {choice: [] for choice in CHOICES}

    def add(self, weights: Path, names: list[str]) -> None:
        """Cases by their names, as the network of these weights sees them."""
        entry = self._run.model(MODEL).entry
        chosen = np.array([self._place[name] for name in names])
        samples: Any = self._shop.source.samples(entry, chosen, Learnt(()), lesions=True)
        model = kept_model(self._shop, entry, weights).eval()
        masks = samples.lesions.numpy().astype(bool)
        for index in range(len(chosen)):
            image, label = samples.batch(torch.tensor([index])), int(samples.labels[index])
            for choice in CHOICES:
                told = explain(model, image, map_kind(model, choice), spec=choice)
                if int(told.logits[0].argmax()) != label:
                    break
                inside = energy_inside(told.own_map, masks[index]) / masks[index].mean()
                self._found[choice].append((label, inside))

    def described(self) -> dict[str, Any]:
        """Of every map the median and the share of at least 5, and the median of each class."""
        maps = []
        for choice, pairs in self._found.items():
            labels, times = (np.array(values) for values in zip(*pairs, strict=True))
            classes = {
                name: round(float(np.median(times[labels == number])), 2)
                for number, name in enumerate(self._run.study.class_names)
            }
            maps.append(
                {
                    **choice.model_dump(mode="json"),
                    "median_times": round(float(np.median(times)), 2),
                    "above_5_times": round(float((times >= 5).mean()), 2),
                    "by_class": classes,
                }
            )
        return {"cases": len(self._found[CHOICES[0]]), "maps": maps}


def compare(run_folder: Path, data: Path, cache: Path | None) -> dict[str, Any]:
    """The document of ``maps.json``."""
    run = read_run(run_folder)
    shop = WorkshopPlan(Plan(run.study, (MODEL,)), data, cache=cache, device="cpu", threads=1).open()
    unseen, whole = Times(run, shop), Times(run, shop)
    for fold in run.planned:
        names = fold["test"][::EVERY]
        unseen.add(weights_of(run, run.model(MODEL).entry, fold["name"]), names)
        whole.add(run_folder / MODEL / "all" / "final" / "weights.safetensors", names)
    return {"folds": len(run.planned), "unseen": unseen.described(), "bundle": whole.described()}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--cache", type=Path)
    asked = parser.parse_args()
    document = compare(asked.run, asked.data, asked.cache)
    (HERE / "maps.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(document, indent=1))
