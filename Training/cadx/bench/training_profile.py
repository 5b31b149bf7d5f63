"""What stands between a measured training step and its bound: torch's profiler, by kind of work."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

from cadx.bench.report import Measured
from cadx.bench.setting import Setting
from cadx.bench.training_bound import Step
from cadx.bench.training_volumes import make_cases

# beginnings of torch's names of operations; the first group that one falls into counts
GROUPS = {
    "matrix products": ("aten::mm", "aten::addmm", "aten::linear", "aten::mkldnn_convolution", "aten::convolution"),
    "attention": ("aten::bmm", "aten::_softmax", "aten::_scaled_dot", "aten::scaled_dot", "aten::baddbmm"),
    "optimiser and clipping": (
        "aten::_fused_adam",
        "aten::linalg_vector_norm",
        "aten::_foreach",
        "Optimizer",
        "aten::clamp",
    ),
    "casts and copies": ("aten::copy_", "aten::_to_copy", "aten::clone", "aten::cat", "aten::to"),
    "activations and norms": ("aten::gelu", "aten::native_layer_norm", "aten::sum", "aten::add", "aten::mul"),
}
DATA, REST = "data", "rest"


def profile(setting: Setting) -> list[Measured]:
    """Seconds of a step by kind of work; the data's are those of gathering and augmenting a batch."""
    step = Step(setting)
    step()
    data = _data_seconds(setting, step.batch)
    shares = shares_of(_events(setting, step))
    shares[DATA] = data
    whole = sum(shares.values())
    setting.note("\n".join(f"{name:<24}{seconds:8.4f} s {seconds / whole:6.1%}" for name, seconds in shares.items()))
    detail = {"seconds": shares, "precision": step.precision, "batch": step.batch}
    return [
        Measured(f"profile of a step: {name}", 100 * seconds / whole, "%", detail=detail if name == DATA else {})
        for name, seconds in shares.items()
    ]


def shares_of(events: Iterable[tuple[str, float]]) -> dict[str, float]:
    """Seconds by group, of (operation, its own seconds).

    >>> shares_of([("aten::mm", 2.0), ("aten::bmm", 1.0), ("what", 0.5)])["attention"]
    1.0
    """
    shares = dict.fromkeys((*GROUPS, REST), 0.0)
    for operation, seconds in events:
        shares[next((name for name, known in GROUPS.items() if operation.startswith(known)), REST)] += seconds
    return shares


def _events(setting: Setting, step: Step) -> list[tuple[str, float]]:
    from torch.profiler import ProfilerActivity
    from torch.profiler import profile as torch_profile

    gpu = setting.where.kind == "cuda"
    kinds = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if gpu else [])]
    with torch_profile(activities=kinds) as profiler:
        step()
        setting.finished()

    def own(event: Any) -> float:
        return float(event.self_device_time_total if gpu else event.self_cpu_time_total) / 1e6

    return [(event.key, own(event)) for event in profiler.key_averages()]


def _data_seconds(setting: Setting, batch: int) -> float:
    """Of one batch from resident cells to the device, augmented; the least of a few."""
    import torch

    samples = make_cases(3 * batch, setting.pixels).samples()
    generator = torch.Generator().manual_seed(0)
    seconds = []
    for _ in range(5):
        chosen = torch.randperm(len(samples.names), generator=generator)[:batch]
        start = time.perf_counter()
        samples.batch(chosen, setting.study.augmentation, generator).to(
            setting.where.torch, memory_format=torch.channels_last
        )
        setting.finished()
        seconds.append(time.perf_counter() - start)
    return min(seconds)
