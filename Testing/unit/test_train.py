from __future__ import annotations

import csv
import json

import numpy as np
import pytest

from support import CLASSES, PLAIN, TINY, pattern_volume, write

torch = pytest.importorskip("torch")
pytest.importorskip("sklearn")

from cadx import device  # noqa: E402
from cadx.cli import main  # noqa: E402
from cadx.errors import InputError  # noqa: E402
from cadx.evaluate.metrics import classification_metrics  # noqa: E402
from cadx.models.bundle import Bundle  # noqa: E402
from cadx.prepare import grid  # noqa: E402
from cadx.prepare.spec import GridSpec  # noqa: E402
from cadx.study import augment, cohort, trainer  # noqa: E402
from cadx.study.recipe import Recipe  # noqa: E402
from cadx.study.tasks import task  # noqa: E402
from cadx.study.train import TrainingRun, run_training  # noqa: E402

SMALL = PLAIN.model_copy(update={"grid": GridSpec(cell_pixels=16)})


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


def run_of(data, out, **changes) -> TrainingRun:
    recipe = Recipe(
        epochs=changes.pop("epochs", 25), batch=4, learning_rate=1e-3, validation_share=0.25, d4=False, precision="fp32"
    )
    return TrainingRun(
        task=task("ipmn"),
        data=data,
        out=out,
        name="tiny",
        architecture="vit_tiny_patch16_224",
        options={**TINY},
        preparation=SMALL,
        recipe=recipe,
        device="cpu",
        **changes,
    )


def test_training_makes_a_bundle_that_knows_the_classes(data, tmp_path):
    bundle, figures = run_training(run_of(data, tmp_path / "b", test=data), lambda text: None)
    assert figures["Test (unseen)"]["accuracy"] >= 0.9
    assert Bundle.load(tmp_path / "b").sha256 == bundle.sha256
    assert not bundle.settings.demo
    assert "12 cases: accuracy" in bundle.card
    record = bundle.settings.training
    assert record["cases"] == {"training": 9, "validation": 3}
    assert record["curves"][record["best_epoch"]]["validation_loss"] == min(
        r["validation_loss"] for r in record["curves"]
    )


def test_the_bundle_classifies_from_files_as_it_was_trained(data, tmp_path):
    from cadx.batch import read_case
    from cadx.classify import Classifier

    bundle, _ = run_training(run_of(data, tmp_path / "b"), lambda text: None)
    classifier = Classifier(bundle, "cpu")
    cases = cohort.read_cohort(data, CLASSES)
    for labelled in cases[:3]:
        result = classifier.classify(read_case(labelled.row, print, 0)).result
        assert result.label == labelled.label


def test_the_same_seed_gives_the_same_weights(data, tmp_path):
    one, _ = run_training(run_of(data, tmp_path / "one", epochs=2), lambda text: None)
    two, _ = run_training(run_of(data, tmp_path / "two", epochs=2), lambda text: None)
    a, b = one.build_model().state_dict(), two.build_model().state_dict()
    assert all(torch.equal(a[name], b[name]) for name in a)


def test_training_on_phantoms_marks_the_bundle(data, tmp_path):
    marker = data / "dataset.json"
    marker.write_text('{"schema": "cadx.dataset/1", "synthetic": true}')
    try:
        bundle, _ = run_training(run_of(data, tmp_path / "b", epochs=1), lambda text: None)
    finally:
        marker.unlink()
    assert bundle.settings.demo
    assert "grade means nothing on a patient" in bundle.card


def test_the_command_line_trains(data, tmp_path, capsys):
    out = tmp_path / "My Bundle"
    options = ["--model-option", "depth=1", "--model-option", "embed_dim=48", "--model-option", "num_heads=3"]
    command = ["train", "ipmn", "--data", str(data), "--out", str(out), "--epochs", "1", "--device", "cpu", *options]
    assert main(command) == 0
    assert "not for clinical decisions" in capsys.readouterr().out
    assert Bundle.load(out).settings.name == "my-bundle"


@pytest.mark.parametrize(
    ("option", "word"),
    [
        (["--name", "My Model"], "name is not allowed"),
        (["--learning-rate", "nan"], "learning_rate is not allowed"),
        (["--model", "no_such_network"], "timm cannot build"),
        (["--model-option", "depth=[1]"], "options"),
        (["--batch", "5000"], "batch is not allowed"),
        (["--test", "absent"], "absent"),
    ],
)
def test_a_bad_setting_is_known_before_anything_is_prepared(data, tmp_path, capsys, option, word):
    cache = tmp_path / "cache"
    command = ["train", "ipmn", "--data", str(data), "--out", str(tmp_path / "b"), "--cache", str(cache), *option]
    assert main(command) == 2
    (line,) = (line for line in capsys.readouterr().err.splitlines() if line.startswith("cadx: "))
    assert word in line
    assert list(tmp_path.iterdir()) == []


def test_a_folder_with_somebody_elses_manifest_is_not_replaced(data, tmp_path, capsys):
    (tmp_path / "extension").mkdir()
    (tmp_path / "extension" / "manifest.json").write_text("{}")
    (tmp_path / "extension" / "thesis.tex").write_text("years of work")
    assert main(["train", "ipmn", "--data", str(data), "--out", str(tmp_path / "extension")]) == 2
    assert "something else than a whole bundle" in capsys.readouterr().err
    assert (tmp_path / "extension" / "thesis.tex").read_text() == "years of work"


def test_patients_stay_on_one_side(data):
    cases = cohort.read_cohort(data, CLASSES)
    twice = [cohort.LabelledCase(c.row, c.label, f"patient-{c.label}-{i // 3 // 2}") for i, c in enumerate(cases)]
    training, validation = cohort.split_patients(twice, 0.5, 0)
    assert sorted(training + validation) == list(range(12))
    assert not {twice[i].patient for i in training} & {twice[i].patient for i in validation}
    assert {twice[i].label for i in validation} == set(CLASSES)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("case,t1,t2,roi,label\na,b,c,d,grave\n", "'grave'"),
        ("case,t1,t2,roi\na,b,c,d\n", "lacks the column label"),
        ("case,t1,t2,roi,label,patient\na,b,c,d,normal,p\nb,b,c,d,low risk,p\n", "two labels"),
    ],
)
def test_a_bad_cohort_is_one_sentence(tmp_path, text, word):
    (tmp_path / "cases.csv").write_text(text)
    with pytest.raises(InputError, match=word):
        cohort.read_cohort(tmp_path, CLASSES)


def test_tiling_agrees_with_the_preparation():
    cells = torch.rand(2, 3, 9, 4, 4)
    np.testing.assert_array_equal(augment.tile(cells).numpy(), grid.tile(cells.numpy()))


def test_augmentation_moves_all_slices_and_channels_of_a_case_alike():
    cell = torch.rand(1, 1, 1, 8, 8)
    cells = cell.expand(64, 2, 9, 8, 8)
    generator = torch.Generator().manual_seed(0)
    for moved in (augment.random_d4(cells, generator), augment.random_affine(cells, 1.0, generator)):
        assert torch.equal(moved, moved[:, :1, :1].expand_as(moved))
        assert len({tuple(m.flatten().tolist()) for m in moved[:, 0, 0]}) > 4
    symmetries = {tuple(torch.rot90(cell[0, 0, 0], q, (0, 1)).flatten().tolist()) for q in range(4)}
    symmetries |= {tuple(torch.rot90(cell[0, 0, 0], q, (0, 1)).flip(-1).flatten().tolist()) for q in range(4)}
    drawn = {tuple(m.flatten().tolist()) for m in augment.random_d4(cells, generator)[:, 0, 0]}
    assert drawn == symmetries


def test_windows_are_drawn_evenly_and_stay_inside():
    slices = torch.tensor([12] * 4000 + [7])
    windows = augment.random_windows(slices, 9, torch.Generator().manual_seed(0))
    starts = windows[:-1, 0].bincount(minlength=4)
    assert len(starts) == 4
    assert starts.min() > 850
    assert windows[-1].tolist() == [0, 1, 2, 3, 4, 5, 6, 6, 6]
    assert augment.central_windows(torch.tensor([12, 9, 7]), 9)[:, 0].tolist() == [2, 0, 0]


def test_the_normalisation_folds_into_the_first_layer():
    from cadx.models.build import ModelSpec, build
    from cadx.study.normalise import InputNormalisation

    torch.manual_seed(0)
    model = build(ModelSpec(architecture="vit_tiny_patch16_224", channels=2, classes=3, image_pixels=48, options=TINY))
    cells = [np.random.default_rng(i).random((2, 9, 16, 16)).astype(np.float16) * 0.3 for i in range(4)]
    normalisation = InputNormalisation(model.eval(), trainer.CellTensor.stack(cells, np.zeros(4, np.int64)))
    x = torch.rand(2, 2, 48, 48)
    with torch.inference_mode():
        normalised = model(x)
        normalisation.remove()
        plain = model(x)
        model.load_state_dict(normalisation.fold(model.state_dict()))
        folded = model(x)
    torch.testing.assert_close(folded, normalised, atol=1e-4, rtol=1e-4)
    assert not torch.allclose(plain, normalised, atol=1e-3)


def test_lesion_masks_teach_the_patches(data, case):
    """With masks the loss on the patches falls; without them the weight is refused."""
    from cadx.models.build import ModelSpec, build
    from cadx.study.patch_loss import PatchLoss

    generator = np.random.default_rng(0)
    cells = [generator.random((2, 9, 16, 16)).astype(np.float16) * 0.3 for _ in range(6)]
    lesions = [np.zeros((9, 16, 16), np.uint8) for _ in range(6)]
    for index in range(3, 6):
        lesions[index][4, 4:12, 4:12] = 1
        cells[index][:, 4, 4:12, 4:12] = 1
    labels = np.array([0, 0, 0, 1, 2, 1])
    cases = trainer.CellTensor.stack(cells, labels, lesions)
    spec = ModelSpec(architecture="vit_tiny_patch16_224", channels=2, classes=3, image_pixels=48, options=TINY)
    recipe = Recipe(epochs=15, batch=3, learning_rate=2e-3, lesion_weight=1.0, d4=False, precision="fp32")
    torch.manual_seed(0)
    cpu = device.Device("cpu", "", "")
    history = trainer.train(build(spec), cases, cases, recipe, 9, where=cpu).history
    assert history[-1]["loss"] < 0.6 * history[0]["loss"]
    with pytest.raises(InputError, match="lesion masks"):
        PatchLoss(build(spec), recipe, trainer.CellTensor.stack(cells, labels))


def test_lesion_cells_lie_where_the_mask_lies(case, tmp_path, data):
    from dataclasses import replace as changed

    from cadx.study.cells import lesion_cells

    geometry = case.reference.geometry
    mask = np.zeros(geometry.size_ijk[::-1], np.uint8)
    mask[7, 22:30, 26:34] = 1
    write(tmp_path / "lesion.nii.gz", case.reference.with_voxels(mask))
    labelled = changed(cohort.read_cohort(data, CLASSES)[0], lesion=str(tmp_path / "lesion.nii.gz"))
    cells = lesion_cells(labelled, PLAIN)
    assert cells.shape == (9, 64, 64)
    assert [k for k in range(9) if cells[k].any()] == [4]
    rows, columns = np.nonzero(cells[4])
    assert abs(rows.mean() - 31.5) < 1.5
    assert abs(columns.mean() - 31.5) < 1.5


def test_metrics_keep_the_order_of_classes_even_where_one_is_absent():
    probabilities = np.array([[0.8, 0.1, 0.1], [0.6, 0.3, 0.1], [0.1, 0.2, 0.7]])
    figures = classification_metrics(np.array([0, 0, 2]), probabilities, CLASSES)
    assert figures["confusion"] == [[2, 0, 0], [0, 0, 0], [0, 0, 1]]
    assert figures["accuracy"] == 1.0
    assert figures["auc"] == 1.0


def test_prediction_does_not_depend_on_the_batch(data):
    torch.manual_seed(0)
    cells = [np.random.default_rng(i).random((2, 9 + i % 3, 16, 16)).astype(np.float16) for i in range(5)]
    stacked = trainer.CellTensor.stack(cells, np.zeros(5, np.int64))
    from cadx.models.build import ModelSpec, build

    model = build(ModelSpec(architecture="vit_tiny_patch16_224", channels=2, classes=3, image_pixels=48, options=TINY))
    cpu = device.Device("cpu", "", "")
    whole = trainer.predict(model, stacked, 9, cpu)
    np.testing.assert_allclose(trainer.predict(model, stacked, 9, cpu, batch=2), whole, atol=1e-6)
