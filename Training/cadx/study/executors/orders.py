"""What a worker needs to do as this process would: the workshop's plan, and what must be the same where it works."""

from __future__ import annotations

import secrets
import socket
import time
from dataclasses import dataclass
from pathlib import Path

from cadx import device
from cadx.classify import versions
from cadx.errors import InputError
from cadx.io.atomic import write_text
from cadx.study.executors.attempts import PLACE
from cadx.study.executors.executor import WorkersError
from cadx.study.runfolder import NUMERIC
from cadx.study.task import Workshop
from cadx.study.workshop import WorkshopPlan

MARK = Path(PLACE) / "mark"
SEEN_WITHIN_S = 30.0


@dataclass(frozen=True)
class Orders:
    """Plain data. ``plan`` names device, threads and absolute paths, ``run`` is the run's folder.

    ``mark`` is of this process's orders alone: a worker keeps the workshop that it opened by them, and finds it in the
    run's folder.
    """

    plan: WorkshopPlan
    run: Path
    data_sha256: str
    processor: str
    versions: dict[str, str | None]
    mark: str

    @classmethod
    def of(cls, plan: WorkshopPlan, shop: Workshop, run: Path, data_sha256: str) -> Orders:
        """For trainings as ``shop``, which was opened by ``plan``, would do them in this process."""
        processor = device.processor(shop.where.kind)
        return cls(plan.elsewhere(shop), run.absolute(), data_sha256, processor, _versions(), secrets.token_hex(8))

    def open(self) -> Workshop:
        """The workshop, in the process that calls.

        Raises
        ------
        WorkersError
            If packages, processor or images are others than those of the run, or cannot be used here.
        """
        for name, version in _versions().items():
            if version != self.versions.get(name):
                raise WorkersError(
                    f"{_here()} has {name} {version}, this process {self.versions.get(name)}, and only the same gives "
                    "the same numbers; install it there."
                )
        self._require_processor()
        if not self.plan.data.exists():
            raise WorkersError(f"{_here()} sees no {self.plan.data.name}; put the data where every machine sees them.")
        try:
            labelled = self.plan.read()
            shop = self.plan.open(labelled)
        except InputError as error:
            # a complaint of this machine, not of a model
            raise WorkersError(f"{_here()}: {error}") from error
        if labelled.sha256(shop.source.sha256()) != self.data_sha256:
            raise WorkersError(f"{_here()} sees other images or labels in {self.plan.data.name}; share one folder.")
        return shop

    def _require_processor(self) -> None:
        # a GPU that is not there is said by opening
        kind = self.plan.device
        processor = "" if device.probe(kind) else device.processor(kind)
        if processor not in ("", self.processor):
            raise WorkersError(
                f"{_here()} computes on {processor}, this process on {self.processor}, and other processors give other "
                "numbers; use machines of one kind."
            )

    def leave_mark(self) -> None:
        """Put down among the run's attempts, which are dropped at the end, what a worker must see there.

        Raises
        ------
        InputError
            If the folder cannot be written.
        """
        write_text(self.run / MARK, self.mark)

    def require_mark(self) -> None:
        """Refuse to work where the run's folder is another, or none.

        Raises
        ------
        WorkersError
            If what :meth:`leave_mark` put down is not to be seen.
        """
        until = time.monotonic() + SEEN_WITHIN_S
        while not self._marked():
            # a network file system may be a moment behind
            if time.monotonic() > until or not self.run.parent.exists():
                raise WorkersError(
                    f"{_here()} does not see this run's folder {self.run.name}; put it where every machine sees it."
                )
            time.sleep(0.2)

    def _marked(self) -> bool:
        try:
            return (self.run / MARK).read_text(encoding="utf-8") == self.mark
        except OSError:
            return False


_open: dict[str, Workshop] = {}


def workshop(orders: Orders) -> Workshop:
    """The workshop of these orders, opened once a process.

    Raises
    ------
    WorkersError
        As :meth:`Orders.open`.
    """
    if orders.mark not in _open:
        _open.clear()
        _open[orders.mark] = orders.open()
    return _open[orders.mark]


def _versions() -> dict[str, str | None]:
    found = versions()
    return {name: found.get(name) for name in NUMERIC}


def _here() -> str:
    return f"The machine {socket.gethostname()}"
