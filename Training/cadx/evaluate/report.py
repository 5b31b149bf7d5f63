"""``cadx report``: tables, figures and one self-contained page, from what a run folder holds."""

from __future__ import annotations

import base64
import hashlib
import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cadx import DISCLAIMER
from cadx.evaluate import page, protocol, tables
from cadx.evaluate.audit_summary import audit_table
from cadx.evaluate.figures import Picture, draw_all
from cadx.evaluate.metrics import METRICS
from cadx.evaluate.rundata import Example, Model, Run, read_run
from cadx.evaluate.scored import Scored, score
from cadx.evaluate.table import Table, comma_separated, latex, markdown
from cadx.io.atomic import staged_folder

SCHEMA = "cadx.report/1"
# the first vouches for the rest
WRITTEN = ("report.html", "report.json", "tables.md", "tables.csv", "tables.tex", "figures")
EXAMPLES = 4  # shown of each model, method, and right or wrong
MAX_EXAMPLE_BYTES = 3_000_000
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Embedded:
    """A picture within the page. ``source`` is a data URI."""

    source: str
    title: str
    caption: str
    alt: str


@dataclass(frozen=True)
class Gallery:
    """Explanations of one model by one method."""

    title: str
    right: tuple[Embedded, ...]
    wrong: tuple[Embedded, ...]


@dataclass(frozen=True)
class Section:
    """A part of the page. ``files_only``: tables that the figures already show; they are in the files."""

    key: str
    title: str
    text: str = ""
    tables: tuple[Table, ...] = ()
    pictures: tuple[Picture, ...] = ()
    galleries: tuple[Gallery, ...] = ()
    files_only: tuple[Table, ...] = ()


def make_report(run: Path, note: Callable[[str], None] = log.info) -> Path:
    """Write tables (Markdown, CSV, LaTeX), figures, ``report.json`` and ``report.html`` into a run folder.

    It reads the run folder alone, trains nothing and opens no image. The same folder gives the same bytes. A run that
    is not finished gives a report of what there is.

    Parameters
    ----------
    run
        Folder of a run, ``cadx.run/1``.
    note
        Told, in a sentence each, what is missing.

    Returns
    -------
    Path
        The page, ``RUN/report.html``.

    Raises
    ------
    InputError
        If the folder holds no run, or it cannot be written.
    """
    found = read_run(run)
    for model in found.asked:
        sentence = tables.unfinished_sentence(found, model) or (model.reason and f"{model.entry.title}: {model.reason}")
        if sentence:
            note(sentence)
    scored = [score(found, model) for model in found.shown]
    with staged_folder(run, replaces=WRITTEN) as stage:
        pictures = draw_all(stage / "figures", found, scored)
        sections = _sections(found, scored, pictures)
        _write(stage, found, scored, sections)
    return run / WRITTEN[0]


def _write(stage: Path, run: Run, scored: Sequence[Scored], sections: Sequence[Section]) -> None:
    # how, where and how long is said on the page: the tables of the same run are the same, interrupted or not
    every = [t for section in sections for t in (*section.tables, *section.files_only) if t.key != tables.RUN_KEY]
    texts = {
        "tables.md": markdown(every, run.study.title, run.statements),
        "tables.csv": comma_separated(every, run.statements),
        "tables.tex": latex(every, run.study.title, run.statements),
        "report.html": _page(stage / "figures", run, sections),
        "report.json": json.dumps(_document(stage / "figures", run, scored, sections), indent=1, ensure_ascii=False)
        + "\n",
    }
    for name, text in texts.items():
        (stage / name).write_text(text, encoding="utf-8", newline="")


def _sections(run: Run, scored: Sequence[Scored], pictures: Sequence[Picture]) -> list[Section]:
    """In the order in which they are read; empty ones are left out."""

    def drawn(*kinds: str) -> tuple[Picture, ...]:
        return tuple(picture for kind in kinds for picture in pictures if picture.kind == kind)

    by_name = {one.model.entry.name: one for one in scored}
    centre = tables.centre_table(run, scored) if scored else None
    found = [
        Section("paper", _paper_title(run), tables=tuple(tables.paper_tables(run, by_name))),
        Section("pooled", "All test predictions", tables=tuple(tables.pooled_tables(run, scored))),
        Section(
            "classes",
            "Classes, one by one",
            tables=(tables.class_table(run, scored),) if scored else (),
            pictures=drawn("confusion", "roc"),
            files_only=tuple(tables.confusion_tables(run, scored)),
        ),
        Section("calibration", "Calibration", pictures=drawn("reliability")),
        Section(
            "training",
            "Training and choice",
            protocol.selection_sentence(run),
            () if run.external else (tables.selection_table(run),),
            drawn("losses", "validation-loss", "learning-rate", "range-test"),
        ),
        Section(
            "data",
            "Images and how they were split",
            protocol.split_sentence(run),
            (tables.data_table(run), *(() if run.external else (tables.split_table(run),))),
            drawn("classes", "centres", "split"),
        ),
        Section("explanations", "What the models looked at", _EXPLANATIONS, galleries=_galleries(run)),
        Section(
            "parts",
            "Part by part",
            tables=tuple(t for t in (_fold_table(run, scored), centre) if t),
        ),
        Section("audit", "Audit", tables=tuple(t for t in [audit_table(run.audit)] if t)),
        Section("run", "How it was run", tables=(tables.run_table(run),)),
    ]
    return [one for one in found if one.tables or one.pictures or one.galleries]


_EXPLANATIONS = (
    "Test cases graded right and graded wrong, beside a map of what the grade was drawn from. Such a map shows where a "
    "model looked; it does not show that a region caused the grade."
)


def _paper_title(run: Run) -> str:
    return "The paper's tables" if run.study.published else "The study's tables"


def _fold_table(run: Run, scored: Sequence[Scored]) -> Table | None:
    return tables.fold_table(run, scored) if scored and not run.one_split else None


def _galleries(run: Run) -> tuple[Gallery, ...]:
    return tuple(gallery for model in run.models for gallery in _galleries_of(model))


def _galleries_of(model: Model) -> list[Gallery]:
    listed = [one for fold in model.folds for one in fold.examples()]
    found = []
    for method in dict.fromkeys(one.method for one in listed):
        own = [one for one in listed if one.method == method]
        right, wrong = (_some([one for one in own if one.right is side]) for side in (True, False))
        if right or wrong:
            found.append(Gallery(", ".join(text for text in (model.entry.title, method) if text), right, wrong))
    return found


def _some(examples: Sequence[Example]) -> tuple[Embedded, ...]:
    """The first few, as many classes as can be."""
    seen: dict[str, int] = {}
    ranked = []
    for place, one in enumerate(examples):
        seen[one.truth] = seen.get(one.truth, 0) + 1
        ranked.append((seen[one.truth], place, one))
    chosen = [one for _, _, one in sorted(ranked, key=lambda item: item[:2])]
    small = [one for one in chosen if one.path.stat().st_size <= MAX_EXAMPLE_BYTES]
    return tuple(_embed_example(one) for one in small[:EXAMPLES])


def _embed_example(one: Example) -> Embedded:
    said = f"{one.truth}, graded right" if one.right else f"{one.truth}, graded as {one.predicted}"
    return Embedded(_data_uri(one.path), said, f"{said} ({one.fold})", f"{one.method}: {said}")


def _data_uri(path: Path) -> str:
    return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode("ascii")


def _page(figures: Path, run: Run, sections: Sequence[Section]) -> str:
    data = run.record.get("data") or {}
    return page.render(
        "report.html",
        study=run.study,
        sections=sections,
        sources={path.name: _data_uri(path) for path in sorted(figures.glob("*.png"))},
        models=[model.entry.title for model in run.asked],
        statements=run.statements,
        leaks=run.leaks,
        synthetic=run.synthetic,
        disclaimer=DISCLAIMER,
        counts=(len(run.samples) or data.get("samples"), len({r["group"] for r in run.samples.values()})),
        groups_word=protocol.groups_word(run),
        split=protocol.split_sentence(run),
        selection=protocol.selection_sentence(run),
        missing=[
            (model.entry.title, model.reason or f"{len(model.tested)} of {len(run.planned)} test parts")
            for model in run.asked
            if model.reason or len(model.tested) < len(run.planned)
        ],
        metrics=METRICS,
        study_text=(run.folder / "study.yaml").read_text(encoding="utf-8"),
    )


def _document(figures: Path, run: Run, scored: Sequence[Scored], sections: Sequence[Section]) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "disclaimer": DISCLAIMER,
        "statements": list(run.statements),
        "study": {"name": run.study.name, "preset": run.study.preset, "title": run.study.title},
        "synthetic": run.synthetic,
        "leaks": list(run.leaks),
        "caveat": run.study.caveat,
        "classes": list(run.study.class_names),
        "run": run.record,
        "models": {
            model.entry.name: {
                "title": model.entry.title,
                "missing_because": model.reason,
                "test_parts": [fold.name for fold in model.tested],
                "test_parts_planned": len(run.planned),
                "figures": next((one.to_json() for one in scored if one.model is model), None),
            }
            for model in run.models
        },
        "tables": [t.to_json() for section in sections for t in (*section.tables, *section.files_only)],
        "pictures": [
            {**asdict(picture), "sha256": hashlib.sha256((figures / picture.file).read_bytes()).hexdigest()}
            for section in sections
            for picture in section.pictures
        ],
    }
