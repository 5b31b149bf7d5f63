from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from cadx import device  # noqa: E402
from cadx.errors import InputError  # noqa: E402


def test_the_cpu_passes_its_probe():
    assert device.probe("cpu") == ""


def test_auto_says_why_it_took_the_cpu(monkeypatch):
    monkeypatch.setattr(device, "probe", lambda kind: "" if kind == "cpu" else f"no {kind} here")
    chosen = device.choose("auto")
    assert chosen.kind == "cpu"
    assert "no cuda here" in chosen.reason


def test_a_gpu_that_fails_its_kernel_is_not_taken(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    # no device stands behind it, so the kernel fails
    if torch.cuda.device_count() == 0:
        assert device.choose("auto").kind != "cuda"
        with pytest.raises(InputError, match="cuda cannot be used"):
            device.choose("cuda")


class Slow(torch.nn.Module):
    """Takes long in fp32 and is quick, but ``shift`` off, in bf16."""

    def __init__(self, shift: float) -> None:
        super().__init__()
        self.shift = shift

    def forward(self, x):
        import time

        if torch.is_autocast_enabled("cpu"):
            return torch.tensor([[0.0, self.shift]])
        time.sleep(0.06)
        return torch.tensor([[0.0, 0.0]])


@pytest.mark.parametrize(("shift", "expected"), [(0.001, "bf16"), (0.5, "fp32")])
def test_bf16_only_where_it_is_faster_and_as_exact(shift, expected, monkeypatch):
    monkeypatch.setattr(device, "WORTHWHILE_PARAMETERS", 0)
    assert device.choose_precision(Slow(shift), torch.zeros(1, 2)) == expected


def test_a_small_model_stays_in_fp32():
    assert device.choose_precision(torch.nn.Linear(2, 2), torch.zeros(1, 2)) == "fp32"
    assert device.choose_precision(torch.nn.Linear(2, 2), torch.zeros(1, 2), "bf16") == "bf16"
