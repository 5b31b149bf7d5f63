"""Reads every slice of fresh phantom heads with a bundle, and writes what came of it to figures.json beside this file.

    python Training/results/brain-tumor-phantom-demo/measure.py BUNDLE [--heads 100] [--seed 5] [--card]

``--card`` also puts the figures into the bundle's card and seals the bundle anew.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from cadx.classify_picture import PictureClassifier, PictureOptions
from cadx.io.atomic import write_text
from cadx.models.bundle import CARD, Bundle, seal
from cadx.phantom.head import CLEAR_PIXELS, NONE, TUMOUR, HeadPhantom, make_head
from cadx.picture_case import PictureCase
from cadx.prepare.stack import displayed

TITLE = "### Whole phantom heads, every slice"
LICENCE = "## Licence"
EASY = (
    "Phantom heads are easy: a tumour is the brightest thing inside the skull. The figures say that the software "
    "works, and nothing of patients."
)


def measure(classifier: PictureClassifier, heads: int, seed: int) -> dict[str, Any]:
    """Counts of slices by what they show and by what they were called; ranking of slices; Grad-CAM against the mask."""
    counts = {kind: {"slices": 0, "called tumour": 0} for kind in ("clear tumour", "sliver of tumour", "no tumour")}
    ranked: list[bool] = []
    highest_without: list[float] = []
    maps: list[tuple[float, float]] = []
    for index in range(heads):
        head = make_head(seed, index)
        found = classifier.classify(PictureCase(head.volume), PictureOptions(explain=False)).result.slices
        for row in found["table"]:
            label = head.label_of(row["slice"])
            counted = counts[{TUMOUR: "clear tumour", NONE: "no tumour", None: "sliver of tumour"}[label]]
            counted["slices"] += 1
            counted["called tumour"] += row["label"] == TUMOUR
            if label == row["label"] == TUMOUR:
                maps.append(gradcam_inside(classifier, head, row["slice"]))
        if head.label == TUMOUR:
            ranked.append(bool(head.tumour.voxels[found["suspicious"][0]].any()))
        else:
            highest_without.append(max(row["suspicion"] for row in found["table"]))
    inside, share = np.array(maps).T
    return {
        "bundle": classifier.bundle.settings.name,
        "heads": heads,
        "seed": seed,
        "clear_pixels": CLEAR_PIXELS,
        "slices": counts,
        "heads_with_tumour": len(ranked),
        "most_suspicious_slice_holds_tumour": sum(ranked),
        "highest_suspicion_without_tumour": {
            "median": round(float(np.median(highest_without)), 3),
            "largest": round(max(highest_without), 3),
        },
        "gradcam": {
            "slices": len(maps),
            "median_share_of_map_inside_tumour": round(float(np.median(inside)), 4),
            "median_share_of_slice_that_is_tumour": round(float(np.median(share)), 4),
            "median_ratio": round(float(np.median(inside / share)), 1),
            "tenth_percentile_of_ratio": round(float(np.quantile(inside / share, 0.1)), 1),
        },
    }


def gradcam_inside(classifier: PictureClassifier, head: HeadPhantom, index: int) -> tuple[float, float]:
    """Share of a slice's Grad-CAM that lies inside the tumour, and share of the slice that is tumour."""
    own_map = classifier.classify(PictureCase(head.volume, (index,))).slices[0].own_map
    mask = displayed(head.tumour.voxels, head.tumour.geometry, 2)[index] > 0
    return 0.0 if own_map is None else float(own_map[mask].sum() / own_map.sum()), float(mask.mean())


def section(figures: dict[str, Any]) -> str:
    """The figures in words, for the card."""
    clear, sliver, none = (
        f"{count['called tumour']} of {count['slices']} called tumour" for count in figures["slices"].values()
    )
    with_tumour, held = figures["heads_with_tumour"], figures["most_suspicious_slice_holds_tumour"]
    highest, gradcam = figures["highest_suspicion_without_tumour"], figures["gradcam"]
    inside, share = gradcam["median_share_of_map_inside_tumour"], gradcam["median_share_of_slice_that_is_tumour"]
    lines = [
        f"- Slices with a clear tumour (at least {figures['clear_pixels']} pixels, 1 cm2): {clear}.",
        f"- Slices with a sliver of tumour, which no training had: {sliver}.",
        f"- Slices without tumour: {none}.",
        f"- The most suspicious slice holds tumour in {held} of the {with_tumour} heads that have one.",
        f"- Highest suspicion in a head without tumour: median {highest['median']}, largest {highest['largest']}.",
        f"- Grad-CAM of slices with a clear tumour: {inside:.1%} of it lie inside the tumour, which is {share:.1%} of "
        f"the slice; {gradcam['median_ratio']} times its share (medians of {gradcam['slices']} slices).",
    ]
    heads = f"{figures['heads']} heads (`cadx phantom --heads`, seed {figures['seed']}), {with_tumour} with a tumour."
    return "\n\n".join((TITLE, heads, "\n".join(lines), EASY))


def put_into_card(folder: Path, text: str) -> None:
    """In the place of an earlier such section, before the licence."""
    before, _, licence = (folder / CARD).read_text(encoding="utf-8").partition(LICENCE)
    before = before.partition(TITLE)[0].rstrip()
    write_text(folder / CARD, f"{before}\n\n{text}\n\n{LICENCE}{licence}")
    seal(folder)


def main() -> None:
    """From the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--heads", type=int, default=100)
    parser.add_argument("--seed", type=int, default=5)
    parser.add_argument("--card", action="store_true")
    given = parser.parse_args()
    figures = measure(PictureClassifier(Bundle.load(given.bundle), "cpu"), given.heads, given.seed)
    text = json.dumps(figures, indent=2)
    write_text(Path(__file__).parent / "figures.json", text + "\n")
    print(text)
    if given.card:
        put_into_card(given.bundle, section(figures))


if __name__ == "__main__":
    main()
