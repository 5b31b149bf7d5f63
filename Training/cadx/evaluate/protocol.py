"""The study's protocol in sentences."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from cadx.evaluate.rundata import Fold, Run, lines

if TYPE_CHECKING:
    from cadx.study.spec import SplitSpec


def split_sentence(run: Run) -> str:
    """How cases fell into training and test parts."""
    if run.external:
        return "A trained bundle graded a cohort of its own, once; nothing was trained or chosen on it."
    split = run.study.split
    by = "by patient" if split.unit == "patient" else "by image"
    sentence = f"{_outer(split)}, {by}; {_inner(split)}."
    return sentence[:1].upper() + sentence[1:]


def selection_sentence(run: Run) -> str:
    """What chose epoch and settings, and what became of the weights."""
    if run.external:
        return ""
    study = run.study
    metric = "loss" if study.selection.metric == "loss" else "balanced accuracy"
    by = f"{unit(run).capitalize()} and settings were chosen by the inner validation {metric}"
    if study.split.inner.kind == "test":
        by = f"{unit(run).capitalize()} was chosen by the {metric} on the test part itself"
    if study.selection.final == "best":
        return f"{by}; the weights of the best look are kept."
    return f"{by}; then the model was trained anew on the whole training part."


def groups_word(run: Run) -> str:
    """What the groups of the table are, in the plural."""
    return "patients" if run.study.label_of == "patient" else "patients (single images where the patient is not known)"


def unit(run: Run) -> str:
    """What a training's length is counted in."""
    return "step" if run.study.training.steps else "epoch"


def length(run: Run, index: int) -> int:
    """Epochs or steps that were done at a round's look at the validation part.

    A round is a look every ``check_every`` epochs or steps.
    """
    training = run.study.training
    return min((index + 1) * training.check_every, training.steps or training.epochs)


def looked_at(run: Run, fold: Fold) -> int:
    """Epochs or steps that a fold's model was trained for."""
    return length(run, int(fold.chosen.get("round", 0)))


def openings(run: Run) -> str:
    """How often test parts were opened, from ``openings.jsonl``."""
    counts = Counter((one.get("model"), one.get("fold")) for one in lines(run.folder / "openings.jsonl"))
    if not counts:
        return "none yet"
    again = sum(count > 1 for count in counts.values())
    return f"{len(counts)}, each once" if not again else f"{len(counts)}, {again} of them more than once"


def _outer(split: SplitSpec) -> str:
    return {
        "folds": f"{split.folds}-fold cross-validation",
        "holdout": f"one random split with {split.test_share:.0%} for the test",
        "counts": "one random split with a fixed number of test images of each class",
        "column": f"the split of the table's column '{split.column}'",
        "centres": "each centre is the test part once",
    }[split.kind]


def _inner(split: SplitSpec) -> str:
    inner = split.inner
    if inner.kind == "test":
        return "the test part also chose the epoch"
    if inner.kind == "holdout":
        return f"the epoch was chosen on {inner.share:.0%} of the training part"
    if inner.folds is None:
        return "the other folds in turn chose the epoch (nested)"
    return f"{inner.folds} inner folds of the training part chose the epoch"
