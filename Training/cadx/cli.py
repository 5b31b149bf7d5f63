"""The command line: ``cadx``, also ``python -m cadx``.

Exit codes: 0 done, 1 a fault of the program, 2 bad input, 3 missing dependency, 4 batch finished with failures,
5 refused, 130 cancelled.
"""

from __future__ import annotations

import json
import logging
import os
import re
import sys
from collections.abc import Callable, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cadx import DISCLAIMER, __version__
from cadx.bench.command import bench_app
from cadx.errors import CadxError, CancelledError, InputError, MissingDependencyError, RefusedError

if TYPE_CHECKING:
    from cadx.classify import Classifier, Options

app = typer.Typer(
    name="cadx",
    help=f"Computer-aided diagnosis in 3D Slicer, headless. {DISCLAIMER}",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
bundle_app = typer.Typer(no_args_is_help=True, help="Look at a model bundle, or check it.")
app.add_typer(bundle_app, name="bundle")
app.add_typer(bench_app, name="bench")

INSTALL = {
    "yaml": "PyYAML",
    "sklearn": "scikit-learn",
    "slicer": "slicer-core",
}
UNEXPECTED = 1
BATCH_FAILURES = 4
_given: list[str] = []


class DeviceName(StrEnum):
    """Where to run."""

    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"
    mps = "mps"


class PrecisionName(StrEnum):
    """In which arithmetic."""

    auto = "auto"
    fp32 = "fp32"
    bf16 = "bf16"


class WindowsName(StrEnum):
    """Which windows to grade."""

    central = "central"
    all = "all"


Out = Annotated[Path, typer.Option("--out", help="Folder to write to.")]
BundlePath = Annotated[Path | None, typer.Option("--bundle", help="Bundle folder; by default the demonstration.")]
DeviceOption = Annotated[DeviceName, typer.Option("--device", help="auto probes and falls back to the CPU.")]
PrecisionOption = Annotated[
    PrecisionName, typer.Option("--precision", help="auto takes bf16 only where it is faster and as exact.")
]
Start = Annotated[
    int | None, typer.Option("--start", help="First slice of the window, counted from the ROI's lowest (0).")
]
WindowsOption = Annotated[WindowsName, typer.Option("--windows", help="The central window, or all of them averaged.")]
Explain = Annotated[bool, typer.Option("--explain/--no-explain", help="Attention rollout laid over the volumes.")]
Register = Annotated[bool, typer.Option("--register", help="Register T2 to T1 rigidly first.")]
Pad = Annotated[bool, typer.Option("--pad", help="Repeat the last slice where the ROI holds too few.")]
Margin = Annotated[float, typer.Option("--roi-margin", help="Margin around a mask ROI, mm.")]
Resume = Annotated[bool, typer.Option("--resume", help="Keep cases done with this bundle and these options.")]
ModelOption = Annotated[list[str] | None, typer.Option("--model-option", help="key=value for timm, such as depth=6.")]
Preparation = Annotated[
    str, typer.Option("--preparation", help="recommended, paper, authors-code, or a JSON file of that form.")
]
Cache = Annotated[Path | None, typer.Option("--cache", help="Where prepared cases are kept; by default DATA/.cells.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show tracebacks.")]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code and prints errors as one sentence."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    _given[:] = arguments
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    try:
        code = int(app(arguments, prog_name="cadx", standalone_mode=False) or 0)
        # typer turns Ctrl-C into an exit code of its own
        return _complain("Cancelled.", code) if code == CancelledError.exit_code else code
    except typer.Exit as stop:
        return stop.exit_code
    except typer.Abort:
        return _complain("Cancelled.", CancelledError.exit_code)
    except KeyboardInterrupt:
        return _complain("Cancelled.", CancelledError.exit_code)
    except CadxError as error:
        if "--debug" in arguments:
            raise
        return _complain(str(error), error.exit_code)
    except ModuleNotFoundError as error:
        return _missing(error)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except MemoryError:
        return _complain("Memory ran out; use a smaller volume or close other programs.", InputError.exit_code)
    except typer.TyperException as error:
        return _complain(f"{error.format_message().rstrip('.')}; see cadx --help.", InputError.exit_code)
    except Exception as error:
        if "--debug" in arguments:
            raise
        sentence = _foreseen(error)
        if sentence:
            return _complain(sentence, InputError.exit_code)
        return _complain(
            f"An unexpected {type(error).__name__} stopped the command; run it again with --debug and report it.",
            UNEXPECTED,
        )


@app.callback(invoke_without_command=True)
def _root(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        print(f"cadx {__version__}")
        raise typer.Exit


@app.command()
def classify(
    t1: Annotated[str, typer.Option("--t1", help="NIfTI, NRRD, MHA or a DICOM folder (folder#2: 2nd series).")],
    t2: Annotated[str, typer.Option("--t2", help="T2 volume, likewise.")],
    roi: Annotated[str, typer.Option("--roi", help="Markups file, mask volume, or R,A,S,size,size,size in mm (RAS).")],
    out: Out,
    bundle: BundlePath = None,
    device: DeviceOption = DeviceName.auto,
    precision: PrecisionOption = PrecisionName.auto,
    start: Start = None,
    windows: WindowsOption = WindowsName.central,
    explain: Explain = True,
    register: Register = False,
    pad: Pad = False,
    roi_margin: Margin = 10.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print result.json instead of a summary.")] = False,
    debug: Debug = False,
) -> int:
    """Grade one patient: result.json, grid.png, attention.nii.gz, overview.png and scene.mrb in OUT."""
    from cadx import output
    from cadx.batch import Row, read_case
    from cadx.io.atomic import require_writable

    options = _options(start, windows, explain, register, pad)
    require_writable(out)
    output.require_apart(out, (t1, t2, roi))
    case = read_case(Row("case", t1, t2, roi), _note, roi_margin)
    classifier = _classifier(bundle, device, precision)
    try:
        reading = classifier.classify(case, options, progress=_stage, command=_command())
    except RefusedError as error:
        refused = classifier.refusal(case, error, options, _command())
        output.write_refusal(out, refused)
        print(json.dumps(refused.to_json(), indent=2) if as_json else refused.summary())
        return RefusedError.exit_code
    output.write_reading(out, case, reading, _note)
    print(json.dumps(reading.result.to_json(), indent=2) if as_json else reading.result.summary())
    if not as_json:
        print(f"Written to {out}")
    return 0


@app.command()
def batch(
    cases: Annotated[Path, typer.Option("--cases", help="CSV with columns case,t1,t2,roi; paths relative to it.")],
    out: Out,
    bundle: BundlePath = None,
    device: DeviceOption = DeviceName.auto,
    precision: PrecisionOption = PrecisionName.auto,
    start: Start = None,
    windows: WindowsOption = WindowsName.central,
    explain: Explain = True,
    register: Register = False,
    pad: Pad = False,
    roi_margin: Margin = 10.0,
    resume: Resume = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one result a line as JSON.")] = False,
    debug: Debug = False,
) -> int:
    """Grade every case of a table: a folder a case and summary.csv in OUT."""
    from cadx.batch import SUMMARY, read_cases, run_batch
    from cadx.io.atomic import require_writable

    rows = read_cases(cases)
    require_writable(out)
    if cases.resolve() == (out / SUMMARY).resolve():
        raise InputError(f"{cases.name} would be overwritten by the batch's own summary; give another --out.")
    failed = run_batch(
        rows,
        _classifier(bundle, device, precision),
        out,
        _options(start, windows, explain, register, pad),
        margin_mm=roi_margin,
        resume=resume,
        command=_command(),
        note=_note,
        progress=None if as_json else lambda done, total, text: print(f"{done} of {total}  {text}", flush=True),
        emit=(lambda document: print(json.dumps(document), flush=True)) if as_json else None,
    )
    if not as_json:
        print(f"{len(rows) - failed} of {len(rows)} cases read; {out / 'summary.csv'}. {DISCLAIMER}")
    return BATCH_FAILURES if failed else 0


@app.command()
def demo(
    out: Out = Path("demo-output"),
    seed: Annotated[int, typer.Option("--seed", min=0, help="Which phantom patient.")] = 1003,
    bundle: BundlePath = None,
    device: DeviceOption = DeviceName.auto,
    debug: Debug = False,
) -> None:
    """Make a synthetic patient, grade it and show where to look."""
    from cadx.demo import run_demo
    from cadx.library import shipped_bundle

    reading = run_demo(out, seed, bundle or shipped_bundle(), device.value, print, _command())
    print(reading.result.summary())
    print(f"Look at {out / 'overview.png'} and {out / 'grid.png'}; open {out / 'scene.mrb'} in 3D Slicer.")


@app.command()
def phantom(
    patients: Annotated[int, typer.Option("--patients", help="How many.")],
    out: Out,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Same seed, same patients.")] = 0,
    workers: Annotated[int, typer.Option("--workers", min=1, help="Processes.")] = 1,
    debug: Debug = False,
) -> None:
    """Make synthetic patients: T1, T2, masks, ROI and cases.csv."""
    from cadx.phantom import write_cohort

    table = write_cohort(out, patients, seed, workers=workers, progress=_counted("patients"))
    print(f"{patients} synthetic patients in {table}")


@app.command()
def train(
    study: Annotated[str, typer.Argument(help="What to train: ipmn.")],
    data: Annotated[Path, typer.Option("--data", help="Cohort folder with cases.csv (case,t1,t2,roi,label).")],
    out: Annotated[Path, typer.Option("--out", help="Bundle folder to make.")],
    test: Annotated[Path | None, typer.Option("--test", help="Unseen cohort for the card's figures.")] = None,
    name: Annotated[str | None, typer.Option("--name", help="Name of the bundle.")] = None,
    model: Annotated[str, typer.Option("--model", help="timm name.")] = "vit_tiny_patch16_224",
    model_option: ModelOption = None,
    preparation: Preparation = "recommended",
    epochs: Annotated[int, typer.Option("--epochs", min=1)] = 100,
    batch_size: Annotated[int, typer.Option("--batch", min=1)] = 32,
    learning_rate: Annotated[float, typer.Option("--learning-rate")] = 1e-4,
    d4: Annotated[bool, typer.Option("--d4/--no-d4", help="Quarter turns and flips.")] = True,
    affine: Annotated[float, typer.Option("--affine", min=0, help="Shifts, turns, scalings: 0 none.")] = 0.0,
    lesion_weight: Annotated[float, typer.Option("--lesion-weight", min=0, help="Loss on lesion masks.")] = 0.0,
    patience: Annotated[int, typer.Option("--patience", min=1, help="Epochs without a lower validation loss.")] = 30,
    seed: Annotated[int, typer.Option("--seed", min=0)] = 0,
    device: DeviceOption = DeviceName.auto,
    precision: PrecisionOption = PrecisionName.auto,
    workers: Annotated[int, typer.Option("--workers", min=1, help="Processes that prepare cases.")] = 1,
    cache: Cache = None,
    debug: Debug = False,
) -> None:
    """Train one model on one patient-level split and make a bundle."""
    from cadx.prepare.spec import read_preparation
    from cadx.study.recipe import Recipe
    from cadx.study.tasks import task
    from cadx.study.train import TrainingRun, run_training

    recipe = Recipe(
        epochs=epochs,
        batch=batch_size,
        learning_rate=learning_rate,
        patience=patience,
        d4=d4,
        affine=affine,
        lesion_weight=lesion_weight,
        seed=seed,
        precision=precision.value,
    )
    run = TrainingRun(
        task=task(study),
        data=data,
        out=out,
        name=name or _bundle_name(out),
        architecture=model,
        options=_model_options(model_option or []),
        preparation=read_preparation(preparation),
        recipe=recipe,
        test=test,
        device=device.value,
        workers=workers,
        cache=cache,
        command=_command(),
    )
    bundle, figures = run_training(run, lambda text: print(text, flush=True))
    for part, numbers in figures.items():
        print(f"{part}: accuracy {numbers['accuracy']:.3f}, AUC {numbers['auc']} on {numbers['cases']} cases")
    print(f"Bundle {bundle.settings.name} in {out}, sha256 {bundle.sha256}. {DISCLAIMER}")


@app.command()
def series(folder: Annotated[Path, typer.Argument(help="DICOM folder.")], debug: Debug = False) -> None:
    """List the DICOM series in a folder with their numbers and T1/T2 guesses."""
    from cadx.io.dicom import list_series

    if not folder.is_dir():
        raise InputError(f"There is no folder {folder.name}; check the path.")
    for one in list_series(folder):
        print(one)


@app.command()
def doctor() -> int:
    """Versions, device, memory, what is missing and the command that installs it."""
    from cadx.doctor import examine

    lines, complete = examine()
    print("\n".join(lines))
    return 0 if complete else MissingDependencyError.exit_code


@bundle_app.command("info")
def bundle_info(folder: Annotated[Path, typer.Argument(help="Bundle folder.")], debug: Debug = False) -> None:
    """Name, version, hash, classes, model and card of a bundle."""
    from cadx.models.bundle import Bundle

    bundle = Bundle.load(folder)
    settings = bundle.settings
    print(f"{settings.name} {bundle.version}, task {settings.task}, sha256 {bundle.sha256}")
    print(f"Classes: {', '.join(settings.classes)}")
    print(
        f"Model: {settings.model.architecture} {settings.model.options or ''} on {settings.model.image_pixels} pixels"
    )
    print(f"Preparation: {json.dumps(bundle.preparation.to_json())}")
    print()
    print(bundle.card)


@bundle_app.command("verify")
def bundle_verify(folder: Annotated[Path, typer.Argument(help="Bundle folder.")], debug: Debug = False) -> None:
    """Check every byte of a bundle against its manifest."""
    from cadx.models.bundle import Bundle

    print(f"{folder.name} is whole, sha256 {Bundle.load(folder).sha256}")


def _classifier(bundle: Path | None, device: DeviceName, precision: PrecisionName) -> Classifier:
    from cadx.classify import Classifier
    from cadx.library import shipped_bundle
    from cadx.models.bundle import Bundle

    classifier = Classifier(Bundle.load(bundle or shipped_bundle()), device.value, precision.value)
    _note(f"Device: {classifier.device.kind} ({classifier.device.reason}), {classifier.precision}")
    return classifier


def _options(start: int | None, windows: WindowsName, explain: bool, register: bool, pad: bool) -> Options:
    from cadx.classify import Options

    if start is not None and windows is WindowsName.all:
        raise InputError("--start chooses one window and --windows all takes every one; give one of the two.")
    return Options(start=start, windows=windows.value, explain=explain, register=register, pad=pad)


def _command() -> tuple[str, ...]:
    """The command as run, with folders left out: they may hold names of patients."""
    return ("cadx", *(_base_name(argument) for argument in _given))


def _base_name(argument: str) -> str:
    option, mark, value = argument.partition("=") if argument.startswith("--") else ("", "", argument)
    return option + mark + (re.split(r"[/\\]", value.rstrip("/\\"))[-1] or value)


def _bundle_name(out: Path) -> str:
    return re.sub(r"[^a-z0-9\-]+", "-", out.resolve().name.lower()).strip("-") or "bundle"


def _model_options(pairs: list[str]) -> dict[str, int | float | bool | str]:
    options: dict[str, int | float | bool | str] = {}
    for pair in pairs:
        key, mark, value = pair.partition("=")
        if not mark or not key.isidentifier():
            raise InputError(f"'{pair}' is no model option; write key=value, such as depth=6.")
        try:
            options[key] = json.loads(value)
        except ValueError:
            options[key] = value
    return options


def _note(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _stage(stage: str, fraction: float) -> None:
    if sys.stderr is not None and sys.stderr.isatty():
        end = "\n" if (stage, fraction) == ("classify", 1.0) else ""
        print(f"\r{stage:<30}{fraction:>5.0%}", end=end, file=sys.stderr)


def _counted(what: str) -> Callable[[int, int], None]:
    def show(done: int, total: int) -> None:
        if (sys.stderr is not None and sys.stderr.isatty()) or done == total or done % 50 == 0:
            print(f"\r{done} of {total} {what}", end="\n" if done == total else "", file=sys.stderr, flush=True)

    return show


def _missing(error: ModuleNotFoundError) -> int:
    module = (error.name or "").partition(".")[0]
    package = INSTALL.get(module, module)
    sentence = f"The package {package} is missing; install it with: python -m pip install {package}"
    return _complain(sentence, MissingDependencyError.exit_code)


def _foreseen(error: Exception) -> str:
    """A sentence for what the system or a typed setting complains of; empty for a fault of the program."""
    if isinstance(error, OSError) and error.strerror:
        name = Path(str(error.filename)).name[:80] if error.filename else "A file"
        return f"{name} cannot be used ({error.strerror}); check its path, permissions and space."
    from pydantic import ValidationError

    from cadx.prepare.spec import first_complaint

    return f"The setting {first_complaint(error)}" if isinstance(error, ValidationError) else ""


def _complain(sentence: str, code: int) -> int:
    """One line, whatever a file's name holds."""
    line = "".join(letter if letter.isprintable() else " " for letter in sentence)
    print(f"cadx: {line}", file=sys.stderr)
    return code
