"""Which map lies on the tumour: Grad-CAM as the package draws it, and others, on a part of one fold's unseen cases.

    python Training/results/brain-tumor-type/compare_maps.py RUN --data BRAIN_TYPE [--cache DIR]

Others: the gradient of the class's logit against all others' (their log-sum-exp) in place of the logit's own; its
product with the features place by place in place of its mean over places (HiResCAM, Draelos and Carin,
arXiv:2011.08891); earlier layers. Written to ``maps.json`` beside this file.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cadx.evaluate.rundata import read_run
from cadx.study.localisation import energy_inside, weights_of
from cadx.study.source import Learnt
from cadx.study.task import kept_model
from cadx.study.weights import Plan
from cadx.study.workshop import WorkshopPlan

HERE = Path(__file__).resolve().parent
MODEL, EVERY = "efficientnet-lite0", 5
LAYERS = ("bn2", "blocks.5", "blocks.4")


def cam(model: Any, image: torch.Tensor, layer: str, *, contrast: bool, by_place: bool) -> np.ndarray:
    """(h, w), 0 or more, of one image (1, 3, H, W)."""
    kept: list[torch.Tensor] = []
    handle = model.get_submodule(layer).register_forward_hook(lambda module, given, out: kept.append(out))
    logits = model(image.clone().requires_grad_(True))[0]
    handle.remove()
    best = int(logits.argmax())
    others = torch.cat([logits[:best], logits[best + 1 :]])
    score = logits[best] - others.logsumexp(0) if contrast else logits[best]
    (slope,) = torch.autograd.grad(score, kept)
    weights = slope if by_place else slope.mean(dim=(2, 3), keepdim=True)
    return (weights * kept[0]).sum(1).relu()[0].detach().numpy()


def compare(run_folder: Path, data: Path, cache: Path | None) -> dict[str, Any]:
    """Median of the map's density on the tumour, in times of the whole picture's, by layer and method."""
    run = read_run(run_folder)
    entry = run.model(MODEL).entry
    shop = WorkshopPlan(Plan(run.study, (MODEL,)), data, cache=cache, device="cpu", threads=1).open()
    place = {name: index for index, name in enumerate(shop.names)}
    fold = run.planned[0]
    chosen = np.array([place[name] for name in fold["test"]])[::EVERY]
    samples = shop.source.samples(entry, chosen, Learnt(()), lesions=True)
    model = kept_model(shop, entry, weights_of(run, entry, fold["name"])).eval()
    images = samples.batch(torch.arange(len(chosen)))
    with torch.inference_mode():
        right = (model(images).argmax(1) == samples.labels).nonzero()[:, 0].tolist()
    masks = samples.lesions.numpy().astype(bool)
    found: dict[str, Any] = {"fold": fold["name"], "cases": len(right), "layers": {}}
    for layer in LAYERS:
        found["layers"][layer] = {}
        for name, how in METHODS.items():
            times = [
                energy_inside(cam(model, images[i : i + 1], layer, **how), masks[i]) / masks[i].mean() for i in right
            ]
            found["layers"][layer][name] = {
                "median_times": round(float(np.median(times)), 2),
                "above_5_times": round(float(np.mean(np.array(times) >= 5)), 2),
            }
    return found


METHODS = {
    "Grad-CAM": {"contrast": False, "by_place": False},
    "Grad-CAM against the other classes": {"contrast": True, "by_place": False},
    "HiResCAM against the other classes": {"contrast": True, "by_place": True},
}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--cache", type=Path)
    asked = parser.parse_args()
    document = compare(asked.run, asked.data, asked.cache)
    (HERE / "maps.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(document, indent=1))
