"""What a workshop is made of, as plain data: another process opens the same one from it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from cadx import device
from cadx.study.labelled import Labelled, read_labelled
from cadx.study.source import Progress
from cadx.study.spec import StudySpec
from cadx.study.task import Workshop
from cadx.study.trainer import CHECKPOINT_EVERY_S
from cadx.study.weights import Plan


@dataclass(frozen=True)
class WorkshopPlan:
    """A study with its models and weights, a cohort and where its prepared cases lie, and what computes.

    ``preparing`` processes prepare cases.
    """

    plan: Plan
    data: Path
    layout: str = "auto"
    cache: Path | None = None
    preparing: int = 1
    device: str = "auto"
    threads: int | None = None
    checkpoint_every_s: float = CHECKPOINT_EVERY_S

    @property
    def study(self) -> StudySpec:
        """The study, with models that were named beyond it."""
        return self.plan.study

    def read(self) -> Labelled:
        """The cohort, its images unopened.

        Raises
        ------
        InputError
            If it is empty, or a label or a file is missing.
        """
        return read_labelled(self.study, self.data, self.layout)

    def open(self, labelled: Labelled | None = None, progress: Progress | None = None) -> Workshop:
        """Device chosen, images prepared or found prepared; ``labelled`` where the cohort has been read before.

        Raises
        ------
        InputError
            If device, cohort or an image cannot be used.
        """
        where, threads = device.choose(self.device), device.threads(self.threads)
        known = labelled or self.read()
        source = known.open(self.cache, self.preparing, progress or (lambda stage, done, total: None))
        return Workshop(self.study, source, known.names, where, threads, self.plan.weights, self.checkpoint_every_s)

    def elsewhere(self, shop: Workshop) -> WorkshopPlan:
        """The same plan for other processes: what was left to the machine is what ``shop`` found, paths are absolute.

        What is prepared is prepared by now.
        """
        files = {name: str(Path(file).absolute()) for name, file in self.plan.files.items()}
        return replace(
            self,
            plan=replace(self.plan, files=files),
            data=self.data.absolute(),
            cache=self.cache and self.cache.absolute(),
            preparing=1,
            device=shop.where.kind,
            threads=shop.threads,
        )
