"""What was measured, against which bound, on which machine: as text and as JSON."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from cadx.classify import versions
from cadx.io.atomic import write_text

SCHEMA = "cadx.bench/1"


@dataclass(frozen=True)
class Measured:
    """One line: a number, and the bound it is held to.

    ``at_least`` says on which side of ``bound`` it should lie; ``detail`` holds what it was computed from. A line
    without bound informs; one without value says in ``missing`` why it could not be measured here.
    """

    name: str
    value: float | None
    unit: str
    bound: float | None = None
    at_least: bool = False
    detail: dict[str, Any] = field(default_factory=dict)
    missing: str = ""

    @property
    def met(self) -> bool | None:
        """Whether it lies on the right side of its bound; None where that is not known or nothing is asked."""
        if self.value is None or self.bound is None:
            return None
        return self.value >= self.bound if self.at_least else self.value <= self.bound

    def __str__(self) -> str:
        if self.value is None:
            return f"{self.name:<58}{self.missing:>19}{self._aim()}"
        mark = "  NOT MET" if self.met is False else ""
        return f"{self.name:<58}{self.value:>9.3g} {self.unit:<9}{self._aim()}{mark}"

    def _aim(self) -> str:
        if self.bound is None:
            return ""
        return f"({'at least' if self.at_least else 'at most'} {self.bound:g})"


def machine() -> dict[str, Any]:
    """Processor, cores, memory, system and versions of what was measured."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "system": f"{platform.system()} {platform.machine()}",
        "versions": versions(),
    }


def write_report(path: Path, rows: Sequence[Measured], command: Sequence[str]) -> None:
    """Write ``path`` (JSON) with every line, its bound and the machine."""
    lines = [{**asdict(row), "met": row.met} for row in rows]
    document = {"schema": SCHEMA, "command": list(command), "machine": machine(), "measured": lines}
    write_text(path, json.dumps(document, indent=2) + "\n")


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")
