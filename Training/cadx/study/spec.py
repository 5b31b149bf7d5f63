"""A study as data: what is asked, of which images, by which models, split, trained and chosen how.

A YAML file of this form is all that a question of one's own needs. Unknown keys are refused and a run writes every
default out, so a run folder says what was done without the program that did it.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from cadx.explain.spec import ExplanationSpec
from cadx.models.build import ModelOption
from cadx.models.pretrained import FirstLayer, Positions
from cadx.prepare.picture import PictureSpec
from cadx.prepare.spec import PreparationSpec, Strict

SCHEMA = "cadx.study/1"
Slug = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_\-.]*$", max_length=60)]
Line = Annotated[str, Field(pattern=r"^[^\x00-\x1f\x7f]*$", max_length=1000)]
Name = Annotated[str, Field(pattern=r"^[^\x00-\x1f\x7f]+$", max_length=100)]
Share = Annotated[float, Field(gt=0, lt=1)]
Probability = Annotated[float, Field(ge=0, le=1)]


class ClassSpec(Strict):
    """A class and the labels of the table that mean it (compared without regard to case); its name always does."""

    name: Name
    labels: tuple[Name, ...] = ()
    negative: bool = False

    @property
    def words(self) -> tuple[str, ...]:
        """All that means this class in a table, in lower case."""
        return tuple(dict.fromkeys(word.casefold() for word in (self.name, *self.labels)))


class VolumesInput(Strict):
    """T1 and T2 volumes with a ROI.

    ``landmarks`` "nyul" learns intensity landmarks on each training part (protocols: step 3 of the image pipeline);
    "given" takes those of the preparation, as a study does that goes on from a bundle.
    ``centre`` gives the network inputs of mean 0 and variance 1 while training; learnt there, folded into the first
    layer afterwards.
    """

    kind: Literal["volumes"] = "volumes"
    preparation: PreparationSpec = PreparationSpec()
    landmarks: Literal["none", "nyul", "given"] = "none"
    centre: bool = False

    @model_validator(mode="after")
    def _landmarks_are_learnt(self) -> VolumesInput:
        if (self.preparation.standardise is not None) != (self.landmarks == "given"):
            raise ValueError('standardise goes with landmarks "given" alone; "nyul" learns it on each training part')
        return self


class PictureInput(Strict):
    """Single 2-D images."""

    kind: Literal["picture"] = "picture"
    picture: PictureSpec = PictureSpec()


class AugmentationSpec(Strict):
    """Drawn anew for each image of a batch; all slices and channels of a case move together.

    ``rotation_degrees``, ``shear_degrees``: up to so much either way. ``zoom``: up to a factor 1 + zoom either way.
    ``shift``: up to this share of the edge. ``warp``: corners moved by up to this share of the edge (perspective).
    ``light``: brightness and contrast changed by up to this share. ``window`` and ``last_starts_never_drawn``: which
    nine slices of a volume. ``turn_through_slices`` turns by any angle about an axis in the slices' plane, as the IPMN
    authors' code does (it mixes slices).
    """

    quarter_turns: bool = False
    flip_horizontal: Probability = 0.0
    flip_vertical: Probability = 0.0
    rotation_degrees: Annotated[float, Field(ge=0, le=180)] = 0.0
    shear_degrees: Annotated[float, Field(ge=0, le=45)] = 0.0
    zoom: Annotated[float, Field(ge=0, le=1)] = 0.0
    shift: Annotated[float, Field(ge=0, le=0.5)] = 0.0
    warp: Annotated[float, Field(ge=0, le=0.24)] = 0.0
    light: Annotated[float, Field(ge=0, le=1)] = 0.0
    window: Literal["random", "central"] = "random"
    last_starts_never_drawn: Annotated[int, Field(ge=0, le=10)] = 0
    turn_through_slices: bool = False


class ModelEntry(Strict):
    """One row of a table: a network by name and the weights that it starts from.

    ``with_head`` takes the classifier from the weights too, as for a bundle of the same classes.
    ``weights``: "none" (random), "timm" (that library's published weights, downloaded when asked for) or the path of a
    safetensors, pth or npz file. ``channels``: those of the preparation that it sees; all by default. ``normalise``: of
    pictures, "unit" leaves 0..1, "imagenet" takes ImageNet's mean and deviation. ``explanation``: the map drawn of it.
    """

    name: Slug
    title: Name
    architecture: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.\-]+$", max_length=100)]
    options: dict[str, ModelOption] = Field(default_factory=dict)
    channels: tuple[str, ...] | None = None
    fusion: Literal["early", "late"] = "early"
    weights: str = "none"
    first_layer: FirstLayer = "timm"
    positions: Positions = "bicubic"
    zero_head: bool = False
    with_head: bool = False
    normalise: Literal["unit", "imagenet"] = "unit"
    explanation: ExplanationSpec = ExplanationSpec()


class RowSpec(Strict):
    """A table's row: a model of the study, and its name in ``published.csv`` where the paper has it."""

    model: Slug
    published: str | None = None


class TableSpec(Strict):
    """A table of the paper: which rows, which metrics (names of ``published.csv``), of one class where it names one."""

    title: Name
    published: str | None = None
    class_: str | None = Field(default=None, alias="class")
    metrics: tuple[str, ...] = ("accuracy", "precision", "recall")
    rows: tuple[RowSpec, ...]

    model_config = {**Strict.model_config, "populate_by_name": True}


class InnerSpec(Strict):
    """What chooses epoch and settings within the training part of an outer fold.

    "folds": the other outer folds in turn (``folds`` None), or so many drawn anew; "holdout": one share; "test": the
    outer test part itself, as papers do that have two parts only. This leaks, and every table says so.
    """

    kind: Literal["folds", "holdout", "test"] = "folds"
    folds: Annotated[int, Field(ge=2, le=100)] | None = None
    share: Share = 0.15


class SplitSpec(Strict):
    """How cases fall into training and test parts.

    "folds": cross-validation; "holdout": one random split; "counts": one split with so many test images of each
    class; "column": the table's column ``column`` says "test"; "centres": each centre is the test part once. ``unit``
    "image" scatters one patient's images over both parts. This leaks, and every table says so.
    """

    kind: Literal["folds", "holdout", "counts", "column", "centres"] = "folds"
    unit: Literal["patient", "image"] = "patient"
    folds: Annotated[int, Field(ge=2, le=100)] = 10
    test_share: Share = 0.2
    test_counts: dict[str, Annotated[int, Field(ge=1)]] = Field(default_factory=dict)
    column: str = "split"
    stratify_by_centre: bool = False
    inner: InnerSpec = InnerSpec()

    @property
    def leaks(self) -> tuple[str, ...]:
        """What this protocol lets through by design, as sentences; empty where nothing."""
        found = []
        if self.unit == "image":
            found.append("Images are split at random, so images of one patient lie in training and test parts.")
        if self.inner.kind == "test":
            found.append("The test part also chose the epoch, so its figures are optimistic.")
        return tuple(found)


class OptimiserSpec(Strict):
    """Of torch's optimisers. ``layer_decay``: each layer learns this factor slower than the one after it."""

    name: Literal["sgd", "adam", "adamw", "radam"] = "adamw"
    learning_rate: Annotated[float, Field(gt=0, le=10)] = 1e-4
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    weight_decay: Annotated[float, Field(ge=0, le=10)] = 0.0
    layer_decay: Annotated[float, Field(gt=0, le=1)] | None = None


class ScheduleSpec(Strict):
    """Of the learning rate: "constant"; "step" multiplies by ``factor`` every ``step_epochs``; "cosine" after a linear
    warm-up over the share ``warmup`` of all steps; "one-cycle" rises over that share and falls to nearly nothing."""

    name: Literal["constant", "step", "cosine", "one-cycle"] = "cosine"
    warmup: Annotated[float, Field(ge=0, lt=1)] = 0.05
    step_epochs: Annotated[int, Field(ge=1)] = 30
    factor: Annotated[float, Field(gt=0, lt=1)] = 0.1


class RangeTestSpec(Strict):
    """Learning-rate range test (Smith, WACV 2017, Section 3.3) on the training part.

    The rate rises from ``low`` to ``high`` within ``steps``; that at which the smoothed loss falls by the
    largest share is taken.
    """

    low: Annotated[float, Field(gt=0)] = 1e-6
    high: Annotated[float, Field(gt=0)] = 1e-1
    steps: Annotated[int, Field(ge=5, le=10_000)] = 100

    @model_validator(mode="after")
    def _rises(self) -> RangeTestSpec:
        if self.low >= self.high:
            raise ValueError("low must be less than high")
        return self


class TransferSpec(Strict):
    """Which layers learn: "all"; "head", the last alone; "gradual", the last first, and whenever the metric has not
    improved for ``patience`` checks one more group of layers, until a further group no longer helps. A refit has no
    metric to go by, so "gradual" needs ``selection.final`` "best"."""

    mode: Literal["all", "head", "gradual"] = "all"
    patience: Annotated[int, Field(ge=1, le=1000)] = 3


class TrainingSpec(Strict):
    """How one model is trained. Its length is ``epochs``, or ``steps`` where that is given; the validation part is
    looked at every ``check_every`` epochs (or steps). ``patience``: checks without improvement before it stops.
    ``class_weights``: "balanced" learns them on the training part. ``lesion_weight`` adds a loss on lesion masks."""

    epochs: Annotated[int, Field(ge=1, le=100_000)] = 100
    steps: Annotated[int, Field(ge=1, le=10_000_000)] | None = None
    check_every: Annotated[int, Field(ge=1, le=100_000)] = 1
    batch: Annotated[int, Field(ge=1, le=4096)] = 32
    optimiser: OptimiserSpec = OptimiserSpec()
    schedule: ScheduleSpec = ScheduleSpec()
    range_test: RangeTestSpec | None = None
    transfer: TransferSpec = TransferSpec()
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    class_weights: Literal["none", "balanced"] | tuple[Annotated[float, Field(gt=0)], ...] = "none"
    gradient_clip: Annotated[float, Field(gt=0)] | None = None
    patience: Annotated[int, Field(ge=1, le=100_000)] | None = None
    lesion_weight: Annotated[float, Field(ge=0, le=10)] = 0.0
    precision: Literal["auto", "fp32", "bf16"] = "auto"


# the fields' own limits, where 0 would mean that nothing learns
_GRID_LIMITS = {
    "learning_rate": (1e-12, 10.0),
    "weight_decay": (0.0, 10.0),
    "layer_decay": (1e-3, 1.0),
    "label_smoothing": (0.0, 0.999),
}


class SelectionSpec(Strict):
    """What the inner parts choose by, and from which small grid of settings (each a list of values to try).

    ``final`` "refit" trains anew on the whole training part for the chosen number of checks; "best" keeps the weights
    of the best check of the one inner part.
    """

    metric: Literal["loss", "balanced_accuracy"] = "loss"
    grid: dict[Literal["learning_rate", "weight_decay", "layer_decay", "label_smoothing"], tuple[float, ...]] = Field(
        default_factory=dict
    )
    final: Literal["refit", "best"] = "refit"

    @field_validator("grid")
    @classmethod
    def _values_can_be_tried(cls, grid: dict[str, tuple[float, ...]]) -> dict[str, tuple[float, ...]]:
        for name, values in grid.items():
            if not values:
                raise ValueError(f"{name} holds no value to try; name some or leave it out")
            low, high = _GRID_LIMITS[name]
            strange = next((value for value in values if not low <= value <= high), None)
            if strange is not None:
                raise ValueError(f"{name} cannot be {strange:g}; it lies between {low:g} and {high:g}")
            if len(set(values)) < len(values):
                raise ValueError(f"{name} holds a value twice; name each once")
        return grid


class DataSpec(Strict):
    """What the cards of a study's bundles say of its images: where they are from, and under which licences images and
    starting weights are, and the bundle therefore is. Empty where nothing is known of that."""

    source: Line = ""
    licence: Line = ""


class StudySpec(Strict):
    """A whole study. ``not_for``: what its models must not be used for, as a sentence. Samples with one of
    ``excluded_labels`` are left out, and counted in the report."""

    schema_: Literal["cadx.study/1"] = Field(default="cadx.study/1", alias="schema")
    name: Slug
    preset: Slug = "own"
    title: Line
    intended_use: Line = ""
    not_for: Line = ""
    data: DataSpec = DataSpec()
    caveat: Line = ""
    references: tuple[Line, ...] = ()
    published: str | None = None
    label_of: Literal["patient", "image"] = "patient"
    classes: tuple[ClassSpec, ...] = Field(min_length=2, max_length=1000)
    excluded_labels: tuple[Name, ...] = ()
    input: Annotated[VolumesInput | PictureInput, Field(discriminator="kind")]
    augmentation: AugmentationSpec = AugmentationSpec()
    models: tuple[ModelEntry, ...] = Field(min_length=1)
    tables: tuple[TableSpec, ...] = ()
    split: SplitSpec = SplitSpec()
    training: TrainingSpec = TrainingSpec()
    selection: SelectionSpec = SelectionSpec()
    calibration: Literal["none", "temperature"] = "temperature"
    seed: Annotated[int, Field(ge=0)] = 0

    model_config = {**Strict.model_config, "populate_by_name": True}

    @property
    def class_names(self) -> tuple[str, ...]:
        """In the order of the network's outputs."""
        return tuple(c.name for c in self.classes)

    @property
    def channels(self) -> tuple[str, ...]:
        """Roles of the images that a case needs: the volumes' channels, or "image"."""
        return self.input.preparation.channels if isinstance(self.input, VolumesInput) else ("image",)

    def model(self, name: str) -> ModelEntry:
        """The entry of a model's name (KeyError where there is none)."""
        return {entry.name: entry for entry in self.models}[name]

    @model_validator(mode="after")
    def _fits_together(self) -> StudySpec:
        _require_once("class", [c.name for c in self.classes])
        _require_once("label", [word for c in self.classes for word in c.words])
        names = [entry.name for entry in self.models]
        _require_once("model", names)
        if "figures" in names:
            raise ValueError("a model cannot be called 'figures': a run keeps its pictures under that name")
        strange_tables = {t.class_ for t in self.tables if t.class_} - set(self.class_names)
        if strange_tables:
            raise ValueError(f"a table names the class '{min(strange_tables)}', which the study does not have")
        for row in (row for table in self.tables for row in table.rows):
            if row.model not in names:
                raise ValueError(f"a table names the model '{row.model}', which is not among the models")
        for entry in self.models:
            strange = set(entry.channels or ()) - set(self.channels)
            if strange:
                raise ValueError(f"the model '{entry.name}' takes the channel {min(strange)}, which is not prepared")
        if self.selection.final == "best" and self.split.inner.kind == "folds":
            raise ValueError('selection.final "best" needs one inner part; take split.inner.kind "holdout"')
        scale = self.input.preparation.scale.method if isinstance(self.input, VolumesInput) else ""
        if self.augmentation.light and scale == "roi-zscore":
            raise ValueError("augmentation.light needs values in 0..1, which the scale roi-zscore does not give")
        if self.training.range_test and "learning_rate" in self.selection.grid:
            raise ValueError("training.range_test chooses the learning rate; leave it out of selection.grid")
        if self.training.transfer.mode == "gradual" and self.selection.final == "refit":
            raise ValueError('training.transfer "gradual" follows the validation part; take selection.final "best"')
        weights = self.training.class_weights
        if isinstance(weights, tuple) and len(weights) != len(self.classes):
            raise ValueError(f"training.class_weights holds {len(weights)} numbers for {len(self.classes)} classes")
        strange_counts = set(self.split.test_counts) - set(self.class_names)
        if strange_counts or (self.split.kind == "counts" and not self.split.test_counts):
            raise ValueError("split.test_counts must name classes of the study")
        if self.split.kind == "counts" and self.split.stratify_by_centre:
            raise ValueError("split.stratify_by_centre does not go with split.kind counts; leave it out")
        return self


def _require_once(what: str, names: list[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise ValueError(f"the {what} '{name}' occurs twice")
        seen.add(name)
