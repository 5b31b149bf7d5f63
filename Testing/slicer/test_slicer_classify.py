"""Grading nodes of a scene gives what grading files gives, and ties everything together."""

from __future__ import annotations

import numpy as np
import pytest

from cadx.classify import Classifier, Options
from cadx.errors import RefusedError
from cadx.roi import Roi
from cadx.slicer import add_case, classify_nodes, find_cases, node_to_volume, roi_to_node


@pytest.fixture(scope="module")
def classifier(bundle):
    return Classifier(bundle, "cpu")


def test_nodes_and_volumes_give_the_same_grade(scene, case, classifier):
    inputs = add_case(scene, t1=case.images["T1"], t2=case.images["T2"], roi=case.roi)
    reading, nodes = classify_nodes(inputs.t1, inputs.t2, inputs.roi, classifier, case="one")
    expected = classifier.classify(case)
    found, wanted = reading.result.to_json(), expected.result.to_json()
    assert found["label"] == wanted["label"]
    np.testing.assert_allclose(list(found["probabilities"].values()), list(wanted["probabilities"].values()), atol=1e-4)
    attention = node_to_volume(nodes.attention)
    assert attention.geometry.is_close(case.reference.geometry)
    np.testing.assert_allclose(attention.voxels, expected.attention.voxels, atol=1e-3)
    (stored,) = find_cases(scene)
    assert stored.result()["label"] == wanted["label"]
    assert (stored.t1.GetID(), stored.attention.GetID()) == (inputs.t1.GetID(), nodes.attention.GetID())


def test_each_case_adds_a_row_to_the_same_table(scene, case, classifier):
    inputs = add_case(scene, t1=case.images["T1"], t2=case.images["T2"], roi=case.roi)
    for name in ("one", "two"):
        _, nodes = classify_nodes(
            inputs.t1, inputs.t2, inputs.roi, classifier, options=Options(explain=False), case=name
        )
    assert [nodes.table.GetCellText(row, 0) for row in range(nodes.table.GetNumberOfRows())] == ["one", "two"]


def test_a_refused_case_leaves_the_scene_as_it_was(scene, case, classifier):
    inputs = add_case(scene, t1=case.images["T1"], t2=case.images["T2"], roi=case.roi)
    flat = roi_to_node(scene, Roi(case.roi.center_ras, case.roi.size_mm * [1, 1, 0.3], case.roi.axes), "flat")
    before = scene.GetNumberOfNodes()
    with pytest.raises(RefusedError):
        classify_nodes(inputs.t1, inputs.t2, flat, classifier)
    assert scene.GetNumberOfNodes() == before
