"""Folds that train in one batch learn what they learn one by one, go on with the same bits, or say why they cannot."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from typing import ClassVar

import numpy as np
import pytest

torch = pytest.importorskip("torch")
timm = pytest.importorskip("timm")

from cadx import device  # noqa: E402
from cadx.cli import main  # noqa: E402
from cadx.errors import InputError  # noqa: E402
from cadx.models.build import ModelSpec, build  # noqa: E402
from cadx.models.parts import parameter_groups  # noqa: E402
from cadx.study import batched, stack, trainer  # noqa: E402
from cadx.study.batched import reason_against, train_together  # noqa: E402
from cadx.study.executors.batched import Grouping, at_once_of  # noqa: E402
from cadx.study.executors.hiring import Workers  # noqa: E402
from cadx.study.samples import VolumeSamples  # noqa: E402
from cadx.study.spec import (  # noqa: E402
    AugmentationSpec,
    OptimiserSpec,
    ScheduleSpec,
    TrainingSpec,
    TransferSpec,
)
from cadx.study.task import Ready  # noqa: E402

from small_study import STUDY, write_pictures, write_study  # noqa: E402
from support import TINY  # noqa: E402

CPU = device.Device("cpu", "", "")
MOVED = AugmentationSpec(quarter_turns=True, rotation_degrees=10, light=0.1)
SIZES = (10, 11, 12)
BALANCED = ([1.0, 1.0, 1.0], [0.5, 1.5, 1.0], [2.0, 0.7, 1.1])


def transformer(seed=0, **more):
    torch.manual_seed(seed)
    fields = {"architecture": "vit_tiny_patch16_224", "channels": 2, "classes": 3, "image_pixels": 48}
    return build(ModelSpec(**{**fields, "options": TINY, **more}))


def convolutions(seed=0):
    torch.manual_seed(seed)
    return timm.create_model("test_resnet", in_chans=2, num_classes=3)


def samples(count, seed=0, kind=VolumeSamples):
    rng = np.random.default_rng(seed)
    cells = rng.random((count, 2, 9, 16, 16)).astype(np.float16)
    slices = rng.integers(9, 12, count)
    cells = np.concatenate([cells, cells[:, :, :3]], axis=2)
    for number in range(count):
        cells[number, number % 2, 4, 2:9, 2:9] += number % 3
    names = tuple(f"{seed}-{number}" for number in range(count))
    return kind(names, torch.arange(count) % 3, torch.from_numpy(cells), torch.from_numpy(slices), 9)


class InDouble(VolumeSamples):
    """Samples in fp64."""

    def batch(self, chosen, spec=None, generator=None):
        return super().batch(chosen, spec, generator).double()


def spec(**more):
    optimiser = OptimiserSpec(name="adamw", learning_rate=1e-3, weight_decay=0.05, layer_decay=0.8)
    own = {"epochs": 4, "batch": 4, "optimiser": optimiser, "label_smoothing": 0.1, "gradient_clip": 0.5}
    return TrainingSpec(**{**own, "schedule": ScheduleSpec(name="cosine", warmup=0.2), "precision": "fp32", **more})


class Remembering(Ready):
    """Keeps weights as they were trained: the file's are of half precision."""

    states: ClassVar[dict] = {}

    def leave(self, trained):
        self.states[self.folder] = trained.state
        super().leave(trained)


def folds(root, make=transformer, exact=False, rounds=(4, 4, 4), **more):
    """Three trainings of unequal size and their own seeds, as they are handed to a trainer."""
    made = []
    for number, size in enumerate(SIZES):
        folder = root / f"fold-{number}"
        folder.mkdir(parents=True)
        kind = InDouble if exact else VolumeSamples
        part, held, book = (samples(*of, kind) for of in ((size, number), (5, 10 + number), (3, 20 + number)))
        weights = BALANCED[number]
        fit = trainer.Fit(spec(**more), MOVED, rounds[number], number, centre=exact, class_weights=weights)
        model = make(number).double() if exact else make(number)
        made.append(Remembering(folder, model, part, held, {"other": book}, fit, {"learnt": {}}))
    return made


class Listener:
    """Hears of one training."""

    def __init__(self):
        self.lines, self.ticks = [], []

    def round(self, line):
        self.lines.append(line)

    def tick(self, seen, wanted):
        self.ticks.append((seen, wanted))


def one_by_one(trainings):
    for one in trainings:
        given = (one.folder, one.model, one.samples, one.validation, one.fit)
        one.leave(trainer.train(*given, where=CPU, books=one.books))
    return [outputs(one.folder) for one in trainings]


def together(trainings, place, every=60.0):
    listeners = [Listener() for _ in trainings]
    reason = train_together(place, trainings, CPU, listeners, every)
    assert reason == ""
    return [outputs(one.folder) for one in trainings]


def outputs(folder):
    """What a training leaves, as numbers by name."""
    found = {f"weights {name}": value.numpy() for name, value in Remembering.states.pop(folder).items()}
    for name in ("validation.npy", "book-other.npy"):
        found[name] = np.load(folder / name)
    for name in ("steps.jsonl", "rounds.jsonl"):
        for line in (json.loads(text) for text in (folder / name).read_text().splitlines()):
            for key, value in line.items():
                found.setdefault(f"{name} {key}", []).append(value)
    done = json.loads((folder / "done.json").read_text())
    return {**found, "rounds": done["rounds"], "best_round": done["best_round"]}


def close(ours, theirs, tolerance):
    for one, other in zip(ours, theirs, strict=True):
        assert one.keys() == other.keys()
        for name in one:
            np.testing.assert_allclose(one[name], other[name], atol=tolerance, rtol=0, err_msg=name)


def test_transformers_of_unequal_folds_learn_what_they_learn_alone(tmp_path):
    """Order, augmentation, class weights, clipping, layer decay and books of each are its own."""
    alone = one_by_one(folds(tmp_path / "alone"))
    ours = together(folds(tmp_path / "group"), tmp_path / "place")
    for one in (*alone, *ours):
        for name in [name for name in one if name.endswith("qkv.bias")]:
            # softmax knows no bias of keys: its gradient is rounding, which Adam makes whole steps of
            one[name] = np.delete(one[name], np.s_[48:96])
    close(ours, alone, 1e-5)
    assert len(alone[0]["steps.jsonl loss"]) == 12
    losses = np.array([one["steps.jsonl loss"] for one in alone])
    assert np.abs(losses[0] - losses[1]).max() > 0.05
    start = build_state(transformer(0))
    assert np.abs(alone[0]["weights head.weight"] - start["head.weight"]).max() > 1e-3


def build_state(model):
    return {name: value.numpy() for name, value in model.state_dict().items()}


LATE = partial(transformer, fusion="late")


@pytest.mark.parametrize(
    ("make", "name", "schedule"),
    [
        (convolutions, "adamw", "one-cycle"),
        (transformer, "sgd", "step"),
        (LATE, "radam", "cosine"),
    ],
)
def test_in_double_they_learn_what_they_learn_alone(tmp_path, make, name, schedule):
    """Running statistics and normalisations too; folds that end earlier leave the others as they were."""
    given = {"make": make, "exact": True, "rounds": (2, 4, 3)}
    given["optimiser"] = OptimiserSpec(name=name, learning_rate=1e-3, weight_decay=0.05)
    given["schedule"] = ScheduleSpec(name=schedule, warmup=0.3, step_epochs=1)
    alone = one_by_one(folds(tmp_path / "alone", **given))
    ours = together(folds(tmp_path / "group", **given), tmp_path / "place")
    assert [one["rounds"] for one in ours] == [2, 4, 3]
    assert any("running_var" in key for key in alone[0]) == (make is convolutions)
    for one, other in zip(ours, alone, strict=True):
        # what follows from logits, which are kept in fp32
        for kept in ("validation.npy", "book-other.npy", "rounds.jsonl validation_loss"):
            np.testing.assert_allclose(one.pop(kept), other.pop(kept), atol=1e-6, rtol=0)
    close(ours, alone, 1e-9)


def test_each_fold_has_the_rate_that_its_range_test_found(tmp_path):
    def with_rates(trainings):
        for one, rate in zip(trainings, (1e-3, 3e-3, 5e-4), strict=True):
            own = one.fit.training.optimiser.model_copy(update={"learning_rate": rate})
            yield replace(one, fit=replace(one.fit, training=one.fit.training.model_copy(update={"optimiser": own})))

    alone, ours = (list(with_rates(folds(tmp_path / name, exact=True))) for name in ("alone", "group"))
    alone, ours = one_by_one(alone), together(ours, tmp_path / "place")
    for name in (
        "steps.jsonl loss",
        "steps.jsonl learning_rate",
        "weights head.weight",
        "weights patch_embed.proj.weight",
    ):
        for one, other in zip(ours, alone, strict=True):
            np.testing.assert_allclose(one[name], other[name], atol=1e-9, rtol=0)
    assert alone[1]["steps.jsonl learning_rate"][0] == pytest.approx(3 * alone[0]["steps.jsonl learning_rate"][0])


def test_what_stacked_parameters_lose_by_decay_goes_by_their_names():
    model = transformer()
    stacked = {name: torch.stack([value.detach()] * 3) for name, value in model.named_parameters()}
    alone, ours = parameter_groups(model, 0.05, 0.8, 1e-3), parameter_groups(model, 0.05, 0.8, 1e-3, parameters=stacked)
    assert [(g["names"], g["weight_decay"], g["lr"]) for g in ours] == [
        (g["names"], g["weight_decay"], g["lr"]) for g in alone
    ]
    assert all(tensor.ndim > 1 for group in ours for tensor in group["params"])


@pytest.mark.parametrize("moment", [2, 3])
def test_a_group_that_stops_goes_on_with_the_same_bits(tmp_path, monkeypatch, moment):
    """Also where one of its folds was left before; what was written after the checkpoint is written again."""
    given = {"rounds": (2, 3, 3)}
    whole = folds(tmp_path / "whole", **given)
    together(whole, tmp_path / "place-whole")
    again = folds(tmp_path / "again", **given)
    take, count = batched._Group.round, 0

    def stopped(self):
        nonlocal count
        take(self)
        count += 1
        if count == moment:
            raise KeyboardInterrupt

    monkeypatch.setattr(batched._Group, "round", stopped)
    with pytest.raises(KeyboardInterrupt):
        together(again, tmp_path / "place", 0.0)
    monkeypatch.undo()
    assert (tmp_path / "place" / "checkpoint.pt").is_file()
    assert (again[0].folder / "done.json").is_file()
    models = [transformer(number) for number in range(3)]
    together([replace(one, model=model) for one, model in zip(again, models, strict=True)], tmp_path / "place", 0.0)
    for one, other in zip(whole, again, strict=True):
        for name in ("steps.jsonl", "rounds.jsonl", "weights.safetensors", "validation.npy", "book-other.npy"):
            assert (one.folder / name).read_bytes() == (other.folder / name).read_bytes(), name


@pytest.mark.parametrize(
    ("more", "word"),
    [
        ({"patience": 3}, "patience"),
        ({"transfer": TransferSpec(mode="gradual")}, "transfer"),
        ({"transfer": TransferSpec(mode="head")}, "transfer"),
        ({"lesion_weight": 0.5}, "lesion_weight"),
    ],
)
def test_settings_that_part_the_folds_are_named(more, word):
    assert reason_against(spec()) == ""
    assert word in reason_against(spec(**more))


class Counting(torch.nn.Module):
    """A network whose way depends on what it sees."""

    def __init__(self):
        super().__init__()
        self.first, self.head = torch.nn.Conv2d(2, 2, 3), torch.nn.Linear(2, 3)

    def forward(self, x):
        means = self.first(x).mean((2, 3))
        return self.head(means) * (2.0 if float(means.detach().sum()) > 0 else 1.0)


@pytest.mark.parametrize(
    ("make", "word"),
    [
        (lambda seed: transformer(seed, options={**TINY, "drop_rate": 0.2}), "at random"),
        (lambda seed: transformer(seed, options={**TINY, "drop_path_rate": 0.2}), "at random"),
        (lambda seed: Counting(), "cannot be stacked"),
    ],
)
def test_networks_that_cannot_be_stacked_are_left_as_they_were(tmp_path, make, word):
    trainings = folds(tmp_path, make)
    before = [build_state(one.model) for one in trainings]
    assert word in train_together(tmp_path / "place", trainings, CPU, [Listener()] * 3, 60.0)
    for one, state in zip(trainings, before, strict=True):
        assert not list(one.folder.iterdir())
        for name, value in build_state(one.model).items():
            np.testing.assert_array_equal(value, state[name])


def test_a_network_that_answers_otherwise_in_a_stack_is_refused(tmp_path):
    trainings = folds(tmp_path)
    trainings[1].model.head.register_forward_hook(lambda module, given, out: out + 1)
    assert "otherwise" in train_together(tmp_path / "place", trainings, CPU, [Listener()] * 3, 60.0)


def test_a_loss_that_is_no_number_is_the_loops_sentence(tmp_path):
    trainings = folds(tmp_path)
    trainings[2].samples.cells[:] = float("nan")
    trainings[2].samples.cells[:2] = 0.1
    with pytest.raises(InputError, match="loss is no longer a number"):
        train_together(tmp_path / "place", trainings, CPU, [Listener()] * 3, 60.0)


def test_who_listens_hears_of_each_fold(tmp_path):
    listeners = [Listener() for _ in range(3)]
    trainings = folds(tmp_path, rounds=(1, 1, 1))
    assert train_together(tmp_path / "place", trainings, CPU, listeners, 60.0) == ""
    assert [[line["round"] for line in one.lines] for one in listeners] == [[0]] * 3
    assert [one.ticks[-1] for one in listeners] == [(size, 12) for size in SIZES]


def test_bf16_folds_stay_near_those_alone(tmp_path):
    given = {"precision": "bf16", "rounds": (1, 1, 1)}
    alone = one_by_one(folds(tmp_path / "alone", **given))
    for one, other in zip(together(folds(tmp_path / "group", **given), tmp_path / "p"), alone, strict=True):
        np.testing.assert_allclose(one["steps.jsonl loss"], other["steps.jsonl loss"], atol=0.05)


SMALL = STUDY.replace(", drop_rate: 0.1", "").replace("epochs: 6", "epochs: 2").replace("[0.003, 0.001]", "[0.003]")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shapes")
    write_pictures(folder / "data", patients=12)
    write_study(folder, SMALL)
    write_study(folder / "dropping", SMALL.replace("depth: 1", "depth: 1, drop_rate: 0.1"))
    return folder


def command(place, out, *more, study="shapes.yaml"):
    study, data = str(place / study), str(place / "data")
    fixed = ("--models", "vit", "--threads", "1", "--device", "cpu", "--no-bundles")
    return ["crossval", study, "--data", data, "--out", str(place / out), *fixed, *more]


@pytest.fixture
def no_report(monkeypatch):
    monkeypatch.setattr("cadx.evaluate.report.make_report", lambda out, note: out)


def logits(run):
    with_names = [np.load(path) for path in sorted(run.rglob("book-*.npy"))]
    assert len(with_names) == 6
    return with_names


def test_a_cross_validation_in_batches_is_that_of_the_loop(place, capsys, monkeypatch, no_report):
    """All of its phases; it goes on with the same bits after being stopped, and only as it was begun."""
    assert main(command(place, "one", "--folds-at-once", "1")) == 0
    assert main(command(place, "three", "--folds-at-once", "3")) == 0
    for ours, alone in zip(logits(place / "three"), logits(place / "one"), strict=True):
        np.testing.assert_allclose(ours, alone, atol=1e-4)
    document = json.loads((place / "three" / "run.json").read_text())
    assert document["folds_at_once"] == 3
    tasks = [json.loads(path.read_text()) for path in (place / "three").rglob("task.json")]
    assert sorted(task.get("folds_at_once", 1) for task in tasks) == [1, 3, 3, 3, 3, 3, 3]
    assert not (place / "three" / ".together").exists()
    step, count = stack.Stack.step, 0

    def cancelled(*given):
        nonlocal count
        count += 1
        if count == 4:
            raise KeyboardInterrupt
        return step(*given)

    monkeypatch.setattr(stack.Stack, "step", cancelled)
    more = ("--folds-at-once", "3", "--checkpoint-every", "0")
    assert main(command(place, "again", *more)) == 130
    monkeypatch.setattr(stack.Stack, "step", step)
    assert list((place / "again" / ".together").glob("*/checkpoint.pt"))
    assert main(command(place, "again", "--folds-at-once", "2", "--resume")) == 2
    assert "begun with --folds-at-once 3" in capsys.readouterr().err
    assert main(command(place, "again", "--resume")) == 0
    for path in (place / "three").rglob("*"):
        if path.name in ("steps.jsonl", "weights.safetensors", "predictions.csv") or path.name.startswith("book-"):
            assert (place / "again" / path.relative_to(place / "three")).read_bytes() == path.read_bytes()
    assert main(["audit", str(place / "again")]) == 0


def test_what_cannot_go_in_batches_is_trained_one_by_one_and_said(place, capsys, no_report):
    given = {"study": "dropping/shapes.yaml"}
    assert main(command(place, "many", "--epochs", "1", "--no-refit", "--folds-at-once", "3", **given)) == 0
    assert "one after the other: the network drops out at random" in capsys.readouterr().out
    tasks = [json.loads(path.read_text()) for path in (place / "many").rglob("task.json")]
    assert len(tasks) == 6
    assert not any("folds_at_once" in task for task in tasks)
    assert len(logits(place / "many")) == 6


def test_how_many_folds_go_at_once_is_known_before_anything_is_trained():
    alone, many = Workers("auto"), Workers(2)
    assert Grouping.of(None, None, "cpu", alone).at_once == 1
    assert Grouping.of("auto", {"folds_at_once": 1}, "cpu", alone).at_once == 1
    assert Grouping.of(None, {}, "cpu", alone).at_once == 1
    assert Grouping.of(None, None, "cuda", Workers(1)).at_once == 1, "unless it is asked for"
    assert Grouping.of(None, {"folds_at_once": 4}, "cpu", alone).at_once == 4
    assert Grouping.of(None, None, "cpu", many).at_once == 1
    with pytest.raises(InputError, match="one process"):
        Grouping.of(3, None, "cpu", many)
    with pytest.raises(InputError, match="begun with --folds-at-once 1"):
        Grouping.of(3, {}, "cpu", alone)
    for text in ("0", "many", "-1"):
        with pytest.raises(InputError, match="folds-at-once"):
            at_once_of(text)
