"""``cadx study``, ``crossval``, ``train``, ``evaluate`` and ``report``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cadx import DISCLAIMER
from cadx.command_line import Debug, DeviceName, DeviceOption, Out, bundle_name, command, note
from cadx.errors import FINISHED_WITH_FAILURES, InputError

if TYPE_CHECKING:
    from cadx.study.progress import Reporter
    from cadx.study.spec import StudySpec
    from cadx.study.weights import Plan

study_app = typer.Typer(no_args_is_help=True, help="The studies that ship, and one of your own.")

StudyName = Annotated[str, typer.Argument(help="A name that cadx study list prints, or a YAML file.")]
Data = Annotated[Path, typer.Option("--data", help="Folder or table of the cohort; see cadx cohort check.")]
Preset = Annotated[str | None, typer.Option("--preset", help="One that cadx study list prints; recommended if none.")]
Set = Annotated[
    list[str] | None, typer.Option("--set", help="Change a field of the study, such as training.batch=16; repeatable.")
]
Weights = Annotated[
    str | None,
    typer.Option("--weights", help="Where transfer starts: none, timm (downloads), a file, or a folder of files."),
]
Epochs = Annotated[
    int | None, typer.Option("--epochs", min=1, help="Instead of the study's, or its steps; checked after each.")
]
Batch = Annotated[int | None, typer.Option("--batch", min=1, help="Instead of the study's.")]
Seed = Annotated[int | None, typer.Option("--seed", min=0, help="Instead of the study's.")]
Layout = Annotated[str, typer.Option("--layout", help="auto, table, cystx, figshare or folders.")]
Threads = Annotated[int | None, typer.Option("--threads", min=1, help="Of the CPU; other threads, other numbers.")]
Preparing = Annotated[int, typer.Option("--prepare-workers", min=1, help="Processes that prepare cases.")]
Cache = Annotated[Path | None, typer.Option("--cache", help="Where prepared cases are kept; by default DATA/.cells.")]
AsJson = Annotated[bool, typer.Option("--json", help="One event a line as JSON.")]


@study_app.command("list")
def study_list(debug: Debug = False) -> None:
    """Names, presets and titles of the studies that ship."""
    from cadx.study.presets import presets, read_study

    for name, own in presets().items():
        print(f"{name:<20} {read_study(name).title}\n{'':<20} presets: {', '.join(own)}")


@study_app.command("show")
def study_show(
    study: StudyName,
    preset: Preset = None,
    changes: Set = None,
    all_fields: Annotated[bool, typer.Option("--all", help="Every field, defaults written out.")] = False,
    debug: Debug = False,
) -> None:
    """Print a study as YAML."""
    from cadx.study.presets import dump, preset_text, read_study

    spec = read_study(study, preset, changes or ())
    plain = not (all_fields or changes or study.endswith((".yaml", ".yml")))
    print(preset_text(study, preset) if plain else dump(spec), end="")


@study_app.command("new")
def study_new(
    out: Annotated[Path, typer.Argument(help="YAML file to write.")],
    like: Annotated[str, typer.Option("--like", help="Study to copy.")] = "ipmn",
    preset: Preset = None,
    debug: Debug = False,
) -> None:
    """Copy a study into a file of your own, to be edited."""
    from cadx.study.presets import new_study

    new_study(out, like, preset)
    print(f"Written to {out}; edit it, then run: cadx crossval {out} --data DIR --out RUN")


def crossval(
    study: StudyName,
    data: Data,
    out: Out,
    preset: Preset = None,
    models: Annotated[
        list[str] | None, typer.Option("--models", help="Names from the study, or architectures; commas or repeated.")
    ] = None,
    weights: Weights = None,
    folds: Annotated[int | None, typer.Option("--folds", min=2, help="Outer folds, instead of the study's.")] = None,
    inner_folds: Annotated[int | None, typer.Option("--inner-folds", min=2, help="Inner folds, likewise.")] = None,
    epochs: Epochs = None,
    batch: Batch = None,
    changes: Set = None,
    seed: Seed = None,
    layout: Layout = "auto",
    device: DeviceOption = DeviceName.auto,
    threads: Threads = None,
    workers: Annotated[
        str,
        typer.Option(
            "--workers",
            help="Trainings at once: auto (one, or one a GPU), a number of processes, or ray; same numbers.",
        ),
    ] = "auto",
    ray_address: Annotated[
        str | None, typer.Option("--ray-address", help="HOST:PORT of a Ray cluster to join; without, one of its own.")
    ] = None,
    folds_at_once: Annotated[
        str | None,
        typer.Option(
            "--folds-at-once",
            help="Folds trained in one batch, on a GPU: a number, or auto (by its memory); their numbers are rounded "
            "otherwise than those of 1, the default.",
        ),
    ] = None,
    preparing: Preparing = 1,
    cache: Cache = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in OUT.")] = False,
    shared: Annotated[
        bool | None,
        typer.Option(
            "--shared/--no-shared",
            help="Train what two outer folds have in common once, to the same bits; by default where possible.",
        ),
    ] = None,
    refit: Annotated[bool, typer.Option("--refit/--no-refit", help="A bundle trained on all cases, too.")] = True,
    bundles: Annotated[bool, typer.Option("--bundles/--no-bundles", help="A bundle a fold.")] = True,
    checkpoint_every: Annotated[float, typer.Option("--checkpoint-every", min=0, help="Seconds.")] = 60.0,
    as_json: AsJson = False,
    debug: Debug = False,
) -> int:
    """Nested cross-validation of a study: tables, report and bundles in OUT; exit 4 where a model could not be run."""
    from cadx.evaluate.report import make_report
    from cadx.study.crossval import CrossvalRequest, cross_validate
    from cadx.study.executors.batched import at_once_of
    from cadx.study.executors.hiring import Workers
    from cadx.study.libraries import bring_in
    from cadx.study.workshop import WorkshopPlan

    spec = _study(study, preset, changes, epochs, batch, seed, folds, inner_folds)
    named = [name.strip() for given in models or () for name in given.split(",") if name.strip()]
    report = _reporter(as_json)
    workshop = WorkshopPlan(
        plan=_plan(spec, named, weights),
        data=data,
        layout=layout,
        cache=cache,
        preparing=preparing,
        device=device.value,
        threads=threads,
        checkpoint_every_s=checkpoint_every,
    )
    request = CrossvalRequest(
        workshop=workshop,
        out=out,
        named=bool(named),
        resume=resume,
        shared=shared,
        workers=Workers.of(workers, ray_address),
        folds_at_once=at_once_of(folds_at_once),
        refit=refit,
        bundles=bundles,
        command=command(),
    )
    bring_in()
    failed = cross_validate(request, report)
    page = make_report(out, note)
    report.event("report", f"Tables and figures in {page}. {DISCLAIMER}", report=str(page))
    return FINISHED_WITH_FAILURES if failed else 0


def train(
    study: StudyName,
    data: Data,
    out: Annotated[Path, typer.Option("--out", help="Bundle folder to make.")],
    base: Annotated[Path | None, typer.Option("--from", help="Bundle to go on from, on your own cases.")] = None,
    preset: Preset = None,
    model: Annotated[
        str | None, typer.Option("--model", help="Name from the study, or an architecture; the study's first if none.")
    ] = None,
    weights: Weights = None,
    test: Annotated[Path | None, typer.Option("--test", help="Unseen cohort for the card's figures.")] = None,
    name: Annotated[str | None, typer.Option("--name", help="Name of the bundle.")] = None,
    epochs: Epochs = None,
    batch: Batch = None,
    changes: Set = None,
    seed: Seed = None,
    layout: Layout = "auto",
    device: DeviceOption = DeviceName.auto,
    threads: Threads = None,
    preparing: Preparing = 1,
    cache: Cache = None,
    record: Annotated[
        Path | None, typer.Option("--record", help="Folder for curves and checkpoints; run again to go on from it.")
    ] = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Train one model on one patient-level split and make a bundle."""
    from cadx.models.bundle import Bundle
    from cadx.study.libraries import bring_in
    from cadx.study.train import TrainRequest, from_bundle, train_bundle

    spec = _study(study, preset, changes, epochs, batch, seed)
    if base is not None and (model or weights):
        raise InputError("--from takes network and weights from the bundle; leave --model and --weights out.")
    start = Bundle.load(base) if base else None
    plan = from_bundle(start, spec) if start else _plan(spec, [model or spec.models[0].name], weights)
    request = TrainRequest(
        plan=plan,
        data=data,
        out=out,
        name=name or bundle_name(out),
        test=test,
        record=record,
        layout=layout,
        device=device.value,
        threads=threads,
        workers=preparing,
        cache=cache,
        command=command(),
    )
    report = _reporter(as_json)
    bring_in()
    bundle, figures = train_bundle(request, report)
    for part, numbers in figures.items():
        area = "none" if numbers["auc"] is None else f"{numbers['auc']:.3f}"
        text = f"{part}: accuracy {numbers['accuracy']:.3f}, AUC {area} on {numbers['cases']} cases"
        report.event("figures", text, part=part, accuracy=numbers["accuracy"], auc=numbers["auc"])
    report.event(
        "bundle", f"Bundle {bundle.settings.name} in {out}, sha256 {bundle.sha256}. {DISCLAIMER}", sha256=bundle.sha256
    )


def evaluate(
    bundle: Annotated[Path, typer.Argument(help="Bundle folder.")],
    data: Data,
    out: Out,
    study: Annotated[str | None, typer.Option("--study", help="What labels mean; the bundle's task if none.")] = None,
    layout: Layout = "auto",
    device: DeviceOption = DeviceName.auto,
    threads: Threads = None,
    preparing: Preparing = 1,
    cache: Cache = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """External validation: a bundle on a cohort that it has never seen."""
    from cadx.evaluate.report import make_report
    from cadx.models.bundle import Bundle
    from cadx.study.external import EvaluateRequest, evaluate_bundle

    report = _reporter(as_json)
    request = EvaluateRequest(
        Bundle.load(bundle), data, out, study, layout, device.value, threads, preparing, cache, command()
    )
    evaluate_bundle(request, report)
    page = make_report(out, note)
    report.event("report", f"Tables and figures in {page}. {DISCLAIMER}", report=str(page))


def report(run: Annotated[Path, typer.Argument(help="Folder of a run.")], debug: Debug = False) -> None:
    """Make a run's tables, figures and report anew from its folder."""
    from cadx.evaluate.report import make_report

    print(f"Tables and figures in {make_report(run, note)}. {DISCLAIMER}")


def localise(
    run: Annotated[Path, typer.Argument(help="Folder of a finished cross-validation of pictures.")],
    data: Data,
    layout: Layout = "auto",
    device: DeviceOption = DeviceName.auto,
    threads: Threads = None,
    cache: Cache = None,
    explanation: Annotated[
        str | None,
        typer.Option("--map", help="Another map than the study's, as it would name it: '{method: grad-cam}'."),
    ] = None,
    file: Annotated[
        Path | None, typer.Option("--file", help="Where to write; by default localisation.json in the run.")
    ] = None,
    debug: Debug = False,
) -> None:
    """Measure how much of each test case's map lies inside its mask; written into the run as localisation.json."""
    from cadx.io.atomic import require_writable
    from cadx.study.libraries import bring_in
    from cadx.study.localisation import FILE, localise, named_map
    from cadx.study.runfolder import write_json
    from cadx.study.weights import Plan
    from cadx.study.workshop import WorkshopPlan

    if explanation is not None and file is None:
        raise InputError("--map needs --file: the run's own localisation.json is that of the study's map.")
    written = file or run / FILE
    require_writable(written.parent)
    bring_in()
    document = localise(
        run,
        lambda found: WorkshopPlan(
            Plan(found.study, tuple(model.entry.name for model in found.shown)),
            data,
            layout,
            cache,
            device=device.value,
            threads=threads,
        ),
        print,
        None if explanation is None else named_map(explanation),
    )
    write_json(written, document)
    print(f"Every case in {written}. {DISCLAIMER}")


def compare(
    runs: Annotated[list[Path], typer.Argument(help="Folders of two runs or more.")], out: Out, debug: Debug = False
) -> None:
    """Runs side by side, such as a paper's protocol and the leak-free one, with their difference."""
    from cadx.evaluate.comparison import make_comparison

    print(f"Tables in {make_comparison(runs, out)}. {DISCLAIMER}")


def _study(
    name: str,
    preset: str | None,
    changes: list[str] | None,
    epochs: int | None,
    batch: int | None,
    seed: int | None,
    folds: int | None = None,
    inner_folds: int | None = None,
) -> StudySpec:
    """The study with the short options laid over, and then --set."""
    from cadx.study.presets import read_study

    short = {
        "training.epochs": epochs,
        "training.batch": batch,
        "seed": seed,
        "split.folds": folds,
        "split.inner.folds": inner_folds,
    }
    given = [f"{field}={value}" for field, value in short.items() if value is not None]
    if epochs is not None:
        given.append("training.steps=null")
        given.append("training.check_every=1")
    study = read_study(name, preset, [*given, *(changes or ())])
    if folds is not None and study.split.kind != "folds":
        raise InputError(f"The study splits by {study.split.kind}, so --folds has nothing to do; leave it out.")
    if inner_folds is not None and study.split.inner.kind != "folds":
        raise InputError(
            f"The inner part is a {study.split.inner.kind}, so --inner-folds has nothing to do; leave it out."
        )
    return study


def _plan(spec: StudySpec, models: list[str], weights: str | None) -> Plan:
    from cadx.study.weights import plan

    return plan(spec, models or None, weights)


def _reporter(as_json: bool) -> Reporter:
    from cadx.study.progress import Reporter

    return Reporter(lambda text: print(text, flush=True), as_json)
