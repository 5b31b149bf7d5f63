"""Image studies: pictures a second into the network, and trained, against torchvision's transforms in a DataLoader."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cadx.bench import plain_loop
from cadx.bench.apart import Apart
from cadx.bench.report import Measured
from cadx.bench.setting import Setting
from cadx.bench.timing import Times, interleaved, medians
from cadx.models.build import ModelSpec, build
from cadx.study import trainer
from cadx.study.pictures import load_pictures
from cadx.study.samples import PictureSamples
from cadx.study.spec import AugmentationSpec, TrainingSpec

if TYPE_CHECKING:
    from torch import nn

AIM = 2.0
NETWORKS = ("efficientnet_lite0", "resnet18")
BATCH = 32
# on a GPU the transforms run beside it; on a CPU they take turns with it, and the faster of both counts
WORKERS = (0, 2)
EVERYTHING = AugmentationSpec(
    flip_horizontal=0.5, rotation_degrees=15, shear_degrees=5, zoom=0.1, shift=0.05, warp=0.1, light=0.1
)


@dataclass(frozen=True, eq=False)
class Material:
    """PNG files and the same pictures as the package keeps them; ``decoding`` seconds were needed for that, once."""

    files: list[Path]
    labels: list[int]
    samples: PictureSamples
    decoding: float

    @property
    def pixels(self) -> int:
        """Edge of what the network takes."""
        return self.samples.spec.pixels


def pictures(setting: Setting) -> list[Measured]:
    """The input side alone, then training with both networks."""
    made = _material(setting)
    loaders = {_side(workers): _loader(made.files, made.labels, made.pixels, workers) for workers in WORKERS}
    rows = [_input_side(setting, made, loaders)]
    for name in ("test_resnet",) if setting.tiny else NETWORKS:
        rows.append(_training(setting, made, name))
    return rows


def _material(setting: Setting) -> Material:
    import torch

    from cadx.prepare.picture import PictureSpec

    count, edge, pixels = (12, 48, 32) if setting.tiny else (128, 512, 224)
    folder = setting.scratch / "pictures"
    files = write_pictures(folder, count, edge)
    spec = PictureSpec(pixels=pixels).normalised("imagenet")
    start = time.perf_counter()
    found = load_pictures([str(file) for file in files], spec, folder / "cache")
    decoding = time.perf_counter() - start
    labels = [number % 3 for number in range(count)]
    kept = torch.from_numpy(np.ascontiguousarray(found.pixels))
    samples = PictureSamples(tuple(file.name for file in files), torch.tensor(labels), kept, spec)
    return Material(files, labels, samples, decoding)


def write_pictures(folder: Path, count: int, edge: int) -> list[Path]:
    """Slices of phantom heads, enlarged and with noise in every pixel, as grey PNG files."""
    from PIL import Image

    from cadx.phantom.head import make_head

    folder.mkdir()
    rng = np.random.default_rng(0)
    files = []
    head = make_head(0, 0).volume.voxels
    for number in range(count):
        if number % len(head) == 0:
            head = make_head(0, number // len(head)).volume.voxels
        plane = Image.fromarray(head[number % len(head)].astype(np.float32)).resize((edge, edge))
        values = np.asarray(plane) / 5 + rng.normal(0, 3, (edge, edge))
        files.append(folder / f"{number:03d}.png")
        Image.fromarray(values.clip(0, 255).astype(np.uint8)).save(files[-1])
    return files


def _side(workers: int) -> str:
    return f"straightforward, {workers} workers"


def _loader(files: list[Path], labels: list[int], pixels: int, workers: int) -> Any:
    batch = min(BATCH, len(files) // 2)
    return plain_loop.picture_loader(files, labels, batch, pixels, EVERYTHING, workers=workers)


def _input_side(setting: Setting, made: Material, loaders: dict[str, Any]) -> Measured:
    import torch

    generator = torch.Generator().manual_seed(0)
    order = torch.arange(len(made.files)).split(BATCH)

    def ours() -> None:
        for chosen in order:
            batch = made.samples.batch(chosen, EVERYTHING, generator)
            batch.to(setting.where.torch, memory_format=torch.channels_last)
        setting.finished()

    def theirs(loader: Any) -> Callable[[], None]:
        def run() -> None:
            for batch in loader:
                batch["image"].to(setting.where.torch)
            setting.finished()

        return run

    sides: dict[str, Callable[[], None]] = {name: theirs(loader) for name, loader in loaders.items()}
    times = _warm({**sides, "cadx": ours}, setting)
    detail = {**_speeds(times, len(made.files)), "decoded and resized once, s": made.decoding}
    return Measured("pictures into the network, times torchvision's DataLoader", _ratio(times), "x", AIM, True, detail)


def _training(setting: Setting, made: Material, name: str) -> Measured:
    given = (setting.quiet, name, made.files, made.labels, made.pixels)
    ours = _Ours(setting, made, _network(name, made.pixels))
    with ExitStack() as stack:
        plain = {_side(workers): stack.enter_context(Apart(_Plain, *given, workers)) for workers in WORKERS}
        times = _warm({**plain, "cadx": ours}, setting)
    detail = {**_speeds(times, len(made.files)), "precision": ours.precision, "batch": BATCH}
    title = f"{name} trained on pictures, times the straightforward loop"
    return Measured(title, _ratio(times), "x", detail=detail)


def _network(name: str, pixels: int) -> nn.Module:
    import torch

    torch.manual_seed(0)
    return build(ModelSpec(architecture=name, channels=3, classes=3, image_pixels=pixels))


class _Plain:
    """An epoch of the straightforward loop."""

    def __init__(
        self, setting: Setting, name: str, files: list[Path], labels: list[int], pixels: int, workers: int
    ) -> None:
        import torch

        self._setting, self._loader = setting, _loader(files, labels, pixels, workers)
        self._model = _network(name, pixels).to(setting.where.torch)
        self._optimiser = torch.optim.Adam(self._model.parameters(), lr=1e-3)

    def __call__(self) -> None:
        plain_loop.train_epoch(self._model, self._loader, self._optimiser, self._setting.where)
        self._setting.finished()


class _Ours:
    """A round of the package's training, without validation part."""

    def __init__(self, setting: Setting, made: Material, model: nn.Module) -> None:
        training = TrainingSpec(batch=min(BATCH, len(made.files) // 2))
        self._setting, self._model, self._samples = setting, model, made.samples
        self._fit = trainer.Fit(training, EVERYTHING, rounds=1, seed=0, keep="nothing")
        self.precision = trainer.training_precision(training.precision, setting.where, model)

    def __call__(self) -> None:
        folder = self._setting.scratch / "round"
        folder.mkdir()
        trainer.train(folder, self._model, self._samples, None, self._fit, where=self._setting.where)
        self._setting.finished()
        shutil.rmtree(folder)


def _warm(sides: dict[str, Callable[[], None]], setting: Setting) -> Times:
    for side in sides.values():
        side()  # workers started, kernels chosen
    return interleaved(sides, setting.repeats, note=setting.note)


def _ratio(times: Times) -> float:
    """Against the faster of the loaders."""
    middle = medians(times)
    return min(seconds for name, seconds in middle.items() if name != "cadx") / middle["cadx"]


def _speeds(times: Times, count: int) -> dict[str, Any]:
    return {"seconds": times, "samples a second": {name: count / seconds for name, seconds in medians(times).items()}}
