"""The images of a cohort at working size, and the parts that a training or an evaluation is handed.

Everything that learns from data learns here, from the indices of a training part.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from cadx.models.build import ModelSpec
from cadx.models.registry import dimensions_of
from cadx.prepare import cube
from cadx.prepare.intensity import learn_landmarks
from cadx.prepare.picture import IMAGENET_MEAN, IMAGENET_STD, PictureSpec
from cadx.prepare.pipeline import Preparation
from cadx.prepare.spec import PreparationSpec, StandardiseSpec
from cadx.study.cells import PreparedSample, lesion_cells, prepare_all, thumbnails
from cadx.study.cohort import Cohort
from cadx.study.layouts.reading import read_any_mask
from cadx.study.pictures import PictureSet, load_pictures
from cadx.study.samples import Images, PictureSamples, VolumeSamples
from cadx.study.spec import ModelEntry, PictureInput, StudySpec, VolumesInput

if TYPE_CHECKING:
    from torch import Tensor

Indices = NDArray[np.intp]
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Learnt:
    """What was learnt from a training part (``of``: the names of its samples)."""

    of: tuple[str, ...]
    landmarks: StandardiseSpec | None = None
    class_weights: list[float] | None = None


class Source(Protocol):
    """Prepared images of a cohort."""

    def sha256(self, entry: ModelEntry | None = None) -> list[str]:
        """Hash of each sample's content: all of it, or what a model sees of it."""
        ...

    def thumbnails(self) -> NDArray[np.uint8]:
        """(N, V, 32, 32), one view a channel."""
        ...

    def learn(self, entry: ModelEntry, training: Indices) -> Learnt:
        """What the model's inputs need to have learnt from a training part."""
        ...

    def samples(self, entry: ModelEntry, chosen: Indices, learnt: Learnt, lesions: bool = False) -> Images:
        """The chosen samples and no others, as the model takes them."""
        ...

    def preparation(self, entry: ModelEntry, learnt: Learnt) -> PreparationSpec | PictureSpec:
        """What a bundle needs to prepare a new case in the same way."""
        ...

    def model(self, entry: ModelEntry) -> ModelSpec:
        """The network that takes these inputs."""
        ...


def open_source(
    study: StudySpec,
    cohort: Cohort,
    labels: NDArray[np.integer],
    cache: Path,
    *,
    workers: int = 1,
    progress: Progress | None = None,
) -> Source:
    """Prepare a cohort, or find it prepared in ``cache``.

    Raises
    ------
    InputError
        If an image cannot be read or prepared.
    """
    report = progress or (lambda stage, done, total: None)
    if isinstance(study.input, PictureInput):
        return _Pictures(study, study.input, cohort, labels, cache, workers, report)
    return _Volumes(study, study.input, cohort, labels, cache, workers, report)


def class_weights(study: StudySpec, labels: NDArray[np.integer]) -> list[float] | None:
    """Weights of the classes in the loss: those of the study, or "balanced", n / (k n_c), of a training part.

    >>> from cadx.study.presets import read_study
    >>> study = read_study("chest-xray", changes=["training.class_weights=balanced"])
    >>> class_weights(study, np.array([0, 1, 1, 2, 2, 2]))
    [2.0, 1.0, 0.666667]
    """
    wanted = study.training.class_weights
    if wanted == "none":
        return None
    if wanted != "balanced":
        return list(wanted)
    counts = np.bincount(labels, minlength=len(study.classes))
    return [round(len(labels) / (len(counts) * max(1, int(n))), 6) for n in counts]


class _Volumes:
    """Raw cells on disk; finished with the landmarks of one training part at a time."""

    def __init__(
        self,
        study: StudySpec,
        given: VolumesInput,
        cohort: Cohort,
        labels: NDArray[np.integer],
        cache: Path,
        workers: int,
        progress: Progress,
    ) -> None:
        self._study, self._input, self._cohort = study, given, cohort
        self._labels, self._cache, self._workers, self._progress = labels, cache, workers, progress
        self._prepared: dict[tuple[str, ...], list[PreparedSample]] = {}
        self._finished: tuple[Any, Tensor, Tensor] | None = None

    def sha256(self, entry: ModelEntry | None = None) -> list[str]:
        channels = self._channels(entry) if entry else self._input.preparation.channels
        return [one.sha256 for one in self._of(channels)]

    def thumbnails(self) -> NDArray[np.uint8]:
        spec = self._input.preparation
        return np.stack([thumbnails(one, spec) for one in self._of(spec.channels)])

    def learn(self, entry: ModelEntry, training: Indices) -> Learnt:
        landmarks = self._input.preparation.standardise
        if self._input.landmarks == "nyul":
            channels = self._channels(entry)
            prepared = self._of(channels)
            landmarks = learn_landmarks((prepared[i].raw for i in training), channels)
        return Learnt(self._names(training), landmarks, class_weights(self._study, self._labels[training]))

    def samples(self, entry: ModelEntry, chosen: Indices, learnt: Learnt, lesions: bool = False) -> VolumeSamples:
        import torch

        cells, slices = self._tensor(self._channels(entry), learnt.landmarks)
        rows = torch.from_numpy(np.asarray(chosen, dtype=np.int64))
        spec = self._input.preparation
        masks = self._lesions(self._channels(entry), chosen) if lesions else None
        return VolumeSamples(
            self._names(chosen),
            torch.from_numpy(self._labels[chosen].astype(np.int64)),
            cells[rows],
            slices[rows],
            0 if spec.crop else spec.grid.slices,
            masks,
        )

    def preparation(self, entry: ModelEntry, learnt: Learnt) -> PreparationSpec:
        return self._spec(self._channels(entry)).model_copy(update={"standardise": learnt.landmarks})

    def model(self, entry: ModelEntry) -> ModelSpec:
        channels, *space = self._spec(self._channels(entry)).shape
        return _model(entry, channels, len(self._study.classes), space[-1])

    def _channels(self, entry: ModelEntry) -> tuple[str, ...]:
        return entry.channels or self._input.preparation.channels

    def _names(self, chosen: Indices) -> tuple[str, ...]:
        return tuple(self._cohort.samples[i].name for i in chosen)

    def _spec(self, channels: tuple[str, ...]) -> PreparationSpec:
        return self._input.preparation.model_copy(update={"channels": channels})

    def _of(self, channels: tuple[str, ...]) -> list[PreparedSample]:
        """A model of T2 alone sees T2's own slices, so each choice of channels is prepared by itself."""
        if channels not in self._prepared:
            stage = f"preparing {' and '.join(channels)}"
            self._prepared[channels] = prepare_all(
                self._cohort.samples,
                self._spec(channels),
                self._cache,
                workers=self._workers,
                pad=True,
                progress=lambda done, total: self._progress(stage, done, total),
            )
        return self._prepared[channels]

    def _tensor(self, channels: tuple[str, ...], landmarks: StandardiseSpec | None) -> tuple[Tensor, Tensor]:
        """All cells (N, C, S, m, m) fp16 and slices (N,), finished with the landmarks; the last ones are kept."""
        key = (channels, None if landmarks is None else landmarks.model_dump_json())
        if self._finished is None or self._finished[0] != key:
            self._finished = None
            preparation = Preparation(self._spec(channels).model_copy(update={"standardise": landmarks}))
            cells = [self._fed(preparation.cells(one.raw)).astype(np.float16) for one in self._of(channels)]
            self._finished = (key, *_stacked(cells))
        return self._finished[1:]

    def _fed(self, cells: NDArray[np.float32]) -> NDArray[np.float32]:
        """Cubes as the network's axes run; cells as they are."""
        crop = self._input.preparation.crop
        return cells if crop is None else np.ascontiguousarray(cube.turned(cells, crop))

    def _lesions(self, channels: tuple[str, ...], chosen: Indices) -> Tensor | None:
        samples = [self._cohort.samples[i] for i in chosen]
        if not all(one.lesion for one in samples):
            return None
        masks = [lesion_cells(one, self._spec(channels)) for one in samples]
        return _stacked([mask[None] for mask in masks])[0][:, 0]


class _Pictures:
    """Pictures decoded and resized once, memory-mapped."""

    def __init__(
        self,
        study: StudySpec,
        given: PictureInput,
        cohort: Cohort,
        labels: NDArray[np.integer],
        cache: Path,
        workers: int,
        progress: Progress,
    ) -> None:
        self._study, self._input, self._cohort = study, given, cohort
        self._labels, self._cache, self._workers, self._progress = labels, cache, workers, progress

    @cached_property
    def _set(self) -> PictureSet:
        return load_pictures(
            [one.images["image"] for one in self._cohort.samples],
            self._input.picture,
            self._cache,
            workers=self._workers,
            progress=lambda done, total: self._progress("reading pictures", done, total),
        )

    def sha256(self, entry: ModelEntry | None = None) -> list[str]:
        return list(self._set.sha256)

    def thumbnails(self) -> NDArray[np.uint8]:
        return self._set.thumbnails

    def learn(self, entry: ModelEntry, training: Indices) -> Learnt:
        names = tuple(self._cohort.samples[i].name for i in training)
        return Learnt(names, None, class_weights(self._study, self._labels[training]))

    def samples(self, entry: ModelEntry, chosen: Indices, learnt: Learnt, lesions: bool = False) -> PictureSamples:
        import torch

        spec = self.preparation(entry, learnt)
        return PictureSamples(
            tuple(self._cohort.samples[i].name for i in chosen),
            torch.from_numpy(self._labels[chosen].astype(np.int64)),
            torch.from_numpy(np.ascontiguousarray(self._set.pixels[np.asarray(chosen)])),
            spec,
            self._lesions(chosen) if lesions else None,
        )

    def _lesions(self, chosen: Indices) -> Tensor | None:
        """(N, P, P) uint8 masks resized as their pictures are; None where one of them is missing."""
        import torch

        files = [one.lesion for one in self._cohort.samples]
        if not all(files[i] for i in chosen):
            return None
        known = [i for i, file in enumerate(files) if file]
        masks = load_pictures(
            [files[i] for i in known],
            self._input.picture.model_copy(update={"channels": 1}),
            self._cache,
            workers=self._workers,
            progress=lambda done, total: self._progress("reading lesion masks", done, total),
            read=read_any_mask,
        )
        rows = np.searchsorted(known, np.asarray(chosen))
        return torch.from_numpy((masks.pixels[rows, 0] > 127).astype(np.uint8))

    def preparation(self, entry: ModelEntry, learnt: Learnt) -> PictureSpec:
        spec = self._input.picture
        if entry.normalise == "unit":
            return spec
        colours = slice(None) if spec.channels == 3 else slice(1, 2)
        return spec.model_copy(update={"mean": IMAGENET_MEAN[colours], "std": IMAGENET_STD[colours]})

    def model(self, entry: ModelEntry) -> ModelSpec:
        spec = self._input.picture
        return _model(entry, spec.channels, len(self._study.classes), spec.pixels)


def _model(entry: ModelEntry, channels: int, classes: int, pixels: int) -> ModelSpec:
    return ModelSpec(
        architecture=entry.architecture,
        channels=channels,
        classes=classes,
        image_pixels=pixels,
        options=entry.options,
        fusion=entry.fusion,
        dimensions=dimensions_of(entry.architecture),
    )


def _stacked(arrays: Sequence[NDArray[Any]]) -> tuple[Tensor, Tensor]:
    """(N, C, S, m, m), zero beyond each one's own slices, and the slices (N,)."""
    import torch

    slices = [array.shape[1] for array in arrays]
    channels, _, *plane = arrays[0].shape
    out = torch.zeros((len(arrays), channels, max(slices), *plane), dtype=torch.from_numpy(arrays[0][:0]).dtype)
    for index, array in enumerate(arrays):
        out[index, :, : array.shape[1]] = torch.from_numpy(np.ascontiguousarray(array))
    return out, torch.tensor(slices)
