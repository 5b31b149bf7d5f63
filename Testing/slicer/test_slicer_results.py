"""The table of results and the text node that ties a case together."""

from __future__ import annotations

import math

import pytest

from cadx.errors import InputError
from cadx.slicer import CaseNodes, add_case, append_row, create_table, find_cases, find_table, store_result

from slicer_samples import case, result


def rows(table) -> list[dict[str, str]]:
    names = [table.GetColumnName(i) for i in range(table.GetNumberOfColumns())]
    return [{n: table.GetCellText(r, i) for i, n in enumerate(names)} for r in range(table.GetNumberOfRows())]


def test_a_row_says_what_was_found_with_which_model(scene):
    table = create_table(scene)
    assert append_row(table, result(), "c1") == 0
    assert rows(table) == [
        {
            "case": "c1",
            "status": "ok",
            "label": "low risk",
            "p:normal": "0.1",
            "p:low risk": "0.7",
            "p:high risk": "0.2",
            "warnings": "Trained on phantoms.",
            "bundle": "ipmn-phantom-demo 1.0.0",
            "disclaimer": "Research use only, not for clinical decisions.",
        }
    ]


def test_probabilities_are_numbers_in_full_precision(scene):
    table = create_table(scene)
    append_row(table, result(probabilities={"a": 1 / 3}), "c1")
    column = table.GetTable().GetColumnByName("p:a")
    assert column.GetValue(0) == 1 / 3


def test_a_second_case_is_appended_and_the_first_stays(scene):
    table = create_table(scene)
    append_row(table, result(), "c1")
    first = rows(table)[0]
    assert append_row(table, result(label="high risk", probabilities={"high risk": 1.0}, warnings=[]), "c2") == 1
    assert rows(table)[0] == first
    assert rows(table)[1]["case"] == "c2"
    assert rows(table)[1]["warnings"] == ""
    assert math.isnan(table.GetTable().GetColumnByName("p:normal").GetValue(1))


def test_new_classes_get_columns_and_older_rows_no_made_up_zero(scene):
    table = create_table(scene)
    append_row(table, result(), "c1")
    append_row(table, result(probabilities={"tumour": 0.9, "none": 0.1}), "c2")
    append_row(table, result(), "c3")
    names = list(rows(table)[0])
    assert names[-3:] == ["warnings", "bundle", "disclaimer"]
    assert names[3:-3] == ["p:normal", "p:low risk", "p:high risk", "p:tumour", "p:none"]
    tumour = table.GetTable().GetColumnByName("p:tumour")
    assert math.isnan(tumour.GetValue(0)) and tumour.GetValue(1) == 0.9 and math.isnan(tumour.GetValue(2))
    assert [row["case"] for row in rows(table)] == ["c1", "c2", "c3"]


def test_a_refused_case_has_a_row_without_a_grade(scene):
    table = create_table(scene)
    append_row(table, result(status="refused", label=None, probabilities=None, bundle=None), "c1")
    assert rows(table)[0]["status"] == "refused"
    assert rows(table)[0]["label"] == ""


def test_a_case_is_found_again_with_all_that_belongs_to_it(scene):
    nodes = add_case(scene, **case())
    store_result(nodes, result(), case="c1")
    (found,) = find_cases(scene)
    assert (found.t1, found.t2, found.roi, found.attention) == (nodes.t1, nodes.t2, nodes.roi, nodes.attention)
    assert found.case == "c1"
    assert found.result() == result()
    assert found.table is find_table(scene)


def test_two_cases_share_a_table_and_keep_apart(scene):
    first = store_result(add_case(scene, **case()), result(), case="c1")
    store_result(add_case(scene, **case(attention=None)), result(label="normal"), case="c2", table=first.table)
    found = find_cases(scene)
    assert [c.case for c in found] == ["c1", "c2"]
    assert found[0].t1 is not found[1].t1
    assert found[1].attention is None
    assert found[1].result()["label"] == "normal"
    assert [row["label"] for row in rows(first.table)] == ["low risk", "normal"]


def test_folders_of_input_files_do_not_get_into_the_scene(scene):
    document = result(
        inputs=[{"role": "T1", "source": "/home/x/Doe^Jane/t1.nii.gz"}, {"role": "T2", "source": "D:\\x\\t2"}]
    )
    stored = store_result(add_case(scene, **case()), document)
    assert [entry["source"] for entry in stored.result()["inputs"]] == ["t1.nii.gz", "t2"]
    assert document["inputs"][0]["source"].startswith("/home")


def test_letters_beyond_ascii_survive(scene):
    stored = store_result(add_case(scene, **case()), result(label="fortgeschritten ≥ 10 mm – ü"), case="Fälle ü")
    assert stored.result()["label"] == "fortgeschritten ≥ 10 mm – ü"
    assert rows(stored.table)[0]["case"] == "Fälle ü"


def test_a_scene_without_results_says_so(scene):
    nodes = add_case(scene, **case())
    assert find_cases(scene) == []
    assert find_table(scene) is None
    with pytest.raises(InputError, match="no readable result"):
        nodes.result()
    stored = store_result(nodes, result())
    stored.text.SetText("{ broken")
    with pytest.raises(InputError, match="no readable result"):
        CaseNodes(stored.t1, stored.t2, stored.roi, text=stored.text).result()
