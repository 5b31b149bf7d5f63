"""The console's way: nodes in, a graded case in the scene, the same numbers as the command line."""

from __future__ import annotations

import csv
import json
from dataclasses import replace

import numpy as np
import pytest

from cadx.classify import Classifier
from cadx.errors import CancelledError, InputError, RefusedError
from cadx.slicer import IPMNClassifierLogic, add_case, case_from_nodes, find_cases, own_scene
from cadx.slicer.runtime import nodes_of_class

from slicer_samples import case as case_samples
from support import write


@pytest.fixture
def logic():
    made = IPMNClassifierLogic()
    yield made
    made.close()


@pytest.fixture
def nodes(case):
    with own_scene() as scene:
        yield add_case(scene, t1=case.images["T1"], t2=case.images["T2"], roi=case.roi)


def counted(nodes) -> int:
    return nodes.t1.GetScene().GetNumberOfNodes()


def test_classify_gives_what_the_command_line_gives(logic, nodes, bundle, case):
    stages = []
    graded = logic.classify(
        nodes.t1, nodes.t2, nodes.roi, bundle=bundle.folder, device="cpu", progress=lambda s, f: stages.append(s)
    )
    t1, t2, roi = case_from_nodes(nodes.t1, nodes.t2, nodes.roi)
    expected = Classifier(bundle, "cpu").classify(replace(case, images={"T1": t1, "T2": t2}, roi=roi))
    aside = {"timings_s": 0, "request_sha256": 0}
    assert {**graded.toJson(), **aside} == {**expected.result.to_json(), **aside}
    assert graded.label == expected.result.label
    assert stages[-1] == "classify"
    (found,) = find_cases(nodes.t1.GetScene())
    assert found.result() == graded.toJson()
    assert found.attention.GetID() == graded.nodes.attention.GetID()
    assert graded.nodes.table.GetNumberOfRows() == 1
    logic.classify(nodes.t1, nodes.t2, nodes.roi, bundle=bundle.folder, device="cpu", name="again", explain=False)
    assert graded.nodes.table.GetNumberOfRows() == 2


def test_the_grid_is_the_tensor_that_is_fed(logic, nodes, bundle):
    grid = logic.buildGrid(nodes.t1, nodes.t2, nodes.roi, bundle=bundle.folder)
    graded = logic.classify(nodes.t1, nodes.t2, nodes.roi, bundle=bundle.folder)
    np.testing.assert_array_equal(grid, graded.reading.shown.tensor)
    with pytest.raises(InputError, match="cannot start at slice 3"):
        logic.buildGrid(nodes.t1, nodes.t2, nodes.roi, bundle=bundle.folder, firstSlice=3)


def test_cancel_leaves_the_scene_as_it_was(logic, nodes, bundle):
    before = counted(nodes)
    job = logic.classifyInBackground(nodes.t1, nodes.t2, nodes.roi, bundle=bundle.folder, device="cpu")
    job.cancel()
    with pytest.raises(CancelledError):
        _ = job.result
    assert counted(nodes) == before
    assert logic.classify(nodes.t1, nodes.t2, nodes.roi, bundle=bundle.folder, device="cpu").label


def test_a_node_that_was_removed_meanwhile_is_one_sentence(logic, nodes, bundle):
    scene = nodes.t1.GetScene()
    job = logic.classifyInBackground(nodes.t1, nodes.t2, nodes.roi, bundle=bundle.folder, device="cpu")
    scene.RemoveNode(nodes.roi)
    before = scene.GetNumberOfNodes()
    with pytest.raises(InputError, match="removed from the scene"):
        _ = job.result
    assert scene.GetNumberOfNodes() == before


def test_what_cannot_be_graded_is_raised_at_once(logic, nodes, bundle):
    with pytest.raises(InputError, match="No ROI is selected"):
        logic.classify(nodes.t1, nodes.t2, None, bundle=bundle.folder)
    size = np.array(nodes.roi.GetSize())
    nodes.roi.SetSize(size[0], size[1], 12.0)
    with pytest.raises(RefusedError, match="enlarge it by"):
        logic.classify(nodes.t1, nodes.t2, nodes.roi, bundle=bundle.folder)
    with pytest.raises(InputError, match="give one of the two"):
        logic.classify(nodes.t1, nodes.t2, nodes.roi, bundle=bundle.folder, firstSlice=0, allWindows=True)


def test_export_writes_what_was_chosen(logic, nodes, bundle, tmp_path):
    graded = logic.classify(nodes.t1, nodes.t2, nodes.roi, bundle=bundle.folder, name="first")
    files = logic.export(graded, tmp_path / "all")
    assert [f.name for f in files] == ["grid.png", "result.json", "summary.csv"]
    assert json.loads((tmp_path / "all" / "result.json").read_text()) == graded.toJson()
    (row,) = csv.DictReader((tmp_path / "all" / "summary.csv").open())
    assert (row["case"], row["label"]) == ("first", graded.label)
    assert [f.name for f in logic.export(graded, tmp_path / "one", formats=("csv",))] == ["summary.csv"]
    with pytest.raises(InputError, match="no format 'docx'"):
        logic.export(graded, tmp_path / "none", formats=("docx",))
    assert not (tmp_path / "none").exists()


def test_a_batch_becomes_a_table(logic, case, bundle, tmp_path):
    write(tmp_path / "t1.nii.gz", case.images["T1"])
    write(tmp_path / "t2.nii.gz", case.images["T2"])
    (tmp_path / "roi.mrk.json").write_text(json.dumps(case.roi.to_markups()))
    (tmp_path / "cases.csv").write_text(
        "case,t1,t2,roi\ngood,t1.nii.gz,t2.nii.gz,roi.mrk.json\nbad,gone.nii.gz,t2.nii.gz,roi.mrk.json\n"
    )
    done = []
    with own_scene() as scene:
        table = logic.classifyBatch(
            tmp_path / "cases.csv",
            tmp_path / "out",
            scene=scene,
            bundle=bundle.folder,
            device="cpu",
            progress=done.append,
        )
        assert done == ["good", "bad"]
        assert table.GetNumberOfRows() == 2
        assert nodes_of_class(scene, "vtkMRMLTableNode") == [table]
        columns = {table.GetColumnName(i): i for i in range(table.GetNumberOfColumns())}
        assert table.GetCellText(0, columns["status"]) == "ok"
        assert "gone.nii.gz" in table.GetCellText(1, columns["warnings"])
        with pytest.raises(InputError, match="no table absent.csv"):
            logic.classifyBatch(tmp_path / "absent.csv", tmp_path / "o", scene=scene, bundle=bundle.folder)


def test_two_patients_asked_at_once_get_names_of_their_own(logic, nodes, bundle, case):
    scene = nodes.t1.GetScene()
    other = add_case(scene, t1=case.images["T1"], t2=case.images["T2"], roi=case.roi)
    jobs = [
        logic.classifyInBackground(one.t1, one.t2, one.roi, bundle=bundle.folder, device="cpu")
        for one in (nodes, other)
    ]
    assert [job.result.case.name for job in jobs] == ["case 1", "case 2"]
    assert jobs[0].result.nodes.table.GetNumberOfRows() == 2
    again = logic.classify(other.t1, other.t2, other.roi, bundle=bundle.folder, device="cpu")
    assert again.case.name == "case 2" and again.nodes.table.GetNumberOfRows() == 2
    with pytest.raises(InputError, match="belongs to other images"):
        logic.classify(other.t1, other.t2, other.roi, bundle=bundle.folder, device="cpu", name="case 1")


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"t1": "t1.nii"}, "str is no node"),
        ({"roi": (1, 2, 3)}, "No ROI is selected"),
        ({"firstSlice": 2.5}, "firstSlice is 2.5"),
        ({"firstSlice": "3"}, "firstSlice is '3'"),
        ({"firstSlice": 99}, "cannot start at slice 99"),
        ({"device": "gpu"}, "no device 'gpu'"),
        ({"bundle": 3}, "The bundle is no path"),
        ({"name": 7}, "The case name is no text"),
    ],
)
def test_what_people_do_wrong_is_one_sentence_at_once(logic, nodes, bundle, change, complaint):
    given = {"t1": nodes.t1, "t2": nodes.t2, "roi": nodes.roi, "bundle": bundle.folder, "device": "cpu", **change}
    with pytest.raises(InputError, match=complaint):
        logic.classifyInBackground(given.pop("t1"), given.pop("t2"), given.pop("roi"), **given)
    assert logic.workerId() is None, "nothing was started"


def test_nodes_of_two_scenes_or_of_none_are_one_sentence(logic, nodes, bundle):
    with own_scene() as other:
        foreign = add_case(other, **case_samples())
        with pytest.raises(InputError, match="not nodes of one scene"):
            logic.classify(nodes.t1, foreign.t2, nodes.roi, bundle=bundle.folder)


def test_numpy_s_whole_numbers_and_a_single_format_will_do(logic, nodes, bundle, tmp_path):
    with logic:
        graded = logic.classify(nodes.t1, nodes.t2, nodes.roi, bundle=bundle.folder, firstSlice=np.int64(0))
        assert [f.name for f in logic.export(graded, tmp_path / "one", formats="json")] == ["result.json"]
        assert "case 1" in repr(graded) and len(repr(graded)) < 300
        with pytest.raises(InputError, match="no graded case"):
            logic.export(None, tmp_path / "two")
    assert logic.workerId() is None
