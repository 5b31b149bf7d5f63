"""Which of a scene's volumes are a patient's T1 and T2, as far as headers and names tell."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any

from cadx.io.weighting import weighting_of_times, weighting_of_words, without_weighting
from cadx.slicer.results import find_cases
from cadx.slicer.runtime import nodes_of_class, slicer_module

_MODALITY = "0008,0060"
_DESCRIPTIONS = ("0008,103e", "0018,1030", "0018,0024")  # series, protocol and sequence: the first that is filled in
_REPETITION_TIME, _ECHO_TIME = "0018,0080", "0018,0081"
_PATIENT_ID, _STUDY_UID = "0010,0020", "0020,000d"

_T1_NAME = re.compile(r"(?<![a-z0-9])t1[a-z]*(?![a-z0-9])")
_T2_NAME = re.compile(r"(?<![a-z0-9])t2[a-z]*(?![a-z0-9])")
# maps, differences, projections and scouts; but sub-01 is how BIDS names a subject
_NO_IMAGE = re.compile(
    r"(?<![a-z])(t[12](map|rho)|maps?|mapping|mask|label(map)?|seg(mentation)?|attention|grad-?cam|sub(?![-\d])|"
    r"subtraction|mip|adc|dwi|dti|diff(usion)?|ep2d|tracew?|locali[sz]er|loc|scout|survey)(?![a-z])"
)
_SECOND_CHOICE = re.compile(r"(?<![a-z])(crop|cropped|copy|resampled|registered|mpr|mrcp)(?![a-z])")
_BY_WORDS, _BY_TIMES, _BY_NAME = 3, 2, 1
_SECOND_CHOICE_COST = 10


@dataclass(frozen=True)
class Guess:
    """The volume nodes that look like T1 and T2, None where none does, and per role ("T1", "T2") a short why."""

    t1: Any = None
    t2: Any = None
    reasons: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class _Candidate:
    """A node that looks like one role; ``order`` counts the scene's volumes, ``patient`` and ``study`` may be ""."""

    node: Any
    order: int
    role: str
    reason: str
    quality: int
    patient: str
    study: str


def guess_images(scene: Any) -> Guess:
    """Guess T1 and T2 among a scene's scalar volumes.

    DICOM headers (the rule of :mod:`cadx.io.weighting`) count more than names. A pair of one study comes first, then
    one of one patient, then one without DICOM whose names differ in the weighting alone; of equal ones, that loaded
    last. Images of different patients are never paired.

    Returns
    -------
    Guess
        Never the same node twice; None for a role where neither headers nor a name speak for any node.
    """
    found = _candidates(scene)
    t1s, t2s = ([c for c in found if c.role == role] for role in ("T1", "T2"))
    pairs = [(t1, t2) for t1, t2 in product(t1s, t2s) if not _foreign(t1, t2)]
    if pairs:
        return _guess(max(pairs, key=lambda pair: _pair_rank(pair[0], pair[1], found)))
    return _guess([max(found, key=lambda c: (c.quality > 0, c.order))] if found else [])


@dataclass(frozen=True)
class OddChoice:
    """A volume node called ``name`` that was chosen as ``role`` and looks like ``looks_like``, and why."""

    name: str
    role: str
    looks_like: str
    reason: str


def odd_choices(t1: Any, t2: Any) -> list[OddChoice]:
    """Which of two chosen volume nodes (or None) look otherwise than T1 and T2."""
    found = []
    for role, node in (("T1", t1), ("T2", t2)):
        seen = _candidate(node, 0) if node is not None and _is_image(node) else None
        if seen is not None and seen.role != role:
            found.append(OddChoice(node.GetName(), role, seen.role, seen.reason))
    return found


def _guess(chosen: Sequence[_Candidate]) -> Guess:
    nodes = {c.role: c.node for c in chosen}
    return Guess(nodes.get("T1"), nodes.get("T2"), {c.role: c.reason for c in chosen})


def _candidates(scene: Any) -> list[_Candidate]:
    ours = {case.attention.GetID() for case in find_cases(scene) if case.attention is not None}
    nodes = [n for n in nodes_of_class(scene, "vtkMRMLScalarVolumeNode") if n.GetID() not in ours and _is_image(n)]
    return [found for order, node in enumerate(nodes) if (found := _candidate(node, order)) is not None]


def _is_image(node: Any) -> bool:
    """Whether a node holds a grey-scale image that a user sees (label maps and vectors are subclasses)."""
    image = node.GetImageData()
    filled = image is not None and image.GetNumberOfPoints() > 0 and image.GetNumberOfScalarComponents() == 1
    return filled and node.GetClassName() == "vtkMRMLScalarVolumeNode" and not node.GetHideFromEditors()


def _candidate(node: Any, order: int) -> _Candidate | None:
    """What a node looks like, or None."""
    name = node.GetName() or ""
    description = next((text for tag in _DESCRIPTIONS if (text := _header(node, tag))), "")
    words = f"{name} {description}".lower()
    if _NO_IMAGE.search(words) or _header(node, _MODALITY) not in ("", "MR"):
        return None
    role, reason, quality = _weighting(node, name, description)
    if not role:
        return None
    quality -= _SECOND_CHOICE_COST if _SECOND_CHOICE.search(words) else 0
    patient = _dicom_uid(node, "Patient") or _header(node, _PATIENT_ID)
    return _Candidate(
        node, order, role, reason, quality, patient, _dicom_uid(node, "Study") or _header(node, _STUDY_UID)
    )


def _weighting(node: Any, name: str, description: str) -> tuple[str, str, int]:
    """Role or "", why, and how much that is worth."""
    role = weighting_of_words(description)
    if role:
        return role, "its series description", _BY_WORDS
    tr, te = (_number(_header(node, tag)) for tag in (_REPETITION_TIME, _ECHO_TIME))
    role = weighting_of_times(tr, te)
    if role:
        return role, f"TR {tr:g} ms, TE {te:g} ms", _BY_TIMES
    return _weighting_of_name(name), "its name", _BY_NAME


def _weighting_of_name(name: str) -> str:
    """ "T1", "T2" or "": T1 or T2 as a word of its own (T2star and T1fs, but not mT10), then the sequence's name."""
    lower = name.lower()
    t1, t2 = bool(_T1_NAME.search(lower)), bool(_T2_NAME.search(lower))
    if t1 or t2:
        return "" if t1 and t2 else "T1" if t1 else "T2"
    return weighting_of_words(name)


def _foreign(first: _Candidate, second: _Candidate) -> bool:
    return bool(first.patient and second.patient and first.patient != second.patient)


def _pair_rank(t1: _Candidate, t2: _Candidate, found: list[_Candidate]) -> tuple[int, int, int, int]:
    """The higher the better: how akin, how lately any of their study was loaded, how sure, how lately themselves."""
    kind: list[_Candidate] = []
    if t1.study and t1.study == t2.study:
        akin, kind = 4, [c for c in found if c.study == t1.study]
    elif t1.patient and t1.patient == t2.patient:
        akin, kind = 3, [c for c in found if c.patient == t1.patient]
    elif t1.patient or t2.patient:
        akin = 0
    else:
        akin = 2 if _stem(t1) == _stem(t2) else 1
    return akin, max((c.order for c in kind), default=0), t1.quality + t2.quality, t1.order + t2.order


def _stem(candidate: _Candidate) -> str:
    """A name without the words of its weighting, the same for the images of one case where names are systematic."""
    name = str(candidate.node.GetName() or "").lower()
    return without_weighting(_T2_NAME.sub("", _T1_NAME.sub("", name)))


def _header(node: Any, tag: str) -> str:
    """A DICOM header of a node that the application loaded from its DICOM database, else ""."""
    database = getattr(slicer_module(), "dicomDatabase", None)
    instances = (node.GetAttribute("DICOM.instanceUIDs") or "").split()
    if database is None or not instances:
        return ""
    return str(database.instanceValue(instances[0], tag) or "").strip()


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0


def _dicom_uid(node: Any, level: str) -> str:
    """UID of the patient or study under which the subject hierarchy files a node, else ""."""
    scene, words = node.GetScene(), slicer_module().vtkMRMLSubjectHierarchyConstants
    trees = nodes_of_class(scene, "vtkMRMLSubjectHierarchyNode")
    item = trees[0].GetItemByDataNode(node) if trees else 0
    ancestor = trees[0].GetItemAncestorAtLevel(item, level) if item else 0
    return str(trees[0].GetItemUID(ancestor, words.GetDICOMUIDName()) or "") if ancestor else ""
