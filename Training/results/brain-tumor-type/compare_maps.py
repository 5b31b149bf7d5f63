"""Which map lies on the tumour: Grad-CAM and others, on every fifth unseen case of each fold.

    python Training/results/brain-tumor-type/compare_maps.py RUN --data BRAIN_TYPE [--cache DIR]

Written to ``maps.json`` beside this file: for each map the median, over right cases, of its density on the tumour in
times of the whole picture's, and the share of cases where that is at least 5.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cadx.evaluate.rundata import read_run
from cadx.explain.maps import explain, map_kind
from cadx.explain.spec import ExplanationSpec
from cadx.study.localisation import energy_inside, weights_of
from cadx.study.source import Learnt
from cadx.study.task import kept_model
from cadx.study.weights import Plan
from cadx.study.workshop import WorkshopPlan

HERE = Path(__file__).resolve().parent
MODEL, EVERY = "efficientnet-lite0", 5
CHOICES = (
    ExplanationSpec(method="grad-cam"),
    ExplanationSpec(method="grad-cam", score="log-odds"),
    ExplanationSpec(method="hirescam", score="log-odds"),
    ExplanationSpec(method="grad-cam", layer="blocks.5", score="log-odds"),
    ExplanationSpec(method="hirescam", layer="blocks.5"),
    ExplanationSpec(method="hirescam", layer="blocks.5", score="log-odds"),
    ExplanationSpec(method="hirescam", layer="blocks.4", score="log-odds"),
    ExplanationSpec(method="hirescam", layer="blocks.5", score="log-odds", sharpened_by=("blocks.4",)),
    ExplanationSpec(method="hirescam", layer="blocks.5", score="log-odds", sharpened_by=("blocks.2",)),
    ExplanationSpec(method="hirescam", layer="blocks.5", score="log-odds", sharpened_by=("blocks.4", "blocks.2")),
)


def compare(run_folder: Path, data: Path, cache: Path | None) -> dict[str, Any]:
    """The document of ``maps.json``."""
    run = read_run(run_folder)
    entry = run.model(MODEL).entry
    shop = WorkshopPlan(Plan(run.study, (MODEL,)), data, cache=cache, device="cpu", threads=1).open()
    place = {name: index for index, name in enumerate(shop.names)}
    times: dict[ExplanationSpec, list[float]] = {choice: [] for choice in CHOICES}
    for fold in run.planned:
        chosen = np.array([place[name] for name in fold["test"]])[::EVERY]
        samples = shop.source.samples(entry, chosen, Learnt(()), lesions=True)
        model = kept_model(shop, entry, weights_of(run, entry, fold["name"])).eval()
        masks = samples.lesions.numpy().astype(bool)
        for index in range(len(chosen)):
            image = samples.batch(torch.tensor([index]))
            for choice in CHOICES:
                told = explain(model, image, map_kind(model, choice), spec=choice)
                if int(told.logits[0].argmax()) != int(samples.labels[index]):
                    break
                times[choice].append(energy_inside(told.own_map, masks[index]) / masks[index].mean())
    found = [
        {
            **choice.model_dump(mode="json"),
            "median_times": round(float(np.median(values)), 2),
            "above_5_times": round(float(np.mean(np.array(values) >= 5)), 2),
        }
        for choice, values in times.items()
    ]
    return {"cases": len(times[CHOICES[0]]), "folds": len(run.planned), "maps": found}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--cache", type=Path)
    asked = parser.parse_args()
    document = compare(asked.run, asked.data, asked.cache)
    (HERE / "maps.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(document, indent=1))
