"""The studies that ship say what the protocols say; a study of one's own is checked field by field."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from importlib import resources

import numpy as np
import pytest
import yaml

from cadx.cli import main
from cadx.errors import InputError
from cadx.prepare.spec import preset as preparation_of
from cadx.study.presets import dump, first_difference, new_study, presets, read_study
from cadx.study.spec import StudySpec
from cadx.study.weights import complaint, plan, require_same_weights

ALL = [(name, preset) for name, own in presets().items() for preset in own]

# a phrase of the protocols, the field that it settles, its value
PROTOCOLS = {
    ("ipmn", "paper"): [
        ("Three classes: 0 normal, 1 low risk (low-grade), 2 high risk (high-grade)", "classes.1.name", "low risk"),
        ("it was\nput into class 2", "classes.2.labels.4", "adenocarcinoma"),
        ("1. N4 bias field correction", "input.preparation.bias.method", "n4"),
        (
            "default: curvature anisotropic diffusion",
            "input.preparation.smooth.method",
            "curvature-anisotropic-diffusion",
        ),
        ("5 iterations)", "input.preparation.smooth.iterations", 5),
        ("default: Nyul landmarks, **fitted on the training\nfold only**", "input.landmarks", "nyul"),
        ("resize in the transverse plane to 256 x 256", "input.preparation.grid.in_plane_pixels", 256),
        ("each slice to 64 x 64", "input.preparation.grid.cell_pixels", 64),
        ("each volume scaled to 0..1", "input.preparation.scale.method", "roi-range"),
        ("nine consecutive slices into a 3 x 3 grid", "input.preparation.grid.slices", 9),
        ("T1 grid and T2 grid stacked as two channels", "input.preparation.channels", ["T1", "T2"]),
        ("base size and P = 16", "models.5.architecture", "vit_base_patch16_224"),
        ("| Adam, lr 0.003, batch 8, 3000 epochs |", "training.optimiser.name", "adam"),
        ("| Adam, lr 0.003, batch 8, 3000 epochs |", "training.optimiser.learning_rate", 0.003),
        ("| Adam, lr 0.003, batch 8, 3000 epochs |", "training.batch", 8),
        ("| Adam, lr 0.003, batch 8, 3000 epochs |", "training.epochs", 3000),
        ("random horizontal flip", "augmentation.flip_horizontal", 0.5),
        ("random 90 degree rotation, the same for all slices", "augmentation.quarter_turns", True),
        ("nine consecutive slices, sliding window", "augmentation.window", "random"),
        ("| cross-entropy |", "training.class_weights", "none"),
        ("| 10-fold nested cross-validation |", "split.folds", 10),
        ("| 10-fold nested cross-validation |", "split.inner.kind", "folds"),
        (
            "accuracy, precision, recall; mean and SD over folds",
            "tables.0.metrics",
            ["accuracy", "precision", "recall"],
        ),
    ],
    ("ipmn", "authors-code"): [
        ("cut to **6 layers**", "models.5.options.depth", 6),
        ("`ViT-B_16.npz` (ImageNet-21k)", "models.5.weights", "ViT-B_16.npz"),
        ("averaged over RGB and repeated", "models.5.first_layer", "mean"),
        ("resized bilinearly with aligned corners", "models.5.positions", "aligned-bilinear"),
        ("SGD 0.03, momentum 0.9, weight decay 2e-7", "training.optimiser.learning_rate", 0.03),
        ("SGD 0.03, momentum 0.9, weight decay 2e-7", "training.optimiser.momentum", 0.9),
        ("SGD 0.03, momentum 0.9, weight decay 2e-7", "training.optimiser.weight_decay", 2e-7),
        ("batch 32, 3000 **steps**", "training.batch", 32),
        ("batch 32, 3000 **steps**", "training.steps", 3000),
        ("dropout 0.1 on embeddings and MLP", "models.5.options.pos_drop_rate", 0.1),
        ("dropout 0.1 on embeddings and MLP", "models.5.options.proj_drop_rate", 0.1),
        ("head zero-initialised", "models.5.zero_head", True),
        ("no N4, smoothing or standardisation in the code", "input.preparation.bias", None),
        ("no N4, smoothing or standardisation in the code", "input.landmarks", "none"),
        ("both over the whole file", "input.preparation.scale.method", "volume-zscore-range"),
        ("slices resized by area to 64 x 64", "input.preparation.grid.sampling", "area"),
        ("flip of the R axis, p = 0.5", "augmentation.flip_vertical", 0.5),
        ("by any angle about the wrong axis", "augmentation.turn_through_slices", True),
        ("the last two starts never drawn", "augmentation.last_starts_never_drawn", 2),
        ("rows of a cell = the R axis", "input.preparation.grid.orientation", "authors"),
        ("weights 1, 0.65, 0.45", "training.class_weights", [1.0, 0.65, 0.45]),
        ("best validation balanced accuracy, checked every 100 steps", "selection.metric", "balanced_accuracy"),
        ("best validation balanced accuracy, checked every 100 steps", "training.check_every", 100),
        ("10 outer folds, 9 inner splits", "split.folds", 10),
        ("10 outer folds, 9 inner splits", "split.inner.folds", 9),
    ],
    ("ipmn", "recommended"): [
        ("AdamW 1e-4, weight decay 0.05", "training.optimiser.learning_rate", 1e-4),
        ("AdamW 1e-4, weight decay 0.05", "training.optimiser.weight_decay", 0.05),
        ("5 % warm-up then cosine", "training.schedule.warmup", 0.05),
        ("5 % warm-up then cosine", "training.schedule.name", "cosine"),
        ("label smoothing 0.1,\nlayer-wise decay 0.75", "training.label_smoothing", 0.1),
        ("label smoothing 0.1,\nlayer-wise decay 0.75", "training.optimiser.layer_decay", 0.75),
        ("early stop on the inner validation loss", "selection.metric", "loss"),
        ("D4 augmentation (4 rotations x flip)", "augmentation.quarter_turns", True),
        ("D4 augmentation (4 rotations x flip)", "augmentation.flip_horizontal", 0.5),
        ("window start random", "augmentation.window", "random"),
    ],
    **{
        (study, "paper"): [
            ("60 % training, 40 % validation", "split.test_share", 0.4),
            ("60 % training, 40 % validation", "split.inner.kind", "test"),
            ("stratified split, seed 0", "seed", 0),
            ("Input 224 x 224 RGB", "input.picture.pixels", 224),
            ("Input 224 x 224 RGB", "input.picture.channels", 3),
            ("rotation up to 20 degrees", "augmentation.rotation_degrees", 20),
            ("flip probability 0.5", "augmentation.flip_horizontal", 0.5),
            ("flip probability 0.5", "augmentation.flip_vertical", 0.5),
            ("From scratch: divide by 255", "models.0.normalise", "unit"),
            ("with transfer: ImageNet\nmean and SD", "models.12.normalise", "imagenet"),
            ("Adam 1e-3, StepLR(30, 0.1), 100 epochs", "training.optimiser.learning_rate", 1e-3),
            ("Adam 1e-3, StepLR(30, 0.1), 100 epochs", "training.schedule.name", "step"),
            ("Adam 1e-3, StepLR(30, 0.1), 100 epochs", "training.schedule.step_epochs", 30),
            ("Adam 1e-3, StepLR(30, 0.1), 100 epochs", "training.schedule.factor", 0.1),
            ("Adam 1e-3, StepLR(30, 0.1), 100 epochs", "training.epochs", 100),
            ("keep the weights with the lowest validation loss", "selection.final", "best"),
            ("keep the weights with the lowest validation loss", "selection.metric", "loss"),
            ("defaults**: batch 32", "training.batch", 32),
            (
                "Models: ResNet-18,\nResNet-50, ResNeXt-50 (32x4d), GoogLeNet, EfficientNet B0..B7",
                "models.2.architecture",
                "resnext50_32x4d",
            ),
        ]
        for study in ("brain-tumor-binary", "brain-tumor-type")
    },
    ("chest-xray", "paper"): [
        ("test 41/94/82", "split.test_counts", {"COVID-19": 41, "no finding": 94, "pneumonia": 82}),
        ("Input 224 x 224, batch 32, 50 epochs, RAdam, label smoothing", "training.batch", 32),
        ("Input 224 x 224, batch 32, 50 epochs, RAdam, label smoothing", "training.epochs", 50),
        ("Input 224 x 224, batch 32, 50 epochs, RAdam, label smoothing", "training.optimiser.name", "radam"),
        ("Defaults: smoothing 0.1", "training.label_smoothing", 0.1),
        ("learning rate from a range test (1e-6 to\n1e-5)", "training.range_test.low", 1e-6),
        ("learning rate from a range test (1e-6 to\n1e-5)", "training.range_test.high", 1e-5),
        ("rotation, horizontal and vertical flip, zoom, warp, affine", "augmentation.flip_vertical", 0.5),
        ("group by patient", "split.unit", "patient"),
        ("The 217 test images also chose the models", "split.inner.kind", "test"),
    ],
}


def field(document, place):
    for key in place.split("."):
        document = document[int(key)] if isinstance(document, list) else document[key]
    return document


@pytest.mark.parametrize("key", PROTOCOLS, ids="-".join)
def test_a_preset_says_what_the_protocols_say(shared, key):
    text = (shared / "reference" / "protocols.md").read_text()
    document = yaml.safe_load(dump(read_study(*key)))
    for phrase, place, value in PROTOCOLS[key]:
        assert phrase in text, phrase
        assert field(document, place) == value, (phrase, place)


@pytest.mark.parametrize("name", ["recommended", "paper", "authors-code"])
def test_a_study_prepares_as_the_preset_of_its_name(name):
    """What the golden file and the benchmarks show of a preparation holds for the study too."""
    assert read_study("ipmn", name).input.preparation == preparation_of(name)


@pytest.mark.parametrize(("name", "preset"), ALL)
def test_a_study_written_out_reads_back_as_itself(tmp_path, name, preset):
    study = read_study(name, preset)
    file = tmp_path / "study.yaml"
    file.write_text(dump(study))
    again = read_study(str(file))
    assert first_difference(study, again) is None
    assert again == study


@pytest.mark.parametrize(("name", "preset"), ALL)
def test_every_network_of_a_study_can_be_built(name, preset):
    pytest.importorskip("timm")
    from cadx.models.build import ModelSpec, build
    from cadx.models.registry import dimensions_of

    study = read_study(name, preset)
    for entry in study.models[:: 1 if name == "ipmn" and preset == "paper" else 7]:
        channels = len(entry.channels or study.channels) if name == "ipmn" else 3
        pixels = 192 if name == "ipmn" else 224
        spec = ModelSpec(
            architecture=entry.architecture,
            channels=channels,
            classes=len(study.classes),
            image_pixels=pixels,
            options=entry.options,
            fusion=entry.fusion,
            dimensions=dimensions_of(entry.architecture),
        )
        assert any(parameter.is_meta for parameter in build(spec, device="meta").parameters())


def published():
    """(study, table, model) of every published figure."""
    text = resources.files("cadx.evaluate").joinpath("published.csv").read_text(encoding="utf-8")
    return {(row["study"], row["table"], row["model"]) for row in csv.DictReader(io.StringIO(text))}


def test_every_row_that_names_a_published_figure_has_one():
    known = published()
    for name, preset in ALL:
        study = read_study(name, preset)
        for table in study.tables:
            for row in table.rows:
                if row.published and table.published:
                    assert (study.published, table.published, row.published) in known


def test_the_published_names_are_all_in_some_row():
    """No model of the papers' own tables is forgotten."""
    rows = {
        (study.published, table.published, row.published)
        for name, preset in ALL
        for study in [read_study(name, preset)]
        for table in study.tables
        for row in table.rows
    }
    own = {"ipmn": ("Table I", "Table II"), "brain-tumor-binary": ("Table 1", "Table 2")}
    own |= {"brain-tumor-type": ("Table 3", "Table 4"), "chest-xray": ("accuracy and AUROC",)}
    wanted = {key for key in published() if key[1] in own.get(key[0], ())}
    assert wanted and wanted <= rows


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ("training.epoch=3", "training.epoch"),
        ("training.epochs=0", "training.epochs"),
        ("training.optimiser.name=lion", "training.optimiser.name"),
        ("selection.final=best", "selection.final"),
        ("training.transfer.mode=gradual", "selection.final"),
        ("selection.grid.learning_rate=[]", "no value to try"),
        ("selection.grid.learning_rate=[0.1, -1]", "cannot be -1"),
        ("selection.grid.weight_decay=[0, 0]", "twice"),
        ("tables.0=1", "no single field"),
        ("training.class_weights=[1.0, 2.0]", "class_weights"),
        ("classes=[{name: a, labels: [x]}, {name: b, labels: [X]}]", "label 'x' occurs twice"),
        ("split.test_counts={heart: 3}", "test_counts"),
        ("training", "no setting"),
        ("seed=[", "no YAML value"),
    ],
)
def test_a_wrong_field_is_one_sentence(change, word, capsys, tmp_path):
    assert main(["study", "show", "ipmn", "--set", change]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert word in line
    assert "Value error" not in line


def test_fields_that_undo_each_other_are_refused():
    grid = "selection.grid.learning_rate=[0.1, 0.01]"
    for changes, word in (
        (["training.range_test={}", grid], "range_test chooses"),
        (["split.kind=counts", "split.test_counts={normal: 3}", "split.stratify_by_centre=true"], "stratify_by_centre"),
    ):
        with pytest.raises(InputError, match=word):
            read_study("ipmn", changes=changes)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("name: a\nname: b\n", "stands twice"),
        ("[1, 2", "not valid YAML"),
        ("- a\n", "no study"),
        ("!!python/object/apply:os.system [ls]", "not valid YAML"),
        ("schema: cadx.study/1\n", "is not allowed as it stands"),
    ],
)
def test_a_wrong_file_is_one_sentence(text, word, tmp_path, capsys):
    file = tmp_path / "own.yaml"
    file.write_text(text)
    assert main(["study", "show", str(file)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert word in line
    assert "own.yaml" in line


def test_a_study_of_ones_own_starts_from_a_copy(tmp_path, capsys):
    file = tmp_path / "cysts.yaml"
    assert main(["study", "new", str(file), "--like", "ipmn", "--preset", "paper"]) == 0
    own = read_study(str(file))
    assert own.preset == "own"
    assert first_difference(own.model_copy(update={"preset": "paper"}), read_study("ipmn", "paper")) is None
    assert "(default)" in file.read_text()
    with pytest.raises(InputError, match="exists"):
        new_study(file, "ipmn")


def test_the_list_names_every_study(capsys):
    assert main(["study", "list"]) == 0
    text = capsys.readouterr().out
    assert all(name in text for name in ("ipmn", "brain-tumor-binary", "brain-tumor-type", "chest-xray"))


def test_weights_are_settled_by_folder_file_or_word(tmp_path):
    study = read_study("brain-tumor-type")
    (tmp_path / "tf_efficientnet_lite0.fp16.safetensors").touch()
    names = ["efficientnet-lite0", "efficientnet-lite0-transfer", "resnet18-transfer", "resnet34"]
    chosen = plan(study, names, str(tmp_path))
    entries = [chosen.study.model(name) for name in names]
    assert [e.weights for e in entries[:2]] == ["none", "tf_efficientnet_lite0.fp16.safetensors"]
    assert chosen.weights(entries[1]) == str(tmp_path / "tf_efficientnet_lite0.fp16.safetensors")
    assert complaint(chosen, entries[1]) is None
    assert "resnet18.safetensors" in str(complaint(chosen, entries[2]))
    assert isinstance(chosen.study, StudySpec)
    assert np.all([e.weights == "none" for e in plan(study, names[:3], "none").study.models if e.name in names[:3]])


def test_weights_that_no_model_takes_are_refused(tmp_path):
    with pytest.raises(InputError, match="nothing to do"):
        plan(read_study("brain-tumor-type"), ["efficientnet-lite0"], str(tmp_path))


def test_other_weights_under_the_same_name_are_not_gone_on_with(tmp_path):
    file = tmp_path / "resnet18.safetensors"
    file.write_bytes(b"some")
    chosen = plan(read_study("brain-tumor-type"), ["resnet18-transfer"], str(tmp_path))
    task = tmp_path / "run" / "resnet18-transfer" / "fold-0" / "final" / "task.json"
    require_same_weights(chosen, tmp_path / "run")
    task.parent.mkdir(parents=True)
    task.write_text(json.dumps({"weights": {"sha256": hashlib.sha256(b"some").hexdigest()}}))
    require_same_weights(chosen, tmp_path / "run")
    file.write_bytes(b"other")
    with pytest.raises(InputError, match="resnet18.safetensors is not the file that run was begun with"):
        require_same_weights(chosen, tmp_path / "run")
