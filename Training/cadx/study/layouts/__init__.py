"""Every way a cohort may lie on disk, read into the same :class:`~cadx.study.cohort.Cohort`.

A layout is a module with ``recognises(data)``, ``roles(data)`` and ``read(data, roles)``; "auto" takes the first that
recognises what it is given, in the order of :data:`LAYOUTS`.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from types import ModuleType

from cadx.dataset import is_synthetic
from cadx.errors import InputError
from cadx.io.names import require_plain_name
from cadx.study.cohort import Cohort
from cadx.study.layouts import cystx, figshare, folders, table

LAYOUTS: dict[str, ModuleType] = {"table": table, "cystx": cystx, "figshare": figshare, "folders": folders}
AUTO = "auto"


def read_cohort(data: Path, roles: tuple[str, ...], *, layout: str = AUTO) -> Cohort:
    """Read a cohort: which files there are, of what label and patient. No image is opened.

    Parameters
    ----------
    data
        A folder in one of the layouts, or a CSV file or workbook.
    roles
        The images a sample must have: ("T1", "T2"), ("T2",) and so on, or ("image",) for pictures.
    layout
        Name of a layout; "auto" looks which it is.

    Raises
    ------
    InputError
        At the first thing that is wrong; ``cadx cohort check`` lists all.
    """
    cohort, problems = examine(data, roles, layout=layout)
    if problems:
        more = f" ({len(problems) - 1} more such problems: cadx cohort check lists them)" if problems[1:] else ""
        raise InputError(problems[0].removesuffix(".") + more + ".")
    return cohort


def examine(data: Path, roles: tuple[str, ...], *, layout: str = AUTO) -> tuple[Cohort, list[str]]:
    """As :func:`read_cohort`, but what is wrong comes back as sentences, and the cohort without those samples.

    Raises
    ------
    InputError
        If nothing there can be read as a cohort.
    """
    data = Path(data)
    name = choose_layout(data, layout)
    draft = LAYOUTS[name].read(data, roles)
    problems = draft.problems + _repeated([s.name for s in draft.samples])
    if not draft.samples and not problems:
        notes = f" ({draft.notes[0].removesuffix('.')})" if draft.notes else ""
        problems = [f"{data.name} holds no case that can be used{notes}; check the folder."]
    folder = data if data.is_dir() else data.parent
    return Cohort(folder, name, tuple(draft.samples), is_synthetic(folder), tuple(draft.notes)), problems


def available_roles(data: Path, *, layout: str = AUTO) -> tuple[str, ...]:
    """The images that a cohort has, where no study says which are needed.

    Raises
    ------
    InputError
        If nothing there can be read as a cohort.
    """
    data = Path(data)
    found: tuple[str, ...] = LAYOUTS[choose_layout(data, layout)].roles(data)
    return found


def choose_layout(data: Path, layout: str = AUTO) -> str:
    """The layout's name, looked for where it is "auto".

    Raises
    ------
    InputError
        If there is no such layout, nothing at that path, or nothing known in it.
    """
    require_plain_name(data)
    if not data.exists():
        raise InputError(f"There is no cohort {data.name or data}; check the path.")
    if layout != AUTO:
        if layout not in LAYOUTS:
            raise InputError(f"There is no layout '{layout}'; choose {AUTO}, {', '.join(LAYOUTS)}.")
        return layout
    found = next((name for name, module in LAYOUTS.items() if module.recognises(data)), None)
    if found is None:
        raise InputError(
            f"{data.name or data} is no cohort that is known; give a table or a folder with cases.csv, class folders "
            "of pictures, the Cyst-X release, or the .mat files of figshare 1512427."
        )
    return found


def _repeated(names: list[str]) -> list[str]:
    counts = Counter(names)
    return [f"The case '{n}' occurs {c} times; give each its own name." for n, c in counts.items() if c > 1]
