"""The synthetic patient is offered by Slicer's Sample Data module too."""

from __future__ import annotations


def test_the_phantom_is_registered_and_loads(ipmn_panel):
    import SampleData
    import slicer

    from slicer_host import Host

    slicer.app.startupCompleted.emit()
    source = SampleData.SampleDataLogic().sourceForSampleName("IPMNPhantom")
    nodes = source.customDownloader(source)
    assert [node.GetName() for node in nodes] == ["IPMN phantom T1", "IPMN phantom T2", "IPMN phantom ROI"]
    assert Host().errors == []
    assert Host().until(lambda: ipmn_panel.logic.getParameterNode().t2Volume is nodes[1], 10)
    assert ipmn_panel.logic.getParameterNode().t1Volume is nodes[0]


def test_the_head_is_registered_and_loads(tumor_panel):
    import SampleData
    import slicer

    from slicer_host import Host

    slicer.app.startupCompleted.emit()
    source = SampleData.SampleDataLogic().sourceForSampleName("HeadPhantom")
    nodes = source.customDownloader(source)
    assert [node.GetName() for node in nodes] == ["Head phantom", "Head phantom tumour"]
    assert Host().errors == []
    assert Host().until(lambda: tumor_panel.logic.getParameterNode().image is nodes[0], 10)
