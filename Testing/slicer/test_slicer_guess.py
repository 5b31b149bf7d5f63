"""Which volumes of a scene are taken for T1 and T2."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import slicer

from cadx.slicer import CaseNodes, attention_to_node, roi_to_node, store_result, volume_to_node
from cadx.slicer.guess import guess_images

from slicer_samples import case, result, volume

TAGS = {
    "description": "0008,103e",
    "protocol": "0018,1030",
    "modality": "0008,0060",
    "tr": "0018,0080",
    "te": "0018,0081",
    "patient": "0010,0020",
    "study": "0020,000d",
}


@pytest.fixture
def database(monkeypatch):
    """A stand-in for the application's DICOM database: header by instance and tag, empty where there is none."""
    headers: dict[tuple[str, str], str] = {}
    stand_in = SimpleNamespace(instanceValue=lambda uid, tag: headers.get((uid, tag), ""))
    monkeypatch.setattr(slicer, "dicomDatabase", stand_in, raising=False)
    return headers


def image(scene, name):
    return volume_to_node(scene, volume(np.eye(3)), name)


def dicom_image(scene, database, name="series", **headers):
    node = image(scene, name)
    uid = f"1.2.{len(database)}"
    node.SetAttribute("DICOM.instanceUIDs", f"{uid} {uid}.1")
    database[uid, "0008,0018"] = uid
    database.update({(uid, TAGS[word]): str(value) for word, value in headers.items()})
    return node


def filed(scene, node, patient, study):
    """File a node as the application does: a study under its patient."""
    tree = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    top = tree.GetItemByUID("DICOM", patient) or tree.CreateSubjectItem(tree.GetSceneItemID(), "somebody")
    tree.SetItemLevel(top, "Patient")
    tree.SetItemUID(top, "DICOM", patient)
    item = tree.GetItemByUID("DICOM", study) or tree.CreateStudyItem(top, "study")
    tree.SetItemUID(item, "DICOM", study)
    tree.CreateItem(item, node)
    return node


@pytest.mark.parametrize(
    ("name", "role"),
    [
        ("T1", "T1"),
        ("sub-01_T1w", "T1"),
        ("5: t1_vibe_fs_tra", "T1"),
        ("ax LAVA", "T1"),
        ("T1 TSE", "T1"),
        ("case_T1fs", "T1"),
        ("T2", "T2"),
        ("case-t2w.nii", "T2"),
        ("cor HASTE", "T2"),
        ("t2star", "T2"),
        ("T2* vibe", "T2"),
        ("mt10", None),
        ("T10", None),
        ("MR1", None),
        ("volume", None),
        ("T1 and T2", None),
        ("T1 map", None),
        ("T2map", None),
        ("T2 mask", None),
        ("T2 HASTE localizer", None),
        ("t1_vibe_sub", None),
        ("ep2d_diff_T2", None),
    ],
)
def test_names_speak_in_whole_words(scene, name, role):
    node = image(scene, name)
    guess = guess_images(scene)
    assert (guess.t1 is node, guess.t2 is node) == (role == "T1", role == "T2")
    assert guess.reasons == ({role: "its name"} if role else {})


def test_an_empty_scene_gives_no_guess(scene):
    guess = guess_images(scene)
    assert (guess.t1, guess.t2, guess.reasons) == (None, None, {})


def test_both_are_found_by_name(scene):
    t2, _, t1 = (image(scene, name) for name in ("T2", "something else", "T1"))
    guess = guess_images(scene)
    assert (guess.t1, guess.t2) == (t1, t2)


def test_headers_say_why(scene, database):
    t1 = dicom_image(scene, database, tr=5, te=2.1)
    t2 = dicom_image(scene, database, tr=1400, te=95)
    guess = guess_images(scene)
    assert (guess.t1, guess.t2) == (t1, t2)
    assert guess.reasons == {"T1": "TR 5 ms, TE 2.1 ms", "T2": "TR 1400 ms, TE 95 ms"}


def test_a_series_description_counts_more_than_times_and_the_nodes_name(scene, database):
    node = dicom_image(scene, database, "T1", description="cor HASTE", tr=5, te=2)
    guess = guess_images(scene)
    assert (guess.t1, guess.t2) == (None, node)
    assert guess.reasons == {"T2": "its series description"}


def test_the_protocol_stands_in_for_a_missing_description(scene, database):
    node = dicom_image(scene, database, protocol="t1_vibe")
    assert guess_images(scene).t1 is node


def test_headers_that_say_nothing_leave_it_to_the_name(scene, database):
    node = dicom_image(scene, database, "T1", tr="unknown", te="")
    assert guess_images(scene).reasons == {"T1": "its name"}
    assert guess_images(scene).t1 is node


def test_a_scene_from_another_computer_has_names_only(scene, monkeypatch):
    monkeypatch.setattr(slicer, "dicomDatabase", None, raising=False)
    node = image(scene, "5: t1_vibe")
    node.SetAttribute("DICOM.instanceUIDs", "1.2.3")
    assert guess_images(scene).t1 is node


def test_other_modalities_and_diffusion_are_left_out(scene, database):
    dicom_image(scene, database, "T1 vertebra", modality="CT")
    dicom_image(scene, database, description="ep2d_diff_b50", modality="MR", tr=5000, te=70)
    assert guess_images(scene).reasons == {}


def test_a_pair_of_one_study_comes_before_a_later_stranger(scene, database):
    t1 = filed(scene, dicom_image(scene, database, tr=5, te=2), "P1", "S1")
    t2 = filed(scene, dicom_image(scene, database, tr=1400, te=95), "P1", "S1")
    filed(scene, dicom_image(scene, database, description="t1_vibe"), "P2", "S2")
    image(scene, "T2")
    guess = guess_images(scene)
    assert (guess.t1, guess.t2) == (t1, t2)


def test_of_two_studies_the_one_loaded_last_is_taken_even_if_its_headers_say_less(scene, database):
    for words in ("t1_vibe", "haste"):
        filed(scene, dicom_image(scene, database, description=words), "P1", "S1")
    t1 = filed(scene, dicom_image(scene, database, tr=5, te=2), "P1", "S2")
    t2 = filed(scene, dicom_image(scene, database, tr=1400, te=95), "P1", "S2")
    guess = guess_images(scene)
    assert (guess.t1, guess.t2) == (t1, t2)


def test_within_a_study_the_surer_and_then_the_later_series_is_taken(scene, database):
    words = ("t1_vibe pre", "t1_vibe post", "haste tra", "mrcp")
    nodes = [filed(scene, dicom_image(scene, database, description=w), "P1", "S1") for w in words]
    filed(scene, dicom_image(scene, database, tr=5, te=2), "P1", "S1")
    guess = guess_images(scene)
    assert (guess.t1, guess.t2) == (nodes[1], nodes[2])


def test_studies_are_told_apart_by_headers_where_nothing_is_filed(scene, database):
    old = dicom_image(scene, database, description="t1_vibe", patient="P1", study="S1")
    t2 = dicom_image(scene, database, description="haste", patient="P1", study="S1")
    dicom_image(scene, database, description="t1_vibe", patient="P1", study="S2")
    guess = guess_images(scene)
    assert (guess.t1, guess.t2) == (old, t2)


def test_images_of_two_patients_are_never_a_pair(scene, database):
    filed(scene, dicom_image(scene, database, description="t1_vibe"), "P1", "S1")
    t2 = filed(scene, dicom_image(scene, database, description="haste"), "P2", "S2")
    guess = guess_images(scene)
    assert (guess.t1, guess.t2) == (None, t2)


@pytest.mark.parametrize("words", [("T1", "T2"), ("vibe", "haste")])
def test_names_that_differ_in_the_weighting_alone_are_one_case(scene, words):
    t1, t2, _ = (image(scene, name) for name in (f"p1_{words[0]}", f"p1_{words[1]}", f"p2_{words[0]}"))
    assert (guess_images(scene).t1, guess_images(scene).t2) == (t1, t2)
    later = image(scene, f"p2_{words[1]}")
    assert guess_images(scene).t2 is later
    assert guess_images(scene).t1.GetName() == f"p2_{words[0]}"


def test_an_original_comes_before_its_later_crop(scene):
    t1, t2, _ = (image(scene, name) for name in ("the T1", "a T2", "the T1 cropped"))
    assert (guess_images(scene).t1, guess_images(scene).t2) == (t1, t2)


def test_hidden_empty_and_other_nodes_are_left_out(scene):
    image(scene, "T1 hidden").SetHideFromEditors(True)
    scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "T1 without voxels")
    scene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "T1 labels").CopyContent(image(scene, "source"))
    assert guess_images(scene).t1 is None


def test_attention_is_no_image_whatever_it_is_called(scene):
    data = case()
    t1, t2 = image(scene, "T1"), image(scene, "T2")
    attention = attention_to_node(scene, data["attention"], "T1 of heat")
    store_result(CaseNodes(t1, t2, roi_to_node(scene, data["roi"]), attention), result())
    assert (guess_images(scene).t1, guess_images(scene).t2) == (t1, t2)


def test_guessing_leaves_the_scene_as_it_was(scene):
    image(scene, "T1")
    before = scene.GetNumberOfNodes()
    guess_images(scene)
    assert scene.GetNumberOfNodes() == before
