"""A Case: one patient's images by role, and the region of interest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from cadx.errors import InputError
from cadx.notices import Notice
from cadx.roi import Roi
from cadx.volume import Volume


@dataclass(frozen=True, eq=False)
class Case:
    """One patient's images and ROI, all in RAS mm.

    Parameters
    ----------
    images
        Volume by role ("T1", "T2"); the first is the reference along whose slices the ROI is cut.
    roi
        The box to grade.
    name
        For messages and tables; not a patient's name.

    Raises
    ------
    InputError
        If the images carry different DICOM patient ids.
    """

    images: Mapping[str, Volume]
    roi: Roi
    name: str = "case"

    def __post_init__(self) -> None:
        known = {role: v.patient_id for role, v in self.images.items() if v.patient_id}
        if len(set(known.values())) > 1:
            files = " and ".join(f"{role} ({self.images[role].name})" for role in known)
            raise InputError(f"{files} carry different patient ids; choose two series of one patient.")

    def only(self, channels: Sequence[str]) -> Case:
        """The case as a bundle with these channels takes it: their images, in their order, and no other.

        Raises
        ------
        InputError
            If one of them is missing.
        """
        missing = [channel for channel in channels if channel not in self.images]
        if missing:
            raise InputError(f"{self.name}: this bundle needs {' and '.join(missing)}; give that volume too.")
        return replace(self, images={channel: self.images[channel] for channel in channels})

    @property
    def reference(self) -> Volume:
        """The image whose slices become the cells."""
        return next(iter(self.images.values()))

    def notices(self) -> list[Notice]:
        """What is noteworthy before anything is computed."""
        notices = []
        hashes = [v.sha256() for v in self.images.values()]
        names = " and ".join(self.images)
        if len(set(hashes)) < len(hashes):
            notices.append(Notice("same-image", f"{names} hold the same image; check that the right ones were chosen."))
        for role, volume in self.images.items():
            if not volume.oriented:
                check = f"check that {names} match" if len(self.images) > 1 else "check that the ROI lies on the organ"
                text = f"{role} ({volume.name}) does not say where it lies in the patient; {check}."
                notices.append(Notice("no-orientation", text))
        frames = {v.frame_of_reference for v in self.images.values() if v.frame_of_reference}
        if len(frames) > 1:
            text = (
                f"{names} were stored in different frames of reference; check that they lie on each other, "
                "or register them."
            )
            notices.append(Notice("frame-of-reference", text))
        return notices
