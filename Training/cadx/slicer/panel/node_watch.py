"""Following the nodes that are chosen now, and no others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import slicer
import slicer.util


def image_events(*volumes: Any) -> list[tuple[Any, Any]]:
    """After which another look at volume nodes is due; None is no volume."""
    there = [volume for volume in volumes if volume is not None]
    return [
        (volume, event) for volume in there for event in (volume.ImageDataModifiedEvent, volume.TransformModifiedEvent)
    ]


def segment_events() -> list[tuple[Any, Any]]:
    """After which the segments of the scene must be listed anew."""
    changes = slicer.vtkSegmentation
    segmentations = slicer.util.getNodesByClass("vtkMRMLSegmentationNode")
    return [(node, event) for node in segmentations for event in (changes.SegmentAdded, changes.SegmentRemoved)]


class NodeWatch:
    """Calls back on events of nodes; which nodes may change at any time.

    Parameters
    ----------
    observer
        A ``slicer.util.VTKObservationMixin``.
    changed
        Called with the node and the event.
    """

    def __init__(self, observer: Any, changed: Callable[..., None]) -> None:
        self._observer = observer
        self._changed = changed
        self._watched: list[tuple[Any, Any]] = []

    def follow(self, wanted: Sequence[tuple[Any, Any]]) -> None:
        """Follow exactly these pairs of node and event."""
        for node, event in self._watched:
            # a node that is gone has taken its observers along
            if (node, event) not in wanted and self._observer.hasObserver(node, event, self._changed):
                self._observer.removeObserver(node, event, self._changed)
        for node, event in wanted:
            if not self._observer.hasObserver(node, event, self._changed):
                self._observer.addObserver(node, event, self._changed)
        self._watched = list(wanted)
