"""Choosing where a model runs: probed with a real kernel, never assumed."""

from __future__ import annotations

import logging
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from cadx.errors import InputError, MissingDependencyError

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

Precision = Literal["fp32", "bf16"]
NAMES = ("auto", "cpu", "cuda", "mps")
PRECISIONS = ("auto", "fp32", "bf16")
MIN_GAIN = 1.3
WORTHWHILE_PARAMETERS = 20_000_000
MAX_PROBABILITY_SHIFT = 0.01
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Device:
    """Where to run and why: ``kind`` is cpu, cuda or mps; ``name`` is the processor's own."""

    kind: str
    name: str
    reason: str

    @property
    def torch(self) -> torch.device:
        """For ``tensor.to``."""
        import torch

        return torch.device(self.kind)


def choose(requested: str = "auto") -> Device:
    """Probe and choose; ``auto`` takes a GPU that passes a real kernel, else the CPU, and says why.

    Raises
    ------
    InputError
        If a device asked for by name does not work, or the name is unknown.
    MissingDependencyError
        If torch is not installed.
    """
    if requested not in NAMES:
        raise InputError(f"There is no device '{requested}'; choose one of {', '.join(NAMES)}.")
    if requested != "auto":
        failure = probe(requested)
        if failure:
            raise InputError(f"The device {requested} cannot be used ({failure}); choose --device cpu or auto.")
        return Device(requested, describe(requested), "asked for")
    failures = []
    for kind in ("cuda", "mps"):
        failure = probe(kind)
        if not failure:
            return Device(kind, describe(kind), "fastest that passed a probe")
        failures.append(f"{kind}: {failure}")
    return Device("cpu", describe("cpu"), "; ".join(failures))


def probe(kind: str) -> str:
    """Run one small kernel; empty if it works, else why not."""
    torch = _torch()
    # read when the first kernel starts; without it cuBLAS may give other bits each time
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    if kind == "cuda" and not torch.cuda.is_available():
        return "no CUDA device"
    if kind == "mps" and not torch.backends.mps.is_available():
        return "no Metal device"
    try:
        a = torch.arange(16.0, device=kind).reshape(4, 4)
        if float((a @ a).sum().cpu()) != 3920.0:
            return "a test multiplication gave a wrong number"
    except (RuntimeError, NotImplementedError) as error:
        return str(error).strip().splitlines()[0][:120]
    return ""


def describe(kind: str) -> str:
    """The processor's name; what changes from run to run is in :func:`memory`."""
    import platform

    torch = _torch()
    if kind == "cuda":
        return str(torch.cuda.get_device_name())
    return f"{platform.machine()} {kind}, {torch.get_num_threads()} threads"


def processor(kind: str) -> str:
    """What numbers depend on beside the threads: the GPU's name, or the CPU's make and the instructions in use."""
    torch = _torch()
    if kind != "cpu":
        return describe(kind)
    bf16 = " with bf16" if torch.cpu._is_avx512_bf16_supported() else ""
    return f"{_make()} {torch.backends.cpu.get_cpu_capability()}{bf16}"


def cards() -> list[str]:
    """The CUDA devices of this process, as ``CUDA_VISIBLE_DEVICES`` names them."""
    count = _torch().cuda.device_count()
    named = [name.strip() for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name.strip()]
    return named[:count] or [str(number) for number in range(count)]


def threads(wanted: int | None) -> int:
    """Of the CPU: as many as asked for, else as torch takes by itself."""
    return wanted or int(_torch().get_num_threads())


def memory(kind: str) -> str:
    """How much of its memory is free now; of the machine's for a device that has none of its own."""
    if kind == "cuda":
        free, total = _torch().cuda.mem_get_info()
    else:
        try:
            page = os.sysconf("SC_PAGE_SIZE")
            free, total = (page * os.sysconf(name) for name in ("SC_AVPHYS_PAGES", "SC_PHYS_PAGES"))
        except (ValueError, OSError, AttributeError):
            return "memory unknown"
    return f"{free / 2**30:.1f} of {total / 2**30:.1f} GiB free"


def choose_precision(model: nn.Module, example: Tensor, requested: str = "auto") -> Precision:
    """bf16 only where it is clearly faster on this model and keeps probabilities within 0.01 of fp32.

    ``example`` is (1, C, H, W) on the model's device. Small models stay in fp32 whatever the clock says, so
    that they give the same numbers on every run.
    """
    import torch

    if requested not in PRECISIONS:
        raise InputError(f"There is no precision '{requested}'; choose one of {', '.join(PRECISIONS)}.")
    if requested != "auto":
        return "fp32" if requested == "fp32" else "bf16"
    if sum(parameter.numel() for parameter in model.parameters()) < WORTHWHILE_PARAMETERS:
        return "fp32"
    try:
        with torch.inference_mode():
            exact, slow = _timed(model, example, "fp32")
            rounded, fast = _timed(model, example, "bf16")
    except RuntimeError as error:
        log.info("bf16 was not considered: %s", error)
        return "fp32"
    shift = float((exact.softmax(-1) - rounded.softmax(-1)).abs().max())
    return "bf16" if slow > MIN_GAIN * fast and shift <= MAX_PROBABILITY_SHIFT else "fp32"


def autocast(kind: str, precision: Precision) -> torch.autocast:
    """The context in which a forward pass runs at this precision."""
    import torch

    return torch.autocast(kind, dtype=torch.bfloat16, enabled=precision == "bf16")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether the device, not the program, ran out of memory."""
    import torch

    return isinstance(error, torch.OutOfMemoryError) or "out of memory" in str(error).lower()


def _make() -> str:
    """The machine's architecture, and who made the processor where that is known: libraries ask for it."""
    import platform

    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    vendor = next((line.partition(":")[2].strip() for line in lines if line.startswith("vendor_id")), "")
    return f"{platform.machine()} {vendor}".strip()


def _timed(model: nn.Module, x: Tensor, precision: Precision) -> tuple[Tensor, float]:
    import torch

    times = []
    for _ in range(3):
        start = time.perf_counter()
        with autocast(x.device.type, precision):
            logits = model(x)
        if x.device.type == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return logits.float(), min(times)


def _torch():  # type: ignore[no-untyped-def]
    try:
        import torch
    except ImportError as error:
        raise MissingDependencyError(
            "torch is needed to run a model; install it with: pip install torch torchvision"
        ) from error
    return torch
