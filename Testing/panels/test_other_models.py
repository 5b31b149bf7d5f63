"""A model that is fed other grids than nine slices of T1 and T2."""

from __future__ import annotations

import pytest

from cadx.prepare.spec import GridSpec

from support import PLAIN, make_bundle


@pytest.mark.parametrize(("slices", "channels"), [(4, ("T2",)), (16, ("T1", "T2"))])
def test_the_panel_shows_the_grid_that_the_model_is_fed(ipmn_panel, tmp_path, slices, channels):
    import slicer

    from cadx.roi import Roi
    from cadx.slicer import find_cases, node_to_roi, set_roi
    from cadx.slicer.sample import add_phantom

    from slicer_host import Host

    grid = GridSpec(slices=slices, cell_pixels=32)
    bundle = make_bundle(tmp_path / "model", preparation=PLAIN.model_copy(update={"grid": grid, "channels": channels}))
    nodes = add_phantom(slicer.mrmlScene)
    box = node_to_roi(nodes.roi)
    set_roi(nodes.roi, Roi(box.center_ras, box.size_mm * [1, 1, 2], box.axes))
    parameters = ipmn_panel.logic.getParameterNode()
    parameters.t1Volume, parameters.t2Volume, parameters.roi = nodes.t1, nodes.t2, nodes.roi
    assert Host().until(lambda: ipmn_panel.tiles.shown is not None, 60), ipmn_panel.tiles.status
    parameters.bundle = str(bundle.folder)
    wanted = (len(channels), slices)
    assert Host().until(lambda: ipmn_panel.tiles.shown and ipmn_panel.tiles.shown.pixels.shape[:2] == wanted, 60)
    assert ipmn_panel.tiles.shown.channels == channels
    ipmn_panel.tiles.click(slices - 1, len(channels) - 1)
    background = slicer.mrmlScene.GetSingletonNode("Red", "vtkMRMLSliceCompositeNode").GetBackgroundVolumeID()
    assert background == nodes.t2.GetID()
    ipmn_panel.ui.classifyButton.click()
    assert Host().until(lambda: not ipmn_panel.running, 60)
    assert ipmn_panel.ui.stageLabel.text == "Done."
    (case,) = find_cases(slicer.mrmlScene)
    assert len(case.result()["slices"]["positions_mm"]) == slices
    assert Host().errors == []
