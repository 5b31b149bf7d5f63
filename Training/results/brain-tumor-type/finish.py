"""From a finished run of ``study.yaml`` to the bundle that ships: pictures of the surest wrong answers, and the bundle.

    python Training/results/brain-tumor-type/finish.py RUN --data BRAIN_TYPE [--cache DIR] [--out DIR]

``failures.png`` shows out-of-fold answers, each with the map of the network that gave it; the images are CC BY 4.0
(Cheng, figshare 1512427), so the bundle may carry them in its documents.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from cadx import DISCLAIMER
from cadx.evaluate.rundata import Run, read_run
from cadx.explain.maps import explain, map_kind
from cadx.models.bundle import CARD, METADATA, Bundle, seal
from cadx.study.localisation import weights_of
from cadx.study.source import Learnt
from cadx.study.task import kept_model
from cadx.study.weights import Plan
from cadx.study.workshop import WorkshopPlan

HERE = Path(__file__).resolve().parent
MODEL, NAME = "efficientnet-lite0", "brain-tumor-type"
COLUMNS, ROWS = 4, 3
FAILURES = "failures.png"
LICENCE = "Apache-2.0 AND CC-BY-4.0"
CREDIT = "Images: Cheng, Jun, brain tumor dataset, figshare, doi:10.6084/m9.figshare.1512427, CC BY 4.0, made smaller."


def surest_wrong(run: Run, count: int) -> list[dict[str, Any]]:
    """Of wrong test cases the most confident, one a patient."""
    model = run.model(MODEL)
    found = []
    for fold in model.tested:
        known = fold.predictions
        assert known is not None
        for index, name in enumerate(known.names):
            shares = known.probabilities[index]
            if shares.argmax() != known.truth[index]:
                answer = {"truth": int(known.truth[index]), "given": int(shares.argmax()), "share": float(shares.max())}
                found.append({"name": name, "fold": fold.name, **answer})
    once: dict[str, dict[str, Any]] = {}
    for one in sorted(found, key=lambda one: (-one["share"], one["name"])):
        once.setdefault(run.groups([one["name"]])[0], one)
    return list(once.values())[:count]


def draw_failures(run: Run, data: Path, cache: Path | None, file: Path) -> None:
    """A sheet of the surest wrong answers with outline and map."""
    import torch
    from matplotlib.figure import Figure

    entry = run.model(MODEL).entry
    shop = WorkshopPlan(Plan(run.study, (MODEL,)), data, cache=cache, device="cpu", threads=1).open()
    place = {name: index for index, name in enumerate(shop.names)}
    classes = run.study.class_names
    figure = Figure(figsize=(2.6 * COLUMNS, 2.95 * ROWS), layout="constrained")
    every = figure.subplots(ROWS, COLUMNS).ravel()
    for axes, one in zip(every, surest_wrong(run, ROWS * COLUMNS), strict=False):
        samples = shop.source.samples(entry, np.array([place[one["name"]]]), Learnt(()), lesions=True)
        model = kept_model(shop, entry, weights_of(run, entry, one["fold"]))
        told = explain(model, samples.batch(torch.tensor([0])), map_kind(model), one["given"])
        axes.imshow(samples.pixels[0, 0], cmap="gray")
        if told.own_map is not None and told.own_map.max() > 0:
            own = told.own_map / told.own_map.max()
            edge = samples.pixels.shape[-1]
            box = (-0.5, edge - 0.5, edge - 0.5, -0.5)
            axes.imshow(own, cmap="inferno", alpha=0.6 * own, extent=box, interpolation="bilinear")
        axes.contour(samples.lesions[0], [0.5], colors="#35d0ff", linewidths=1)
        axes.set_title(f"{classes[one['truth']]}\ncalled {classes[one['given']]} ({one['share']:.0%})", fontsize=9)
    for axes in every:
        axes.set_axis_off()
    figure.supxlabel(
        "Surest wrong answers, out of fold, one a patient; blue: outline by hand; "
        "colours: Grad-CAM of the wrong answer.\n"
        f"{CREDIT} {DISCLAIMER}",
        fontsize=8,
    )
    figure.savefig(file, dpi=80, metadata={"Software": None})


def finish(run: Path, data: Path, cache: Path | None, out: Path) -> Bundle:
    """The pictures, and the bundle trained on everything with them in its documents."""
    draw_failures(read_run(run), data, cache, HERE / FAILURES)
    shutil.rmtree(out, ignore_errors=True)
    shutil.copytree(run / MODEL / "all" / "bundle", out)
    _named(out)
    _licensed(out)
    shutil.copyfile(HERE / FAILURES, out / "docs" / FAILURES)
    card = out / CARD
    text = card.read_text(encoding="utf-8")
    before, licence = text.split("## Licence")
    pictures = f"## Where it fails\n\n![Surest wrong answers, out of fold]({FAILURES})\n\n{CREDIT}\n\n"
    card.write_text(f"{before}{pictures}## Licence{licence}", encoding="utf-8")
    seal(out)
    return Bundle.load(out)


def _licensed(out: Path) -> None:
    """The licences of weights and pictures in one expression; the card says them in words."""
    file = out / METADATA
    metadata = json.loads(file.read_text(encoding="utf-8"))
    file.write_text(json.dumps({**metadata, "licence": LICENCE}, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _named(out: Path) -> None:
    """The bundle's name is that of its folder."""
    for file in (out / "configs").glob("*.json"):
        text = file.read_text(encoding="utf-8")
        file.write_text(text.replace(f'"{NAME}-{MODEL}"', f'"{NAME}"'), encoding="utf-8")
    card = out / CARD
    card.write_text(card.read_text(encoding="utf-8").replace(f"# {NAME}-{MODEL}", f"# {NAME}", 1), encoding="utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--out", type=Path, default=HERE.parents[2] / "Resources" / "Models" / NAME)
    asked = parser.parse_args()
    bundle = finish(asked.run, asked.data, asked.cache, asked.out)
    print(f"{bundle.settings.name}, sha256 {bundle.sha256}, in {asked.out}")
