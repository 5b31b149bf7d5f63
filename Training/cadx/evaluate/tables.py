"""The tables of a report: the papers' own, and those that any study has."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from cadx.evaluate import protocol
from cadx.evaluate.intervals import RESAMPLES, spread
from cadx.evaluate.metrics import TITLES
from cadx.evaluate.published import Published, Reference, our_metric, published
from cadx.evaluate.rundata import Fold, Model, Run
from cadx.evaluate.scored import Scored
from cadx.evaluate.table import Cell, Column, Row, Table

if TYPE_CHECKING:
    from cadx.study.spec import TableSpec

DIGITS = 3
PAPER_DIGITS = (2, 4)  # fewest and most decimals of our figure beside a printed one
OF_A_CLASS = "classification report:"
NOT_OURS = "not among this study's models"
NO_LABELS = "none"
NOT_PRINTED = "not in the paper"
DISCRIMINATION = ("accuracy", "balanced_accuracy", "precision", "f1", "auc", "average_precision", "top2")
RUN_KEY = "run"
PROBABILITIES = ("loss", "brier", "ece")
BY_FOLD = ("accuracy", "balanced_accuracy", "precision", "f1", "auc", "loss")
BY_CENTRE = ("accuracy", "balanced_accuracy", "auc")
BY_CLASS = ("precision", "recall", "specificity", "f1", "auc", "average_precision", "support")
CLASS_TITLES = {**TITLES, "recall": "Recall (sensitivity)", "specificity": "Specificity", "support": "Support"}


def paper_tables(run: Run, scored: dict[str, Scored]) -> list[Table]:
    """The study's declared tables in the papers' form, beside what was printed."""
    references = published(run.study.published)
    return [_PaperTable(run, scored, references, spec, number).build() for number, spec in enumerate(run.study.tables)]


class _PaperTable:
    """One declared table being made."""

    def __init__(
        self, run: Run, scored: dict[str, Scored], references: Published, spec: TableSpec, number: int
    ) -> None:
        self.run, self.scored, self.references, self.spec = run, scored, references, spec
        self.key = f"paper-{number + 1}"
        self.printed = spec.published if spec.published in references.tables else None
        self.of_class = _class_of(run, spec)

    def build(self) -> Table:
        metrics = self._metrics()
        columns = [column for metric in metrics for column in self._columns(metric)]
        rows = [self._row(row.model, row.published, metrics) for row in self.spec.rows]
        rows += [self._printed_only(name, metrics) for name in self._others()]
        return Table(self.key, self.spec.title, ("Model",), tuple(columns), tuple(rows), tuple(self._notes(metrics)))

    def _metrics(self) -> list[str]:
        """As declared; the paper's preset also prints macro F1 as the brain tumour paper seems to have averaged it."""
        metrics = list(self.spec.metrics)
        if self.run.study.preset == "paper" and "f1_macro" in metrics and "f1_by_batch" not in metrics:
            metrics.insert(metrics.index("f1_macro") + 1, "f1_by_batch")
        return metrics

    def _columns(self, metric: str) -> list[Column]:
        title = CLASS_TITLES.get(our_metric(metric) or "", metric)
        if not self._is_printed(metric):
            return [Column("this run", title)] if self.printed else [Column(title)]
        return [Column("this run", title), Column("paper", title)]

    def _is_printed(self, metric: str) -> bool:
        table = self.printed
        return bool(table) and any(
            self.references.find(str(table), name, metric) for name in self.references.models(str(table))
        )

    def _others(self) -> list[str]:
        ours = {row.published for row in self.spec.rows}
        return [name for name in self.references.models(self.printed) if name not in ours] if self.printed else []

    def _row(self, name: str, printed: str | None, metrics: Sequence[str]) -> Row:
        cells: list[Cell] = []
        for metric in metrics:
            reference = self.references.find(self.printed, printed, metric) if self.printed and printed else None
            cells.append(self._own(name, metric, reference))
            if self._is_printed(metric):
                cells.append(_reference_cell(reference))
        return Row((self.run.model(name).entry.title,), tuple(cells))

    def _printed_only(self, name: str, metrics: Sequence[str]) -> Row:
        cells: list[Cell] = []
        for metric in metrics:
            cells.append(Cell.empty(NOT_OURS))
            if self._is_printed(metric):
                cells.append(_reference_cell(self.references.find(str(self.printed), name, metric)))
        return Row((name,), tuple(cells))

    def _own(self, name: str, metric: str, reference: Reference | None) -> Cell:
        key = our_metric(metric)
        if key is None or (key == "support" and self.of_class is None):
            return Cell.empty(f"no metric of this program is called {metric}")
        if name not in self.scored:
            return Cell.empty(self.run.model(name).reason)
        scored = self.scored[name]
        if key == "support":
            support = scored.by_class[self.of_class or 0]["support"]
            return Cell(str(support), value=support)
        if self.of_class is not None and key not in BY_CLASS:
            return Cell.empty("not defined for a single class")
        return _spread_cell(scored.over_folds(key, self.of_class), _digits(reference or self._any_reference(metric)))

    def _any_reference(self, metric: str) -> Reference | None:
        """A figure of the column, or else of the table, for its digits."""
        printed = [one for one in self.references.references if one.table == self.printed]
        column = [one for one in printed if our_metric(one.metric) == our_metric(metric)]
        return next(iter(column + printed), None)

    def _notes(self, metrics: Sequence[str]) -> Iterable[str]:
        run = self.run
        if self.of_class is not None:
            yield f"Figures of the class {run.study.class_names[self.of_class]} alone."
        yield f"This run: {protocol.split_sentence(run)}"
        if self.printed:
            yield f"Paper: {'; '.join(self.references.protocols(self.printed))}."
        if run.study.published and self.spec.published and not self.printed:
            yield f"No figures were printed for {self.spec.published}."
        if not run.one_split:
            yield "Mean ± standard deviation over the test parts."
        for model in dict.fromkeys(row.model for row in self.spec.rows):
            sentence = unfinished_sentence(run, run.model(model))
            if sentence:
                yield sentence
        if "f1_by_batch" in metrics:
            batch = run.study.training.batch
            yield (
                f"F1, mean of batches: macro F1 of {batch} images at a time, averaged; F1 pools all predictions. "
                "The paper's F1 trails its accuracy as if averaged so."
            )
        for one in self.references.references if self.printed else ():
            if one.table == self.printed and one.note:
                yield f"Paper, {one.model}, {one.metric}: {one.note}."


def pooled_tables(run: Run, scored: Sequence[Scored]) -> list[Table]:
    """Metrics of all test predictions together, with intervals."""
    note = (
        f"Ranges: 95 % interval over {RESAMPLES} resamples of {protocol.groups_word(run)}, each drawn with all "
        "its predictions; it does not tell how much another training would differ."
    )
    notes = [_pooled_sentence(run), note, *_unfinished(run, scored)]
    top2 = len(run.study.classes) > 2
    first = [key for key in DISCRIMINATION if key != "top2" or top2]
    tables = [_pooled_table("pooled", "How good the grades are", run, scored, first, notes)]
    probabilities = _pooled_table(
        "probabilities", "How far the probabilities can be trusted", run, scored, PROBABILITIES, notes
    )
    if any(one.uncalibrated for one in scored):
        probabilities = _with_uncalibrated(probabilities, scored)
    return [*tables, probabilities]


def class_table(run: Run, scored: Sequence[Scored]) -> Table:
    """Precision, recall, F1 and support of each class, pooled."""
    rows = [
        Row((one.title, line["class"]), tuple(_class_cell(line, key) for key in BY_CLASS))
        for one in scored
        for line in one.by_class
    ]
    columns = tuple(Column(CLASS_TITLES[key]) for key in BY_CLASS)
    notes = (_pooled_sentence(run), "AUROC and average precision: the class against the rest.")
    return Table("classes", "Class by class", ("Model", "Class"), columns, tuple(rows), notes)


def confusion_tables(run: Run, scored: Sequence[Scored]) -> list[Table]:
    """One a model: truth by row, grade by column."""
    names = run.study.class_names
    columns = tuple(Column(name, "graded as") for name in names)
    tables = []
    for one in scored:
        rows = tuple(
            Row((name,), tuple(Cell(str(count), value=int(count)) for count in counts))
            for name, counts in zip(names, one.confusion, strict=True)
        )
        key, title = f"confusion-{one.model.entry.name}", f"Confusion matrix, {one.title}"
        tables.append(Table(key, title, ("Truth",), columns, rows, (_pooled_sentence(run),)))
    return tables


def fold_table(run: Run, scored: Sequence[Scored]) -> Table:
    """Each test part by itself."""
    names = {str(fold["name"]): _fold_title(run, fold) for fold in run.planned}
    rows = []
    for one in scored:
        for fold, scores in one.folds.items():
            cells = [_count_cell(_cases(one.model.tested, fold)), *(figure_cell(scores[key]) for key in BY_FOLD)]
            rows.append(Row((one.title, names.get(fold, fold)), tuple(cells)))
    columns = (Column("Cases"), *(Column(TITLES[key]) for key in BY_FOLD))
    return Table("folds", "Test part by test part", ("Model", "Test part"), columns, tuple(rows))


def centre_table(run: Run, scored: Sequence[Scored]) -> Table | None:
    """Pooled predictions by where the images come from; None where fewer than two places are known."""
    from cadx.evaluate import metrics

    if len(known_centres(run)) < 2:
        return None
    rows = []
    for one in scored:
        centres = run.centres(one.predictions.names)
        for centre in sorted(set(centres)):
            part = one.predictions.at(np.array(centres) == centre)
            scores = metrics.scores(part.truth, part.probabilities)
            cells = [_count_cell(len(part.truth)), *(figure_cell(scores[key]) for key in BY_CENTRE)]
            rows.append(Row((one.title, centre or "not known"), tuple(cells)))
    columns = (Column("Cases"), *(Column(TITLES[key]) for key in BY_CENTRE))
    return Table("centres", "Centre by centre", ("Model", "Centre"), columns, tuple(rows), (_pooled_sentence(run),))


def data_table(run: Run) -> Table:
    """Classes, the labels that mean them, how many images and patients."""
    centres = known_centres(run)
    shown = centres if 1 < len(centres) <= 8 else []
    rows = []
    for name in run.study.class_names:
        own = [row for row in run.samples.values() if row["class"] == name]
        seen = Counter(row.get("label") or "" for row in own)
        labels = ", ".join(f"{label or 'none'} ({count})" for label, count in sorted(seen.items())) or NO_LABELS
        counts = [len(own), len({row["group"] for row in own})]
        counts += [sum(row.get("centre") == centre for row in own) for centre in shown]
        share = len(own) / len(run.samples) if run.samples else None
        share_cell = figure_cell(share) if share is None else Cell(f"{share:.1%}", value=share)
        rows.append(Row((name,), (Cell(labels), share_cell, *map(_count_cell, counts))))
    columns = [Column("Labels in the table", words=True), Column("Share"), Column("Images or cases"), Column("Groups")]
    columns += [Column(centre, "from centre") for centre in shown]
    labels_of = (run.record.get("merged_labels") or {}).items()
    merged = [f"Merged into {name}: {', '.join(map(str, own))}." for name, own in labels_of if len(own) > 1]
    return Table("data", "Classes", ("Class",), tuple(columns), tuple(rows), (_groups_sentence(run), *merged))


def split_table(run: Run) -> Table:
    """How many images and patients each outer part holds, and how many of each class are tested."""
    names = run.study.class_names
    rows = []
    for fold in run.planned:
        test, training = list(fold.get("test") or []), list(fold.get("training") or [])
        classes = Counter(run.samples[name]["class"] for name in test if name in run.samples)
        sizes = [len(training), len(set(run.groups(training))), len(test), len(set(run.groups(test)))]
        both = len(set(run.groups(training)) & set(run.groups(test)))
        counts = [*sizes, *(classes[name] for name in names), both]
        rows.append(Row((_fold_title(run, fold),), tuple(map(_count_cell, counts))))
    columns = [
        Column("cases", "Training"),
        Column("groups", "Training"),
        Column("cases", "Test"),
        Column("groups", "Test"),
    ]
    columns += [Column(name, "Test, of class") for name in names]
    columns += [Column("Groups in both")]
    return Table(
        "split", "Training and test parts", ("Test part",), tuple(columns), tuple(rows), (_groups_sentence(run),)
    )


def selection_table(run: Run) -> Table:
    """What was chosen for each model, fold by fold, and how long it took."""
    rows = []
    for model in run.asked:
        if not model.folds:
            rows.append(Row((model.entry.title,), (Cell.empty(model.reason),) * 6))
            continue
        chosen = [fold for fold in model.folds if fold.chosen]
        value = _spread_cell([_chosen_value(fold) for fold in chosen], DIGITS)
        temperatures = [fold.selection.get("temperature") for fold in chosen]
        done = [fit.done.get("seconds") for fit in model.fits if fit.done]
        cells = (
            Cell(f"{len(model.tested)} of {len(run.planned)}"),
            Cell(", ".join(str(protocol.looked_at(run, fold)) for fold in chosen) or "none yet"),
            Cell(_settings_text(chosen)),
            value,
            Cell(", ".join("none" if t is None else f"{t:.2f}" for t in temperatures) or "none yet"),
            Cell(str(len(done))),
        )
        rows.append(Row((model.entry.title,), cells))
    metric = "loss" if run.study.selection.metric == "loss" else "balanced accuracy"
    where = "Test part" if run.study.split.inner.kind == "test" else "Inner validation"
    columns = (
        Column("Test parts"),
        Column(f"Chosen {protocol.unit(run)}", words=True),
        Column("Chosen settings", words=True),
        Column(f"{where}, {metric}"),
        Column("Temperature", words=True),
        Column("Trainings"),
    )
    notes = (protocol.selection_sentence(run), "In the order of the test parts.")
    return Table("selection", "What was chosen", ("Model",), columns, tuple(rows), notes)


def run_table(run: Run) -> Table:
    """Versions, seed, device, command, data."""
    record = run.record
    data = record.get("data") or {}
    device = record.get("device") or {}
    openings = protocol.openings(run)
    facts: list[tuple[str, Any]] = [
        ("Study", f"{run.study.name}, preset {run.study.preset}"),
        ("Command", " ".join(map(str, record.get("command") or []))),
        ("Data", f"{data.get('samples')} images or cases of {data.get('groups')} groups, layout {data.get('layout')}"),
        ("Data, SHA-256", data.get("sha256")),
        ("Study, SHA-256", record.get("study_sha256")),
        ("Seed", record.get("seed")),
        ("Device", " ".join(str(device[key]) for key in ("kind", "name") if device.get(key))),
        ("Precision, threads", f"{record.get('precision')}, {record.get('threads')}"),
        ("Versions", ", ".join(f"{name} {version}" for name, version in (record.get("versions") or {}).items())),
        ("Time in trainings", duration(_seconds(run))),
        ("Test parts opened", openings),
        *(("Note", note) for note in record.get("notes") or []),
    ]
    rows = tuple(Row((name,), (Cell(str(value)),)) for name, value in facts if value not in (None, ""))
    return Table(RUN_KEY, "Command, machine, data", ("What",), (Column("Value", words=True),), rows)


def known_centres(run: Run) -> list[str]:
    """Names of the places that images come from, sorted."""
    return sorted({row.get("centre") or "" for row in run.samples.values()} - {""})


def unfinished_sentence(run: Run, model: Model) -> str:
    """Which test parts of a model are missing; empty where none is."""
    done, planned = len(model.tested), len(run.planned)
    if not done or done == planned:
        return ""
    return f"{model.entry.title}: {done} of {planned} test parts, the others are not finished."


def duration(seconds: float) -> str:
    """Seconds for people.

    >>> duration(59), duration(3725)
    ('59 s', '1 h 02 min')
    """
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02} min"


def figure_cell(value: float | None, ends: tuple[float, float] | None = None) -> Cell:
    """A figure with the ends of its interval, where there is one; None: not defined."""
    if value is None:
        return Cell.empty("not defined for these predictions")
    if ends is None:
        return Cell(f"{value:.{DIGITS}f}", value=value)
    detail = f"{ends[0]:.{DIGITS}f}–{ends[1]:.{DIGITS}f}"
    return Cell(f"{value:.{DIGITS}f}", detail, value=value, low=ends[0], high=ends[1])


def _class_of(run: Run, spec: TableSpec) -> int | None:
    """The class that a table is about, as declared or as the printed report is called; None for other tables."""
    if spec.class_:
        return run.study.class_names.index(spec.class_)
    printed = spec.published or ""
    if not printed.casefold().startswith(OF_A_CLASS):
        return None
    wanted = _letters(printed[len(OF_A_CLASS) :])
    found = [i for i, one in enumerate(run.study.classes) if wanted in {_letters(word) for word in one.words}]
    return found[0] if found else None


def _letters(text: str) -> str:
    return re.sub(r"[\W_]", "", text.casefold())


def _digits(reference: Reference | None) -> int:
    low, high = PAPER_DIGITS
    return min(max(reference.digits, low), high) if reference else DIGITS


def _reference_cell(reference: Reference | None) -> Cell:
    if reference is None:
        return Cell.empty(NOT_PRINTED)
    return Cell(str(reference), value=reference.value, sd=reference.sd)


def _spread_cell(values: Sequence[float | None], digits: int) -> Cell:
    found = spread(values)
    if found is None:
        return Cell.empty("not defined for these predictions")
    if found.sd is None:
        return Cell(f"{found.mean:.{digits}f}", value=found.mean)
    return Cell(f"{found.mean:.{digits}f} ± {found.sd:.{digits}f}", value=found.mean, sd=found.sd)


def _count_cell(count: int) -> Cell:
    return Cell(str(count), value=count)


def _class_cell(line: dict[str, Any], key: str) -> Cell:
    return _count_cell(line[key]) if key == "support" else figure_cell(line[key])


def _pooled_table(
    key: str, title: str, run: Run, scored: Sequence[Scored], metrics: Sequence[str], notes: Sequence[str]
) -> Table:
    rows = [
        Row(
            (one.title,),
            (
                _count_cell(len(one.predictions.truth)),
                *(figure_cell(one.pooled[metric], one.intervals[metric]) for metric in metrics),
            ),
        )
        for one in scored
    ]
    rows += [
        Row((model.entry.title,), (Cell.empty(model.reason),) * (len(metrics) + 1))
        for model in run.asked
        if model.pooled is None
    ]
    columns = (Column("Cases"), *(Column(TITLES[metric]) for metric in metrics))
    return Table(key, title, ("Model",), columns, tuple(rows), tuple(notes))


def _with_uncalibrated(table: Table, scored: Sequence[Scored]) -> Table:
    """The same with the loss and calibration error that there would be without temperature scaling."""
    keys = ("loss", "ece")
    own = {one.title: one.uncalibrated for one in scored}
    rows = []
    for row in table.rows:
        before = own.get(row.labels[0])
        none = Cell.empty(row.cells[0].reason or "no temperature was fitted")
        more = [figure_cell(before[key]) for key in keys] if before else [none] * len(keys)
        rows.append(Row(row.labels, (*row.cells, *more)))
    columns = (*table.columns, *(Column(TITLES[key], "before temperature scaling") for key in keys))
    return Table(table.key, table.title, table.corner, columns, tuple(rows), table.notes)


def _unfinished(run: Run, scored: Sequence[Scored]) -> list[str]:
    return [sentence for one in scored if (sentence := unfinished_sentence(run, one.model))]


def _pooled_sentence(run: Run) -> str:
    if run.external:
        return "All predictions of the bundle on this cohort."
    if run.one_split:
        return "All predictions on the test part."
    return "Each was graded by a model that was not trained on it; the predictions of all test parts are pooled."


def _groups_sentence(run: Run) -> str:
    return f"Groups: {protocol.groups_word(run)}."


def _fold_title(run: Run, fold: dict[str, Any]) -> str:
    if run.study.split.kind == "centres":
        centres = sorted(set(run.centres(list(fold.get("test") or []))) - {""})
        if centres:
            return ", ".join(centres)
    return "test" if run.one_split else str(fold["name"])


def _cases(folds: Sequence[Fold], name: str) -> int:
    return sum(len(fold.predictions.truth) for fold in folds if fold.name == name and fold.predictions is not None)


def _chosen_value(fold: Fold) -> float | None:
    candidates, index = fold.selection.get("candidates") or [], fold.chosen.get("index")
    value = candidates[index].get("value") if isinstance(index, int) and index < len(candidates) else None
    return float(value) if isinstance(value, int | float) else None


def _settings_text(chosen: Sequence[Fold]) -> str:
    """Each settings chosen with how often, the most frequent first."""
    texts = [", ".join(f"{k} {v:g}" for k, v in (fold.chosen.get("settings") or {}).items()) for fold in chosen]
    counts = Counter(text for text in texts if text)
    return "; ".join(f"{text} ({count} times)" for text, count in counts.most_common()) or "as declared"


def _seconds(run: Run) -> float:
    found = [fit.done.get("seconds") for model in run.models for fit in model.fits]
    return float(sum(value for value in found if isinstance(value, int | float)))
