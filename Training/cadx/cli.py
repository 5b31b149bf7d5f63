"""The command line: ``cadx``, also ``python -m cadx``.

Exit codes: 0 done, 1 a fault of the program, 2 bad input, 3 missing dependency, 4 batch finished with failures,
5 refused, 130 cancelled.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Callable, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cadx import DISCLAIMER, __version__, command_line
from cadx.audit.command import audit
from cadx.bench.command import bench_app
from cadx.command_line import (
    Debug,
    DeviceName,
    DeviceOption,
    Out,
    PrecisionName,
    PrecisionOption,
)
from cadx.command_line import command as _command
from cadx.command_line import note as _note
from cadx.errors import (
    FINISHED_WITH_FAILURES,
    CadxError,
    CancelledError,
    InputError,
    MissingDependencyError,
    RefusedError,
)
from cadx.picture_command import (
    ImageOption,
    PlaneOption,
    RuleOption,
    SliceOption,
    VolumeOption,
    asks_for_picture,
    picture_options,
    require_only,
)
from cadx.study import commands
from cadx.study.cohort_command import cohort_app

if TYPE_CHECKING:
    from cadx.classify import Classifier, Options
    from cadx.classify_picture import PictureClassifier
    from cadx.models.bundle import Bundle
    from cadx.result import Result

app = typer.Typer(
    name="cadx",
    help=f"Computer-aided diagnosis in 3D Slicer, headless. {DISCLAIMER}",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
bundle_app = typer.Typer(no_args_is_help=True, help="Look at a model bundle, check it, or make one of a checkpoint.")
app.add_typer(bundle_app, name="bundle")
app.add_typer(bench_app, name="bench")
app.add_typer(commands.study_app, name="study")
app.add_typer(cohort_app, name="cohort")

INSTALL = {
    "yaml": "PyYAML",
    "sklearn": "scikit-learn",
    "slicer": "slicer-core",
}
UNEXPECTED = 1
DEFAULT_MARGIN = 10.0


class WindowsName(StrEnum):
    """Which windows to grade."""

    central = "central"
    all = "all"


BundlePath = Annotated[
    Path | None,
    typer.Option("--bundle", help="Bundle folder; without, what ships: ipmn-phantom-demo, of images brain-tumor-type."),
]
Start = Annotated[
    int | None, typer.Option("--start", help="First slice of the window, counted from the ROI's lowest (0).")
]
WindowsOption = Annotated[WindowsName, typer.Option("--windows", help="The central window, or all of them averaged.")]
Explain = Annotated[bool, typer.Option("--explain/--no-explain", help="The bundle's map as an overlay.")]
Register = Annotated[bool, typer.Option("--register", help="Register T2 to T1 rigidly first.")]
Pad = Annotated[bool, typer.Option("--pad", help="Repeat the last slice where the ROI holds too few.")]
Margin = Annotated[float, typer.Option("--roi-margin", help="Margin around a mask ROI, mm.")]
Resume = Annotated[bool, typer.Option("--resume", help="Keep cases done with this bundle and these options.")]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code and prints errors as one sentence."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    command_line.given[:] = arguments
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
    out: Out,
    roi: Annotated[
        str, typer.Option("--roi", help="Markups file, mask volume, or R,A,S,size,size,size in mm (RAS).")
    ] = "",
    t1: Annotated[str, typer.Option("--t1", help="NIfTI, NRRD, MHA or a DICOM folder (folder#2: 2nd series).")] = "",
    t2: Annotated[str, typer.Option("--t2", help="T2 volume, likewise; a bundle may need one of the two alone.")] = "",
    image: ImageOption = "",
    volume: VolumeOption = "",
    slices: SliceOption = "",
    plane: PlaneOption = None,
    rule: RuleOption = None,
    bundle: BundlePath = None,
    device: DeviceOption = DeviceName.auto,
    precision: PrecisionOption = PrecisionName.auto,
    start: Start = None,
    windows: WindowsOption = WindowsName.central,
    explain: Explain = True,
    register: Register = False,
    pad: Pad = False,
    roi_margin: Margin = DEFAULT_MARGIN,
    as_json: Annotated[bool, typer.Option("--json", help="Print result.json instead of a summary.")] = False,
    debug: Debug = False,
) -> int:
    """Grade one patient: result.json, pictures, the map as NIfTI and, of T1 and T2, overview.png and scene.mrb in OUT.

    Either T1 and T2 with a ROI, or, with a 2-D bundle, --image, or slices of a --volume.
    """
    from cadx import output
    from cadx.batch import PictureRow, Row, read_case, read_picture_case
    from cadx.io.atomic import require_writable
    from cadx.library import PICTURES_DEFAULT

    form = {"--t1": t1, "--t2": t2, "--roi": roi, **_volume_settings(start, windows, register, pad, roi_margin)}
    ours = {"--image": image, "--volume": volume, "--slice": slices, "--plane": plane, "--rule": rule}
    if asks_for_picture(ours, form):
        row = PictureRow("case", image, volume, slices, plane or "")
        require_writable(out)
        output.require_apart(out, row.files)
        chosen = _bundle(bundle, PICTURES_DEFAULT)
        _ = chosen.pictures
        pictures = read_picture_case(row, _note)
        reader = _picture_classifier(chosen, device, precision)
        read = reader.classify(pictures, picture_options(rule, explain), progress=_stage, command=_command())
        output.write_reading(out, pictures, read, _note)
        _print_result(read.result, out, as_json)
        return 0
    options = _options(start, windows, explain, register, pad)
    require_writable(out)
    output.require_apart(out, (t1, t2, roi))
    chosen = _bundle(bundle)
    case = read_case(Row("case", t1, t2, roi), _note, roi_margin, chosen.volumes.channels)
    classifier = _classifier(chosen, device, precision)
    try:
        reading = classifier.classify(case, options, progress=_stage, command=_command())
    except RefusedError as error:
        refused = classifier.refusal(case, error, options, _command())
        output.write_refusal(out, refused)
        print(json.dumps(refused.to_json(), indent=2) if as_json else refused.summary())
        return RefusedError.exit_code
    output.write_reading(out, case, reading, _note)
    _print_result(reading.result, out, as_json)
    return 0


@app.command()
def batch(
    cases: Annotated[
        Path,
        typer.Option(
            "--cases",
            help="CSV: case,t1,t2,roi (as the bundle needs); for a 2-D bundle case,image or case,volume,slice,plane, "
            "or a folder of pictures and volumes.",
        ),
    ],
    out: Out,
    bundle: BundlePath = None,
    device: DeviceOption = DeviceName.auto,
    precision: PrecisionOption = PrecisionName.auto,
    start: Start = None,
    windows: WindowsOption = WindowsName.central,
    explain: Explain = True,
    register: Register = False,
    pad: Pad = False,
    roi_margin: Margin = DEFAULT_MARGIN,
    rule: RuleOption = None,
    resume: Resume = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one result a line as JSON.")] = False,
    debug: Debug = False,
) -> int:
    """Grade every case of a table or a folder: a folder a case and summary.csv in OUT."""
    from cadx.batch import read_cases, read_picture_cases, require_results_apart, run_batch
    from cadx.io.atomic import require_writable
    from cadx.library import PICTURES_DEFAULT
    from cadx.prepare.picture import PictureSpec

    # a folder can only hold pictures and slices
    chosen = _bundle(bundle, PICTURES_DEFAULT) if cases.is_dir() else _bundle(bundle)
    pictures = isinstance(chosen.preparation, PictureSpec)
    if pictures:
        require_only(_volume_settings(start, windows, register, pad, roi_margin), "pictures")
    else:
        require_only({"--rule": rule}, "volumes with a ROI")
    rows = read_picture_cases(cases) if pictures else read_cases(cases, chosen.volumes.channels)
    require_results_apart(cases, out, rows)
    require_writable(out)
    failed = run_batch(
        rows,
        (_picture_classifier if pictures else _classifier)(chosen, device, precision),
        out,
        picture_options(rule, explain) if pictures else _options(start, windows, explain, register, pad),
        margin_mm=roi_margin,
        resume=resume,
        command=_command(),
        note=_note,
        progress=None if as_json else lambda done, total, text: print(f"{done} of {total}  {text}", flush=True),
        emit=(lambda document: print(json.dumps(document), flush=True)) if as_json else None,
    )
    if not as_json:
        print(f"{len(rows) - failed} of {len(rows)} cases read; {out / 'summary.csv'}. {DISCLAIMER}")
    return FINISHED_WITH_FAILURES if failed else 0


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
    heads: Annotated[
        bool, typer.Option("--heads", help="Heads with a tumour or none: volumes and PNG slices.")
    ] = False,
    every_slice: Annotated[
        bool, typer.Option("--every-slice", help="Of --heads: every slice with its own label, not the best alone.")
    ] = False,
    debug: Debug = False,
) -> None:
    """Make synthetic patients: T1, T2, masks, ROI and cases.csv; or heads for 2-D bundles."""
    from cadx.phantom import write_cohort
    from cadx.phantom.head import write_heads

    if every_slice and not heads:
        raise InputError("--every-slice is for the slices of --heads; add --heads or leave it out.")
    if heads:
        print(f"{patients} synthetic heads in {write_heads(out, patients, seed, every_slice=every_slice)}")
        return
    table = write_cohort(out, patients, seed, workers=workers, progress=_counted("patients"))
    print(f"{patients} synthetic patients in {table}")


OWN = (
    commands.crossval,
    commands.train,
    commands.evaluate,
    commands.report,
    commands.localise,
    commands.compare,
    audit,
)
for _own in OWN:
    app.command()(_own)


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
    if settings.negative:
        print(f"Without a finding: {', '.join(settings.negative)}")
    edges = " x ".join([str(settings.model.image_pixels)] * settings.model.dimensions)
    print(f"Model: {settings.model.architecture} {settings.model.options or ''} on {edges} pixels")
    print(f"Preparation: {json.dumps(bundle.preparation.to_json())}")
    print()
    print(bundle.card)


@bundle_app.command("verify")
def bundle_verify(folder: Annotated[Path, typer.Argument(help="Bundle folder.")], debug: Debug = False) -> None:
    """Check every byte of a bundle against its manifest."""
    from cadx.models.bundle import Bundle

    print(f"{folder.name} is whole, sha256 {Bundle.load(folder).sha256}")


@bundle_app.command("import-cystx")
def bundle_import_cystx(
    checkpoint: Annotated[Path, typer.Argument(help="A classification checkpoint of Cyst-X (.pth, DenseNet-121).")],
    out: Annotated[Path, typer.Option("--out", help="Bundle folder to make.")],
    channel: Annotated[str | None, typer.Option("--channel", help="T1 or T2; by default as its folders say.")] = None,
    name: Annotated[str | None, typer.Option("--name", help="Name of the bundle.")] = None,
    debug: Debug = False,
) -> None:
    """Make a bundle of somebody else's Cyst-X checkpoint: T1 or T2 alone, the ROI as a 96-voxel cube."""
    from cadx.models.import_cystx import import_cystx

    bundle = import_cystx(checkpoint, out, channel.upper() if channel else None, name)
    settings = bundle.settings
    print(
        f"Bundle {settings.name} in {out}, {' and '.join(bundle.volumes.channels)}, classes "
        f"{', '.join(settings.classes)}, sha256 {bundle.sha256}. {DISCLAIMER}"
    )


def _bundle(folder: Path | None, shipped: str = "") -> Bundle:
    from cadx.library import IPMN_DEMO, shipped_bundle
    from cadx.models.bundle import Bundle

    return Bundle.load(folder or shipped_bundle(shipped or IPMN_DEMO))


def _classifier(bundle: Bundle, device: DeviceName, precision: PrecisionName) -> Classifier:
    from cadx.classify import Classifier

    classifier = Classifier(bundle, device.value, precision.value)
    _note(f"Device: {classifier.device.kind} ({classifier.device.reason}), {classifier.precision}")
    return classifier


def _picture_classifier(bundle: Bundle, device: DeviceName, precision: PrecisionName) -> PictureClassifier:
    from cadx.classify_picture import PictureClassifier

    classifier = PictureClassifier(bundle, device.value, precision.value)
    _note(f"Device: {classifier.device.kind} ({classifier.device.reason}), {classifier.precision}")
    return classifier


def _volume_settings(
    start: int | None, windows: WindowsName, register: bool, pad: bool, roi_margin: float
) -> dict[str, object]:
    """The options that go with T1 and T2 alone, each with whether it was given."""
    return {
        "--start": start is not None,
        "--windows": windows is WindowsName.all,
        "--register": register,
        "--pad": pad,
        "--roi-margin": roi_margin != DEFAULT_MARGIN,
    }


def _print_result(result: Result, out: Path, as_json: bool) -> None:
    print(json.dumps(result.to_json(), indent=2) if as_json else result.summary())
    if not as_json:
        print(f"Written to {out}")


def _options(start: int | None, windows: WindowsName, explain: bool, register: bool, pad: bool) -> Options:
    from cadx.classify import Options

    if start is not None and windows is WindowsName.all:
        raise InputError("--start chooses one window and --windows all takes every one; give one of the two.")
    return Options(start=start, windows=windows.value, explain=explain, register=register, pad=pad)


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
