"""``cadx bench case``: one patient from files to answer, against the script that a user would write today."""

from __future__ import annotations

import csv
import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from cadx.bench import processes
from cadx.bench.inputs import Pair, find_pair, papers_bundle, phantom_pair
from cadx.bench.report import Measured
from cadx.bench.straightforward import Answer, grade
from cadx.bench.timing import interleaved, medians
from cadx.case import Case
from cadx.classify import Classifier, Options
from cadx.io.files import read_volume
from cadx.models.bundle import Bundle
from cadx.prepare import bias
from cadx.roi import Roi

PARTS = ("whole", "steps", "startup", "memory", "batch")
LARGE = (512, 512, 160)
Note = Callable[[str], None]


def bench_case(folder: Path, parts: Sequence[str], repeats: int, cases: int, note: Note) -> list[Measured]:
    """Measure the parts asked for (:data:`PARTS`) on the pair in ``folder``, or on a phantom of that size.

    ``repeats`` counts the interleaved runs of the whole chain; ``cases`` those of the batch.
    """
    rows: list[Measured] = []
    with tempfile.TemporaryDirectory(prefix="cadx-bench-") as scratch:
        place = Path(scratch)
        if "whole" in parts or "steps" in parts:
            pair, classifier = find_pair(folder, place, note), Classifier(papers_bundle(place / "bundle"), "cpu")
            rows += whole(pair, classifier, repeats, note) if "whole" in parts else []
            rows += steps(pair, classifier, 5 * repeats) if "steps" in parts else []
            del classifier
        if "startup" in parts:
            rows += startup(3 * repeats)
        if "memory" in parts:
            rows.append(large_pair(papers_bundle(place / "bundle"), place, note))
        if "batch" in parts:
            rows.append(long_batch(place, cases, note))
    return rows


def whole(pair: Pair, classifier: Classifier, repeats: int, note: Note) -> list[Measured]:
    """Files to logits and grid map, both ways in one warm process; and how far N4's fields lie apart."""
    model = classifier.bundle.build_model()
    spec = classifier.preparation.spec
    answers: list[Answer] = []

    def straightforward() -> None:
        answers[:] = [grade(pair.files, pair.roi, model, spec)]

    times = interleaved(
        {"straightforward": straightforward, "cadx": lambda: _answer(pair, classifier)}, repeats, note=note
    )
    middle = medians(times)
    detail = {"seconds": times, "pair": pair.name, "precision": classifier.precision}
    ratio = middle["straightforward"] / middle["cadx"]
    rows = [Measured("whole case, times faster than the straightforward script", ratio, "x", 20, True, detail)]
    for channel, file in pair.files.items():
        away = _field_difference(file, classifier, answers[0], channel)
        rows.append(Measured(f"N4 field of {channel} against the full one, mean difference", 100 * away, "%", 1.5))
    return rows


def steps(pair: Pair, classifier: Classifier, repeats: int) -> list[Measured]:
    """From prepared tensors, and from corrected volumes with a ROI that has moved."""
    import torch

    from cadx import device

    case = _case(pair)
    prepared = classifier.preparation.run(case)
    x = torch.from_numpy(prepared.grid(prepared.window()))[None]
    corrected = {channel: classifier.preparation.correct(volume, channel) for channel, volume in case.images.items()}
    moved = replace(case, roi=Roi(case.roi.center_ras + [3.0, -2.0, 0.0], case.roi.size_mm, case.roi.axes))

    def plain() -> None:
        with torch.inference_mode(), device.autocast("cpu", classifier.precision):
            classifier.model(x)

    def answer() -> None:
        classifier.read(case, prepared, Options())

    def new_roi() -> None:
        again = classifier.preparation.crop(corrected, moved.roi, onto=case.reference.geometry)
        classifier.read(moved, again, Options())

    for run in (plain, answer, new_roi):
        run()
    times = interleaved({"plain": plain, "answer": answer, "new ROI": new_roi}, repeats)
    middle = medians(times)
    detail = {"seconds": times, "precision": classifier.precision}
    ratio = middle["answer"] / middle["plain"]
    return [
        Measured("prepared tensors to result with rollout, against a plain pass", ratio, "x", 1.5, detail=detail),
        Measured("prepared ahead, new answer after the ROI moved", middle["new ROI"], "s", 1.0, detail=detail),
    ]


def startup(repeats: int) -> list[Measured]:
    """What a user waits before anything happens; torch must not be loaded for it."""
    times = processes.start_up(repeats)
    middle = medians(times)
    loaded = processes.loads_torch([]) + processes.loads_torch(["--help"])
    return [
        Measured("cadx --help", middle["help"], "s", 0.5, detail={"seconds": times}),
        Measured("import cadx, over the bare interpreter", middle["import"] - middle["bare"], "s", 0.2),
        Measured("of these two, those that load torch", loaded, "", 0),
    ]


def large_pair(bundle: Bundle, folder: Path, note: Note) -> Measured:
    """Peak memory of ``cadx classify``, pictures and scene included, on a pair of 512 x 512 x 160."""
    note("Making a pair of 512 x 512 x 160 ...")
    (folder / "large").mkdir()
    pair = phantom_pair(folder / "large", (LARGE, LARGE))
    roi = _write_roi(folder / "large", pair.roi)
    inputs = [f"--t1={pair.files['T1']}", f"--t2={pair.files['T2']}", f"--roi={roi}", f"--bundle={bundle.folder}"]
    note("Grading it ...")
    peak = processes.peak_bytes(["classify", *inputs, f"--out={folder / 'large' / 'out'}", "--device=cpu"])
    return Measured("peak memory, pair of 512 x 512 x 160", peak / 1e9, "GB", 3)


def long_batch(folder: Path, cases: int, note: Note) -> Measured:
    """How much a batch grows over its second half (libraries warm up in the first); the bundle is the demonstration."""
    from cadx.phantom import write_cohort

    table = write_cohort(folder / "cohort", 4, 1, workers=2)
    rows = list(csv.DictReader(table.open(encoding="utf-8")))
    with table.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, ["case", "t1", "t2", "roi"], extrasaction="ignore")
        writer.writeheader()
        writer.writerows({**rows[n % len(rows)], "case": f"case-{n:03d}"} for n in range(cases))
    out = folder / "batch"
    sizes = processes.resident_after_each(
        ["batch", f"--cases={table}", f"--out={out}", "--device=cpu", "--json"], out / "summary.csv", note
    )
    middle, end = (float(np.median(part[-10:])) for part in (sizes[: len(sizes) // 2], sizes))
    detail = {"mib": [round(size / 2**20) for size in sizes[:: max(1, len(sizes) // 20)]]}
    name = f"growth of a batch from case {cases // 2} to {cases}"
    return Measured(name, (end - middle) / 1e6, "MB", 50, detail=detail)


def _case(pair: Pair) -> Case:
    return Case({role: read_volume(str(file), role) for role, file in pair.files.items()}, pair.roi)


def _answer(pair: Pair, classifier: Classifier) -> None:
    """Files to result: logits, map on the grid, and the map on T1's voxels besides."""
    classifier.classify(_case(pair))


def _field_difference(file: Path, classifier: Classifier, answer: Answer, channel: str) -> float:
    """Mean relative difference inside the mask, both fields scaled to a mean of 1 there (N4 leaves the scale open)."""
    spec = classifier.preparation.spec.bias
    assert spec is not None
    volume = read_volume(str(file))
    field = bias.bias_field(volume.with_voxels(volume.voxels.astype(np.float32)), spec)
    ratio = (field / answer.fields[channel])[answer.masks[channel]]
    return float(np.abs(ratio / ratio.mean() - 1).mean())


def _write_roi(folder: Path, roi: Roi) -> Path:
    path = folder / "roi.mrk.json"
    path.write_text(json.dumps(roi.to_markups()), encoding="utf-8")
    return path
