"""``--workers``: how many trainings run at once, and where."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from cadx import device
from cadx.errors import InputError
from cadx.study.executors import cluster
from cadx.study.executors.executor import Executor
from cadx.study.executors.in_process import InProcess
from cadx.study.executors.orders import Orders
from cadx.study.executors.processes import Processes
from cadx.study.executors.ray_tasks import RayTasks
from cadx.study.progress import Reporter
from cadx.study.task import Workshop


@dataclass(frozen=True)
class Workers:
    """``wanted``: a number of processes, "auto" (one, or one a GPU where there are several) or "ray"."""

    wanted: Literal["auto", "ray"] | int = "auto"
    ray_address: str | None = None

    @classmethod
    def of(cls, text: str, ray_address: str | None = None) -> Workers:
        """From the command line.

        >>> Workers.of("2").wanted, Workers.of("auto").wanted
        (2, 'auto')

        Raises
        ------
        InputError
            If it is none of the three, or an address is given without Ray.
        """
        if ray_address is not None and text != "ray":
            raise InputError("--ray-address goes with --workers ray; give both, or leave the address out.")
        if text == "auto":
            return cls()
        if text == "ray":
            return cls("ray", ray_address)
        if not text.isdigit() or int(text) < 1:
            raise InputError(f"--workers is auto, a number of processes from 1, or ray, and not '{text}'.")
        return cls(int(text))

    def require(self) -> None:
        """Refuse what cannot be had whatever the data are.

        Raises
        ------
        MissingDependencyError
            If Ray is wanted and not installed.
        """
        if self.wanted == "ray":
            cluster.require_ray()

    def cards(self, kind: str) -> list[str | None]:
        """For each of the wanted processes on a device of ``kind`` the GPU that it sees; [None] is this process alone.

        Raises
        ------
        InputError
            If there are fewer GPUs than processes wanted.
        """
        there: list[str | None] = list(device.cards()) if kind == "cuda" else [None]
        if self.wanted in ("auto", "ray", 1):
            return there if self.wanted == "auto" and len(there) > 1 else [None]
        assert isinstance(self.wanted, int)
        if kind == "cpu":
            return [None] * self.wanted
        if self.wanted > len(there):
            raise InputError(
                f"{self.wanted} workers want a GPU each, and {kind} has {len(there)} here; give --workers {len(there)}."
            )
        return there[: self.wanted]


@contextlib.contextmanager
def hired(workers: Workers, orders: Orders, shop: Workshop, report: Reporter) -> Iterator[Executor]:
    """What runs the trainings, for as long as the block lasts; nothing of it is left then.

    Raises
    ------
    CadxError
        If the workers cannot be had.
    """
    training = shop.study.training
    if workers.wanted == "ray":
        with RayTasks.opened(workers.ray_address, orders, training, report) as executor:
            report.event("workers", _told(executor.record, shop))
            yield executor
        return
    cards = workers.cards(shop.where.kind)
    if cards == [None]:
        yield InProcess(shop, report)
        return
    processes = Processes(orders, cards, training, report)
    with contextlib.closing(processes):
        report.event("workers", _told(processes.record, shop))
        yield processes


def _told(record: dict[str, object], shop: Workshop) -> str:
    """One sentence, and what to do where threads are in each other's way."""
    count, threads = int(str(record["workers"])), shop.threads
    if record["executor"] == "ray":
        machines = "1 machine" if record["machines"] == 1 else f"{record['machines']} machines"
        text = f"Trainings run on Ray, {count} at once on {machines}"
        more = "" if count > 1 else "; each takes all threads of a machine, so give --threads 1 for more at once"
    else:
        text = f"Trainings run in {count} processes"
        cores = os.cpu_count() or 1
        more = (
            "" if count * threads <= cores else f" on {cores} processors; with --threads 1 they leave each other room"
        )
    return f"{text}, each of {threads} threads{more}."
