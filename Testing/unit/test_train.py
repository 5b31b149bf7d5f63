from __future__ import annotations

import csv
import json
from dataclasses import replace

import numpy as np
import pytest
import yaml

from support import CLASSES, TINY, pattern_volume, write

torch = pytest.importorskip("torch")
pytest.importorskip("sklearn")

from cadx import device  # noqa: E402
from cadx.cli import main  # noqa: E402
from cadx.errors import InputError  # noqa: E402
from cadx.evaluate.metrics import classification_metrics  # noqa: E402
from cadx.models.build import ModelSpec, build  # noqa: E402
from cadx.models.bundle import Bundle  # noqa: E402
from cadx.study import range_test, trainer  # noqa: E402
from cadx.study.freezing import Freezing  # noqa: E402
from cadx.study.optimise import optimiser_for, schedule_for  # noqa: E402
from cadx.study.sampler import Sampler  # noqa: E402
from cadx.study.samples import VolumeSamples  # noqa: E402
from cadx.study.source import _stacked  # noqa: E402
from cadx.study.spec import (  # noqa: E402
    AugmentationSpec,
    OptimiserSpec,
    RangeTestSpec,
    ScheduleSpec,
    TrainingSpec,
    TransferSpec,
)

CPU = device.Device("cpu", "", "")
STILL = AugmentationSpec(window="central")


@pytest.fixture(scope="module")
def data(tmp_path_factory, case):
    """Twelve cases whose class is a bright block in T2 that anyone can see."""
    folder = tmp_path_factory.mktemp("cohort")
    generator = np.random.default_rng(0)
    rows = []
    for number in range(12):
        label = CLASSES[number % 3]
        t2 = case.images["T2"].canonical()
        voxels = t2.voxels * 0.1 + generator.normal(0, 5, t2.voxels.shape)
        for block in range(number % 3):
            voxels[6:12, 20:40, 20 + 20 * block : 32 + 20 * block] = 2000
        name = f"case-{number:02d}"
        write(folder / f"{name}-t2.nii.gz", t2.with_voxels(voxels.astype(np.float32)))
        rows.append((name, "t1.nii.gz", f"{name}-t2.nii.gz", "roi.mrk.json", label))
    write(folder / "t1.nii.gz", pattern_volume(case.reference.geometry, "t1"))
    (folder / "roi.mrk.json").write_text(json.dumps(case.roi.to_markups()))
    with (folder / "cases.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([("case", "t1", "t2", "roi", "label"), *rows])
    return folder


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """The recommended study with a network, cells and a training that take seconds."""
    from cadx.study.presets import dump, read_study

    document = yaml.safe_load(dump(read_study("ipmn")))
    document["input"]["preparation"] |= {"bias": None, "smooth": None}
    document["input"]["preparation"]["grid"]["cell_pixels"] = 16
    document["models"] = [
        {"name": name, "title": name, "architecture": "vit_tiny_patch16_224", "options": TINY, **more}
        for name, more in (("vit", {}), ("vit-t2", {"channels": ["T2"]}), ("vit-late", {"fusion": "late"}))
    ]
    document["models"].append({"name": "cnn", "title": "cnn", "architecture": "mobilenetv3_small_050"})
    document["tables"] = []
    document["augmentation"] = {"window": "random"}
    document["training"] |= {"epochs": 25, "batch": 4, "precision": "fp32"}
    document["training"]["optimiser"] |= {"learning_rate": 1e-3, "layer_decay": None}
    document["split"]["inner"] = {"kind": "holdout", "share": 0.25}
    file = tmp_path_factory.mktemp("study") / "small.yaml"
    file.write_text(yaml.safe_dump(document))
    return file


def command(study, data, out, *more):
    return ["train", str(study), "--data", str(data), "--out", str(out), "--device", "cpu", "--threads", "1", *more]


@pytest.fixture(scope="module")
def trained(study, data, tmp_path_factory):
    """A bundle, trained and tested on the same cases."""
    out = tmp_path_factory.mktemp("trained") / "My Bundle"
    assert main(command(study, data, out, "--test", str(data))) == 0
    return out


def test_training_makes_a_bundle_that_knows_the_classes(trained):
    bundle = Bundle.load(trained)
    assert (bundle.settings.name, bundle.settings.task, bundle.settings.demo) == ("my-bundle", "ipmn", False)
    # the card says that this test part was none
    title = "Test (12 of its 12 cases are also in the training cohort)"
    assert bundle.metadata["eval_metrics"][title]["accuracy"] >= 0.9
    assert "12 cases: accuracy" in bundle.card
    record = bundle.settings.training
    assert record["cases"] == {"training": 9, "validation": 3}
    assert record["weights"]["source"] == "none"
    assert record["command"][:2] == ["cadx", "train"]
    assert not any("/" in word for word in record["command"])


def test_the_bundle_classifies_from_files_as_it_was_trained(data, trained):
    from cadx.classify import Classifier
    from cadx.study.cells import case_of
    from cadx.study.layouts import read_cohort

    bundle = Bundle.load(trained)
    classifier = Classifier(bundle, "cpu")
    for sample in read_cohort(data, ("T1", "T2")).samples[:3]:
        assert classifier.classify(case_of(sample, ("T1", "T2"))).result.label == sample.label


def test_the_bundle_opens_in_the_command_line_and_in_monai(data, trained, tmp_path):
    monai = pytest.importorskip("monai.bundle")
    out = tmp_path / "result"
    images = ["--t1", str(data / "t1.nii.gz"), "--t2", str(data / "case-01-t2.nii.gz")]
    roi = ["--roi", str(data / "roi.mrk.json")]
    assert main(["classify", *images, *roi, "--bundle", str(trained), "--out", str(out), "--device", "cpu"]) == 0
    document = json.loads((out / "result.json").read_text())
    assert document["label"] == "low risk"
    assert document["bundle"]["name"] == "my-bundle"
    network = monai.load(
        name=trained.name,
        bundle_dir=str(trained.parent),
        source="local",
        model_file="models/model.safetensors",
        workflow_type="inference",
    )
    loaded, own = network.state_dict(), Bundle.load(trained).build_model().state_dict()
    assert all(torch.equal(loaded[name].float(), own[name]) for name in own)


def test_the_same_seed_gives_the_same_weights(study, data, tmp_path):
    for name in ("one", "two"):
        assert main(command(study, data, tmp_path / name, "--epochs", "2")) == 0
    one, two = (Bundle.load(tmp_path / name).build_model().state_dict() for name in ("one", "two"))
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_training_on_phantoms_marks_the_bundle(study, data, tmp_path):
    marker = data / "dataset.json"
    marker.write_text('{"schema": "cadx.dataset/1", "synthetic": true}')
    try:
        assert main(command(study, data, tmp_path / "b", "--epochs", "1")) == 0
    finally:
        marker.unlink()
    bundle = Bundle.load(tmp_path / "b")
    assert bundle.settings.demo
    assert "grade means nothing on a patient" in bundle.card


@pytest.mark.parametrize("model", ["vit-t2", "vit-late", "cnn"])
def test_other_models_make_bundles_that_classify(study, data, tmp_path, model):
    from cadx.classify import Classifier
    from cadx.study.cells import case_of
    from cadx.study.layouts import read_cohort

    assert main(command(study, data, tmp_path / "b", "--epochs", "1", "--model", model)) == 0
    bundle = Bundle.load(tmp_path / "b")
    channels = ("T2",) if model == "vit-t2" else ("T1", "T2")
    assert bundle.volumes.channels == channels
    sample = read_cohort(data, channels).samples[0]
    reading = Classifier(bundle, "cpu").classify(case_of(sample, channels))
    assert sum(reading.result.probabilities.values()) == pytest.approx(1, abs=1e-5)


def test_landmarks_are_learnt_on_the_training_part_and_travel_in_the_bundle(study, data, tmp_path, capsys):
    """What a bundle says of files is what the study's own evaluation says of the cohort."""
    from cadx.classify import Classifier
    from cadx.study.cells import case_of
    from cadx.study.layouts import read_cohort

    record = tmp_path / "record"
    more = ("--epochs", "2", "--set", "input.landmarks=nyul", "--record", str(record))
    assert main(command(study, data, tmp_path / "b", *more)) == 0
    bundle = Bundle.load(tmp_path / "b")
    task = json.loads((record / "task.json").read_text())
    assert bundle.volumes.standardise is not None
    assert task["learnt"]["landmarks"]["T2"] == list(bundle.volumes.standardise.landmarks["T2"])
    assert task["learnt"]["from"] == task["training"]
    assert main(command(study, data, tmp_path / "c", *more, "--epochs", "3")) == 2
    assert "record is the record of another training (its study differs)" in capsys.readouterr().err
    assert not (tmp_path / "c").exists()
    assert not set(task["training"]) & set(task["validation"])
    run = tmp_path / "run"
    assert main(["evaluate", str(tmp_path / "b"), "--data", str(data), "--out", str(run), "--device", "cpu"]) == 0
    with (run / "b" / "external" / "predictions.csv").open(newline="") as stream:
        row = list(csv.DictReader(stream))[4]
    sample = next(s for s in read_cohort(data, ("T1", "T2")).samples if s.name == row["name"])
    found = Classifier(bundle, "cpu", "fp32").classify(case_of(sample, ("T1", "T2"))).result.probabilities
    assert [float(row[f"p:{name}"]) for name in CLASSES] == pytest.approx([found[n] for n in CLASSES], abs=2e-3)


def test_a_bundle_can_be_fine_tuned_on_ones_own_cases(study, data, trained, tmp_path, capsys):
    out = tmp_path / "tuned"
    assert main(command(study, data, out, "--from", str(trained), "--epochs", "1")) == 0
    bundle, base = Bundle.load(out), Bundle.load(trained)
    assert bundle.volumes == base.volumes
    record = bundle.settings.training["weights"]
    assert record["source"] == "model.safetensors"
    assert record["sha256"]
    one, two = bundle.build_model().state_dict(), base.build_model().state_dict()
    distance = max(float((one[n] - two[n]).abs().max()) for n in one)
    assert 0 < distance < 0.1
    assert main(command(study, data, tmp_path / "x", "--from", str(trained), "--model", "vit")) == 2
    assert main(["train", "chest-xray", "--data", str(data), "--out", str(out), "--from", str(trained)]) == 2
    assert "grades normal" in capsys.readouterr().err


def test_what_the_table_calls_test_is_kept_aside(study, data, tmp_path):
    lines = (data / "cases.csv").read_text().splitlines()
    table = data / "parted.csv"
    table.write_text(
        "\n".join(
            [lines[0] + ",split", *(f"{line},{'test' if n < 3 else 'train'}" for n, line in enumerate(lines[1:]))]
        )
    )
    more = ("--set", "split.kind=column", "--epochs", "1", "--record", str(tmp_path / "record"))
    assert main(command(study, table, tmp_path / "b", *more)) == 0
    task = json.loads((tmp_path / "record" / "task.json").read_text())
    assert len(task["training"]) + len(task["validation"]) == 9
    assert not {"case-00", "case-01", "case-02"} & {*task["training"], *task["validation"]}
    assert Bundle.load(tmp_path / "b").metadata["eval_metrics"]["Test (unseen)"]["cases"] == 3


def test_a_bundle_is_validated_on_another_cohort(study, data, trained, tmp_path):
    run = tmp_path / "run"
    arguments = ["evaluate", str(trained), "--data", str(data), "--out", str(run), "--device", "cpu"]
    assert main([*arguments, "--study", str(study)]) == 0
    with (run / "my-bundle" / "external" / "predictions.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 12
    assert np.mean([row["class"] == row["predicted"] for row in rows]) >= 0.9
    assert "my-bundle" in (run / "tables.md").read_text()
    assert "12 of these 12 cases trained the bundle" in (run / "tables.md").read_text()
    assert "not for clinical decisions" in (run / "report.html").read_text()


@pytest.mark.parametrize(
    ("option", "word"),
    [
        (["--name", "My Model"], "name is not allowed"),
        (["--set", "training.optimiser.learning_rate=.nan"], "learning_rate is not allowed"),
        (["--model", "no_such_network"], "timm cannot build"),
        (["--set", "models.0.options.depth=[1]"], "no single field"),
        (["--batch", "5000"], "batch is not allowed"),
        (["--test", "absent"], "absent"),
        (["--weights", "absent.pth", "--model", "vit-small"], "vit-small"),
    ],
)
def test_a_bad_setting_is_known_before_anything_is_prepared(study, data, tmp_path, capsys, option, word):
    cache = tmp_path / "cache"
    assert main(command(study, data, tmp_path / "b", "--cache", str(cache), *option)) == 2
    (line,) = (line for line in capsys.readouterr().err.splitlines() if line.startswith("cadx: "))
    assert word in line
    assert list(tmp_path.iterdir()) == []


def test_a_folder_with_somebody_elses_manifest_is_not_replaced(study, data, tmp_path, capsys):
    (tmp_path / "extension").mkdir()
    (tmp_path / "extension" / "manifest.json").write_text("{}")
    (tmp_path / "extension" / "thesis.tex").write_text("years of work")
    assert main(command(study, data, tmp_path / "extension")) == 2
    assert "something else than a whole bundle" in capsys.readouterr().err
    assert (tmp_path / "extension" / "thesis.tex").read_text() == "years of work"


def samples(cells, labels, lesions=None) -> VolumeSamples:
    """From cells (C, S, m, m) of each case."""
    values, slices = _stacked(cells)
    masks = None if lesions is None else _stacked([mask[None] for mask in lesions])[0][:, 0]
    names = tuple(str(i) for i in range(len(cells)))
    return VolumeSamples(names, torch.tensor(labels), values, slices, 9, masks)


def tiny(**more) -> torch.nn.Module:
    torch.manual_seed(0)
    fields = {"architecture": "vit_tiny_patch16_224", "channels": 2, "classes": 3, "image_pixels": 48, "options": TINY}
    return build(ModelSpec(**{**fields, **more}))


@pytest.mark.parametrize("fusion", ["early", "late"])
def test_the_normalisation_folds_into_the_first_layer(fusion):
    from cadx.study.normalise import InputNormalisation

    model = tiny(fusion=fusion)
    generator = np.random.default_rng(0)
    cells = [generator.random((2, 9, 16, 16)).astype(np.float16) * 0.3 for _ in range(4)]
    for case in cells:
        case[1] += 0.4
    normalisation = InputNormalisation(model.eval(), samples(cells, [0] * 4))
    x = torch.rand(2, 2, 48, 48)
    with torch.inference_mode():
        normalised = model(x)
        normalisation.remove()
        plain = model(x)
        model.load_state_dict(normalisation.fold(model.state_dict()))
        folded = model(x)
    torch.testing.assert_close(folded, normalised, atol=1e-4, rtol=1e-4)
    assert not torch.allclose(plain, normalised, atol=1e-3)


def test_what_pads_the_shorter_cases_is_not_learnt_from():
    from cadx.study.normalise import _moments

    cells = [np.random.default_rng(i).random((2, 9 + i, 16, 16)).astype(np.float16) for i in range(3)]
    mean, deviation = _moments(samples(cells, [0] * 3))
    values = np.concatenate([case.reshape(2, -1) for case in cells], axis=1).astype(np.float64)
    np.testing.assert_allclose(mean, values.mean(1), rtol=1e-5)
    np.testing.assert_allclose(deviation, values.std(1), rtol=1e-5)


def test_lesion_masks_turn_with_their_case():
    cells = [np.random.default_rng(i).random((1, 12, 16, 16)).astype(np.float16) for i in range(3)]
    cases = samples(cells, [0] * 3, [(case[0] > 0.5).astype(np.uint8) for case in cells])
    cases.cells[:, 0] = cases.lesions
    moved = cases.batch(torch.arange(3), AugmentationSpec(turn_through_slices=True), torch.Generator().manual_seed(1))
    torch.testing.assert_close(moved[:, 0], moved[:, 1])
    assert set(moved.unique().tolist()) != {0.0, 1.0}


def fit(**more) -> trainer.Fit:
    own = {"epochs": 15, "batch": 3, "precision": "fp32", **more.pop("training", {})}
    training = TrainingSpec(optimiser=OptimiserSpec(learning_rate=2e-3), **own)
    return trainer.Fit(training, STILL, trainer.rounds_of(training), 0, **more)


def ranged(training):
    return training.model_copy(update={"range_test": RangeTestSpec(low=1e-5, high=1e-2, steps=5)})


def rounds(folder):
    return [json.loads(line) for line in (folder / "rounds.jsonl").read_text().splitlines()]


def test_lesion_masks_teach_the_patches(tmp_path):
    """With masks the loss on the patches falls; without them the weight is refused."""
    from cadx.study.patch_loss import PatchLoss

    generator = np.random.default_rng(0)
    cells = [generator.random((2, 9, 16, 16)).astype(np.float16) * 0.3 for _ in range(6)]
    lesions = [np.zeros((9, 16, 16), np.uint8) for _ in range(6)]
    for index in range(3, 6):
        lesions[index][4, 4:12, 4:12] = 1
        cells[index][:, 4, 4:12, 4:12] = 1
    cases = samples(cells, [0, 0, 0, 1, 2, 1], lesions)
    asked = fit(training={"lesion_weight": 1.0})
    trainer.train(tmp_path, tiny(), cases, cases, asked, where=CPU)
    history = rounds(tmp_path)
    assert history[-1]["loss"] < 0.6 * history[0]["loss"]
    rate = range_test.run(tmp_path, tiny, cases, replace(asked, centre=True, training=ranged(asked.training)), CPU)
    assert 1e-5 <= rate <= 1e-2
    with pytest.raises(InputError, match="lesion masks"):
        PatchLoss(tiny(), asked.training, None, False)


def blocks(count=6):
    """Cases whose class is a block of cells."""
    generator = np.random.default_rng(0)
    cells = [generator.random((2, 9, 16, 16)).astype(np.float16) * 0.3 for _ in range(count)]
    for index, case in enumerate(cells):
        case[index % 3 % 2, 4, 4:12, 4:12] += 0.6 * (index % 3 > 0)
    return samples(cells, [index % 3 for index in range(count)])


@pytest.mark.parametrize("name", ["sgd", "adam", "adamw", "radam"])
def test_every_optimiser_lowers_the_loss(tmp_path, name):
    rate = 0.05 if name == "sgd" else 2e-3
    own = OptimiserSpec(name=name, learning_rate=rate, weight_decay=0.01, layer_decay=0.9)
    training = fit().training.model_copy(update={"optimiser": own})
    trained = trainer.train(tmp_path, tiny(), blocks(), blocks(), trainer.Fit(training, STILL, 15, 0), where=CPU)
    history = rounds(tmp_path)
    assert history[-1]["loss"] < history[0]["loss"]
    assert trained.logits.shape == (15, 6, 3)


@pytest.mark.parametrize("schedule", ["one-cycle", "cosine"])
def test_a_gradual_training_that_stops_goes_on_with_the_same_bits(tmp_path, schedule):
    """Each group has its own checks; what is frozen, the schedule's and the optimiser's state survive."""
    more = {"transfer": TransferSpec(mode="gradual", patience=2), "schedule": ScheduleSpec(name=schedule)}
    asked = replace(fit(training=more, keep="best"), checkpoint_every_s=0)
    other = samples([np.zeros((2, 9, 16, 16), np.float16)] * 3, [0, 1, 2])
    parts = (blocks(7), other)
    for name in ("whole", "again"):
        (tmp_path / name).mkdir()
    whole = trainer.train(tmp_path / "whole", tiny(), *parts, asked, where=CPU)
    stages = [line["stage"] for line in rounds(tmp_path / "whole")]
    assert stages == sorted(stages)
    assert min(stages.count(stage) for stage in set(stages)) >= 2

    def stop(line):
        if line["round"] == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trainer.train(tmp_path / "again", tiny(), *parts, asked, where=CPU, progress=stop)
    again = trainer.train(tmp_path / "again", tiny(), *parts, asked, where=CPU)
    assert all(torch.equal(whole.state[name], again.state[name]) for name in whole.state)
    assert (tmp_path / "whole" / "steps.jsonl").read_text() == (tmp_path / "again" / "steps.jsonl").read_text()


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "mobilenetv3_small_050"])
def test_books_are_looked_at_without_a_trace(tmp_path, name):
    """The same bits with no part to look at, with one and with two; each book holds what its part alone would."""
    options = {**TINY, "drop_rate": 0.2} if name.startswith("vit") else {}
    asked = fit(training={"epochs": 3})
    other = samples([np.full((2, 9, 16, 16), 0.2, np.float16)] * 3, [0, 1, 2])
    looked = {"none": (None, {}), "one": (other, {}), "two": (None, {"a": other, "b": blocks()})}
    trained = {}
    for kind, (validation, books) in looked.items():
        (tmp_path / kind).mkdir()
        model = tiny(architecture=name, options=options)
        trained[kind] = trainer.train(tmp_path / kind, model, blocks(), validation, asked, where=CPU, books=books)
    for kind in ("one", "two"):
        assert all(torch.equal(value, trained["none"].state[key]) for key, value in trained[kind].state.items())
    assert trained["two"].logits is None
    np.testing.assert_array_equal(trained["two"].books["a"], trained["one"].logits)
    assert trained["two"].books["b"].shape == (3, 6, 3)
    assert all(line["validation_loss"] is None for line in rounds(tmp_path / "two"))


def test_an_evaluation_draws_from_no_generator():
    model = tiny(options={**TINY, "drop_rate": 0.5})
    before = torch.get_rng_state()
    trainer.predict(model, blocks(), CPU)
    assert torch.equal(torch.get_rng_state(), before)


def test_early_stopping_and_the_best_weights(tmp_path):
    asked = fit(keep="best", training={"patience": 2})
    other = samples([np.zeros((2, 9, 16, 16), np.float16)] * 3, [0, 1, 2])
    trained = trainer.train(tmp_path, tiny(), blocks(), other, asked, where=CPU)
    losses = [line["validation_loss"] for line in rounds(tmp_path)]
    assert trained.rounds == len(losses) < 15
    assert trained.best_round == int(np.argmin(losses)) == trained.rounds - 3
    model = tiny()
    model.load_state_dict(trained.state)
    np.testing.assert_allclose(trainer.predict(model, other, CPU), trained.logits[trained.best_round], atol=1e-5)


def test_answers_that_are_no_numbers_are_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr(trainer, "predict", lambda *_: np.full((3, 3), np.nan, np.float32))
    with pytest.raises(InputError, match="no longer numbers"):
        trainer.train(tmp_path, tiny(), blocks(), blocks(), fit(), where=CPU)


def test_a_loss_that_is_no_number_is_one_sentence(tmp_path):
    own = fit().training.model_copy(update={"optimiser": OptimiserSpec(name="sgd", learning_rate=10)})
    with pytest.raises(InputError, match="no longer a number"):
        wild = blocks()
        wild.cells[:] = float("nan")
        trainer.train(tmp_path, tiny(), wild, None, trainer.Fit(own, STILL, 2, 0), where=CPU)


def changed(before, after):
    return {name for name in before if not torch.equal(before[name], after[name])}


def test_head_alone_leaves_the_body_as_it_was(tmp_path):
    model = tiny()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    asked = fit(training={"transfer": TransferSpec(mode="head")})
    trained = trainer.train(tmp_path, model, blocks(), None, asked, where=CPU)
    assert changed(before, trained.state) == {"head.weight", "head.bias"}


def test_frozen_batch_norms_keep_their_statistics(tmp_path):
    model = tiny(architecture="mobilenetv3_small_050", options={})
    before = {name: value.clone() for name, value in model.state_dict().items()}
    trained = trainer.train(
        tmp_path, model, blocks(), None, fit(training={"transfer": TransferSpec(mode="head")}), where=CPU
    )
    assert changed(before, trained.state) <= {"classifier.weight", "classifier.bias"}


def test_layers_thaw_one_by_one_until_one_brings_nothing():
    model = tiny()
    freezing = Freezing(model, TransferSpec(mode="gradual", patience=2))
    counts = [sum(p.requires_grad for p in model.parameters())]
    for _ in range(3):
        assert [freezing.advance(improved) for improved in (True, False, False)] == [False] * 3
        counts.append(sum(p.requires_grad for p in model.parameters()))
    assert counts == sorted(set(counts))
    assert not freezing.advance(False)
    again = Freezing(tiny(), TransferSpec(mode="gradual", patience=2))
    again.restore(freezing.state())
    assert again.stage == 3
    assert again.advance(False)


def rates(spec, steps=100, steps_an_epoch=10):
    optimiser = torch.optim.SGD(torch.nn.Linear(1, 1).parameters(), lr=1.0)
    schedule = schedule_for(optimiser, spec, steps, steps_an_epoch)
    found = []
    for _ in range(steps):
        found.append(optimiser.param_groups[0]["lr"])
        optimiser.step()
        schedule.step() if len(found) < steps else None
    return found


def test_schedules_are_the_papers():
    step = rates(ScheduleSpec(name="step", step_epochs=3, factor=0.1))
    assert step[0] == step[29] == 1.0
    assert step[30] == pytest.approx(0.1)
    assert step[-1] == pytest.approx(1e-3)
    cosine = rates(ScheduleSpec(name="cosine", warmup=0.1))
    assert cosine[:10] == pytest.approx(np.arange(1, 11) / 10)
    assert cosine[55] == pytest.approx(0.5, abs=0.01)
    assert set(rates(ScheduleSpec(name="constant"))) == {1.0}
    cycle = rates(ScheduleSpec(name="one-cycle", warmup=0.3))
    assert int(np.argmax(cycle)) == 29
    assert max(cycle) == pytest.approx(1.0)
    assert cycle[-1] < 1e-4
    for steps in (1, 2, 3):
        assert all(0 < rate <= 1 for rate in rates(ScheduleSpec(name="one-cycle", warmup=0.3), steps=steps))


def test_deeper_layers_learn_slower():
    groups = optimiser_for(tiny(), OptimiserSpec(learning_rate=1.0, layer_decay=0.5, weight_decay=0.1)).param_groups
    by_rate = sorted({group["lr"] for group in groups})
    assert by_rate == pytest.approx([0.5 ** (len(by_rate) - 1 - i) for i in range(len(by_rate))])
    assert {group["weight_decay"] for group in groups} == {0.0, 0.1}


def test_the_range_test_finds_the_steepest_fall():
    found = np.geomspace(1e-6, 1, 60)
    losses = [2 - 1 / (1 + np.exp(-4 * (np.log10(r) + 3))) + 50 * max(0, np.log10(r) + 1) ** 2 for r in found]
    assert 3e-4 < range_test.steepest(list(found), losses) < 1e-2


def test_the_range_test_does_not_follow_a_loss_down_to_nothing():
    rates = range_test.range_rates(RangeTestSpec(low=1e-6, high=1.0, steps=100))
    losses = [2 / (1 + (rate / 1e-4) ** 1.5) if rate < 0.05 else 20.0 for rate in rates]
    assert 3e-5 < range_test.steepest(rates, losses) < 4e-4


def test_an_easy_first_batch_does_not_flatten_a_short_range_test():
    rates = range_test.range_rates(RangeTestSpec(low=1e-5, high=1e-1, steps=10))
    losses = [0.4, 2.0, 2.0, 1.9, 1.7, 1.0, 0.5, 0.3, 0.3, 9.0]
    assert 5e-4 < range_test.steepest(rates, losses) < 2e-2


@pytest.mark.parametrize("seed", range(5))
def test_scattered_losses_do_not_make_the_range_test_choose_the_lowest_rates(seed):
    """As those of a network whose fresh head gives large logits: batches differ by more than the loss falls."""
    rates = range_test.range_rates(RangeTestSpec(low=1e-6, high=1.0, steps=100))
    learnt = 1 / (1 + (3e-4 / np.array(rates)) ** 2)
    scatter = np.random.default_rng(seed).gamma(4, 0.3, 100)
    losses = 0.5 + (2.0 - 1.5 * learnt) * scatter
    losses[np.array(rates) > 0.03] *= 8
    assert 5e-5 < range_test.steepest(rates, losses.tolist()) < 3e-3


def test_the_sampler_goes_through_all_and_leaves_no_lone_sample():
    sampler = Sampler(9, 4, torch.Generator().manual_seed(0))
    assert sampler.batches == 2
    first = [sampler.next() for _ in range(2)]
    assert sorted(torch.cat(first).tolist()) == list(range(9))
    assert [len(batch) for batch in first] == [4, 5]
    state = sampler.state()
    other = Sampler(9, 4, torch.Generator().manual_seed(1))
    other.restore(state)
    assert sampler.state() == other.state() == {"waiting": []}


def test_metrics_keep_the_order_of_classes_even_where_one_is_absent():
    probabilities = np.array([[0.8, 0.1, 0.1], [0.6, 0.3, 0.1], [0.1, 0.2, 0.7]])
    figures = classification_metrics(np.array([0, 0, 2]), probabilities, CLASSES)
    assert figures["confusion"] == [[2, 0, 0], [0, 0, 0], [0, 0, 1]]
    assert figures["accuracy"] == 1.0
    assert figures["auc"] == 1.0


def test_prediction_does_not_depend_on_the_batch():
    cells = [np.random.default_rng(i).random((2, 9 + i % 3, 16, 16)).astype(np.float16) for i in range(5)]
    stacked = samples(cells, [0] * 5)
    whole = trainer.predict(tiny(), stacked, CPU)
    np.testing.assert_allclose(trainer.predict(tiny(), stacked, CPU, batch=2), whole, atol=1e-6)
