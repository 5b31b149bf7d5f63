"""All checks of a run folder, whatever state it is in."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

from cadx.audit import choice, images, opening, shared, splits, tasks
from cadx.audit.files import BOOK, SHARED, WHOLE, Run
from cadx.audit.report import SHOWN, AuditReport, Check
from cadx.errors import InputError
from cadx.io.atomic import write_text

NEEDED = ("study.yaml", "samples.csv", "folds.json")
CHECKS: tuple[tuple[str, Callable[[Run], Check]], ...] = (
    ("protocol", splits.check_protocol),
    ("folds file", splits.check_folds_file),
    ("test parts", splits.check_test_parts),
    ("samples apart", splits.check_samples_apart),
    ("groups apart", splits.check_groups_apart),
    ("classes", splits.check_classes),
    ("identical images", images.check_identical),
    ("near-identical images", images.check_near_identical),
    ("task parts", tasks.check_task_parts),
    ("shared trainings", shared.check_shared),
    ("learnt values", tasks.check_learnt_from),
    ("class weights", tasks.check_class_weights),
    ("landmarks", tasks.check_landmarks),
    ("validation logs", tasks.check_logs),
    ("test part unseen", tasks.check_test_unseen),
    ("selection inputs", choice.check_inputs),
    ("selection", choice.check_selection),
    ("temperature", choice.check_temperature),
    ("final fit", tasks.check_final),
    ("opening", opening.check_opening),
    ("opened once", opening.check_opened_once),
    ("predictions", opening.check_predictions),
)


def audit_run(run: Path) -> AuditReport:
    """Check a run folder for leaks and write ``audit.json`` into it.

    Parameters
    ----------
    run
        Folder of the form ``cadx.run/1``, finished or not.

    Raises
    ------
    InputError
        If it is no run folder.
    """
    opened = Run(Path(run))
    missing = _missing(opened)
    if all(opened.has(name) for name in NEEDED):
        checks = [_made(name, check, opened) for name, check in CHECKS]
    else:
        checks = [Check(name, "not done", f"{missing[0]} is not there yet.") for name, _ in CHECKS]
    report = AuditReport((_whole(missing), *checks))
    write_text(opened.folder / "audit.json", json.dumps(report.to_json(), indent=1, ensure_ascii=False) + "\n")
    return report


def _made(name: str, check: Callable[[Run], Check], run: Run) -> Check:
    """A check; what cannot be read proves nothing and so fails."""
    try:
        return check(run)
    except InputError as error:
        return Check(name, "failed", str(error))
    except (AttributeError, IndexError, KeyError, TypeError, ValueError, OSError) as error:
        reason = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        return Check(name, "failed", f"The files are not of the form cadx.run/1 ({reason}).")


def _whole(missing: list[str]) -> Check:
    if not missing:
        return Check("whole run", "passed", "Every model and fold is finished.")
    count = "1 file is" if len(missing) == 1 else f"{len(missing)} files are"
    return Check("whole run", "not done", f"{count} not there yet: {missing[0]}.", tuple(missing[:SHOWN]))


def _missing(run: Run) -> list[str]:
    """What a finished run would have besides."""
    found = [name for name in (*NEEDED, "thumbnails.npy", "openings.jsonl") if not run.has(name)]
    if any(name in found for name in NEEDED):
        return found
    # a model with failed.json is an empty cell
    for model in (name for name in run.models if not run.has(name, "failed.json")):
        for fold in run.folds:
            names = ["selection.json", "predictions.csv", "opening.json"]
            names += [] if run.keeps_best else ["final/task.json", "final/done.json", "final/weights.safetensors"]
            for part in () if run.shared else fold.inner:
                for number in range(run.settings_count):
                    place = f"settings-{number}/{part.name}"
                    names += [f"{place}/{name}" for name in ("task.json", "validation.npy", "done.json")]
            found += [f"{model}/{fold.name}/{name}" for name in names if not run.has(model, fold.name, name)]
        found += [name for name in _pair_files(run, model) if run.shared and not run.has(name)]
        if (run.folder / model / WHOLE).is_dir() and not run.has(model, WHOLE, "selection.json"):
            found.append(f"{model}/{WHOLE}/selection.json")
    return found


def _pair_files(run: Run, model: str) -> Iterator[str]:
    for number in range(run.settings_count):
        for pair, folds in run.pairs.items():
            books = (f"{BOOK}{fold.name}.npy" for fold in folds)
            for name in ("task.json", *books, "done.json"):
                yield f"{model}/{SHARED}/settings-{number}/{pair}/{name}"
