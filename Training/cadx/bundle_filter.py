"""Which bundles a place offers: by what they read, and by task."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

BundleKind = Literal["volumes", "pictures"]


@dataclass(frozen=True)
class BundleFilter:
    """Which bundles are wanted; by default all.

    Parameters
    ----------
    kind
        "volumes" (with a ROI) or "pictures" (and slices); None takes both.
    tasks
        Only these; None takes any.
    but_tasks
        None of these.

    Examples
    --------
    >>> others = BundleFilter("pictures", but_tasks=("chest-xray",))
    >>> others.accepts("brain-tumor-binary", "pictures"), others.accepts("chest-xray", "pictures")
    (True, False)
    >>> others.complaint("ipmn", "volumes")
    'is a bundle for volumes, not for pictures'
    """

    kind: BundleKind | None = None
    tasks: Collection[str] | None = None
    but_tasks: Collection[str] = ()

    @classmethod
    def of(cls, wanted: BundleFilter | str | None) -> BundleFilter:
        """From a filter, the name of the one wanted task, or None for all bundles."""
        if isinstance(wanted, BundleFilter):
            return wanted
        return cls(tasks=None if wanted is None else (wanted,))

    def accepts(self, task: str, kind: BundleKind) -> bool:
        """Whether a bundle of this task, for this kind of image, is wanted."""
        return not self.complaint(task, kind)

    def complaint(self, task: str, kind: BundleKind) -> str:
        """What is wrong with a bundle of this task and kind, as the rest of a sentence; empty where it is wanted."""
        if self.kind not in (None, kind):
            return f"is a bundle for {kind}, not for {self.kind}"
        if self.tasks is not None and task not in self.tasks:
            return f"is a bundle for {task}, not for {' or '.join(self.tasks)}"
        return f"is a bundle for {task}, which has a place of its own" if task in self.but_tasks else ""
