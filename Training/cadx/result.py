"""A Result: what was found in one case, as plain data (schema ``cadx.result/1``)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from cadx import DISCLAIMER
from cadx.errors import InputError
from cadx.notices import Notice

SCHEMA = "cadx.result/1"


@dataclass(frozen=True)
class Result:
    """One case's result.

    Parameters
    ----------
    status
        "ok", or "refused" where the input is valid but must not be graded; then ``label`` is None.
    probabilities
        Class name to probability, in the bundle's order.
    roi
        ``center_ras`` and ``size_mm`` (mm), ``axes`` (three RAS unit vectors, one a row).
    slices
        ``first`` (counted from the ROI's most inferior slice, 0), ``count`` and ``positions_mm`` (along
        the slices' superior direction).
    request_sha256
        Hash of all that the result follows from: bundle, images, ROI and options.
    windows
        With every window classified: its first slice, positions and probabilities.
    rule
        Of slices read one by one: ``name`` and ``text`` of how the case's probabilities follow from theirs. Then
        ``roi`` is empty, and ``slices`` holds a ``table`` and is empty for a single picture
        (:mod:`cadx.classify_picture`).
    """

    status: Literal["ok", "refused"]
    task: str
    label: str | None
    probabilities: Mapping[str, float]
    bundle: Mapping[str, Any]
    inputs: Sequence[Mapping[str, Any]]
    roi: Mapping[str, Any]
    slices: Mapping[str, Any]
    warnings: Sequence[Notice]
    device: Mapping[str, str]
    precision: str
    timings_s: Mapping[str, float]
    versions: Mapping[str, str]
    request_sha256: str = ""
    command: Sequence[str] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    windows: Sequence[Mapping[str, Any]] = ()
    rule: Mapping[str, str] | None = None
    registration: Mapping[str, float] | None = None
    explanation: Mapping[str, Any] | None = None
    reason: str | None = None
    disclaimer: str = field(default=DISCLAIMER)

    def to_json(self) -> dict[str, Any]:
        """The document of ``result.json``; optional parts only where they apply."""
        document: dict[str, Any] = {"schema": SCHEMA, **{k: v for k, v in vars(self).items() if k != "warnings"}}
        document["warnings"] = [notice.to_json() for notice in self.warnings]
        document["probabilities"] = dict(self.probabilities)
        for optional in ("windows", "rule", "registration", "explanation", "reason"):
            if not document[optional]:
                del document[optional]
        return json.loads(json.dumps(document, default=_plain))

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Result:
        """The inverse of :meth:`to_json`.

        Raises
        ------
        InputError
            If the document is of another schema, or not whole.
        """
        if not isinstance(document, Mapping) or document.get("schema") != SCHEMA:
            raise InputError(f"The result is of another schema than {SCHEMA}; make it again.")
        known = {f.name for f in fields(cls)}
        values = {key: value for key, value in document.items() if key in known}
        try:
            probabilities = {str(name): float(p) for name, p in document["probabilities"].items()}
            warnings = [Notice(str(n["code"]), str(n["text"])) for n in document["warnings"]]
            result = cls(**{**values, "probabilities": probabilities, "warnings": warnings})
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise InputError("The result is not as this program writes it; make it again.") from error
        graded = result.status == "ok" and result.label in probabilities
        if not graded and (result.status, result.label) != ("refused", None):
            raise InputError("The result's grade is none of its classes; make it again.")
        return result

    def summary(self) -> str:
        """A few lines for a terminal."""
        lines = []
        if self.status == "refused":
            lines.append(f"Not graded: {self.reason}")
        else:
            shares = ", ".join(f"{name} {p:.0%}" for name, p in self.probabilities.items())
            lines.append(f"Grade: {self.label} ({shares})")
        if self.rule:
            lines.append(self.rule["text"])
        if self.slices.get("suspicious"):
            lines.append(_ranked(self.slices))
        if self.registration:
            moved = self.registration
            lines.append(f"T2 was moved by {moved['translation_mm']} mm and {moved['rotation_degrees']} degrees.")
        lines += [f"Warning: {notice.text}" for notice in self.warnings]
        lines.append(self.disclaimer)
        return "\n".join(lines)


def _ranked(slices: Mapping[str, Any]) -> str:
    rows = {row["slice"]: row for row in slices["table"]}
    best = [f"{number} ({rows[number]['suspicion']:.0%})" for number in slices["suspicious"][:5]]
    return f"Most suspicious slices: {', '.join(best)}."


def _plain(value: Any) -> Any:
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} does not belong into a result")
