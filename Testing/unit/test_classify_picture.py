"""Pictures and slices: the same answer whatever the file, the map on the right pixel, what a bundle may say."""

from __future__ import annotations

import csv
import json
from dataclasses import replace

import numpy as np
import pytest
from pydantic import ValidationError

from cadx import network, output, slice_pictures
from cadx.batch import read_picture_cases
from cadx.classify import Classifier
from cadx.classify_picture import PictureClassifier, PictureOptions
from cadx.cli import main
from cadx.errors import BundleError, InputError
from cadx.explain.display import HIRESCAM, kind_of
from cadx.explain.hirescam import hirescam
from cadx.explain.maps import Explained
from cadx.explain.spec import ExplanationSpec
from cadx.geometry import Geometry
from cadx.io.files import read_volume
from cadx.models.bundle import Bundle
from cadx.phantom.head import NONE, TUMOUR, make_head, write_heads
from cadx.picture_case import PictureCase
from cadx.prepare.picture import PictureSpec, picture_of, prepare_picture, to_picture
from cadx.prepare.picture_file import read_picture_file
from cadx.prepare.stack import Stack
from cadx.result import Result
from cadx.volume import Volume

from picture_samples import KINDS, STORAGES, blob_volume, make_picture_bundle, stored, write_slice_dicom
from support import write, write_dicom

Image = pytest.importorskip("PIL.Image")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("pictures")


@pytest.fixture(scope="module")
def vit(folder):
    return PictureClassifier(make_picture_bundle(folder / "vit", demo=True, scale=30, temperature=2.0), "cpu")


@pytest.fixture(scope="module")
def cnn(folder):
    bundle = make_picture_bundle(folder / "cnn", KINDS, negative=(), architecture="test_resnet", scale=30)
    return PictureClassifier(bundle, "cpu")


@pytest.fixture(scope="module")
def head():
    return make_head(4, 0)


@pytest.fixture(scope="module")
def reading(vit, head):
    return vit.classify(PictureCase(head.volume), PictureOptions(rule="mean"), command=("cadx", "classify"))


def shares(reading):
    return np.array(list(reading.result.probabilities.values()))


def by_place(reading):
    return [(row["position_mm"], row["label"], row["probabilities"]) for row in reading.result.slices["table"]]


# --- the result


def test_a_volumes_result_holds_what_the_schema_promises(reading, head, vit):
    document = json.loads(json.dumps(reading.result.to_json()))
    assert Result.from_json(document).to_json() == document
    assert (document["schema"], document["status"], document["roi"]) == ("cadx.result/1", "ok", {})
    slices = document["slices"]
    assert (slices["plane"], slices["count"], slices["of"]) == ("axial", 12, 12)
    assert [row["slice"] for row in slices["table"]] == list(range(12))
    places = [head.volume.geometry.to_ras([41.5, 49.5, k]) for k in range(12)]
    np.testing.assert_allclose([row["center_ras"] for row in slices["table"]], places, atol=1e-3)
    np.testing.assert_allclose(slices["positions_mm"], np.array(places)[:, 2], atol=1e-3)
    assert document["inputs"][0]["intensity"].startswith("each slice from its own minimum")
    assert document["rule"]["name"] == "mean"
    assert [w["code"] for w in document["warnings"]] == ["demo-model"]
    for key in ("device", "precision", "versions", "timings_s", "command", "options", "explanation", "request_sha256"):
        assert document[key]
    assert "mean over 12 slices" in reading.result.summary()
    assert "Most suspicious slices: " in reading.result.summary()


def test_probabilities_are_those_of_the_model_at_its_temperature(vit, head):
    import torch

    one = vit.classify(PictureCase(head.volume, [5])).slices[0]
    with torch.inference_mode():
        tensor = prepare_picture(one.view.picture.pixels, vit.preparation)
        logits = vit.bundle.build_model()(torch.from_numpy(tensor)[None])
    np.testing.assert_allclose(one.probabilities, (logits / 2.0).softmax(-1)[0].numpy(), atol=1e-6)


def test_each_slice_is_read_as_if_alone_and_the_rule_is_stated(vit, head, reading):
    alone = [vit.classify(PictureCase(head.volume, [k]), PictureOptions(explain=False)) for k in range(12)]
    rows = [row["probabilities"] for row in reading.result.slices["table"]]
    assert [a.result.probabilities for a in alone] == rows
    assert {a.result.rule["name"] for a in alone} == {"chosen-slice"}
    np.testing.assert_allclose(shares(reading), np.mean([shares(a) for a in alone], axis=0), atol=1e-5)
    confident = vit.classify(PictureCase(head.volume), PictureOptions(rule="most-confident")).result
    best = max(range(12), key=lambda k: shares(alone[k]).max())
    assert confident.probabilities == rows[best]
    assert confident.slices["shown"] == best
    assert f"slice {best}, the most confident of 12" in confident.rule["text"]
    some = vit.classify(PictureCase(head.volume, [7, 2, 7])).result
    assert [row["slice"] for row in some.slices["table"]] == [2, 7]


def test_by_default_a_finding_on_one_slice_is_a_finding(vit, cnn, head):
    """Most slices of a head with a tumour show none: their mean would say so."""
    found = vit.classify(PictureCase(head.volume), PictureOptions(explain=False)).result
    rows = found.slices["table"]
    highest = max(rows, key=lambda row: row["suspicion"])
    assert (
        found.rule["name"] == "most-suspicious"
        and f"slice {highest['slice']}, the most suspicious" in found.rule["text"]
    )
    assert dict(found.probabilities) == highest["probabilities"] and found.slices["shown"] == highest["slice"]
    assert cnn.classify(PictureCase(head.volume), PictureOptions(explain=False)).result.rule["name"] == "mean"
    with pytest.raises(InputError, match="No class of pictures means that there is no finding"):
        cnn.classify(PictureCase(head.volume), PictureOptions(rule="most-suspicious"))


def test_only_a_bundle_with_a_negative_class_ranks_slices(vit, cnn, head, reading):
    table = {row["slice"]: row for row in reading.result.slices["table"]}
    ranked = [table[number]["suspicion"] for number in reading.result.slices["suspicious"]]
    assert len(ranked) == 12
    assert ranked == sorted(ranked, reverse=True)
    assert all(row["suspicion"] == pytest.approx(row["probabilities"]["tumour"], abs=1e-6) for row in table.values())
    presuming = cnn.classify(PictureCase(head.volume)).result
    assert "suspicious" not in presuming.slices
    assert "suspicion" not in presuming.slices["table"][0]
    assert [n.code for n in presuming.warnings] == ["presumes-finding"]
    assert "presumes a tumour" in presuming.warnings[0].text


def test_a_negative_class_must_be_one_of_several(tmp_path):
    from pydantic import ValidationError

    for negative in (("other",), ("no tumour", "tumour")):
        with pytest.raises(ValidationError, match="negative must name some"):
            make_picture_bundle(tmp_path / "b", negative=negative)


def test_a_study_hands_its_negative_classes_on():
    from cadx.models.build import ModelSpec
    from cadx.study.bundling import Making, settings_of
    from cadx.study.presets import read_study

    study = read_study("brain-tumor-binary")
    model = ModelSpec(architecture="resnet18", channels=3, classes=2, image_pixels=64)
    settings = settings_of(Making(study, "b", model, PictureSpec(pixels=64), None, synthetic=False))
    assert settings.negative == ("no tumour",)


def test_the_two_kinds_of_bundle_are_not_mixed_up(bundle, vit):
    with pytest.raises(BundleError, match="for volumes with a ROI"):
        PictureClassifier(bundle, "cpu")
    with pytest.raises(BundleError, match="for pictures"):
        Classifier(vit.bundle, "cpu")


# --- one slice, many files


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_slice_gives_the_same_answer_from_every_file(vit, tmp_path, axis):
    volume = blob_volume(axis)
    stack = Stack.of(volume)
    answer = vit.classify(PictureCase(volume, [3]))
    Image.fromarray(stack.picture(3).pixels).save(tmp_path / "a.png")
    Image.fromarray(stack.values(3).astype(np.uint16)).save(tmp_path / "deep.png")
    files = [tmp_path / "a.png", tmp_path / "deep.png"]
    for number, (order, signs) in enumerate(STORAGES):
        # a DICOM image lies in the plane of the acquisition, turned and mirrored as the scanner liked it
        one = stored(volume, order, signs)
        if order[2] == axis:
            index = round(float(one.geometry.to_ijk(stack.center_ras(3))[2]))
            tags = {"RescaleSlope": 0.37, "RescaleIntercept": -3.5, "WindowCenter": 300 + number, "WindowWidth": 50}
            plane = one.voxels[index].astype(np.uint16)
            files.append(write_slice_dicom(tmp_path / f"{number}.dcm", plane, one.geometry.axes, **tags))
    assert len(files) == 2 + 16
    for file in files:
        picture = read_picture_file(file)
        assert np.array_equal(picture.pixels, stack.picture(3).pixels), file.name
        np.testing.assert_allclose(shares(vit.classify(PictureCase(picture))), shares(answer), atol=1e-4)
    series = write_dicom(
        tmp_path / "s", stored(volume, STORAGES[0][0], (1, 1, 1)), uid="1.2.5", description="t1", tr=4, te=2
    )
    for path in (write(tmp_path / "a.nii.gz", volume), write(tmp_path / "a.nrrd", volume), series):
        read = read_volume(str(path))
        found = vit.classify(PictureCase(read))
        (row,) = (r for r in found.slices if abs(r.view.position_mm - stack.position_mm(3)) < 0.1)
        np.testing.assert_allclose(row.probabilities, shares(answer), atol=1e-4)


def test_real_slices_give_the_same_answer_from_the_volume_and_their_files(vit, shared):
    series = shared / "data" / "mri" / "pelvis_dicom" / "t2_axial"
    volume = read_volume(str(series))
    reading = vit.classify(PictureCase(volume), PictureOptions(explain=False))
    import pydicom

    for file in sorted(series.iterdir())[::6]:
        height = float(pydicom.dcmread(file, stop_before_pixels=True).ImagePositionPatient[2])
        picture = read_picture_file(file)
        near = min(reading.slices, key=lambda r: abs(first_height(volume, r.view.index) - height))
        assert np.array_equal(near.view.picture.pixels, picture.pixels)
        np.testing.assert_allclose(shares(vit.classify(PictureCase(picture))), near.probabilities, atol=1e-4)


def first_height(volume, index):
    return float(volume.geometry.to_ras([0, 0, index])[2])


def test_the_storage_changes_nothing(vit, head, reading):
    for order, signs in STORAGES[::5]:
        found = vit.classify(PictureCase(stored(head.volume, order, signs)), PictureOptions(rule="mean"))
        assert by_place(found) == by_place(reading)
        assert found.result.probabilities == reading.result.probabilities
        assert found.result.request_sha256 == reading.result.request_sha256
        turned = stored(reading.attention, order, signs)
        assert found.attention.geometry.is_close(turned.geometry)
        np.testing.assert_array_equal(found.attention.voxels, turned.voxels)
        for row in found.result.slices["table"]:
            k = found.attention.geometry.to_ijk(row["center_ras"])[order.index(2)]
            assert row["slice"] == pytest.approx(k, abs=1e-3)


@pytest.mark.parametrize("plane", ["axial", "coronal", "sagittal"])
def test_a_plane_that_is_chosen_is_read_whatever_the_storage(vit, plane):
    volume, options = blob_volume(1), PictureOptions(explain=False)
    numbers = Stack.of(volume, plane).indices[8:3:-2] if plane != "coronal" else (2, 4)
    expected = vit.classify(PictureCase(volume, numbers, plane=plane), options)
    assert expected.result.slices["plane"] == expected.result.inputs[0]["plane"] == plane
    chosen, acquired = (vit.request_sha256(PictureCase(volume, plane=given), options) for given in (plane, None))
    assert (chosen == acquired) == (plane == "coronal")
    for order, signs in STORAGES[::7]:
        one = stored(volume, order, signs)
        stack = Stack.of(one, plane)
        heights = [round(reading.view.position_mm, 3) for reading in expected.slices]
        same = [i for i in stack.indices if round(stack.position_mm(i), 3) in heights]
        found = vit.classify(PictureCase(one, same, plane=plane), options)
        assert by_place(found) == by_place(expected)
        assert found.result.request_sha256 == expected.result.request_sha256


def test_pixels_of_thick_slices_cut_the_other_way_are_not_square(vit):
    geometry = Geometry.from_axes((12, 11, 9), (1, 1, 5), np.eye(3), (0, 0, 0))
    volume = Volume(np.random.default_rng(0).integers(0, 99, (9, 11, 12)), geometry, "thick")
    for plane, codes in (("axial", []), ("coronal", ["pixels-not-square"]), ("sagittal", ["pixels-not-square"])):
        result = vit.classify(PictureCase(volume, plane=plane), PictureOptions(explain=False)).result
        assert [n.code for n in result.warnings if n.code != "demo-model"] == codes
        if codes:
            assert "1.00 x 5.00 mm" in result.warnings[-1].text


def test_a_plane_is_one_of_three_and_of_a_volume(head):
    with pytest.raises(InputError, match="no plane 'oblique'; choose axial, coronal or sagittal"):
        PictureCase(head.volume, plane="oblique")
    with pytest.raises(InputError, match="single picture and has no plane"):
        PictureCase(Stack.of(head.volume).picture(5), plane="axial")
    with pytest.raises(InputError, match="12 axial slices, 0 to 11, and no slice 40"):
        PictureCase(head.volume, [40])
    assert PictureCase(head.volume, [40], plane="sagittal").wanted == (40,)


# --- the map


@pytest.mark.parametrize("fit", ["stretch", "pad"])
def test_an_impulse_in_the_map_lands_on_its_voxel(tmp_path, monkeypatch, fit):
    """The network's own map is as fine as its input; where one cell is 1 says where the map must be 1."""
    preparation = PictureSpec(pixels=48, channels=1, fit=fit)
    classifier = PictureClassifier(make_picture_bundle(tmp_path / "b", preparation=preparation), "cpu")
    original = network.explain

    def impulse(model, x, kind, class_index=None, spec=None):
        values = np.where(x[0, 0].numpy() == x.max().item(), 1.0, 0.0).astype(np.float32)
        return Explained(original(model, x, kind, class_index).logits, values, "")

    monkeypatch.setattr(network, "explain", impulse)
    volume = blob_volume(0)
    voxels = np.full(volume.voxels.shape, 100, np.int16)
    voxels[1:, :, 2:] += 1  # not one slice is empty
    voxels[25, 11, 3] = 1000
    target = volume.geometry.to_ras([3, 11, 25])
    for order, signs in STORAGES[::7]:
        one = stored(volume.with_voxels(voxels), order, signs)
        (chosen,) = (i for i in range(7) if np.max(Stack.of(one).values(i)) == 1000)
        found = classifier.classify(PictureCase(one, [chosen])).attention
        k, j, i = np.unravel_index(found.voxels.argmax(), found.voxels.shape)
        assert found.voxels.max() > 0.2
        np.testing.assert_allclose(found.geometry.to_ras([i, j, k]), target, atol=1e-3)
        assert (found.voxels != 0).sum() < 30


def test_the_slice_that_decides_leads_the_ranking_however_close(vit, head, monkeypatch):
    close = iter(1 - 10.0 ** -np.array([7.0, 9, 8]))
    monkeypatch.setattr(vit, "probabilities", lambda logits: np.array([1 - (share := next(close)), share]))
    slices = vit.classify(PictureCase(head.volume, [3, 4, 5]), PictureOptions(explain=False)).result.slices
    assert [row["suspicion"] for row in slices["table"]] == [1, 1, 1]
    assert (slices["shown"], slices["suspicious"]) == (4, [4, 5, 3])


def test_grad_cam_has_one_scale_and_speaks_of_the_answer(cnn, head):
    reading = cnn.classify(PictureCase(head.volume))
    explanation = reading.result.explanation
    assert explanation["method"].startswith("Grad-CAM")
    assert explanation["layer"]
    assert explanation["class"] == reading.result.label
    assert reading.attention.voxels.max() == pytest.approx(1)
    maps = [r.own_map.max() for r in reading.slices if r.own_map is not None]
    assert max(maps) == pytest.approx(1) and min(maps) < 1
    assert reading.attention.geometry.is_close(head.volume.geometry)
    one = cnn.classify(PictureCase(Stack.of(head.volume).picture(5), name="p"))
    assert one.attention is None
    assert one.slices[0].own_map.shape == one.slices[0].view.picture.shape
    assert one.result.slices == {}
    assert one.result.rule is None


def test_an_empty_map_is_said_and_not_drawn(cnn, head, tmp_path, monkeypatch):
    def empty(model, x, kind, class_index=None, spec=None):
        return Explained(model(x).detach(), np.zeros((4, 4), np.float32), "layer")

    monkeypatch.setattr(network, "explain", empty)
    case = PictureCase(head.volume, [4, 5])
    reading = cnn.classify(case)
    assert reading.attention is None
    assert reading.result.explanation == {"method": "none", "text": network.EMPTY_MAP}
    assert "empty-map" in [n.code for n in reading.result.warnings]
    names = {path.name for path in output.write_reading(tmp_path / "o", case, reading)}
    assert names == {"result.json", "overlay.png", "slices.png", "profile.png"}


# --- odd input


def test_slices_that_show_nothing_are_left_out_and_counted(vit, head):
    voxels = head.volume.voxels.copy()
    voxels[:3] = 7
    case = PictureCase(head.volume.with_voxels(voxels))
    result = vit.classify(case).result
    assert result.slices["empty"] == [0, 1, 2]
    assert result.slices["count"] == 9
    (notice,) = (n for n in result.warnings if n.code == "empty-slices")
    assert "3 of 12 slices show nothing and were left out: 0, 1, 2" in notice.text
    with pytest.raises(InputError, match="shows nothing in the chosen slices"):
        vit.classify(replace(case, slices=[1]))


def test_air_beside_a_head_is_named_and_a_faint_volume_is_not(head):
    voxels = head.volume.voxels.astype(np.float64)
    voxels[[0, 11]] = np.random.default_rng(1).normal(0, voxels.max() / 60, voxels[:2].shape)
    case = PictureCase(head.volume.with_voxels(voxels))
    (notice,) = case.notices()
    assert notice.code == "faint-slices"
    assert notice.text.startswith("2 of 12 slices are faint") and notice.text.endswith("The others are 1-10.")
    assert [view.index for view in case.views()] == list(range(1, 11))
    named = replace(case, slices=range(12))
    assert [view.index for view in named.views()] == list(range(12)) and "full contrast" in named.notices()[0].text
    for whole in (PictureCase(head.volume), replace(case, slices=[0]), replace(case, slices=range(1, 11))):
        assert whole.notices() == []


def test_a_picture_of_few_pixels_is_read_with_a_warning():
    codes = [
        [notice.code for notice in PictureCase(picture_of(np.arange(rows * 60.0).reshape(rows, 60), "p")).notices()]
        for rows in (31, 32)
    ]
    assert codes == [["few-pixels"], []]


@pytest.mark.parametrize("slices", [[12], [-1], []])
def test_a_slice_that_is_not_there_is_refused(head, slices):
    with pytest.raises(InputError, match="slice"):
        PictureCase(head.volume, slices)


def test_values_that_are_no_numbers_are_refused(vit, head):
    voxels = head.volume.voxels.astype(np.float32)
    voxels[5, 3, 3] = np.nan
    with pytest.raises(InputError, match="slice 5 of .* holds values that are no numbers"):
        vit.classify(PictureCase(head.volume.with_voxels(voxels)))


def test_a_device_that_runs_out_of_memory_falls_back_in_plain_sight(folder, head, monkeypatch):
    from cadx import device

    classifier = PictureClassifier(make_picture_bundle(folder / "memory"), "cpu")
    expected = classifier.classify(PictureCase(head.volume)).result.probabilities
    classifier.device = device.Device("cuda", "a small GPU", "asked for")
    forward = PictureClassifier._forward

    def failing(self, *given):
        if self.device.kind == "cuda":
            raise RuntimeError("CUDA out of memory")
        return forward(self, *given)

    monkeypatch.setattr(PictureClassifier, "_forward", failing)
    result = classifier.classify(PictureCase(head.volume)).result
    assert "device-fallback" in [n.code for n in result.warnings]
    assert result.probabilities == expected


# --- phantom heads


def test_heads_depend_on_the_seed_alone(tmp_path):
    first, again, other = make_head(1, 2), make_head(1, 2), make_head(1, 4)
    assert np.array_equal(first.volume.voxels, again.volume.voxels)
    assert not np.array_equal(first.volume.voxels, other.volume.voxels)
    assert (first.label, make_head(1, 3).label) == (TUMOUR, NONE)
    assert not make_head(1, 2, tumour=False).tumour.voxels.any()
    inside = first.tumour.voxels > 0
    assert np.median(first.volume.voxels[inside]) > 1.3 * np.median(make_head(1, 2, tumour=False).volume.voxels[inside])
    with pytest.raises(InputError):
        write_heads(tmp_path / "none", 0, 1)


def test_heads_are_a_cohort_and_a_table(tmp_path):
    from cadx.dataset import is_synthetic
    from cadx.study.layouts import read_cohort

    table = write_heads(tmp_path / "heads", 2, 1)
    assert is_synthetic(tmp_path / "heads")
    assert [s.label for s in read_cohort(tmp_path / "heads", ("image",)).samples] == [TUMOUR, NONE]
    assert [row.case for row in read_picture_cases(table)] == ["head-0000", "head-0001"]


def test_a_bundle_names_its_map_and_its_layer(folder, head, cnn):
    chosen = ExplanationSpec(method="hirescam", layer="layer4", score="log-odds", sharpened_by=("layer3",))
    bundle = make_picture_bundle(
        folder / "named", KINDS, negative=(), architecture="test_resnet", scale=30, explanation=chosen
    )
    named = PictureClassifier(Bundle.load(bundle.folder), "cpu")
    reading = named.classify(PictureCase(head.volume))
    usual = cnn.classify(PictureCase(head.volume))
    explanation = reading.result.explanation
    assert explanation["method"].startswith("HiResCAM")
    assert explanation["layer"] == "layer4 x layer3" and explanation["score"] == "log-odds"
    assert "earlier layers" in explanation["text"]
    assert "score" not in usual.result.explanation
    assert explanation["class"] == reading.result.label
    assert kind_of(explanation) is HIRESCAM
    assert max(r.own_map.max() for r in reading.slices if r.own_map is not None) == pytest.approx(1)
    assert reading.attention.geometry.is_close(usual.attention.geometry)
    assert not np.array_equal(reading.attention.voxels, usual.attention.voxels)
    torch = pytest.importorskip("torch")
    one = next(r for r in reading.slices if r.own_map is not None)
    x = torch.from_numpy(prepare_picture(one.view.picture.pixels, named.preparation))[None]
    answer = named.bundle.settings.classes.index(reading.result.label)
    own = hirescam(named.model, x, answer, "layer4", "log-odds", ["layer3"])[0][0].numpy()
    shown = to_picture(own, named.preparation, one.view.picture.shape)
    np.testing.assert_allclose(one.own_map / one.own_map.max(), shown / shown.max(), atol=1e-5)


@pytest.mark.parametrize("wrong", [{"layer": "layer9"}, {"sharpened_by": ["layer9"]}, {"layer": "fc"}])
def test_a_bundle_that_names_a_layer_it_lacks_says_so(folder, wrong):
    chosen = ExplanationSpec(method="hirescam", **wrong)
    name = f"lacking-{'-'.join(wrong)}-{len(str(wrong))}"
    bundle = make_picture_bundle(folder / name, architecture="test_resnet", explanation=chosen)
    with pytest.raises(BundleError, match="names a map that it cannot have"):
        PictureClassifier(bundle, "cpu")


def test_a_map_names_what_belongs_together(folder):
    with pytest.raises(ValidationError, match="name one of them"):
        ExplanationSpec(layer="layer3")
    with pytest.raises(ValidationError, match="goes with the method"):
        ExplanationSpec(method="grad-cam", sharpened_by=("layer2",))
    # earlier readers know no such field
    usual = json.loads((make_picture_bundle(folder / "usual").folder / "configs" / "cadx.json").read_text())
    assert "explanation" not in usual


# --- command line


@pytest.fixture(scope="module")
def heads(folder):
    return write_heads(folder / "heads", 2, 7).parent


def run(classifier, *arguments):
    return main([str(a) for a in (*arguments, "--bundle", classifier.bundle.folder, "--device", "cpu")])


def test_classify_takes_an_image_or_slices(vit, cnn, heads, tmp_path, capsys):
    out = tmp_path / "out"
    assert run(cnn, "classify", "--volume", heads / "head-0000.nii.gz", "--slice", "all", "--out", out) == 0
    assert "not for clinical decisions" in capsys.readouterr().out
    drawn = {"overlay.png", "slices.png", "profile.png"}
    assert {p.name for p in out.iterdir()} == {"result.json", "gradcam.nii.gz", *drawn}
    document = json.loads((out / "result.json").read_text())
    assert document["slices"]["count"] == 12
    assert document["command"][:3] == ["cadx", "classify", "--volume"]
    given = read_volume(str(heads / "head-0000.nii.gz"))
    assert read_volume(str(out / "gradcam.nii.gz")).geometry.is_close(given.geometry)
    assert output.is_whole(out, Result.from_json(document))
    # a second run replaces what the first one left
    head = make_head(7, 0)
    assert run(vit, "classify", "--volume", heads / "head-0000.nii.gz", "--slice", head.best_slice, "--out", out) == 0
    assert {p.name for p in out.iterdir()} == {"result.json", "attention.nii.gz", "overlay.png", "slices.png"}
    sliced = json.loads((out / "result.json").read_text())
    assert sliced["slices"]["plane"] == "axial"
    cut = ("classify", "--volume", heads / "head-0000.nii.gz", "--plane", "sagittal", "--slice", "41,40")
    assert run(vit, *cut, "--out", tmp_path / "cut", "--no-explain") == 0
    across = json.loads((tmp_path / "cut" / "result.json").read_text())
    assert (across["slices"]["plane"], [row["slice"] for row in across["slices"]["table"]]) == ("sagittal", [40, 41])
    capsys.readouterr()
    assert run(vit, "classify", "--image", heads / "head-0000.png", "--out", out, "--json") == 0
    assert {p.name for p in out.iterdir()} == {"result.json", "overlay.png"}
    document = json.loads(capsys.readouterr().out)
    assert document == json.loads((out / "result.json").read_text())
    assert document["probabilities"] == pytest.approx(sliced["probabilities"], abs=1e-4)
    (out / "overlay.png").write_bytes(b"")
    assert not output.is_whole(out, Result.from_json(document))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--image", "a.png", "--t1", "b.nii"], "--image belongs to pictures and --t1"),
        (["--image", "a.png", "--pad"], "--image belongs to pictures and --pad"),
        (["--volume", "a.nii", "--roi", "1,2,3,4,5,6"], "--volume belongs to pictures and --roi"),
        (["--image", "a.png", "--volume", "b.nii"], "give one of the two"),
        (["--slice", "3", "--roi", "x"], "--slice belongs to pictures"),
        (["--slice", "3"], "--slice needs --volume"),
        (["--image", "a.png", "--slice", "3"], "leave it out with --image"),
        (
            ["--image", "a.png", "--plane", "axial"],
            "--plane is for the slices of a --volume; leave it out with --image",
        ),
        (["--plane", "axial", "--roi", "x"], "--plane belongs to pictures"),
        (["--plane", "axial"], "--plane needs --volume"),
        (["--volume", "{heads}/head-0000.nii.gz", "--plane", "oblique"], "--plane"),
        (["--volume", "{heads}/head-0000.nii.gz", "--plane", "coronal", "--slice", "100"], "no slice 100"),
        (["--image", "absent.png"], "absent.png is not there"),
        (["--image", "n" * 300], "is not there"),
        (["--image", "{heads}"], "is a folder; give one image in it"),
        (["--volume", "{heads}/head-0000.nii.gz", "--slice", "12"], "no slice 12"),
        (["--volume", "{heads}/head-0000.nii.gz", "--slice", "x"], "'x' names no slices"),
        (["--volume", "{heads}/head-0000.nii.gz", "--slice", "1,9-5"], "'9-5' counts slices backwards; give the lower"),
        (["--volume", "{heads}/head-0000.png"], "no known image format"),
        (["--image", "{heads}/head-0000.nii.gz"], "is a volume and no picture"),
        (["--t1", "a.nii", "--roi", "1,2,3,4,5,6"], "is a bundle for pictures"),
        ([], "--roi"),
    ],
)
def test_bad_input_is_one_sentence_and_leaves_nothing(vit, heads, tmp_path, capsys, arguments, words):
    given = [a.format(heads=heads) for a in arguments]
    assert run(vit, "classify", *given, "--out", tmp_path / "out") == 2
    error = capsys.readouterr().err.strip().splitlines()
    assert words in error[-1]
    assert list(tmp_path.iterdir()) == []


def test_a_bundle_for_volumes_takes_no_picture(bundle, heads, tmp_path, capsys):
    given = ["--image", str(heads / "head-0000.png"), "--out", str(tmp_path / "o"), "--bundle", str(bundle.folder)]
    assert main(["classify", *given]) == 2
    assert "for volumes with a ROI and cannot grade pictures" in capsys.readouterr().err


def test_batch_of_a_table_and_of_a_folder(vit, heads, tmp_path, capsys):
    table = tmp_path / "t.csv"
    lines = ["case,image,volume,slice", f"one,{heads}/head-0000.png,,", f"two,,{heads}/head-0001.nii.gz,3-4"]
    table.write_text("\n".join([*lines, "gone,absent.png,,", "none,,,"]) + "\n")
    out = tmp_path / "out"
    command = ["batch", "--cases", table, "--out", out]
    assert run(vit, *command) == 4
    rows = list(csv.DictReader((out / "summary.csv").open()))
    names = ["case", "status", "label", "p:no tumour", "p:tumour", "warnings", "error", "bundle", "disclaimer"]
    assert list(rows[0]) == names
    assert [(r["case"], r["status"]) for r in rows] == [
        ("one", "ok"),
        ("two", "ok"),
        ("gone", "failed"),
        ("none", "failed"),
    ]
    assert "absent.png is not there" in rows[2]["error"]
    assert "column image" in rows[3]["error"]
    assert json.loads((out / "two" / "result.json").read_text())["slices"]["count"] == 2
    times = {name: (out / name / "result.json").stat().st_mtime_ns for name in ("one", "two")}
    assert run(vit, *command, "--resume") == 4
    assert {name: (out / name / "result.json").stat().st_mtime_ns for name in times} == times
    assert run(vit, *command, "--resume", "--rule", "most-confident", "--no-explain") == 4
    assert (out / "two" / "result.json").stat().st_mtime_ns != times["two"]
    assert run(vit, "batch", "--cases", heads, "--out", tmp_path / "all", "--no-explain") == 0
    rows = list(csv.DictReader((tmp_path / "all" / "summary.csv").open()))
    assert [r["case"] for r in rows] == [f"head-000{n}.{end}" for n in (0, 1) for end in ("nii.gz", "png")]
    capsys.readouterr()
    assert run(vit, *command, "--pad") == 2
    assert "--pad does not go with a bundle for pictures" in capsys.readouterr().err
    table.write_text("case,t1,roi\na,b,c\n")
    assert run(vit, *command) == 2
    assert "lacks the column image" in capsys.readouterr().err


def test_no_patient_is_named_in_any_file(vit, tmp_path):
    path = write_slice_dicom(tmp_path / "a.dcm", (np.arange(4096).reshape(64, 64)).astype(np.uint16))
    assert run(vit, "classify", "--image", path, "--out", tmp_path / "o") == 0
    for file in (tmp_path / "o").iterdir():
        assert b"Secret" not in file.read_bytes()


def test_many_classes_and_slices_are_still_drawn(tmp_path, monkeypatch):
    monkeypatch.setattr("cadx.slice_pictures.MOST_TILES", 4)
    names = tuple(f"class $^{number}" for number in range(9))
    bundle = make_picture_bundle(tmp_path / "b", names, negative=())
    classifier = PictureClassifier(bundle, "cpu")
    head = make_head(1, 0)
    case = PictureCase(head.volume)
    reading = classifier.classify(case, PictureOptions(explain=False))
    assert "slices.png" in {p.name for p in output.write_reading(tmp_path / "o", case, reading)}
    picture = picture_of(np.arange(64).reshape(8, 8), "a $^$ picture")
    one = PictureCase(picture)
    output.write_reading(tmp_path / "p", one, classifier.classify(one))
    assert Image.open(tmp_path / "p" / "overlay.png").width < 1500


def drawn_texts(draw, reading, path, monkeypatch):
    figures = []
    monkeypatch.setattr("matplotlib.figure.Figure.savefig", lambda figure, *_, **__: figures.append(figure))
    draw(path, reading)
    (figure,) = figures
    axes = [text for one in figure.axes for text in (*one.texts, one.title, one._left_title)]
    return figure, [text.get_text() for text in (*figure.texts, *axes)]


def test_a_drawing_names_the_maps_class_the_bars_slice_and_both_sides(cnn, head, tmp_path, monkeypatch):
    reading = cnn.classify(PictureCase(head.volume, [4, 5]))
    _, texts = drawn_texts(slice_pictures.draw_overlay, reading, tmp_path / "o.png", monkeypatch)
    shown = reading.slices[reading.shown].view.index
    assert {f"with Grad-CAM for {reading.result.label}", f"slice {shown} alone"} < set(texts)
    figure, texts = drawn_texts(slice_pictures.draw_slices, reading, tmp_path / "s.png", monkeypatch)
    assert figure.axes[-1].get_ylabel() == f"Grad-CAM, relative to its maximum, for {reading.result.label}"
    assert (texts.count("R"), texts.count("L")) == (4, 4)


def test_a_large_picture_is_drawn_from_fewer_pixels_in_its_place(vit, tmp_path, monkeypatch):
    pixels = np.zeros((2500, 1300), np.uint8)
    pixels[1800:2000, 200:400] = 255
    figure, _ = drawn_texts(
        slice_pictures.draw_overlay, vit.classify(PictureCase(picture_of(pixels, "p"))), tmp_path / "o.png", monkeypatch
    )
    first, second = (figure.axes[0].images[0], figure.axes[1].images[1])
    assert first.get_array().shape == second.get_array().shape == (834, 434)
    assert np.argwhere(first.get_array() > 128).mean(axis=0) * 3 + 1 == pytest.approx([1899.5, 299.5], abs=3)
