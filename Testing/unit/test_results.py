"""What is printed of results is what the kept predictions say; no number is typed."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path

import pytest

from cadx.library import BRAIN_TYPE, shipped_bundle
from cadx.models.bundle import Bundle
from cadx.prepare.picture import PictureSpec

TOP = Path(__file__).resolve().parents[2]
RESULTS = TOP / "Training" / "results"
NUMBER = re.compile(r"(?<![\w.])\d+\.\d+(?![\w.]*\d)")


def script(name):
    found = importlib.util.spec_from_file_location(name, RESULTS / f"{name}.py")
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def figures():
    return json.loads((RESULTS / "figures.json").read_text(encoding="utf-8"))


def differing(one, other, place="", unit=2e-4):
    """Places that differ by more than the last digit: another processor rounds sums otherwise."""
    # in points, of two digits
    unit = 0.011 if place.endswith("difference_points") else unit
    if isinstance(one, dict) and isinstance(other, dict) and one.keys() == other.keys():
        for key in one:
            yield from differing(one[key], other[key], f"{place}/{key}", unit)
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for number, pair in enumerate(zip(one, other, strict=True)):
            yield from differing(*pair, f"{place}/{number}", unit)
    elif isinstance(one, float) and isinstance(other, float):
        if abs(one - other) > unit:
            yield place
    elif one != other:
        yield place


def test_figures_follow_from_the_kept_predictions(figures):
    again = json.loads(json.dumps(script("figures").collect()))
    assert not list(differing(again, figures))


def test_the_page_follows_from_the_figures(figures):
    assert script("make_page").page(figures) == (TOP / "Training" / "RESULTS.md").read_text(encoding="utf-8")


def section(text, title):
    """From a heading to the next one of its level."""
    start = text.index(f"## {title}\n")
    end = text.find("\n## ", start)
    return text[start : None if end < 0 else end]


def test_every_number_of_the_readme_is_in_a_results_file():
    said = section((TOP / "README.md").read_text(encoding="utf-8"), "Results on real images")
    numbers = NUMBER.findall(said)
    page = set(NUMBER.findall((TOP / "Training" / "RESULTS.md").read_text(encoding="utf-8")))
    assert len(numbers) >= 6 and not [one for one in numbers if one not in page]


def test_every_figure_of_the_card_is_in_a_results_file(figures):
    card = Bundle.load(shipped_bundle(BRAIN_TYPE)).card
    said = card[card.index("## Figures") : card.index("## Its map")]
    own = figures["brain-tumor-type"]
    wanted = {f"{own[key]['value']:.3f}" for key in ("accuracy", "balanced_accuracy")} | {f"{own['ece']:.3f}"}
    for key in ("accuracy", "balanced_accuracy", "auc"):
        wanted |= {f"{end:.3f}" for end in own[key]["interval_95"]}
    told = NUMBER.findall(said)
    assert wanted <= set(told)
    assert str(own["auc"]["value"]) in said and not set(told) - wanted - {str(own["auc"]["value"])}


def test_the_card_says_of_the_map_what_was_measured(figures):
    bundle = Bundle.load(shipped_bundle(BRAIN_TYPE))
    seen = figures["brain-tumor-type"]["map"]
    assert bundle.settings.explanation.model_dump(mode="json") == seen["explanation"]
    said = bundle.card[bundle.card.index("## Its map") : bundle.card.index("## Where it fails")]
    assert f"{seen['median_times']:.1f} times" in said and f"{1 - seen['above_5_times']:.0%}" in said
    assert seen["cases"] == figures["brain-tumor-type"]["gradcam"]["cases"] == figures["brain-tumor-type"]["cases"]


def test_the_bundle_is_the_one_of_the_study(figures):
    """Trained on all images of the run whose predictions are kept, by its study, in the size that ships."""
    folder = shipped_bundle(BRAIN_TYPE)
    bundle = Bundle.load(folder)
    run = json.loads((RESULTS / "brain-tumor-type" / "run" / "run.json").read_text(encoding="utf-8"))
    trained = bundle.settings.training
    assert trained["data_sha256"] == run["data"]["sha256"] and trained["study_sha256"] == run["study_sha256"]
    assert trained["cases"]["training"] == figures["brain-tumor-type"]["cases"] == run["data"]["samples"]
    assert isinstance(bundle.preparation, PictureSpec)
    assert sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) < 10e6
    for said in ("CC BY 4.0", "presumes", "Apache License 2.0", "research use only"):
        assert said.casefold() in bundle.card.casefold()


def test_kept_runs_hold_no_weights_and_no_path_of_a_machine():
    files = [path for path in RESULTS.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    assert not [path.name for path in files if path.suffix in (".safetensors", ".pt", ".pth", ".npy")]
    assert sum(path.stat().st_size for path in files) < 10e6
    texts = [path for path in files if path.suffix in (".json", ".jsonl", ".yaml", ".md", ".csv")]
    assert not [path for path in texts if re.search(r"(?<![\w./:])/\w+/\w+", path.read_text(encoding="utf-8"))]
