"""Freed memory that stays with a process which trains."""

from __future__ import annotations

import subprocess
import sys

import pytest

FAULTS = """
import resource, sys
import torch
from cadx.study import memory
torch.set_num_threads(1)
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(8):
        torch.ones(2**24)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
faults()
usual = faults()
assert memory.keep_freed()
faults()
kept = faults()
print(usual, kept)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="a setting of glibc")
def test_what_was_freed_is_used_again_without_the_system():
    """64 MiB blocks, eight times: each is fetched page by page, unless it was kept."""
    from cadx.study import memory

    if memory._glibc() is None:
        pytest.skip("this C library has no mallopt")
    done = subprocess.run([sys.executable, "-c", FAULTS], capture_output=True, text=True, check=True)
    usual, kept = map(int, done.stdout.split())
    assert usual > 8 * 64 * 2**20 / 2**21 and kept < usual / 20


def test_other_systems_are_left_alone(monkeypatch):
    from cadx.study import memory

    monkeypatch.setattr(sys, "platform", "win32")
    assert not memory.keep_freed()
