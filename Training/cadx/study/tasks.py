"""What can be trained: the classes of a task and its words."""

from __future__ import annotations

from dataclasses import dataclass

from cadx.errors import InputError


@dataclass(frozen=True)
class Task:
    """A task's name, class names in order, and what a bundle of it is for."""

    name: str
    classes: tuple[str, ...]
    title: str
    intended_use: str


TASKS = {
    "ipmn": Task(
        "ipmn",
        ("normal", "low risk", "high risk"),
        "Intraductal papillary mucinous neoplasm (IPMN) of the pancreas on T1 and T2 MRI",
        "Research into grading of pancreatic cysts from a T1 and a T2 volume and a box around the pancreas.",
    )
}


def task(name: str) -> Task:
    """The task of a name.

    Raises
    ------
    InputError
        If there is none.
    """
    if name not in TASKS:
        raise InputError(f"There is no study '{name}'; choose one of {', '.join(TASKS)}.")
    return TASKS[name]
