"""From a finished run of ``study.yaml`` to the bundle that ships: pictures of its maps and errors, and the bundle.

    python Training/results/brain-tumor-type/finish.py RUN --data BRAIN_TYPE [--cache DIR] [--out DIR]

``maps.png`` shows right answers at tenths of how well the map lies on the tumour, so that they are not picked;
``failures.png`` the surest wrong ones; both are out of fold, each with the map of the network that gave it. The
images are CC BY 4.0 (Cheng, figshare 1512427), so the bundle may carry them in its documents.
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
from cadx.explain.display import percent
from cadx.explain.maps import explain, map_kind
from cadx.explain.spec import ExplanationSpec
from cadx.models.bundle import CARD, METADATA, SETTINGS, Bundle, seal
from cadx.study.localisation import weights_of
from cadx.study.presets import read_study
from cadx.study.source import Learnt
from cadx.study.task import kept_model
from cadx.study.weights import Plan
from cadx.study.workshop import WorkshopPlan

HERE = Path(__file__).resolve().parent
MODEL, NAME = "efficientnet-lite0", "brain-tumor-type"
COLUMNS, ROWS = 4, 3
FAILURES, MAPS = "failures.png", "maps.png"
TENTHS = (1, 3, 5, 7, 9)
GRADCAM = ExplanationSpec(method="grad-cam")
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


class Gallery:
    """Test cases of a run as pictures, with the hand-drawn outline and a map of the network that graded them."""

    def __init__(self, run: Run, data: Path, cache: Path | None) -> None:
        self.run = run
        self.entry = run.model(MODEL).entry
        self.classes = run.study.class_names
        self._shop = WorkshopPlan(Plan(run.study, (MODEL,)), data, cache=cache, device="cpu", threads=1).open()
        self._place = {name: index for index, name in enumerate(self._shop.names)}

    def show(self, axes: Any, name: str, fold: str, spec: ExplanationSpec | None, answer: int | None = None) -> None:
        """Draw one case; ``answer`` is the class that the map speaks of, the one given by default."""
        import torch

        samples = self._shop.source.samples(self.entry, np.array([self._place[name]]), Learnt(()), lesions=True)
        axes.imshow(samples.pixels[0, 0], cmap="gray")
        if spec is not None:
            model = kept_model(self._shop, self.entry, weights_of(self.run, self.entry, fold))
            told = explain(model, samples.batch(torch.tensor([0])), map_kind(model, spec), answer, spec)
            if told.own_map is not None and told.own_map.max() > 0:
                own = told.own_map / told.own_map.max()
                edge = samples.pixels.shape[-1]
                box = (-0.5, edge - 0.5, edge - 0.5, -0.5)
                axes.imshow(own, cmap="inferno", alpha=0.6 * own, extent=box, interpolation="bilinear")
        axes.contour(samples.lesions[0], [0.5], colors="#35d0ff", linewidths=1)
        axes.set_axis_off()

    def class_of(self, name: str, fold: str) -> str:
        """The true one."""
        (known,) = (one.predictions for one in self.run.model(MODEL).tested if one.name == fold)
        assert known is not None
        return self.classes[int(known.truth[list(known.names).index(name)])]


def draw_failures(gallery: Gallery, file: Path) -> None:
    """A sheet of the surest wrong answers with outline and map."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(2.6 * COLUMNS, 2.95 * ROWS), layout="constrained")
    every = figure.subplots(ROWS, COLUMNS).ravel()
    for axes, one in zip(every, surest_wrong(gallery.run, ROWS * COLUMNS), strict=False):
        gallery.show(axes, one["name"], one["fold"], explanation(), one["given"])
        true, given = gallery.classes[one["truth"]], gallery.classes[one["given"]]
        axes.set_title(f"{true}\ncalled {given} ({percent(one['share'])})", fontsize=9)
    _foot(figure, "Surest wrong answers, out of fold, one a patient", "HiResCAM of the wrong answer")
    figure.savefig(file, dpi=80, metadata={"Software": None})


def draw_maps(gallery: Gallery, file: Path) -> None:
    """Right answers at tenths of the map's density on the tumour: picture, Grad-CAM, the study's map."""
    from matplotlib.figure import Figure

    document = json.loads((gallery.run.folder / "localisation.json").read_text(encoding="utf-8"))
    right = [one for one in document["models"][MODEL]["each"] if one["right"]]
    right.sort(key=lambda one: (one["energy"] / one["share"], one["name"]))
    chosen = [(tenth, right[round(tenth / 10 * (len(right) - 1))]) for tenth in TENTHS]
    figure = Figure(figsize=(2.1 * len(chosen), 7.2), layout="constrained")
    rows = figure.subplots(3, len(chosen))
    for column, (tenth, one) in enumerate(chosen):
        for axes, spec in zip(rows[:, column], (None, GRADCAM, explanation()), strict=True):
            gallery.show(axes, one["name"], one["fold"], spec)
        times = one["energy"] / one["share"]
        rows[0, column].set_title(
            f"{gallery.class_of(one['name'], one['fold'])}\n{tenth}0th percentile: {times:.1f} times", fontsize=9
        )
    for axes, name in zip(rows[:, 0], ("as fed", "Grad-CAM", "map of the bundle"), strict=True):
        axes.text(-0.08, 0.5, name, transform=axes.transAxes, rotation=90, va="center", ha="center", fontsize=10)
    _foot(figure, "Right answers, out of fold, ordered by the bundle's map on the tumour", "the map of the answer")
    figure.savefig(file, dpi=80, metadata={"Software": None})


def _foot(figure: Any, what: str, colours: str) -> None:
    text = f"{what}; blue: outline by hand; colours: {colours}.\n{CREDIT} {DISCLAIMER}"
    figure.supxlabel(text, fontsize=8)


def finish(run: Path, data: Path, cache: Path | None, out: Path) -> Bundle:
    """The pictures, and the bundle trained on everything with them in its documents."""
    gallery = Gallery(read_run(run), data, cache)
    draw_maps(gallery, HERE / MAPS)
    draw_failures(gallery, HERE / FAILURES)
    shutil.rmtree(out, ignore_errors=True)
    shutil.copytree(run / MODEL / "all" / "bundle", out)
    _named(out)
    _licensed(out)
    _explained(out)
    shutil.copyfile(HERE / FAILURES, out / "docs" / FAILURES)
    card = out / CARD
    text = card.read_text(encoding="utf-8")
    before, licence = text.split("## Licence")
    told = _failures_told(gallery.run)
    pictures = (
        _map_told(run)
        + f"## Where it fails\n\n{told}\n\n![Surest wrong answers, out of fold]({FAILURES})\n\n{CREDIT}\n\n"
    )
    card.write_text(f"{before}{pictures}## Licence{licence}", encoding="utf-8")
    seal(out)
    return Bundle.load(out)


def _failures_told(run: Run) -> str:
    """Of the card: how many answers were wrong out of fold, how sure, and of which class most."""
    parts = [fold.predictions for fold in run.model(MODEL).tested]
    truth = np.concatenate([part.truth for part in parts])
    shares = np.concatenate([part.probabilities for part in parts])
    wrong = shares.argmax(1) != truth
    missed = [int((wrong & (truth == number)).sum()) for number in range(len(run.study.class_names))]
    counts = np.bincount(truth)
    worst = int(np.argmax(np.array(missed) / counts))
    taken = int(np.bincount(shares.argmax(1)[wrong & (truth == worst)]).argmax())
    names = run.study.class_names
    sure = int((shares.max(1)[wrong] > 0.99).sum())
    most = f"{names[worst]}: {missed[worst]} of {counts[worst]}, most often called {names[taken]}"
    return (
        f"Out of fold {wrong.sum()} of {len(truth)} answers were wrong, {sure} of them with more than 99 %. "
        f"Missed most is {most}. Errors come in whole patients: a further slice of a patient is no second opinion."
    )


def _map_told(run: Path) -> str:
    """Of the card: what the bundle's map is, and how far it lies on the tumour."""
    own = json.loads((run / "localisation.json").read_text(encoding="utf-8"))["models"][MODEL]
    chosen = explanation()
    assert own["explanation"] == chosen.model_dump(mode="json"), "measure the study's map first: cadx localise RUN"
    finer = ", ".join(chosen.sharpened_by)
    assert chosen.layer is None
    times, below = f"{own['median_times']:.1f} times", f"{1 - own['above_5_times']:.0%}"
    return (
        f"## Its map\n\n{own['method']} of the last features by the class's log-odds, sharpened by {finer}. "
        f"On right slices of unseen patients it is {times} as dense inside the outline by hand as on the whole picture "
        f"(median), and less than 5 times in {below}: then it may lie elsewhere. Over wrong answers it lies on the "
        "tumour about as densely: it does not tell that an answer is right. It is no outline of the tumour, and "
        "it does not show that a region caused the answer.\n\n"
    )


def _licensed(out: Path) -> None:
    """The licences of weights and pictures in one expression; the card says them in words."""
    file = out / METADATA
    metadata = json.loads(file.read_text(encoding="utf-8"))
    file.write_text(json.dumps({**metadata, "licence": LICENCE}, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def explanation() -> ExplanationSpec:
    """The map that the study names."""
    return read_study(str(HERE / "study.yaml")).model(MODEL).explanation


def _explained(out: Path) -> None:
    """The map of the study: a run from before it was chosen has the same weights, but does not name it."""
    file = out / SETTINGS
    settings = json.loads(file.read_text(encoding="utf-8"))
    settings["explanation"] = explanation().model_dump(mode="json")
    file.write_text(json.dumps(settings, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


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
