"""What an audit found: one sentence a check, and the names that prove it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

SCHEMA = "cadx.audit/1"
SHOWN = 20
Status = Literal["passed", "failed", "by design", "not done"]


@dataclass(frozen=True)
class Check:
    """One check.

    Parameters
    ----------
    name
        Short and stable.
    status
        "by design": the protocol itself leaks here and says so.
    detail
        One sentence.
    evidence
        Names, pairs or files that it rests on; the first :data:`SHOWN`.
    """

    name: str
    status: Status
    detail: str
    evidence: tuple[str, ...] = ()


@dataclass(frozen=True)
class AuditReport:
    """All checks of a run, in the order in which they were made."""

    checks: tuple[Check, ...]

    @property
    def passed(self) -> bool:
        """Whether nothing failed; what is not done or leaks by design does not fail."""
        return all(check.status != "failed" for check in self.checks)

    def to_json(self) -> dict[str, Any]:
        """A document of plain values."""
        found = [
            {"name": c.name, "status": c.status, "detail": c.detail, "evidence": list(c.evidence)} for c in self.checks
        ]
        return {"schema": SCHEMA, "passed": self.passed, "checks": found}

    def lines(self) -> list[str]:
        """One line a check, what failed with its evidence below."""
        text = []
        for check in self.checks:
            text.append(f"{check.status:<9}  {check.name}: {check.detail}")
            if check.status == "failed":
                text += [f"{'':<11}{item}" for item in check.evidence]
        return text


def conclude(
    name: str,
    said: str,
    faults: Sequence[str],
    looked: int,
    allowed: Sequence[str] = (),
    declared: str = "",
) -> Check:
    """The check that follows from what was found.

    Parameters
    ----------
    said
        The sentence where nothing is wrong.
    faults
        What proves a leak or a change.
    looked
        How many things were looked at; none means that the check could not be made.
    allowed, declared
        What the protocol itself lets through, and its own sentence on that.

    >>> conclude("files", "All 3 files are as written.", ["a.csv: changed"], 3).detail
    '1 of the things looked at is not as it must be: a.csv: changed.'
    """
    if faults:
        count = "1 of the things looked at is" if len(faults) == 1 else f"{len(faults)} things are"
        return Check(name, "failed", f"{count} not as it must be: {faults[0].rstrip('.')}.", tuple(faults[:SHOWN]))
    if declared:
        count = f" ({len(allowed)} found)" if allowed else ""
        return Check(name, "by design", f"leaks by design: {declared}{count}", tuple(allowed[:SHOWN]))
    if not looked:
        return Check(name, "not done", "Nothing to look at yet.")
    return Check(name, "passed", said)
