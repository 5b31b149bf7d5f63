"""What all commands share: common options, and the command as it was given."""

from __future__ import annotations

import re
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

given: list[str] = []


class DeviceName(StrEnum):
    """Where to run."""

    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"
    mps = "mps"


class PrecisionName(StrEnum):
    """In which arithmetic."""

    auto = "auto"
    fp32 = "fp32"
    bf16 = "bf16"


Out = Annotated[Path, typer.Option("--out", help="Folder to write to.")]
DeviceOption = Annotated[DeviceName, typer.Option("--device", help="auto probes and falls back to the CPU.")]
PrecisionOption = Annotated[
    PrecisionName, typer.Option("--precision", help="auto takes bf16 only where it is faster and as exact.")
]
Debug = Annotated[bool, typer.Option("--debug", help="Show tracebacks.")]


def command() -> tuple[str, ...]:
    """The command as run, with folders left out: they may hold names of patients."""
    return ("cadx", *(_base_name(argument) for argument in given))


def note(text: str) -> None:
    """A remark for people, on standard error."""
    print(text, file=sys.stderr, flush=True)


def bundle_name(out: Path) -> str:
    """A bundle's name from its folder's."""
    return re.sub(r"[^a-z0-9\-]+", "-", out.resolve().name.lower()).strip("-") or "bundle"


def _base_name(argument: str) -> str:
    option, mark, value = argument.partition("=") if argument.startswith("--") else ("", "", argument)
    return option + mark + (re.split(r"[/\\]", value.rstrip("/\\"))[-1] or value)
